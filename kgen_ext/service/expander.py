"""The use case: requests in, a stream of events out, on one loaded model.

`expand` is a fold over `stream`. Knows no command line and no host.
"""
from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Any

from kgen_ext import __version__
from kgen_ext.decoding.loop import BatchDecoder
from kgen_ext.decoding.row import Job, RowOutput
from kgen_ext.decoding.sampler import derive_seed
from kgen_ext.decoding.vocabulary import token_table
from kgen_ext.errors import EngineError
from kgen_ext.events import Event, Expansion, Finished
from kgen_ext.request import ExpandRequest
from kgen_ext.rules.known import TagFiles
from kgen_ext.service.cache import Key, ResultCache
from kgen_ext.service.plan import (
    ExpansionPlan,
    ModelContext,
    ResolvedRequest,
    check_servable,
    make_jobs,
    plan_expansion,
)
from kgen_ext.service.result import build_expansion

if TYPE_CHECKING:
    from kgen_ext.decoding.vocabulary import TokenTable
    from kgen_ext.engine import Cache

_REMEMBERED = 512


@dataclass(slots=True)
class _PendingRow:
    """A row on its way: its jobs, and what came of each."""

    prepared: ExpansionPlan
    seed: int
    jobs: tuple[Job | None, ...]
    hidden: int
    began: float
    written: dict[int, RowOutput]


