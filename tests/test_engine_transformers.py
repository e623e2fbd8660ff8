"""The installed transformers release: its version, and its model's names for keys and values."""
from __future__ import annotations

from typing import Any

import pytest

from kgen_ext.engines.transformers import find_cache_argument, read_version
from kgen_ext.errors import EngineUnavailable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4.30.2", (4, 30)), ("5.24.0", (5, 24)), ("5.13.0.dev0", (5, 13)), ("5.0.0rc1", (5, 0)), ("5.0rc1", (5, 0)),
        ("4.57.6+cpu", (4, 57)), ("6", (6, 0)),
    ],
)  # fmt: skip
def test_the_number_of_any_release_is_read(text: str, expected: tuple[int, int]) -> None:
    assert read_version(text) == expected


def until_5_23(input_ids: Any, past_key_values: Any = None, **kwargs: Any) -> None: ...


def since_5_24(input_ids: Any, cache: Any = None, **kwargs: Any) -> None: ...


def in_between(input_ids: Any, past_key_values: Any = None, cache: Any = None) -> None: ...


@pytest.mark.parametrize(
    ("forward", "name"), [(until_5_23, "past_key_values"), (since_5_24, "cache"), (in_between, "cache")]
)
def test_the_keys_and_values_are_called_what_the_model_calls_them(forward: Any, name: str) -> None:
    assert find_cache_argument(forward, "5.24.0") == name


def test_a_model_that_takes_neither_is_refused_with_a_way_out() -> None:
    with pytest.raises(EngineUnavailable, match=r"transformers 9\.0 .*cache, past_key_values.*reference"):
        find_cache_argument(lambda input_ids, memory: None, "9.0")
