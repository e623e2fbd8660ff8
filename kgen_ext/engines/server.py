"""The server engine: a model that llama-server, vLLM or SGLang runs, on this machine or another.

One request a token: the row's token ids go out, the likeliest next tokens come back, and everything else (masks, the
sampler, rules, rollback) happens here as with any engine. The server keeps the keys and values of what it has seen.

A list of the likeliest tokens is as good as all logits where the last of them lies below what the sampler can draw.
Where it does not, the loop asks for more (`PartialCache`), up to the whole vocabulary.

The vocabulary comes from the model's own files, so those are needed here, too. When the engine connects, it compares
the ids of some texts and the logprobs behind them with what the files give.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kgen_ext.engine import Engine
from kgen_ext.engines.json_client import JsonClient
from kgen_ext.engines.rows import RowLengths
from kgen_ext.engines.server_api import Pairs, ServerApi

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

# Tokens to ask for at first, and how many times as many when they do not suffice.
FIRST, MORE = 128, 8
# Texts that are compared. They are text in every vocabulary, whatever the format a model was trained on.
PROBES = ("1girl, fox ears, shrine", "A girl in a red dress stands in front of a shrine")
# Compared are the tokens that the files give at least this share; their logprobs, relative to the best one's, may
# differ by so much: the server's weights may be quantised.
_SHARE, _TOLERANCE = 0.02, 0.5
# Below this llama-server's probabilities, which are float32, are zero.
_ZERO = -1e30
_NAME_IT = "name the model that the server runs with --model"


class Likeliest(NamedTuple):
    """The likeliest tokens behind a row: their ids and logprobs, and what those of all others do not exceed."""

    ids: NDArray[np.int64]
    logprobs: Floats
    floor: float


class ServerEngine:
    """A model on a server. local: the same model opened here; used to tokenise, and once to compare."""

    def __init__(self, client: JsonClient, api: ServerApi, local: Engine) -> None:
        self.name = "server"
        self.vocab = local.vocab
        self._client = client
        self._local = local
        self._api = api
        self.title = f"{api.title} at {client.url}"
        served = api.describe()
        self.n_ctx = min(local.n_ctx, served.n_ctx or local.n_ctx)
        self.slots = served.slots
        self._pool: ThreadPoolExecutor | None = None
        self._compare()
        if local.name != "llama_cpp":  # which tokenises with the model, and only maps its file into memory
            local.close()

    def tokenize(self, text: str) -> list[int]:
        """Return the ids of text."""
        return self._local.tokenize(text)

    def open_cache(self, rows: int, n_ctx: int) -> ServerCache:
        """Return an empty cache."""
        return ServerCache(self, rows, n_ctx)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._local.close()

    def fetch(self, asked: Sequence[tuple[int, list[int], int | None]]) -> list[Likeliest]:
        """Return the likeliest tokens for each (row, token ids, how many; None for the usual), all at the same time."""
        if len(asked) == 1:
            return [self._fetch(*asked[0])]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=64, thread_name_prefix="kgen-server")
        futures = [self._pool.submit(self._fetch, *ask) for ask in asked]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()

    def _fetch(self, row: int, ids: list[int], count: int | None) -> Likeliest:
        size = len(self.vocab)
        count = min(count or FIRST, size)
        found = self._check(self._api.likeliest(ids, count, slot=row), count)
        order = np.argsort(-found.logprobs, kind="stable")[:count]
        logprobs = found.logprobs[order]
        return Likeliest(found.ids[order], logprobs, -math.inf if count >= size else float(logprobs[-1]))

    def _check(self, pairs: Pairs, count: int) -> Likeliest:
        """Return the tokens of an answer; raises EngineError for too few, and for what are no tokens or logprobs."""
        size = len(self.vocab)
        ids = [token for token, _ in pairs]
        if not all(type(token) is int and 0 <= token < size for token in ids):
            raise self._client.fails("a token id outside the model's vocabulary", hint=_NAME_IT)
        if not all(type(logprob) in (int, float) and logprob < -_ZERO for _, logprob in pairs):
            raise self._client.fails("a logprob that is no number", hint="update the server")
        if len(set(ids)) < len(ids):
            raise self._client.fails("a token that is listed twice", hint="update the server")
        if len(ids) < count:
            raise self._client.fails(
                f"{len(ids)} tokens where {count} were asked for", hint="raise the server's limit of logprobs"
            )
        logprobs = [logprob if logprob > _ZERO else -math.inf for _, logprob in pairs]
        return Likeliest(np.array(ids, np.int64), np.array(logprobs, np.float32), -math.inf)

    def _compare(self) -> None:
        """Raise EngineError if the server's tokenizer or model is another than that of the files."""
        for text in PROBES:
            ids, theirs = self._local.tokenize(text), self._api.tokenize(text)
            if theirs is not None and theirs != ids:
                raise self._client.fails(f"its tokenizer is another than the model's: {text!r} differs", hint=_NAME_IT)
        bos = () if self.vocab.bos is None else (self.vocab.bos,)
        prompts = [[*bos, *self._local.tokenize(text)][: self.n_ctx] for text in PROBES]
        cache = self._local.open_cache(1, max(map(len, prompts)))
        try:
            for text, ids in zip(PROBES, prompts, strict=True):
                cache.truncate(0, 0)
                self._compare_logprobs(text, cache.forward([(0, ids)])[0], self._fetch(0, ids, None))
        finally:
            cache.close()

    def _compare_logprobs(self, text: str, logits: Floats, found: Likeliest) -> None:
        best = int(logits.argmax())
        theirs = dict(zip(found.ids.tolist(), found.logprobs.tolist(), strict=True))
        for token in np.flatnonzero(logits - logits[best] >= math.log(_SHARE)).tolist():
            here = float(logits[token] - logits[best])
            there = theirs.get(token, -math.inf) - theirs.get(best, math.inf)
            if not abs(here - there) <= _TOLERANCE:
                piece = self.vocab.pieces[token].decode("utf-8", "replace")
                raise self._client.fails(
                    f"runs another model: behind {text!r}, {piece!r} has a logprob of {there:.2f}, here {here:.2f}, "
                    "relative to the best token's",
                    hint=_NAME_IT,
                )


