"""llama-cpp-python's low-level functions under one set of names, whatever its version calls them, and its log.

llama.cpp renamed many in early 2025: functions of a model became functions of its vocabulary, and kv_cache became
kv_self, then memory. Where several names are given, the newest comes first.
"""
from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

from kgen_ext.errors import EngineError, EngineUnavailable
from kgen_ext.once import once

UPDATE = "pip install -U llama-cpp-python"
ERROR, CONTINUATION = 4, 5  # ggml_log_level


class Log:
    """The last errors that the library reported, kept off the terminal."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._level = 0

    def write(self, level: int, text: bytes | None, _user: object) -> None:
        """Keep an error line; a continuation has the level of the line before it."""
        self._level = level if level != CONTINUATION else self._level
        if self._level == ERROR and text and text.strip(b" .\n"):
            self.lines = [*self.lines[-19:], text.decode("utf-8", "replace").strip()]

    def clear(self) -> None:
        """Forget the lines so far."""
        self.lines.clear()

    def reason(self) -> str:
        """Return the first line since `clear`, as a suffix for a message."""
        return f": {self.lines[0]}" if self.lines else ""


class Library:
    """The functions that the engine calls."""

    def __init__(self, api: Any) -> None:
        self.api = api
        self.version = f" {api.__version__}" if hasattr(api, "__version__") else ""
        self.log = Log()
        self._callback = api.llama_log_callback(self.log.write)  # kept alive: the library has only a pointer to it
        api.llama_log_set(self._callback, ctypes.c_void_p(0))
        api.llama_backend_init()
        self.load_model = self._first("llama_model_load_from_file", "llama_load_model_from_file")
        self.free_model = self._first("llama_model_free", "llama_free_model")
        self.n_ctx_train = self._first("llama_model_n_ctx_train", "llama_n_ctx_train")
        self.n_tokens = self._first("llama_vocab_n_tokens", "llama_n_vocab")
        self.attributes = self._first("llama_vocab_get_attr", "llama_token_get_attr")
        self.bos = self._first("llama_vocab_bos", "llama_token_bos")
        self.eos = self._first("llama_vocab_eos", "llama_token_eos")
        self.seq_rm = self._first("llama_memory_seq_rm", "llama_kv_self_seq_rm", "llama_kv_cache_seq_rm")
        self.seq_cp = self._first("llama_memory_seq_cp", "llama_kv_self_seq_cp", "llama_kv_cache_seq_cp")
        self._new_context = self._first("llama_init_from_model", "llama_new_context_with_model")

    def get_vocab(self, model: object) -> Any:
        """Return the argument of vocabulary functions: the vocabulary or, in older versions, the model."""
        return self.api.llama_model_get_vocab(model) if hasattr(self.api, "llama_model_get_vocab") else model

    def memory(self, context: object) -> Any:
        """Return the argument of cache functions: the memory or, in older versions, the context."""
        return self.api.llama_get_memory(context) if hasattr(self.api, "llama_memory_seq_rm") else context

    def open_context(self, model: object, *, rows: int, n_ctx: int, size: int, threads: int, fused: bool) -> Any:
        """Return a context of `rows` streams of n_ctx tokens each, for calls of at most `size` tokens.

        fused: use the library's fused attention ("flash").
        """
        params = self.api.llama_context_default_params()
        params.n_ctx, params.n_seq_max = rows * n_ctx, rows
        params.n_batch = params.n_ubatch = size
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified = False
        params.flash_attn = fused  # older versions; now a choice of three
        params.flash_attn_type = int(fused)
        params.no_perf = True
        self.log.clear()
        context = self._new_context(model, params)
        if not context:
            raise EngineError(f"llama.cpp cannot open a context of {rows} x {n_ctx} tokens{self.log.reason()}")
        return context

    def _first(self, *names: str) -> Callable[..., Any]:
        found = next((getattr(self.api, name) for name in names if hasattr(self.api, name)), None)
        if found is None:
            raise EngineUnavailable(f"this llama-cpp-python has no {names[0]}", hint=UPDATE)
        return partial(found)


@once  # two threads that import llama_cpp at the same time may find it half initialised
def open_library() -> Library:
    """Import llama_cpp and take over its log. A process has one library, so it has one of these."""
    try:
        llama_cpp = import_module("llama_cpp")
    except ModuleNotFoundError as error:
        what = "is missing" if error.name == "llama_cpp" else f"lacks a package: {error.name}"
        raise EngineUnavailable(f"llama-cpp-python {what}", hint=UPDATE) from error
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        llama_cpp = _with_torch(error)
    return Library(llama_cpp)


def _with_torch(error: Exception) -> ModuleType:
    """Import llama_cpp after torch, which loads the accelerator's libraries; on failure raise for the first error."""
    try:
        import_module("torch")
        return import_module("llama_cpp")
    except (ImportError, OSError, RuntimeError, AttributeError):
        raise EngineUnavailable(f"llama-cpp-python is damaged: {error}", hint=UPDATE) from error


def own_threads() -> int:
    """Return how many threads decode fastest: all cores of a small machine, else half of the logical ones."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return count if count <= 4 else count // 2
