"""The llama.cpp engine: a GGUF model through llama-cpp-python's low-level functions.

Only the library's model, vocabulary and context are used: none of its samplers, chat formats and high-level classes.
Its log is kept for error messages.

On the CPU a row's logits are bitwise the same whatever other rows share the batch, and in whatever chunks its tokens
came, because
    * each row has a KV stream of its own (`kv_unified` off, which is also faster), so its cells keep their order;
    * attention is the library's fused one, and no call has more than `MAX_CHUNK` tokens of a row: from 64 on the
      library takes them in tiles, whose sums come out otherwise; without fusing, a token's place in a chunk shows;
    * no call is for one token alone: products of one column take another path in the library, so a lone token is
      computed along with an idle row's, unless a trial at the first cache shows that it makes no difference (with
      Q8_0 weights it makes none up to `MAX_LONE` tokens, and the idle row costs as much again);
    * single tokens of many rows are one call; a longer chunk is a call of its own, or its tokens would be split by the
      lengths of the others.
The trial also asks whether all this holds in the library at hand; where it does not, `exact` is False.
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

# Tokens of one row in a call: longer chunks are fed in parts.
MAX_CHUNK = 63
# A token behind so many is never computed alone: from 512 cells on, which come in blocks of 256, the library divides
# its attention among the threads.
MAX_LONE = 256
# Up to so many idle rows are computed along rather than splitting a run of rows in two.
MAX_GAP = 4
_TRIAL = tuple(range(3, 43))  # any tokens do; what shows in the last bits shows from some 33 on
# Token attributes of llama.h.
UNKNOWN, UNUSED, CONTROL, USER_DEFINED = 1 << 0, 1 << 1, 1 << 3, 1 << 4


class LlamaCppEngine:
    """A loaded GGUF model."""

    def __init__(
        self, path: Path, *, device: str = "auto", threads: int | None = None, n_ctx: int | None = None
    ) -> None:
        self.name = "llama_cpp"
        architecture = check_gguf(path)
        self.lib: Library = open_library()
        self.threads = threads or own_threads()
        self.exact: bool | None = None  # None: not tried yet
        self.lone_tokens_differ = True
        placed = llama_placement(device, offload=bool(self.lib.api.llama_supports_gpu_offload()))
        if placed is None:
            raise EngineUnavailable(f"this llama-cpp-python is built without {device}", hint="use device cpu")
        params = self.lib.api.llama_model_default_params()
        params.n_gpu_layers, gpu = placed
        self.on_cpu = not params.n_gpu_layers
        if gpu is not None:
            params.main_gpu, params.split_mode = gpu, 0  # the whole model on this one
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
        self.vocab = self._read_vocab()
        self._caches: WeakSet[LlamaCppCache] = WeakSet()

    def tokenize(self, text: str) -> list[int]:
        """Return the ids of text."""
        data = whole_text(text).encode()
        room = len(data) + 8
        out = (ctypes.c_int32 * room)()
        # The length is passed on, so a NUL does not end the text.
        count = self.lib.api.llama_tokenize(self._vocab, data, len(data), out, room, False, True) if data else 0
        if count < 0:
            raise EngineError(f"llama.cpp cannot tokenise a text of {len(data)} bytes")
        return out[:count]

    def open_cache(self, rows: int, n_ctx: int) -> LlamaCppCache:
        """Return an empty cache."""
        cache = LlamaCppCache(self, rows, n_ctx)
        self._caches.add(cache)
        return cache

    def close(self) -> None:
        """Free the model, and before it the caches that are still open, which refer to it."""
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
            # Converters of early 2024 (DanTagGen's files) marked all added tokens as user defined.
            named = named or (bool(attributes & USER_DEFINED) and text.startswith(b"<|") and text.endswith(b"|>"))
            if named:
                special[text.decode("utf-8", "replace")] = token
            pieces.append(b"" if named or attributes & UNUSED else text)
        bos, eos = int(self.lib.bos(self._vocab)), int(self.lib.eos(self._vocab))
        if eos < 0:
            raise ModelFileError("the GGUF names no token that ends a text (tokenizer.ggml.eos_token_id)")
        return Vocab(tuple(pieces), special, bos if bos >= 0 else None, eos)


class LlamaCppCache:
    """A llama.cpp context: row r is sequence r, and one more is spare, computed along with a lone row."""

    def __init__(self, engine: LlamaCppEngine, rows: int, n_ctx: int) -> None:
        self.rows = rows
        self.n_ctx = n_ctx
        self._lengths = RowLengths(rows=rows, n_ctx=n_ctx, limit=engine.n_ctx)
        self._engine, self._lib = engine, engine.lib
        if not engine.model:
            raise EngineError("the engine is closed", hint="load it again")
        self._size = max(MAX_CHUNK, rows + 1)
        self._context = self._lib.open_context(
            engine.model, rows=rows + 1, n_ctx=n_ctx, size=self._size, threads=engine.threads, fused=engine.on_cpu
        )
        self._memory = self._lib.memory(self._context)
        self._batch = self._lib.api.llama_batch_init(self._size, 0, 1)

        def view(pointer: Any) -> Any:
            return np.ctypeslib.as_array(pointer, (self._size,))

        self._token, self._pos = view(self._batch.token), view(self._batch.pos)
        self._wanted = view(self._batch.logits)
        view(self._batch.n_seq_id)[:] = 1
        # seq_id is a pointer for each token; all are made to point into one array, which is filled in one write.
        self._seq = np.zeros(self._size, np.int32)
        self._pointers = view(ctypes.cast(self._batch.seq_id, ctypes.POINTER(ctypes.c_size_t)))
        self._own_pointers = self._pointers.copy()
        self._pointers[:] = self._seq.ctypes.data + np.arange(self._size) * self._seq.itemsize
        self._batch_rows: tuple[list[int], list[int]] = ([], [])  # those of the last step: computed, and asked for
        self._address = 0  # of the view
        self._view = np.empty((0, 0), np.float32)
        if engine.exact is None and n_ctx > len(_TRIAL) + 4:
            engine.exact = self._try_bits()
        self.exact, self.joins = bool(engine.exact), False

    def forward(
        self, chunks: Sequence[tuple[int, Sequence[int]]], behind: Sequence[int] | None = None
    ) -> NDArray[np.float32]:
        """Append the chunks and return the logits behind the last tokens of each."""
        counts = self._lengths.check_chunks(chunks, behind, n_vocab=len(self._engine.vocab))
        if len(chunks) == 1:
            row, tokens = chunks[0]
            if len(tokens) > 1 or not self._needs_company(row):
                return self._feed(row, tokens, counts[0])
        single = {row: tokens[0] for row, tokens in chunks if len(tokens) == 1}
        if len(single) == len(chunks):
            logits, rows = self._step(single)
            if rows[: len(chunks)] == [row for row, _ in chunks]:
                return logits[: len(chunks)]
            return logits[[rows.index(row) for row, _ in chunks]]
        out = np.empty((sum(counts), len(self._engine.vocab)), np.float32)
        ends = np.cumsum(counts).tolist()
        if single:
            logits, rows = self._step(single)
            for (row, _), end in zip(chunks, ends, strict=True):
                if row in single:
                    out[end - 1] = logits[rows.index(row)]
        for (row, tokens), count, end in zip(chunks, counts, ends, strict=True):
            if row not in single:
                out[end - count : end] = self._feed(row, tokens, count)
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
        """Copy the source's entire stream, since the library cannot copy a part of one, then truncate it."""
        self._lengths.fork(source, target, length)
        if source != target:
            self._lib.seq_rm(self._memory, target, -1, -1)
            self._lib.seq_cp(self._memory, source, target, -1, -1)
        self._lib.seq_rm(self._memory, target, length, -1)

    def close(self) -> None:
        """Free the context."""
        if self._lengths.closed:
            return
        self._lengths.closed = True
        self._pointers[:] = self._own_pointers  # the library frees each of them with the batch
        self._view = np.empty((0, 0), np.float32)
        self._lib.api.llama_batch_free(self._batch)
        self._lib.api.llama_free(self._context)

    def _try_bits(self) -> bool:
        """Return whether tokens fed one by one and as a chunk have the same logits; try whether a lone one has, too."""
        *prompt, first, second, third = _TRIAL
        one_by_one = []
        self._feed(0, prompt, 1)
        for token in (first, second):
            one_by_one.append(self._step({0: token})[0][0].copy())
        self.truncate(0, len(prompt))
        chunk = self._feed(0, (first, second, third), 3)
        exact = self._engine.on_cpu and np.array_equal(one_by_one, chunk[:2])
        self.truncate(0, len(prompt))
        self._engine.lone_tokens_differ = False
        self._engine.lone_tokens_differ = not np.array_equal(self._step({0: first})[0][0], one_by_one[0])
        self.truncate(0, 0)
        return exact

    def _step(self, tokens: dict[int, int]) -> tuple[NDArray[np.float32], list[int]]:
        """Feed each row of `tokens` its one token; return logits, and the rows they belong to."""
        held, rows, lone = self._lengths.held, sorted(tokens), False
        if len(rows) < 2 or rows[-1] - rows[0] >= len(rows):
            rows, lone = self._fill_up(rows)
        count = len(rows)
        positions = [held[row] if row < self.rows else 0 for row in rows]
        self._token[:count] = [tokens.get(row, 0) for row in rows]
        self._pos[:count] = positions
        asked = rows if lone or count == len(tokens) else [row for row in rows if row in tokens]
        if self._batch_rows != (rows, asked):  # as a rule they are the rows of the last step
            self._seq[:count] = rows
            self._wanted[:count] = 1 if asked is rows else [row in tokens for row in rows]
            self._batch_rows = (rows, asked)
        self._decode(count)
        for row, position in zip(rows, positions, strict=True):
            if row in tokens:
                held[row] += 1
            else:
                self._lib.seq_rm(self._memory, row, position, -1)
        return self._logits(len(asked)), asked

    def _fill_up(self, rows: list[int]) -> tuple[list[int], bool]:
        """Add idle rows in small gaps, and next to a row without neighbour; return whether there was such a row.

        The library computes runs of consecutive sequences, and each run costs a pass over all weights.
        """
        has_room = [*(length < self.n_ctx for length in self._lengths.held), True]
        filled = set(rows)
        for left, right in pairwise(rows):
            gap = range(left + 1, right)
            if len(gap) <= MAX_GAP and all(has_room[row] for row in gap):
                filled.update(gap)
        lone = False
        for row in rows:
            if self._needs_company(row) and row - 1 not in filled and row + 1 not in filled:
                lone = True
                filled.update([company for company in (row + 1, row - 1) if company >= 0 and has_room[company]][:1])
        return sorted(filled), lone

    def _needs_company(self, row: int) -> bool:
        """Return whether a lone token of the row has other last bits than beside another row's."""
        return self._engine.lone_tokens_differ or self._lengths.held[row] >= MAX_LONE

    def _feed(self, row: int, tokens: Sequence[int], behind: int) -> NDArray[np.float32]:
        """Feed one row a chunk, in parts of much the same length, and return the logits behind its last tokens."""
        held, self._batch_rows = self._lengths.held, ([], [])
        parts = -(-len(tokens) // MAX_CHUNK)
        ends = [len(tokens) * part // parts for part in range(parts + 1)]
        found = []
        for begin, end in pairwise(ends):
            count = end - begin
            wanted = max(0, min(count, behind - (len(tokens) - end)))
            self._seq[:count] = row
            self._token[:count] = tokens[begin:end]
            self._pos[:count] = np.arange(held[row], held[row] + count)
            self._wanted[: count - wanted] = 0
            self._wanted[count - wanted : count] = 1
            self._decode(count)
            held[row] += count
            if wanted:
                found.append(self._logits(wanted) if end == len(tokens) else self._logits(wanted).copy())
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _decode(self, count: int) -> None:
        self._batch.n_tokens = count
        self._lib.log.clear()
        status = self._lib.api.llama_decode(self._context, self._batch)
        if status != 0:
            for row in set(self._seq[:count].tolist()):
                self._lib.seq_rm(self._memory, row, self._lengths.held[row], -1)
            raise EngineError(f"llama_decode returned {status}{self._lib.log.reason()}")

    def _logits(self, count: int) -> NDArray[np.float32]:
        """Return a view of the library's own memory, whose address seldom changes."""
        pointer = self._lib.api.llama_get_logits(self._context)
        address = ctypes.addressof(pointer.contents)
        if address != self._address:
            # As many rows as a call may ever ask for; only those of this one are there to be read.
            self._address = address
            self._view = np.ctypeslib.as_array(pointer, (self._size, len(self._engine.vocab)))
        return self._view[:count]
