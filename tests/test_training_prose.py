"""Sentences of the training data: captions cleaned up, and templates that say what tags say, where captions have it."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tools.training import measures
from tools.training.captions import Forms, caption_records, word_forms
from tools.training.cleaning import clean_sentences
from tools.training.people import people_of_caption
from tools.training.prose import describe
from tools.training.relations import Relations, find_relations


def test_captions_become_sentences_or_nothing() -> None:
    assert clean_sentences("a dog runs on grass . it is happy there") == ("A dog runs on grass.", "It is happy there.")
    assert clean_sentences("Two cats sit here. The camera zooms in.") == ("Two cats sit here.",)
    assert clean_sentences("a portrait by greg rutkowski, artstation") == ()


RELATIONS = Relations(
    person={"cat": {"holding a": 3, "next to a": 2}, "forest": {"walking in the": 4}},
    things={
        ("lamp", "table"): {"on the": 9}, ("lamp", "window"): {"by the": 3},
        ("cat", "sofa"): {"sleeping on a": 5}, ("chair", "desk"): {"at a": 3},
    },
)


@pytest.mark.parametrize("caption, kept", [
    ("A brown dog runs. In the center of the picture is a cat.", ("A brown dog runs.",)),
    ("A brown dog runs. The scene is lit by day. It barks at cats.", ("A brown dog runs.", "It barks at cats.")),
    ("There are two dogs on the grass.", ()),
    ("A detailed photo of a dog, 4k. It barks at cats.", ()),
    ("A dog looks at a painter.", ("A dog looks at a painter.",)),
])  # fmt: skip
def test_captions_that_speak_of_pictures_are_no_examples(caption: str, kept: tuple[str, ...]) -> None:
    listed = [{"caption": caption}]
    one = SimpleNamespace(captions=lambda name: listed if name == "vbench" else [])
    found = caption_records(one, Forms({}, {}))  # type: ignore[arg-type]
    assert [record.sentences for record in found] == ([kept] if kept else [])


def test_descriptions_mention_tags_once_and_end_as_sentences() -> None:
    tags = ("blue eyes", "long hair", "red dress", "hat", "holding sword", "forest", "night", "cat")
    for seed in range(20):
        found = describe(("1girl", "solo"), tags, (), 5, np.random.default_rng(seed), relations=RELATIONS)
        assert 1 <= len(found) <= 5 and all(sentence[0].isupper() and sentence.endswith(".") for sentence in found)
        assert " ".join(found).count("blue eyes") <= 1


@pytest.mark.parametrize("people", [("1girl", "solo"), ("no humans",), ("2boys",)])
def test_descriptions_are_no_lists_in_disguise(people: tuple[str, ...]) -> None:
    tags = (
        "blue eyes", "short hair", "red dress", "holding book", "forest", "sunset", "cat", "lamp", "table", "from above"
    )  # fmt: skip
    for seed in range(60):
        text = " ".join(describe(people, tags, (), 9, np.random.default_rng(seed), relations=RELATIONS))
        assert not re.search(r"\b(?:There|picture|scene|nearby|around|seen|far away|one side|[Ii]n front)\b", text)
        assert not measures.listing([text])


def told(people: tuple[str, ...], tags: tuple[str, ...], **keywords: Any) -> set[str]:
    """Return every sentence that continues a text of these tags."""
    return {
        sentence
        for seed in range(60)
        for sentence in describe(
            people, tags, (), 3, np.random.default_rng(seed), relations=RELATIONS, opening=False, **keywords
        )
    }


def test_things_are_where_captions_have_them_and_others_are_left_unsaid() -> None:
    assert told(("no humans",), ("lamp", "clock"), said=("table",)) == {"A lamp is on the table."}
    assert told(("no humans",), ("table", "clock"), said=("lamp",)) == {"The lamp is on the table."}
    assert told(("no humans",), ("lamp", "table")) == set()  # neither was named
    assert told(("1girl",), ("cat", "clock")) == {"She is holding a cat.", "She is next to a cat."}
    assert told(("2boys",), ("cat",)) == {"They are holding a cat.", "They are next to a cat."}
    assert told(("no humans",), ("chair",), said=("desk",)) == {"A chair is at the desk."}  # `hair` takes no article
    assert told((), ("cat", "hat"), said=("sofa",)) == {"A cat is sleeping on the sofa."}  # and nobody wears the hat


def test_the_place_of_a_thing_is_told_once() -> None:
    texts = told(("no humans",), ("lamp", "window"), said=("table",))
    assert texts == {"A lamp is on the table."}
    assert told(("no humans",), ("window",), said=("lamp",)) == {"The lamp is by the window."}


@pytest.mark.parametrize("tags, texts", [
    (("light blue hair",), {"She has light blue hair.", "Her hair is light blue."}),
    (("green eyes",), {"She has green eyes.", "Her eyes are green."}),
    (("long hair", "very long hair"), {"She has long hair.", "Her hair is long.", "She has very long hair.",
                                       "Her hair is very long."}),
    (("hand in own hair",), set()), (("eyes visible through hair",), set()), (("depth of field",), {
        "What is far away is out of focus."}),
])  # fmt: skip
def test_looks_are_what_someone_has(tags: tuple[str, ...], texts: set[str]) -> None:
    assert {sentence for sentence in told(("1girl",), tags) if sentence.count("hair") < 2} == texts


@pytest.mark.parametrize("caption, tags, people", [
    ("A couple of brown cows.", ["couple", "cow"], ("no humans",)), ("A couple on a bench.", ["couple"], ("couple",)),
    ("Two men cross the street.", [], ("2boys", "multiple boys")),
    ("Two young women smile.", [], ("2girls", "multiple girls")),
    ("Some policemen stand.", [], ("multiple boys",)), ("Three girls and a man.", [], ("multiple girls", "1boy")),
    ("A woman smiles.", [], ("1girl",)), ("Women smile.", [], ("multiple girls",)),
    ("A man looks at a specimen.", [], ("1boy",)),
])  # fmt: skip
def test_people_are_counted(caption: str, tags: list[str], people: tuple[str, ...]) -> None:
    assert people_of_caption(caption, tags) == people


def test_nobody_has_no_body() -> None:
    assert told((), ("full body", "from above")) == {"The view is from above.", "Seen from above."}


def test_nobody_is_dressed_in_a_hat() -> None:
    assert told(("1girl",), ("hat",)) == {"She wears a hat.", "She is wearing a hat."}
    found = told(("1boy",), ("hat", "coat"))
    assert "He is dressed in a coat." in found and "He wears a coat and a hat." in found
    assert not any(re.search("dressed.* hat|hat and a coat", sentence) for sentence in found)


def test_a_posture_does_not_deny_what_was_said() -> None:
    assert told(("1girl",), ("cat",), said=("sitting",)) == {"She is next to a cat."}
    assert told(("1girl",), ("cat",), said=("table",)) == {"She is next to a cat."}
    assert told(("1girl",), ("forest",), said=("walking",)) == {"She is walking in the forest."}


def test_a_text_that_is_continued_does_not_introduce_its_subject_again() -> None:
    for seed in range(20):
        text = " ".join(
            describe(
                ("1girl",), ("hat", "cat"), (), 3, np.random.default_rng(seed), relations=RELATIONS, opening=False
            )
        )
        assert "girl" not in text and ("hat" in text or "cat" in text)


def test_relations_are_what_stands_between_a_person_or_a_thing_and_the_next() -> None:
    forms = word_forms(["bench", "cat", "table", "dog", "sofa", "street", "sitting"], {"couch": "sofa"})
    nouns = frozenset(forms.values()) - {"sitting"}
    texts = (
        "A woman sitting on a bench.", "A cat sitting on the table.", "A table placed next to a dog.",
        "A man with a dog.", "Dogs on a couch.", "A cat on the street is holding a dog.",
        "A dog wearing a bench.", "A sofa next to a table.", "The front of the table of the street.",
    )  # fmt: skip
    found = find_relations([text for text in texts for _ in range(3)], forms, nouns)
    assert found.person == {"bench": {"sitting on a": 3}}
    assert found.things == {
        ("cat", "table"): {"sitting on the": 3}, ("table", "dog"): {"placed next to a": 3},
        ("cat", "street"): {"on the": 3}, ("sofa", "table"): {"next to a": 3},
    }  # fmt: skip
    assert find_relations([texts[0]] * 2, forms, nouns) == Relations()  # a caption may be wrong
