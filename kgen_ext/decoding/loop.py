"""The batched decode loop: many rows in one cache, one forward pass a step.

A step feeds each row what it has added since the last and, where that pays, a guess at what it will add next. Logits
behind each of these tokens come back in one call, and the row draws from them, one after the other, for as long as it
writes what was guessed. So a guess saves calls if it is right, and changes nothing if it is wrong.

Rows are independent: each has its own job, constraint, position and noise, and its text does not depend on which others
share the batch. Their number is fixed by the cache; when a row is done, the next job takes its slot.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from kgen_ext.decoding.drafter import Drafter
from kgen_ext.decoding.job import Job
from kgen_ext.decoding.pace import FIXED_BATCH, FIXED_LONE, WIDEST, Pace
from kgen_ext.decoding.row import Row, RowOutput
from kgen_ext.decoding.sampler import Draw, draw, is_decided
from kgen_ext.decoding.vocabulary import TokenTable
from kgen_ext.engine import PartialCache
from kgen_ext.events import Event, Started

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kgen_ext.engine import Cache

# A shared prefix of fewer tokens is computed again rather than copied or waited for.
_MIN_SHARED = 8
# Forced runs of up to so many tokens are fed one a step.
_SHORT_RUN = 8


class BatchDecoder:
    """Decodes jobs on one cache. Not thread-safe; one run at a time.

    drafter: guesses what rows go on with; None for no guesses. pace: what earlier caches of the engine have taught.
    """

    def __init__(
        self, cache: Cache, table: TokenTable, *, drafter: Drafter | None = None, pace: Pace | None = None
    ) -> None:
        self._table = table
        self._drafter = drafter
        self._slots = Slots(cache, pace)
        self._partial = cache if isinstance(cache, PartialCache) else None

    @property
    def calls(self) -> int:
        """Return how often the engine was called so far."""
        return self._slots.calls

    def run(
        self, jobs: Iterable[Job], *, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[Event | tuple[Job, RowOutput]]:
        """Yield the events of every job, and (job, output) when it is done, in the order things happen.

        jobs: taken one at a time, as slots become free. cancelled: asked before every step; all rows then end with
        what is complete.
        """
        slots = self._slots
        waiting = _Waiting(Row(job, self._table, self._drafter) for job in jobs)
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
                # 2. Feed: one forward pass appends to the cache what each row has added since the last, and a guess.
                logits = slots.feed()
                while drawing := [row for row in slots.rows.values() if row.ready]:
                    # 3. Draw: a token for each row, out of those that its constraint permits.
                    drawn = _draw(drawing, logits, self._table, self._partial)
                    # 4. Act: each row appends its token, forces others, rolls back or goes on to its next field. It
                    #    draws again where it stands behind tokens that were fed: those guessed, or it went back.
                    for row, token in zip(drawing, drawn, strict=True):
                        row.consume(token)
                for slot, row in list(slots.rows.items()):
                    # 5. Emit: what happened to the row in this step.
                    yield from row.events()
                    # 6. Retire: a row that is done gives its slot back.
                    if row.finish is not None:
                        slots.release(slot)
                        yield row.job, row.output()
        finally:
            slots.clear()


def _draw(
    rows: list[Row], logits: NDArray[np.float32], table: TokenTable, partial: PartialCache | None
) -> list[Draw]:
    """Draw for every row, each from its own row of the logits, under its constraint and with its noise.

    partial: the cache, if more logits have to be asked for where those at hand do not decide.
    """
    places = [row.place for row in rows]
    if len(rows) == 1:
        masked = (logits[places[0]] + table.bias[rows[0].token_mask()])[None]
    else:
        masked = table.bias[[row.token_mask() for row in rows]]
        masked += logits if places == list(range(len(logits))) else logits[places]
    for place, row in enumerate(rows):
        _steer(masked[place], row, logits[row.place])
        while partial is not None and not _is_decided(masked[place], row, logits[row.place], table, partial):
            logits[row.place] = partial.extend(row.place)
            masked[place] = logits[row.place] + table.bias[row.token_mask()]
            _steer(masked[place], row, logits[row.place])
    return draw(masked, [row.job.sampling for row in rows], [row.draw_key() for row in rows])


def _steer(masked: NDArray[np.float32], row: Row, logits: NDArray[np.float32]) -> None:
    """Add what the row's field knows, and exclude the tokens that it does not allow, beyond those of its mask."""
    for bias in row.token_bias():
        bias.add_to(masked)
    allowed = row.allowed_tokens()
    if allowed is not None:
        ids = sorted(allowed)
        masked[:] = -np.inf
        masked[ids] = logits[ids]
    blocked = row.blocked_tokens()
    if blocked:
        masked[blocked] = -np.inf


