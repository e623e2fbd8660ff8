"""The expander: requests in, a stream of events out, on one loaded model."""
from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Any

from kgen_ext import __version__
from kgen_ext.decoding.drafter import Drafter
from kgen_ext.decoding.job import Job
from kgen_ext.decoding.loop import BatchDecoder
from kgen_ext.decoding.own_prior import OwnPrior
from kgen_ext.decoding.pace import Pace
from kgen_ext.decoding.prior import Prior
from kgen_ext.decoding.row import RowOutput
from kgen_ext.decoding.sampler import derive_seed
from kgen_ext.decoding.vocabulary import token_table
from kgen_ext.errors import EngineError
from kgen_ext.events import Event, Expansion, Finished
from kgen_ext.models.priors import find_prior
from kgen_ext.request import ExpandRequest
from kgen_ext.rules.known import TagFiles, file_version
from kgen_ext.service.cache import DecodedRow, Key, ResultCache, without_format
from kgen_ext.service.plan import (
    ExpansionPlan,
    ModelContext,
    ResolvedRequest,
    check_servable,
    make_jobs,
    plan_expansion,
)
from kgen_ext.service.result import build_expansion
from kgen_ext.service.scripts import hide_unreadable
from kgen_ext.tags.pair_table import read_pair_table

if TYPE_CHECKING:
    from pathlib import Path

    from kgen_ext.decoding.vocabulary import TokenTable
    from kgen_ext.engine import Cache

_REMEMBERED = 512  # finished rows


@dataclass(frozen=True, slots=True)
class _RowRequest:
    """A row to be decoded: its request alone (count 1, its own seed), the plan it comes from, and its number."""

    request: ResolvedRequest
    plan: ExpansionPlan
    row: int


@dataclass(frozen=True, slots=True)
class _PendingRow:
    """In-flight row: its decode jobs, one a subject, and their outputs by subject."""

    asked: _RowRequest
    jobs: tuple[Job | None, ...]
    hidden: int
    began: float
    outputs: dict[int, RowOutput]

    @property
    def complete(self) -> bool:
        """Return whether all jobs are done."""
        return len(self.outputs) == sum(job is not None for job in self.jobs)

    @property
    def written(self) -> DecodedRow:
        """Return what was decoded, once it is complete."""
        outputs = tuple(self.outputs.get(subject) for subject in range(len(self.jobs)))
        return DecodedRow(outputs, self.hidden, perf_counter() - self.began)


