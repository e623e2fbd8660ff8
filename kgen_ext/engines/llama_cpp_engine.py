"""llama.cpp through llama-cpp-python's low-level functions: a GGUF model, its vocabulary, where it runs.

Refuses to know the library's samplers, chat formats and high-level classes; decoding is `llama_cpp_cache`'s. Log lines
are kept for error messages only.
"""
from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any
from weakref import WeakSet

from kgen_ext.engines.base import Vocab
from kgen_ext.engines.devices import llama_placement
from kgen_ext.engines.gguf_file import KNOWN, check_gguf
from kgen_ext.engines.llama_cpp_cache import LlamaCppCache
from kgen_ext.engines.llama_cpp_names import UPDATE, Library, open_library, own_threads
from kgen_ext.engines.tokens import whole
from kgen_ext.errors import EngineError, EngineUnavailable, ModelFileError

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
        data = whole(text).encode()
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
