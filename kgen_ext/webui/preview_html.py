"""Draws the preview: the user's text plain, what the model adds coloured, one card for each version.

Everything is escaped: a prompt or a model can put no markup on the page. Refuses to know gradio and how events come.
"""
from __future__ import annotations

from collections.abc import Sequence
from html import escape

from kgen_ext.events import By, Delta, Event, Expansion, TagAccepted, TagRejected

_TAG_FIELDS = ("tag", "general")


class Growing:
    """The additions of one row while they are written; what is rejected goes again."""

    def __init__(self) -> None:
        self._tags: dict[int, list[str]] = {}
        self._texts: dict[tuple[int, str], str] = {}
        self._field: dict[int, str] = {}

    def note(self, event: Event) -> None:
        """Take an event in."""
        if isinstance(event, TagAccepted):
            self._tags.setdefault(event.subject, []).append(event.tag)
        elif isinstance(event, Delta):
            self._field[event.subject] = event.field
            if event.field not in _TAG_FIELDS:
                key = (event.subject, event.field)
                self._texts[key] = self._texts.get(key, "") + event.text
        elif isinstance(event, TagRejected):
            key = (event.subject, self._field.get(event.subject, ""))
            cut = self._texts.get(key, "").rfind(event.tag or "\0")
            if cut >= 0:
                self._texts[key] = self._texts[key][:cut]

    def text(self) -> str:
        """Return what stands now."""
        tags = [tag for subject in sorted(self._tags) for tag in self._tags[subject]]
        texts = [" ".join(text.split()) for text in self._texts.values() if text.strip()]
        return ", ".join([*tags, *texts])


def panel(cards: Sequence[str], *, line: str = "", failed: bool = False) -> str:
    """Return the whole panel: a line that says what happens, then the cards."""
    kind = "kgen-line kgen-error" if failed else "kgen-line"
    said = f'<div class="{kind}" role="status">{escape(line)}</div>' if line else ""
    return f'<div class="kgen-panel">{said}{"".join(cards)}</div>'


def growing_card(number: int, source: str, added: str) -> str:
    """Return the card of a version that is being written."""
    more = f'{_joint(source)}<span class="kgen-added">{escape(added)}</span>' if added else ""
    return _card(f"Version {number}", f"<span>{escape(source)}</span>{more}", ())


def card(number: int, expansion: Expansion, *, tokens: tuple[int, int] | None) -> str:
    """Return the card of a finished version; tokens: how many CLIP tokens it has, and the end of their block of 75."""
    pieces = "".join(
        f"<span{'' if piece.by is By.USER else ' class=kgen-added'}>{escape(piece.text)}</span>"
        for piece in expansion.pieces
    )
    head = f"Version {number} · seed {expansion.seed}"
    if tokens is not None:
        head += f" · {tokens[0]} of {tokens[1]} tokens"
    return _card(head, pieces, expansion.notes)


def _card(head: str, body: str, notes: Sequence[str]) -> str:
    said = "".join(f'<div class="kgen-note">{escape(note)}</div>' for note in notes)
    return (
        f'<div class="kgen-card"><div class="kgen-head">{escape(head)}</div>'
        f'<div class="kgen-text">{body}</div>{said}</div>'
    )


def _joint(source: str) -> str:
    stripped = source.rstrip()
    return " " if not stripped or stripped.endswith(",") else ", "
