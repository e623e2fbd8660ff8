"""The transformers engine: Hugging Face transformers 4.30 to 5 (dots1: from 4.53 on), on any device that torch has.

The library only runs forward passes: it neither generates, nor runs code that comes with a model, nor opens a pickle.

Keys and values are kept in tensors of our own, (layers, rows, kv_heads, n_ctx, head_dim), so truncating a row only
changes its length, and no step copies the cache. The library's forward runs on them; its mask argument tells which
positions each new token sees, `position_ids` which one it has. Only the cache argument changed over the years:

    4.41 and later   a Cache whose `update` stores into our tensors and returns views of them; a 4-D mask
    before           a tuple of (keys, values) for each layer, to which the library joins the new ones; a 2-D mask

Its name (`past_key_values`, from 5.24 on `cache`) is read from the signature of the model's `forward`.

Rows are padded behind their tokens to the longest chunk of a call. The last bits of a row's logits depend on the other
rows of the call.
"""
from __future__ import annotations

import inspect
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kgen_ext.engines.checkpoint import Dots1Shape, LlamaShape
from kgen_ext.engines.devices import free_memory, pick_torch
from kgen_ext.engines.rows import RowLengths
from kgen_ext.engines.weights import load_model, open_checkpoint
from kgen_ext.errors import EngineError, EngineUnavailable, Install

if TYPE_CHECKING:
    from numpy.typing import NDArray

WITH_CACHE_CLASS = (4, 41)
CACHE_ARGUMENTS = ("cache", "past_key_values")  # the newest name first
# The release from which on the library honours what a config asks for; earlier ones ignore it silently.
SINCE: dict[tuple[int, int], Callable[[LlamaShape], bool]] = {
    (4, 30): lambda shape: True,
    (4, 33): lambda shape: shape.kv_heads != shape.heads or shape.theta != 10000.0,
    (4, 46): lambda shape: shape.head_dim * shape.heads != shape.hidden,
    (4, 53): lambda shape: isinstance(shape, Dots1Shape),
}


class TransformersEngine:
    """A checkpoint loaded into transformers."""

    def __init__(
        self, path: Path, *, device: str = "auto", threads: int | None = None, n_ctx: int | None = None
    ) -> None:
        self.name = "transformers"
        checkpoint = open_checkpoint(path)
        self.shape = checkpoint.shape
        self._tokens, self.vocab = checkpoint.tokens, checkpoint.tokens.vocab
        self.n_ctx = min(n_ctx or self.shape.context, self.shape.context)
        self.torch, transformers = open_torch()
        version = read_version(transformers.__version__)
        needed = max(since for since, needs in SINCE.items() if needs(self.shape))
        if version < needed:
            raise EngineUnavailable(
                f"transformers {transformers.__version__} cannot run {path}: {needed[0]}.{needed[1]} or later can",
                hint="pip install -U transformers, or use another engine",
            )
        self.cache_class: Any = transformers.DynamicCache if version >= WITH_CACHE_CLASS else None
        if threads:
            self.torch.set_num_threads(threads)
        self.place = pick_torch(self.torch, device)
        self.device = self.place.device
        self.dtype = self.torch.float16 if self.place.half else self.torch.float32
        # DirectML does not support the tensors of inference mode.
        self.without_gradients = self.torch.no_grad if self.place.kind == "directml" else self.torch.inference_mode
        # Before 4.41 the library's masks for fused attention are wrong for rows of different lengths.
        options = {"attn_implementation": "eager"} if (4, 36) <= version < WITH_CACHE_CLASS else {}
        try:
            with _quiet(transformers):
                model = load_model(self.torch, transformers, checkpoint, dtype=self.dtype, options=options)
            self.model = model.to(device=self.device, dtype=self.dtype).eval()
        except (OSError, ValueError, RuntimeError, KeyError, ImportError, TypeError) as error:
            raise EngineError(f"{path}: transformers cannot load it on {self.place.name}: {error}") from error
        self.cache_argument = find_cache_argument(self.model.model.forward, transformers.__version__)

    def tokenize(self, text: str) -> list[int]:
        """Return the ids of text."""
        return self._tokens.tokenize(text)

    def open_cache(self, rows: int, n_ctx: int) -> TransformersCache:
        """Return an empty cache."""
        return TransformersCache(self, rows, n_ctx)

    def close(self) -> None:
        """Free the model and the GPU memory that torch cached for it."""
        if self.model is not None:
            self.model = None
            free_memory(self.torch, self.place)


