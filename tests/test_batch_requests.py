"""Rows of `kgen batch` as requests, and the columns that are passed through."""
from __future__ import annotations

from typing import Any

import pytest

from kgen_ext.errors import UserError
from kgen_ext.request import MAX_SEED, ExpandRequest
from kgen_ext.scale.inputs import BadRow
from kgen_ext.scale.requests import RequestBuilder, read_columns


def build(
    values: dict[str, Any], *, number: int = 0, columns: dict[str, str] | None = None, seed: int = 0,
    texts: bool = False, **options: Any,
) -> ExpandRequest:  # fmt: skip
    return RequestBuilder(columns or {}, options, seed=seed, texts=texts).build(values, number)


@pytest.mark.parametrize(
    ("field", "value", "read"),
    [
        ("text", "A fox.", "A fox."), ("tag_length", "short", "short"), ("ban", "hat, /a,b/", ("hat", "/a,b/")),
        ("ban", ["hat"], ("hat",)), ("rules", "if a ban b, c\nif d ban e", ("if a ban b, c", "if d ban e")),
        ("seed", 7, 7), ("seed", 7.0, 7), ("temperature", 1, 1), ("no_tags", False, False), ("count", 3, 3),
        ("tag_file", "danbooru", "danbooru"),
    ],
)  # fmt: skip
def test_a_column_fills_the_field_of_its_name(field: str, value: object, read: object) -> None:
    assert getattr(build({"prompt": "a", field: value}), field) == read


@pytest.mark.parametrize(
    ("field", "cell", "read"),
    [
        ("seed", "7", 7), ("temperature", "0.5", 0.5), ("allow_contradictions", "TRUE", True),
        ("allow_contradictions", "0", False),
    ],
)  # fmt: skip
def test_a_cell_of_csv_is_read_as_its_field_wants_it(field: str, cell: str, read: object) -> None:
    assert getattr(build({"prompt": "a", field: cell}, texts=True), field) == read


@pytest.mark.parametrize("empty", [None, "", float("nan")])
def test_an_empty_cell_leaves_the_field_to_the_option(empty: object) -> None:
    assert build({"prompt": "a", "tag_length": empty}, tag_length="short").tag_length == "short"


def test_a_row_goes_before_the_option() -> None:
    assert build({"prompt": "a", "tag_length": "long"}, tag_length="short").tag_length == "long"


def test_row_n_has_the_seed_plus_n() -> None:
    assert build({"prompt": "a"}, number=5, seed=40).seed == 45


def test_seeds_begin_again_behind_the_largest() -> None:
    assert build({"prompt": "a"}, number=2, seed=MAX_SEED).seed == 1


def test_a_named_column_fills_a_field() -> None:
    assert build({"caption": "a", "prompt": "b"}, columns={"prompt": "caption"}).prompt == "a"


def test_a_column_fills_one_field_only() -> None:
    assert build({"text": "1girl"}, columns={"prompt": "text"}) == ExpandRequest("1girl")


def test_a_field_can_do_without_its_column() -> None:
    assert build({"prompt": "a", "format": "jpg"}, columns={"format": ""}).format == "append"


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"prompt": 5}, "prompt: 5 is not allowed"),
        ({"prompt": "a", "tag_length": "huge"}, "tag_length: 'huge' is not allowed"),
        ({"prompt": "a", "seed": "7"}, "seed: '7' is not allowed"),
        ({"prompt": "a", "seed": 7.5}, "seed: 7.5 is not allowed"),
        ({"prompt": "a", "seed": True}, "seed: True is not allowed"),
        ({"prompt": "a", "ban": {"x": 1}}, "ban: "),
        ({"prompt": "a", "tag_file": "/etc/passwd"}, "tag_file: '/etc/passwd' is not allowed"),
        ({"prompt": "a", "yours": "mine"}, "yours: a table is chosen for all rows, with --yours"),
        ({"caption": "a"}, "neither prompt nor text"),
        ({"prompt": None}, "neither prompt nor text"),
    ],
)
def test_a_row_that_cannot_be_read_says_why(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadRow, match=problem):
        build(values)


def test_a_number_of_csv_that_is_none_says_why() -> None:
    with pytest.raises(BadRow, match="seed: 'x' is not allowed"):
        build({"prompt": "a", "seed": "x"}, texts=True)


def test_a_row_without_a_named_column_says_which() -> None:
    with pytest.raises(BadRow, match="no column 'caption'"):
        build({"prompt": "a"}, columns={"prompt": "caption"})


def others(names: list[str], **columns: str) -> dict[str, str]:
    return RequestBuilder(columns, {}, seed=0, texts=False).others(names)


def test_prompt_and_seed_are_in_the_result_anyway() -> None:
    assert others(["prompt", "seed", "id", "width"]) == {"id": "id", "width": "width"}


def test_a_column_named_as_one_of_the_results_gets_another_name() -> None:
    assert others(["prompt", "row", "model"]) == {"row": "input_row", "model": "input_model"}


def test_a_new_name_that_is_taken_gets_another_one() -> None:
    assert others(["row", "input_row"]) == {"row": "input_input_row", "input_row": "input_row"}


def test_the_prompt_is_passed_through_where_another_column_is_the_prompt() -> None:
    assert others(["caption", "prompt"], prompt="caption") == {"prompt": "input_prompt"}


def test_columns_are_named_by_field() -> None:
    assert read_columns(["prompt=caption", "text=a=b", "format="]) == {"prompt": "caption", "text": "a=b", "format": ""}


@pytest.mark.parametrize("pair", ["caption", "propmt=caption"])
def test_a_column_option_that_names_no_field_is_refused(pair: str) -> None:
    with pytest.raises(UserError, match="--column"):
        read_columns([pair])
