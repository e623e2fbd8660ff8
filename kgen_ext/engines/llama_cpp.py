"""A llama.cpp context as a cache of rows: one batched decode a step, and the same bits for a row in any company.

Refuses to know how the model was loaded and what its tokens mean.

On the CPU a row's logits are the same to the bit in any company, given the same chunks, because
    * each row has a KV stream of its own (`kv_unified` off; measured faster, too), so its cells lie in its own order;
    * flash attention is off: its sums depend on the number of tokens in the call;
    * one token for each of many rows is one call, never for fewer than two rows: products of one column take another
      path in the library, so a row without company gets some that is forgotten, unless a trial at the first cache shows
      that it makes no difference (with Q8_0 it makes none, and costs a fifth);
    * a longer chunk is a call of its own, or its tokens would be split by the lengths of the others.
With F16 and F32 weights a token fed alone and fed within a chunk differ in the last bits; with Q8_0 not even that.

llama.cpp through llama-cpp-python's low-level functions: a GGUF model, its vocabulary, where it runs.

Refuses to know the library's samplers, chat formats and high-level classes; decoding is `llama_cpp_cache`'s. Log lines
are kept for error messages only.
"""
from __future__ import annotations

import ctypes
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np

from kgen_ext.engine import Vocab
from kgen_ext.engines.devices import llama_placement
from kgen_ext.engines.gguf import KNOWN, check_gguf
from kgen_ext.engines.llama_cpp_bindings import UPDATE, Library, open_library, own_threads
from kgen_ext.engines.rows import RowLengths
from kgen_ext.engines.tokenizer import whole_text
from kgen_ext.errors import EngineError, EngineUnavailable, ModelFileError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_BATCH = 256  # tokens a call: longer chunks are fed in pieces; twice as many cost memory and gain nothing
_TRIAL = tuple(range(3, 19))  # any tokens do
GAP = 4  # so many idle rows are computed along rather than a run of rows broken in two


