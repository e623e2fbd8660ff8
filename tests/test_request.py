"""Requests: strings become values, and an error names the field and what is allowed."""
from __future__ import annotations

import dataclasses

import pytest

from kgen_ext.errors import BadValue
from kgen_ext.models import Recommended
from kgen_ext.request import DEFAULTS, FIELDS, Category, ExpandRequest, TagLength, Task, split_list
from kgen_ext.sampling import SAMPLING_NAMES
from kgen_ext.service.plan import ResolvedRequest


def test_strings_become_enums_and_lists() -> None:
    request = ExpandRequest("1girl", tag_length="short", task="tag_to_long", ban="hat, * hair", allow="artist")
    assert request.tag_length is TagLength.SHORT and request.task is Task.TAG_TO_LONG
    assert request.ban == ("hat", "* hair") and request.allow == (Category.ARTIST,)


def test_equal_requests_are_equal_however_they_were_spelled() -> None:
    assert ExpandRequest("a", ban="x, y") == ExpandRequest("a", ban=("x", "y"))
    assert hash(ExpandRequest("a", tag_length="long")) == hash(ExpandRequest("a", tag_length=TagLength.LONG))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("hat, cap;bag\nbelt", ("hat", "cap", "bag", "belt")),
        ("/blue|red,?/, hat", ("/blue|red,?/", "hat")),
        ("/foo/i, bar", ("/foo/i", "bar")),
        (r"/a\/,b/, c", (r"/a\/,b/", "c")),
        ("/unclosed, hat", ("/unclosed, hat",)),
        (" , ,", ()),
    ],
)
def test_a_list_is_cut_at_separators_outside_patterns(text: str, parts: tuple[str, ...]) -> None:
    assert split_list("ban", text) == parts


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("tag_length", "huge", "very_short, short, long, very_long"),
        ("task", "tag_to_short", "short_to_tag"),
        ("allow", "hats", "artist"),
        ("seed", -1, "0 to"),
        ("seed", True, "whole number"),
        ("count", 0, "1 to 64"),
        ("temperature", float("nan"), "0 to 5"),
        ("top_p", 1.5, "0 to 1"),
        ("min_p", "0.1", "number"),
        ("width", 0, "16 to"),
        ("prompt", None, "a string"),
        ("ban", (1,), "list of strings"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(field: str, value: object, allowed: str) -> None:
    with pytest.raises(BadValue) as caught:
        ExpandRequest(**{field: value})  # type: ignore[arg-type]
    assert str(caught.value).startswith(f"{field}: ") and allowed in str(caught.value)


def test_neither_tags_nor_sentences_is_refused() -> None:
    with pytest.raises(BadValue, match="text_length: 'none' is not allowed"):
        ExpandRequest("cat", no_tags=True)


@pytest.mark.parametrize("field", ["allow_contradictions", "no_tags"])
def test_a_flag_is_true_or_false(field: str) -> None:
    with pytest.raises(BadValue, match="true or false"):
        ExpandRequest(**{field: "no"})  # type: ignore[arg-type]


def test_a_resolved_request_has_every_field_of_a_request() -> None:
    names = {field.name for field in dataclasses.fields(ResolvedRequest)} - {"sampling"}
    assert names | set(SAMPLING_NAMES) == set(FIELDS)


def test_only_fields_that_may_be_left_open_are_recommended() -> None:
    assert {field.name for field in dataclasses.fields(Recommended)} <= {*DEFAULTS, "tag_file"}
