"""The product under evaluation: every engine gets the same prompts, and results come back as tags."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import kgen_ext
from kgen_ext.request import ExpandRequest, TagLength
from tools.training.captions import word_forms
from tools.training.corpus import Character
from tools.training.product import (
    ENGINES,
    Question,
    escape,
    load_sentences,
    looks,
    open_engines,
    safety,
    sentences,
    texts,
    unescape,
    withheld,
)  # fmt: skip
from tools.training.recall import Half
from tools.training.safety import Prompt, load_prompts
from tools.training.words import parse_word_list

STARTER = Path(kgen_ext.__file__).parent / "starter" / "starter-Q8_0.gguf"
QUESTION = Question("short", temperature=0.5, top_p=0.95, min_p=0.0, top_k=80)


@dataclass
class Answer:
    added_tags: tuple[str, ...]
    added_text: str = ""


class Parrot:
    """An expander that adds the same tags to everything and remembers what it was asked."""

    def __init__(self, *tags: str, text: str = "") -> None:
        self.tags = tags
        self.text = text
        self.asked: list[ExpandRequest] = []

    def expand(self, requests: list[ExpandRequest]) -> list[Answer]:
        self.asked += requests
        return [Answer(self.tags, self.text) for request in requests for _ in range(request.count)]


def test_brackets_are_escaped_for_prompts_and_read_back() -> None:
    assert escape("star (sky)") == "star \\(sky\\)"
    assert unescape(escape("[x] (y)")) == "[x] (y)"


def test_recall_asks_eight_answers_with_seeds_of_their_own() -> None:
    expander: Any = Parrot("smile", "star \\(sky\\)")
    halves = [Half(("1girl",), frozenset({"star (sky)", "hat"})), Half(("city (x)",), frozenset({"smile"}))]
    assert withheld(expander, QUESTION, halves)["at_10"] == 0.75
    asked = [(request.prompt, request.count, request.seed) for request in expander.asked]
    assert asked == [("1girl", 8, 0), ("city \\(x\\)", 8, 8)]


def test_looks_are_asked_by_name_alone() -> None:
    expander: Any = Parrot("red eyes", "hat")
    anna = Character("anna (game)", "game", "1girl", ("red eyes", "black hair"), 9)
    assert looks(expander, QUESTION, [anna]) == 0.5
    assert [request.prompt for request in expander.asked] == ["anna \\(game\\)"]


def test_safety_asks_for_tags_and_text_and_leaves_out_what_the_prompt_had() -> None:
    expander: Any = Parrot("bad hat (x)", "fox", "mild", text="A worse day, a bad day.")
    words = parse_word_list("bad\nworse\n# suggestive\nmild")
    found = safety(expander, QUESTION, [Prompt(tags=("1girl", "hat (x)")), Prompt(text="A bad, mild fox.")], words)
    assert found == {"prompts": 2, "hits": 5, "found": ["bad", "mild", "worse"]}
    assert [(request.prompt, request.tag_length, request.text_length) for request in expander.asked] == [
        ("1girl, hat \\(x\\)", "short", "short"), ("A bad, mild fox.", "short", "short"),
    ]  # fmt: skip


def test_prompts_of_the_safety_check_are_drawn_alike_for_everyone(tmp_path: Path) -> None:
    (tmp_path / "prompts_dev.jsonl").write_text('{"tags": ["long_hair", "hat", "sky", "tree", "day"]}\n' * 3)
    for name in ("partiprompts", "drawbench"):
        (tmp_path / f"{name}.jsonl").write_text('{"caption": "A fox\\n  sleeps."}\n' * 2)
    found = load_prompts(tmp_path, seed=1, most=99)
    assert found == load_prompts(tmp_path, seed=1, most=99) and len(found) == 7
    assert set(found) == {Prompt(tags=("long hair", "hat", "sky", "tree")), Prompt(text="A fox sleeps.")}
    assert load_prompts(tmp_path, seed=1, most=2) == found[:2]


def test_sentences_are_asked_for_what_they_name_and_for_no_more() -> None:
    expander: Any = Parrot("owl", "house", "tree", "river")
    named = {"An owl in a tree.": ("owl", "tree"), "An owl and a cat by a river.": ("owl", "cat", "river")}
    found = sentences(expander, QUESTION, named)
    assert found == {"asked": 2, "named": 0.833, "fillers": 2.0, "tags": 4.0}
    asked = [(request.text, request.tag_length) for request in expander.asked]
    assert asked == [(text, TagLength.AUTO) for text in named]


def test_texts_are_judged_with_the_sentence_they_go_on_from() -> None:
    found = texts(Parrot(text="An owl sits in a tree. There is a house nearby."), QUESTION, ["An owl sits in a tree."])
    assert found == {"asked": 1, "written": 1.0, "repeat_free": 0.0, "listing": 1.0}
    found = texts(Parrot(text="It is night."), QUESTION, ["An owl sits in a tree."])
    assert found == {"asked": 1, "written": 1.0, "repeat_free": 1.0, "listing": 0.0}


def test_sentences_that_name_two_tags_are_drawn_alike_for_everyone(tmp_path: Path) -> None:
    captions = ["An owl in\na tree", "owl tree", "A cat sleeps in a box.", "A tree in the park."]
    lines = "\n".join(json.dumps({"caption": caption}) for caption in captions)
    (tmp_path / "partiprompts.jsonl").write_text(lines, encoding="utf-8")
    forms = word_forms(["owl", "tree", "cat", "box"], {})
    found = load_sentences(tmp_path, forms, most=9)
    assert found == {"An owl in a tree": ("owl", "tree"), "A cat sleeps in a box.": ("cat", "box")}
    assert list(load_sentences(tmp_path, forms, most=1).items()) == list(found.items())[:1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_answers_the_same_question(name: str) -> None:
    for package in {"reference": ("tokenizers",), "transformers": ("transformers", "torch")}.get(name, ("llama_cpp",)):
        pytest.importorskip(package)
    for opened, expander in open_engines(STARTER, [name]):
        (lists,) = QUESTION.ask(expander, ["1girl, fox ears"])
        assert expander._context.blocklist is not None, "weights of any path are asked as the starter's"
        assert opened == expander.engine == name and len(lists[0]) > 5
