"""Prose or tag, and the letters of a sentence: captions are text, tags that exist are tags, case follows sentences."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgen_ext.prompt import SpanKind, parse, shown_text

LIST = "1girl, solo, hat, sky, tree, river, "


def kind(item: str, *, before: str = "") -> SpanKind:
    return parse(before + item).segments[0].items[-1].kind


@pytest.mark.parametrize(
    "caption",
    ["portrait of an old sailor", "harbour town at dawn in the fog", "a fox", "an owl", "two cats asleep on the sofa",
     "photo of a man in a green coat", "desert landscape with a river", "girl in rain", "otter on ice",
     "lantern light over a quiet street", "knight riding a horse", "dancing robots fight neon dragons tonight",
     "Portrait Of An Old Sailor", "a (red:1.2) fox", "{{a fox}}"],
)  # fmt: skip
def test_a_phrase_by_itself_is_text(caption: str) -> None:
    assert kind(caption) is SpanKind.PROSE


@pytest.mark.parametrize("before", ["masterpiece, best quality, ", "<lora:x:1>, highres, "])
def test_words_about_the_picture_are_no_company(before: str) -> None:
    assert kind("girl in rain", before=before) is SpanKind.PROSE


@pytest.mark.parametrize(
    "tag",
    ["hand on own hip", "looking at viewer", "Looking_At_Viewer", "looking at viewer.", "the legend of zelda",
     "girl with a pearl earring", "very long hair", "detailed eyes", "red dress", "hair over one eye", "1girl",
     "hatsune miku", "holding a sword", "saber (fate)", "depth of field", "arms behind back"],
)  # fmt: skip
def test_tags_and_short_phrases_are_tags_even_by_themselves(tag: str) -> None:
    assert kind(tag) is SpanKind.TAG


@pytest.mark.parametrize(
    "phrase",
    ["very long hair", "detailed face and eyes", "red dress with frills", "ribbon in her hair", "light from the left",
     "a fox", "armor decorated with jewels", "holding oil paper umbrella", "extremely detailed pale skin texture map"],
)  # fmt: skip
def test_in_a_list_of_tags_phrases_are_tags(phrase: str) -> None:
    assert kind(phrase, before=LIST) is SpanKind.TAG


@pytest.mark.parametrize(
    "caption",
    ["sitting on a wooden bench", "a girl in a red hat", "the moon over the town at night", "photo of a tired old man",
     "she is near the sea", "wearing a coat made of leaves with gold buttons"],
)  # fmt: skip
def test_captions_stay_text_in_a_list_of_tags(caption: str) -> None:
    assert kind(caption, before=LIST) is SpanKind.PROSE


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("A GIRL IN THE RAIN", "A girl in the rain"),
        ("A GIRL RUNS. It rains on the NASA base.", "A girl runs. It rains on the NASA base."),
        ("a GIRL WITH RED HAIR stands", "a girl with red hair stands"),
        ("A Girl In The Rain", "A girl in the rain"),
        ("Portrait of an Old Sailor", "Portrait of an old sailor"),
        ("ME AND I RUN", "Me and I run"),
        ("МАЛЬЧИК И ДЕВОЧКА", "Мальчик и девочка"),
        ("Ａ ｇｉｒｌ，ｓｍｉｌｉｎｇ", "A girl, smiling"),
        ("a girl’s “hat” – red", "a girl's \"hat\" - red"),
    ],
)
def test_shouting_wide_and_curly_letters_are_folded(typed: str, shown: str) -> None:
    assert shown_text(typed) == shown


@pytest.mark.parametrize(
    "ordinary",
    ["A girl in Paris looks at the NASA base.", "She likes Harry Potter. It is 5.30 p.m. and dark.", "HDR.",
     "Mr. Fox meets J. R. R. Tolkien", "photo of Ada Lovelace", "an IBM PC in the rain", "少女が立つ。"],
)  # fmt: skip
def test_ordinary_sentences_are_left_alone(ordinary: str) -> None:
    assert shown_text(ordinary) == ordinary


@given(st.text(alphabet="aBcDE .!?’“–，．ｇＨßİ\n", max_size=40))
def test_folding_twice_is_folding_once(text: str) -> None:
    assert shown_text(shown_text(text)) == shown_text(text)
