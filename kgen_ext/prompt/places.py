"""Finds where an addition may stand, and what must be written around it to leave every weight and step alone.

Refuses to know what is added. A place is safe in three readings at once: the source as it is, the source without
comments and networks, and each AND part by itself (whose open brackets are among those of the whole).
"""
from __future__ import annotations

import re
from bisect import bisect_left
from typing import NamedTuple

from kgen_ext.prompt.brackets import Bracket, read_brackets
from kgen_ext.prompt.edits import read_edits
from kgen_ext.prompt.lexer import blank
from kgen_ext.prompt.ranges import Ranges
from kgen_ext.prompt.spans import Kind, Prompt, Segment, Span

# No text, no weight, and unbalanced for the edit grammar: a bracket around it cannot be an edit or an alternation.
_SEAL = "[(])"
_MOST_REOPENED = 8


class Place(NamedTuple):
    """Where an addition goes: `opening` comes before it and its separator, `closing` after it."""

    at: int
    opening: str = ""
    closing: str = ""


class Places:
    """The places of one prompt; built once, asked for each segment."""

    def __init__(self, prompt: Prompt, source: str) -> None:
        self._tokens = prompt.tokens
        self._starts = [token.start for token in prompt.tokens]
        self._source = source
        self._bare = blank(prompt.tokens, (Kind.COMMENT, Kind.NETWORK))
        self._raw = read_brackets(source)
        self._stripped = read_brackets(self._bare) if self._bare != source else self._raw
        kept = (Kind.EDIT, Kind.ALTERNATION, Kind.CHOICE)
        whole = [(span.start, span.end) for span in prompt.spans if span.kind in kept]
        whole += [(edit.start, edit.stop) for edit in read_edits(source)[0]]
        whole += [(token.start, token.end) for token in prompt.tokens if token.kind in (Kind.COMMENT, Kind.NETWORK)]
        bounds = [segment.start - 1 for segment in prompt.segments[1:]]
        self._wide = [one for one in self._raw if _holds_any(one, bounds)]
        self._wide_stripped = [one for one in self._stripped if _holds_any(one, bounds)]
        narrow = {(one.start, one.stop) for one in (*self._raw, *self._stripped)}
        narrow -= {(one.start, one.stop) for one in (*self._wide, *self._wide_stripped)}
        self._closed = Ranges([*whole, *narrow], join=False)
        self._composed = any(token.kind is Kind.AND for token in prompt.tokens)

    def at_end(self) -> Place:
        """Return the place at the end of the prompt."""
        last = self._tokens[-1] if self._tokens else None
        line = "\n" if last and (last.kind is Kind.COMMENT or last.text == "\\") else ""
        open_raw = [one for one in self._raw if not one.closer]
        open_stripped = [one for one in self._stripped if not one.closer]
        rounds = sorted((_count(open_raw, square=False), _count(open_stripped, square=False)))
        squares = sorted((_count(open_raw, square=True), _count(open_stripped, square=True)))
        # What is open in one reading only comes last: in the other it closes nothing and is a character of text.
        closers = ")" * rounds[0] + "]" * squares[0] + ")" * (rounds[1] - rounds[0]) + "]" * (squares[1] - squares[0])
        first = min((one.start for one in (*open_raw, *open_stripped) if one.square), default=len(self._source))
        return Place(len(self._source), line + self._seal(len(self._source), closers, since=first) + closers)

    def inside(self, segment: Segment) -> Place | None:
        """Return the place after the segment's last tag or sentence, or near it; None where there is none."""
        at: int | None = self._last_seen(segment)
        while at is not None:
            before = self._earlier(segment, at)
            if before is None:
                return self._reopened(at)
            at = before if before >= segment.start else None
        return None

    def _earlier(self, segment: Segment, at: int) -> int | None:
        """Return where what reaches over `at` begins; None if nothing does that could be stepped out of."""
        around = self._closed.around(at)
        if around is not None:
            return around[0]
        item = _item_around(segment, at)
        if item is not None:
            return item.start
        wide = (one.start for one in (*self._wide, *self._wide_stripped) if _holds(one, at))
        return min((start for start in wide if start >= segment.start), default=None)

    def _last_seen(self, segment: Segment) -> int:
        """Return the end of the last token before the tail that is neither space, comment nor a lone backslash."""
        i = bisect_left(self._starts, segment.tail) - 1
        while i >= 0 and self._starts[i] >= segment.start:
            token = self._tokens[i]
            if token.kind not in (Kind.SPACE, Kind.NEWLINE, Kind.COMMENT) and token.text != "\\":
                # A weight can begin inside an escape: the host's `\\:1.2` weighs an AND part all the same.
                return token.end if token.end <= segment.tail else token.start
            i -= 1
        return segment.start

    def _reopened(self, at: int) -> Place | None:
        """Close the brackets around `at`, if any, as the user does further on, and open them again after it."""
        end = len(self._source)
        around = [one for one in self._wide if _holds(one, at)]
        stripped = {one.start for one in self._wide_stripped if _holds(one, at)}
        if (
            {one.start for one in around} != stripped
            or len(around) > _MOST_REOPENED
            # In an AND part of its own a closer is text, and `:1.3)` is text nobody wants to read.
            or (self._composed and any(one.closer.startswith(":") for one in around))
        ):
            return None
        closers = "".join(one.closer or (")]"[one.square]) for one in around)
        openers = "".join("(["[one.square] for one in sorted(around, key=lambda one: one.start))
        first = min((one.start for one in around if one.square), default=end)
        seal = self._seal(at, closers, since=first)
        return Place(at, seal + closers, openers + (" " + _SEAL if "[" in openers and seal else ""))

    def _seal(self, at: int, closers: str, *, since: int) -> str:
        """Return what keeps closers from making an edit of `source[since:at]`, or a weight of its last number."""
        makes_edit = "]" in closers and re.search(r"[:|]", self._source[since:])
        makes_weight = closers[:1] == ")" and any(
            re.search(r":\s*[+-]?[.\d]+\Z", text[max(0, at - 400) : at].rstrip()) for text in (self._source, self._bare)
        )
        if not (makes_edit or makes_weight):
            return ""
        # A space keeps a run of bare brackets away from an edit: the host's grammar is of two minds about those.
        return (" " if self._source[at - 1] in "])" else "") + _SEAL


def _count(brackets: list[Bracket], *, square: bool) -> int:
    return sum(one.square == square for one in brackets)


def _holds(bracket: Bracket, at: int) -> bool:
    return bracket.start < at < bracket.stop


def _holds_any(bracket: Bracket, places: list[int]) -> bool:
    i = bisect_left(places, bracket.start)
    return i < len(places) and places[i] < bracket.stop


def _item_around(segment: Segment, at: int) -> Span | None:
    i = bisect_left(segment.items, at, key=lambda item: item.start) - 1
    return segment.items[i] if i >= 0 and at < segment.items[i].end else None
