"""How many tokens to feed a row in one call, decided by what calls of that size cost and how often guesses are right.

Both are measured on the work itself: it needs no trial, and follows a machine that gets busy.
"""
from __future__ import annotations

from collections.abc import Sequence

# Tokens of a row in one call, at most.
WIDEST = 8
# The same where the last bits of logits depend on it, so that what a call costs may not decide: of one row, of each
# of several rows.
FIXED_LONE, FIXED_BATCH = 8, 4
# What one more measurement weighs.
_WEIGHT = 0.15
# A width is tried so often before its cost is believed: any call may have waited for another process.
_TRIES = 3
# A width that was not taken for so many calls is tried again, for it may cost less by now.
_STALE = 600
# The chance that a guess is right, until there is more to go by.
_HOPE = 0.6


class Pace:
    """Cost and acceptance of guesses, for the rows of one cache after another."""

    __slots__ = ("_calls", "_chances", "_costs")

    def __init__(self) -> None:
        # Seconds a row, how often measured, and at which call the last time, by rows (their bit length) and width.
        self._costs: dict[tuple[int, int], tuple[float, int, int]] = {}
        self._calls = 0
        self._chances: dict[str, list[float]] = {}  # by kind of guess: that one more of its tokens is right

    def width(self, fed: Sequence[int], guesses: Sequence[tuple[str, int]]) -> int:
        """Return up to how many tokens of each row to feed.

        fed: tokens of each row that must be fed. guesses: kind and length of each row's guess.
        """
        size = len(fed).bit_length()
        low = max(fed)
        longest = max(count + length for count, (_, length) in zip(fed, guesses, strict=True))
        best, best_speed = low, 0.0
        gains = [float(count) for count in fed]
        for width in range(low, min(WIDEST, longest) + 1):
            gain = 0.0
            for place, (kind, length) in enumerate(guesses):
                index = width - fed[place] - 1
                if 0 <= index < length:
                    gains[place] += self._chance(kind)[index]
                gain += gains[place]
            cost, tries, last = self._costs.get((size, width), (0.0, 0, 0))
            if tries < _TRIES or self._calls - last > _STALE:
                return width
            if gain > best_speed * cost:
                best, best_speed = width, gain / cost
        return best

    def measure(self, rows: int, width: int, seconds: float) -> None:
        """Take in what a call of so many rows and tokens took."""
        key, cost = (rows.bit_length(), width), seconds / rows
        self._calls += 1
        known, tries, last = self._costs.get(key, (cost, 0, 0))
        if tries < _TRIES:
            cost = min(cost, known)
        elif self._calls - last <= _STALE:
            cost = known + _WEIGHT * (min(cost, 2 * known) - known)
        self._costs[key] = cost, tries + 1, self._calls

    def learn(self, kind: str, offered: int, right: int) -> None:
        """Take in how many tokens of a guess were right."""
        chances = self._chance(kind)
        for index in range(offered):
            # That all tokens up to this one are right.
            chances[index] += _WEIGHT / 4 * ((index < right) - chances[index])

    def _chance(self, kind: str) -> list[float]:
        chances = self._chances.get(kind)
        if chances is None:
            chances = self._chances[kind] = [_HOPE ** (index + 1) for index in range(WIDEST)]
        return chances
