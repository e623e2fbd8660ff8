"""The batched decode loop: many rows, one forward a step, each row's place taken by the next when it is done.

What a slot of the cache holds of a request is reused: a row starts from the longest prefix any slot has in common with
its own, within a call and between calls. Only tokens that were fed as one chunk are shared, and at least two are left
to feed: some libraries compute a lone token with other last bits than the same token within a chunk, and a row's text
must not show what it was forked from. Knows engines by their contract only.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from kgen_ext.decoding.row import Job, Row, Written
from kgen_ext.decoding.sampler import draw
from kgen_ext.decoding.tokens import TokenTable
from kgen_ext.events import Event, Started

if TYPE_CHECKING:
    from kgen_ext.engines.base import Cache

# Fewer shared tokens than this are computed again rather than copied or waited for.
_WORTH_SHARING = 8


class BatchDecoder:
    """Decodes jobs on one cache. Not thread-safe; one run at a time."""

    def __init__(self, cache: Cache, table: TokenTable) -> None:
        self._cache = cache
        self._table = table
        self._held: list[list[int]] = [[] for _ in range(cache.rows)]
        self._first = [0] * cache.rows  # how many of them stood in the row's first chunk

    def run(
        self, jobs: Iterable[Job], *, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[Event | tuple[Job, Written]]:
        """Yield the events of every job, and (job, what it wrote) when it is done, in the order things happen.

        `cancelled` is asked before every step; rows end there with what is whole.
        """
        waiting = _Queue(jobs)
        active: dict[int, Row] = {}
        while waiting.first is not None or active:
            if cancelled():
                # One at a time: a row that never began costs no more than its job.
                for row in chain(active.values(), (Row(job, self._table) for job in waiting.rest())):
                    row.cancel()
                    yield from row.events()
                    yield row.job, row.written()
                return
            yield from self._admit(waiting, active)
            self._step(active)
            for slot, row in list(active.items()):
                yield from row.events()
                if row.finish is not None:
                    del active[slot]
                    # What it wrote is of no use to others, and an idle slot with room keeps its neighbours exact.
                    self._cut(slot, min(len(self._held[slot]), self._first[slot]))
                    yield row.job, row.written()

    def _admit(self, waiting: _Queue, active: dict[int, Row]) -> Iterator[Event]:
        """Give waiting jobs the free slots, each with the longest prefix it can have for free."""
        fresh = list[Row]()
        while waiting.first is not None and len(active) < self._cache.rows:
            row = Row(waiting.first, self._table)
            soon = max((_common(row.ids, other.ids) for other in fresh), default=0)
            free = [slot for slot in range(self._cache.rows) if slot not in active]
            shared, source = max((self._shared(row, slot), -slot) for slot in range(self._cache.rows))
            source = -source
            if soon >= _WORTH_SHARING and soon > shared:
                return  # the row that computes this prefix is one step ahead
            waiting.advance()
            # The slot that holds the source is cut back in place; otherwise the one whose tokens are worth least.
            slot = source if source in free else min(free, key=lambda one: (len(self._held[one]), one))
            if slot != source and shared >= _WORTH_SHARING:
                self._cache.fork(source, slot, shared)
            elif slot != source:
                shared = self._shared(row, slot)
            row.kept = shared
            self._held[slot] = row.ids[:shared]
            self._first[slot] = len(row.ids)
            self._cut(slot, shared)
            active[slot] = row
            fresh.append(row)
            yield Started(row.job.row, row.job.subject)

    def _step(self, active: dict[int, Row]) -> None:
        """Feed every row what it has to be fed, and let each act on its next draw."""
        pairs = [(slot, row) for slot, row in active.items() if row.finish is None]
        chunks = list[tuple[int, list[int]]]()
        for slot, row in pairs:
            self._cut(slot, row.kept)
            chunks.append((slot, row.ids[row.kept :]))
        if not chunks:
            return
        logits = self._cache.forward(chunks)
        for (slot, chunk), (_, row) in zip(chunks, pairs, strict=True):
            self._held[slot].extend(chunk)
            row.kept = len(row.ids)
        rows = list(range(len(pairs)))
        while rows:
            block = logits if len(rows) == len(pairs) else logits[rows]
            block = block + self._table.bias[[pairs[one][1].bias_index() for one in rows]]
            for place, one in enumerate(rows):
                row = pairs[one][1]
                only = row.only()
                if only is not None:
                    chosen = sorted(only)
                    saved = logits[one, chosen]
                    block[place] = -np.inf
                    block[place, chosen] = saved
                masked = row.masked()
                if masked:
                    block[place, masked] = -np.inf
            drawn = draw(
                block, [pairs[one][1].job.sampling for one in rows], [pairs[one][1].key() for one in rows]
            )
            rows = [one for one, token in zip(rows, drawn, strict=True) if pairs[one][1].take(token)]

    def _shared(self, row: Row, slot: int) -> int:
        """Return how many of a new row's tokens a slot holds as the row's own first chunk would leave them."""
        return max(0, min(_common(row.ids, self._held[slot]), self._first[slot], len(row.ids) - 2))

    def _cut(self, slot: int, length: int) -> None:
        if self._cache.length(slot) > length:
            self._cache.truncate(slot, length)
        del self._held[slot][length:]


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


def _common(left: list[int], right: list[int]) -> int:
    """Return the length of the longest common prefix."""
    count = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        count += 1
    return count
