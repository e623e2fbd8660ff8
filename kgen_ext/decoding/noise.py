"""Gumbel noise that is a pure function of (seed, position, token id): the only randomness in this package.

A draw is the argmax of logits plus noise, so two engines whose logits differ in the last bits draw the same token
unless two candidates lie within that difference, and no row's noise depends on its company or on how often it was
rewound. Knows nothing of logits or rows.
"""
from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def mix(value: int) -> int:
    """Return SplitMix64's finaliser of a 64-bit value (Steele, Lea, Flood 2014)."""
    value = (value + _GOLDEN) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def derive_seed(seed: int, index: int) -> int:
    """Return the seed of the index-th relative of a row; index 0 is the seed itself. Fits in 63 bits."""
    return seed if index == 0 else mix(mix(seed) ^ index) >> 1


def draw_key(seed: int, position: int) -> int:
    """Return the 64-bit key of one draw."""
    return mix(mix(seed) ^ position)


def gumbel(keys: NDArray[np.uint64], tokens: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return standard Gumbel noise for (draw key, token id) pairs, shape as given."""
    x = (keys ^ (tokens.astype(np.uint64) * np.uint64(0xD1342543DE82EF95))) + np.uint64(_GOLDEN)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return -np.log(-np.log(to_uniform(x)))


def to_uniform(bits: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return numbers between 0 and 1, both excluded, from 64 bits each.

    52 bits, centred in their cells: with 53 the highest cell's centre would round to 1, and a logarithm meet 0.
    """
    return ((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
