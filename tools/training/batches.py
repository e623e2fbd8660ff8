"""Batches of texts of similar length, padded at the end: one row is one text, and none attends to another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tools.training.shards import Taught, read_shard, shard_path
from tools.training.teacher import KEPT

# Few row lengths, so that a compiled model sees few shapes.
WIDTHS = (56, 96, 136, 192, 288, 512)


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs [rows, width]; targets as tokens and chances [rows, width, KEPT + 1], 0 on padding and what is given."""

    inputs: NDArray[np.int64]
    tokens: NDArray[np.int64]
    chances: NDArray[np.float32]
    shard: int

    @property
    def count(self) -> int:
        """Return the number of targets."""
        return int((self.chances[:, :, 0] >= 0).sum() - (self.chances.sum(axis=2) == 0).sum())


def pad_rows(texts: Sequence[Taught], width: int, *, shard: int = 0) -> Batch:
    """Return a batch of texts of at most width + 1 tokens; what the soft targets lack belongs to the real token."""
    inputs = np.zeros((len(texts), width), dtype=np.int64)
    tokens = np.zeros((len(texts), width, KEPT + 1), dtype=np.int64)
    chances = np.zeros((len(texts), width, KEPT + 1), dtype=np.float32)
    for row, text in enumerate(texts):
        ids, lesson = text.ids, text.lesson
        inputs[row, : len(ids) - 1] = ids[:-1]
        tokens[row, : len(ids) - 1, 0] = ids[1:]
        chances[row, : len(ids) - 1, 0] = 1.0
        tokens[row, lesson.places - 1, 1:] = lesson.tokens
        chances[row, lesson.places - 1, 1:] = lesson.chances
        chances[row, lesson.places - 1, 0] -= lesson.chances.astype(np.float32).sum(axis=1)
        chances[row, text.given - 1] = 0.0
    return Batch(inputs, tokens, chances, shard)


def stream_batches(
    folder: Path, tokens: int, rng: np.random.Generator, *, first: int
) -> Iterator[Batch]:
    """Yield batches for ever: about `tokens` a batch, shards in order, then any at random."""
    waiting: dict[int, list[Taught]] = {width: [] for width in WIDTHS}
    number = first
    while True:
        path = shard_path(folder, number)
        if not path.exists():
            drawn = sorted(folder.glob("shard_*.npz")) or [path]
            path = drawn[int(rng.integers(len(drawn)))]
        ready = []
        texts = read_shard(path)
        for position in rng.permutation(len(texts)):
            text = texts[position]
            width = next(width for width in WIDTHS if len(text.ids) <= width + 1)
            waiting[width].append(text)
            if len(waiting[width]) == max(1, tokens // width):
                ready.append((width, waiting[width]))
                waiting[width] = []
        for position in rng.permutation(len(ready)):
            width, rows = ready[position]
            yield pad_rows(rows, width, shard=number)
        number += 1
