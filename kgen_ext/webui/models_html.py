"""The models panel as HTML: the table of models, the facts on one, and how far a download is.

Refuses to look anything up; it is given what `catalogue.show` says. Everything is escaped: names, notes and addresses
may come from a file of the user's, or of somebody who gave them one.
"""
from __future__ import annotations

from collections.abc import Iterable
from html import escape

from kgen_ext.catalogue.show import Row, describe, info_lines
from kgen_ext.webui.models_tasks import State

UNREAD = '<p class="kgen-models-hint">Press Refresh to see what is installed.</p>'


def table_html(rows: Iterable[Row]) -> str:
    """Return all models with size, licence and what is installed of each."""
    body = []
    for row in rows:
        told = describe(*row)
        here = bool(told["installed"])
        cells = (told["id"], told["shown_size"], told["licence"] or "?", told["shown_installed"] if here else "no")
        kind = ' class="kgen-installed"' if here else ""
        body.append(f"<tr{kind}>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{name}</th>" for name in ("Model", "Size", "Licence", "Installed"))
    return f'<table class="kgen-models"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'


def facts_html(row: Row, *, looked: bool = True) -> str:
    """Return everything known about one model, its licence as a link. looked: whether the disk was looked at."""
    address = row[1].licence_url if row[1] else ""
    lines = []
    for label, text in info_lines(*row):
        if label == "Installed" and not row[2]:
            text = "no" if looked else "press Refresh to see"  # here there is a button to get it
        shown = escape(text)
        if address and label == "Licence":
            link = f'<a href="{escape(address)}" target="_blank" rel="noopener noreferrer">{escape(address)}</a>'
            shown = shown.replace(escape(address), link)
        lines.append(f"<tr><th>{escape(label)}</th><td>{shown}</td></tr>")
    return f'<table class="kgen-model-facts"><tbody>{"".join(lines)}</tbody></table>'


def state_html(state: State) -> str:
    """Return a line, and a bar while something is on its way."""
    kind = "kgen-failed" if state.failed else "kgen-over" if state.over else "kgen-running"
    bar = ""
    if not state.over:
        value = "" if state.share is None else f' value="{state.share:.4f}"'
        bar = f'<progress class="kgen-bar" max="1"{value}></progress>'
    return f'<div class="{kind}" role="status">{bar}<span>{escape(state.line)}</span></div>'


def line_html(line: str, *, failed: bool = False) -> str:
    """Return a line on something that is over."""
    return state_html(State(line, over=True, failed=failed)) if line else ""
