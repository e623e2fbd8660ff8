"""The lengths of a cache's rows, and the checks that every engine makes before it changes anything."""
from __future__ import annotations

from collections.abc import Sequence

from kgen_ext.errors import EngineError


class RowLengths:
    """How many tokens each row holds (`held`), and whether the cache is closed.

    Every method raises ValueError for a call that cannot be carried out, before anything has changed.
    """

    def __init__(self, *, rows: int, n_ctx: int, limit: int) -> None:
        if rows < 1:
            raise ValueError(f"a cache needs at least 1 row, not {rows}")
        if not 1 <= n_ctx <= limit:
            raise ValueError(f"n_ctx is {n_ctx}, this engine allows 1 to {limit}")
        self.n_ctx = n_ctx
        self.held = [0] * rows
        self.closed = False

    def check_row(self, row: int) -> None:
        """Raise ValueError for a row that does not exist, EngineError once the cache is closed."""
        if self.closed:
            raise EngineError("the cache is closed", hint="open a new one")
        if not 0 <= row < len(self.held):
            raise ValueError(f"row {row} does not exist, the cache has {len(self.held)} rows")

    def check_chunks(
        self, chunks: Sequence[tuple[int, Sequence[int]]], behind: Sequence[int] | None, *, n_vocab: int
    ) -> Sequence[int]:
        """Return of how many tokens of each chunk logits are asked for.

        Raises ValueError if chunks name a row twice, are empty, exceed n_ctx, hold an id outside the vocabulary or
        fewer tokens than are asked for.
        """
        held, n_ctx, seen = self.held, self.n_ctx, set()
        counts = [1] * len(chunks) if behind is None else behind
        if len(counts) != len(chunks):
            raise ValueError(f"behind has {len(counts)} numbers, there are {len(chunks)} chunks")
        for (row, tokens), wanted in zip(chunks, counts, strict=True):
            if self.closed or not 0 <= row < len(held):
                self.check_row(row)
            if row in seen:
                raise ValueError(f"row {row} is named twice in one call")
            seen.add(row)
            count = len(tokens)
            if not count:
                raise ValueError(f"row {row} is given no token")
            if not 1 <= wanted <= count:
                raise ValueError(f"logits behind {wanted} tokens are asked for, row {row} is given {count}")
            if held[row] + count > n_ctx:
                raise ValueError(f"row {row} holds {held[row]} tokens, {count} more exceed n_ctx = {n_ctx}")
            if not (0 <= tokens[0] < n_vocab and (count == 1 or 0 <= min(tokens) <= max(tokens) < n_vocab)):
                raise ValueError(f"row {row} is given a token id outside 0 to {n_vocab - 1}")
        return counts

    def truncate(self, row: int, length: int) -> None:
        """Set the row's length to `length`, at most what it is."""
        self.check_row(row)
        if not 0 <= length <= self.held[row]:
            raise ValueError(f"row {row} holds {self.held[row]} tokens, it cannot be cut to {length}")
        self.held[row] = length

    def fork(self, source: int, target: int, length: int) -> None:
        """Set the target's length to `length`, at most the source's."""
        self.check_row(source)
        self.check_row(target)
        if not 0 <= length <= self.held[source]:
            raise ValueError(f"row {source} holds {self.held[source]} tokens, {length} cannot be taken from it")
        self.held[target] = length
