"""The product under evaluation: every engine gets the same prompts, and results come back as tags."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import kgen_ext
from kgen_ext.request import ExpandRequest
from tools.training.corpus import Character
from tools.training.product import ENGINES, Question, escape, looks, open_engines, safety, unescape, withheld
from tools.training.recall import Half
from tools.training.safety import Prompt, load_prompts
from tools.training.words import parse_word_list

STARTER = Path(kgen_ext.__file__).parent / "starter"
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


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_answers_the_same_question(name: str, tmp_path: Path) -> None:
    for package in {"reference": ("tokenizers",), "transformers": ("transformers", "torch")}.get(name, ("llama_cpp",)):
        pytest.importorskip(package)
    for opened, expander in open_engines(STARTER, tmp_path, [name]):
        (lists,) = QUESTION.ask(expander, ["1girl, fox ears"])
        assert expander._context.blocklist is not None, "weights of any path are asked as the starter's"
        assert opened == name and expander.engine == name.split()[0] and len(lists[0]) > 5
