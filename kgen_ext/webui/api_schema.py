"""What the API accepts, as JSON schemas: the controls of the page from their table, and the fields of a request.

Refuses to check anything: `ExpandRequest` and `Values` do that. A test holds the bounds here against theirs.
"""
from __future__ import annotations

import dataclasses
from enum import Enum
from typing import Any

from kgen_ext import __version__
from kgen_ext.request import MAX_COUNT, MAX_SEED, Category, ExpandRequest, TagLength, Task, TextLength
from kgen_ext.webui.controls import CONTROLS, Control, Widget
from kgen_ext.webui.settings import ENGINES

MAX_PROMPTS = 64
MAX_ROWS = 256
MAX_BYTES = 1 << 20
MAX_TEXT = 20_000

Schema = dict[str, Any]


def _enum(kind: type[Enum]) -> Schema:
    return {"type": "string", "enum": [one.value for one in kind]}


def _whole(low: int, high: int) -> Schema:
    return {"type": "integer", "minimum": low, "maximum": high}


def _share(high: float = 1) -> Schema:
    return {"type": "number", "minimum": 0, "maximum": high}


def _several(item: Schema) -> Schema:
    return {"anyOf": [{"type": "string"}, {"type": "array", "items": item}]}


_TEXT: Schema = {"type": "string", "maxLength": MAX_TEXT}
_FLAG: Schema = {"type": "boolean"}
_LIST = _several({"type": "string"})

# The fields of a request, but for tag_file: no client may name a file.
FIELDS: dict[str, Schema] = {
    "text": _TEXT, "tag_length": _enum(TagLength), "text_length": _enum(TextLength), "task": _enum(Task),
    "format": _TEXT, "ban": _LIST, "require": _LIST, "rules": _LIST, "protect": _LIST,
    "allow": _several(_enum(Category)), "allow_contradictions": _FLAG, "no_tags": _FLAG,
    "seed": _whole(-1, MAX_SEED), "count": _whole(1, MAX_COUNT),
    "temperature": _share(5), "top_k": _whole(0, 1_000_000),
    "top_p": _share(), "min_p": _share(), "width": _whole(16, 16384), "height": _whole(16, 16384),
}  # fmt: skip
# What the API has beside them: (schema, default, what it is).
MORE: dict[str, tuple[Schema, Any, str]] = {
    "prompt": (_TEXT, "", "the prompt to expand"),
    "prompts": ({"type": "array", "items": _TEXT, "maxItems": MAX_PROMPTS}, None,
                "several prompts instead, as one batch; seeds rise by one from prompt to prompt"),
    "model": ({"type": "string"}, "default", "a name that GET /kgen/v1/models shows; default is the one in Settings"),
    "engine": ({"type": "string", "enum": [value for value, _ in ENGINES]}, "auto", "what runs the model"),
    "creativity": ({"type": "string"}, None, "a preset of the page; the four numbers, where given, go before it"),
    "known_only": (_FLAG, False, "write only tags of the tag file that is chosen in Settings or found"),
}  # fmt: skip
# null is no prompt; of every other field it says the same as leaving it out.
REQUIRED = frozenset({"prompt"})
_SEED = "-1 draws one; the answer tells it"
_NOTES = ("title", "description", "default")


def expand_schema() -> Schema:
    """Return the JSON schema of the body of POST /kgen/v1/expand."""
    defaults = {field.name: _plain(field.default) for field in dataclasses.fields(ExpandRequest)}
    properties = {name: {**schema, **({} if defaults[name] is None else {"default": defaults[name]})}
                  for name, schema in FIELDS.items()}  # fmt: skip
    properties["seed"]["description"] = _SEED
    for name, (schema, default, text) in MORE.items():
        properties[name] = {**schema, "description": text, **({} if default is None else {"default": default})}
    return _object(properties)


def controls_schema() -> Schema:
    """Return the JSON schema of the script's arguments by name; the order of the table is that of positional ones."""
    return _object({param.field: control_schema(param) for param in CONTROLS})


def control_schema(param: Control) -> Schema:
    """Return a control's JSON schema; labels are understood as well as the values listed."""
    shown: Schema = {"title": param.label, "description": param.info, "default": _plain(param.default)}
    values = {"type": "string", "enum": [value for value, _ in param.choices]}
    if param.widget is Widget.CHECKBOX:
        return {"type": "boolean", **shown}
    if param.widget is Widget.CHOICE:
        return {**values, **shown}
    if param.widget is Widget.CHOICES:
        return {"type": "array", "items": values, **shown}
    if param.widget in (Widget.SLIDER, Widget.NUMBER):
        kind = "integer" if param.step == 1 else "number"
        return {"type": kind, "minimum": param.low, "maximum": param.high, **shown}
    return {"type": "string", **shown}


def schema(title: str) -> Schema:
    """Return the answer of GET /kgen/v1/schema."""
    return {
        "version": __version__,
        "script": {"title": title, "order": [param.field for param in CONTROLS], "args": controls_schema()},
        "expand": expand_schema(),
        "limits": {"prompts": MAX_PROMPTS, "rows": MAX_ROWS, "bytes": MAX_BYTES, "text": MAX_TEXT},
    }


def _object(properties: dict[str, Schema]) -> Schema:
    shown = {name: one if name in REQUIRED else _nullable(one) for name, one in properties.items()}
    return {"type": "object", "properties": shown, "additionalProperties": False}


def _nullable(schema: Schema) -> Schema:
    """Return the schema that takes null, too; not as a list of types, which the FastAPI of older hosts refuses."""
    notes = {name: schema[name] for name in _NOTES if name in schema}
    kind = {name: value for name, value in schema.items() if name not in _NOTES}
    return {"anyOf": [*kind.get("anyOf", [kind]), {"type": "null"}], **notes}


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    return list(value) if isinstance(value, tuple) else value
