"""HTML of the models panel: the table of models, the details of one, and the state of a task.

Everything is escaped: names, notes and addresses may come from a catalogue from a third party.
"""
from __future__ import annotations

from collections.abc import Iterable
from html import escape

from kgen_ext.models.describe import ModelRow, describe, info_lines
from kgen_ext.webui.background import TaskState

NOT_SCANNED = '<p class="kgen-models-hint">Press Refresh to list the installed models.</p>'


def table_html(rows: Iterable[ModelRow]) -> str:
    """Return a table of all models: name, size, licence, installed variants."""
    body = []
    for row in rows:
        facts = describe(*row)
        installed = bool(facts["installed"])
        cells = (
            facts["id"], facts["shown_size"], facts["licence"] or "?",
            facts["shown_installed"] if installed else "no",
        )  # fmt: skip
        css_class = ' class="kgen-installed"' if installed else ""
        body.append(f"<tr{css_class}>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{name}</th>" for name in ("Model", "Size", "Licence", "Installed"))
    return f'<table class="kgen-models"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'


def facts_html(row: ModelRow, *, scanned: bool = True) -> str:
    """Return the details of one model, its licence as a link. scanned: whether the disk has been scanned."""
    address = row[1].licence_url if row[1] else ""
    lines = []
    for label, text in info_lines(*row):
        if label == "Installed" and not row[2]:
            text = "no" if scanned else "press Refresh to see"  # in place of the command to download it
        shown = escape(text)
        if address and label == "Licence":
            link = f'<a href="{escape(address)}" target="_blank" rel="noopener noreferrer">{escape(address)}</a>'
            shown = shown.replace(escape(address), link)
        lines.append(f"<tr><th>{escape(label)}</th><td>{shown}</td></tr>")
    return f'<table class="kgen-model-facts"><tbody>{"".join(lines)}</tbody></table>'


def state_html(state: TaskState) -> str:
    """Return the line of a task, with a progress bar while it runs."""
    css_class = "kgen-failed" if state.failed else "kgen-over" if state.done else "kgen-running"
    bar = ""
    if not state.done:
        value = "" if state.fraction is None else f' value="{state.fraction:.4f}"'
        bar = f'<progress class="kgen-bar" max="1"{value}></progress>'
    return f'<div class="{css_class}" role="status">{bar}<span>{escape(state.line)}</span></div>'


def message_html(line: str, *, failed: bool = False) -> str:
    """Return a line without a progress bar; nothing for an empty one."""
    return state_html(TaskState(line, done=True, failed=failed)) if line else ""
