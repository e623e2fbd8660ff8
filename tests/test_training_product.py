"""The product asked by the evaluation: every engine gets the same prompts, and answers come back as tags."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import kgen_ext
from kgen_ext.request import ExpandRequest
from kgen_ext.training.corpus import Character
from kgen_ext.training.product import ENGINES, Question, escape, looks, open_engines, unescape, withheld
from kgen_ext.training.recall import Half

STARTER = Path(kgen_ext.__file__).parent / "starter"
QUESTION = Question("short", temperature=0.5, top_p=0.95, min_p=0.0, top_k=80)


@dataclass
class Answer:
    added_tags: tuple[str, ...]


class Parrot:
    """An expander that adds the same tags to everything and remembers what it was asked."""

    def __init__(self, *tags: str) -> None:
        self.tags = tags
        self.asked: list[ExpandRequest] = []

    def expand(self, requests: list[ExpandRequest]) -> list[Answer]:
        self.asked += requests
        return [Answer(self.tags) for request in requests for _ in range(request.count)]


def test_brackets_are_escaped_for_prompts_and_read_back() -> None:
    assert escape("star (sky)") == "star \\(sky\\)"
    assert unescape(escape("[x] (y)")) == "[x] (y)"


def test_recall_asks_eight_answers_with_seeds_of_their_own() -> None:
    expander: Any = Parrot("smile", "star \\(sky\\)")
    halves = [Half(("1girl",), frozenset({"star (sky)", "hat"})), Half(("city (x)",), frozenset({"smile"}))]
    assert withheld(expander, QUESTION, halves)["at_10"] == 0.75
    assert [(one.prompt, one.count, one.seed) for one in expander.asked] == [("1girl", 8, 0), ("city \\(x\\)", 8, 8)]


def test_looks_are_asked_by_name_alone() -> None:
    expander: Any = Parrot("red eyes", "hat")
    anna = Character("anna (game)", "game", "1girl", ("red eyes", "black hair"), 9)
    assert looks(expander, QUESTION, [anna]) == 0.5
    assert [one.prompt for one in expander.asked] == ["anna \\(game\\)"]


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_answers_the_same_question(name: str, tmp_path: Path) -> None:
    for package in {"reference": ("tokenizers",), "transformers": ("transformers", "torch")}.get(name, ("llama_cpp",)):
        pytest.importorskip(package)
    for opened, expander in open_engines(STARTER, tmp_path, [name]):
        (lists,) = QUESTION.ask(expander, ["1girl, fox ears"])
        assert opened == name and expander.engine == name.split()[0] and len(lists[0]) > 5
