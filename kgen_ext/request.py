"""The request to expand one prompt, and the table of its fields.

A line of `ExpandRequest` is a row of the table: type, default, bounds or choices, and meaning of a field. The check
below, the command's flags, the API's schema and the page's controls derive from `FIELDS`.
"""
# ruff: noqa: RUF009 - the calls in `ExpandRequest` return dataclass fields
from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from kgen_ext.errors import BadValue
from kgen_ext.sampling import Sampling

MAX_SEED = 2**63 - 1
MAX_COUNT = 64
NO_PRIOR = "none"  # no name of a table of the user's: pages show it where none is chosen
# What may follow the closing slash of a pattern: its flag, then a separator or the end.
_PATTERN_END = re.compile(r"i?[ \t]*(?:[,;\n]|$)")
# Lists of tags, in the prompt's syntax: no separator inside brackets or a network ends an item.
_IN_SYNTAX = ("ban", "require", "protect")
_SYNTAX = r"\\.|<\w+:[^<>\n]*>|(?<![\w\\])[>}]?[:;=]['^-]?[(\[](?=[\s,;]|$)|[()\[\]{}]"
_OPENERS = {")": "(", "]": "[", "}": "{"}


class TagLength(str, Enum):
    """How many tags a segment has, the user's own included; AUTO ends where the model would.

    What counts, and the bands: `kgen_ext.protocol.plan`.
    """

    AUTO = "auto"
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
    """The categories of tags that the models know."""

    SPECIAL = "special"
    CHARACTERS = "characters"
    COPYRIGHTS = "copyrights"
    ARTIST = "artist"
    GENERAL = "general"
    META = "meta"
    QUALITY = "quality"
    RATING = "rating"


class FieldType(Enum):
    """The type of a field's value: a CHOICE is a member of an enum, a LIST has such members or strings."""

    TEXT = "text"
    FLAG = "flag"
    INTEGER = "integer"
    NUMBER = "number"
    CHOICE = "choice"
    LIST = "list"


class Field(NamedTuple):
    """A row of the table.

    `low`, `high`: the smallest and the largest number allowed. `choices`: the enum of a CHOICE or LIST; None allows any
    string. `by_model`: None is allowed and stands for the model's recommendation, or `default` where it has none.
    """

    name: str
    value_type: FieldType
    default: Any
    help: str
    low: int = 0
    high: int = 0
    choices: type[Enum] | None = None
    by_model: bool = False

    def read(self, value: object) -> Any:
        """Return `value` with strings converted to enums and tuples. Raises BadValue if it is not allowed."""
        if value is None and self.by_model:
            return None
        if self.value_type is FieldType.LIST:
            items = split_list(self.name, value)
            return tuple(map(self._member, items)) if self.choices else items
        if self.value_type is FieldType.CHOICE:
            return self._member(value)
        if self.value_type is FieldType.TEXT:
            allowed, valid = "a string", isinstance(value, str)
        elif self.value_type is FieldType.FLAG:
            allowed, valid = "true or false", isinstance(value, bool)
        else:
            numbers = int if self.value_type is FieldType.INTEGER else (int, float)
            allowed = f"{'a whole number' if numbers is int else 'a number'} from {self.low} to {self.high}"
            valid = isinstance(value, numbers) and not isinstance(value, bool) and self.low <= value <= self.high
        if not valid:
            raise BadValue(self.name, value, allowed)
        return value

    def _member(self, value: object) -> Enum:
        assert self.choices is not None
        try:
            return self.choices(value)
        except ValueError:
            raise BadValue(self.name, value, [member.value for member in self.choices]) from None


def _row(value_type: FieldType, default: Any, help: str, *, by_model: bool = False, **more: Any) -> Any:
    """Return a dataclass field that carries a row of the table."""
    row = {"value_type": value_type, "default": default, "help": help, "by_model": by_model, **more}
    return dataclasses.field(default=None if by_model else default, metadata=row)


def _text(help: str, *, default: str = "") -> Any:
    return _row(FieldType.TEXT, default, help)


def _flag(help: str) -> Any:
    return _row(FieldType.FLAG, False, help)


def _whole(default: int, low: int, high: int, help: str) -> Any:
    return _row(FieldType.INTEGER, default, help, low=low, high=high)


def _number(default: float, high: int, help: str, *, by_model: bool = False) -> Any:
    return _row(FieldType.NUMBER, default, help, by_model=by_model, high=high)


def _choice(default: Enum, help: str, *, by_model: bool = False) -> Any:
    return _row(FieldType.CHOICE, default, help, by_model=by_model, choices=type(default))


def _list(help: str, *, choices: type[Enum] | None = None) -> Any:
    return _row(FieldType.LIST, (), help, choices=choices)


def _sampling(name: str) -> Any:
    option = Sampling.__dataclass_fields__[name]
    value_type = FieldType.INTEGER if isinstance(option.default, int) else FieldType.NUMBER
    return _row(value_type, option.default, by_model=True, **option.metadata)


