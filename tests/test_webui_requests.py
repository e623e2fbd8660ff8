"""Requests built from the controls' values."""
from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgen_ext.errors import BadValue
from kgen_ext.request import MAX_SEED, Category, ExpandRequest, TagLength, TextLength
from kgen_ext.sampling import Sampling
from kgen_ext.tags.groups import Group
from kgen_ext.webui.controls import BY_FIELD, read_named
from kgen_ext.webui.expanding import make_request, request_seed


def ask(seed: int = 5, width: int = 832, height: int = 1216, tag_file: str = "", **values: Any) -> ExpandRequest:
    sampling = Sampling(0.7, 40, 0.9, 0.05)
    return make_request(
        read_named(values), "cat", seed=seed, width=width, height=height, sampling=sampling, tag_file=tag_file
    )


def test_every_control_reaches_the_request() -> None:
    request = ask(
        add="both", tag_length="short", text_length="long", text="a cat.", ban="hat, /b,c/", require="sky",
        rules="if cat ban dog\nif fox ban owl", protect="my_cat", allow=["new artists"], allow_contradictions=True,
        format="custom", template="<|prompt|>, <|general|>", known_only=True, tag_file="tags.csv",
    )  # fmt: skip
    assert request == ExpandRequest(
        "cat", text="a cat.", tag_length=TagLength.SHORT, text_length=TextLength.LONG, format="<|prompt|>, <|general|>",
        ban=("hat", "/b,c/"), require=("sky",), rules=("if cat ban dog", "if fox ban owl"), protect=("my_cat",),
        allow=(Category.ARTIST,), allow_contradictions=True, tag_file="tags.csv", seed=5, temperature=0.7, top_k=40,
        top_p=0.9, min_p=0.05, width=832, height=1216,
    )  # fmt: skip


@pytest.mark.parametrize("add, no_tags, length", [("tags", False, TextLength.NONE), ("text", True, TextLength.SHORT),
                                                  ("both", False, TextLength.SHORT)])  # fmt: skip
def test_what_to_add(add: str, no_tags: bool, length: TextLength) -> None:
    request = ask(add=add)
    assert (request.no_tags, request.text_length) == (no_tags, length)


def test_the_tag_file_is_used_only_when_asked_for() -> None:
    assert ask(tag_file="tags.csv").tag_file == ""
    with pytest.raises(BadValue, match="Only tags that exist"):
        ask(known_only=True)


def test_a_locked_group_is_banned_behind_the_bans() -> None:
    assert ask(ban="hat, /b,c/", lock=["hair", "eyes"]).ban == ("hat", "/b,c/", "category:hair", "category:eyes")


def test_the_groups_to_lock_are_those_there_are() -> None:
    assert [value for value, _ in BY_FIELD["lock"].choices] == [group.value for group in Group]


def test_any_tag_may_be_asked_for() -> None:
    assert ask(any_tag=True).tag_file == "any"


def test_any_tag_and_only_tags_that_exist_exclude_each_other() -> None:
    with pytest.raises(BadValue, match=r"Any tag, known or not: .* either it or “Only tags that exist”"):
        ask(any_tag=True, known_only=True, tag_file="tags.csv")


@pytest.mark.parametrize("side, used", [(0, 16), (64, 64), (1216, 1216), (99999, 16384)])
def test_a_size_out_of_range_is_the_nearest_in_it(side: int, used: int) -> None:
    assert ask(width=side).width == ask(height=side).height == used


@pytest.mark.parametrize("template", ["", " \n"])
def test_a_custom_format_without_a_template_names_the_control_and_the_way_out(template: str) -> None:
    with pytest.raises(BadValue, match=r"^Template: '' is not allowed .*<\|prompt\|>.*another Format"):
        ask(format="custom", template=template)
    assert ask(template=template).format == "append"


@given(st.integers(-(2**70), 2**70))
def test_any_seed_of_a_host_is_a_seed_of_a_request(seed: int) -> None:
    assert 0 <= request_seed(seed) <= MAX_SEED
    if 0 <= seed <= MAX_SEED:
        assert request_seed(seed) == seed
