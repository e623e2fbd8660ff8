"""Ranges of a string, merged, and asked which of them holds a position, in any order.

Knows nothing of prompts.
"""
from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable


class Ranges:
    """The union of half-open ranges.

    >>> 3 in Ranges([(1, 2), (2, 5)]), 5 in Ranges([(1, 5)])
    (True, False)
    """

    __slots__ = ("_starts", "_stops")

    def __init__(self, ranges: Iterable[tuple[int, int]], *, join: bool = True) -> None:
        """Merge ranges; with `join` off, ranges that only touch stay two."""
        self._starts: list[int] = []
        self._stops: list[int] = []
        for start, stop in sorted(one for one in ranges if one[0] < one[1]):
            if self._stops and (start < self._stops[-1] or (join and start == self._stops[-1])):
                self._stops[-1] = max(self._stops[-1], stop)
            else:
                self._starts.append(start)
                self._stops.append(stop)

    def __contains__(self, at: int) -> bool:
        i = bisect_right(self._starts, at) - 1
        return i >= 0 and at < self._stops[i]

    def around(self, at: int) -> tuple[int, int] | None:
        """Return the range with `at` strictly inside."""
        i = bisect_right(self._starts, at) - 1
        if i < 0 or self._starts[i] == at:
            return None
        stop = self._stops[i]
        return (self._starts[i], stop) if at < stop else None
