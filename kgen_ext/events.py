"""What comes back: the stream of events while rows are decoded, and the finished expansion of each.

Plain values only; nothing here knows who produced them or who shows them.
"""
from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Union


class By(str, Enum):
    """Who wrote a piece of the result."""

    USER = "user"
    MODEL = "model"


class Finish(str, Enum):
    """Why a row ended: all fields done, no room left (what is whole is kept), or told to stop."""

    COMPLETE = "complete"
    LENGTH = "length"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of the final prompt, written by the user or by the model."""

    text: str
    by: By


@dataclass(frozen=True, slots=True)
class Fields:
    """The expansion's tags by category, the user's visible ones included, and its text."""

    special: tuple[str, ...] = ()
    characters: tuple[str, ...] = ()
    copyrights: tuple[str, ...] = ()
    artist: tuple[str, ...] = ()
    general: tuple[str, ...] = ()
    meta: tuple[str, ...] = ()
    quality: tuple[str, ...] = ()
    rating: tuple[str, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """The sampling and lengths a row was written with: the user's, else those that suit the model."""

    tag_length: str = "long"
    text_length: str = "none"
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.1


@dataclass(frozen=True, slots=True)
class Expansion:
    """The answer for one row.

    `pieces` joined are `prompt`; the user's pieces joined are `source`, byte for byte, in every format that keeps the
    user's text. `seed` reproduces this row alone (with `count=1`). `notes` say what could not be kept, a line each.
    """

    prompt: str
    pieces: tuple[Piece, ...]
    source: str
    seed: int
    row: int
    model: str
    engine: str
    fields: Fields
    added_tags: tuple[str, ...]
    added_text: str
    finish: Finish
    decoded_tokens: int
    forced_tokens: int
    rewound_tokens: int
    seconds: float
    notes: tuple[str, ...] = ()
    settings: Settings = Settings()


@dataclass(frozen=True, slots=True)
class Started:
    """A subject of a row (a row has one for each AND or BREAK segment) took its place in the batch."""

    row: int
    subject: int = 0


@dataclass(frozen=True, slots=True)
class Delta:
    """New characters of a field; a later `TagRejected` takes those of its tag back."""

    row: int
    field: str
    text: str
    subject: int = 0


@dataclass(frozen=True, slots=True)
class TagAccepted:
    """A whole tag stands."""

    row: int
    tag: str
    subject: int = 0


@dataclass(frozen=True, slots=True)
class TagRejected:
    """A tag, or a phrase of the text, was taken back; `rule` names why, `detail` what it met."""

    row: int
    tag: str
    rule: str
    detail: str
    subject: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """A row is done."""

    row: int
    expansion: Expansion


Event = Union[Started, Delta, TagAccepted, TagRejected, Finished]
