"""Our runtime: the service on one of its engines, with a cache that counts its work.

Every turn has a fresh expander, so nothing is remembered; its cache is opened for as many rows by other prompts.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

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
from tools.bench.replay import fit, replaying, script
from tools.bench.turn import Outcome, Turn

if TYPE_CHECKING:
    from kgen_ext.engine import Engine
    from kgen_ext.rules.blocklist import Blocklist

# Defaults of the reference's WebUI extension (z-tipo-extension, scripts/tipo.py), so that both do equal work.
SAMPLING = Sampling(temperature=0.5, top_k=80, top_p=0.95, min_p=0.0)
_TRAINED_CTX = 1024


class CountedCache:
    """An engine's cache, its forward passes counted by `engine`."""

    def __init__(self, cache: Any, engine: CountedEngine) -> None:
        self._cache = cache
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def forward(self, chunks: Sequence[tuple[int, Sequence[int]]], *wanted: Any) -> Any:
        """Forward the chunks and count them."""
        began = perf_counter()
        logits = self._cache.forward(chunks, *wanted)
        self._engine.count([len(ids) for _, ids in chunks], perf_counter() - began)
        return logits


class CountedEngine:
    """Engine with counting caches. Closing it leaves the model loaded.

    begun: rows whose first chunk, the prompt, is still to come. prompt, steps, inside: as in `Turn`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.reset()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def reset(self) -> None:
        """Start counting anew."""
        self.begun = self.prompt = self.steps = 0
        self.inside = 0.0

    def count(self, lengths: Sequence[int], seconds: float) -> None:
        """Count a forward pass; of its chunks the longest are those of the rows that have begun."""
        first = sorted(lengths, reverse=True)[: self.begun]
        self.prompt += sum(first)
        self.steps += len(lengths) - len(first)
        self.inside += seconds
        self.begun = 0

    def open_cache(self, rows: int, n_ctx: int) -> CountedCache:
        """Return the engine's cache, counted."""
        return CountedCache(self._engine.open_cache(rows, n_ctx), self)

    def close(self) -> None:
        """Do nothing: the next turn uses the same model."""


class Ours:
    """The service as `open_expander` builds it, on a counting engine. blocklist: the model's, from the catalogue."""

    def __init__(self, engine: Engine, *, model: str = "", blocklist: Blocklist | None = None) -> None:
        self._engine: Any = CountedEngine(engine)
        self._model = model
        self._blocklist = blocklist

    def run(self, queries: Sequence[Query], at_once: int) -> Turn:
        """Answer the queries, `at_once` of them in each call."""
        with self._expander(at_once) as expander:
            return self._timed(
                expander, [queries[start : start + at_once] for start in range(0, len(queries), at_once)]
            )

    def queue(self, queries: Sequence[Query], rows: int) -> Turn:
        """Answer all the queries in one call, `rows` of them in the batch at any time."""
        with self._expander(rows) as expander:
            return self._timed(expander, [queries])

    def fit(self, queries: Sequence[Query]) -> list[Query]:
        """Return each query with what this service accepts of its list."""
        return [fit(query, lambda part: self.run([part], 1).outcomes[0]) for query in queries]

    @contextmanager
    def _expander(self, rows: int) -> Iterator[Expander]:
        engine = self._engine
        context = ModelContext(
            engine=engine, protocol=Protocol.TIPO, quality_line=False, n_ctx=min(engine.n_ctx, _TRAINED_CTX),
            blocklist=self._blocklist,
        )  # fmt: skip
        with Expander(context, model=self._model, checksum="", rows=max(ROWS, rows)) as expander:
            steps = iter(range(8))
            warm = [ExpandRequest("warm", seed=seed) for seed in range(rows)]
            expander.expand(warm, cancelled=lambda: next(steps, None) is None)
            yield expander

    def _timed(self, expander: Expander, parts: Sequence[Sequence[Query]]) -> Turn:
        engine, outcomes, seconds = self._engine, list[Outcome](), 0.0
        engine.reset()
        wanted = {key: token for part in parts for query in part for key, token in script(engine, query).items()}
        with replaying(wanted):
            for queries in parts:
                requests = [request_of(query) for query in queries]
                started, done = dict[int, int](), dict[int, Expansion]()
                began = perf_counter()
                for event in expander.stream(requests):
                    if isinstance(event, Started):
                        engine.begun += 1
                        started[event.row] = started.get(event.row, 0) + 1
                    elif isinstance(event, Finished):
                        done[event.row] = event.expansion
                seconds += perf_counter() - began
                owners = [query for query in queries for _ in range(query.count)]
                outcomes += [self._outcome(owners[row], done[row], started.get(row, 0)) for row in sorted(done)]
        return Turn(seconds, tuple(outcomes), engine.inside, engine.prompt, engine.steps)

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


def open_ours(model: str, threads: int, engine: str = "llama_cpp") -> Ours:
    """Load a GGUF file into an engine on the CPU, with the blocklist of its catalogue entry."""
    files = resolve(model)
    words = files.entry and files.entry.blocklist
    return Ours(
        load_engine(engine, folder=None, gguf=files.gguf or Path(model), device="cpu", threads=threads),
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
