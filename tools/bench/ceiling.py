"""The library alone: its own loop on as many tokens as ours, with nothing sampled, constrained or copied.

A row is fed its prompt, then one token a step; several rows take their steps together.
"""
from __future__ import annotations

import ctypes
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

from kgen_ext.engines import load_engine
from kgen_ext.errors import EngineError

# llama.cpp's own default for tokens in one call.
_CALL = 2048
_ANY_TOKEN = 300
# One buffer for all rows or one each (kv_unified), flash attention off or on: which is fastest depends on the rows.
_LAYOUTS = tuple(product((False, True), (0, 1)))


class LlamaCppAlone:
    """A GGUF file in llama.cpp, its log off."""

    def __init__(self, model: str, threads: int) -> None:
        import llama_cpp

        self._library: Any = llama_cpp
        self._threads = threads
        self._log = llama_cpp.llama_log_callback(lambda level, text, data: None)  # must live as long as the library
        llama_cpp.llama_log_set(self._log, ctypes.c_void_p(0))
        self._model = llama_cpp.llama_model_load_from_file(model.encode(), llama_cpp.llama_model_default_params())
        if not self._model:
            raise EngineError(f"{model}: llama.cpp cannot load it", hint="is it a GGUF file?")
        self._best: dict[int, tuple[bool, int]] = {}

    def decode(self, rows: int, prompt: int, written: int) -> float:
        """Return the seconds for `rows` rows of `prompt` and `written` tokens, in the cache layout that is fastest."""
        if rows not in self._best:
            trial = {layout: self._decode(rows, prompt, max(1, written // 4), layout) for layout in _LAYOUTS}
            self._best[rows] = min(trial, key=lambda layout: trial[layout])
        return self._decode(rows, prompt, written, self._best[rows])

    def _decode(self, rows: int, prompt: int, written: int, layout: tuple[bool, int]) -> float:
        library = self._library
        settings = library.llama_context_default_params()
        cells = -(-(prompt + written) // 256) * 256
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
            together = max(1, _CALL // prompt)
            for first in range(0, rows, together):
                self._feed(context, batch, [(0, row) for row in range(first, min(rows, first + together))], prompt)
            for step in range(written):
                self._feed(context, batch, [(prompt + step, row) for row in range(rows)], 1)
            return perf_counter() - began
        finally:
            library.llama_batch_free(batch)
            library.llama_free(context)

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


class TransformersAlone:
    """A GGUF file in transformers, on the CPU; the cache is the library's own."""

    def __init__(self, model: str, threads: int) -> None:
        import torch

        # Loading is all that is ours: the library reads GGUF files of few makers.
        engine: Any = load_engine("transformers", folder=None, gguf=Path(model), device="cpu", threads=threads)
        self._torch, self._model, self._argument = torch, engine.model, engine.cache_argument

    def decode(self, rows: int, prompt: int, written: int) -> float:
        """Return the seconds for `rows` rows of `prompt` and `written` tokens."""
        began, held = perf_counter(), None
        with self._torch.inference_mode():
            for length in (prompt, *(1 for _ in range(written))):
                ids = self._torch.full((rows, length), _ANY_TOKEN)
                found = self._model(input_ids=ids, use_cache=True, **{self._argument: held})
                held = found[1]
                found.logits[:, -1].numpy()
        return perf_counter() - began
