"""Controls' values as the hooks get them: by position in the table's order, incomplete, or by name."""
from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from kgen_ext.errors import BadValue
from kgen_ext.webui.controls import CONTROLS, Values, read_named, read_values

SHOWN = [param.shown_default for param in CONTROLS]


def test_the_values_are_the_tables_rows_in_order() -> None:
    assert [field.name for field in fields(Values)] == [param.field for param in CONTROLS]


def test_what_the_page_shows_at_first_is_every_default() -> None:
    assert read_values(SHOWN) == read_values([]) == read_named({})
    assert read_values(SHOWN).named() == {param.field: param.default for param in CONTROLS}


@pytest.mark.parametrize("count", range(len(CONTROLS) + 1))
def test_missing_trailing_values_are_defaults(count: int) -> None:
    assert read_values(SHOWN[:count]) == read_values(SHOWN)


def test_each_position_is_its_own_field() -> None:
    other = {"enabled": True, "model": "m", "add": "text", "tag_length": "short", "text_length": "long", "text": "a",
             "creativity": "custom", "seed": 1, "ban": "b", "require": "c", "rules": "d", "protect": "e",
             "allow": ("artist",), "allow_contradictions": True, "known_only": True, "format": "text", "template": "f",
             "timing": "before", "hires": "leave", "engine": "g", "temperature": 0.5, "top_k": 2, "top_p": 0.5,
             "min_p": 0.5, "lock": ("hair", "eyes"), "any_tag": True, "profile": "pony",
             "yours": "mine", "prior": 2.5}  # fmt: skip
    for index, param in enumerate(CONTROLS):
        arguments = [*SHOWN]
        arguments[index] = param.show(other[param.field])
        assert read_values(arguments).named() == {**read_values(SHOWN).named(), param.field: other[param.field]}


def test_one_object_of_names_works_alone_and_before_the_hosts_defaults() -> None:
    given = {"enabled": True, "tag_length": "very long"}
    assert read_values([given]) == read_values([given, *SHOWN[1:]]) == read_named(given)
    assert read_named(given).tag_length == "very_long"


@pytest.mark.parametrize("name", [param.field for param in CONTROLS])
def test_none_for_a_name_says_the_same_as_leaving_it_out(name: str) -> None:
    assert read_named({name: None}) == read_named({})


@pytest.mark.parametrize("arguments", [[{"colour": None}], [*SHOWN, 1], [{"colour": 1}], [{"enabled": "yes"}], ["yes"]])
def test_what_cannot_be_read_is_named(arguments: list[Any]) -> None:
    with pytest.raises(BadValue, match="not allowed"):
        read_values(arguments)


@pytest.mark.parametrize("values, text", [({}, "append"), ({"format": "text"}, "text"),
                                          ({"format": "custom", "template": "<|prompt|>"}, "<|prompt|>")])  # fmt: skip
def test_the_format_of_a_request(values: dict[str, Any], text: str) -> None:
    assert read_named(values).format_text == text
