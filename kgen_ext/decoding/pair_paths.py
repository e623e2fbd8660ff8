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
Doubles = NDArray[np.float64]

_REMEMBERED = 1024  # spellings of tags that the table lacks
_AT_ONCE = 100  # tags to tokenise


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """How `tags` go on behind the tokens they begin with.

    firsts: the first of each group of tags that go on alike. tokens: what follows; groups: of each, its group.
    """

    tags: slice
    firsts: Ints
    tokens: Ints
    groups: Ints

    def sums(self, values: Floats) -> Doubles:
        """Return the sum of each group's values."""
        result: Doubles = np.add.reduceat(values[self.tags].astype(np.float64), self.firsts)
        return result

    def bias(self, scores: Doubles) -> Bias:
        """Return what is added for the scores of the groups."""
        return Bias(self.tokens, scores.astype(np.float32)[self.groups])


class PairPaths:
    """A pair table in the vocabulary of a model, its tags in the order of their tokens. Several threads may use it."""

    __slots__ = (
        "_branches", "_columns", "_engine", "_order", "_rarities", "_starts", "_strange", "_weights", "ends", "first",
        "firsts", "index", "paths", "popularity", "size", "stops",
    )  # fmt: skip

    def __init__(self, engine: Engine, table: TokenTable, pairs: PairTable) -> None:
        paths = _tokenise(engine, table, pairs.tags)
        order = sorted(range(len(paths)), key=paths.__getitem__)
        self._engine = engine
        self._order: Ints = np.array(order, np.int64)
        places = np.empty_like(self._order)
        places[self._order] = np.arange(len(order))
        # Each tag stands behind its pairs, as it changes with them.
        self._starts = (pairs.starts + np.arange(len(pairs.starts))).tolist()
        self._columns: Ints = np.insert(places[pairs.columns], pairs.starts[1:], places)
        self._weights: Floats = np.insert(pairs.weights, pairs.starts[1:], 0)
        self._rarities: Floats = np.insert(pairs.rarities, pairs.starts[1:], 0)
        self.ends = (table.comma, table.line, table.end)  # tokens behind a tag
        self.stops: Ints = np.array(self.ends[1:], np.int64)  # those behind the last
        self._strange: dict[str, tuple[int, ...]] = {}
        self._branches: dict[tuple[int, ...], Branch | None] = {}
        self.paths = [paths[tag] for tag in order]  # tokens of each tag
        self.index = {pairs.tags[tag]: place for place, tag in enumerate(order)}
        self.popularity: Floats = pairs.popularity[self._order]
        self.first: Ints = np.array([path[0] for path in self.paths], np.int64)  # token of each tag
        self.firsts = np.unique(self.first)
        self.size = len(table.pieces)

    def find(self, tags: Iterable[str]) -> Ints:
        """Return the places of these tags in the table, without those that it lacks."""
        return np.array([place for tag in tags if (place := self.index.get(tag)) is not None], np.int64)

    def row(self, place: int) -> tuple[Ints, Floats, Floats]:
        """Return of which tags a tag says something, its weights, and rarities; the last is itself, with 0."""
        tag = self._order[place]
        row = slice(self._starts[tag], self._starts[tag + 1])
        return self._columns[row], self._weights[row], self._rarities[row]

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
        if path not in self._branches:
            self._branches[path] = self._branch(path)
        return self._branches[path]

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
            slice(low, high), np.array(firsts, np.int64), np.array(flat, np.int64), np.array(groups, np.int64)
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
