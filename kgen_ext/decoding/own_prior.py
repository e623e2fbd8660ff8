"""The user's own prior: tags that their images have more often than others come more often, and nothing else changes.

A tag's chance is the larger of two: its popularity, and the share of the user's images that have it, given the tags
that are there. At each token of a tag

    log(chance of the tags that go on so / popularity of these tags)

is added to the logit: 0 where the user favours none of them.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from kgen_ext.decoding.prior import FADE, Bias, Doubles, PairPaths, TokenPrior, totals_of
from kgen_ext.tags.pair_table import Floats, PairTable

if TYPE_CHECKING:
    from kgen_ext.decoding.vocabulary import TokenTable
    from kgen_ext.engine import Engine

_OWN = 0.2  # what a tag counts that the model drew
_RARE = 1e-4  # the popularity of a tag that is in the user's images only
_MOST = math.log(100.0)  # what is added at most


class OwnPrior(PairPaths):
    """A table of the user's images in the vocabulary of a model, beside the `general` one, which tells popularity."""

    __slots__ = ("general", "totals")

    def __init__(self, engine: Engine, table: TokenTable, own: PairTable, general: PairTable) -> None:
        known = set(own.tags)
        tags = (*own.tags, *(tag for tag in general.tags if tag not in known))
        popular = dict(zip(general.tags, general.popularity.tolist(), strict=True))
        more = len(tags) - len(own.tags)
        shares = np.concatenate((own.popularity, np.zeros(more, np.float32)))
        starts = np.concatenate((own.starts, np.full(more, own.starts[-1])))
        super().__init__(engine, table, PairTable(tags, shares, starts, own.columns, own.weights, own.checksum))
        self.general: Floats = np.array([max(popular.get(tag, _RARE), _RARE) for tag in self.index], np.float32)
        self.totals = totals_of(self.general)


class RowOwnPrior:
    """What the user's own prior says in one row, whose tags only grow. given: tags that are there."""

    __slots__ = ("_places", "_prior", "_shares", "_totals")

    def __init__(self, prior: OwnPrior, given: Iterable[str] = ()) -> None:
        self._prior = prior
        self._shares: Floats = prior.popularity.copy()
        self._totals: Doubles | None = None  # of the chances, until the list has another tag
        self._places = 0
        for name in given:
            self._take(name, 1.0)

    def add(self, name: str) -> None:
        """Take in a tag that the model drew."""
        self._take(name, _OWN)

    def bias(self, path: Sequence[int]) -> tuple[Bias, ...]:
        """Return what to add to the logits behind the tokens of a begun tag."""
        branch = self._prior.behind(tuple(path))
        if branch is None:
            return ()
        if self._totals is None:
            self._totals = totals_of(np.maximum(self._shares, self._prior.general))
        chances, popularity = branch.sums(self._totals), branch.sums(self._prior.totals)
        gains = np.log(chances / popularity).round(6)  # what differences of sums are off by is no gain
        return (branch.bias(np.clip(gains, 0, _MOST)),)

    def guess(self, path: Sequence[int]) -> tuple[int, ...]:
        """Return (): a tag that is favoured is seldom the likeliest."""
        return ()

    def ends_before(self, name: str) -> bool:
        """Return False: what a user likes ends no list."""
        return False

    def _take(self, name: str, factor: float) -> None:
        place = self._prior.index.get(name)
        if place is not None:
            columns, weights = self._prior.row(place)
            self._shares[columns] += np.float32(factor * math.exp(-self._places / FADE)) * weights
            self._shares[place] = -np.inf  # it is there
            self._totals = None
        self._places += 1


class JoinedPriors:
    """Several priors of one row: what they say is added up."""

    __slots__ = ("_priors",)

    def __init__(self, priors: Sequence[TokenPrior]) -> None:
        self._priors = priors

    def add(self, name: str) -> None:
        """Take in a tag that the model drew."""
        for prior in self._priors:
            prior.add(name)

    def bias(self, path: Sequence[int]) -> tuple[Bias, ...]:
        """Return what to add to the logits behind the tokens of a begun tag."""
        return tuple(bias for prior in self._priors for bias in prior.bias(path))

    def guess(self, path: Sequence[int]) -> tuple[int, ...]:
        """Return what the first that knows says."""
        return next(filter(None, (prior.guess(path) for prior in self._priors)), ())

    def ends_before(self, name: str) -> bool:
        """Return whether the list is told, as this tag is no part of it."""
        return any(prior.ends_before(name) for prior in self._priors)
