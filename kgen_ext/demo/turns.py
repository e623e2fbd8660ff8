"""Turns: a queue that lets one run work at a time, first come, first served, and limits what each visitor has in it."""
from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from kgen_ext.demo.limits import Limits
from kgen_ext.errors import UserError

_VISITORS = 10_000  # whose starts are remembered


class Turn:
    """A run's place in a queue."""

    def __init__(self, turns: Turns, visitor: str) -> None:
        self.visitor = visitor
        self._turns = turns

    @property
    def ahead(self) -> int:
        """Return how many runs come first, the one at work among them; 0 where it is this one's turn."""
        return self._turns.ahead_of(self)

    def leave(self) -> None:
        """Give the place up: the run has ended, or will not begin. May be called twice."""
        self._turns.remove(self)


class Turns:
    """A queue of runs. Thread-safe."""

    def __init__(self, limits: Limits, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._queue = list[Turn]()
        self._starts: OrderedDict[str, deque[float]] = OrderedDict()  # of the last minute, by visitor

    def join(self, visitor: str) -> Turn:
        """Take a place at the end. Raises UserError where the visitor, or everybody together, has too many."""
        limits = self._limits
        with self._lock:
            own = sum(turn.visitor == visitor for turn in self._queue)
            if own >= limits.each:
                raise UserError(f"{_runs(own)} of yours {_are(own)} in the queue already",
                                hint="wait, or press Stop")  # fmt: skip
            if len(self._queue) >= limits.waiting:
                raise UserError(f"the queue is full: {_runs(len(self._queue))} {_are(len(self._queue))} in it",
                                hint="try again in a minute")  # fmt: skip
            now = self._clock()
            starts = self._starts.setdefault(visitor, deque())
            while starts and starts[0] <= now - 60:
                starts.popleft()
            if len(starts) >= limits.minute:
                wait = max(1, round(60 - (now - starts[0])))
                raise UserError(f"you started {_runs(len(starts))} within a minute, as many as this page allows",
                                hint=f"try again in {wait} s")  # fmt: skip
            starts.append(now)
            self._starts.move_to_end(visitor)
            while len(self._starts) > _VISITORS:
                self._starts.popitem(last=False)
            turn = Turn(self, visitor)
            self._queue.append(turn)
            return turn

    def ahead_of(self, turn: Turn) -> int:
        """Return how many come before a turn, 0 for one that has left."""
        with self._lock:
            return self._queue.index(turn) if turn in self._queue else 0

    def remove(self, turn: Turn) -> None:
        """Take a turn out."""
        with self._lock:
            if turn in self._queue:
                self._queue.remove(turn)

    def __len__(self) -> int:
        """Return how many are waiting or at work."""
        with self._lock:
            return len(self._queue)


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
