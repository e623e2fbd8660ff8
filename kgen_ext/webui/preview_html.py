"""HTML of the preview panel: a status line, then one card per version, with the model's additions coloured.

    version, seed, CLIP tokens [Use this]      text      notes

Everything is escaped: neither a prompt nor a model can put markup on the page. A card's button carries the prompt to
use as JSON in its `data-kgen` attribute; `javascript/kgen.js` puts it into the prompt box. The button of an error names
in `data-kgen-show` the control to go to. The middle of a long prompt and the end of long additions are folded.
"""
from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

from kgen_ext.events import By, Expansion
from kgen_ext.webui.messages import ui_note

MAX_VERSIONS = 8
# Characters that stay at the start and end of a text of the user's whose middle is folded, and the least that are
# folded; characters of additions in sight.
_HEAD, _TAIL, _MIN_FOLDED, _MAX_ADDED = 120, 120, 360, 1200
_ADDED = ' class="kgen-added"'


def panel(cards: Sequence[str], *, line: str = "", failed: bool = False, show: str = "") -> str:
    """Return the panel: the status line, if there is one, and the cards. show: the control that a failure is about."""
    css_class, role = ("kgen-line kgen-error", "alert") if failed else ("kgen-line", "status")
    button = f'<button type="button" class="kgen-show" data-kgen-show="{escape(show)}">Show</button>' if show else ""
    status = f'<div class="{css_class}" role="{role}"><span>{escape(line)}</span>{button}</div>' if line else ""
    html = f'<div class="kgen-panel">{status}{"".join(cards)}</div>'
    return html.encode("utf-8", "replace").decode()  # a lone surrogate could not be sent to the browser


def partial_card(number: int, source: str, added: str) -> str:
    """Return the card of a version that is being written; added: a line for the tags, one for each text."""
    additions = ", ".join(line for line in added.split("\n") if line)
    added_html = f"{_separator(source)}<span{_ADDED}>{escape(additions)}</span>" if additions else ""
    return _card(f"<span>Version {number}</span>", f"{_own_html(source)}{added_html}", ())


def card(number: int, expansion: Expansion, *, source: str, tokens: tuple[int, int] | None, element: str = "") -> str:
    """Return the card of a finished version.

    source: the prompt that was expanded. tokens: the number of CLIP tokens and the end of their block of 75, None if
    unknown. element: the id of the button.
    """
    text = "".join(
        _own_html(piece.text) if piece.by is By.USER else f"<span{_ADDED}>{escape(piece.text)}</span>"
        for piece in expansion.pieces
    )
    added = sum(len(piece.text) for piece in expansion.pieces if piece.by is By.MODEL)
    head = [f"Version {number}", f"seed {expansion.seed}"]
    if tokens is not None:
        head.append(f"{tokens[0]} of {tokens[1]} tokens")
    head_html = "".join(f"<span>{part}</span>" for part in head)
    # ASCII only, so that the browser gets back exactly what was written.
    use = escape(json.dumps({"prompt": expansion.prompt, "source": source}))
    button = f'<button type="button" class="kgen-use" id="{escape(element)}" data-kgen="{use}">Use this</button>'
    return _card(head_html + button, text, tuple(map(ui_note, expansion.notes)), folded=added > _MAX_ADDED)


def _card(head: str, text: str, notes: Sequence[str], *, folded: bool = False) -> str:
    notes_html = "".join(f'<div class="kgen-note">{escape(note)}</div>' for note in notes)
    more = '<details class="kgen-more"><summary>The whole text</summary></details>' if folded else ""
    return (
        f'<div class="kgen-card"><div class="kgen-head">{head}</div>{more}'
        f'<div class="kgen-text">{text}</div>{notes_html}</div>'
    )


def _own_html(text: str) -> str:
    """Return a piece of the user's own: of a long one the middle is folded, as the additions are what is new."""
    hidden = len(text) - _HEAD - _TAIL
    if hidden < _MIN_FOLDED:
        return f"<span>{escape(text)}</span>"
    head, middle, tail = text[:_HEAD], text[_HEAD:-_TAIL], text[-_TAIL:]
    return (
        f'<span>{escape(head)}</span><details class="kgen-own"><summary>… {hidden} …</summary>'
        f"<span>{escape(middle)}</span></details><span>{escape(tail)}</span>"
    )


def _separator(source: str) -> str:
    stripped = source.rstrip()
    return " " if not stripped or stripped.endswith(",") else ", "
