"""The prior: a pair table beside the model, as a second expert on which tag comes next (a product of experts).

A tag's chance to be in a list follows from the tags that are there:

    (max(share of popularity + sum of factor * weight, 0) + sqrt(popularity) / 100) * exp(-sum of rarities / 2)

The user's tags, and those that a text names, have the factor 1, those that the model drew less, and all less the later
they stand. Tags that seldom meet one of these (`dress` and `pants`, `indoors` and `sky`) are that much rarer, whoever
said it. What a text names and the list lacks is as good as certain, in the table or not, and the list does not end
before it is there, unless a rule keeps it out. At each token of a tag

    weight * log(chance of the tags that go on so / chance of a tag that the table lacks)

is added to the logit, so a token with which no tag of the table goes on keeps its own. A tag of the user's that the
table lacks speaks, half as loud, for what it names. Where the table knows nothing of the user's tags, nothing is added
at all: what is known of a character the model knows alone.

Where they show a person (`solo` is clearly likelier than in any list) whom nobody counted, a count comes first.

Where a text alone tells what is in the picture, or phrases do that the table lacks and the list shows nobody, little
else is added: popularity says next to nothing, what is unlikely comes last, and with the first such tag the list ends,
if its length allows it.

A new tag changes only the chances of its row, and the logarithms that depend on them: that takes microseconds.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from kgen_ext.decoding.pair_paths import Branch, Ints, PairPaths
from kgen_ext.decoding.sampler import Bias
from kgen_ext.tags.categories import is_people_count

if TYPE_CHECKING:
    from kgen_ext.decoding.vocabulary import TokenTable
    from kgen_ext.engine import Engine
    from kgen_ext.tags.pair_table import Floats, PairTable

_FLOOR = 0.01
FADE = 20.0  # tags after which one says a third of what the first one says
_UNKNOWN = 0.03  # the chance of a tag that the table lacks
_LEAST = 1e-4  # of a chance: no logit becomes infinite
_NAMED = 30.0  # the chance of what a text names, so much more than certain that it comes first
_SHOWN = 0.07  # more than usual of the chance of `solo`: the picture shows a person
_ASKED = np.float32(30.0)  # times as likely is a count of people then
_CERTAIN = math.log(_NAMED / _UNKNOWN)
_ALIKE = 0.5  # what a tag counts that is only named by one
# Of a list of what a text tells: how many tags it has at least, and how likely a tag is that may go with them.
_SHORTEST, _LIKELY = 4, 0.06
_NONE: Ints = np.empty(0, np.int64)
# What is said with the number of people.
_ALONE = ("solo", "solo focus", "male focus")
_ONE, _NOBODY = "solo", "no humans"


class _Mode(NamedTuple):
    """What popularity counts, what a tag counts that the model drew, and what unlikely tags lose."""

    popularity: float
    own: float
    aside: float


_LIST, _TOLD = _Mode(0.25, 0.2, 0.0), _Mode(0.05, 0.05, 2.0)


class TokenPrior(Protocol):
    """What a tag list asks a prior of its row."""

    def add(self, name: str) -> None:
        """Take in a tag that the model drew."""
        ...

    def refuse(self, name: str) -> None:
        """Take in that a rule keeps a tag out of the list."""
        ...

    def bias(self, path: Sequence[int]) -> tuple[Bias, ...]:
        """Return what to add to the logits behind the tokens of a begun tag."""
        ...

    def guess(self, path: Sequence[int]) -> tuple[int, ...]:
        """Return the tokens that likely follow those of a begun tag, without the comma; () where nothing is known."""
        ...

    def ends_before(self, name: str) -> bool:
        """Return whether the list is told, as this tag is no part of it."""
        ...


class RowChances:
    """The chances of a table's tags in one row, and what they add to the logits of the tokens that tags begin with."""

    __slots__ = ("_logits", "_mass", "_paths", "chances")

    def __init__(self, paths: PairPaths) -> None:
        self._paths = paths
        self._count_all()

    def _count_all(self) -> None:
        paths = self._paths
        self.chances: Floats = self._chances_of(slice(None))
        self._mass: Floats = np.bincount(paths.first, self.chances, paths.size).astype(np.float32)  # by first token
        self._logits: Floats = np.zeros(paths.size, np.float32)
        self._logits[paths.firsts] = self._scores(self._mass[paths.firsts], paths.firsts)

    def _chances_of(self, tags: Ints | slice) -> Floats:
        raise NotImplementedError

    def _scores(self, mass: Floats, tokens: Ints) -> Floats:
        """Return what is added for the chances of the tags that begin with these tokens."""
        raise NotImplementedError

    def _bias_of_branch(self, branch: Branch) -> Bias:
        """Return what is added for the chances of the tags that go on so."""
        raise NotImplementedError

    def _bias(self, path: tuple[int, ...]) -> tuple[Bias, ...]:
        """Return what is added behind these tokens of a begun tag; () where no tag of the table begins so."""
        if not path:
            return (Bias(slice(None), self._logits),)
        branch = self._paths.behind(path)
        return () if branch is None else (self._bias_of_branch(branch),)

    def _refresh(self, tags: Ints) -> None:
        """Take in that the chances of these tags, each once, are others."""
        chances, tokens = self._chances_of(tags), self._paths.first[tags]
        np.add.at(self._mass, tokens, chances - self.chances[tags])
        self.chances[tags] = chances
        self._logits[tokens] = self._scores(self._mass[tokens], tokens)


