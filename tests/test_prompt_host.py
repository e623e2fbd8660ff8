"""Weights and edits as A1111 reads them, on 200 recorded prompts, before and after an expansion."""
from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from host_schedule import schedule

from kgen_ext.events import By
from kgen_ext.prompt import append, attention, parse

GOLDEN = json.loads((Path(__file__).parent / "golden" / "attention.json").read_text(encoding="utf-8"))
STEPS = 20
ADDITION = "zzadded, zzhat \\(zzseries\\)"

# The host's Earley grammar is ambiguous where an edit stands among unbalanced brackets or too many colons, and lark
# 1.1.2, which A1111 pins, resolves that by the order of a set: the same prompt gives either answer from one
# process to the next (seen by changing PYTHONHASHSEED: ours in 8 of 24 readings of these three, else the recorded).
# In the three recorded runs below the host took the edit for text; everywhere else it took it for an edit, as we do.
TOSSED = {
    "[(beach, sunset):((f1.8 lens):0.8):0.5]": "__hat__,:d, , [my_char_v2], [[(beach",
    "[a photo of a dog:my_char_v2:0]": "[=3], f1.8 lens name",
    "[night::5]": "solo, long_hair, (((:d, 2boys,",
}


def tossed_edit(prompt: str) -> str | None:
    return next((edit for edit, start in TOSSED.items() if prompt.startswith(start)), None)


@cache
def as_text(edit: str) -> str:
    return edit.translate(dict(zip(map(ord, "[]():"), map(ord, "\ue000\ue001\ue002\ue003\ue004"), strict=True)))


@pytest.mark.parametrize("case", GOLDEN, ids=range(len(GOLDEN)))
def test_weights_are_the_hosts(case: dict[str, Any]) -> None:
    assert [list(pair) for pair in attention(case["prompt"])] == case["attention"]


@pytest.mark.parametrize("case", GOLDEN, ids=range(len(GOLDEN)))
def test_the_schedule_is_the_hosts(case: dict[str, Any]) -> None:
    prompt, edit = case["prompt"], tossed_edit(case["prompt"])
    if edit is None:
        found = schedule(prompt, STEPS)
    else:
        literal = as_text(edit)
        assert prompt.count(edit) == 1
        found = [(step, text.replace(literal, edit)) for step, text in schedule(prompt.replace(edit, literal), STEPS)]
    assert [list(pair) for pair in found] == case["schedule_20_steps"]


@pytest.mark.parametrize(("edit", "shown"), [
    ("[cat:dog:1.5]", "cat"), ("[cat:dog:1e999]", "cat"), ("[cat:dog:-1e999]", "dog"), ("[cat:dog:-3]", "dog"),
])  # fmt: skip
def test_an_edit_out_of_the_steps_adds_none(edit: str, shown: str) -> None:
    assert schedule(edit, 10) == [(10, shown)]


def test_only_those_recorded_schedules_differ_from_ours() -> None:
    ours = [[list(pair) for pair in schedule(case["prompt"], STEPS)] for case in GOLDEN]
    recorded = [case["schedule_20_steps"] for case in GOLDEN]
    differing = [case["prompt"] for case, mine, its in zip(GOLDEN, ours, recorded, strict=True) if mine != its]
    assert len(differing) == len(TOSSED) and all(map(tossed_edit, differing))


@pytest.mark.parametrize("case", GOLDEN, ids=range(len(GOLDEN)))
def test_an_expansion_moves_no_step_and_is_there_in_every_one(case: dict[str, Any]) -> None:
    prompt = parse(case["prompt"])
    appended = append(prompt, [ADDITION] * len(prompt.segments))
    added = [piece.text for piece in appended.pieces if piece.by is By.MODEL]
    assert len(added) + len(appended.skipped) == len(prompt.segments)
    after = schedule("".join(piece.text for piece in appended.pieces), STEPS)
    for i, (step, text) in enumerate(after):
        for words in added:
            assert words in text
            text = text.replace(words, "", 1)
        after[i] = step, text
    assert after == schedule(case["prompt"], STEPS)


@pytest.mark.parametrize("case", GOLDEN, ids=range(len(GOLDEN)))
def test_an_expansion_has_weight_one_and_leaves_the_others_theirs(case: dict[str, Any]) -> None:
    prompt = parse(case["prompt"])
    appended = append(prompt, ["\ue000"] * len(prompt.segments))
    after = attention("".join(piece.text for piece in appended.pieces))
    assert all(weight == 1.0 for text, weight in after if "\ue000" in text)
    # Character by character, what the model added taken out: separators and closed brackets have no weight to differ.
    assert _weighed(case["attention"]) == _weighed(after)


def _weighed(pairs: list[Any]) -> dict[str, list[float]]:
    """Return the weights of each letter and digit in order; the additions have none of either."""
    found: dict[str, list[float]] = {}
    for text, weight in pairs:
        for char in text:
            if char.isalnum():
                found.setdefault(char, []).append(weight)
    return found
