"""llama.cpp by itself: its batched decode in a tight loop, with nothing sampled and nothing copied.

It is fed as many tokens as our runtime was: a chunk for each row, then one token for each row and step.
"""
from __future__ import annotations

import ctypes
from itertools import product
from time import perf_counter
from typing import Any

from kgen_ext.errors import EngineError
from tools.bench.turn import Turn, Work

# llama.cpp's own default for tokens in one call.
_CALL = 2048
_ANY_TOKEN = 300
# One buffer for all rows or one each (kv_unified), flash attention off or on: which is fastest depends on the rows.
_LAYOUTS = tuple(product((False, True), (0, 1)))
# What our engine uses, so that a row's logits do not depend on its company (kgen_ext.engines.llama_cpp).
_ALIKE = (False, 0)


class Bare:
    """A model in llama.cpp, without our runtime."""

    def __init__(self, library: Any, model: Any, threads: int) -> None:
        self._library = library
        self._model = model
        self._threads = threads
        self._best: dict[int, tuple[bool, int]] = {}

    def decode(self, rows: int, chunk: int, steps: int) -> Turn:
        """Feed `chunk` tokens to each of the rows, then `steps` times one to each, in the fastest cache layout."""
        if rows not in self._best:
            trial = {layout: self._decode(rows, chunk, max(1, steps // 4), layout).seconds for layout in _LAYOUTS}
            self._best[rows] = min(trial, key=lambda layout: trial[layout])
        return self._decode(rows, chunk, steps, self._best[rows])

    def decode_alike(self, rows: int, chunk: int, steps: int) -> Turn:
        """Do the same in the cache layout that our engine uses."""
        return self._decode(rows, chunk, steps, _ALIKE)

    def _decode(self, rows: int, chunk: int, steps: int, layout: tuple[bool, int]) -> Turn:
        library = self._library
        settings = library.llama_context_default_params()
        cells = -(-(chunk + steps) // 256) * 256
        settings.n_ctx, settings.n_seq_max = cells * rows, rows
        settings.kv_unified, settings.flash_attn_type = layout
        settings.n_batch = _CALL
        settings.n_threads = settings.n_threads_batch = self._threads
        settings.no_perf = True
        context = library.llama_init_from_model(self._model, settings)
        batch = library.llama_batch_init(_CALL, 0, 1)
        if not context:
            raise EngineError("llama.cpp gave no context", hint="not enough memory for the rows?")
        try:
            self._feed(context, batch, [(0, row) for row in range(rows)], 1)  # the first call pays for set-up
            library.llama_memory_clear(library.llama_get_memory(context), False)
            began = perf_counter()
            calls = 0
            together = max(1, _CALL // chunk)
            for first in range(0, rows, together):
                self._feed(context, batch, [(0, row) for row in range(first, min(rows, first + together))], chunk)
                calls += 1
            for step in range(steps):
                self._feed(context, batch, [(chunk + step, row) for row in range(rows)], 1)
            seconds = perf_counter() - began
        finally:
            library.llama_batch_free(batch)
            library.llama_free(context)
        return Turn(seconds, (), Work(calls + steps, rows * (1 + steps), rows * (chunk + steps), seconds))

    def _feed(self, context: Any, batch: Any, places: list[tuple[int, int]], length: int) -> None:
        """Decode `length` tokens at each (position, row), the last one's logits computed, and wait for them."""
        count = 0
        for position, row in places:
            for offset in range(length):
                batch.token[count] = _ANY_TOKEN + row
                batch.pos[count] = position + offset
                batch.n_seq_id[count] = 1
                batch.seq_id[count][0] = row
                batch.logits[count] = offset == length - 1
                count += 1
        batch.n_tokens = count
        if self._library.llama_decode(context, batch) != 0:
            raise EngineError("llama.cpp could not decode", hint="see its log")
        self._library.llama_get_logits(context)


def open_bare(model: str, threads: int) -> Bare:
    """Load a GGUF file into llama.cpp, its log off."""
    import llama_cpp

    quiet = llama_cpp.llama_log_callback(_silence)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    loaded = llama_cpp.llama_model_load_from_file(model.encode(), llama_cpp.llama_model_default_params())
    if not loaded:
        raise EngineError(f"{model}: llama.cpp cannot load it", hint="is it a GGUF file?")
    bare = Bare(llama_cpp, loaded, threads)
    bare.keep = quiet  # type: ignore[attr-defined]
    return bare


def _silence(level: int, text: bytes, data: Any) -> None:
    """Discard a line of llama.cpp's log."""