class ServerCache:
    """The token ids of some rows, and the likeliest tokens behind prefixes of them that were asked for.

    Row r asks for slot r of a server that has slots. A prefix that a row returns to, to draw again behind it, is
    not asked for again.
    """

    def __init__(self, engine: ServerEngine, rows: int, n_ctx: int) -> None:
        self.rows = rows
        self.n_ctx = n_ctx
        self.exact = self.joins = False
        self._engine = engine
        self._lengths = RowLengths(rows=rows, n_ctx=n_ctx, limit=engine.n_ctx)
        self._ids: list[list[int]] = [[] for _ in range(rows)]
        # By row: the longest ids that it begins with and has had, and what is known behind each length of them.
        self._past: list[list[int]] = [[] for _ in range(rows)]
        self._known: list[dict[int, Likeliest]] = [{} for _ in range(rows)]
        self._places = list[tuple[int, int]]()  # row and length behind which the last logits are
        self.floors = list[float]()

    def forward(
        self, chunks: Sequence[tuple[int, Sequence[int]]], behind: Sequence[int] | None = None
    ) -> Floats:
        """Append the chunks and return the logprobs of the likeliest tokens behind each; -inf for all others."""
        counts = self._lengths.check_chunks(chunks, behind, n_vocab=len(self._engine.vocab))
        rows = {row: self._append(row, tokens) for row, tokens in chunks}
        places = [
            (row, end)
            for (row, _), count in zip(chunks, counts, strict=True)
            for end in range(len(rows[row]) - count + 1, len(rows[row]) + 1)
        ]
        asked = [(row, end) for row, end in places if end not in self._known[row]]
        found = self._engine.fetch([(row, rows[row][:end], None) for row, end in asked]) if asked else []
        for row, ids in rows.items():
            self._ids[row], self._lengths.held[row] = ids, len(ids)
        for (row, end), likeliest in zip(asked, found, strict=True):
            self._known[row][end] = likeliest
        self._places = places
        self.floors = [self._known[row][end].floor for row, end in places]
        return np.stack([self._logits(*place) for place in places])

    def extend(self, place: int) -> Floats:
        """Return the logits with the index `place` of the last call again, with more of the likeliest tokens."""
        row, end = self._places[place]
        count = len(self._known[row][end].ids) * MORE
        (self._known[row][end],) = self._engine.fetch([(row, self._ids[row][:end], count)])
        self.floors[place] = self._known[row][end].floor
        return self._logits(row, end)

    def length(self, row: int) -> int:
        """Return how many tokens the row holds."""
        self._lengths.check_row(row)
        return len(self._ids[row])

    def truncate(self, row: int, length: int) -> None:
        """Forget the row's tokens from `length` on."""
        self._lengths.truncate(row, length)
        self._ids[row] = self._ids[row][:length]  # a new list: the old one is the row's past

    def fork(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens; the server finds by itself what it has computed for them."""
        self._lengths.fork(source, target, length)
        self._ids[target] = self._ids[source][:length]
        self._past[target], self._known[target] = self._past[source], dict(self._known[source])

    def close(self) -> None:
        """Forget everything."""
        self._lengths.closed = True
        for row in range(self.rows):
            self._ids[row], self._past[row], self._known[row] = [], [], {}

    def _append(self, row: int, tokens: Sequence[int]) -> list[int]:
        """Return the ids of a row with more behind them, and forget what was known behind others."""
        ids, past = [*self._ids[row], *tokens], self._past[row]
        if past[: len(ids)] != ids:
            differ = (at for at, (mine, other) in enumerate(zip(ids, past, strict=False)) if mine != other)
            common = next(differ, len(past))
            self._known[row] = {end: likeliest for end, likeliest in self._known[row].items() if end <= common}
            self._past[row] = ids
        return ids

    def _logits(self, row: int, end: int) -> Floats:
        likeliest = self._known[row][end]
        logits = np.full(len(self._engine.vocab), -np.inf, np.float32)
        logits[likeliest.ids] = likeliest.logprobs
        return logits
