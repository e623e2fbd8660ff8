"""Batches of texts of like length, padded at the end, so that one row is one text and none sees another.
It knows shards and a generator, and refuses to know the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kgen_ext.training.shards import read_shard, shard_path

# Few row lengths, so that a compiled model sees few shapes.
WIDTHS = (56, 96, 136, 192, 288, 512)
IGNORED = -100  # target of padding, as torch's cross entropy skips it by default


def pad_rows(texts: Sequence[NDArray[np.int64]], width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return inputs and targets [rows, width] of texts of at most width + 1 tokens."""
    inputs = np.zeros((len(texts), width), dtype=np.int64)
    targets = np.full((len(texts), width), IGNORED, dtype=np.int64)
    for row, text in enumerate(texts):
        inputs[row, : len(text) - 1] = text[:-1]
        targets[row, : len(text) - 1] = text[1:]
    return inputs, targets


def stream_batches(
    folder: Path, tokens: int, rng: np.random.Generator, *, first: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], int]]:
    """Yield (inputs, targets, shard number) for ever: about `tokens` a batch, shards in order, then any at random."""
    waiting: dict[int, list[NDArray[np.int64]]] = {width: [] for width in WIDTHS}
    number = first
    while True:
        path = shard_path(folder, number)
        if not path.exists():
            path = shard_path(folder, int(rng.integers(max(1, number))))
        ready = []
        texts = read_shard(path)
        for position in rng.permutation(len(texts)):
            text = texts[position]
            width = next(width for width in WIDTHS if len(text) <= width + 1)
            waiting[width].append(text)
            if len(waiting[width]) == max(1, tokens // width):
                ready.append((width, waiting[width]))
                waiting[width] = []
        for position in rng.permutation(len(ready)):
            width, rows = ready[position]
            yield (*pad_rows(rows, width), number)
        number += 1
