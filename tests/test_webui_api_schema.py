"""The API's schema: fields, bounds, choices and the order of arguments are those that are checked."""
from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest

from kgen_ext import ExpandRequest
from kgen_ext.errors import BadValue, KGenError
from kgen_ext.webui.api import read_fields
from kgen_ext.webui.api_schema import (
    EXTRA_FIELDS,
    REQUEST_FIELDS,
    control_schema,
    controls_schema,
    expand_schema,
    schema,
)
from kgen_ext.webui.controls import CONTROLS, check_value


def test_the_schema_has_every_field_of_a_request_but_the_path() -> None:
    names = {field.name for field in fields(ExpandRequest)} - {"tag_file"}
    assert {*REQUEST_FIELDS, "prompt"} == names
    assert set(expand_schema()["properties"]) == {*REQUEST_FIELDS, *EXTRA_FIELDS}


@pytest.mark.parametrize("name", [name for name, field in REQUEST_FIELDS.items() if "minimum" in field])
def test_the_bounds_are_those_of_a_request(name: str) -> None:
    low, high = REQUEST_FIELDS[name]["minimum"], REQUEST_FIELDS[name]["maximum"]
    low = 0 if name == "seed" else low  # -1 is the API's own
    ExpandRequest(**{name: low})
    ExpandRequest(**{name: high})
    for value in (low - 1, high + 1):
        with pytest.raises(BadValue):
            ExpandRequest(**{name: value})


@pytest.mark.parametrize("name", [name for name, field in REQUEST_FIELDS.items() if "enum" in field])
def test_the_choices_are_those_of_a_request(name: str) -> None:
    for value in REQUEST_FIELDS[name]["enum"]:
        ExpandRequest(**{name: value})


@pytest.mark.parametrize("param", CONTROLS, ids=lambda param: param.field)
def test_a_controls_schema_agrees_with_its_check(param: Any) -> None:
    schema = control_schema(param)
    default = tuple(schema["default"]) if isinstance(schema["default"], list) else schema["default"]
    assert check_value(param, schema["default"]) == default
    for value in schema.get("enum", []):
        check_value(param, value)
    for bound, step in (("minimum", -1), ("maximum", 1)):
        if bound in schema:
            check_value(param, schema[bound])
            with pytest.raises(KGenError):
                check_value(param, schema[bound] + step)


def admits_null(schema: dict[str, Any]) -> bool:
    return {"type": "null"} in schema.get("anyOf", ())


@pytest.mark.parametrize("name", [*REQUEST_FIELDS, *EXTRA_FIELDS])
def test_null_is_in_a_fields_schema_where_it_is_accepted(name: str) -> None:
    try:
        read_fields({name: None})
        accepted = True
    except BadValue:
        accepted = False
    assert admits_null(expand_schema()["properties"][name]) == accepted


@pytest.mark.parametrize("name", [param.field for param in CONTROLS])
def test_null_is_in_every_controls_schema(name: str) -> None:
    assert admits_null(controls_schema()["properties"][name])


@pytest.mark.parametrize("name", REQUEST_FIELDS)
def test_a_field_that_may_be_null_has_its_own_kinds_beside_it(name: str) -> None:
    kinds = expand_schema()["properties"][name]["anyOf"]
    assert kinds[:-1] == REQUEST_FIELDS[name].get("anyOf", [REQUEST_FIELDS[name]])


def test_the_order_of_positional_arguments_is_the_tables() -> None:
    told = schema("KGen")
    assert told["script"]["order"] == [param.field for param in CONTROLS]
    assert json.loads(json.dumps(told)) == told
