"""The batched decode loop: many rows, one forward a step, each row's place taken by the next when it is done.

With several caches the rows are dealt to as many lanes, which take turns: while the draws of one are acted on, the
engine computes the others in threads of their own. All else happens in the caller's thread, and the turns do not depend
on which lane is quicker, so neither do the events. Knows engines by their contract only.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING

from kgen_ext.decoding.lane import Lane
from kgen_ext.decoding.row import Job, Row, Written
from kgen_ext.decoding.tokens import TokenTable
from kgen_ext.events import Event

if TYPE_CHECKING:
    from kgen_ext.engines.base import Cache


class BatchDecoder:
    """Decodes jobs on one cache or several. Not thread-safe; one run at a time."""

    def __init__(self, caches: Sequence[Cache], table: TokenTable) -> None:
        self._table = table
        self._lanes = [Lane(cache, table) for cache in caches]
        self._pool = ThreadPoolExecutor(len(caches), "kgen-lane") if len(caches) > 1 else None

    def run(
        self, jobs: Iterable[Job], *, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[Event | tuple[Job, Written]]:
        """Yield the events of every job, and (job, what it wrote) when it is done, in the order things happen.

        `cancelled` is asked before every step; rows end there with what is whole.
        """
        waiting = _Queue(jobs)
        turns = deque[Lane]()
        sharing = 1
        try:
            while waiting.first is not None or any(lane.active for lane in self._lanes):
                if cancelled():
                    yield from self._cancel(waiting, turns)
                    return
                yield from self._admit(waiting)
                busy = [lane for lane in self._lanes if lane.active]
                # Those left at the end keep their part of the threads: what
                # several threads gain on a few rows they lose many times over on a machine that has other work.
                sharing = max(sharing, len(busy))
                for lane in busy:
                    if not lane.under_way:
                        lane.share(sharing)
                        lane.begin(self._pool if len(busy) > 1 else None)
                        turns.append(lane)
                yield from turns.popleft().end()
        finally:
            # Where the reader left, or a lane failed: nobody else may meet a cache that is being fed.
            for lane in turns:
                lane.settle()
            for lane in self._lanes:
                lane.clear()

    def close(self) -> None:
        """Let the threads go. May be called twice."""
        if self._pool is not None:
            self._pool.shutdown()

    def _cancel(self, waiting: _Queue, turns: deque[Lane]) -> Iterator[Event | tuple[Job, Written]]:
        while turns:
            turns.popleft().settle()
        active = (row for lane in self._lanes for row in lane.active.values())
        # One at a time: a row that never began costs no more than its job.
        for row in chain(active, (Row(job, self._table) for job in waiting.rest())):
            row.cancel()
            yield from row.events()
            yield row.job, row.written()

    def _admit(self, waiting: _Queue) -> Iterator[Event]:
        """Give waiting jobs the free slots of the lanes at rest, the emptiest first."""
        able = [lane for lane in self._lanes if not lane.full]
        while waiting.first is not None and able:
            lane = min(able, key=lambda one: len(one.active))
            if lane.under_way:
                return  # it takes the job in its turn
            started = lane.admit(waiting.first)
            if started is not None:
                waiting.advance()
                yield started
            if started is None or lane.full:
                able.remove(lane)


class _Queue:
    """Jobs made one at a time, so that a thousand prompts take no more memory than a batch."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs = iter(jobs)
        self.first = next(self._jobs, None)

    def advance(self) -> None:
        """Drop the first job and make the next."""
        self.first = next(self._jobs, None)

    def rest(self) -> Iterator[Job]:
        """Yield all that is left."""
        while self.first is not None:
            yield self.first
            self.advance()
