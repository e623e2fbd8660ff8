"""What one subject asks of a model: the request text, and the fields the model then writes, in order.

Values only; the text formats that fill them are in `tipo` and `dtg`.
"""
from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Union

from kgen_ext.protocol.lengths import Band, TextBand
from kgen_ext.request import Category


class Protocol(str, Enum):
    """The text format a model was trained on."""

    TIPO = "tipo"
    DTG = "dtg"


@dataclass(frozen=True, slots=True)
class Subject:
    """What the model may see of one prompt segment, already in the models' spelling.

    `tags` are the visible tags without metadata, people counts first, of which `shown` fit the context (None: all);
    `meta` the visible tags of the metadata categories, in the user's order; `text` prose.
    """

    tags: tuple[str, ...] = ()
    shown: int | None = None
    meta: tuple[tuple[Category, tuple[str, ...]], ...] = ()
    text: str = ""
    width: int = 1024
    height: int = 1024


@dataclass(frozen=True, slots=True)
class TagField:
    """A list of tags. `header` is forced before it, with the given tags; "" where the request ends behind them.

    `given`: how many tags count from the start, those the context cannot show included. `fresh`: the first token
    belongs to a new tag; otherwise a separator must come first, or the end.
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
    """Metadata lines at the end, of the model's choice among `keys` (header text, category); any may be left out."""

    keys: tuple[tuple[str, Category], ...]


FieldPlan = Union[TagField, TextField, MetaField]


@dataclass(frozen=True, slots=True)
class Plan:
    """A request text (special tokens spelled out, no BOS) and the fields to be written after it."""

    request: str
    fields: tuple[FieldPlan, ...]
