"""The sampler chain, one for all engines, in one order: constraints, temperature, min-p, top-k, top-p, draw.

A disabled filter is absent; temperature 0 is argmax (lowest id among equals). Filters see only what the ones before
them left, renormalised. Knows nothing of fields: constraints arrive as logits that are already -inf.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kgen_ext.decoding.noise import gumbel

# Below this a temperature is as good as 0, and dividing by it would overflow.
_COLD = 1e-6
# Sets a row is looked over in, for each token that top-k keeps.
_SETS = 4
# First guess at how many tokens a nucleus holds; doubled until their mass suffices.
_NUCLEUS = 256
_LOWEST = float(np.finfo(np.float32).min)

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sampling:
    """One row's settings; 0 (1 for top_p) disables a filter."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0


class Draw(NamedTuple):
    """A drawn token, -1 where everything is forbidden, and its share of the mass that the filters left."""

    token: int
    share: float


def draw(logits: Floats, settings: Sequence[Sampling], keys: Sequence[int]) -> list[Draw]:
    """Draw one token for each row.

    logits: float32 (rows, vocabulary), forbidden tokens -inf; not changed. keys: one 64-bit draw key a row.
    """
    noise = np.array(keys, np.uint64)
    if all(one == settings[0] for one in settings):
        return _draw(logits, settings[0], noise)
    drawn = [Draw(-1, 0.0)] * len(settings)
    for setting in dict.fromkeys(settings):
        rows = [row for row, one in enumerate(settings) if one == setting]
        for row, one in zip(rows, _draw(logits[rows], setting, noise[rows]), strict=True):
            drawn[row] = one
    return drawn


def _draw(logits: Floats, setting: Sampling, keys: NDArray[np.uint64]) -> list[Draw]:
    """Draw for rows of one setting."""
    cuts, masses = _cuts(logits, setting)
    # One flat search takes half the time of one in two dimensions.
    rows, tokens = np.divmod(np.flatnonzero(logits >= cuts[:, None]), logits.shape[1])
    scores = logits[rows, tokens].astype(np.float64)
    cold = setting.temperature <= _COLD
    if not cold:
        scores /= setting.temperature
        if setting.top_k or setting.top_p < 1:
            kept = _kept(rows, scores, setting, len(logits), masses)
            rows, tokens, scores = rows[kept], tokens[kept], scores[kept]
    noisy = scores if cold else scores + gumbel(keys[rows], tokens)
    bounds = np.searchsorted(rows, np.arange(len(logits) + 1)).tolist()
    drawn = []
    for low, high in pairwise(bounds):
        if low == high:
            drawn.append(Draw(-1, 0.0))
            continue
        best = low + int(noisy[low:high].argmax())
        mass = float(np.exp(scores[low:high] - scores[best]).sum()) if high - low > 1 else 1.0
        drawn.append(Draw(int(tokens[best]), 1.0 / mass))
    return drawn


def _cuts(logits: Floats, setting: Sampling) -> tuple[Floats, NDArray[np.float64] | None]:
    """Return logits (rows) below which no token can survive the chain, and the masses top-p takes a share of.

    A mass is relative to the best token's; None stands for "of what the filters before left".
    """
    count, size = logits.shape
    masses = None
    if setting.temperature <= _COLD:
        cuts = logits.max(axis=1)
    elif setting.min_p > 0:
        cuts = logits.max(axis=1) + np.float32(setting.temperature * math.log(setting.min_p))
    elif 0 < setting.top_k < size:
        # The k-th largest of some sets' largest is not above the k-th largest of all: that finds where top-k may cut
        # without sorting a vocabulary.
        depth = max(1, size // (setting.top_k * _SETS))
        sets = size // depth
        peaks = logits[:, : sets * depth].reshape(count, depth, sets).max(axis=1)
        cuts = np.partition(peaks, -setting.top_k, axis=1)[:, -setting.top_k]
    elif setting.top_p < 1:
        found = [_nucleus_cut(row, setting) for row in logits]
        cuts, masses = np.array([cut for cut, _ in found], np.float32), np.array([mass for _, mass in found])
    else:
        cuts = np.full(count, _LOWEST, np.float32)
    # What is forbidden is below every cut, and so is what is no number.
    return np.where(cuts >= _LOWEST, cuts, np.float32(_LOWEST)), masses


def _nucleus_cut(row: Floats, setting: Sampling) -> tuple[float, float]:
    """Return a cut that leaves the nucleus whole, without sorting the vocabulary, and the whole row's mass."""
    top = float(row.max())
    if not top > -np.inf:
        return _LOWEST, 0.0
    total = float(_mass(row, top, setting).sum())
    count = _NUCLEUS
    while count < row.size:
        best = np.partition(row, -count)[-count:]
        if float(_mass(best, top, setting).sum()) >= setting.top_p * total:
            return float(best.min()), total
        count *= 2
    return _LOWEST, total


def _mass(row: Floats, top: float, setting: Sampling) -> NDArray[np.float64]:
    return np.exp((row.astype(np.float64) - top) / setting.temperature)


def _kept(
    rows: NDArray[np.int64], scores: NDArray[np.float64], setting: Sampling, count: int,
    masses: NDArray[np.float64] | None,
) -> NDArray[np.bool_]:
    """Return which candidates top-k and then top-p leave; the lower id comes first among equals."""
    counts = np.bincount(rows, minlength=count)
    starts = np.cumsum(counts) - counts
    width = max(1, int(counts.max()))
    table = np.full((count, width), np.inf)
    table[rows, np.arange(len(rows)) - starts[rows]] = -scores
    table.sort(axis=1)
    left = np.full(count, min(setting.top_k or width, width))
    if setting.top_p < 1:
        mass = np.exp(np.minimum(table[:, :1], np.finfo(float).max) - table[:, : left[0]])
        upto = np.cumsum(mass, axis=1)
        total = upto[:, -1] if masses is None else masses
        # The best token always stays.
        left = np.maximum(np.count_nonzero((upto - mass < (setting.top_p * total)[:, None]) & (mass > 0), axis=1), 1)
    kept = scores >= -table[np.arange(count), left - 1][rows]
    for row in np.flatnonzero(np.bincount(rows[kept], minlength=count) > left).tolist():
        # Equals at the border: as many of them as there is room for.
        mine = np.arange(starts[row], starts[row] + counts[row])
        kept[mine] = False
        kept[mine[np.argsort(-scores[mine], kind="stable")[: left[row]]]] = True
    return kept
