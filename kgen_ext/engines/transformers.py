"""Hugging Face transformers 4.30 to 5: safetensors folders on any device torch has, one forward a step.

Refuses to generate with the library, to run code that comes with a model, and to open a pickle.

Keys and values lie in tensors of our own, (layers, rows, kv_heads, n_ctx, head_dim), each row from its start: cutting a
row back is forgetting its length, and nothing is copied in a step. The library's own forward runs on them: its mask
argument says what each new token sees, `position_ids` where it stands. Only the cache argument changed over the years:

    4.41 and later   a Cache whose `update` stores into our tensors and answers with views of them; a 4-D mask
    before           a tuple of (keys, values) for each layer, to which the library joins the new ones; a 2-D mask

What it is called (`past_key_values`, from 5.24 on `cache`) is asked of the model's own signature.

Rows join a call with padding behind their tokens. The last bits of a row's logits depend on its company here.
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

from kgen_ext.engines.checkpoint import LlamaShape
from kgen_ext.engines.devices import free_memory, pick_torch
from kgen_ext.engines.rows import RowLengths
from kgen_ext.engines.weights import load_llama, open_checkpoint
from kgen_ext.errors import EngineError, EngineUnavailable

if TYPE_CHECKING:
    from numpy.typing import NDArray

WITH_CACHE_CLASS = (4, 41)
CACHE_ARGUMENTS = ("cache", "past_key_values")  # the newest name first
# Since when the library computes what a config asks for; before, it overlooked some of this without a word.
SINCE: dict[tuple[int, int], Callable[[LlamaShape], bool]] = {
    (4, 30): lambda shape: True,
    (4, 33): lambda shape: shape.kv_heads != shape.heads or shape.theta != 10000.0,
    (4, 46): lambda shape: shape.head_dim * shape.heads != shape.hidden,
}


class TransformersEngine:
    """A loaded checkpoint."""

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
                hint="pip install -U transformers, or use the reference engine",
            )
        self.cache_class: Any = transformers.DynamicCache if version >= WITH_CACHE_CLASS else None
        if threads:
            self.torch.set_num_threads(threads)
        self.place = pick_torch(self.torch, device)
        self.device = self.place.device
        self.dtype = self.torch.float16 if self.place.half else self.torch.float32
        # DirectML cannot work on the tensors of inference mode.
        self.without_gradients = self.torch.no_grad if self.place.kind == "directml" else self.torch.inference_mode
        # Until 4.41 the library's masks for its fused attention fail on a row that begins behind others.
        plain = {"attn_implementation": "eager"} if (4, 36) <= version < WITH_CACHE_CLASS else {}
        try:
            with _quiet(transformers):
                model = load_llama(self.torch, transformers, checkpoint, dtype=self.dtype, options=plain)
            self.model = model.to(device=self.device, dtype=self.dtype).eval()
        except (OSError, ValueError, RuntimeError, KeyError, ImportError, TypeError) as error:
            raise EngineError(f"{path}: transformers cannot load it on {self.place.name}: {error}") from error
        self.cache_argument = find_cache_argument(self.model.model.forward, transformers.__version__)

    def tokenize(self, text: str) -> list[int]:
        """Return the ids of text."""
        return self._tokens.tokenize(text)

    def lanes(self, rows: int) -> int:
        """Return 1."""
        return 1

    def open_cache(self, rows: int, n_ctx: int) -> TransformersCache:
        """Return an empty cache."""
        return TransformersCache(self, rows, n_ctx)

    def close(self) -> None:
        """Forget the model, and give what torch kept of a GPU's memory back."""
        if self.model is not None:
            self.model = None
            free_memory(self.torch, self.place)