class Expander:
    """Expands prompts with one model. Safe for several threads: they take turns, and equal requests run once."""

    def __init__(self, context: ModelContext, *, model: str, checksum: str, rows: int, reason: str = "") -> None:
        self.model = model
        self.engine = context.engine.name
        self.reason = reason  # why this engine runs it
        self._context = context
        self._checksum = checksum
        self._rows = rows
        self._lock = threading.Lock()
        self._owner: int | None = None
        self._results = ResultCache(_REMEMBERED)
        self._tag_files = TagFiles()
        self._table: TokenTable | None = None
        self._drafter: Drafter | None = None
        self._prior: Prior | None = None
        self._own: tuple[Path, str, OwnPrior] | None = None  # with its file and the version of it
        self._pace = Pace()
        self._cache: Cache | None = None
        self._decoder: BatchDecoder | None = None
        self._calls = 0  # of decoders that are gone

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

        cancelled: asked before each step of the batch; what is complete by then is kept, with finish=cancelled.
        All requests are checked in the call itself, for what they ask and for what this model can write: raises
        UserError for the first that is wrong. Later, BadPattern for an expression too slow on what the model writes.
        """
        for name in {request.yours for request in requests if request.yours}:
            find_prior(name)
        recommended, blocklist = self._context.recommended, self._context.blocklist
        plans = list[ExpansionPlan]()
        for request in requests:
            plan = plan_expansion(request, self._tag_files, recommended, blocklist)
            plans.append(check_servable(plan, self._context))
        return self._stream(plans, cancelled)

    @property
    def calls(self) -> int:
        """Return how often the engine was called so far, by all streams."""
        return self._calls + (self._decoder.calls if self._decoder is not None else 0)

    @property
    def module(self) -> Any:
        """Return the torch module that runs the model, for hosts that move modules; None where it is not torch."""
        return getattr(self._context.engine, "model", None) if self.engine == "transformers" else None

    @property
    def module_device(self) -> Any:
        """Return the device that `module` has to be on while it runs."""
        return getattr(self._context.engine, "device", None)

    def release(self) -> None:
        """Free the keys and values kept between calls; the weights stay loaded."""
        with self._lock:
            self._drop_cache()

    def close(self) -> None:
        """Free the model's memory. May be called twice."""
        with self._lock:
            self._drop_cache()
            self._context.engine.close()

    def _stream(self, plans: Sequence[ExpansionPlan], cancelled: Callable[[], bool]) -> Generator[Event, None, None]:
        if self._owner == threading.get_ident():
            raise EngineError("a stream of this expander is still open here", hint="read it to its end or close it")
        with self._lock:
            self._owner = threading.get_ident()
            try:
                yield from self._decode(plans, cancelled)
            except Exception:
                # What the cache holds after a failed step is not known.
                self._drop_cache()
                raise
            finally:
                self._owner = None

    def _decode(self, plans: Sequence[ExpansionPlan], cancelled: Callable[[], bool]) -> Iterator[Event]:
        plans = [hide_unreadable(plan, self._context.engine) for plan in plans]
        # 1. Answer rows from the result cache; rows with equal requests share one decode.
        rows_of: dict[Key, list[_RowRequest]] = {}
        row = 0
        for plan in plans:
            for variant in range(plan.request.count):
                asked = _RowRequest(
                    replace(plan.request, seed=derive_seed(plan.request.seed, variant), count=1), plan, row
                )
                key = self._key(asked)
                remembered = self._results.get(key)
                if remembered is not None:
                    yield Finished(row, self._expansion(asked, remembered))
                else:
                    rows_of.setdefault(key, []).append(asked)
                row += 1
        if not rows_of:
            return  # no cache is opened for this
        # 2. Decode the others. A row is finished when all of its subjects are.
        todo = [rows[0] for rows in rows_of.values()]
        pending: dict[int, _PendingRow] = {}
        decoder = self._open_decoder(sum(len(asked.plan.subjects) for asked in todo))
        for item in decoder.run(self._make_jobs(todo, pending), cancelled=cancelled):
            if not isinstance(item, tuple):
                yield item
                continue
            job, output = item
            pending[job.row].outputs[job.subject] = output
            if pending[job.row].complete:
                done = pending.pop(job.row)
                key, written = self._key(done.asked), done.written
                self._results.put(key, written)
                for asked in rows_of[key]:
                    yield Finished(asked.row, self._expansion(asked, written))

    def _make_jobs(self, todo: Sequence[_RowRequest], pending: dict[int, _PendingRow]) -> Iterator[Job]:
        for asked in todo:
            prior = self._open_prior() if asked.request.prior else None
            own = self._open_own(asked.request.yours) if asked.request.yours else None
            seed = asked.request.seed
            jobs, hidden = make_jobs(asked.plan, self._context, row=asked.row, seed=seed, prior=prior, own=own)
            pending[asked.row] = _PendingRow(asked, jobs, hidden, perf_counter(), {})
            yield from (job for job in jobs if job is not None)

    def _expansion(self, asked: _RowRequest, written: DecodedRow) -> Expansion:
        return build_expansion(
            asked.plan,
            written.outputs,
            row=asked.row,
            seed=asked.request.seed,
            model=self.model,
            engine=self.engine,
            hidden=written.hidden,
            seconds=written.seconds,
        )

    def _key(self, asked: _RowRequest) -> Key:
        known = asked.plan.rules.known
        version = known.version if known is not None else ""
        own = file_version(find_prior(asked.request.yours)) if asked.request.yours else ""
        return Key(without_format(asked.request), version, own, self._checksum, self.engine, __version__)

    def _open_decoder(self, rows: int) -> BatchDecoder:
        """Return a decoder for a batch of so many rows, at most `self._rows`.

        It is kept for the next call, which can reuse what its cache holds. It is opened no larger than a call needs:
        a single prompt does not pay for a whole batch's cache.
        """
        wanted = min(self._rows, 1 << max(0, rows - 1).bit_length())
        if self._decoder is None or self._cache is None or self._cache.rows < wanted:
            self._drop_cache()
            if self._table is None:
                self._table = token_table(self._context.engine)
                # A server takes as many requests for a guess as the guess has tokens.
                self._drafter = None if self._context.partial else Drafter(self._context.engine, self._table)
            self._cache = self._context.engine.open_cache(wanted, self._context.n_ctx)
            self._decoder = BatchDecoder(self._cache, self._table, drafter=self._drafter, pace=self._pace)
        return self._decoder

    def _open_prior(self) -> Prior | None:
        """Return the prior in the model's vocabulary; made when a row first asks for it, as it takes a moment."""
        if self._prior is None and self._context.load_pairs is not None:
            assert self._table is not None
            self._prior = Prior(self._context.engine, self._table, self._context.load_pairs())
        return self._prior

    def _open_own(self, name: str) -> OwnPrior | None:
        """Return a prior of the user's; the last one is kept until its file changes."""
        if self._context.load_pairs is None:
            return None
        path = find_prior(name)
        version = file_version(path)
        if self._own is None or self._own[:2] != (path, version):
            assert self._table is not None
            pairs = read_pair_table(path)
            own = OwnPrior(self._context.engine, self._table, pairs, self._context.load_pairs())
            self._own = path, version, own
        return self._own[2]

    def _drop_cache(self) -> None:
        if self._cache is not None:
            self._cache.close()
        if self._decoder is not None:
            self._calls += self._decoder.calls
        self._cache = self._decoder = None
