"""What an engine is: token ids in, logits out, with a cache whose rows can be grown, cut back and forked.

Refuses to know text protocols, sampling and constraints: those live above, once, for all engines.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Vocab:
    """The token ids of a model.

    `pieces[i]` are the bytes token i adds to running text (a leading space included; a byte-fallback token is one
    byte; special tokens, and ids that have no text, are empty). `special` maps each special token's text (`<|long|>`,
    `</s>`) to its id.
    """

    pieces: tuple[bytes, ...]
    special: Mapping[str, int]
    bos: int | None
    eos: int

    def __len__(self) -> int:
        return len(self.pieces)


class Cache(Protocol):
    """The keys and values of `rows` sequences, each with its own length. Not thread-safe; one user at a time."""

    rows: int
    n_ctx: int

    def forward(self, chunks: Sequence[tuple[int, Sequence[int]]]) -> NDArray[np.float32]:
        """Append tokens to rows and return the logits that follow the last token of each.

        chunks: (row, token ids) pairs, each row at most once, at least one token each, lengths may differ.
        Returns float32, shape (len(chunks), len(vocab)), in the order given; valid until the next call on this cache
        (copy what must live longer), and free for the caller to overwrite.
        Raises EngineError when the library fails, ValueError when a row would exceed n_ctx (before anything changes).

        What a row's last bits depend on: nothing but its tokens (reference, scripted); its tokens and the chunks they
        came in (llama_cpp on the CPU: whole prompts and forced runs in one chunk, or always token by token); also on
        the other rows of the call (transformers, and any engine on a GPU).
        A row that is done is best cut to 0, so that its place can be used without care.
        """
        ...

    def length(self, row: int) -> int:
        """Return how many tokens the row holds."""
        ...

    def truncate(self, row: int, length: int) -> None:
        """Forget the row's tokens from position `length` on; 0 empties it."""
        ...

    def fork(self, source: int, target: int, length: int) -> None:
        """Make `target` hold the first `length` tokens of `source` (what it held is forgotten)."""
        ...

    def share(self, count: int) -> None:
        """Take an equal part of the engine's threads: from now on `count` caches are fed at the same time."""
        ...

    def close(self) -> None:
        """Give the memory back. May be called twice."""
        ...


class Engine(Protocol):
    """A loaded model."""

    name: str
    vocab: Vocab
    n_ctx: int

    def tokenize(self, text: str) -> list[int]:
        """Return the ids of text, special tokens recognised, no BOS added; "" gives []."""
        ...

    def lanes(self, rows: int) -> int:
        """Return in how many caches that many rows are decoded fastest, each fed from a thread of its own.

        1 where the engine's library cannot do that, or does not gain by it.
        """
        ...

    def open_cache(self, rows: int, n_ctx: int) -> Cache:
        """Return an empty cache for `rows` sequences of at most `n_ctx` tokens each."""
        ...

    def close(self) -> None:
        """Give the model's memory back. May be called twice."""
        ...
