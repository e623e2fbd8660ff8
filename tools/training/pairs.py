"""The pair model: the next tag of a list, from popularity, a regression on the tags already there, and lifts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tools.training.corpus import GENERAL, Corpus
from tools.training.tagforms import is_people_tag

if TYPE_CHECKING:
    from tools.training.neighbours import Neighbours

SMOOTHING = 2.0  # pseudo-count of pairs, so that a pair never seen is rare, not impossible
_RIDGE = 100.0  # pseudo-count on the diagonal of the regression
_UNSEEN = 0.5, 2.0  # a pair not counted stands for this share of what chance gives, at most so many prompts
_POPULAR, _FLOOR = 0.25, 0.01  # of popularity (of its root) beside what the regression says
_LIFT_WEIGHT, _CAP = 0.3, 4  # of the lifts; more than so many tags share the weight of that many
_OWN_WEIGHT = 0.2  # what a tag weighs that the list has drawn itself
_FADE = 20.0  # places after which a tag of the list says a third of what the first one says
_ANCHOR_SHARE = 0.75  # how much of the next choice belongs to what was asked for and is not said yet
_TOLD_SHARE, _TOLD_NEXT = 0.97, 0.75  # the same behind a sentence, and of it what belongs to what it says next
_SILENCE = 0.7  # what the end of a quiet list weighs, where a sure neighbour weighs 1
_POSTS = 9.5e6  # posts behind danbooru.csv and the wide table, roughly
_WIDE = 60.0  # lists with a tag at which its pairs in them weigh as much as those of the wide table
_DANBOORU_SHARE = 0.35  # of the base popularity; the rest is popularity in prompts and posts


@dataclass(frozen=True, slots=True)
class PairModel:
    """Tags, their base popularity [V], and of each pair of them [V, V] the regression weight and the log lift.

    `weights[a, b]` is what tag a in a list adds to the chance of tag b: a ridge regression of every tag on all others
    (Steck 2019, "Embarrassingly shallow autoencoders"), which needs counts of pairs only and, unlike a sum of lifts,
    does not count the same hint twice when two tags say the same.
    """

    tags: tuple[str, ...]
    index: Mapping[str, int]
    base: NDArray[np.float32]
    weights: NDArray[np.float32]
    lift: NDArray[np.float32]

    def scores(self, taken: Iterable[str]) -> NDArray[np.float32]:
        """Return unnormalised log scores [V] of every tag as the next one after `taken`."""
        rows = [self.index[tag] for tag in taken if tag in self.index]
        return self.judge(self.weights[rows].sum(axis=0), self.lift[rows].sum(axis=0), len(rows))

    def judge(
        self, weights: NDArray[np.float32], lift: NDArray[np.float32], known: float
    ) -> NDArray[np.float32]:
        """Return log scores [V] from sums [V] of the weights and lifts of `known` tags."""
        chance = np.maximum(weights + np.float32(_POPULAR) * self.base, 0) + np.float32(_FLOOR) * np.sqrt(self.base)
        share = np.float32(_LIFT_WEIGHT * min(1.0, _CAP / max(1.0, known)))
        result: NDArray[np.float32] = np.log(chance) + share * lift
        return result

    def start(
        self,
        people: Collection[str],
        *,
        rivals: Mapping[str, Collection[str]],
        allowed: NDArray[np.bool_],
        anchors: Sequence[str] = (),
        told: Sequence[str] = (),
        neighbours: Neighbours | None = None,
    ) -> Growth:
        """Begin a list: `people` first; `anchors` and `told` (what metadata and sentences name) weigh like given tags.

        With `neighbours` the list is quiet: only they may follow what was said, and where none is left it ends.
        """
        growth = Growth(self, rivals, ~allowed, list(anchors), list(told), neighbours)
        for tag in people:
            growth.add(tag, own=False)
        for tag in (*anchors, *told):
            growth.weigh(tag, own=False)
        return growth


@dataclass(slots=True)
class Growth:
    """A list being grown: what was given weighs in full, what the model added itself a fifth of that.

    With full weight for both, a list feeds on itself: twenty of its own tags outvote the few that were asked for, and
    every list ends at the same bows and ribbons. A model that reads the list cannot see where the given part ends, so
    all tags say less the later they stand.
    """

    model: PairModel
    rivals: Mapping[str, Collection[str]]
    closed: NDArray[np.bool_]
    anchors: list[str]
    told: list[str]
    neighbours: Neighbours | None
    support: NDArray[np.float32] = field(init=False)
    weights: NDArray[np.float32] = field(init=False)
    lift: NDArray[np.float32] = field(init=False)
    known: float = 0.0
    places: int = 0

    def __post_init__(self) -> None:
        self.support = np.zeros(len(self.model.tags), dtype=np.float32)
        self.weights = np.zeros(len(self.model.tags), dtype=np.float32)
        self.lift = np.zeros(len(self.model.tags), dtype=np.float32)

    def scores(self) -> NDArray[np.float32]:
        """Return log scores [V], minus infinity where a tag may not come."""
        return np.where(self.closed, np.float32(-np.inf), self.model.judge(self.weights, self.lift, self.known))

    def chances(self, temperature: float) -> tuple[NDArray[np.float32], dict[str, float]]:
        """Return the chance of each tag [V] to come next, and what was asked for gets on top.

        All sum to 1, or in a quiet list to less: the rest says nothing.
        """
        if self.neighbours:
            chances = np.where(self.closed, np.float32(0), self.support)
            chances /= max(chances.sum(), _SILENCE)
        else:
            scores = self.scores()
            chances = np.exp((scores - scores.max()) / np.float32(temperature))
            chances /= chances.sum()
        if self.told:
            first, *others = self.told
            share, ahead = _TOLD_SHARE, _TOLD_NEXT if others else 1.0
            extra = {first: share * ahead} | dict.fromkeys(others, share * (1 - ahead) / max(1, len(others)))
        elif self.anchors:
            share = _ANCHOR_SHARE if len(self.anchors) > 1 else _ANCHOR_SHARE * 0.8
            extra = dict.fromkeys(self.anchors, share / len(self.anchors))
        else:
            return chances, {}
        return chances * np.float32(1 - share), extra

    def draw(self, rng: np.random.Generator, temperature: float, *, own: bool = True) -> str | None:
        """Draw the next tag and add it; None when nothing is left, or a quiet list has ended."""
        if self.closed.all() and not self.anchors:
            return None
        if self.neighbours:
            total = float(self.support[~self.closed].sum())
            if rng.random() * (total + _SILENCE) >= total:
                return None
        chances, extra = self.chances(temperature)
        if self.anchors and rng.random() < sum(extra.values()):
            tag = self.anchors[int(rng.integers(len(self.anchors)))]
        else:
            steps = np.cumsum(chances)
            place = int(np.searchsorted(steps, rng.random() * steps[-1], side="right"))
            tag = self.model.tags[min(place, len(chances) - 1)]
            if tag in self.model.index and self.closed[self.model.index[tag]]:
                return None
        self.add(tag, own=own)
        return tag

    def add(self, tag: str, *, own: bool) -> None:
        """Take a tag into the list: it and what it excludes cannot come again."""
        if tag in self.anchors or tag in self.told:
            self.anchors = [other for other in self.anchors if other != tag]
            self.told = [other for other in self.told if other != tag]
        else:
            self.weigh(tag, own=own)
        self.places += 1
        barred = (tag, *self.rivals.get(tag, ()))
        for other in barred:
            if other in self.model.index:
                self.closed[self.model.index[other]] = True
        self.anchors = [other for other in self.anchors if other not in barred]

    def weigh(self, tag: str, *, own: bool) -> None:
        """Let a tag speak for its company, without being in the list."""
        if self.neighbours and not own:
            self.support = np.maximum(self.support, self.neighbours.of(tag))
        row = self.model.index.get(tag)
        if row is None:
            return
        factor = np.float32(np.exp(-self.places / _FADE) * (_OWN_WEIGHT if own else 1.0))
        self.weights += factor * self.model.weights[row]
        self.lift += factor * self.model.lift[row]
        self.known += float(factor)


def build_pair_model(corpus: Corpus, *, min_count: float = 4.0) -> PairModel:
    """Count up the pair model: general tags of Danbooru that prompts and posts of the corpus have `min_count` times."""
    lists, counts = corpus.tag_counts()
    posts = {tag: count for tag, category, count in corpus.danbooru if category == GENERAL}
    tags = tuple(tag for tag, count in counts.items() if count >= min_count and (tag in posts or is_people_tag(tag)))
    index = {tag: position for position, tag in enumerate(tags)}
    together, expected, seen = count_pairs(corpus, index)
    booru = np.array([posts.get(tag, 0) for tag in tags], dtype=float)
    base = (1 - _DANBOORU_SHARE) * seen / lists + _DANBOORU_SHARE * booru / max(posts.values()) * 0.7 + 1e-6
    lift = np.log((together + SMOOTHING) / (expected + SMOOTHING))
    for left, right, count in zip(*corpus.pairs("cooccurrence"), strict=True):
        if left in index and right in index and posts.get(left) and posts.get(right):
            one, other = index[left], index[right]
            wide = np.clip(np.log((count + 5) * _POSTS / (posts[left] * posts[right])), -1.0, 4.0)
            share = _WIDE / (_WIDE + min(seen[one], seen[other]))
            lift[one, other] = lift[other, one] = lift[one, other] * (1 - share) + wide * share
    np.fill_diagonal(lift, 0.0)
    return PairModel(
        tags, index, base.astype(np.float32), _regression(together, expected, seen), lift.astype(np.float32)
    )


def count_pairs(
    corpus: Corpus, index: Mapping[str, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    """Return in how many prompts and posts each pair of tags is [V, V], and would be by chance; and each tag [V]."""
    lists, counts = corpus.tag_counts()
    seen = np.array([counts[tag] for tag in index], dtype=np.float64)
    together = np.zeros((len(index), len(index)), dtype=np.float32)
    for left, right, count in corpus.pair_counts():
        if left in index and right in index:
            together[index[left], index[right]] += count
            together[index[right], index[left]] += count
    return together, (seen[:, None] * seen[None, :] / lists).astype(np.float32), seen


def _regression(
    together: NDArray[np.float32], expected: NDArray[np.float32], seen: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return the weights [V, V] of the ridge regression, from counts of pairs (true, by chance) and of tags."""
    share, most = _UNSEEN
    gram = np.where(together > 0, together, np.minimum(expected * share, most)).astype(np.float64)
    np.fill_diagonal(gram, seen + _RIDGE)
    inverse = np.linalg.inv(gram)
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return weights.astype(np.float32)