@dataclass(frozen=True, slots=True)
class ExpandRequest:
    """One prompt to expand. Lengths and sampling options may be None: then the model's recommendation applies.

    Strings are accepted for the enums and for lists (`"hat, /blue .*/, category:artist"`); they are converted here.
    Raises `BadValue` that names the field, the value and what is allowed.

    >>> ExpandRequest("1girl, shrine", tag_length="long").tag_length
    <TagLength.LONG: 'long'>
    """

    prompt: str = _text("the prompt to expand")
    text: str = _text("description in sentences, in addition to tags or instead of them")
    tag_length: TagLength | str | None = _choice(
        TagLength.LONG, "number of people counts and general tags in each segment, yours included", by_model=True
    )
    text_length: TextLength | str | None = _choice(TextLength.NONE, "number of sentences to write", by_model=True)
    task: Task | str = _choice(Task.AUTO, "order in which the model writes its fields")
    format: str = _text("layout of the result: the name of a format, or a template", default="append")
    ban: str | tuple[str, ...] = _list("banned tags and patterns: hat, *_hair, /blue .*/, category:hair")
    require: str | tuple[str, ...] = _list("tags that the result must contain: hat, (smile:1.2), <lora:x:1>")
    rules: str | tuple[str, ...] = _list('conditional rule, such as "if twintails ban long hair"')
    protect: str | tuple[str, ...] = _list("words of your prompt to hide from the model, such as trigger words")
    context: str = _text("the picture's other parts: what a prompt without a subject of its own belongs to")
    mark: str = _text("name in the angle brackets around what is to be expanded", default="kgen")
    allow: str | tuple[Category | str, ...] = _list(
        "tag categories the model may add even if your prompt has none", choices=Category
    )
    allow_contradictions: bool = _flag("allow tags that contradict each other, such as two hair colours")
    no_tags: bool = _flag("write sentences only; requires a text length")
    tag_file: str = _text(
        "write only tags of this file (as of a1111-sd-webui-tagcomplete); danbooru: of the built-in list; any: all;"
        " empty: as the model recommends"
    )
    seed: int = _whole(0, 0, MAX_SEED, "random seed; the same seed gives the same text")
    count: int = _whole(1, 1, MAX_COUNT, "number of different expansions of each prompt")
    temperature: float | None = _sampling("temperature")
    top_k: int | None = _sampling("top_k")
    top_p: float | None = _sampling("top_p")
    min_p: float | None = _sampling("min_p")
    prior: float | None = _number(
        0.0, 4, "weight of what is known of which tags go together, beside the model; 0: the model alone", by_model=True
    )
    yours: str = _text("favour the tags of your own images: the name of a table that kgen prior build made")
    width: int = _whole(1024, 16, 16384, "width of the image; the model is given the aspect ratio")
    height: int = _whole(1024, 16, 16384, "height of the image")

    def __post_init__(self) -> None:
        for field in FIELDS.values():
            # The class is frozen: this is the one place that converts.
            object.__setattr__(self, field.name, field.read(getattr(self, field.name)))
        if not self.mark.isalpha():
            raise BadValue("mark", self.mark, "letters")
        if self.no_tags and self.text_length in (None, TextLength.NONE):
            raise BadValue("text_length", "none", "another length: with no_tags there is nothing else to write")


FIELDS: Mapping[str, Field] = {row.name: Field(row.name, **row.metadata) for row in dataclasses.fields(ExpandRequest)}
# What applies to a field that neither the request nor the model's recommendation sets.
DEFAULTS: Mapping[str, Any] = {name: field.default for name, field in FIELDS.items() if field.by_model}


def split_list(field: str, value: object) -> tuple[str, ...]:
    """Split `a, /b,c/; d` at commas, semicolons and newlines outside `/.../`; pass sequences through, stripped.

    Lists of tags are not split inside brackets and networks either.

    >>> split_list("ban", "hat, /blue|red,?/, category:artist, (a, b:1.2)")
    ('hat', '/blue|red,?/', 'category:artist', '(a, b:1.2)')
    """
    if isinstance(value, str):
        whole = _bracketed(value) if field in _IN_SYNTAX else {}
        return tuple(part for part in (piece.strip() for piece in _split(value, whole)) if part)
    if isinstance(value, Iterable):
        parts = tuple(value)
        if all(isinstance(part, str) for part in parts):
            return tuple(part.strip() for part in parts if part.strip())
    raise BadValue(field, value, "a comma-separated string or a list of strings")


def _bracketed(value: str) -> dict[int, int]:
    """Return the ends of closed brackets and networks by their starts; a bracket in an emoticon or escape is text."""
    ends, stacks = dict[int, int](), {opener: list[int]() for opener in _OPENERS.values()}
    for found in re.finditer(_SYNTAX, value, re.DOTALL):
        sign = found[0]
        if sign in stacks:
            stacks[sign].append(found.start())
        elif sign in _OPENERS:
            if stacks[_OPENERS[sign]]:
                ends[stacks[_OPENERS[sign]].pop()] = found.end()
        elif sign[0] == "<":
            ends[found.start()] = found.end()
    return ends


def _split(value: str, whole: Mapping[int, int]) -> list[str]:
    parts, start, i = [], 0, 0
    while i < len(value):
        if value[i] == "/" and not value[start:i].strip():
            # A pattern runs to the next slash that is followed by a separator or the end.
            end = i + 1
            while end < len(value) and not (
                value[end] == "/" and value[end - 1] != "\\" and _PATTERN_END.match(value, end + 1)
            ):
                end += 1
            i = end + 1
        elif i in whole:
            i = whole[i]
        elif value[i] in ",;\n":
            parts.append(value[start:i])
            start = i = i + 1
        else:
            i += 1
    parts.append(value[start:])
    return parts