def _is_decided(
    masked: NDArray[np.float32], row: Row, logits: NDArray[np.float32], table: TokenTable, partial: PartialCache
) -> bool:
    """Return whether a row's draw is the same whatever the logits are that the cache does not know."""
    unknown = np.where(np.isneginf(logits), np.float32(partial.floors[row.place]), np.float32(-np.inf))
    highest = unknown + table.bias[row.token_mask()]
    _steer(highest, row, unknown)
    return is_decided(masked, row.job.sampling, float(highest.max()))


class Slots:
    """The rows of a cache: which job is in each, and the tokens each holds.

    A new row starts from the longest prefix that any slot, in use or free, has in common with it, so what is equal in
    two requests is computed once, within a run and between runs. Only tokens that were fed as one chunk are shared, and
    at least two are left to feed: some libraries compute a lone token with other last bits than the same token within a
    chunk, and a row's text must not show what it was forked from.
    """

    def __init__(self, cache: Cache, pace: Pace | None = None) -> None:
        self.rows: dict[int, Row] = {}  # by slot
        self.calls = 0  # of the engine
        self._cache = cache
        self._pace = pace or Pace()
        self._held: list[list[int]] = [[] for _ in range(cache.rows)]  # the tokens in each slot of the cache
        self._prompt = [0] * cache.rows  # how many of them, at most, its row began with: these may be shared
        self._unfed = list[Row]()  # admitted since the last forward pass
        # Of each slot's guess: its kind, the row's length before it, and its own.
        self._guessed: dict[int, tuple[str, int, int]] = {}

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

    def feed(self) -> NDArray[np.float32]:
        """Append each row's new tokens to the cache, and guesses behind them, and tell each row where its logits are.

        Returns logits, float32 (tokens asked for, vocabulary), valid until the next call.
        """
        rows, chunks = list[Row](), list[tuple[int, list[int]]]()
        for slot, row in self.rows.items():
            if row.finish is None:
                if slot in self._guessed:
                    kind, length, count = self._guessed[slot]
                    self._pace.learn(kind, count, min(row.cached - length, count))
                if row.cached < len(self._held[slot]):
                    self._truncate(slot, row.cached)
                rows.append(row)
                chunks.append((slot, row.ids[row.cached :]))
        self._unfed.clear()
        self._guessed.clear()
        if not rows:
            return np.empty((0, 0), np.float32)
        exact, lone = self._cache.exact, len(rows) == 1
        if not (lone and exact):
            # A few forced tokens are fed with the draws of the others, one a step: as a chunk of their own they cost
            # most libraries as much as a step of the batch. So is a lone row's, or its last bits would tell.
            for row, (slot, chunk) in zip(rows, chunks, strict=True):
                if row.cached >= self._prompt[slot] and len(chunk) <= _SHORT_RUN:
                    del chunk[1:]
        behind = [1] * len(rows)
        if lone or self._cache.joins:
            self._guess(rows, chunks, behind)
        began = perf_counter()
        logits = self._cache.forward(chunks, behind)
        seconds = perf_counter() - began
        self.calls += 1
        end = 0
        for row, (slot, chunk), count in zip(rows, chunks, behind, strict=True):
            self._held[slot] += chunk
            end += count
            row.fed(self._held[slot], count, end)
        width = max(len(chunk) for _, chunk in chunks)
        if exact and width <= WIDEST:
            self._pace.measure(len(rows), width, seconds)
        return logits

    def _guess(self, rows: list[Row], chunks: list[tuple[int, list[int]]], behind: list[int]) -> None:
        """Append guesses to the chunks where they pay, and count them in `behind`."""
        fed = [len(chunk) for _, chunk in chunks]
        if max(fed) >= WIDEST:
            return
        guesses = [
            row.guess(WIDEST - count) if row.cached + count == len(row.ids) else None
            for row, count in zip(rows, fed, strict=True)
        ]
        if not any(guesses):
            return
        if self._cache.exact:
            width = self._pace.width(fed, [(guess.kind, len(guess.ids)) if guess else ("", 0) for guess in guesses])
        else:
            width = FIXED_LONE if len(rows) == 1 else FIXED_BATCH
        for place, (guess, (slot, chunk)) in enumerate(zip(guesses, chunks, strict=True)):
            if guess is not None:
                taken = guess.ids[: max(0, width - len(chunk))]
                self._guessed[slot] = guess.kind, rows[place].cached + len(chunk), len(taken)
                chunk += taken
                behind[place] += len(taken)

    def release(self, slot: int) -> None:
        """Free a slot; what its row began with stays, to be shared."""
        del self.rows[slot]
        self._guessed.pop(slot, None)
        # What the row wrote is of no use to others, and a free slot with room keeps its neighbours' bits the same.
        self._truncate(slot, self._prompt[slot])

    def clear(self) -> None:
        """Free all slots; what the cache holds stays, to be shared."""
        self.rows.clear()
        self._unfed.clear()
        self._guessed.clear()

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