class Prior(PairPaths):
    """The prior of a model."""

    __slots__ = ("counts", "people")

    def __init__(self, engine: Engine, table: TokenTable, pairs: PairTable) -> None:
        super().__init__(engine, table, pairs)
        self.counts = self.find(filter(is_people_count, pairs.tags))
        self.people = self.find(filter(_tells_who, pairs.tags))


class RowPrior(RowChances):
    """What the prior says in one row, whose tags only grow.

    weight: of the prior beside the model. given: tags that are there. alike: tags that those name which the table
    lacks (`shiny armor` is an armor). named: tags that a text names. told: the text alone tells what is in the picture;
    or, if `unless_people`, what is given does, until the list shows someone: of people much is known without a word.
    """

    __slots__ = (
        "_counts", "_floor", "_known", "_missing", "_mode", "_named", "_opens", "_places", "_prior", "_shares",
        "_strange", "_sums", "_unless_people", "_weight",
    )  # fmt: skip

    def __init__(
        self,
        prior: Prior,
        *,
        weight: float,
        given: Iterable[str] = (),
        alike: Iterable[str] = (),
        named: Iterable[str] = (),
        told: bool = False,
        unless_people: bool = False,
    ) -> None:
        self._prior = prior
        self._unless_people = unless_people
        self._mode = _TOLD if told else _LIST
        self._sums: Floats = np.float32(self._mode.popularity) * prior.popularity
        self._floor: Floats = np.float32(_FLOOR) * np.sqrt(prior.popularity)
        self._shares: Floats = np.ones_like(self._floor)  # of its chance that a tag keeps beside those that are there
        self._places = 0
        named = tuple(named)
        self._strange = {name: prior.spell(name) for name in named if name not in prior.index}  # and not in the list
        self._known = float(len(self._strange))  # what the user's tags count of which something is known
        wanted = prior.find(named)
        self._named = frozenset(wanted.tolist())
        self._missing = set(named)  # what was named and is not in the list
        for place in wanted.tolist():
            self._weigh(place, 1.0)
        self._floor[wanted] += _NAMED
        given = tuple(given)
        for name in given:
            self._take(name, 1.0)
        for place in prior.find(alike).tolist():
            self._weigh(place, _ALIKE)
            self._sums[place] += np.float32(_ALIKE)
        # A list that a text tells of begins with how many people there are, or with what was named.
        counted = any(map(is_people_count, given))
        self._opens = (told or bool(named)) and not counted
        if self._opens:
            self._floor[prior.people] += _NAMED
        # So does one of someone whom nobody counted yet: behind many tags the model takes that for said.
        self._counts = not (counted or self._opens) and self._shows_one(given)
        if self._counts:
            self._shares[prior.counts] *= _ASKED
        self._weight = weight * min(1.0, self._known)
        super().__init__(prior)
        if self._mode.aside:
            unknown = np.ones(prior.size, np.bool_)
            unknown[prior.firsts] = False
            self._logits[unknown] = -self._weight * self._mode.aside

    def add(self, name: str) -> None:
        """Take in a tag that the model drew."""
        if self._opens:
            self._opens = False
            self._floor[self._prior.people] = np.maximum(self._floor[self._prior.people] - _NAMED, 0)  # 0: refused
            self._refresh(self._prior.people)
            if self._unless_people and _tells_who(name) and name != _NOBODY:
                self._go_on()
        self._stop_counting()
        changed = self._take(name, self._mode.own, own=True)
        if len(changed):
            self._refresh(changed)

    def refuse(self, name: str) -> None:
        """Take in that a rule keeps a tag out of the list: what was named need not be waited for."""
        self._strange.pop(name, None)
        self._missing.discard(name)
        place = self._prior.index.get(name)
        if place is not None:
            self._sums[place], self._floor[place] = -np.inf, 0
            self._refresh(np.array([place], np.int64))
        if is_people_count(name):
            self._stop_counting()

    def bias(self, path: Sequence[int]) -> tuple[Bias, ...]:
        """Return what to add to the logits behind the tokens of a begun tag."""
        if not self._weight:
            return ()
        path = tuple(path)
        biases = self._with_named(path, self._bias(path)) if self._strange else self._bias(path)
        return (*biases, Bias(self._prior.stops, -self._weight * _CERTAIN)) if self._missing else biases

    def guess(self, path: Sequence[int]) -> tuple[int, ...]:
        """Return the rest of the likeliest tag that begins so."""
        path = tuple(path)
        if not self._weight:
            return ()
        if path:
            branch = self._prior.behind(path)
            if branch is None:
                return ()
            best = branch.tags.start + int(self.chances[branch.tags].argmax())
        else:
            best = int(self.chances.argmax())
        return self._prior.paths[best][len(path) :]

    def ends_before(self, name: str) -> bool:
        """Return whether the list says all that the text tells, for this tag is no part of it."""
        if self._mode is _LIST or self._places < _SHORTEST or self._missing:
            return False
        place = self._prior.index.get(name)
        return place is None or float(self.chances[place]) < _LIKELY

    def _shows_one(self, given: Sequence[str]) -> bool:
        """Return whether the tags that are there show a person."""
        if _ONE in given:
            return True
        place = self._prior.index.get(_ONE)
        if place is None:
            return False
        return float(self._sums[place] - self._mode.popularity * self._prior.popularity[place]) > _SHOWN

    def _stop_counting(self) -> None:
        """Let a count of people be as likely as it is: it was said, or may not be."""
        if self._counts:
            self._counts = False
            self._shares[self._prior.counts] /= _ASKED
            self._refresh(self._prior.counts)

    def _go_on(self) -> None:
        """Go on as lists do that no text tells."""
        self._sums += np.float32(_LIST.popularity - self._mode.popularity) * self._prior.popularity
        self._mode = _LIST
        self._count_all()

    def _with_named(self, path: tuple[int, ...], biases: tuple[Bias, ...]) -> tuple[Bias, ...]:
        """Return the biases with what a text names and the table lacks."""
        certain = {
            token
            for name in self._strange.values() if name[: len(path)] == path
            for token in name[len(path) : len(path) + 1] or self._prior.ends
        }  # fmt: skip
        if not certain:
            return biases
        values: Floats = np.zeros(self._prior.size, np.float32)
        for bias in biases:
            bias.add_to(values)
        values[sorted(certain)] = self._weight * _CERTAIN
        return (Bias(slice(None), values),)

    def _bias_of_branch(self, branch: Branch) -> Bias:
        if branch.only is not None:  # as mostly: a number takes a third of the time
            score = math.log(max(self.chances.item(branch.only), _LEAST) / _UNKNOWN)
            return Bias(branch.tokens, self._weight * score)
        return branch.bias(self._weight * _log(branch.sums(self.chances)))

    def _chances_of(self, tags: Ints | slice) -> Floats:
        result: Floats = (np.maximum(self._sums[tags], 0) + self._floor[tags]) * self._shares[tags]
        return result

    def _scores(self, mass: Floats, tokens: Ints) -> Floats:
        scores = _log(mass)
        if self._mode.aside:
            scores -= self._mode.aside * (mass < _LIKELY)
        return self._weight * scores

    def _take(self, name: str, factor: float, *, own: bool = False) -> Ints:
        """Take in a tag of the list; `own`: the model drew it. Return which sums are others."""
        place, changed = self._prior.index.get(name), _NONE
        self._strange.pop(name, None)
        self._missing.discard(name)
        if place is not None:
            if own and _tells_who(name):
                changed = self._weigh(place, 1.0, own=True, only_against=True)  # what is with people the model knows
            elif place in self._named:
                changed = np.array([place], np.int64)
            else:
                changed = self._weigh(place, factor * math.exp(-self._places / FADE), own=own)
            self._sums[place], self._floor[place] = -np.inf, 0  # it does not come again
        self._places += 1
        return changed

    def _weigh(self, place: int, factor: float, *, own: bool = False, only_against: bool = False) -> Ints:
        """Let a tag speak for and against others, or `only_against` them. Return which."""
        columns, weights, kept = self._prior.row(place)
        if only_against:
            weights = np.minimum(weights, 0)
        if len(columns) > 1 and not own:
            self._known += factor
        self._sums[columns] += np.float32(factor) * weights
        self._shares[columns] *= kept
        return columns


def _tells_who(name: str) -> bool:
    return is_people_count(name) or name in _ALONE


def _log(mass: Floats) -> Floats:
    """Return the logarithm of chances, 0 for that of an unknown tag."""
    result: Floats = np.log(np.maximum(mass, _LEAST) / _UNKNOWN)
    return result
