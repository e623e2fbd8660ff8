"""JSON schemas of what the API accepts: the fields of a request and the controls of the page, from their tables.

The schemas only describe; `ExpandRequest` and `Values` check.
"""
from __future__ import annotations

from enum import Enum
from typing import Any

from kgen_ext import __version__
from kgen_ext.request import FIELDS, Field, FieldType
from kgen_ext.webui.controls import CONTROLS, Control, Widget
from kgen_ext.webui.settings import ENGINE_CHOICES

MAX_PROMPTS = 64
MAX_ROWS = 256
MAX_BYTES = 1 << 20
MAX_TEXT = 20_000

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string", "maxLength": MAX_TEXT}
_FLAG: Schema = {"type": "boolean"}
# What a client may give for a random seed.
_RANDOM_SEED = -1
_WITHHELD = ("prompt", "tag_file")  # the first is below, with `prompts`; no client can name a file


def _field_schema(field: Field) -> Schema:
    if field.value_type is FieldType.TEXT:
        return _TEXT
    if field.value_type is FieldType.FLAG:
        return _FLAG
    member = _enum(field.choices) if field.choices else {"type": "string"}
    if field.value_type is FieldType.CHOICE:
        return member
    if field.value_type is FieldType.LIST:
        return {"anyOf": [{"type": "string"}, {"type": "array", "items": member}]}
    low = _RANDOM_SEED if field.name == "seed" else field.low
    kind = "integer" if field.value_type is FieldType.INTEGER else "number"
    return {"type": kind, "minimum": low, "maximum": field.high}


def _enum(choices: type[Enum]) -> Schema:
    return {"type": "string", "enum": [member.value for member in choices]}


# The fields of a request that a client may give, besides the prompt.
REQUEST_FIELDS: dict[str, Schema] = {
    name: _field_schema(field) for name, field in FIELDS.items() if name not in _WITHHELD
}
# The fields that the API has in addition: (schema, default, description).
EXTRA_FIELDS: dict[str, tuple[Schema, Any, str]] = {
    "prompt": (_TEXT, "", "the prompt to expand"),
    "prompts": ({"type": "array", "items": _TEXT, "maxItems": MAX_PROMPTS}, None,
                "several prompts in place of one, as a batch; the seed rises by one from prompt to prompt"),
    "model": ({"type": "string"}, "default", "a name from GET /kgen/v1/models; default is the one chosen in Settings"),
    "engine": ({"type": "string", "enum": [value for value, _ in ENGINE_CHOICES]}, "auto",
               "library that runs the model"),
    "creativity": ({"type": "string"}, None, "sampling preset; sampling options that are given override it"),
    "known_only": (_FLAG, False, "add only tags listed in the tag file that is found, or chosen in Settings"),
}  # fmt: skip
# Where null is not the same as leaving the field out.
REQUIRED = frozenset({"prompt"})
_SEED = "-1 draws a random one; the response contains it"
_NOTES = ("title", "description", "default")


def expand_schema() -> Schema:
    """Return the JSON schema of the body of POST /kgen/v1/expand."""
    # A field that is left to the model has no default to show.
    properties = {name: {**schema, **({} if FIELDS[name].by_model else {"default": _plain(FIELDS[name].default)})}
                  for name, schema in REQUEST_FIELDS.items()}  # fmt: skip
    properties["seed"]["description"] = _SEED
    for name, (schema, default, text) in EXTRA_FIELDS.items():
        properties[name] = {**schema, "description": text, **({} if default is None else {"default": default})}
    return _object(properties)


def controls_schema() -> Schema:
    """Return the JSON schema of the script's arguments by name; positional arguments have the table's order."""
    return _object({control.field: control_schema(control) for control in CONTROLS})


def control_schema(control: Control) -> Schema:
    """Return a control's JSON schema; it lists values, though labels are understood too."""
    shown: Schema = {"title": control.label, "description": control.info, "default": _plain(control.default)}
    values = {"type": "string", "enum": [value for value, _ in control.choices]}
    if control.widget is Widget.CHECKBOX:
        return {"type": "boolean", **shown}
    if control.widget is Widget.CHOICE:
        return {**values, **shown}
    if control.widget is Widget.CHOICES:
        return {"type": "array", "items": values, **shown}
    if control.widget in (Widget.SLIDER, Widget.NUMBER):
        kind = "integer" if control.step == 1 else "number"
        return {"type": kind, "minimum": control.low, "maximum": control.high, **shown}
    return {"type": "string", **shown}


def schema(title: str) -> Schema:
    """Return the response of GET /kgen/v1/schema."""
    return {
        "version": __version__,
        "script": {"title": title, "order": [control.field for control in CONTROLS], "args": controls_schema()},
        "expand": expand_schema(),
        "limits": {"prompts": MAX_PROMPTS, "rows": MAX_ROWS, "bytes": MAX_BYTES, "text": MAX_TEXT},
    }


def _object(properties: dict[str, Schema]) -> Schema:
    shown = {name: schema if name in REQUIRED else _nullable(schema) for name, schema in properties.items()}
    return {"type": "object", "properties": shown, "additionalProperties": False}


def _nullable(schema: Schema) -> Schema:
    """Return a schema that also accepts null; not as a list of types, which the FastAPI of older hosts refuses."""
    notes = {name: schema[name] for name in _NOTES if name in schema}
    kind = {name: value for name, value in schema.items() if name not in _NOTES}
    return {"anyOf": [*kind.get("anyOf", [kind]), {"type": "null"}], **notes}


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    return list(value) if isinstance(value, tuple) else value
