"""Field plan of a subject: the request text, and the fields that the model writes after it, in order.

Also what TIPO and DanTagGen have in common: the length bands they were trained on, in tags and in sentences, and the
spelling of tags, running text and the aspect ratio. `tipo` and `dtg` build the plans.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Union

from kgen_ext.request import Category, TagLength, TextLength


class Protocol(str, Enum):
    """The text format a model was trained on."""

    TIPO = "tipo"
    DTG = "dtg"


@dataclass(frozen=True, slots=True)
class Band:
    """An inclusive range of items."""

    minimum: int
    maximum: int

    def __contains__(self, count: int) -> bool:
        return self.minimum <= count <= self.maximum


# What counts towards a tag length: the people counts and general tags of a segment, whoever wrote them; required tags
# among them. Quality, meta, rating, artist, character and series names that were given do not: they have lines of
# their own.
#
# Tags on the `tag:` line of a TIPO text. Training (UwULLM src/dataset/tipo) cuts `long` at 48; the
# reference runtime lets it run to 54 and starts `very_long` there, and users know those bands.
TIPO_TAGS: dict[TagLength, Band] = {
    TagLength.VERY_SHORT: Band(0, 18),
    TagLength.SHORT: Band(18, 36),
    TagLength.LONG: Band(36, 54),
    TagLength.VERY_LONG: Band(54, 72),
}

# General tags of a DanTagGen text: from the length's trained number to that of the next length (HakuPhi).
DTG_TAGS: dict[TagLength, Band] = {
    TagLength.VERY_SHORT: Band(8, 16),
    TagLength.SHORT: Band(16, 32),
    TagLength.LONG: Band(32, 48),
    TagLength.VERY_LONG: Band(48, 64),
}

TAG_BANDS: dict[Protocol, dict[TagLength, Band]] = {Protocol.TIPO: TIPO_TAGS, Protocol.DTG: DTG_TAGS}

# The lengths that AUTO asks for, the first that leaves room for so many tags.
_AUTO_LENGTHS = (TagLength.SHORT, TagLength.LONG, TagLength.VERY_LONG)
_AUTO_ROOM = 6


def ask_length(
    length: TagLength, *, given: int, bands: Mapping[TagLength, Band], room: int = _AUTO_ROOM
) -> tuple[TagLength, Band]:
    """Return the length to ask the model for, and the band of its list, to which `given` tags belong already.

    AUTO is asked for as `short`, or as the next length where that leaves no room. Its list has no minimum but one
    added tag: behind that it ends where the model ends it.

    >>> ask_length(TagLength.AUTO, given=31, bands=TIPO_TAGS)
    (<TagLength.LONG: 'long'>, Band(minimum=32, maximum=54))
    """
    if length is not TagLength.AUTO:
        return length, bands[length]
    asked = next((size for size in _AUTO_LENGTHS if given + room <= bands[size].maximum), _AUTO_LENGTHS[-1])
    maximum = bands[asked].maximum
    return asked, Band(min(given + 1, maximum), maximum)


@dataclass(frozen=True, slots=True)
class TextBand:
    """Sentences of a text field, in at most `paragraphs` lines of at most `per_paragraph` sentences each."""

    sentences: Band
    paragraphs: int
    per_paragraph: int


# UwULLM src/dataset/tipo: max_length_map_nl is paragraphs x sentences, min_length_map_nl the minimum.
TIPO_LONG_TEXT: dict[TextLength, TextBand] = {
    TextLength.VERY_SHORT: TextBand(Band(1, 2), 1, 2),
    TextLength.SHORT: TextBand(Band(2, 4), 1, 4),
    TextLength.LONG: TextBand(Band(4, 8), 2, 4),
    TextLength.VERY_LONG: TextBand(Band(6, 18), 3, 6),
}


def short_text_band(length: TextLength) -> TextBand:
    """Return the band of a `short:` field: one paragraph, which training cut at the same number of sentences."""
    per = TIPO_LONG_TEXT[length].per_paragraph
    return TextBand(Band(1, per), 1, per)


def trained_tag(tag: str) -> str:
    """Spell a tag as in training: from four characters on, underscores become spaces.

    >>> [trained_tag(tag) for tag in ("long_hair", "^_^", ":d", "o_o")]
    ['long hair', '^_^', ':d', 'o_o']
    """
    return tag.replace("_", " ") if len(tag) >= 4 else tag


def one_line(text: str) -> str:
    """Fold white space and control characters, so that a value cannot start a new line or field."""
    return " ".join("".join(ch if ch.isprintable() else " " for ch in text).split())


def plain(text: str) -> str:
    """Return text on one line in which no tokenizer can find a special token.

    >>> plain("a </s> b <|long|>")
    'a b long'
    """
    before = None
    while before != text:  # what is left may be one: `<<s>s>`
        before, text = text, re.sub(r"<\||\|>|</?s>|<(?:unk|pad|mask)>", "", text)
    return one_line(text)


def join_tags(tags: Iterable[str]) -> str:
    """Join tags as in training, with a comma and a space."""
    return ", ".join(tags)


def aspect_ratio(width: int, height: int) -> str:
    """Return width / height to one decimal.

    >>> aspect_ratio(832, 1216)
    '0.7'
    """
    return f"{width / height:.1f}"


@dataclass(frozen=True, slots=True)
class Subject:
    """A prompt segment as the model may see it, in the models' spelling.

    `tags`: visible tags without metadata, people counts first, of which the first `shown` fit the context (None: all).
    `meta`: visible tags of the metadata categories, in the user's order. `text`: prose. `context`: tags of the
    picture's other parts, shown before its own and not counted. `people`: whether people may be added.
    """

    tags: tuple[str, ...] = ()
    shown: int | None = None
    meta: tuple[tuple[Category, tuple[str, ...]], ...] = ()
    text: str = ""
    width: int = 1024
    height: int = 1024
    context: tuple[str, ...] = ()
    people: bool = True

    @property
    def visible_tags(self) -> tuple[str, ...]:
        """The tags to show."""
        return (*self.context, *self.tags[: self.shown])


@dataclass(frozen=True, slots=True)
class TagField:
    """A list of tags. `header` is forced before it, with the given tags; "" where the request ends behind them.

    `given`: the number of tags that count from the start, including those that do not fit the context. `fresh`: the
    first token belongs to a new tag; otherwise a separator must come first, or the end.
    """

    name: str
    header: str
    given: int
    band: Band
    fresh: bool


@dataclass(frozen=True, slots=True)
class TextField:
    """Sentences after `header` ("" where the request ends behind it)."""

    name: str
    header: str
    band: TextBand


@dataclass(frozen=True, slots=True)
class MetaField:
    """Metadata lines at the end: any of `keys` (header text, category), as the model chooses."""

    keys: tuple[tuple[str, Category], ...]


FieldPlan = Union[TagField, TextField, MetaField]


@dataclass(frozen=True, slots=True)
class Plan:
    """A request text (special tokens spelled out, no BOS) and the fields to write after it."""

    request: str
    fields: tuple[FieldPlan, ...]
