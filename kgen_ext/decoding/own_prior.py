"""The user's own prior: tags that their images have more often than others come more often.

A tag's chance is the larger of two: its popularity, and the share of the user's images that have it, given the tags
that are there. At each token of a tag

    log(chance of the tags that go on so / popularity of these tags) / 2

is added to the logit: 0 where the user favours none of them.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from kgen_ext.decoding.pair_paths import Branch, Ints, PairPaths
from kgen_ext.decoding.prior import FADE, RowChances, TokenPrior
from kgen_ext.decoding.sampler import Bias
from kgen_ext.tags.pair_table import Floats, PairTable

if TYPE_CHECKING:
    from kgen_ext.decoding.vocabulary import TokenTable
    from kgen_ext.engine import Engine

_OWN = 0.2  # what a tag counts that the model drew
_RARE = 1e-4  # the popularity of a tag that is in the user's images only
_MOST = math.log(100.0)  # of a gain
_WEIGHT = 0.5  # of a gain: the temperature, by which logits are divided, is about that


class OwnPrior(PairPaths):
    """A table of the user's images in the vocabulary of a model, beside the `general` one, which tells popularity."""

    __slots__ = ("general", "units")

    def __init__(self, engine: Engine, table: TokenTable, own: PairTable, general: PairTable) -> None:
        known = set(own.tags)
        tags = (*own.tags, *(tag for tag in general.tags if tag not in known))
        popular = dict(zip(general.tags, general.popularity.tolist(), strict=True))
        more = len(tags) - len(own.tags)
        shares = np.concatenate((own.popularity, np.zeros(more, np.float32)))
        starts = np.concatenate((own.starts, np.full(more, own.starts[-1])))
        super().__init__(engine, table, PairTable(tags, shares, starts, own.columns, own.weights, own.rarities))
        self.general: Floats = np.array([max(popular.get(tag, _RARE), _RARE) for tag in self.index], np.float32)
        # By first token, the popularity of all tags.
        self.units: Floats = np.bincount(self.first, self.general, self.size).astype(np.float32)


class RowOwnPrior(RowChances):
    """What the user's own prior says in one row, whose tags only grow. given: tags that are there."""

    __slots__ = ("_places", "_prior", "_shares")

    def __init__(self, prior: OwnPrior, given: Iterable[str] = ()) -> None:
        self._prior = prior
        self._shares: Floats = prior.popularity.copy()
        self._places = 0
        for name in given:
            self._take(name, 1.0)
        super().__init__(prior)

    def add(self, name: str) -> None:
        """Take in a tag that the model drew."""
        changed = self._take(name, _OWN)
        if changed is not None:
            self._refresh(changed)

    def refuse(self, name: str) -> None:
        """Take in that a rule keeps a tag out: it is not waited for anyway."""

    def bias(self, path: Sequence[int]) -> tuple[Bias, ...]:
        """Return what to add to the logits behind the tokens of a begun tag."""
        return self._bias(tuple(path))

    def guess(self, path: Sequence[int]) -> tuple[int, ...]:
        """Return (): a tag that is favoured is seldom the likeliest."""
        return ()

    def ends_before(self, name: str) -> bool:
        """Return False: what a user likes ends no list."""
        return False

    def _bias_of_branch(self, branch: Branch) -> Bias:
        return branch.bias(_gains(branch.sums(self.chances), branch.sums(self._prior.general)))

    def _chances_of(self, tags: Ints | slice) -> Floats:
        result: Floats = np.maximum(self._shares[tags], self._prior.general[tags])
        return result

    def _scores(self, mass: Floats, tokens: Ints) -> Floats:
        return _gains(mass, self._prior.units[tokens])

    def _take(self, name: str, factor: float) -> Ints | None:
        """Take in a tag of the list. Return which shares are others."""
        place = self._prior.index.get(name)
        factor *= math.exp(-self._places / FADE)
        self._places += 1
        if place is None:
            return None
        columns, weights, _ = self._prior.row(place)
        self._shares[columns] += np.float32(factor) * weights
        self._shares[place] = -np.inf  # it is there
        return columns


class JoinedPriors:
    """Several priors of one row: what they say is added up."""

    __slots__ = ("_priors",)

    def __init__(self, priors: Sequence[TokenPrior]) -> None:
        self._priors = priors

    def add(self, name: str) -> None:
        """Take in a tag that the model drew."""
        for prior in self._priors:
            prior.add(name)

    def refuse(self, name: str) -> None:
        """Take in that a rule keeps a tag out of the list."""
        for prior in self._priors:
            prior.refuse(name)

    def bias(self, path: Sequence[int]) -> tuple[Bias, ...]:
        """Return what to add to the logits behind the tokens of a begun tag."""
        return tuple(bias for prior in self._priors for bias in prior.bias(path))

    def guess(self, path: Sequence[int]) -> tuple[int, ...]:
        """Return what the first that knows says."""
        return next(filter(None, (prior.guess(path) for prior in self._priors)), ())

    def ends_before(self, name: str) -> bool:
        """Return whether the list is told, as this tag is no part of it."""
        return any(prior.ends_before(name) for prior in self._priors)


def _gains(chances: Floats, popularity: Floats) -> Floats:
    gains: Floats = np.log(chances / popularity).round(2)  # no gain is what sums are off by
    return _WEIGHT * np.clip(gains, 0, _MOST)
