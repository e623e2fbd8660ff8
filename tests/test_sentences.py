"""Where sentences end, and that splitting loses nothing."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgen_ext.decoding.sentences import ends_sentence, split_sentences


@pytest.mark.parametrize(
    "text",
    [
        "A girl stands.", "Who is there?", "Run!", "It is 5.30 p.m.", "Shot at f1.8.", "She waits...",
        "She waits\u2026",
        'He said "no."', "(A girl sits.)", "She is 17.", "\u5c11\u5973\u304c\u7acb\u3064\u3002",
        "\u300c\u5f85\u3063\u3066\uff01\u300d", "Hats, scarves, etc.",
    ],
)  # fmt: skip
def test_a_whole_sentence_is_one(text: str) -> None:
    assert ends_sentence(text)
    assert split_sentences(text) == [text]


@pytest.mark.parametrize("text", ["", " ", "A girl", "A girl,", "Mr.", "by Dr.", "e.g.", "i.e.", "vs.", "J.", ".", '"'])
def test_what_is_no_end_is_none(text: str) -> None:
    assert not ends_sentence(text)


@pytest.mark.parametrize(
    "whole",
    [
        "Shot with an f1.8 lens.", "It is 5.30 p.m. and dark.", "Mr. Fox and Mrs. Hare wait.", "Fruit, e.g. apples.",
        "She waits... and waits.", "Version 2.1 is 3.5 times better.", "The U.S. flag.", "Hats, coats etc. on a rack.",
        "Painted by J. Smith.", "At f1. 8 it blurs.", "Go to example.com now.", "He is 1.80 m tall.",
    ],
)  # fmt: skip
def test_a_stop_inside_a_sentence_does_not_end_it(whole: str) -> None:
    assert split_sentences(whole) == [whole]


def test_mistake_7_f1_8_lens_stays_whole_and_sentences_keep_their_order() -> None:
    """protocol.md, mistake 7: split on every full stop, then shuffled."""
    text = "She holds an f1.8 lens. It is 5.30 p.m. The light is low."
    assert split_sentences(text) == ["She holds an f1.8 lens.", "It is 5.30 p.m.", "The light is low."]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('He said "no." She left.', ['He said "no."', "She left."]),
        ("Wait... What?", ["Wait...", "What?"]),
        ("Really?! Yes.", ["Really?!", "Yes."]),
        ("One.\nTwo.", ["One.", "Two."]),
        ("It is 5 p.m. She waits.", ["It is 5 p.m.", "She waits."]),
        ("She is 17. He is 18.", ["She is 17.", "He is 18."]),
        ("\u5c11\u5973\u3002\u7a7a\uff01\u6d77", ["\u5c11\u5973\u3002", "\u7a7a\uff01", "\u6d77"]),
        ("「待って！」と言う。", ["「待って！」", "と言う。"]),
    ],
)  # fmt: skip
def test_sentences_are_split_between_them(text: str, parts: list[str]) -> None:
    assert split_sentences(text) == parts


BITS = st.lists(st.sampled_from(
    ["A", "girl", "f1", "8", ".", ".", "...", "!", "?", '"', ")", " ", " ", "\n", "Mr", "p.m", "e.g", ",", "。", "」"]
)).map("".join)  # fmt: skip


@given(BITS | st.text())
def test_splitting_loses_nothing_but_white_space(text: str) -> None:
    parts = split_sentences(text)
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert all(part and part == part.strip() for part in parts)


@given(BITS)
def test_every_part_but_the_last_is_a_sentence(text: str) -> None:
    assert all(ends_sentence(part) for part in split_sentences(text)[:-1])


@given(st.text(alphabet="0123456789.", max_size=12))
def test_no_sentence_ends_inside_a_number(number: str) -> None:
    assert len(split_sentences(f"She has {number}5 hats")) == 1
