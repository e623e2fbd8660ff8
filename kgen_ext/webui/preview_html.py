"""Draws the preview: the user's text plain, what the model adds coloured, one card for each version.

    head: version, seed, CLIP tokens [Use this]      text      notes

Everything is escaped: a prompt or a model can put no markup on the page. A card's button carries what to use as JSON in
its attribute; the page's script acts on it. Refuses to know gradio and where expansions come from.
"""
from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

from kgen_ext.events import By, Expansion

NOTHING = "The model added nothing: write more, choose a longer tag length, or loosen the rules."


def panel(cards: Sequence[str], *, line: str = "", failed: bool = False) -> str:
    """Return the whole panel: a line that says what happens, then the cards."""
    kind = "kgen-line kgen-error" if failed else "kgen-line"
    said = f'<div class="{kind}" role="status">{escape(line)}</div>' if line else ""
    html = f'<div class="kgen-panel">{said}{"".join(cards)}</div>'
    return html.encode("utf-8", "replace").decode()  # half an emoji must not stop the answer on its way


def growing_card(number: int, source: str, added: str) -> str:
    """Return the card of a version that is being written; added: a line for the tags, one for each text."""
    more = ", ".join(line for line in added.split("\n") if line)
    added_html = f'{_joint(source)}<span class="kgen-added">{escape(more)}</span>' if more else ""
    return _card(f"<span>Version {number}</span>", f"<span>{escape(source)}</span>{added_html}", ())


def card(number: int, expansion: Expansion, *, source: str, tokens: tuple[int, int] | None, element: str = "") -> str:
    """Return the card of a finished version.

    source: the prompt the page had. tokens: how many CLIP tokens the version has, and the end of their block of 75.
    element: the id of its button.
    """
    pieces = "".join(
        f'<span{"" if piece.by is By.USER else _ADDED}>{escape(piece.text)}</span>' for piece in expansion.pieces
    )
    nothing = () if any(piece.by is By.MODEL for piece in expansion.pieces) else (NOTHING,)
    head = [f"Version {number}", f"seed {expansion.seed}"]
    if tokens is not None:
        head.append(f"{tokens[0]} of {tokens[1]} tokens")
    shown = "".join(f"<span>{part}</span>" for part in head)
    # Plain letters only: the browser has to get back exactly what was written.
    use = escape(json.dumps({"prompt": expansion.prompt, "source": source}))
    button = f'<button type="button" class="kgen-use" id="{escape(element)}" data-kgen="{use}">Use this</button>'
    return _card(shown + button, pieces, (*nothing, *expansion.notes))


_ADDED = ' class="kgen-added"'


def _card(head: str, body: str, notes: Sequence[str]) -> str:
    said = "".join(f'<div class="kgen-note">{escape(note)}</div>' for note in notes)
    return (
        f'<div class="kgen-card"><div class="kgen-head">{head}</div><div class="kgen-text">{body}</div>{said}</div>'
    )


def _joint(source: str) -> str:
    stripped = source.rstrip()
    return " " if not stripped or stripped.endswith(",") else ", "
