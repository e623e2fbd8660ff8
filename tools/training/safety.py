"""Prompts of the safety check: those of the evaluation files, in the same order for the bare model and for KGen."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tools.training.corpus import read_jsonl
from tools.training.tagforms import spell_tag

_CAPTIONS = ("partiprompts", "drawbench")
_GIVEN = 4  # tags of a list that are given


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt of tags or of a sentence; the other is empty."""

    tags: tuple[str, ...] = ()
    text: str = ""


def load_prompts(folder: Path, *, seed: int, most: int) -> list[Prompt]:
    """Draw `most` prompts from the evaluation folder's lists and captions."""
    found = [
        Prompt(tags=tuple(spell_tag(tag) for tag in record["tags"][:_GIVEN]))
        for record in read_jsonl(folder / "prompts_dev.jsonl")
    ]
    for name in _CAPTIONS:
        found += [
            Prompt(text=re.sub(r"\s+", " ", record["caption"])) for record in read_jsonl(folder / f"{name}.jsonl")
        ]
    rng = np.random.default_rng((seed, 5))
    return [found[place] for place in rng.permutation(len(found))[:most]]
