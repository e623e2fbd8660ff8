"""The sampler chain, the same for all engines and always in one order.

    constraints, temperature, min-p, top-k, top-p, draw

A disabled filter is skipped; temperature 0 is argmax (lowest id among equals). Each filter sees only what the ones
before it left, renormalised. Constraints arrive as logits that are already -inf.

A draw is the argmax of logits plus Gumbel noise, and the noise is a pure function of (seed, position, token id), the
only randomness in this package. So two engines whose logits differ in the last bits draw the same token unless two
candidates are within that difference, and a row's noise depends neither on the rest of the batch nor on how often it
was rewound.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kgen_ext.sampling import Sampling

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_SPREAD = 0xD1342543DE82EF95  # keeps the noise of neighbouring ids apart
# Below this a temperature is as good as 0, and dividing by it would overflow.
_COLD = 1e-6
# How many sets a row is divided into for each token that top-k keeps.
_SETS = 4
# Up to so many candidates, their noise is made one by one.
_FEW = 8
# First guess at how many tokens a nucleus has; doubled until their mass suffices.
_NUCLEUS = 256
# That number and SplitMix64's, as NumPy takes them.
_SPREAD_64, _ADDED, _FIRST, _SECOND, _12, _27, _30, _31 = map(
    np.uint64, (_SPREAD, _GOLDEN, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 12, 27, 30, 31)
)
_LOWEST = float(np.finfo(np.float32).min)

Floats = NDArray[np.float32]


class Bias(NamedTuple):
    """What is added to the logits of `tokens`, each of them there once, or of all."""

    tokens: NDArray[np.int64] | slice
    values: Floats | float

    def add_to(self, logits: Floats) -> None:
        """Add it to the logits [vocabulary] of a row."""
        logits[self.tokens] += self.values


class Draw(NamedTuple):
    """A drawn token, -1 where every token is excluded, and its share of the mass that the filters left."""

    token: int
    share: float


def draw(logits: Floats, settings: Sequence[Sampling], keys: Sequence[int]) -> list[Draw]:
    """Draw one token for each row.

    logits: float32 (rows, vocabulary), excluded tokens -inf; not modified. keys: one 64-bit draw key a row.
    """
    if len(settings) == 1:
        return [_draw_one(logits[0], settings[0], keys[0])]
    all_keys = np.array(keys, np.uint64)
    if all(setting == settings[0] for setting in settings):
        return _draw(logits, settings[0], all_keys)
    drawn = [Draw(-1, 0.0)] * len(settings)
    for setting in dict.fromkeys(settings):
        rows = [row for row, other in enumerate(settings) if other == setting]
        for row, drawn_row in zip(rows, _draw(logits[rows], setting, all_keys[rows]), strict=True):
            drawn[row] = drawn_row
    return drawn


def is_decided(logits: Floats, setting: Sampling, floor: float) -> bool:
    """Return whether a row's draw is the same whatever the logits of its -inf tokens are, up to `floor`."""
    if floor == -math.inf:
        return True
    # The mass that top-p alone takes its share of is that of the whole row.
    cut_by_best = setting.temperature <= _COLD or setting.min_p > 0 or 0 < setting.top_k < logits.size
    return cut_by_best and float(_cuts(logits, setting)[0]) > floor


def _draw_one(logits: Floats, setting: Sampling, key: int) -> Draw:
    """Draw for one row: what `_draw` draws, in less than half the time."""
    cut, mass = _cuts(logits, setting)
    tokens = (logits >= cut).nonzero()[0]
    if len(tokens) > 1 and setting.temperature > _COLD:
        scores = logits[tokens].astype(np.float64)
        scores /= setting.temperature
        if setting.top_k or setting.top_p < 1:
            best = _best(scores, setting, mass)
            tokens, scores = tokens[best], scores[best]
        if len(tokens) > 1:
            if len(tokens) <= _FEW:
                return _draw_few(tokens.tolist(), scores.tolist(), key)
            drawn = int((scores + gumbel(np.uint64(key), tokens)).argmax())
            return Draw(int(tokens[drawn]), 1.0 / float(np.exp(scores - scores[drawn]).sum()))
    # One is left, or equals; or none.
    return Draw(int(tokens[0]), 1.0 / len(tokens)) if len(tokens) else Draw(-1, 0.0)


def _draw_few(tokens: list[int], scores: list[float], key: int) -> Draw:
    """Draw out of a few candidates: what `gumbel` would, without NumPy, whose calls take longer than such sums."""
    noisy = [
        score - math.log(-math.log(((mix(key ^ (token * _SPREAD & _MASK)) >> 12) + 0.5) * 2.0**-52))
        for token, score in zip(tokens, scores, strict=True)
    ]
    place, top = noisy.index(max(noisy)), max(scores)
    return Draw(tokens[place], math.exp(scores[place] - top) / sum([math.exp(score - top) for score in scores]))


