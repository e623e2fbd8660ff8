"""The evaluation's measures, on lists and texts small enough to count by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import kgen_ext
from tools.training import measures
from tools.training.card import write_card
from tools.training.plot import smooth
from tools.training.recall import Half, rank_by_votes, recall
from tools.training.tagforms import exclusion_table
from tools.training.words import WordList

HALF = Half(("1girl",), frozenset({"hat", "smile", "tree", "cat"}))


def test_recall_skips_given_tags_and_counts_to_its_depth() -> None:
    ranking = ["1girl", "hat", *(f"other {number}" for number in range(9)), "smile"]
    assert recall([HALF], lambda half: ranking) == {"at_10": 0.25, "at_20": 0.5}


def test_votes_count_a_tag_once_a_sample() -> None:
    assert rank_by_votes([["hat", "hat", "hat"], ["smile"], ["smile", "hat"], ["smile"]]) == ["smile", "hat"]


def test_equal_votes_go_to_the_tag_that_stands_earlier() -> None:
    assert rank_by_votes([["hat", "smile", "sky"], ["smile", "sky", "hat"]]) == ["smile", "hat", "sky"]


def test_tags_end_with_their_line() -> None:
    assert measures.parse_tags(", hat, red bow\nlong: A girl, here.") == ["hat", "red bow"]


def test_fields_are_read_by_name() -> None:
    text = ", hat\nlong: A girl with a hat.\nrating: safe"
    assert measures.parse_field(text, "long") == "A girl with a hat."
    assert measures.parse_field(text, "short") == ""


def test_contradictions_are_counted_for_single_subjects_only() -> None:
    table = exclusion_table(["black hair", "red hair"])
    parts = [
        (("1girl", "solo"), ("black hair", "red hair")),
        (("2girls",), ("black hair", "red hair")),
        (("1girl", "solo", "black hair", "red hair"), ("hat",)),
    ]
    assert measures.contradiction_share(parts, table) == 0.5
    assert measures.contradiction_share([(("no humans",), ("1girl",))], table) == 1.0


def test_repeats_and_known_tags_are_shares_of_tags() -> None:
    assert measures.repeat_share([["hat", "hat", "cat", "dog"]]) == 0.25
    assert measures.known_share([["hat", "nonsense"]], {"hat"}) == 0.5


def test_mentions_look_for_the_noun_of_a_tag() -> None:
    assert measures.mention_share([(("1girl", "red hat", "tree (plant)"), "A hat lies here.")]) == 0.5


def test_sentence_ends_and_overlap() -> None:
    assert measures.sentences_ended(["Yes.", "No"]) == 0.5
    assert measures.self_overlap(["a b c d", "a b c d", "e f g h"]) == pytest.approx(2 / 3)


def test_safety_ignores_words_the_request_had() -> None:
    words = WordList(*(re.compile(rf"(?<![a-z])(?:{body})") for body in ("bad(?:ly_drawn)?", "ugly")))
    assert measures.unsafe([", badly drawn, hat"], ["tag: 1girl"], words) == ["badly_drawn"]
    assert measures.unsafe([", bad hat\nlong: A bad cat."], ["tag: bad hat"], words) == []
    assert measures.unsafe([", bad hat, ugly"], ["tag: bad"], words) == ["ugly"]


def test_the_card_has_a_place_for_every_figure() -> None:
    template = (Path(kgen_ext.__file__).parents[1] / "tools/training/data/card.md").read_text(encoding="utf-8")
    found = {"at_10": 0.1, "at_20": 0.2}
    rankings = ("model_short", "model_long", "popularity_danbooru", "popularity_counted", "lifts", "pair_model")
    ranking = {"lists": 3, **dict.fromkeys(rankings, found)}
    figures = {
        "sampling": {"temperature": 0.5},
        "prompts_dev": ranking,
        "real_posts_dev": ranking,
        "characters": {"popular": {"asked": 2, "looks": 0.5}, "held_out": {"asked": 1, "looks": 0.25}},
        "lists": {
            "known": 0.99,
            "repeats": 0.0,
            "contradictions": 0.0,
            "hair_colours": 0.0,
            "in_range_of_long": 1.0,
            "count_quartiles": [1],
        },
        "coco": {"captions": 5, "per_token": 20.0, "bits_per_character": 1.5},
        "texts": {"asked": 4, "written": 1.0, "mentions": 0.5, "ended": 1.0, "self_overlap": 0.1,
                  "repeat_free": 0.75, "listing": 0.0},
        "safety": {"prompts": 1000, "hits": 0, "found": []},
        "samples": [{"request": "tag: 1girl", "answer": ", hat"}],
    }
    safety = {"prompts": 40, "hits": 1, "found": ["organs"]}
    engine = {"lists": 7, "looks": 0.5, "prompts_dev": found, "real_posts_dev": found, "safety": safety,
              "sentences": {"named": 0.9, "fillers": 1.5}, "texts": {"repeat_free": 0.8, "listing": 0.125}}  # fmt: skip
    product = {"llama_cpp Q8_0": engine, "reference": engine | {"safety": safety | {"hits": 0, "found": []}}}
    losses = [{"tokens": 2e6, "step": 10, "seconds": 60, "loss": 2.0}]
    card = write_card(json.loads(json.dumps(figures)), product, losses, template)
    assert "$" not in card and "| prompts_dev | 3 | 0.100 / 0.200 |" in card and "2.0 million targets" in card
    assert "| llama_cpp Q8_0 | 7 | 0.100 / 0.200 | 0.100 / 0.200 | 0.500 | 0.900 | 1.500 | 0.800 | 0.125 |" in card
    assert "in turn, 80 of those prompts brought 1 such words (found:\n`organs`)" in card


@pytest.mark.parametrize("text", [
    "There are a house and a tree.", "A tree is nearby.", "A house in the scene.", "A cat and a hat can be seen.",
    "A girl smiles. Not far away is a tree.", "To one side are a lamp and a chair.", "In front of the house is a car.",
    "Behind her lies a forest.", "Beside it stands a lamp.", "In the background are mountains.",
])  # fmt: skip
def test_a_sentence_that_only_lists_is_counted(text: str) -> None:
    assert measures.listing([text]) == 1.0


@pytest.mark.parametrize("text", [
    "A girl looks around the corner.", "A lamp is on the table.", "She is standing in front of a mirror.",
    "Behind her the sun is setting.", "A tree stands beside the house.", "The scene is bright.",
])  # fmt: skip
def test_a_sentence_that_describes_is_no_list(text: str) -> None:
    assert measures.listing([text]) == 0.0


def test_a_smoothed_curve_is_the_mean_of_its_neighbours() -> None:
    assert smooth([1.0, 2.0, 6.0, 3.0], width=3) == [1.5, 3.0, 11 / 3, 4.5]
