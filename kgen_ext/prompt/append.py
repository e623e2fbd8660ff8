"""Adds a model's words to the segments of a prompt without changing a byte, a weight or a step of the user's.

Refuses to judge what is added. Where an addition goes:

    last segment    at the very end (before the weight of an AND part). A comment is ended by a new line first, and
                    brackets that nothing closes are closed: they reach to the end of the prompt anyway, so closing
                    them right before the addition leaves every weight as it was and gives the addition weight 1.
    other segments  after their last tag or sentence. Where a bracket, an edit or a choice reaches over that place,
                    before whatever it is, if it begins in this segment; else inside brackets that can be closed before
                    the addition and opened again after it; else nowhere, and the segment is named in `skipped`.

Two things keep schedules: `[(])` before a closing `]` has no text and no weight, but balances with nothing, so the
closed bracket cannot become an edit; and a new line after a lone backslash keeps the host from reading an escape.
"""
from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kgen_ext.events import By, Piece
from kgen_ext.prompt.escape import escape
from kgen_ext.prompt.lexer import blank
from kgen_ext.prompt.places import Place, Places
from kgen_ext.prompt.sentences import is_finished
from kgen_ext.prompt.spans import Kind, Prompt, Segment, render

_COMMAS = (",", "，", "、")


@dataclass(frozen=True, slots=True)
class Appended:
    """The pieces, joined the new prompt, the user's joined the source; and the segments left without their addition."""

    pieces: tuple[Piece, ...]
    skipped: tuple[int, ...] = ()


def append(prompt: Prompt, additions: Sequence[str]) -> Appended:
    """Add one text to each segment, "" for none; text is escaped here.

    >>> "".join(piece.text for piece in append(parse("cat BREAK (dog"), ["hat", "fox (animal)"]).pieces)
    'cat, hat BREAK (dog), fox \\\\(animal\\\\)'
    """
    if len(additions) > len(prompt.segments):
        raise ValueError(f"{len(additions)} additions for {len(prompt.segments)} segments")
    source = render(prompt)
    places = Places(prompt, source)
    shown = blank(prompt.tokens, (Kind.COMMENT,))
    unclosed = _unclosed_network(prompt, source)
    pieces: list[Piece] = []
    skipped: list[int] = []
    done = 0
    for i, addition in enumerate(additions):
        words = escape(addition).strip(" ,")
        segment = prompt.segments[i]
        at_end = i == len(prompt.segments) - 1 and segment.tail == segment.end
        place = (places.at_end() if at_end else places.inside(segment)) if words else None
        if place is None:
            skipped += [i] if words else []
            continue
        if place.at > unclosed:
            words = words.replace(">", "")
        text = place.opening + _before(shown, segment, place) + words + _after(shown, segment, place, words)
        if place.at > done:
            pieces.append(Piece(source[done : place.at], By.USER))
        pieces.append(Piece(text, By.MODEL))
        done = place.at
    if done < len(source):
        pieces.append(Piece(source[done:], By.USER))
    return Appended(tuple(pieces), tuple(skipped))


def _before(shown: str, segment: Segment, place: Place) -> str:
    """Return the separator between the user's text and the addition."""
    head = shown[segment.start : place.at]
    text = head.rstrip()
    spaced = bool(place.opening) or text != head
    if place.opening.strip():
        return ", "
    if not text:
        return "" if spaced or segment.start == 0 else " "
    last = segment.items[-1] if segment.items else None
    sentence = last is not None and last.kind is Kind.PROSE and last.end <= place.at and is_finished(text)
    if text.endswith(_COMMAS) or sentence:
        return "" if spaced else " "
    return ", "


def _after(shown: str, segment: Segment, place: Place, words: str) -> str:
    """Return what stands between the addition and the user's text that follows, if any."""
    # `:3` at the end of an AND part, or of a prompt, would be its weight.
    comma = "," if re.search(r":\s*[-+]?[.\d]+\Z", words) else ""
    if place.closing:
        return comma + " " + place.closing
    if shown[place.at : segment.tail].strip() in ("", "\\"):
        following = shown[place.at : place.at + 1]
        return comma + ("" if not following or following.isspace() or following == ":" else " ")
    return "" if shown[place.at :].lstrip().startswith(_COMMAS) else ", "


def _unclosed_network(prompt: Prompt, source: str) -> int:
    """Return where the first `<name:` without its `>` stands: a `>` after it would make a network of all between."""
    head = re.compile(r"<\w+:")
    starts = (token.start for token in prompt.tokens if token.text == "<" and head.match(source, token.start))
    return next(starts, len(source))
