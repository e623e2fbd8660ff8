"""The prior: a pair table beside the model, as a second expert on which tag comes next (a product of experts).

A tag's chance to be in a list is a sum over the tags that are there:

    chance = max(share of popularity + sum of factor * weight, 0) + sqrt(popularity) / 100

The user's tags, and those that a text names, have the factor 1, those that the model drew less, and all less the later
they stand. What a text names and the list lacks is as good as certain, in the table or not. At each token of a tag

    weight * log(chance of the tags that go on so / chance of a tag that the table lacks)

is added to the logit, so a token with which no tag of the table goes on keeps its own. Where the table knows none of
the user's tags, nothing is added at all: what is known of a character the model knows alone.

Where a text alone tells what is in the picture, little else is added: popularity says next to nothing, what is unlikely
comes last, and with the first such tag the list ends, if its length allows it.

A new tag changes only the chances of its row, and the logarithms that depend on them: that takes microseconds.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kgen_ext.decoding.vocabulary import TokenTable, in_context
from kgen_ext.tags.categories import is_people_count
from kgen_ext.tags.pair_table import Floats, PairTable

if TYPE_CHECKING:
    from kgen_ext.engine import Engine

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

_FLOOR = 0.01
FADE = 20.0  # tags after which one says a third of what the first one says
_UNKNOWN = 0.03  # the chance of a tag that the table lacks
_REMEMBERED = 1024  # spellings of tags that the table lacks
_LEAST = 1e-4  # of a chance: no logit becomes infinite
_NAMED = 30.0  # the chance of what a text names, so much more than certain that it comes first
_CERTAIN = math.log(_NAMED / _UNKNOWN)
# Of a list of what a text tells: how many tags it has at least, and how likely a tag is that may go with them.
_SHORTEST, _LIKELY = 4, 0.06
_AT_ONCE = 100  # tags to tokenise
# What is said with the number of people.
_ALONE = ("solo", "solo focus", "male focus")


class _Mode(NamedTuple):
    """What popularity counts, what a tag counts that the model drew, and what unlikely tags lose."""

    popularity: float
    own: float
    aside: float

    def score(self, mass: Doubles) -> Doubles:
        """Return what is added for the chances of first tokens, 0 for that of an unknown tag."""
        score = _log(mass)
        return score - self.aside * (mass < _LIKELY) if self.aside else score


_LIST, _TOLD = _Mode(0.25, 0.2, 0.0), _Mode(0.05, 0.05, 2.0)


class _Start(NamedTuple):
    """A list without tags.

    sums, floor: of each tag; chance: max(sums, 0) + floor. mass: of each first token; logits: what is added to them.
    """

    sums: Floats
    floor: Floats
    chance: Floats
    mass: Doubles
    logits: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Branch:
    """How `tags` go on behind the tokens they begin with.

    tokens: those that follow. places: for each tag that of its own among them; behind the last where the tag ends.
    """

    tags: Ints
    places: Ints
    tokens: Ints
    ends: bool


class Prior:
    """A pair table in the vocabulary of a model. Several threads may use it."""

    __slots__ = (
        "_branches", "_by_first", "_engine", "_paths", "_strange", "ends", "first", "index", "pairs", "people",
        "starts",
    )  # fmt: skip

    def __init__(self, engine: Engine, table: TokenTable, pairs: PairTable) -> None:
        self.pairs = pairs
        self.index = {tag: place for place, tag in enumerate(pairs.tags)}
        self.people = self.find(tag for tag in pairs.tags if is_people_count(tag) or tag in _ALONE)
        self.ends: Ints = np.array([table.comma, table.line, table.end], np.int64)  # tokens behind a tag
        self._engine = engine
        self._strange: dict[str, tuple[int, ...]] = {}
        self._paths = _tokenise(engine, table, pairs.tags)
        self.first: Ints = np.array([path[0] for path in self._paths], np.int64)  # token of each tag
        self._by_first = np.argsort(self.first, kind="stable")
        self._branches: dict[tuple[int, ...], _Branch | None] = {}
        self.starts = {mode: self._start(mode, len(table.pieces)) for mode in (_LIST, _TOLD)}

    def find(self, tags: Iterable[str]) -> Ints:
        """Return the places of these tags in the table, without those that it lacks."""
        return np.array([place for tag in tags if (place := self.index.get(tag)) is not None], np.int64)

    def spell(self, name: str) -> tuple[int, ...]:
        """Return the tokens of a tag that the table lacks."""
        path = self._strange.get(name)
        if path is None:
            if len(self._strange) >= _REMEMBERED:
                self._strange.clear()
            path = self._strange[name] = in_context(self._engine, f" {name}", left="a,")
        return path

    def behind(self, path: tuple[int, ...]) -> _Branch | None:
        """Return how tags go on behind the tokens of one that was begun; None where no tag of the table begins so."""
        if path not in self._branches:
            self._branches[path] = self._branch(path)
        return self._branches[path]

    def _branch(self, path: tuple[int, ...]) -> _Branch | None:
        low, high = np.searchsorted(self.first, (path[0], path[0] + 1), sorter=self._by_first)
        depth = len(path)
        tags = [tag for tag in self._by_first[low:high].tolist() if self._paths[tag][:depth] == path]
        if not tags:
            return None
        following = [self._paths[tag][depth : depth + 1] for tag in tags]
        tokens = sorted({token for next_ in following for token in next_})
        place = {token: number for number, token in enumerate(tokens)}
        places = [place[next_[0]] if next_ else len(tokens) for next_ in following]
        return _Branch(np.array(tags), np.array(places), np.array(tokens, np.int64), () in following)

    def _start(self, mode: _Mode, size: int) -> _Start:
        sums = np.float32(mode.popularity) * self.pairs.popularity
        floor = np.float32(_FLOOR) * np.sqrt(self.pairs.popularity)
        chance = sums + floor
        mass: Doubles = np.bincount(self.first, weights=chance, minlength=size).astype(np.float64)
        known = np.bincount(self.first, minlength=size) > 0
        logits = np.where(known, mode.score(mass), -mode.aside)
        return _Start(sums, floor, chance, mass, logits.astype(np.float32))


class RowPrior:
    """What the prior says in one row, whose tags only grow.

    weight: of the prior beside the model. given: tags that are there. named: tags that a text names. told: the text
    alone tells what is in the picture.
    """

    __slots__ = (
        "_chance", "_floor", "_known", "_logits", "_mass", "_mode", "_named", "_places", "_prior", "_strange", "_sums",
        "_weight",
    )  # fmt: skip

    def __init__(
        self,
        prior: Prior,
        *,
        weight: float,
        given: Iterable[str] = (),
        named: Iterable[str] = (),
        told: bool = False,
    ) -> None:
        self._prior = prior
        self._weight = weight
        self._mode = _TOLD if told else _LIST
        start = prior.starts[self._mode]
        self._sums, self._floor, self._chance = start.sums.copy(), start.floor.copy(), start.chance.copy()
        self._mass, self._logits = start.mass.copy(), start.logits.copy()
        self._known = 0.0  # what the user's tags count of which the table has rows
        self._places = 0
        named = tuple(named)
        self._strange = {name: prior.spell(name) for name in named if name not in prior.index}  # and not in the list
        self._known += len(self._strange)
        wanted = prior.find(named)
        self._named = frozenset(wanted.tolist())
        for place in wanted.tolist():
            self._weigh(place, 1.0)
        self._raise(wanted, _NAMED)
        for name in given:
            self.add(name, own=False)
        if named and not self._places:  # a list begins with how many people there are, or with what was named
            self._raise(prior.people, _NAMED)

    def add(self, name: str, *, own: bool = True) -> None:
        """Take in a tag of the list; `own`: the model drew it."""
        place, people = self._prior.index.get(name), self._prior.people
        if own and not self._places and (self._named or self._strange):
            self._raise(people, -_NAMED)
        self._strange.pop(name, None)
        if place is not None:
            self._close(place)
            if own and place in people:
                self._weigh(place, 1.0, own=True, only_against=True)  # what is with people, or without, the model knows
            elif place not in self._named:
                self._weigh(place, (self._mode.own if own else 1.0) * math.exp(-self._places / FADE), own=own)
        self._places += 1

    def bias(self, path: Sequence[int]) -> Floats | None:
        """Return what to add to the logits [vocabulary] behind the tokens of a begun tag; None for nothing."""
        weight = np.float32(self._weight * min(1.0, self._known))
        if not weight:
            return None
        path = tuple(path)
        bias = self._bias(path, weight)
        for name in self._strange.values():
            if name[: len(path)] == path:
                bias = np.zeros(len(self._logits), np.float32) if bias is None else bias
                bias[name[len(path)] if len(name) > len(path) else self._prior.ends] = weight * _CERTAIN
        return bias

    def _bias(self, path: tuple[int, ...], weight: np.float32) -> Floats | None:
        if not path:
            return weight * self._logits
        branch = self._prior.behind(path)
        if branch is None:
            return None
        chances = self._chance[branch.tags]
        mass = np.bincount(branch.places, weights=chances, minlength=len(branch.tokens) + 1).astype(np.float64)
        logits = weight * _log(mass).astype(np.float32)
        bias: Floats = np.zeros(len(self._logits), np.float32)
        bias[branch.tokens] = logits[:-1]
        if branch.ends:
            bias[self._prior.ends] = logits[-1]
        return bias

    def ends_before(self, name: str) -> bool:
        """Return whether the list says all that the text tells, for this tag is no part of it."""
        if self._mode is _LIST or self._places < _SHORTEST or name in self._strange:
            return False
        place = self._prior.index.get(name)
        return place is None or float(self._chance[place]) < _LIKELY

    def _close(self, place: int) -> None:
        """Make a tag of the list impossible."""
        token = int(self._prior.first[place])
        self._mass[token] -= self._chance[place]
        self._logits[token] = self._mode.score(self._mass[token])
        self._sums[place], self._floor[place], self._chance[place] = -np.inf, 0, 0

    def _raise(self, tags: Ints, chance: float) -> None:
        self._floor[tags] += np.float32(chance)
        self._refresh(tags)

    def _weigh(self, place: int, factor: float, *, own: bool = False, only_against: bool = False) -> None:
        """Let a tag speak for and against others, or `only_against` them."""
        pairs = self._prior.pairs
        row = slice(int(pairs.starts[place]), int(pairs.starts[place + 1]))
        columns, weights = pairs.columns[row], pairs.weights[row]
        if only_against:
            weights = np.minimum(weights, 0)
        if len(columns) and not own:
            self._known += factor
        self._sums[columns] += np.float32(factor) * weights
        self._refresh(columns)

    def _refresh(self, tags: Ints) -> None:
        """Compute the chances of these tags, each once, and what follows from them."""
        chance, tokens = np.maximum(self._sums[tags], 0) + self._floor[tags], self._prior.first[tags]
        np.add.at(self._mass, tokens, chance - self._chance[tags])
        self._chance[tags] = chance
        self._logits[tokens] = self._mode.score(self._mass[tokens])


def _log(mass: Doubles) -> Doubles:
    """Return the logarithm of chances, 0 for that of an unknown tag."""
    result: Doubles = np.log(np.maximum(mass, _LEAST) / _UNKNOWN)
    return result


def _tokenise(engine: Engine, table: TokenTable, tags: Sequence[str]) -> list[tuple[int, ...]]:
    """Return the tokens of tags behind a comma; many in a call, as a call takes as long as some of them."""
    if len(tags) > _AT_ONCE:
        parts = (tags[begin : begin + _AT_ONCE] for begin in range(0, len(tags), _AT_ONCE))
        return [path for part in parts for path in _tokenise(engine, table, part)]
    ids = in_context(engine, "".join(f", {tag}" for tag in tags))
    ends = [place for place, token in enumerate(ids) if token == table.comma and place]
    paths = [tuple(ids[begin + 1 : end]) for begin, end in zip((0, *ends), (*ends, len(ids)), strict=True)]
    spelled = [b"".join(table.pieces[token] for token in path).decode("utf-8", "replace") for path in paths]
    if spelled != [f" {tag}" for tag in tags]:  # this tokenizer has pieces of a comma and what follows
        return [in_context(engine, f" {tag}", left="a,") for tag in tags]
    return paths