class Expander:
    """Expands prompts with one model. Safe for several threads: they take turns, and equal requests run once."""

    def __init__(self, speaker: ModelContext, *, model: str, checksum: str, rows: int, reason: str = "") -> None:
        self.model = model
        self.engine = speaker.engine.name
        self.reason = reason  # why this engine runs it
        self._speaker = speaker
        self._checksum = checksum
        self._rows = rows
        self._lock = threading.Lock()
        self._owner: int | None = None
        self._results = ResultCache(_REMEMBERED)
        self._tag_files = TagFiles()
        self._table: TokenTable | None = None
        self._caches: list[Cache] = []
        self._decoder: BatchDecoder | None = None

    def __enter__(self) -> Expander:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def expand(
        self, requests: Sequence[ExpandRequest], *, cancelled: Callable[[], bool] = lambda: False
    ) -> list[Expansion]:
        """Return one expansion for each row, in order; a request with count N gives N rows."""
        done = [event.expansion for event in self.stream(requests, cancelled=cancelled) if isinstance(event, Finished)]
        return sorted(done, key=lambda expansion: expansion.row)

    def stream(
        self, requests: Sequence[ExpandRequest], *, cancelled: Callable[[], bool] = lambda: False
    ) -> Generator[Event, None, None]:
        """Yield events as rows are decoded; every row ends with `Finished`, in the order they finish.

        `cancelled` is asked before each step of the batch; what is whole by then is kept, with finish=cancelled. All
        requests are checked when this is called, for what they ask and for what this model can write: raises UserError
        for the first that is wrong. Only an expression too slow on what the model writes raises BadPattern later.
        """
        recommended, blocklist = self._speaker.recommended, self._speaker.blocklist
        plan = list[ExpansionPlan]()
        for request in requests:
            plan.append(plan_expansion(request, self._tag_files, recommended, blocklist))
            check_servable(plan[-1], self._speaker)
        return self._stream(plan, cancelled)

    @property
    def module(self) -> Any:
        """Return the torch module that runs the model, for hosts that move modules about; None where torch does not."""
        return getattr(self._speaker.engine, "model", None) if self.engine == "transformers" else None

    @property
    def module_device(self) -> Any:
        """Return the device where `module` has to be while it runs."""
        return getattr(self._speaker.engine, "device", None)

    def release(self) -> None:
        """Give back what is kept between calls beside the weights: keys and values."""
        with self._lock:
            self._drop_cache()

    def close(self) -> None:
        """Give the model's memory back. May be called twice."""
        with self._lock:
            self._drop_cache()
            self._speaker.engine.close()

    def _stream(self, plan: Sequence[ExpansionPlan], cancelled: Callable[[], bool]) -> Generator[Event, None, None]:
        if self._owner == threading.get_ident():
            raise EngineError("a stream of this expander is still open here", hint="read it to its end or close it")
        with self._lock:
            self._owner = threading.get_ident()
            try:
                yield from self._decode(plan, cancelled)
            except Exception:
                # What the cache holds after a failed step is not known.
                self._drop_cache()
                raise
            finally:
                self._owner = None

    def _decode(self, plan: Sequence[ExpansionPlan], cancelled: Callable[[], bool]) -> Iterator[Event]:
        # Rows that ask the same share one decode; the key is the request that gives this row alone.
        sharing: dict[ResolvedRequest, list[int]] = {}
        todo = list[tuple[ResolvedRequest, ExpansionPlan, int]]()
        row = 0
        for prepared in plan:
            request = prepared.request
            for variant in range(request.count):
                seed = derive_seed(request.seed, variant)
                alone = replace(request, seed=seed, count=1)
                known = self._results.get(self._key(alone, prepared), row=row)
                if known is not None:
                    yield Finished(row, known)
                elif alone in sharing:
                    sharing[alone].append(row)
                else:
                    sharing[alone] = [row]
                    todo.append((alone, prepared, row))
                row += 1
        if not todo:
            return  # all of it was remembered: no cache is opened for that
        units: dict[int, _PendingRow] = {}
        rows = sum(len(one.subjects) for _, one, _ in todo)
        for item in self._ready(rows).run(self._jobs(todo, units), cancelled=cancelled):
            if not isinstance(item, tuple):
                yield item
                continue
            job, written = item
            unit = units[job.row]
            unit.written[job.subject] = written
            if len(unit.written) == sum(one is not None for one in unit.jobs):
                yield from self._finish(unit, sharing, job.row)
                del units[job.row]

    def _jobs(
        self, todo: Sequence[tuple[ResolvedRequest, ExpansionPlan, int]], units: dict[int, _PendingRow]
    ) -> Iterator[Job]:
        for alone, prepared, row in todo:
            jobs, hidden = make_jobs(prepared, self._speaker, row=row, seed=alone.seed)
            units[row] = _PendingRow(prepared, alone.seed, jobs, hidden, perf_counter(), {})
            yield from (job for job in jobs if job is not None)

    def _finish(self, unit: _PendingRow, sharing: dict[ResolvedRequest, list[int]], row: int) -> Iterator[Event]:
        expansion = build_expansion(
            unit.prepared,
            [unit.written.get(index) for index in range(len(unit.jobs))],
            row=row,
            seed=unit.seed,
            model=self.model,
            engine=self.engine,
            hidden=unit.hidden,
            seconds=perf_counter() - unit.began,
        )
        alone = replace(unit.prepared.request, seed=unit.seed, count=1)
        self._results.put(self._key(alone, unit.prepared), expansion)
        for one in sharing[alone]:
            yield Finished(one, replace(expansion, row=one))

    def _key(self, alone: ResolvedRequest, prepared: ExpansionPlan) -> Key:
        known = prepared.rules.known
        return Key(alone, known.version if known is not None else "", self._checksum, self.engine, __version__)

    def _drop_cache(self) -> None:
        if self._decoder is not None:
            self._decoder.close()
        for cache in self._caches:
            cache.close()
        self._caches, self._decoder = [], None

    def _ready(self, rows: int) -> BatchDecoder:
        """Return a decoder with places for so many rows, `self._rows` at the most.

        It is kept, and with it what the next call can reuse; a single prompt does not pay for a whole batch's cache.
        """
        wanted = min(self._rows, 1 << max(0, rows - 1).bit_length())
        if self._decoder is None or sum(cache.rows for cache in self._caches) < wanted:
            self._drop_cache()
            engine, n_ctx = self._speaker.engine, self._speaker.n_ctx
            self._table = self._table or token_table(engine)
            lanes = engine.lanes(wanted)
            for lane in range(lanes):
                self._caches.append(engine.open_cache((wanted + lane) // lanes, n_ctx))
            self._decoder = BatchDecoder(self._caches, self._table)
        return self._decoder