class TransformersCache:
    """The keys and values of all rows, and the library's forward pass on them."""

    def __init__(self, engine: TransformersEngine, rows: int, n_ctx: int) -> None:
        self.rows = rows
        self.n_ctx = n_ctx
        self._engine, self._torch = engine, engine.torch
        self._lengths = RowLengths(rows=rows, n_ctx=n_ctx, limit=engine.n_ctx)
        shape = engine.shape
        size = (shape.layers, rows, shape.kv_heads, n_ctx, shape.head_dim)
        # Zeros, not uninitialised memory: what the mask hides must not be NaN.
        self._keys = self._torch.zeros(size, dtype=engine.dtype, device=engine.device)
        self._values = self._torch.zeros_like(self._keys)

    def forward(self, chunks: Sequence[tuple[int, Sequence[int]]]) -> NDArray[np.float32]:
        """Append the chunks in one forward and return the logits behind each."""
        torch, engine, held = self._torch, self._engine, self._lengths.held
        self._lengths.check_chunks(chunks, n_vocab=len(engine.vocab))
        if engine.model is None:
            raise EngineError("the engine is closed", hint="load it again")
        width = max(len(tokens) for _, tokens in chunks)
        rows = np.array([row for row, _ in chunks])
        begins = np.array([held[row] for row, _ in chunks])
        counts = np.array([len(tokens) for _, tokens in chunks])
        ids = np.zeros((len(chunks), width), np.int64)
        for place, (_, tokens) in enumerate(chunks):
            ids[place, : len(tokens)] = tokens
        # Padding repeats the row's last position, so that it is never outside the cache; it is not stored.
        positions = np.minimum(begins[:, None] + np.arange(width), (begins + counts - 1)[:, None])
        call = _ForwardPass(self, rows, begins, counts, positions, torch.from_numpy(ids).to(engine.device))
        try:
            with engine.without_gradients():
                hidden = call.with_cache_class() if engine.cache_class else call.with_tuples()
                last = hidden[torch.arange(len(chunks)), torch.from_numpy(counts - 1)]
                logits = engine.model.lm_head(last).float().cpu().numpy()
        except RuntimeError as error:  # torch's OutOfMemoryError is one
            raise EngineError(f"transformers failed: {error}", hint="a smaller batch, or device cpu") from error
        for row, tokens in chunks:
            held[row] += len(tokens)
        return np.asarray(logits, np.float32)

    def length(self, row: int) -> int:
        """Return how many tokens the row holds."""
        self._lengths.check_row(row)
        return self._lengths.held[row]

    def truncate(self, row: int, length: int) -> None:
        """Drop the row's tokens from `length` on: masks hide them."""
        self._lengths.truncate(row, length)

    def fork(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` keys and values."""
        self._lengths.fork(source, target, length)
        for stored in (self._keys, self._values):
            stored[:, target, :, :length] = stored[:, source, :, :length].clone()

    def close(self) -> None:
        """Free the memory."""
        self._lengths.closed = True
        self._keys = self._values = None


class _ForwardPass:
    """One call of the library.

    rows, begins, counts: each chunk's row, the tokens it held before, and the new ones. positions, ids: of the new
    tokens, (chunks, width), padded. `chunk`, `step`, `row`, `position`: of each new token without the padding, its two
    indices and where it is stored.
    """

    def __init__(
        self, cache: TransformersCache, rows: Any, begins: Any, counts: Any, positions: Any, ids: Any
    ) -> None:
        self.cache, self.torch, self.engine = cache, cache._torch, cache._engine
        self.rows, self.begins, self.counts, self.ids = rows, begins, counts, ids
        self.longest = int((begins + counts).max())  # columns of the cache that the call uses
        self.positions = positions
        real = np.arange(ids.shape[1]) < counts[:, None]
        self.chunk, self.step = (self.torch.from_numpy(index) for index in np.nonzero(real))
        self.row = self.torch.from_numpy(np.ascontiguousarray(rows[self.chunk.numpy()]))
        self.position = self.torch.from_numpy(positions[real])
        self.row_index = self._row_index()

    def _row_index(self) -> Any:
        """Return an index of the cache's rows: a slice, which copies nothing, where they are consecutive."""
        first, count = int(self.rows[0]), len(self.rows)
        if np.array_equal(self.rows, np.arange(first, first + count)):
            return slice(first, first + count)
        return self.torch.from_numpy(self.rows).to(self.engine.device)

    def store(self, layer: int, keys: Any, values: Any) -> None:
        """Store the new tokens' keys and values, (chunks, heads, width, d), in the cache."""
        self.cache._keys[layer][self.row, :, self.position] = keys[self.chunk, :, self.step]
        self.cache._values[layer][self.row, :, self.position] = values[self.chunk, :, self.step]

    def with_cache_class(self) -> Any:
        """Run the library with a Cache subclass on our tensors; return the hidden states."""
        torch, engine, call = self.torch, self.engine, self

        class TensorCache(engine.cache_class):  # type: ignore[name-defined, misc]
            def update(self, keys: Any, values: Any, layer_idx: int, *_: Any, **__: Any) -> tuple[Any, Any]:
                call.store(layer_idx, keys, values)
                all_keys, all_values = call.cache._keys[layer_idx], call.cache._values[layer_idx]
                rows, longest = call.row_index, call.longest
                return all_keys[rows][:, :, :longest], all_values[rows][:, :, :longest]

            def get_seq_length(self, *_: Any, **__: Any) -> int:
                return call.longest - call.ids.shape[1]

        hidden = np.arange(self.longest) > self.positions[:, :, None]
        mask = torch.zeros((len(self.rows), 1, *hidden.shape[1:]), dtype=engine.dtype, device=engine.device)
        mask.masked_fill_(torch.from_numpy(hidden)[:, None].to(engine.device), torch.finfo(engine.dtype).min)
        return self._run(mask, TensorCache())

    def with_tuples(self) -> Any:
        """Run an older library, store the new columns out of those it returns, and return the hidden states."""
        torch, engine = self.torch, self.engine
        past = int(self.begins.max())
        old = np.arange(past) < self.begins[:, None]
        new = np.arange(self.ids.shape[1]) < self.counts[:, None]
        mask = torch.from_numpy(np.concatenate((old, new), axis=1).astype(np.int64)).to(engine.device)
        held = None
        if past:
            rows = self.row_index
            keys, values = self.cache._keys[:, rows, :, :past], self.cache._values[:, rows, :, :past]
            held = tuple(zip(keys, values, strict=True))
        result = self._run(mask, held)
        for layer, (keys, values) in enumerate(result[1]):
            self.store(layer, keys[:, :, past:], values[:, :, past:])
        return result[0]

    def _run(self, mask: Any, held: Any) -> Any:
        positions = self.torch.from_numpy(self.positions).to(self.engine.device)
        legacy = self.engine.cache_class is None
        result = self.engine.model.model(
            input_ids=self.ids, attention_mask=mask, position_ids=positions, use_cache=True, return_dict=not legacy,
            **{self.engine.cache_argument: held},
        )  # fmt: skip
        return result if legacy else result.last_hidden_state


def read_version(text: str) -> tuple[int, int]:
    """Return the major and minor number of a release, pre-release or development version.

    >>> read_version("5.0rc1"), read_version("4.57.6.dev0")
    ((5, 0), (4, 57))
    """
    major, minor, *_ = (*map(int, re.findall(r"\d+", text)), 0, 0)
    return major, minor


def find_cache_argument(forward: Callable[..., Any], version: str) -> str:
    """Return the name of the cache argument of a model's `forward`; raises EngineUnavailable."""
    parameters = inspect.signature(forward).parameters
    for name in CACHE_ARGUMENTS:
        if name in parameters:
            return name
    raise EngineUnavailable(
        f"transformers {version} takes none of the cache arguments that KGen knows ({', '.join(CACHE_ARGUMENTS)})",
        hint="use the reference engine or llama_cpp, or another release of transformers",
    )


def open_torch() -> tuple[Any, Any]:
    """Import torch and transformers; raises EngineUnavailable where one is missing or broken."""
    try:
        import torch
        import transformers

        # The library imports its parts lazily; a broken one shows here.
        assert transformers.LlamaForCausalLM
    except ImportError as error:
        raise EngineUnavailable(f"{error}", action=Install("torch transformers")) from error
    except (OSError, RuntimeError, AttributeError) as error:
        raise EngineUnavailable(f"torch or transformers is damaged: {error}", hint="install them again") from error
    return torch, transformers


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Silence the library's log, progress bars and deprecation warnings while a model loads."""
    log = transformers.utils.logging
    level, bars = log.get_verbosity(), getattr(log, "is_progress_bar_enabled", lambda: True)()
    log.set_verbosity(logging.CRITICAL)
    log.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()
