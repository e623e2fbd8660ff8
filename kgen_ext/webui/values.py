"""What the controls are set to: read from the host's positional arguments or from names, written back as either.

Knows the table and the request a prompt becomes; refuses to know gradio and the host.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from kgen_ext.errors import BadValue
from kgen_ext.webui.params import BY_FIELD, CUSTOM, PARAMS, check_value


@dataclass(frozen=True, slots=True)
class Values:
    """One checked value for each row of the table, in its order; built by `read_values` or `read_named`."""

    enabled: bool
    model: str
    add: str
    tag_length: str
    text_length: str
    text: str
    creativity: str
    seed: int
    ban: str
    require: str
    rules: str
    protect: str
    allow: tuple[str, ...]
    allow_contradictions: bool
    known_only: bool
    format: str
    template: str
    timing: str
    hires: str
    engine: str
    temperature: float
    top_k: int
    top_p: float
    min_p: float

    @property
    def format_text(self) -> str:
        """Return what `ExpandRequest.format` takes: a name or a template."""
        return self.template if self.format == CUSTOM else self.format

    def named(self) -> dict[str, Any]:
        """Return the values by field."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def read_values(arguments: Sequence[Any]) -> Values:
    """Read a script's positional arguments: in the table's order, or one mapping of names; what is missing is default.

    Raises BadValue that names the control, the value and what is allowed.
    """
    if arguments and isinstance(arguments[0], Mapping):
        return read_named(arguments[0])
    if len(arguments) > len(PARAMS):
        raise BadValue("args", f"{len(arguments)} values", f"at most {len(PARAMS)}, or one object of names")
    return _checked({param.field: value for param, value in zip(PARAMS, arguments, strict=False)})


def read_named(values: Mapping[str, Any]) -> Values:
    """Read values by field; what is missing or None is default. Raises BadValue, for an unknown name too."""
    for name in values:
        if name not in BY_FIELD:
            raise BadValue("args", name, f"the names {', '.join(BY_FIELD)}")
    return _checked({name: value for name, value in values.items() if value is not None})


def _checked(given: Mapping[str, Any]) -> Values:
    return Values(**{
        param.field: check_value(param, given[param.field]) if param.field in given else param.default
        for param in PARAMS
    })  # fmt: skip
