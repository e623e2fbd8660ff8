"""Neutral Prompt's dividers: AND_PERP and its relatives, their weights, and groups in brackets."""
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgen_ext.events import By
from kgen_ext.prompt import SpanKind, append, escape, parse, render, subjects

WORDS = ["AND_PERP", "AND_SALT", "AND_TOPK", "AND_ALIGN_4_8", "AND_MASK_ALIGN_4_8"]


def expanded(source: str) -> str:
    prompt = parse(source)
    return "".join(piece.text for piece in append(prompt, ["hat"] * len(prompt.segments)).pieces)


@pytest.mark.parametrize("word", WORDS)
def test_its_words_divide_like_and(word: str) -> None:
    assert [subject.tags for subject in subjects(parse(f"cat {word} dog :0.8"))] == [("cat",), ("dog",)]


@pytest.mark.parametrize("word", ["AND_9", "and_perp", "AND_perp", "ANDROID", "BRAND_PERP", "AND_", "AND__PERP"])
def test_other_words_do_not(word: str) -> None:
    assert len(parse(f"cat {word} dog").segments) == 1


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("cat AND_PERP dog :0.8", "cat, hat AND_PERP dog, hat :0.8"),
        ("castle AND_SALT house :-1", "castle, hat AND_SALT house, hat :-1"),
        ("a AND_TOPK b:.5", "a, hat AND_TOPK b, hat:.5"),
        ("a AND_PERP [ b AND c :0.5 ] :0.8", "a, hat AND_PERP [ b, hat AND c, hat :0.5 ] :0.8"),
        ("a AND_PERP [ b AND c ]", "a, hat AND_PERP [ b, hat AND c, hat ]"),
        ("a AND_PERP [b AND c]", "a, hat AND_PERP [b, hat AND c, hat ]"),
        ("a\nAND_PERP [\n b\n AND_SALT c\n]", "a, hat\nAND_PERP [\n b, hat\n AND_SALT c, hat\n]"),
        ("a AND_PERP [b AND_SALT [c AND d] :2]:3", "a, hat AND_PERP [b, hat AND_SALT [c, hat AND d, hat ] :2]:3"),
        ("a AND_PERP [[b AND c] AND d :.3]", "a, hat AND_PERP [[b, hat AND c, hat ] AND d, hat :.3]"),
        ("[a AND_PERP b]:0.4 AND c", "[a, hat AND_PERP b, hat ]:0.4 AND c, hat"),
        ("a AND_PERP [ b AND (c:1.2)", "a, hat AND_PERP [ b, hat AND (c:1.2), hat"),
        ("a AND_TOPK [b:c:0.5] AND d", "a, hat AND_TOPK [b:c:0.5], hat AND d, hat"),
        ("a AND_PERP [b AND c] BREAK d", "a, hat AND_PERP [b, hat AND c, hat ] BREAK d, hat"),
        ("a AND_PERP [b]", "a, hat AND_PERP [b], hat"),
    ],
)
def test_additions_go_before_weights_and_inside_of_groups(source: str, result: str) -> None:
    assert expanded(source) == result


def test_the_brackets_of_a_group_change_no_weight() -> None:
    prompt = parse("a AND_PERP [ b AND (c:1.2) ]")
    assert [item.weight for segment in prompt.segments for item in segment.items] == [1.0, 1.0, 1.2]


def test_the_weight_of_a_part_in_a_group_is_its_own() -> None:
    spans = parse("a AND_PERP [ b AND c :0.5 ] :0.8").spans
    assert [span.weight for span in spans if span.kind is SpanKind.AND_WEIGHT] == [0.5]


def test_without_its_words_square_brackets_are_as_before() -> None:
    assert not [span for span in parse("a AND [b AND c]").spans if span.kind is SpanKind.GROUP]


@pytest.mark.parametrize("word", WORDS)
def test_the_model_cannot_divide_a_prompt(word: str) -> None:
    assert escape(f"hat {word} x") == f"hat {word.lower()} x"


PIECES = [
    *WORDS, "AND", " ", " ", "[", "]", " [ ", " ] ", ":0.5", " :2 ", "fox", "a b", ", ", "(", ":1.2)", "BREAK", "\n",
    "# c\n",
]  # fmt: skip


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_the_users_bytes_stay(source: str) -> None:
    prompt = parse(source)
    pieces = append(prompt, ["hat"] * len(prompt.segments)).pieces
    assert "".join(piece.text for piece in pieces if piece.by is By.USER) == source == render(prompt)


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_the_number_of_parts_stays(source: str) -> None:
    assert len(parse(expanded(source)).segments) == len(parse(source).segments)


@pytest.mark.slow
def test_deep_groups_take_linear_time() -> None:
    depth = 30_000
    source = "a AND_PERP [ " * depth + "b AND c" + " ] :0.5" * depth
    assert len(parse(source).segments) == depth + 2


def test_brackets_over_thousands_of_dividers_take_linear_time() -> None:
    prompt = parse("(a BREAK " * 20_000)
    assert len(append(prompt, ["hat"] * len(prompt.segments)).skipped) == 20_000 - 1


def test_the_brackets_of_a_group_are_no_part_of_a_tag() -> None:
    assert [subject.tags for subject in subjects(parse("a AND_PERP [b AND c]"))] == [("a",), ("b",), ("c",)]
