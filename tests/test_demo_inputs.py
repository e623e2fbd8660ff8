"""Inputs of the demo page, the request they make, and the link that repeats a run."""
from __future__ import annotations

import dataclasses
from typing import Any
from urllib.parse import parse_qsl

import pytest
from demo_kit import inputs
from hypothesis import given
from hypothesis import strategies as st

from kgen_ext.demo.examples import EXAMPLES
from kgen_ext.demo.inputs import INPUTS, Inputs, compose_prompt, make_request, read_inputs
from kgen_ext.demo.limits import Limits
from kgen_ext.demo.link import is_run, page_defaults, read_query, run_query
from kgen_ext.demo.offers import Offer
from kgen_ext.errors import BadValue, UserError
from kgen_ext.sampling import Sampling

OFFER = Offer("fake", sampling=Sampling(temperature=0.6))


def test_the_values_are_the_tables_in_its_order() -> None:
    assert [field.name for field in dataclasses.fields(Inputs)] == [control.field for control in INPUTS]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.label)
def test_an_example_is_a_run(example: Any) -> None:
    assert make_request(read_inputs(example.values), seed=1, tags_only=False).prompt == example.values["prompt"]


@pytest.mark.parametrize("prompt", ["", "cat", " cat ,  ", "(cat:1.2), [a:b:0.5]", "a\nb", "cat, BREAK dog", "ネコ"])
def test_a_prompt_without_picked_tags_stays_as_it_is(prompt: str) -> None:
    assert compose_prompt(inputs(prompt=prompt), tags_only=False) == prompt


@pytest.mark.parametrize("values, prompt", [
    ({"prompt": "fox ears", "people": ["1girl", "solo"]}, "1girl, solo, fox ears"),
    ({"prompt": "", "people": ["no humans"]}, "no humans"),
    ({"prompt": "  ", "rating": "safe"}, "  safe"),
    ({"prompt": "fox ears", "rating": "safe"}, "fox ears, safe"),
    ({"prompt": "fox ears,", "rating": "safe"}, "fox ears, safe"),
    ({"prompt": "fox ears, ", "rating": "safe"}, "fox ears, safe"),
    ({"prompt": "1Girl, safe", "people": ["1girl"], "rating": "safe"}, "1Girl, safe"),
])  # fmt: skip
def test_picked_tags_stand_around_the_prompt(values: dict[str, Any], prompt: str) -> None:
    assert compose_prompt(inputs(**values), tags_only=False) == prompt


def test_a_dantaggen_gets_its_names_with_their_brackets_escaped() -> None:
    found = inputs(prompt="sky", characters="king halo (umamusume)", copyrights="umamusume", artist="someone")
    assert compose_prompt(found, tags_only=True) == r"king halo \(umamusume\), umamusume, someone, sky"


def test_another_model_does_not_get_the_names() -> None:
    assert compose_prompt(inputs(prompt="sky", characters="hatsune miku"), tags_only=False) == "sky"


@pytest.mark.parametrize("add, text_length, no_tags", [
    ("default", None, False), ("tags", "none", False), ("text", "long", True), ("both", "long", False),
])  # fmt: skip
def test_what_to_add_decides_tags_and_sentences(add: str, text_length: str | None, no_tags: bool) -> None:
    request = make_request(inputs(prompt="cat", add=add, text_length="long"), seed=1, tags_only=False)
    assert (request.text_length, request.no_tags) == (text_length, no_tags)


def test_a_dantaggen_is_asked_for_no_sentences() -> None:
    request = make_request(inputs(prompt="cat", add="text", text_length="long"), seed=1, tags_only=True)
    assert (request.text_length, request.no_tags) == ("none", False)


def test_locked_groups_are_banned_categories() -> None:
    assert make_request(inputs(ban="hat", lock=["hair"]), seed=1, tags_only=False).ban == ("hat", "category:hair")


def test_a_custom_format_needs_a_template() -> None:
    with pytest.raises(BadValue, match="Template"):
        make_request(inputs(format="custom"), seed=1, tags_only=False)


