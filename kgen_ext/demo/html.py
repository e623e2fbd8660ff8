"""HTML of the demo page: a line of what goes on, then the candidates side by side, with the model's additions tinted.

Everything is escaped: neither a prompt nor a model can put markup on the page. A button to copy carries its text in
`data-kgen-copy`; `data/demo.js` puts it into the clipboard.
"""
from __future__ import annotations

from collections.abc import Sequence
from html import escape

from kgen_ext.demo.expanding import RunView
from kgen_ext.demo.messages import note_line
from kgen_ext.events import By, Expansion

_ADDED = '<span class="kgen-added">{}</span>'


def line_html(text: str, *, failed: bool = False) -> str:
    """Return a line of what goes on, or of what went wrong."""
    if not text:
        return ""
    kind, role = ("kgen-line kgen-error", "alert") if failed else ("kgen-line", "status")
    return _sendable(f'<div class="{kind}" role="{role}">{escape(text)}</div>')


def waiting_line(ahead: int) -> str:
    """Return the line of a run that is not the first in its queue.

    >>> waiting_line(1), waiting_line(3)
    ('Waiting: one run comes before yours.', 'Waiting: 3 runs come before yours.')
    """
    return f"Waiting: {'one run comes' if ahead == 1 else f'{ahead} runs come'} before yours."


def run_html(view: RunView, *, ahead: int, query: str) -> str:
    """Return the panel of a run. ahead: runs that come before it. query: of the link to it, "" for none."""
    if ahead:
        return line_html(waiting_line(ahead))
    cards = []
    for number, (expansion, text) in enumerate(zip(view.finished, view.partial, strict=True), 1):
        if expansion is not None:
            cards.append(_card(number, expansion))
        elif text and not view.failed:
            cards.append(_partial_card(number, view.source, text))
    grid = f'<div class="kgen-grid">{"".join(cards)}</div>' if cards else ""
    line = view.line if view.seconds is None or view.line else ""
    return _sendable(f"{line_html(line, failed=view.failed)}{grid}{_foot(view, query)}")


def _foot(view: RunView, query: str) -> str:
    """Return the sums of a run that has ended, and the link that repeats it."""
    if view.seconds is None or not view.expansions:
        return ""
    done = view.expansions
    tokens = sum(expansion.decoded_tokens + expansion.forced_tokens for expansion in done)
    by = f"{done[0].model} on {done[0].engine}"
    if view.calls:
        cost = f"{_number(tokens, 'token')} in {_number(view.calls, 'call')} of the model, {view.seconds:.2f} s"
    else:
        cost = "no call of the model: the same run was made before"
    link = f'<a class="kgen-link" href="{escape("./" + query)}">Link to this run</a>' if query else ""
    none = "" if query else '<span class="kgen-note">Too long for a link.</span>'
    return f'<div class="kgen-foot"><span>{escape(by)}: {cost}</span>{link}{none}</div>'


def _card(number: int, expansion: Expansion) -> str:
    text = "".join(
        escape(piece.text) if piece.by is By.USER else _ADDED.format(escape(piece.text)) for piece in expansion.pieces
    )
    tokens = expansion.decoded_tokens + expansion.forced_tokens
    head = [f"Candidate {number}", f"seed {expansion.seed}", f"{expansion.seconds:.2f} s", _number(tokens, "token")]
    copy = f'<button type="button" class="kgen-copy" data-kgen-copy="{escape(expansion.prompt)}">Copy</button>'
    return _any_card(head, text, tuple(map(note_line, expansion.notes)), copy)


def _partial_card(number: int, source: str, added: str) -> str:
    additions = ", ".join(line for line in added.split("\n") if line)
    stripped = source.rstrip()
    between = "" if not stripped else " " if stripped.endswith(",") else ", "
    text = f"{escape(source)}{between}{_ADDED.format(escape(additions))}"
    return _any_card([f"Candidate {number}"], text)


def _any_card(head: Sequence[str], text: str, notes: Sequence[str] = (), copy: str = "") -> str:
    facts = "".join(f"<span>{part}</span>" for part in head)
    lines = "".join(f'<div class="kgen-note">{escape(note)}</div>' for note in notes)
    return (
        f'<div class="kgen-card"><div class="kgen-head"><div class="kgen-facts">{facts}</div>{copy}</div>'
        f'<div class="kgen-text">{text}</div>{lines}</div>'
    )


def _number(count: int, name: str) -> str:
    return f"{count:,} {name}" if count == 1 else f"{count:,} {name}s"


def _sendable(html: str) -> str:
    return html.encode("utf-8", "replace").decode()  # a lone surrogate could not be sent to the browser
