"""The batched decode loop: many rows in one cache, one forward pass a step.

Rows are independent: each has its own job, constraint, position and noise, and its text does not depend on which others
share the batch. Their number is fixed by the cache; when a row is done, the next job takes its slot.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, compress
from typing import TYPE_CHECKING

import numpy as np

from kgen_ext.decoding.job import Job
from kgen_ext.decoding.row import Row, RowOutput
from kgen_ext.decoding.sampler import Draw, draw
from kgen_ext.decoding.vocabulary import TokenTable
from kgen_ext.events import Event, Started

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kgen_ext.engine import Cache

# A shared prefix of fewer tokens is computed again rather than copied or waited for.
_MIN_SHARED = 8
# Forced runs of up to so many tokens are fed one a step.
_SHORT_RUN = 8


class BatchDecoder:
    """Decodes jobs on one cache. Not thread-safe; one run at a time."""

    def __init__(self, cache: Cache, table: TokenTable) -> None:
        self._table = table
        self._slots = Slots(cache)

    def run(
        self, jobs: Iterable[Job], *, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[Event | tuple[Job, RowOutput]]:
        """Yield the events of every job, and (job, output) when it is done, in the order things happen.

        jobs: taken one at a time, as slots become free. cancelled: asked before every step; all rows then end with
        what is complete.
        """
        slots = self._slots
        waiting = _Waiting(Row(job, self._table) for job in jobs)
        try:
            while waiting.first is not None or slots.rows:
                if cancelled():
                    for row in chain(slots.rows.values(), waiting):
                        row.cancel()
                        yield from row.events()
                        yield row.job, row.output()
                    return
                # 1. Admit: waiting rows take the free slots, each with the longest prefix it can have for free.
                while (admitted := waiting.first) is not None and slots.admit(admitted):
                    waiting.advance()
                    yield Started(admitted.job.row, admitted.job.subject)
                # 2. Feed: one forward pass appends to the cache what each row has added since the last.
                drawing, logits = slots.feed()
                while drawing:
                    # 3. Draw: a token for each row, out of those that its constraint permits.
                    drawn = _draw(drawing, logits, self._table)
                    # 4. Act: each row appends its token, forces others, rolls back or goes on to its next field.
                    #    Where a token was refused on the spot, the row draws again from the same logits.
                    again = [row.consume(token) for row, token in zip(drawing, drawn, strict=True)]
                    drawing, logits = list(compress(drawing, again)), logits[again]
                for slot, row in list(slots.rows.items()):
                    # 5. Emit: what happened to the row in this step.
                    yield from row.events()
                    # 6. Retire: a row that is done gives its slot back.
                    if row.finish is not None:
                        slots.release(slot)
                        yield row.job, row.output()
        finally:
            slots.clear()


def _draw(rows: list[Row], logits: NDArray[np.float32], table: TokenTable) -> list[Draw]:
    """Draw for every row, each from its own row of the logits, under its constraint and with its noise."""
    masked = logits + table.bias[[row.token_mask() for row in rows]]
    for place, row in enumerate(rows):
        allowed = row.allowed_tokens()
        if allowed is not None:
            ids = sorted(allowed)
            masked[place] = -np.inf
            masked[place, ids] = logits[place, ids]
        blocked = row.blocked_tokens()
        if blocked:
            masked[place, blocked] = -np.inf
    return draw(masked, [row.job.sampling for row in rows], [row.draw_key() for row in rows])


class Slots:
    """The rows of a cache: which job is in each, and the tokens each holds.

    A new row starts from the longest prefix that any slot, in use or free, has in common with it, so what is equal in
    two requests is computed once, within a run and between runs. Only tokens that were fed as one chunk are shared, and
    at least two are left to feed: some libraries compute a lone token with other last bits than the same token within a
    chunk, and a row's text must not show what it was forked from.
    """

    def __init__(self, cache: Cache) -> None:
        self.rows: dict[int, Row] = {}  # by slot
        self._cache = cache
        self._held: list[list[int]] = [[] for _ in range(cache.rows)]  # the tokens in each slot of the cache
        self._prompt = [0] * cache.rows  # how many of them, at most, its row began with: these may be shared
        self._unfed = list[Row]()  # admitted since the last forward pass

    def admit(self, row: Row) -> bool:
        """Give a row a free slot and the longest prefix it can have for free.

        Returns False where no slot is free, and where the row had better wait: one that was just admitted computes a
        longer prefix of it in the coming step.
        """
        count = self._cache.rows
        if len(self.rows) >= count:
            return False
        shared, source = max((self._shared(row, slot), -slot) for slot in range(count))
        source = -source
        coming = max((_common(row.ids, other.ids) for other in self._unfed), default=0)
        if coming >= _MIN_SHARED and coming > shared:
            return False
        # Rows side by side are computed in one go by some libraries. Among the slots nearest to the others the source
        # itself is best, since it is cut back in place, then the one whose tokens are worth least.
        free = [slot for slot in range(count) if slot not in self.rows]
        slot = min(free, key=lambda slot: (self._span(slot), slot != source, len(self._held[slot]), slot))
        if slot != source and shared >= _MIN_SHARED:
            self._cache.fork(source, slot, shared)
        elif slot != source:
            shared = self._shared(row, slot)
        self._held[slot] = row.ids[:shared]
        self._prompt[slot] = len(row.ids)
        self._truncate(slot, shared)
        row.cached = shared
        self.rows[slot] = row
        self._unfed.append(row)
        return True

    def feed(self) -> tuple[list[Row], NDArray[np.float32]]:
        """Append each row's new tokens to the cache; return the rows that can draw, and the logits of each.

        Logits: float32 (rows, vocabulary), valid until the next call.
        """
        self._unfed.clear()
        rows, chunks = list[Row](), list[tuple[int, list[int]]]()
        for slot, row in self.rows.items():
            if row.finish is None:
                self._truncate(slot, row.cached)
                chunk = row.ids[row.cached :]
                # A few forced tokens are fed with the draws of the others, one a step: as a chunk of their own they
                # cost most libraries as much as a step of the batch. So is a lone row's, or its last bits would tell.
                if row.cached >= self._prompt[slot] and len(chunk) <= _SHORT_RUN:
                    del chunk[1:]
                rows.append(row)
                chunks.append((slot, chunk))
        if not chunks:
            return [], np.empty((0, 0), np.float32)
        logits = self._cache.forward(chunks)
        for row, (slot, chunk) in zip(rows, chunks, strict=True):
            self._held[slot].extend(chunk)
            row.cached += len(chunk)
        ready = [row.cached == len(row.ids) for row in rows]
        return (rows, logits) if all(ready) else (list(compress(rows, ready)), logits[ready])

    def release(self, slot: int) -> None:
        """Free a slot; what its row began with stays, to be shared."""
        del self.rows[slot]
        # What the row wrote is of no use to others, and a free slot with room keeps its neighbours' bits the same.
        self._truncate(slot, self._prompt[slot])

    def clear(self) -> None:
        """Free all slots; what the cache holds stays, to be shared."""
        self.rows.clear()
        self._unfed.clear()

    def _shared(self, row: Row, slot: int) -> int:
        """Return how many of a new row's tokens a slot holds, as the row's own first chunk would leave them there."""
        return max(0, min(_common(row.ids, self._held[slot]), self._prompt[slot], len(row.ids) - 2))

    def _span(self, slot: int) -> int:
        """Return how far the slots in use would reach with one more."""
        return max(slot, *self.rows) - min(slot, *self.rows) if self.rows else 0

    def _truncate(self, slot: int, length: int) -> None:
        if self._cache.length(slot) > length:
            self._cache.truncate(slot, length)
        del self._held[slot][length:]


def _common(left: list[int], right: list[int]) -> int:
    """Return the length of the longest common prefix."""
    count = 0
    for left_id, right_id in zip(left, right, strict=False):
        if left_id != right_id:
            break
        count += 1
    return count


class _Waiting:
    """The rows not yet admitted, made one at a time: a thousand prompts take no more memory than a batch."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = iter(rows)
        self.first = next(self._rows, None)

    def __iter__(self) -> Iterator[Row]:
        while self.first is not None:
            yield self.first
            self.advance()

    def advance(self) -> None:
        """Drop the first row and make the next."""
        self.first = next(self._rows, None)
