"""Tokens, spans and segments of a prompt, and merged ranges of its text.

The tokens join to the user's exact text. A token is a leaf; every character of the source belongs to exactly one. A
span is a range of the source with a meaning. Spans may overlap (`very (long:1.3) hair` is one TAG with an EMPHASIS
inside, `(a, b)` an EMPHASIS with two TAGs inside), so they are ranges in reading order and not a tree; no depth of
nesting can exhaust the stack. Both are named tuples, not dataclasses, because a prompt can have a million of them.
"""
from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class SpanKind(str, Enum):
    """Kinds of token (first block), of span only (second), and of both (third)."""

    TEXT = "text"
    SPACE = "space"
    NEWLINE = "newline"
    COMMA = "comma"  # , and full-width ， 、
    OPEN = "open"  # ( [ {
    CLOSE = "close"  # ) ] }
    COLON = "colon"
    BAR = "bar"
    WEIGHT = "weight"  # :1.2 before a closing bracket
    ESCAPE = "escape"  # \( and every other \x

    TAG = "tag"
    PROSE = "prose"
    OPAQUE = "opaque"  # an item with an unresolved wildcard in it
    EMPHASIS = "emphasis"  # ( )
    DEEMPHASIS = "deemphasis"  # [ ]
    EDIT = "edit"  # [a:b:0.5]
    ALTERNATION = "alternation"  # [a|b]
    CHOICE = "choice"  # {a|b}
    AND_WEIGHT = "and weight"  # :1.2 at the end of an AND segment
    GROUP = "group"  # a bracket of Neutral Prompt's AND_PERP [ a AND b ]

    EMOTICON = "emoticon"  # one that holds brackets: >:( and (o)_(o)
    NETWORK = "network"  # <name:..>
    WILDCARD = "wildcard"  # __x__
    COMMENT = "comment"  # # to the end of the line
    SLOT = "slot"  # [PROMPT]
    AND = "AND"
    BREAK = "BREAK"
    REGION = "region"  # ADDCOMM, ADDCOL, ADDROW, ADDBASE, ADDP
    SEP = "[SEP]"


DIVIDERS = frozenset((SpanKind.AND, SpanKind.BREAK, SpanKind.REGION, SpanKind.SEP))


class Token(NamedTuple):
    """A leaf: `text` is at `start` in the source."""

    kind: SpanKind
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


class Span(NamedTuple):
    """A range of the source with a meaning.

    `weight` is what A1111 multiplies the text by, enclosing brackets included; for EMPHASIS and DEEMPHASIS it is the
    bracket's own factor, for AND_WEIGHT the number. `shown` is a TAG's or PROSE's text without weights and escapes.
    `listed` holds the tags that a PROSE lists in brackets. `wanted` is off where a weight of 0 or less, of the host or
    of another program, keeps it out of the picture.
    """

    kind: SpanKind
    start: int
    end: int
    weight: float = 1.0
    shown: str = ""
    listed: tuple[str, ...] = ()
    wanted: bool = True


class Segment(NamedTuple):
    """A subject: the source between two dividers (AND, BREAK, a region keyword, [SEP]), with its items in order.

    `end` excludes the divider that follows; `tail` is where an AND weight begins (`end` where there is none).
    """

    start: int
    end: int
    tail: int
    items: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A parsed prompt. `render` gives the source back; `segments` has at least one entry."""

    tokens: tuple[Token, ...]
    spans: tuple[Span, ...]
    segments: tuple[Segment, ...]


def render(prompt: Prompt) -> str:
    """Return the source: `render(parse(s)) == s` for every string."""
    return "".join([token.text for token in prompt.tokens])


class Ranges:
    """The union of half-open ranges, in any order.

    >>> 3 in Ranges([(1, 2), (2, 5)]), 5 in Ranges([(1, 5)])
    (True, False)
    """

    __slots__ = ("_starts", "_stops")

    def __init__(self, ranges: Iterable[tuple[int, int]], *, join: bool = True) -> None:
        """Merge ranges; with `join` off, ranges that only touch stay two."""
        self._starts: list[int] = []
        self._stops: list[int] = []
        for start, stop in sorted(pair for pair in ranges if pair[0] < pair[1]):
            if self._stops and (start < self._stops[-1] or (join and start == self._stops[-1])):
                self._stops[-1] = max(self._stops[-1], stop)
            else:
                self._starts.append(start)
                self._stops.append(stop)

    def __contains__(self, at: int) -> bool:
        i = bisect_right(self._starts, at) - 1
        return i >= 0 and at < self._stops[i]

    def around(self, at: int) -> tuple[int, int] | None:
        """Return the range with `at` strictly inside, if any."""
        i = bisect_right(self._starts, at) - 1
        if i < 0 or self._starts[i] == at:
            return None
        stop = self._stops[i]
        return (self._starts[i], stop) if at < stop else None
