"""The user's own prior: tags that their images have more often than others come more often, and nothing else changes.

A tag's chance is the larger of two: its popularity, and the share of the user's images that have it, given the tags
that are there. At each token of a tag

    log(chance of the tags that go on so / popularity of these tags)

is added to the logit: 0 where the user favours none of them.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from kgen_ext.decoding.prior import FADE, Doubles, Ints, Prior
from kgen_ext.tags.pair_table import Floats, PairTable

if TYPE_CHECKING:
    from kgen_ext.decoding.vocabulary import TokenTable
    from kgen_ext.engine import Engine

_OWN = 0.2  # what a tag counts that the model drew
_RARE = 1e-4  # the popularity of a tag that is in the user's images only
_MOST = math.log(100.0)  # what is added at most


class TokenPrior(Protocol):
    """What a tag list asks a prior of its row."""

    def add(self, name: str) -> None:
        """Take in a tag that the model drew."""
        ...

    def bias(self, path: Sequence[int]) -> Floats | None:
        """Return what to add to the logits [vocabulary] behind the tokens of a begun tag; None for nothing."""
        ...

    def ends_before(self, name: str) -> bool:
        """Return whether the list is told, as this tag is no part of it."""
        ...


class OwnPrior(Prior):
    """A table of the user's images in the vocabulary of a model, beside the `general` one, which tells popularity."""

    __slots__ = ("popularity", "units")

    def __init__(self, engine: Engine, table: TokenTable, own: PairTable, general: PairTable) -> None:
        known = set(own.tags)
        tags = (*own.tags, *(tag for tag in general.tags if tag not in known))
        popular = dict(zip(general.tags, general.popularity.tolist(), strict=True))
        more = len(tags) - len(own.tags)
        shares = np.concatenate((own.popularity, np.zeros(more, np.float32)))
        starts = np.concatenate((own.starts, np.full(more, own.starts[-1])))
        super().__init__(engine, table, PairTable(tags, shares, starts, own.columns, own.weights, own.checksum))
        self.popularity: Floats = np.array([max(popular.get(tag, _RARE), _RARE) for tag in tags], np.float32)
        # By first token, the popularity of all tags.
        self.units: Doubles = np.bincount(self.first, self.popularity, len(table.pieces)).astype(np.float64)


class RowOwnPrior:
    """What the user's own prior says in one row, whose tags only grow. given: tags that are there."""

    __slots__ = ("_chance", "_logits", "_mass", "_places", "_prior", "_shares")

    def __init__(self, prior: OwnPrior, given: Iterable[str] = ()) -> None:
        self._prior = prior
        self._shares: Floats = prior.pairs.popularity.copy()
        self._chance: Floats = prior.popularity.copy()
        self._mass: Doubles = prior.units.copy()
        self._logits: Floats = np.zeros(len(prior.units), np.float32)
        self._places = 0
        self._refresh(np.flatnonzero(self._shares))
        for name in given:
            self._take(name, 1.0)

    def add(self, name: str) -> None:
        """Take in a tag that the model drew."""
        self._take(name, _OWN)

    def bias(self, path: Sequence[int]) -> Floats | None:
        """Return what to add to the logits [vocabulary] behind the tokens of a begun tag; None for nothing."""
        if not path:
            return self._logits
        branch = self._prior.behind(tuple(path))
        if branch is None:
            return None
        size = len(branch.tokens) + 1
        mass = np.bincount(branch.places, self._chance[branch.tags], size).astype(np.float64)
        units = np.bincount(branch.places, self._prior.popularity[branch.tags], size).astype(np.float64)
        bias: Floats = np.zeros(len(self._logits), np.float32)
        logits = _log(mass, np.maximum(units, _RARE))
        bias[branch.tokens] = logits[:-1]
        if branch.ends:
            bias[self._prior.ends] = logits[-1]
        return bias

    def ends_before(self, name: str) -> bool:
        """Return False: what a user likes ends no list."""
        return False

    def _take(self, name: str, factor: float) -> None:
        place = self._prior.index.get(name)
        if place is not None:
            pairs = self._prior.pairs
            row = slice(int(pairs.starts[place]), int(pairs.starts[place + 1]))
            factor *= math.exp(-self._places / FADE)
            self._shares[pairs.columns[row]] += np.float32(factor) * pairs.weights[row]
            self._shares[place] = -np.inf  # it is there
            self._refresh(np.append(pairs.columns[row], place))
        self._places += 1

    def _refresh(self, tags: Ints) -> None:
        """Compute the chances of these tags, each once, and what follows from them."""
        chance, tokens = np.maximum(self._shares[tags], self._prior.popularity[tags]), self._prior.first[tags]
        np.add.at(self._mass, tokens, chance - self._chance[tags])
        self._chance[tags] = chance
        self._logits[tokens] = _log(self._mass[tokens], self._prior.units[tokens])


class JoinedPriors:
    """Several priors of one row: what they say is added up."""

    __slots__ = ("_priors",)

    def __init__(self, priors: Sequence[TokenPrior]) -> None:
        self._priors = priors

    def add(self, name: str) -> None:
        """Take in a tag that the model drew."""
        for prior in self._priors:
            prior.add(name)

    def bias(self, path: Sequence[int]) -> Floats | None:
        """Return what to add to the logits [vocabulary] behind the tokens of a begun tag; None for nothing."""
        said = [bias for prior in self._priors if (bias := prior.bias(path)) is not None]
        return sum(said[1:], said[0]) if said else None

    def ends_before(self, name: str) -> bool:
        """Return whether the list is told, as this tag is no part of it."""
        return any(prior.ends_before(name) for prior in self._priors)


def _log(mass: Doubles, units: Doubles) -> Doubles:
    result: Doubles = np.clip(np.log(np.maximum(mass, units) / units), 0, _MOST)
    return result
