"""One cache and the rows that are being decoded in it: whose slot is whose, and what a new row need not compute.

What a slot of the cache holds of a request is reused: a row starts from the longest prefix any slot has in common with
its own, within a call and between calls. Only tokens that were fed as one chunk are shared, and at least two are left
to feed: some libraries compute a lone token with other last bits than the same token within a chunk, and a row's text
must not show what it was forked from. Knows no other lane, and engines by their contract only.

The batched decode loop: many rows, one forward a step, each row's place taken by the next when it is done.

With several caches the rows are dealt to as many lanes, which take turns: while the draws of one are acted on, the
engine computes the others in threads of their own. All else happens in the caller's thread, and the turns do not depend
on which lane is quicker, so neither do the events. Knows engines by their contract only.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import chain, compress
from typing import TYPE_CHECKING

import numpy as np

from kgen_ext.decoding.row import Job, Row, RowOutput
from kgen_ext.decoding.sampler import draw
from kgen_ext.decoding.vocabulary import TokenTable
from kgen_ext.events import Event, Started

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kgen_ext.engine import Cache

# Fewer shared tokens than this are computed again rather than copied or waited for.
_WORTH_SHARING = 8
# Forced runs of up to so many tokens are fed one a step.
_SHORT = 8


class Lane:
    """Decodes rows on one cache, a step at a time: `begin`, then `end` when the engine has answered."""

    def __init__(self, cache: Cache, table: TokenTable) -> None:
        self._cache = cache
        self._table = table
        self._held: list[list[int]] = [[] for _ in range(cache.rows)]
        self._first = [0] * cache.rows  # how many of them stood in the row's first chunk
        self._fresh = list[Row]()  # rows that have not been fed anything yet
        self._fed = list[tuple[int, Row, list[int]]]()  # slot, row and chunk of the step under way
        self._answer: Future[NDArray[np.float32]] | None = None
        self._sharing = 1
        self.active: dict[int, Row] = {}

    @property
    def full(self) -> bool:
        """No slot is free."""
        return len(self.active) >= self._cache.rows

    @property
    def under_way(self) -> bool:
        """A step has begun and not ended."""
        return self._answer is not None

    def share(self, count: int) -> None:
        """Leave the processor to `count` lanes in equal parts."""
        if count != self._sharing:
            self._cache.share(count)
            self._sharing = count

    def admit(self, job: Job) -> Event | None:
        """Give a job a free slot, with the longest prefix it can have for free.

        None where it had better wait: a row that computes its prefix is one step ahead.
        """
        row = Row(job, self._table)
        soon = max((_common(row.ids, other.ids) for other in self._fresh), default=0)
        free = [slot for slot in range(self._cache.rows) if slot not in self.active]
        shared, source = max((self._shared(row, slot), -slot) for slot in range(self._cache.rows))
        source = -source
        if soon >= _WORTH_SHARING and soon > shared:
            return None
        # Rows side by side are computed in one go by some libraries. Among the places nearest to the others the slot
        # that holds the source is best, since it is cut back in place, then the one whose tokens are worth least.
        slot = min(free, key=lambda one: (self._span(one), one != source, len(self._held[one]), one))
        if slot != source and shared >= _WORTH_SHARING:
            self._cache.fork(source, slot, shared)
        elif slot != source:
            shared = self._shared(row, slot)
        row.kept = shared
        self._held[slot] = row.ids[:shared]
        self._first[slot] = len(row.ids)
        self._cut(slot, shared)
        self.active[slot] = row
        self._fresh.append(row)
        return Started(job.row, job.subject)

    def begin(self, pool: Executor | None) -> None:
        """Have the engine fed what every row has to be fed, in a thread of the pool, or here when there is none."""
        self._fresh.clear()
        for slot, row in self.active.items():
            if row.finish is None:
                self._cut(slot, row.kept)
                chunk = row.ids[row.kept :]
                # A few forced tokens go with the draws of the others, one a step: a chunk of its own costs
                # most libraries as much as a step of the batch. Alone likewise, or its last bits would tell.
                if row.kept >= self._first[slot] and len(chunk) <= _SHORT:
                    del chunk[1:]
                self._fed.append((slot, row, chunk))
        chunks = [(slot, chunk) for slot, _, chunk in self._fed]
        if pool is not None and chunks:
            self._answer = pool.submit(self._cache.forward, chunks)
        else:
            self._answer = Future()
            self._answer.set_result(self._cache.forward(chunks) if chunks else np.empty((0, 0), np.float32))

    def settle(self) -> NDArray[np.float32]:
        """Wait for the engine, and note what the cache holds by now; nothing is drawn."""
        assert self._answer is not None
        answer, self._answer = self._answer, None
        fed, self._fed = self._fed, []
        logits = answer.result()
        for slot, row, chunk in fed:
            self._held[slot].extend(chunk)
            row.kept += len(chunk)
        return logits

    def end(self) -> Iterator[Event | tuple[Job, RowOutput]]:
        """Wait for the engine, let each row act on its draw, and yield what happened; done rows leave their slots."""
        fed = [row for _, row, _ in self._fed]
        logits = self.settle()
        ready = [row.kept == len(row.ids) for row in fed]
        if not all(ready):
            fed, logits = list(compress(fed, ready)), logits[ready]
        self._act(fed, logits)
        for slot, row in list(self.active.items()):
            yield from row.events()
            if row.finish is not None:
                del self.active[slot]
                # What it wrote is of no use to others, and an idle slot with room keeps its neighbours exact.
                self._cut(slot, self._first[slot])
                yield row.job, row.written()

    def clear(self) -> None:
        """Forget the rows; what the cache holds of them is still there to be shared."""
        self.active.clear()
        self._fresh.clear()

    def _act(self, rows: list[Row], logits: NDArray[np.float32]) -> None:
        """Draw for every row, and again for those whose draw was refused on the spot."""
        while rows:
            block = logits + self._table.bias[[row.bias_index() for row in rows]]
            for place, row in enumerate(rows):
                only = row.only()
                if only is not None:
                    chosen = sorted(only)
                    block[place] = -np.inf
                    block[place, chosen] = logits[place, chosen]
                masked = row.masked()
                if masked:
                    block[place, masked] = -np.inf
            drawn = draw(block, [row.job.sampling for row in rows], [row.key() for row in rows])
            again = [row.take(token) for row, token in zip(rows, drawn, strict=True)]
            if not any(again):
                return
            rows, logits = list(compress(rows, again)), logits[again]

    def _shared(self, row: Row, slot: int) -> int:
        """Return how many of a new row's tokens a slot holds as the row's own first chunk would leave them."""
        return max(0, min(_common(row.ids, self._held[slot]), self._first[slot], len(row.ids) - 2))

    def _span(self, slot: int) -> int:
        """Return how far the active slots would reach with one more."""
        return max(slot, *self.active) - min(slot, *self.active) if self.active else 0

    def _cut(self, slot: int, length: int) -> None:
        if self._cache.length(slot) > length:
            self._cache.truncate(slot, length)
        del self._held[slot][length:]


def _common(left: list[int], right: list[int]) -> int:
    """Return the length of the longest common prefix."""
    count = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        count += 1
    return count


class BatchDecoder:
    """Decodes jobs on one cache or several. Not thread-safe; one run at a time."""

    def __init__(self, caches: Sequence[Cache], table: TokenTable) -> None:
        self._table = table
        self._lanes = [Lane(cache, table) for cache in caches]
        self._pool = ThreadPoolExecutor(len(caches), "kgen-lane") if len(caches) > 1 else None

    def run(
        self, jobs: Iterable[Job], *, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[Event | tuple[Job, RowOutput]]:
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

    def _cancel(self, waiting: _Queue, turns: deque[Lane]) -> Iterator[Event | tuple[Job, RowOutput]]:
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
