"""A pair table in the vocabulary of a model: the tokens of its tags, and how tags go on behind their first ones."""
from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kgen_ext.decoding.sampler import Bias
from kgen_ext.decoding.vocabulary import in_context

if TYPE_CHECKING:
    from kgen_ext.decoding.vocabulary import TokenTable
    from kgen_ext.engine import Engine
    from kgen_ext.tags.pair_table import Floats, PairTable

Ints = NDArray[np.int64]

_REMEMBERED = 1024  # spellings of tags that the table lacks
_AT_ONCE = 100  # tags to tokenise
_RARITY = np.float32(0.5)  # of a pair's rarity: beside the weight of 2 that was measured, as rare as it is


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """How `tags` go on behind the tokens they begin with.

    only: the place of the tag where there is but one. firsts: the first of each group of tags that go on alike; None
    where each goes on its own way. tokens: what follows; groups: of each, its group; None where each group has one.
    """

    tags: slice
    only: int | None
    firsts: Ints | None
    tokens: Ints
    groups: Ints | None

    def sums(self, values: Floats) -> Floats:
        """Return the sum of each group's values."""
        found: Floats = values[self.tags]
        return found if self.firsts is None else np.add.reduceat(found, self.firsts)

    def bias(self, scores: Floats) -> Bias:
        """Return what is added for the scores of the groups."""
        return Bias(self.tokens, scores if self.groups is None else scores[self.groups])


class PairPaths:
    """A pair table in the vocabulary of a model, its tags in the order of their tokens. Several threads may use it."""

    __slots__ = (
        "_branches", "_columns", "_engine", "_kept", "_rows", "_strange", "_weights", "ends", "first", "firsts",
        "index", "paths", "popularity", "size", "stops",
    )  # fmt: skip

    def __init__(self, engine: Engine, table: TokenTable, pairs: PairTable) -> None:
        paths = _tokenise(engine, table, pairs.tags)
        order = sorted(range(len(paths)), key=paths.__getitem__)
        self._engine = engine
        places = np.empty(len(order), np.int64)
        places[order] = np.arange(len(order))
        # Each tag stands behind its pairs, as it changes with them.
        starts = (pairs.starts + np.arange(len(pairs.starts))).tolist()
        self._rows = [slice(starts[tag], starts[tag + 1]) for tag in order]
        self._columns: Ints = np.insert(places[pairs.columns], pairs.starts[1:], places)
        self._weights: Floats = np.insert(pairs.weights, pairs.starts[1:], 0)
        self._kept: Floats = np.exp(-_RARITY * np.insert(pairs.rarities, pairs.starts[1:], 0))
        self.ends = (table.comma, table.line, table.end)  # tokens behind a tag
        self.stops: Ints = np.array(self.ends[1:], np.int64)  # those behind the last
        self._strange: dict[str, tuple[int, ...]] = {}
        self._branches: dict[tuple[int, ...], Branch | None] = {}
        self.paths = [paths[tag] for tag in order]  # tokens of each tag
        self.index = {pairs.tags[tag]: place for place, tag in enumerate(order)}
        self.popularity: Floats = pairs.popularity[order]
        self.first: Ints = np.array([path[0] for path in self.paths], np.int64)  # token of each tag
        self.firsts = np.unique(self.first)
        self.size = len(table.pieces)

    def find(self, tags: Iterable[str]) -> Ints:
        """Return the places of these tags in the table, without those that it lacks."""
        return np.array([place for tag in tags if (place := self.index.get(tag)) is not None], np.int64)

    def row(self, place: int) -> tuple[Ints, Floats, Floats]:
        """Return of which tags a tag says something, its weights, and which share of their chances they keep beside it.

        The last is itself, with 0 and 1.
        """
        row = self._rows[place]
        return self._columns[row], self._weights[row], self._kept[row]

    def spell(self, name: str) -> tuple[int, ...]:
        """Return the tokens of a tag that the table lacks."""
        path = self._strange.get(name)
        if path is None:
            if len(self._strange) >= _REMEMBERED:
                self._strange.clear()
            path = self._strange[name] = in_context(self._engine, f" {name}", left="a,")
        return path

    def behind(self, path: tuple[int, ...]) -> Branch | None:
        """Return how tags go on behind the tokens of one that was begun; None where no tag of the table begins so."""
        try:
            return self._branches[path]
        except KeyError:  # few are: a second look-up would cost each token
            found = self._branches[path] = self._branch(path)
            return found

    def _branch(self, path: tuple[int, ...]) -> Branch | None:
        low = bisect_left(self.paths, path)
        high = bisect_left(self.paths, (*path[:-1], path[-1] + 1), low)
        if low == high:
            return None
        depth = len(path)
        # The tag that ends here comes first.
        following = [tag[depth] if len(tag) > depth else -1 for tag in self.paths[low:high]]
        firsts = [place for place, token in enumerate(following) if not place or token != following[place - 1]]
        tokens = [(following[first],) if following[first] >= 0 else self.ends for first in firsts]
        groups = [group for group, found in enumerate(tokens) for _ in found]
        flat = [token for found in tokens for token in found]
        return Branch(
            slice(low, high),
            low if high - low == 1 else None,
            np.array(firsts, np.int64) if len(firsts) < high - low else None,
            np.array(flat, np.int64),
            np.array(groups, np.int64) if len(groups) > len(firsts) else None,
        )


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
