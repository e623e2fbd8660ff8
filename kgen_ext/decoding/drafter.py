"""Drafter: guesses the next tokens of a row, which the engine then checks together in one call.

A wrong guess costs speed, never text. A guess depends on the row alone, not on what was decoded before, since the last
bits of a row's logits can depend on the chunks in which it was fed.

In a tag list where no prior knows better (`prior.py`), the guess is the rest of the most used tag that begins with the
tokens written so far, and the comma behind it. In a sentence it is the first of these that is known:

    how descriptions of pictures go on behind the last two words
    what followed the last two tokens where they stood in the row before: in the request, the tags, the text
    what followed the last token where it stood before
    how descriptions go on behind the last word, or how the word goes on

The tags are `POPULAR`, the phrases `PHRASES` of `tags.lists`: those that begin with two known words, then those that
begin with one. Only texts that come into question are tokenised.
"""
from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kgen_ext.decoding.vocabulary import TokenTable, in_context
from kgen_ext.once import once
from kgen_ext.tags.lists import PHRASES, POPULAR, read_lists

if TYPE_CHECKING:
    from kgen_ext.engine import Engine

# Texts that are tried for a beginning, the most used first, as some begin with other tokens and some are taken; more
# for an empty one, as the first tags are in most lists.
_TRIED, _TRIED_FIRST = 16, 48
# Beginnings to remember. They are forgotten together; what is remembered changes no guess.
_REMEMBERED = 4096
# Two words have at most so many tokens.
_WORD_TOKENS = 8
_WORD_STARTS = frozenset((b" ", b",", b"."))
_LAST = "\U0010ffff"

# A text that begins so, and the tokens that follow.
_Fitting = tuple[str, tuple[int, ...]]


class _Texts:
    """Texts that are looked up by how they begin."""

    __slots__ = ("_ranks", "_sorted")

    def __init__(self, texts: Sequence[str] = ()) -> None:
        ranks = sorted(range(len(texts)), key=texts.__getitem__)
        self._sorted = [texts[rank] for rank in ranks]
        self._ranks: NDArray[np.uint16] = np.array(ranks, np.uint16)

    def beginning_with(self, begun: str, most: int) -> list[str]:
        """Return up to `most` texts, the most used first."""
        low, high = bisect_left(self._sorted, begun), bisect_left(self._sorted, begun + _LAST)
        order = self._ranks[low:high].argsort(kind="stable")[:most]
        return [self._sorted[low + place] for place in order.tolist()]


@once
def _shipped() -> tuple[_Texts, _Texts, _Texts]:
    """Return the tags, the phrases that begin with two known words, and those that begin with one."""
    (tags,), (two, one) = read_lists(POPULAR, 1), read_lists(PHRASES, 2)
    return _Texts(tags), _Texts(two), _Texts(one)


