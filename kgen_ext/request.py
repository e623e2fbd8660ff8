"""What a caller asks for: one prompt to expand, with every choice spelled out and checked.

The field names are the command's option names and the JSON's keys. This file refuses to know how any of it is done.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from kgen_ext.errors import BadValue

MAX_SEED = 2**63 - 1
MAX_COUNT = 64
# What may stand behind the closing slash of a pattern: its flag, then a separator or the end.
_ENDS_PATTERN = re.compile(r"i?[ \t]*(?:[,;\n]|$)")


class TagLength(str, Enum):
    """How many tags the result holds, the user's own included (bands: `kgen_ext.protocol`)."""

    VERY_SHORT = "very_short"
    SHORT = "short"
    LONG = "long"
    VERY_LONG = "very_long"


class TextLength(str, Enum):
    """How many sentences are written; NONE writes tags only."""

    NONE = "none"
    VERY_SHORT = "very_short"
    SHORT = "short"
    LONG = "long"
    VERY_LONG = "very_long"


class Task(str, Enum):
    """The order in which a model writes its fields; AUTO chooses from what is given and what is wanted."""

    AUTO = "auto"
    TAG = "tag"
    TAG_TO_LONG = "tag_to_long"
    LONG_TO_TAG = "long_to_tag"
    SHORT_TO_TAG = "short_to_tag"
    SHORT_TO_LONG = "short_to_long"
    TAG_TO_SHORT_TO_LONG = "tag_to_short_to_long"
    SHORT_TO_TAG_TO_LONG = "short_to_tag_to_long"
    SHORT_TO_LONG_TO_TAG = "short_to_long_to_tag"


class Category(str, Enum):
    """The kinds of tag the models know."""

    SPECIAL = "special"
    CHARACTERS = "characters"
    COPYRIGHTS = "copyrights"
    ARTIST = "artist"
    GENERAL = "general"
    META = "meta"
    QUALITY = "quality"
    RATING = "rating"


# What holds for a field that neither the user nor the model's entry in the catalogue says anything about.
UNSAID: Mapping[str, TagLength | TextLength | float | int] = {
    "tag_length": TagLength.LONG, "text_length": TextLength.NONE,
    "temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ExpandRequest:
    """One prompt to expand. Lengths and sampling are None where the user says nothing: then what suits the model holds.

    Strings are accepted for the enums and for lists of patterns (`"hat, /blue .*/, category:artist"`); they are
    checked and converted here. Raises `BadValue` that names the field, the value and what is allowed.

    >>> ExpandRequest("1girl, shrine", tag_length="long").tag_length
    <TagLength.LONG: 'long'>
    """

    prompt: str = ""
    text: str = ""
    tag_length: TagLength | str | None = None
    text_length: TextLength | str | None = None
    task: Task | str = Task.AUTO
    format: str = "append"
    ban: str | tuple[str, ...] = ()
    require: str | tuple[str, ...] = ()
    rules: str | tuple[str, ...] = ()
    protect: str | tuple[str, ...] = ()
    allow: str | tuple[Category | str, ...] = ()
    allow_contradictions: bool = False
    no_tags: bool = False
    tag_file: str = ""
    seed: int = 0
    count: int = 1
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    width: int = 1024
    height: int = 1024

    def __post_init__(self) -> None:
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731 - frozen, converted once
        for name in ("prompt", "text", "format", "tag_file"):
            if not isinstance(getattr(self, name), str):
                raise BadValue(name, getattr(self, name), "a string")
        if self.tag_length is not None:
            put("tag_length", _enum("tag_length", self.tag_length, TagLength))
        if self.text_length is not None:
            put("text_length", _enum("text_length", self.text_length, TextLength))
        put("task", _enum("task", self.task, Task))
        for name in ("ban", "require", "rules", "protect"):
            put(name, split_list(name, getattr(self, name)))
        put("allow", tuple(_enum("allow", one, Category) for one in split_list("allow", self.allow)))
        if self.no_tags and self.text_length in (None, TextLength.NONE):
            raise BadValue("text_length", "none", "another length: with no_tags there is nothing else to write")
        _whole("seed", self.seed, 0, MAX_SEED)
        _whole("count", self.count, 1, MAX_COUNT)
        if self.top_k is not None:
            _whole("top_k", self.top_k, 0, 1_000_000)
        for name, high in (("temperature", 5.0), ("top_p", 1.0), ("min_p", 1.0)):
            if getattr(self, name) is not None:
                _number(name, getattr(self, name), 0.0, high)
        _whole("width", self.width, 16, 16384)
        _whole("height", self.height, 16, 16384)


def split_list(field: str, value: object) -> tuple[str, ...]:
    """Split `a, /b,c/; d` at commas, semicolons and newlines outside `/.../`; pass sequences through, stripped.

    >>> split_list("ban", "hat, /blue|red,?/, category:artist")
    ('hat', '/blue|red,?/', 'category:artist')
    """
    if isinstance(value, str):
        return tuple(part for part in (piece.strip() for piece in _split_outside_slashes(value)) if part)
    if isinstance(value, Iterable):
        parts = tuple(value)
        if all(isinstance(part, str) for part in parts):
            return tuple(part.strip() for part in parts if part.strip())
    raise BadValue(field, value, "a comma-separated string or a list of strings")


def _split_outside_slashes(value: str) -> list[str]:
    parts, start, i = [], 0, 0
    while i < len(value):
        if value[i] == "/" and not value[start:i].strip():
            # A pattern: runs to the next slash that a separator or the end follows.
            end = i + 1
            while end < len(value) and not (
                value[end] == "/" and value[end - 1] != "\\" and _ENDS_PATTERN.match(value, end + 1)
            ):
                end += 1
            i = end + 1
        elif value[i] in ",;\n":
            parts.append(value[start:i])
            start = i = i + 1
        else:
            i += 1
    parts.append(value[start:])
    return parts


E = TypeVar("E", bound=Enum)


def _enum(field: str, value: object, kind: type[E]) -> E:
    try:
        return kind(value)
    except ValueError:
        raise BadValue(field, value, [one.value for one in kind]) from None


def _whole(field: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise BadValue(field, value, f"a whole number from {low} to {high}")


def _number(field: str, value: object, low: float, high: float) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not low <= value <= high:
        raise BadValue(field, value, f"a number from {low:g} to {high:g}")