@pytest.mark.parametrize("values, name", [
    ({"seed": None}, "Seed"), ({"seed": 1.5}, "Seed"), ({"temperature": "hot"}, "Temperature"),
    ({"temperature": float("nan")}, "Temperature"), ({"tag_length": "huge"}, "Tag length"),
    ({"people": ["cat"]}, "People"), ({"people": "x" * 10_000}, "People"), ({"prompt": 7}, "Prompt"),
    ({"any_tag": "yes"}, "Any tag"), ({"count": 9}, "Candidates"), ({"width": 0}, "Width"),
    ({"format": "/etc/passwd"}, "Format"), ({"rating": ["safe"]}, "Rating"),
])  # fmt: skip
def test_a_value_that_is_none_is_named(values: dict[str, Any], name: str) -> None:
    with pytest.raises(BadValue, match=name):
        inputs(**values)


def query_of(found: Inputs) -> dict[str, str]:
    return dict(parse_qsl(run_query(found, OFFER, "fake")[1:], keep_blank_values=True))


def opened(found: Inputs) -> Inputs:
    """Return what a page has whose link of this run was opened."""
    return read_query(query_of(found), OFFER)


def usual(**values: Any) -> Inputs:
    return read_inputs({**page_defaults(OFFER), **values})


def test_a_link_has_what_was_changed_and_the_seed() -> None:
    assert query_of(usual(prompt="cat, shrine", seed=3)) == {"prompt": "cat, shrine", "seed": "3"}


def test_a_link_names_another_model_than_the_first() -> None:
    assert query_of(usual(prompt="cat", model="other"))["model"] == "other"


@given(
    prompt=st.text(st.characters(exclude_categories=["Cs"]), max_size=60), text=st.text("abc, &=?#%+\n", max_size=20),
    seed=st.integers(-1, 2**53), people=st.lists(st.sampled_from(["1girl", "solo", "6+boys"]), unique=True),
    temperature=st.floats(0, 2), top_k=st.integers(0, 200),
    lock=st.lists(st.sampled_from(["hair", "eyes"]), unique=True),
    any_tag=st.booleans(), format=st.sampled_from(["append", "tags", "custom"]), count=st.integers(1, 8),
)  # fmt: skip
def test_a_link_brings_back_every_value(**values: Any) -> None:
    found = usual(**values)
    assert opened(found) == found


def test_a_run_whose_texts_are_too_long_has_no_link() -> None:
    assert run_query(usual(prompt="cat " * 4000), OFFER, "fake") == ""


@pytest.mark.parametrize("query", [
    {"seed": "x"}, {"seed": "1e999"}, {"seed": "9" * 5000}, {"seed": "-2"}, {"width": "1.5"}, {"count": "100"},
    {"temperature": "nan"}, {"temperature": "inf"}, {"any_tag": "true"}, {"format": "../x"}, {"allow": "poses"},
    {"tag_length": "huge"}, {"rating": "other"},
])  # fmt: skip
def test_a_link_with_a_value_that_is_none_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(BadValue):
        read_query(query, OFFER)


@pytest.mark.parametrize("key", ["tag_file", "context", "mark", "engine", "device", "locations", "no_tags", "__theme"])
def test_a_link_cannot_set_what_is_no_input(key: str) -> None:
    assert read_query({key: "/etc/passwd"}, OFFER) == usual()


def test_a_link_does_not_choose_the_model_by_itself() -> None:
    assert read_query({"model": "/etc/passwd"}, OFFER).model == "fake"


@pytest.mark.parametrize("query, run", [({}, False), ({"__theme": "dark"}, False), ({"seed": "1"}, True)])
def test_an_address_is_that_of_a_run_by_its_keys(query: dict[str, str], run: bool) -> None:
    assert is_run(query) == run


@pytest.mark.parametrize("text", ["each", "each=", "each=0", "each=-1", "each=x", "each=٣", "candidates=9", "every=1",
                                  "each=9999999999999"])  # fmt: skip
def test_a_limit_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="--limits"):
        Limits.parse(text)


def test_limits_are_read_by_name() -> None:
    assert Limits.parse(" each=1 ,steps=20,") == Limits(each=1, steps=20)


def test_texts_that_are_too_long_are_refused_with_both_numbers() -> None:
    with pytest.raises(UserError, match=r"1,000,000 characters, and this page takes 20,000"):
        Limits().check_texts(("x" * 999_999, "y"))