class Drafter:
    """Guesses for the rows of one model. Several threads may use it."""

    __slots__ = ("_comma", "_one", "_pieces", "_tags", "_two")

    def __init__(self, engine: Engine, table: TokenTable) -> None:
        self._comma = (table.comma,)
        self._pieces = table.pieces
        tags, two, one = _shipped()
        self._tags = _Continuations(engine, table, tags, left="a,", end=self._comma)
        self._two = _Continuations(engine, table, two, left="a")
        self._one = _Continuations(engine, table, one, left="a")

    def tag(self, path: Sequence[int], taken: Container[str]) -> tuple[int, ...]:
        """Return the tokens that most likely follow `path`, the tokens of the tag begun so far, up to its comma.

        taken: names of tags that are in the list. Where no known tag begins so, the guess is that it is complete.
        """
        return self._tags.behind(tuple(path), taken) or (self._comma if path else ())

    def text(self, ids: Sequence[int], repeats: Repeats, *, width: int) -> tuple[int, ...]:
        """Return up to `width` tokens that most likely follow those of a row in a sentence; () where nothing is known.

        repeats: the row's own.
        """
        repeats.read(ids)
        last, before = self._words(ids)
        found = self._two.behind(before) if before else ()
        found = found or repeats.behind(ids, width) or (self._one.behind(last) if last else ())
        return found[:width]

    def _words(self, ids: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the tokens of the last word, and of the last two; () where there is no such word."""
        last: tuple[int, ...] = ()
        for place in range(1, min(_WORD_TOKENS, len(ids)) + 1):
            if self._pieces[ids[-place]][:1] in _WORD_STARTS:
                if last:
                    return last, tuple(ids[-place:])
                last = tuple(ids[-place:])
        return last, ()


class _Continuations:
    """How a beginning goes on in the most used texts that begin so. left: what they stand behind; end: tokens added."""

    __slots__ = ("_end", "_pieces", "_remembered", "_texts", "_tokens")

    def __init__(
        self, engine: Engine, table: TokenTable, texts: _Texts, *, left: str, end: tuple[int, ...] = ()
    ) -> None:
        # A text may fit several beginnings, and is tokenised once.
        self._tokens = lru_cache(_REMEMBERED)(partial(in_context, engine, left=left))
        self._pieces = table.pieces
        self._texts = texts
        self._end = end
        # By beginning: the texts to try, how many were tried, and those of them that fit.
        self._remembered: dict[tuple[int, ...], tuple[list[str], int, tuple[_Fitting, ...]]] = {}

    def behind(self, path: tuple[int, ...], taken: Container[str] = ()) -> tuple[int, ...]:
        """Return the tokens that follow `path` in the most used text that begins with them and is not taken, or ()."""
        remembered = self._remembered.get(path)
        texts, tried, fitting = remembered or (self._begun(path), 0, ())
        for text, rest in fitting:
            if text not in taken:
                return rest
        found: tuple[int, ...] = ()
        while tried < len(texts) and not found:
            text, tried = texts[tried], tried + 1
            spaced = text if text.startswith((",", ".")) else f" {text}"
            tokens = self._tokens(spaced)
            if tokens[: len(path)] == path and (rest := tokens[len(path) :] + self._end):
                fitting = (*fitting, (text, rest))
                found = () if text in taken else rest
        # Another thread may have come as far or farther; either way nothing is lost but time.
        if remembered is None and len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        self._remembered[path] = texts, tried, fitting
        return found

    def _begun(self, path: tuple[int, ...]) -> list[str]:
        spelled = b"".join(self._pieces[token] for token in path).decode("utf-8", "ignore")
        return self._texts.beginning_with(spelled.removeprefix(" "), _TRIED if path else _TRIED_FIRST)


class Repeats:
    """Where the tokens of a row, and pairs of them, stood last. The row may be cut back between calls."""

    __slots__ = ("_ends", "_read")

    def __init__(self) -> None:
        self._ends: dict[int | tuple[int, int], int] = {}  # position behind them
        self._read = 0

    def read(self, ids: Sequence[int]) -> None:
        """Take in the tokens that are new. The last is not entered yet, so that what is found stood before."""
        ends, length = self._ends, len(ids)
        for position in range(max(1, min(self._read, length)), length):
            token = ids[position - 1]
            ends[token] = position
            if position > 1:
                ends[ids[position - 2], token] = position
        self._read = length

    def behind(self, ids: Sequence[int], width: int) -> tuple[int, ...]:
        """Return up to `width` tokens that followed the last two where they stood before, or else the last."""
        if len(ids) < 2:
            return ()
        before, last = ids[-2], ids[-1]
        end = self._ends.get((before, last))
        # What was cut off is not deleted.
        if end is None or end >= len(ids) or ids[end - 1] != last or ids[end - 2] != before:
            end = self._ends.get(last)
            if end is None or end >= len(ids) or ids[end - 1] != last:
                return ()
        return tuple(ids[end : end + width])
