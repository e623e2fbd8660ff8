"""What a prompt is once read: tokens that join to the user's exact text, and spans over them.

Refuses to know how a prompt is read or what is made of it; nothing here can change a user's span.

A token is a leaf; every character of the source belongs to exactly one. A span is a range of the source with a
meaning. Spans may overlap (`very (long:1.3) hair` is one TAG with an EMPHASIS inside, `(a, b)` an EMPHASIS with two
TAGs inside), so they are ranges in reading order and not a tree; no depth of nesting can exhaust the stack.
Both are named tuples, not dataclasses, because a prompt can have a million of them.
"""
from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class Kind(str, Enum):
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

    EMOTICON = "emoticon"  # one that holds brackets: >:( and (o)_(o)
    NETWORK = "network"  # <name:..>
    WILDCARD = "wildcard"  # __x__
    COMMENT = "comment"  # # to the end of the line
    SLOT = "slot"  # [PROMPT]
    AND = "AND"
    BREAK = "BREAK"
    REGION = "region"  # ADDCOMM, ADDCOL, ADDROW, ADDBASE, ADDP
    SEP = "[SEP]"


DIVIDERS = frozenset((Kind.AND, Kind.BREAK, Kind.REGION, Kind.SEP))


class Token(NamedTuple):
    """A leaf: `text` stands at `start` in the source."""

    kind: Kind
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


class Span(NamedTuple):
    """A range of the source with a meaning.

    `weight` is what A1111 multiplies the text by, enclosing brackets included; for EMPHASIS and DEEMPHASIS it is the
    bracket's own factor, for AND_WEIGHT the number. `shown` is a TAG's or PROSE's text without weights and escapes.
    """

    kind: Kind
    start: int
    end: int
    weight: float = 1.0
    shown: str = ""


class Segment(NamedTuple):
    """One subject: the source between two dividers (AND, BREAK, a region keyword, [SEP]), with its items in order.

    `end` excludes the divider that follows; `tail` is where an AND weight begins (`end` where there is none).
    """

    start: int
    end: int
    tail: int
    items: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt, read. `render` gives the source back; `segments` has at least one entry."""

    tokens: tuple[Token, ...]
    spans: tuple[Span, ...]
    segments: tuple[Segment, ...]


def render(prompt: Prompt) -> str:
    """Return the source: `render(parse(s)) == s` for every string."""
    return "".join([token.text for token in prompt.tokens])
