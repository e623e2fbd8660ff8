"""The engine contract: token ids in, logits out, and a cache whose rows can be extended, truncated and forked.

Text protocols, sampling and constraints are not an engine's: they are implemented once, above it, for all engines.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Vocab:
    """The token ids of a model.

    pieces: the bytes each id adds to running text: a leading space included, one byte for a byte-fallback token, none
    for special tokens and for ids without text. special: the id of each special token by its text (`<|long|>`, `</s>`).
    """

    pieces: tuple[bytes, ...]
    special: Mapping[str, int]
    bos: int | None
    eos: int

    def __len__(self) -> int:
        return len(self.pieces)


class Cache(Protocol):
    """The keys and values of `rows` sequences, each with its own length. Not thread-safe."""

    rows: int
    n_ctx: int
    exact: bool
    """Whether the last bits of a row's logits depend on its tokens only.

    So it is with the reference engine and with llama_cpp on the CPU. Elsewhere (transformers, any engine on a GPU) they
    also depend on the chunks that the tokens came in, and on the other rows of the call.
    """
    joins: bool
    """Whether chunks of several tokens, of several rows, are computed in one go."""

    def forward(
        self, chunks: Sequence[tuple[int, Sequence[int]]], behind: Sequence[int] | None = None
    ) -> NDArray[np.float32]:
        """Append tokens to rows and return the logits that follow the last `behind` tokens of each.

        chunks: (row, token ids) pairs, each row at most once, at least one token each, lengths may differ. behind: for
        each chunk, from 1 to its length; None for 1 each.
        Returns float32, shape (sum(behind), len(vocab)), in the order given; valid until the next call on this cache
        (copy what must live longer), and free for the caller to overwrite.
        Raises EngineError when the library fails, ValueError when a row would exceed n_ctx (before anything changes).
        """
        ...

    def length(self, row: int) -> int:
        """Return how many tokens the row holds."""
        ...

    def truncate(self, row: int, length: int) -> None:
        """Drop the row's tokens from position `length` on; 0 empties the row."""
        ...

    def fork(self, source: int, target: int, length: int) -> None:
        """Replace what `target` holds by the first `length` tokens of `source`."""
        ...

    def close(self) -> None:
        """Free the memory. May be called twice."""
        ...


@runtime_checkable
class PartialCache(Cache, Protocol):
    """A cache that knows the logits of the likeliest tokens only; all others are -inf until they are asked for."""

    floors: Sequence[float]
    """For each row of the last logits, what those of the others do not exceed; -inf where there are none."""

    def extend(self, place: int) -> NDArray[np.float32]:
        """Return a row of the last logits again, with those of more tokens, and update its floor.

        place: its index. Raises EngineError where no more can be had.
        """
        ...


class Engine(Protocol):
    """A loaded model."""

    name: str
    vocab: Vocab
    n_ctx: int

    def tokenize(self, text: str) -> list[int]:
        """Return the ids of a text; special tokens are recognised, none is added."""
        ...

    def open_cache(self, rows: int, n_ctx: int) -> Cache:
        """Return an empty cache for `rows` sequences of at most `n_ctx` tokens each."""
        ...

    def close(self) -> None:
        """Free the model's memory. May be called twice."""
        ...