class LlamaCppCache:
    """A llama.cpp context; row r is sequence r, and a spare one comes after the last."""

    def __init__(self, engine: LlamaCppEngine, rows: int, n_ctx: int) -> None:
        self.rows = rows
        self.n_ctx = n_ctx
        self._lengths = RowLengths(rows=rows, n_ctx=n_ctx, limit=engine.n_ctx)
        self._engine, self._lib = engine, engine.lib
        if not engine.model:
            raise EngineError("the engine is closed", hint="load it again")
        self._size = max(MAX_BATCH, rows + 1)
        self._context = self._lib.open_context(
            engine.model, rows=rows + 1, n_ctx=n_ctx, size=self._size, threads=engine.threads
        )
        self._memory = self._lib.memory(self._context)
        self._batch = self._lib.api.llama_batch_init(self._size, 0, 1)
        view = lambda pointer: np.ctypeslib.as_array(pointer, (self._size,))  # noqa: E731
        self._token, self._pos = view(self._batch.token), view(self._batch.pos)
        self._wanted = view(self._batch.logits)
        view(self._batch.n_seq_id)[:] = 1
        # seq_id points to a small array for each token; made to point into one array, it is filled in one write.
        self._seq = np.zeros(self._size, np.int32)
        self._pointers = view(ctypes.cast(self._batch.seq_id, ctypes.POINTER(ctypes.c_size_t)))
        self._own_pointers = self._pointers.copy()
        self._pointers[:] = self._seq.ctypes.data + np.arange(self._size) * self._seq.itemsize
        self._laid_out: tuple[list[int], list[int]] = ([], [])
        self._viewed = (0, 0)
        self._view = np.empty((0, 0), np.float32)
        if engine.lone_rows_differ is None and n_ctx > len(_TRIAL):
            engine.lone_rows_differ = self._lone_row_differs()

    def forward(self, chunks: Sequence[tuple[int, Sequence[int]]]) -> NDArray[np.float32]:
        """Append the chunks and return the logits behind each."""
        self._lengths.check_chunks(chunks, n_vocab=len(self._engine.vocab))
        single = {row: tokens[0] for row, tokens in chunks if len(tokens) == 1}
        if len(single) == len(chunks):
            logits, given = self._step(single)
            if given[: len(chunks)] == [row for row, _ in chunks]:
                return logits[: len(chunks)]
            return logits[[given.index(row) for row, _ in chunks]]
        out = np.empty((len(chunks), len(self._engine.vocab)), np.float32)
        if single:
            logits, given = self._step(single)
            for at, (row, _) in enumerate(chunks):
                if row in single:
                    out[at] = logits[given.index(row)]
        for at, (row, tokens) in enumerate(chunks):
            if row not in single:
                out[at] = self._feed(row, tokens)
        return out

    def length(self, row: int) -> int:
        """Return how many tokens the row holds."""
        self._lengths.check_row(row)
        return self._lengths.held[row]

    def truncate(self, row: int, length: int) -> None:
        """Forget the row's tokens from `length` on."""
        self._lengths.truncate(row, length)
        self._lib.seq_rm(self._memory, row, length, -1)

    def fork(self, source: int, target: int, length: int) -> None:
        """Copy the source's stream, then cut it: streams are copied whole."""
        self._lengths.fork(source, target, length)
        if source != target:
            self._lib.seq_rm(self._memory, target, -1, -1)
            self._lib.seq_cp(self._memory, source, target, -1, -1)
        self._lib.seq_rm(self._memory, target, length, -1)

    def share(self, count: int) -> None:
        """Use as many threads as `count` caches leave each other; the bits do not depend on it."""
        threads = max(1, self._engine.threads // count)
        self._lib.api.llama_set_n_threads(self._context, threads, threads)

    def close(self) -> None:
        """Free the context."""
        if self._lengths.closed:
            return
        self._lengths.closed = True
        self._pointers[:] = self._own_pointers  # each is freed with the batch
        self._view = np.empty((0, 0), np.float32)
        self._lib.api.llama_batch_free(self._batch)
        self._lib.api.llama_free(self._context)

    def _lone_row_differs(self) -> bool:
        """Compute a token alone and again in company, behind the same chunk, and compare the bits."""
        found = []
        for company in (False, True):
            self._engine.lone_rows_differ = company
            self._feed(0, _TRIAL)
            found.append(self._step({0: _TRIAL[0]})[0][0].copy())
            self.truncate(0, 0)
        return not np.array_equal(*found)

    def _step(self, tokens: dict[int, int]) -> tuple[NDArray[np.float32], list[int]]:
        """Feed one token to each row of `tokens`; return logits, and the rows they belong to."""
        held, rows, lone = self._lengths.held, sorted(tokens), False
        if len(rows) < 2 or rows[-1] - rows[0] >= len(rows):
            rows, lone = self._fill_up(rows)
        count = len(rows)
        at = [held[row] if row < self.rows else 0 for row in rows]
        self._token[:count] = [tokens.get(row, 0) for row in rows]
        self._pos[:count] = at
        given = rows if lone or count == len(tokens) else [row for row in rows if row in tokens]
        if self._laid_out != (rows, given):  # as a rule a step has the rows of the last one
            self._seq[:count] = rows
            self._wanted[:count] = 1 if given is rows else [row in tokens for row in rows]
            self._laid_out = (rows, given)
        self._decode(count)
        for row, place in zip(rows, at, strict=True):
            if row in tokens:
                held[row] += 1
            else:
                self._lib.seq_rm(self._memory, row, place, -1)
        return self._logits(len(given)), given

    def _fill_up(self, rows: list[int]) -> tuple[list[int], bool]:
        """Add idle rows, in small gaps and beside a row without neighbour; tell whether there was one of those.

        The library computes runs of consecutive sequences, and each run costs a pass over all weights.
        """
        room = [*(length < self.n_ctx for length in self._lengths.held), True]
        filled = set(rows)
        for left, right in pairwise(rows):
            between = range(left + 1, right)
            if len(between) <= GAP and all(room[one] for one in between):
                filled.update(between)
        lone = False
        for row in () if self._engine.lone_rows_differ is False else rows:
            if row - 1 not in filled and row + 1 not in filled:
                lone = True
                filled.update([one for one in (row + 1, row - 1) if one >= 0 and room[one]][:1])
        return sorted(filled), lone

    def _feed(self, row: int, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Feed one row a chunk, in calls of at most MAX_BATCH tokens, and return its last logits."""
        held, self._laid_out = self._lengths.held, ([], [])
        begin = 0
        while begin < len(tokens):
            # Never a call for one token: it would have other last bits than within a chunk.
            count = MAX_BATCH - 1 if len(tokens) - begin == MAX_BATCH + 1 else MAX_BATCH
            part = tokens[begin : begin + count]
            begin += count
            count = len(part)
            self._seq[:count] = row
            self._token[:count] = part
            self._pos[:count] = np.arange(held[row], held[row] + count)
            self._wanted[:count] = 0
            self._wanted[count - 1] = 1
            self._decode(count)
            held[row] += count
        return self._logits(1)[0]

    def _decode(self, count: int) -> None:
        self._batch.n_tokens = count
        self._lib.log.clear()
        status = self._lib.api.llama_decode(self._context, self._batch)
        if status != 0:
            for row in set(self._seq[:count].tolist()):
                self._lib.seq_rm(self._memory, row, self._lengths.held[row], -1)
            raise EngineError(f"llama_decode returned {status}{self._lib.log.reason()}")

    def _logits(self, count: int) -> NDArray[np.float32]:
        """Return a view of the library's own memory, made anew only when that has moved or must reach further."""
        pointer = self._lib.api.llama_get_logits(self._context)
        place = (ctypes.addressof(pointer.contents), count)
        if place != self._viewed:
            self._viewed, self._view = place, np.ctypeslib.as_array(pointer, (count, len(self._engine.vocab)))
        return self._view


WORTH_TWO_LANES = 4  # rows: with fewer, each half would compute little more than a lone row
SMALL = 64 << 20  # bytes: a larger model is read from memory at every step, and by two lanes twice
UNKNOWN, UNUSED, CONTROL, USER_DEFINED = 1 << 0, 1 << 1, 1 << 3, 1 << 4  # token attributes of llama.h


class LlamaCppEngine:
    """A loaded GGUF."""

    def __init__(
        self, path: Path, *, device: str = "auto", threads: int | None = None, n_ctx: int | None = None
    ) -> None:
        self.name = "llama_cpp"
        architecture = check_gguf(path)
        self.lib: Library = open_library()
        self.threads = threads or own_threads()
        self.lone_rows_differ: bool | None = None  # not tried yet
        placed = llama_placement(device, offload=bool(self.lib.api.llama_supports_gpu_offload()))
        if placed is None:
            raise EngineUnavailable(f"this llama-cpp-python is built without {device}", hint="use device cpu")
        params = self.lib.api.llama_model_default_params()
        params.n_gpu_layers, gpu = placed
        if gpu is not None:
            params.main_gpu, params.split_mode = gpu, 0  # all of it on that one
        self._on_cpu = params.n_gpu_layers == 0
        self.lib.log.clear()
        self.model: Any = self.lib.load_model(str(path).encode(), params)
        if not self.model:
            if "unknown model architecture" in self.lib.log.reason():
                raise EngineUnavailable(
                    f"{path}: this llama-cpp-python{self.lib.version} is too old for its architecture, {architecture}",
                    hint=f"{UPDATE} (needs {KNOWN[architecture]} or later)",
                )
            raise ModelFileError(
                f"{path}: llama.cpp cannot load it{self.lib.log.reason()}",
                hint=f"download it again, or {UPDATE} if it is newer than the library",
            )
        self._vocab = self.lib.get_vocab(self.model)
        trained = int(self.lib.n_ctx_train(self.model))
        self.n_ctx = min(n_ctx or trained, trained)
        self._size = path.stat().st_size
        self.vocab = self._read_vocab()
        self._caches: WeakSet[LlamaCppCache] = WeakSet()

    def tokenize(self, text: str) -> list[int]:
        """Return the ids of text."""
        data = whole_text(text).encode()
        room = len(data) + 8
        out = (ctypes.c_int32 * room)()
        # The library stops at no NUL: it is given the length.
        count = self.lib.api.llama_tokenize(self._vocab, data, len(data), out, room, False, True) if data else 0
        if count < 0:
            raise EngineError(f"llama.cpp cannot tokenise a text of {len(data)} bytes")
        return out[:count]

    def lanes(self, rows: int) -> int:
        """Return 2 for a batch of a small model on the CPU: one half is computed while our work is done for the other.

        Such a model's threads spend much of their time waiting for each other, too.
        """
        return 2 if self._on_cpu and self.threads > 1 and rows >= WORTH_TWO_LANES and self._size <= SMALL else 1

    def open_cache(self, rows: int, n_ctx: int) -> LlamaCppCache:
        """Return an empty cache."""
        cache = LlamaCppCache(self, rows, n_ctx)
        self._caches.add(cache)
        return cache

    def close(self) -> None:
        """Free the model, and before it the caches still open, which would look into it."""
        for cache in tuple(self._caches):
            cache.close()
        if self.model:
            self.lib.free_model(self.model)
            self.model = None

    def _read_vocab(self) -> Vocab:
        api = self.lib.api
        size = int(self.lib.n_tokens(self._vocab))
        buffer = ctypes.create_string_buffer(1024)
        pieces, special = [], {}
        for token in range(size):
            attributes = int(self.lib.attributes(self._vocab, token))
            named = bool(attributes & (CONTROL | UNKNOWN))
            count = api.llama_token_to_piece(self._vocab, token, buffer, len(buffer), 0, named)
            text = buffer.raw[: max(count, 0)]
            # Converters of early 2024 (DanTagGen's files) wrote added tokens as user defined, whatever they are for.
            named = named or (bool(attributes & USER_DEFINED) and text.startswith(b"<|") and text.endswith(b"|>"))
            if named:
                special[text.decode("utf-8", "replace")] = token
            pieces.append(b"" if named or attributes & UNUSED else text)
        bos, eos = int(self.lib.bos(self._vocab)), int(self.lib.eos(self._vocab))
        if eos < 0:
            raise ModelFileError("the GGUF names no token that ends a text (tokenizer.ggml.eos_token_id)")
        return Vocab(tuple(pieces), special, bos if bos >= 0 else None, eos)
