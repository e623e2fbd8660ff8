"""Withheld recall: half of a list's safe general tags is given, the other half is to be found.

Yardsticks on the same lists are popularity, lifts and the pair model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tools.training.corpus import GENERAL, Corpus, read_jsonl
from tools.training.pairs import PairModel
from tools.training.tagforms import is_people_tag, spell_tag

DEPTHS = (10, 20)
_LIFTS = 4  # lifts that count in full; more of them share the weight of that many


@dataclass(frozen=True, slots=True)
class Half:
    """One list cut in two."""

    given: tuple[str, ...]
    withheld: frozenset[str]


def load_halves(path: Path, corpus: Corpus, *, seed: int, most: int | None = None) -> list[Half]:
    """Cut the lists of a file in half at random, the same way for every ranking; lists under six tags are left out."""
    known = {tag for tag, category, _ in corpus.danbooru if category == GENERAL}
    rng = np.random.default_rng(seed)
    halves = []
    for record in read_jsonl(path):
        tags = [tag for tag in dict.fromkeys(spell_tag(tag) for tag in record["tags"]) if tag in known]
        order = rng.permutation(len(tags))
        if len(tags) >= 6:
            middle = len(tags) // 2
            given = sorted((tags[place] for place in order[:middle]), key=lambda tag: not is_people_tag(tag))
            halves.append(Half(tuple(given), frozenset(tags[place] for place in order[middle:])))
    return halves if most is None else [halves[place] for place in sorted(rng.permutation(len(halves))[:most])]


def recall(halves: Sequence[Half], rank: Callable[[Half], Sequence[str]]) -> dict[str, float]:
    """Return the mean share of the withheld tags among the first 10 and 20 of each ranking (given tags are skipped)."""
    totals = dict.fromkeys(DEPTHS, 0.0)
    for half in halves:
        ranked = [tag for tag in rank(half) if tag not in half.given]
        for depth in DEPTHS:
            totals[depth] += len(half.withheld.intersection(ranked[:depth])) / len(half.withheld)
    return {f"at_{depth}": round(total / len(halves), 3) for depth, total in totals.items()}


def yardsticks(halves: Sequence[Half], corpus: Corpus, model: PairModel) -> dict[str, dict[str, float]]:
    """Measure popularity in danbooru.csv and in counted lists, sums of lifts, and the pair model on the same lists."""
    booru = [tag for tag, category, _ in corpus.danbooru if category == GENERAL][:300]
    counted = list(corpus.tag_counts()[1])[:300]

    def lift_ranking(half: Half) -> list[str]:
        rows = [model.index[tag] for tag in half.given if tag in model.index]
        share = min(1.0, _LIFTS / max(1, len(rows)))
        return best(np.log(model.base) + share * model.lift[rows].sum(axis=0))

    def best(scores: NDArray[np.float32]) -> list[str]:
        return [model.tags[place] for place in np.argsort(-scores)[:120]]

    return {
        "popularity_danbooru": recall(halves, lambda half: booru),
        "popularity_counted": recall(halves, lambda half: counted),
        "lifts": recall(halves, lift_ranking),
        "pair_model": recall(halves, lambda half: best(model.scores(half.given))),
    }


def rank_by_votes(samples: Sequence[Sequence[str]]) -> list[str]:
    """Rank tags by how many samples have them; ties go to the tag that stands earlier on the average."""
    votes: Counter[str] = Counter()
    places: Counter[str] = Counter()
    for sample in samples:
        for place, tag in enumerate(dict.fromkeys(sample)):
            votes[tag] += 1
            places[tag] += place
    return sorted(votes, key=lambda tag: (-votes[tag], places[tag] / votes[tag]))
