"""What comes with a tag: its neighbours by posts, by counted lists and by name, and nothing where nothing is known."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.training.corpus import GENERAL, Corpus
from tools.training.pairs import PairModel
from tools.training.tagforms import is_people_tag, spell_tag

_POSTS = 9.5e6  # behind danbooru.csv, roughly
_WIDE, _COUNTED = (0.1, 3.0), (0.15, 2.0)  # least chance and least lift: in related tags, in counted lists
_LEAST = 5  # lists that must have both tags
_DOUBT = 10  # lists by which the chances of counted pairs are lowered
_BY_NAME = 0.5  # chance of what a tag's name contains: `pizza slice`, `slice` aside, is of `pizza`


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Of each tag the rows of a pair model that come with it, and how surely."""

    table: Mapping[str, tuple[NDArray[np.int64], NDArray[np.float32]]]
    size: int

    def of(self, tag: str) -> NDArray[np.float32]:
        """Return how surely each tag of the pair model [V] comes with `tag`; zeros where nothing is known."""
        result = np.zeros(self.size, dtype=np.float32)
        if tag in self.table:
            rows, chances = self.table[tag]
            result[rows] = chances
        return result


def build_neighbours(corpus: Corpus, model: PairModel) -> Neighbours:
    """Read the neighbours of every tag from the corpus."""
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for tag, other, chance in (*_wide(corpus), *_counted(corpus), *_contained(corpus)):
        row = model.index.get(other)
        if row is not None and tag != other and not is_people_tag(tag) and not is_people_tag(other):
            found[tag][row] = max(chance, found[tag].get(row, 0.0))
    table = {
        tag: (np.array(list(rows), dtype=np.int64), np.array(list(rows.values()), dtype=np.float32))
        for tag, rows in found.items()
    }
    return Neighbours(table, len(model.tags))


def _wide(corpus: Corpus) -> Iterator[tuple[str, str, float]]:
    posts = {tag: count for tag, category, count in corpus.danbooru if category == GENERAL}
    for left, right, count in zip(*corpus.pairs("cooccurrence"), strict=True):
        if posts.get(left) and posts.get(right):
            lift = count * _POSTS / (posts[left] * posts[right])
            for tag, other in ((left, right), (right, left)):
                if lift >= _WIDE[1] and count / posts[tag] >= _WIDE[0]:
                    yield tag, other, min(1.0, count / posts[tag])


def _counted(corpus: Corpus) -> Iterator[tuple[str, str, float]]:
    lists, seen = corpus.tag_counts()
    together: dict[tuple[str, str], float] = defaultdict(float)
    for left, right, count in corpus.pair_counts():
        together[min(left, right), max(left, right)] += count
    for (left, right), count in together.items():
        if count >= _LEAST and left in seen and right in seen:
            lift = count * lists / (seen[left] * seen[right])
            for tag, other in ((left, right), (right, left)):
                chance = count / (seen[tag] + _DOUBT)
                if lift >= _COUNTED[1] and chance >= _COUNTED[0]:
                    yield tag, other, min(1.0, chance)


def _contained(corpus: Corpus) -> Iterator[tuple[str, str, float]]:
    table = json.loads((corpus.root / "tags/overlap_tags.json").read_text(encoding="utf-8"))
    for general, cases in table.items():
        yield from ((spell_tag(case), spell_tag(general), _BY_NAME) for case in cases)
    for tag, category, _ in corpus.danbooru:
        if category == GENERAL and " " in tag and "(" not in tag:
            yield tag, tag.split()[-1], _BY_NAME
