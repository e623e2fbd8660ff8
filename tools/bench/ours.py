"""Our runtime: the service on the llama.cpp engine, with a cache that counts its work.

Every turn has a fresh expander, so nothing is remembered; its cache is opened for as many rows by other prompts.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from kgen_ext.engines import load_engine
from kgen_ext.events import Expansion, Finished, Started
from kgen_ext.models import resolve
from kgen_ext.protocol import Protocol
from kgen_ext.request import ExpandRequest
from kgen_ext.rules.blocklist import load_blocklist
from kgen_ext.sampling import Sampling
from kgen_ext.service import ROWS
from kgen_ext.service.expander import Expander
from kgen_ext.service.plan import ModelContext
from tools.bench.queries import Query
from tools.bench.turn import Outcome, Turn, Work

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kgen_ext.engine import Cache, Engine
    from kgen_ext.rules.blocklist import Blocklist

# Defaults of the reference's WebUI extension (z-tipo-extension, scripts/tipo.py), so that both do equal work.
SAMPLING = Sampling(temperature=0.5, top_k=80, top_p=0.95, min_p=0.0)
_TRAINED_CTX = 1024


class CountedCache:
    """An engine's cache; `count` is called for every forward pass."""

    def __init__(self, cache: Cache, count: Callable[[Work], None]) -> None:
        self._cache = cache
        self._count = count
        self.rows = cache.rows
        self.n_ctx = cache.n_ctx
        self.length = cache.length
        self.truncate = cache.truncate
        self.fork = cache.fork
        self.close = cache.close

    def forward(self, chunks: Sequence[tuple[int, Sequence[int]]]) -> NDArray[np.float32]:
        """Forward the chunks and count them."""
        began = perf_counter()
        logits = self._cache.forward(chunks)
        self._count(Work(1, len(chunks), sum(len(ids) for _, ids in chunks), perf_counter() - began))
        return logits


class CountedEngine:
    """Engine with counting caches; `work` is their sum. Closing it leaves the model loaded."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name = engine.name
        self.vocab = engine.vocab
        self.n_ctx = engine.n_ctx
        self.tokenize = engine.tokenize
        self.work = Work()

    def reset(self) -> None:
        """Start counting anew."""
        self.work = Work()

    def open_cache(self, rows: int, n_ctx: int) -> Cache:
        """Return the engine's cache, counted."""
        return CountedCache(self._engine.open_cache(rows, n_ctx), self._add)

    def _add(self, work: Work) -> None:
        self.work = _sum(self.work, work)

    def close(self) -> None:
        """Do nothing: the next turn uses the same model."""


class Ours:
    """The service as `open_expander` builds it, on a counting engine. blocklist: the model's, from the catalogue."""

    def __init__(self, engine: Engine, *, model: str = "", blocklist: Blocklist | None = None) -> None:
        self._engine = CountedEngine(engine)
        self._model = model
        self._blocklist = blocklist

    def run(self, queries: Sequence[Query], at_once: int) -> Turn:
        """Answer the queries, `at_once` of them in each call."""
        return self._turn(queries, at_once, lambda: False)

    def queue(self, queries: Sequence[Query], rows: int) -> Turn:
        """Answer all the queries in one call, `rows` of them in the batch at any time."""
        with self._expander(rows) as expander:
            return self._timed([(expander, queries)], lambda: False)

    def steps(self, queries: Sequence[Query], at_once: int, length: int) -> Turn:
        """Stop every call after `length` steps of the batch."""
        return self._turn(queries, at_once, lambda: self._engine.work.calls >= length)

    def _turn(self, queries: Sequence[Query], at_once: int, stop: Callable[[], bool]) -> Turn:
        with self._expander(max(ROWS, at_once)) as expander:
            parts = [queries[start : start + at_once] for start in range(0, len(queries), at_once)]
            return self._timed([(expander, part) for part in parts], stop)

    @contextmanager
    def _expander(self, rows: int) -> Iterator[Expander]:
        engine = self._engine
        context = ModelContext(
            engine=engine, protocol=Protocol.TIPO, quality_line=False, n_ctx=min(engine.n_ctx, _TRAINED_CTX),
            blocklist=self._blocklist,
        )  # fmt: skip
        with Expander(context, model=self._model, checksum="", rows=rows) as expander:
            steps = iter(range(8))
            warm = [ExpandRequest("warm", seed=seed) for seed in range(rows)]
            expander.expand(warm, cancelled=lambda: next(steps, None) is None)
            engine.reset()
            yield expander

    def _timed(self, calls: Sequence[tuple[Expander, Sequence[Query]]], stop: Callable[[], bool]) -> Turn:
        outcomes, seconds, work = list[Outcome](), 0.0, Work()
        for expander, queries in calls:
            self._engine.reset()
            requests = [request_of(query) for query in queries]
            started, done = dict[int, int](), dict[int, Expansion]()
            began = perf_counter()
            for event in expander.stream(requests, cancelled=stop):
                if isinstance(event, Started):
                    started[event.row] = started.get(event.row, 0) + 1
                elif isinstance(event, Finished):
                    done[event.row] = event.expansion
            seconds += perf_counter() - began
            work = _sum(work, self._engine.work)
            owners = [query for query in queries for _ in range(query.count)]
            outcomes += [self._outcome(owners[row], done[row], started.get(row, 0)) for row in sorted(done)]
        return Turn(seconds, tuple(outcomes), work)

    def _outcome(self, query: Query, expansion: Expansion, calls: int) -> Outcome:
        fields = expansion.fields
        added = "".join(f", {tag}" for tag in expansion.added_tags)
        return Outcome(
            tags=(*fields.special, *fields.general),
            added=expansion.added_tags,
            text=expansion.added_text,
            calls=calls,
            drawn=expansion.decoded_tokens,
            fed=expansion.decoded_tokens + expansion.forced_tokens,
            kept=len(self._engine.tokenize(added)) + len(self._engine.tokenize(expansion.added_text)),
        )


def open_ours(model: str, threads: int) -> Ours:
    """Load a GGUF file into the llama.cpp engine, with the blocklist of its catalogue entry."""
    files = resolve(model)
    words = files.entry and files.entry.blocklist
    return Ours(
        load_engine("llama_cpp", folder=None, gguf=files.gguf or Path(model), threads=threads),
        model=files.id,
        blocklist=load_blocklist(words) if words else None,
    )


def request_of(query: Query) -> ExpandRequest:
    """Return the query as an ExpandRequest."""
    return ExpandRequest(
        query.tags,
        text=query.text,
        tag_length=query.tag_length,
        text_length=query.text_length,
        ban=query.bans,
        seed=query.seed,
        count=query.count,
        **asdict(SAMPLING),
    )


def _sum(left: Work, right: Work) -> Work:
    return Work(
        left.calls + right.calls,
        left.chunks + right.chunks,
        left.tokens + right.tokens,
        left.seconds + right.seconds,
    )