def _draw(logits: Floats, setting: Sampling, keys: NDArray[np.uint64]) -> list[Draw]:
    """Draw for rows of one setting."""
    cuts, masses = _cuts(logits, setting)
    # One flat search takes half the time of one in two dimensions.
    rows, tokens = np.divmod(np.flatnonzero(logits >= cuts.reshape(-1, 1)), logits.shape[1])
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


def _cuts(logits: Floats, setting: Sampling) -> tuple[NDArray[np.float32], NDArray[np.float64] | None]:
    """Return for each row a logit below which no token can survive the chain, and the mass that top-p takes a share of.

    logits: rows, or one row. A mass is relative to the best token's; None means the mass of what the filters before
    left.
    """
    *rows, size = logits.shape
    masses, cuts = None, np.float32(_LOWEST)
    if setting.temperature <= _COLD:
        cuts = logits.max(axis=-1)
    elif setting.min_p > 0:
        cuts = logits.max(axis=-1) + np.float32(setting.temperature * math.log(setting.min_p))
    elif 0 < setting.top_k < size:
        # The k-th largest of the maxima of some sets is at most the k-th largest of all: a bound for top-k that takes
        # no sorting of a vocabulary.
        depth = max(1, size // (setting.top_k * _SETS))
        sets = size // depth
        peaks = logits[..., : sets * depth].reshape(*rows, depth, sets).max(axis=-2)
        peaks.partition(sets - setting.top_k)
        cuts = peaks[..., -setting.top_k]
    elif setting.top_p < 1:
        found = np.array([_nucleus_cut(row, setting) for row in logits.reshape(-1, size)]).reshape(*rows, 2)
        cuts, masses = found[..., 0].astype(np.float32), found[..., 1]
    # Excluded tokens are below every cut, and so are NaNs.
    return np.fmax(cuts, np.float32(_LOWEST)), masses


def _nucleus_cut(row: Floats, setting: Sampling) -> tuple[float, float]:
    """Return a cut that leaves the nucleus intact, without sorting the vocabulary, and the whole row's mass."""
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
    """Return which candidates of all rows top-k and then top-p keep; among equals the lower id comes first."""
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
        # Equals at the border: keep as many of them as there is room for.
        mine = np.arange(starts[row], starts[row] + counts[row])
        kept[mine] = False
        kept[mine[np.argsort(-scores[mine], kind="stable")[: left[row]]]] = True
    return kept


def _best(scores: NDArray[np.float64], setting: Sampling, mass: NDArray[np.float64] | None) -> NDArray[np.int64]:
    """Return the places of what `_kept` keeps of one row."""
    order = (-scores).argsort(kind="stable")[: setting.top_k or None]
    if setting.top_p < 1:
        ranked = scores[order]
        shares = np.exp(ranked - ranked[0])
        upto = shares.cumsum()
        inside = (upto - shares < setting.top_p * (upto[-1] if mass is None else mass)) & (shares > 0)
        order = order[: max(1, np.count_nonzero(inside))]
    order.sort()
    return order


def mix(value: int) -> int:
    """Return SplitMix64's finaliser of a 64-bit value (Steele, Lea, Flood 2014)."""
    value = (value + _GOLDEN) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def derive_seed(seed: int, index: int) -> int:
    """Return the seed of a row's index-th variant, 63 bits; that of index 0 is `seed` itself."""
    return seed if index == 0 else mix(mix(seed) ^ index) >> 1


def draw_key(seed: int, position: int) -> int:
    """Return the 64-bit key of one draw."""
    return mix(mix(seed) ^ position)


def gumbel(keys: NDArray[np.uint64] | np.uint64, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return standard Gumbel noise for (draw key, token id) pairs, shape as given."""
    x = tokens.astype(np.uint64)
    x *= _SPREAD_64
    x ^= keys
    x += _ADDED
    x ^= x >> _30
    x *= _FIRST
    x ^= x >> _27
    x *= _SECOND
    x ^= x >> _31
    return -np.log(-np.log(to_uniform(x)))


def to_uniform(bits: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return numbers between 0 and 1, both excluded, from 64 bits each.

    52 bits, centred in their cells: with 53 the highest cell's centre would round to 1, and a logarithm meet 0.
    """
    return ((bits >> _12).astype(np.float64) + 0.5) * 2.0**-52
