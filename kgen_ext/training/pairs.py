"""The pair model: which tag comes next in a list, from log popularity and the log lift of the tags already there.
It knows counts and a generator, and refuses to know captions, characters or the text format."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kgen_ext.training.corpus import GENERAL, Corpus
from kgen_ext.training.tagforms import is_people_tag

_SMOOTHING = 2.0  # pseudo-count of pairs, so that a pair never seen is rare, not impossible
WEIGHT = 1.0  # of the lift of given tags; with the cap below it ranks withheld tags best on prompts and posts alike
_CAP = 4  # tags whose lift counts in full; more of them share that weight
_OWN_WEIGHT, _OWN_CAP = 0.1, 2.0  # the same for tags the list has drawn itself
_FADE = 10.0  # places after which a tag of the list says a third of what the first one says
_SURPRISE = 200.0  # how quickly a tag that was expected loses its say
_ANCHOR_SHARE = 0.75  # how much of the next choice belongs to what was asked for and is not said yet
_POSTS = 9.5e6  # posts behind danbooru.csv and the wide table, roughly
_WIDE = 60.0  # prompts with a tag at which its pairs in prompts weigh as much as those of the wide table
_DANBOORU_SHARE = 0.35  # of the base popularity; the rest is popularity in prompts


@dataclass(frozen=True, slots=True)
class PairModel:
    """Tags, their base log popularity [V] and the log lift of each pair of them [V, V]."""

    tags: tuple[str, ...]
    index: Mapping[str, int]
    base: NDArray[np.float32]
    lift: NDArray[np.float32]

    def scores(self, taken: Iterable[str], weight: float) -> NDArray[np.float32]:
        """Return unnormalised log scores [V] of every tag as the next one after `taken`."""
        rows = [self.index[tag] for tag in taken if tag in self.index]
        return self.base + _share(weight, len(rows)) * self.lift[rows].sum(axis=0)

    def start(
        self,
        people: Collection[str],
        *,
        rivals: Mapping[str, Collection[str]],
        allowed: NDArray[np.bool_],
        anchors: Sequence[str] = (),
        weight: float = WEIGHT,
    ) -> Growth:
        """Begin a list: `people` first, `anchors` (what the text before the list asks for) weigh like given tags."""
        growth = Growth(self, rivals, ~allowed, list(anchors), weight)
        for tag in people:
            growth.add(tag, own=False)
        for tag in anchors:
            growth.weigh(tag, own=False)
        return growth


@dataclass(slots=True)
class Growth:
    """A list being grown: what was given weighs in full, what the model added itself only as far as it surprised.

    With full weight for both, a list feeds on itself: twenty of its own tags outvote the few that were asked for, and
    every list ends at the same bows and ribbons (withheld tags found by such lists: .20 against .28 this way). A model
    that reads the list cannot see where the given part ends, so all tags say less the later they stand.
    """

    model: PairModel
    rivals: Mapping[str, Collection[str]]
    closed: NDArray[np.bool_]
    anchors: list[str]
    weight: float
    given: NDArray[np.float32] = field(init=False)
    own: NDArray[np.float32] = field(init=False)
    n_given: float = 0.0
    n_own: float = 0.0
    places: int = 0

    def __post_init__(self) -> None:
        self.given = np.zeros(len(self.model.tags), dtype=np.float32)
        self.own = np.zeros(len(self.model.tags), dtype=np.float32)

    def scores(self) -> NDArray[np.float32]:
        """Return log scores [V], minus infinity where a tag may not come."""
        scores = self.model.base + _share(self.weight, self.n_given) * self.given
        if self.n_own:
            scores = scores + _OWN_WEIGHT * min(1.0, _OWN_CAP / self.n_own) * self.own
        return np.where(self.closed, np.float32(-np.inf), scores)

    def chances(self, temperature: float) -> tuple[NDArray[np.float32], dict[str, float]]:
        """Return the chance of each tag [V] to come next, and what the anchors get on top; all sum to 1."""
        scores = self.scores()
        chances = np.exp((scores - scores.max()) / np.float32(temperature))
        chances /= chances.sum()
        if not self.anchors:
            return chances, {}
        share = _ANCHOR_SHARE if len(self.anchors) > 1 else _ANCHOR_SHARE * 0.8
        return chances * np.float32(1 - share), dict.fromkeys(self.anchors, share / len(self.anchors))

    def draw(self, rng: np.random.Generator, temperature: float, *, own: bool = True) -> str | None:
        """Draw the next tag and add it; None when nothing is left."""
        if self.closed.all() and not self.anchors:
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
        if tag in self.anchors:
            self.anchors.remove(tag)
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
        row = self.model.index.get(tag)
        if row is None:
            return
        fade = float(np.exp(-self.places / _FADE))
        if not own:
            self.given += np.float32(fade) * self.model.lift[row]
            self.n_given += fade
            return
        scores = self.scores()
        best = scores.max()
        share = float(np.exp(scores[row] - best) / np.exp(scores - best).sum()) if np.isfinite(best) else 0.0
        factor = fade * float(np.exp(-_SURPRISE * share))
        self.own += np.float32(factor) * self.model.lift[row]
        self.n_own += factor


def _share(weight: float, known: float) -> float:
    return weight * min(1.0, _CAP / max(1.0, known))


def build_pair_model(corpus: Corpus, *, min_count: float = 4.0) -> PairModel:
    """Count up the pair model from the corpus: prompt tags seen `min_count` times that are general tags of Danbooru."""
    lists, counts = corpus.prompt_tags()
    posts = {tag: count for tag, category, count in corpus.danbooru if category == GENERAL}
    tags = tuple(tag for tag, count in counts.items() if count >= min_count and (tag in posts or is_people_tag(tag)))
    index = {tag: position for position, tag in enumerate(tags)}
    seen = np.array([counts[tag] for tag in tags])
    booru = np.array([posts.get(tag, 0) for tag in tags], dtype=float)
    base = np.log((1 - _DANBOORU_SHARE) * seen / lists + _DANBOORU_SHARE * booru / max(posts.values()) * 0.7 + 1e-6)
    together = np.zeros((len(tags), len(tags)), dtype=np.float32)
    for left, right, count in zip(*corpus.pairs("prompt_pairs"), strict=True):
        if left in index and right in index:
            together[index[left], index[right]] = together[index[right], index[left]] = count
    expected = (seen[:, None] * seen[None, :] / lists).astype(np.float32)
    lift = np.log((together + _SMOOTHING) / (expected + _SMOOTHING))
    for left, right, count in zip(*corpus.pairs("cooccurrence"), strict=True):
        if left in index and right in index and posts.get(left) and posts.get(right):
            one, other = index[left], index[right]
            wide = np.clip(np.log((count + 5) * _POSTS / (posts[left] * posts[right])), -1.0, 4.0)
            share = _WIDE / (_WIDE + min(seen[one], seen[other]))
            lift[one, other] = lift[other, one] = lift[one, other] * (1 - share) + wide * share
    np.fill_diagonal(lift, 0.0)
    return PairModel(tags, index, base.astype(np.float32), lift.astype(np.float32))