class TransformersCache:
    """Our keys and values, and the calls of the library on them."""

    def __init__(self, engine: TransformersEngine, rows: int, n_ctx: int) -> None:
        self.rows = rows
        self.n_ctx = n_ctx
        self._engine, self._torch = engine, engine.torch
        self._lengths = RowLengths(rows=rows, n_ctx=n_ctx, limit=engine.n_ctx)
        shape = engine.shape
        size = (shape.layers, rows, shape.kv_heads, n_ctx, shape.head_dim)
        # Zeros, not whatever lay there: what the mask hides must still be a number.
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
        for at, (_, tokens) in enumerate(chunks):
            ids[at, : len(tokens)] = tokens
        # Padding repeats the row's last place, so that it never stands outside the cache; it is not stored.
        places = np.minimum(begins[:, None] + np.arange(width), (begins + counts - 1)[:, None])
        call = _Call(self, rows, begins, counts, places, torch.from_numpy(ids).to(engine.device))
        try:
            with engine.without_gradients():
                hidden = call.with_cache_class() if engine.cache_class else call.with_tuples()
                last = hidden[torch.arange(len(chunks)), torch.from_numpy(counts - 1)]
                logits = engine.model.lm_head(last).float().cpu().numpy()
        except RuntimeError as error:  # torch's out of memory is one of these
            raise EngineError(f"transformers failed: {error}", hint="a smaller batch, or device cpu") from error
        for row, tokens in chunks:
            held[row] += len(tokens)
        return np.asarray(logits, np.float32)

    def length(self, row: int) -> int:
        """Return how many tokens the row holds."""
        self._lengths.check_row(row)
        return self._lengths.held[row]

    def truncate(self, row: int, length: int) -> None:
        """Forget the row's tokens from `length` on: masks no longer show them."""
        self._lengths.truncate(row, length)

    def fork(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` keys and values."""
        self._lengths.fork(source, target, length)
        for stored in (self._keys, self._values):
            stored[:, target, :, :length] = stored[:, source, :, :length].clone()

    def share(self, count: int) -> None:
        """Do nothing: torch's threads are its own."""

    def close(self) -> None:
        """Give the memory back."""
        self._lengths.closed = True
        self._keys = self._values = None


class _Call:
    """One forward: which rows, which tokens at which places."""

    def __init__(
        self, cache: TransformersCache, rows: Any, begins: Any, counts: Any, places: Any, ids: Any
    ) -> None:
        self.cache, self.torch, self.engine = cache, cache._torch, cache._engine
        self.rows, self.begins, self.counts, self.ids = rows, begins, counts, ids
        self.seen = int((begins + counts).max())  # columns of the cache that any row of the call has
        self.places = places
        real = np.arange(ids.shape[1]) < counts[:, None]
        self.at, self.step = (self.torch.from_numpy(one) for one in np.nonzero(real))
        self.into = self.torch.from_numpy(np.ascontiguousarray(rows[self.at.numpy()]))
        self.place = self.torch.from_numpy(places[real])
        self.slots = self._slots()

    def _slots(self) -> Any:
        """Return an index of the cache's rows: a slice, which copies nothing, where they lie side by side."""
        first, count = int(self.rows[0]), len(self.rows)
        if np.array_equal(self.rows, np.arange(first, first + count)):
            return slice(first, first + count)
        return self.torch.from_numpy(self.rows).to(self.engine.device)

    def store(self, layer: int, keys: Any, values: Any) -> None:
        """Write the new tokens' keys and values, (chunks, heads, width, d), to their places."""
        self.cache._keys[layer][self.into, :, self.place] = keys[self.at, :, self.step]
        self.cache._values[layer][self.into, :, self.place] = values[self.at, :, self.step]

    def with_cache_class(self) -> Any:
        """Run the library on a Cache of ours; return the hidden states."""
        torch, engine, call = self.torch, self.engine, self

        class OurCache(engine.cache_class):  # type: ignore[name-defined, misc]
            def update(self, keys: Any, values: Any, layer_idx: int, *_: Any, **__: Any) -> tuple[Any, Any]:
                call.store(layer_idx, keys, values)
                both = (call.cache._keys[layer_idx], call.cache._values[layer_idx])
                held, found = (one[call.slots][:, :, : call.seen] for one in both)
                return held, found

            def get_seq_length(self, *_: Any, **__: Any) -> int:
                return call.seen - call.ids.shape[1]

        hidden = np.arange(self.seen) > self.places[:, :, None]
        mask = torch.zeros((len(self.rows), 1, *hidden.shape[1:]), dtype=engine.dtype, device=engine.device)
        mask.masked_fill_(torch.from_numpy(hidden)[:, None].to(engine.device), torch.finfo(engine.dtype).min)
        return self._run(mask, OurCache())

    def with_tuples(self) -> Any:
        """Run an older library: it joins our columns and its new ones, which are taken out of what it returns."""
        torch, engine = self.torch, self.engine
        past = int(self.begins.max())
        before = np.arange(past) < self.begins[:, None]
        new = np.arange(self.ids.shape[1]) < self.counts[:, None]
        mask = torch.from_numpy(np.concatenate((before, new), axis=1).astype(np.int64)).to(engine.device)
        held = None
        if past:
            keys, values = self.cache._keys[:, self.slots, :, :past], self.cache._values[:, self.slots, :, :past]
            held = tuple(zip(keys, values, strict=True))
        result = self._run(mask, held)
        for layer, (keys, values) in enumerate(result[1]):
            self.store(layer, keys[:, :, past:], values[:, :, past:])
        return result[0]

    def _run(self, mask: Any, held: Any) -> Any:
        positions = self.torch.from_numpy(self.places).to(self.engine.device)
        legacy = self.engine.cache_class is None
        result = self.engine.model.model(
            input_ids=self.ids, attention_mask=mask, position_ids=positions, use_cache=True, return_dict=not legacy,
            **{self.engine.cache_argument: held},
        )  # fmt: skip
        return result if legacy else result.last_hidden_state


def read_version(text: str) -> tuple[int, int]:
    """Return major and minor of a release, of whatever kind.

    >>> read_version("5.0rc1"), read_version("4.57.6.dev0")
    ((5, 0), (4, 57))
    """
    major, minor, *_ = (*map(int, re.findall(r"\d+", text)), 0, 0)
    return major, minor


def find_cache_argument(forward: Callable[..., Any], version: str) -> str:
    """Return what a model's `forward` calls the keys and values it is given; raises EngineUnavailable."""
    named = inspect.signature(forward).parameters
    for name in CACHE_ARGUMENTS:
        if name in named:
            return name
    raise EngineUnavailable(
        f"transformers {version} takes none of the cache arguments that KGen knows ({', '.join(CACHE_ARGUMENTS)})",
        hint="use the reference engine or llama_cpp, or another release of transformers",
    )


def open_torch() -> tuple[Any, Any]:
    """Return torch and transformers; raises EngineUnavailable where one is missing or cannot be opened."""
    try:
        import torch
        import transformers

        # The library opens its parts when they are asked for; one that cannot be opened shows here.
        assert transformers.LlamaForCausalLM
    except ImportError as error:
        raise EngineUnavailable(f"{error}", hint="pip install torch transformers") from error
    except (OSError, RuntimeError, AttributeError) as error:
        raise EngineUnavailable(f"torch or transformers is damaged: {error}", hint="install them again") from error
    return torch, transformers


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Silence the library's own log, its bars and its deprecations while a model loads, then restore them."""
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
