"""The transformers engine: Hugging Face transformers 4.30 to 5 (dots1: from 4.53 on), on any device that torch has.

The library only runs forward passes: it neither generates, nor runs code that comes with a model, nor opens a pickle.

Keys and values are in the library's own cache, the rows of a call side by side, each new token in a column of its own:

    a DynamicCache                                 from 4.36 on
    a tuple of (keys, values) for each layer       before

Its name (`past_key_values`, from 5.24 on `cache`) is read from the signature of the model's `forward`. Nothing is ever
taken out of it: the 2-D mask hides the columns that are not, or no longer, a row's own (padding, dropped tokens), and
`position_ids` count those that are. Where too many are hidden, or other rows take part, the cache is written anew
without them. Tokens of a row that pauses are computed again when it goes on.

The last bits of a row's logits depend on the other rows of the call.
"""
from __future__ import annotations

import inspect
import logging
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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

WITH_CACHE_CLASS = (4, 36)
# Before, the library's masks for fused attention are wrong for rows of different lengths.
WITH_FUSED_ATTENTION = (4, 41)
# Hidden columns above which, if they outnumber the others, a cache is written anew.
MOST_HIDDEN = 64
# On the CPU a lone row's products of a few columns take longer than those of so many.
PADDED = 6
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
        eager = WITH_CACHE_CLASS <= version < WITH_FUSED_ATTENTION
        options = {"attn_implementation": "eager"} if eager else {}
        try:
            with _quiet(transformers):
                model = load_model(self.torch, transformers, checkpoint, dtype=self.dtype, options=options)
            self.model = model.to(device=self.device, dtype=self.dtype).eval()
        except (OSError, ValueError, RuntimeError, KeyError, ImportError, TypeError) as error:
            raise EngineError(f"{path}: transformers cannot load it on {self.place.name}: {error}") from error
        self.cache_argument = find_cache_argument(self.model.model.forward, transformers.__version__)

    def make_past(self, layers: Iterable[tuple[Any, Any]]) -> Any:
        """Return the library's cache with the keys and values of each layer, (rows, kv_heads, columns, head_dim)."""
        if self.cache_class is None:
            return tuple(layers) or None
        past = self.cache_class()
        for index, (keys, values) in enumerate(layers):
            past.update(keys, values, index)
        return past

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
    """The tokens of all rows, and the library's keys and values of those that took part in the last call."""

    def __init__(self, engine: TransformersEngine, rows: int, n_ctx: int) -> None:
        self.rows = rows
        self.n_ctx = n_ctx
        self._engine, self._torch = engine, engine.torch
        self._lengths = RowLengths(rows=rows, n_ctx=n_ctx, limit=engine.n_ctx)
        self._ids = [list[int]() for _ in range(rows)]
        self.exact, self.joins = False, True
        self._clear()

    def _clear(self) -> None:
        self._past: Any = None
        self._order: list[int] = []  # the row at each place of `_past`
        self._own = np.zeros((0, 0), bool)  # (places, columns): which columns hold a token of the row, in its order

    def forward(
        self, chunks: Sequence[tuple[int, Sequence[int]]], behind: Sequence[int] | None = None
    ) -> NDArray[np.float32]:
        """Append the chunks in one forward and return the logits behind the last tokens of each."""
        engine = self._engine
        counts = self._lengths.check_chunks(chunks, behind, n_vocab=len(engine.vocab))
        if engine.model is None:
            raise EngineError("the engine is closed", hint="load it again")
        added = dict(chunks)
        try:
            with engine.without_gradients():
                self._arrange(list(added))
                logits: NDArray[np.float32] = self._run(added, counts)
        except RuntimeError as error:  # torch's OutOfMemoryError is one
            self._clear()  # some layers may have the new tokens, others not
            raise EngineError(f"transformers failed: {error}", hint="a smaller batch, or device cpu") from error
        for row, tokens in added.items():
            self._ids[row].extend(tokens)
            self._lengths.held[row] = len(self._ids[row])
        return logits

    def length(self, row: int) -> int:
        """Return how many tokens the row holds."""
        self._lengths.check_row(row)
        return self._lengths.held[row]

    def truncate(self, row: int, length: int) -> None:
        """Drop the row's tokens from `length` on: the mask hides their columns."""
        self._lengths.truncate(row, length)
        del self._ids[row][length:]
        if row in self._order:
            self._hide(self._order.index(row), length)

    def fork(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens, and their keys and values where they are at hand."""
        self._lengths.fork(source, target, length)
        self._ids[target] = self._ids[source][:length]
        known = source in self._order
        if known and source != target:
            with self._engine.without_gradients():
                self._select([*(row for row in self._order if row != target), target], {target: source})
        if target in self._order:
            self._hide(self._order.index(target), length if known else 0)

    def close(self) -> None:
        """Free the memory."""
        self._lengths.closed = True
        self._clear()

    def _hide(self, place: int, length: int) -> None:
        """Hide the columns of a place's tokens from `length` on."""
        self._own[place, np.flatnonzero(self._own[place])[length:]] = False

    def _arrange(self, rows: list[int]) -> None:
        """Give a place to these rows and to no other, and remove columns that none of them uses, or that are too many.

        So what was dropped before does not show in a lone row's last bits.
        """
        order = [row for row in self._order if row in rows]
        order += [row for row in rows if row not in order]
        used: NDArray[np.bool_] = np.logical_or.reduce(self._own, axis=0)
        width = int(used.nonzero()[0].max(initial=-1)) + 1
        longest = int(self._own.sum(axis=1).max(initial=0))
        if order != self._order or not used[:width].all() or width > 2 * longest + MOST_HIDDEN:
            self._select(order, {})
        elif width < len(used):
            if not width or not hasattr(self._past, "crop"):
                self._select(order, {})
            else:
                self._past.crop(width - len(used))  # a negative number, which all releases take
                self._own = self._own[:, :width]

    def _select(self, order: list[int], sources: Mapping[int, int]) -> None:
        """Write the cache anew with these rows and without hidden columns; a row without a place begins empty.

        sources: rows that take over the columns of another.
        """
        torch, past, places = self._torch, self._past, {row: place for place, row in enumerate(self._order)}
        chosen = [places.get(sources.get(row, row)) for row in order]
        kept = [[] if place is None else np.flatnonzero(self._own[place]).tolist() for place in chosen]
        longest = max(map(len, kept), default=0)
        self._clear()
        self._order = order
        self._own = np.array([[True] * len(columns) + [False] * (longest - len(columns)) for columns in kept], bool)
        if longest:
            # What fills a shorter row is hidden; it must only be no NaN.
            columns = torch.tensor([[*columns, *[0] * (longest - len(columns))] for columns in kept])
            rows = torch.tensor([[place or 0] for place in chosen])
            self._past = self._engine.make_past(
                tuple(held[rows, :, columns].transpose(1, 2) for held in layer[:2]) for layer in past
            )

    def _run(self, added: Mapping[int, Sequence[int]], behind: Sequence[int]) -> Any:
        """Compute what each row in place has not yet; return the logits behind the last tokens of each row added."""
        torch, engine = self._torch, self._engine
        held = self._own.sum(axis=1)
        fresh = [[*self._ids[row][count:], *added[row]] for row, count in zip(self._order, held, strict=True)]
        counts = np.array([len(tokens) for tokens in fresh])
        longest = int(counts.max())
        if 1 < longest < PADDED and len(counts) == 1 and engine.place.kind == "cpu":
            longest = PADDED
        steps = np.arange(longest)
        # Padding comes behind a row's tokens, which do not see it, and repeats the last position.
        positions = held[:, None] + np.minimum(steps, counts[:, None] - 1)
        ids = np.array([[*tokens, *[0] * (len(steps) - len(tokens))] for tokens in fresh])
        mask = np.concatenate((self._own, np.ones(ids.shape, bool)), axis=1).astype(np.int64)
        if self._past is None:
            self._past = engine.make_past(())
        to_device = lambda values: torch.from_numpy(values).to(engine.device)  # noqa: E731
        result = engine.model.model(
            input_ids=to_device(ids), attention_mask=to_device(mask), position_ids=to_device(positions),
            use_cache=True, **{engine.cache_argument: self._past},
        )  # fmt: skip
        self._past = getattr(result, engine.cache_argument)
        self._own = np.concatenate((self._own, steps < counts[:, None]), axis=1)
        asked = [
            (place, int(counts[place]) - wanted + index)
            for place, wanted in zip(map(self._order.index, added), behind, strict=True)
            for index in range(wanted)
        ]
        places, columns = torch.tensor(asked).T
        return engine.model.lm_head(result.last_hidden_state[places, columns]).float().cpu().numpy()


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
