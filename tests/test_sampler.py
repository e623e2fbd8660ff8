"""The sampler chain on four-element distributions, and the noise behind its draws."""
from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kgen_ext.decoding import sampler
from kgen_ext.decoding.sampler import derive_seed, draw_key, gumbel, mix, to_uniform
from kgen_ext.request import MAX_SEED
from kgen_ext.sampling import Sampling

P = (0.5, 0.25, 0.15, 0.1)
DRAWS = 4000


def only(temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0) -> Sampling:
    """Return options with every filter off but those given."""
    return Sampling(temperature, top_k, top_p, min_p)


def draw(logits: NDArray[np.float32], settings: Sequence[Sampling], keys: Sequence[int]) -> list[int]:
    return [drawn.token for drawn in sampler.draw(logits, settings, keys)]


def logits_of(shares: tuple[float, ...] | NDArray[np.float64]) -> NDArray[np.float32]:
    with np.errstate(divide="ignore"):
        return np.log(np.array(shares)).astype(np.float32)


def counts(shares: tuple[float, ...], setting: Sampling, draws: int = DRAWS, seed: int = 1) -> list[int]:
    block = np.tile(logits_of(shares), (draws, 1))
    drawn = draw(block, [setting] * draws, [draw_key(seed, position) for position in range(draws)])
    return [drawn.count(token) for token in range(len(shares))]


def chi_square(found: list[int], shares: tuple[float, ...]) -> float:
    wanted = np.array(shares) / sum(shares) * sum(found)
    assert all(count == 0 for count, want in zip(found, wanted, strict=True) if want == 0)
    return float(sum((count - want) ** 2 / want for count, want in zip(found, wanted, strict=True) if want))


# 99.9 % quantile of chi-square with three degrees of freedom.
LIMIT = 16.27


@pytest.mark.parametrize("seed", [0, 1, 2**62])
def test_without_filters_frequencies_are_the_softmax(seed: int) -> None:
    assert chi_square(counts(P, only(), seed=seed), P) < LIMIT


@pytest.mark.parametrize("heat", [0.5, 2.0])
def test_temperature_is_a_power_of_the_shares(heat: float) -> None:
    wanted = np.array(P) ** (1 / heat)
    assert chi_square(counts(P, only(heat)), tuple(wanted / wanted.sum())) < LIMIT


@pytest.mark.parametrize(
    ("setting", "left"),
    [
        (only(min_p=0.25), 3),  # 0.15 / 0.5 is 0.3, 0.1 / 0.5 is 0.2
        (only(min_p=1.0), 1),
        (only(top_k=3), 3),
        (only(top_k=1), 1),
        (only(top_p=0.7), 2),  # 0.5, then 0.75
        (only(top_p=0.76), 3),
        (only(top_p=0.0), 1),
        # min-p before top-k before top-p, each over what the ones before left:
        (only(min_p=0.25, top_p=0.55), 1),  # of 0.5 + 0.25 + 0.15 the first is 0.556, of all it were 0.5
        (only(top_k=2, top_p=0.66), 1),  # of 0.5 + 0.25 the first is 0.667
        (only(top_k=3, min_p=0.4, top_p=1.0), 2),
        # temperature before min-p: the shares' roots are 1 to 0.71, 0.55, 0.45
        (only(2.0, min_p=0.5), 3),
        (only(2.0, top_p=0.7), 3),  # 0.37 + 0.26 is 0.63
        (only(0.5, top_p=0.7), 1),  # 0.725
    ],
)
def test_each_filter_leaves_what_it_should_and_renormalises(setting: Sampling, left: int) -> None:
    shares = np.array(P) ** (1 / setting.temperature)
    shares[left:] = 0
    assert chi_square(counts(P, setting), tuple(shares / shares.sum())) < LIMIT


@pytest.mark.parametrize("off", [only(1.0, 0, 1.0, 0.0), only(1.0, 4, 1.0, 0.0), only(1.0, 99, 1.0, 0.0)])
def test_a_disabled_filter_is_absent(off: Sampling) -> None:
    assert counts(P, off, 500) == counts(P, only(), 500)


@pytest.mark.parametrize("heat", [0.0, 1e-9, 5e-324])
def test_temperature_0_is_argmax_and_the_lowest_id_among_equals(heat: float) -> None:
    block = logits_of((0.1, 0.4, 0.4, 0.1))[None]
    for setting in (only(heat), only(heat, top_k=3, top_p=0.5, min_p=0.1)):
        assert draw(block, [setting], [7]) == [1]


def test_a_row_in_which_all_is_forbidden_gives_minus_1_and_no_other_row_minds() -> None:
    block = np.stack([logits_of(P), np.full(4, -np.inf, np.float32), logits_of(P)])
    for setting in (only(), only(0.0), only(top_k=2), only(top_p=0.5), only(min_p=0.1)):
        drawn = draw(block, [setting] * 3, [5, 6, 7])
        assert drawn[1] == -1
        assert drawn[0::2] == [draw(block[[row]], [setting], [5 + row])[0] for row in (0, 2)]


@pytest.mark.parametrize(("setting", "size"), [(only(top_p=0.5), 4), (only(top_k=32), 64)])
def test_of_equals_at_a_border_the_lower_ids_stay(setting: Sampling, size: int) -> None:
    drawn = draw(np.zeros((500, size), np.float32), [setting] * 500, [draw_key(1, at) for at in range(500)])
    assert set(drawn) == set(range(size // 2))


def test_what_is_no_number_is_never_drawn() -> None:
    block = np.full((1, 4), np.nan, np.float32)
    assert draw(block, [only()], [1]) == [-1]


settings = st.builds(
    Sampling, st.sampled_from([0.0, 0.3, 1.0, 2.5]), st.integers(0, 12), st.sampled_from([0.0, 0.2, 0.9, 1.0]),
    st.sampled_from([0.0, 0.05, 0.5]),
)  # fmt: skip


@given(st.integers(0, 2**32), st.lists(settings, min_size=1, max_size=6), st.integers(2, 700))
def test_a_forbidden_token_is_never_drawn_and_a_row_draws_alone_as_in_company(
    seed: int, rows: list[Sampling], size: int
) -> None:
    random = np.random.Generator(np.random.PCG64(seed))
    block = (random.standard_normal((len(rows), size)) * 3).astype(np.float32)
    block[random.random(block.shape) < 0.5] = -np.inf
    before = block.copy()
    keys = [draw_key(seed, row) for row in range(len(rows))]
    drawn = draw(block, rows, keys)
    assert np.array_equal(block, before)
    for row, token in enumerate(drawn):
        assert token == -1 if (block[row] == -np.inf).all() else block[row, token] > -np.inf
        assert draw(block[row : row + 1], [rows[row]], [keys[row]]) == [token]


@given(st.integers(0, 2**32), settings, st.sampled_from([5, 300, 1500]), st.sampled_from([0.01, 1.0, 4.0]))
def test_the_quick_chain_equals_a_full_sort(seed: int, setting: Sampling, size: int, scale: float) -> None:
    """The nucleus above all: it is found without sorting the vocabulary."""
    random = np.random.Generator(np.random.PCG64(seed))
    row = (random.standard_normal(size) * scale).astype(np.float32)
    if setting.temperature == 0:
        wanted = int(np.argmax(row))
    else:
        scores = row.astype(np.float64) / setting.temperature
        order = np.argsort(-scores, kind="stable")
        mass = np.exp(scores[order] - scores[order[0]])
        if setting.min_p:
            order = order[mass >= setting.min_p]
        order = order[: setting.top_k or None]
        mass = np.exp(scores[order] - scores[order[0]])
        if setting.top_p < 1:
            order = order[: max(1, int(np.sum(np.cumsum(mass) - mass < setting.top_p * mass.sum())))]
        noise = gumbel(np.full(len(order), draw_key(seed, 0), np.uint64), order)
        wanted = int(order[np.argmax(scores[order] + noise)])
    assert draw(row[None], [setting], [draw_key(seed, 0)]) == [wanted]


def test_noise_is_a_pure_function_that_needs_no_order() -> None:
    tokens = np.arange(1000)
    keys = np.full(1000, draw_key(3, 4), np.uint64)
    noise = gumbel(keys, tokens)
    assert np.array_equal(gumbel(keys[::-1], tokens[::-1]), noise[::-1])
    assert noise[17] == gumbel(keys[:1], tokens[17:18])[0]


def test_noise_is_gumbel_and_never_infinite() -> None:
    noise = gumbel(np.full(100_000, draw_key(1, 1), np.uint64), np.arange(100_000))
    error = np.pi / np.sqrt(6) / np.sqrt(noise.size)
    assert abs(noise.mean() - np.euler_gamma) < 4 * error
    assert abs(noise.std() - np.pi / np.sqrt(6)) < 0.02
    ends = to_uniform(np.array([0, 2**64 - 1], np.uint64))
    assert 0 < ends[0] < ends[1] < 1
    assert np.isfinite(-np.log(-np.log(ends))).all()


@pytest.mark.parametrize(
    ("left", "right"),
    [((1, 0), (2, 0)), ((1, 0), (1, 1)), ((0, 0), (1, 0)), ((5, 9), (6, 8)), ((2**62, 3), (2**62 + 1, 3))],
)
def test_neighbouring_seeds_and_positions_have_nothing_in_common(left: tuple[int, int], right: tuple[int, int]) -> None:
    size = 20_000
    one, other = (gumbel(np.full(size, draw_key(*key), np.uint64), np.arange(size)) for key in (left, right))
    for shift in (0, 1):
        assert abs(np.corrcoef(one[: size - shift], other[shift:])[0, 1]) < 4 / np.sqrt(size)


def test_noise_of_neighbouring_tokens_and_of_one_token_over_positions_is_uncorrelated() -> None:
    size = 20_000
    along = gumbel(np.full(size, draw_key(1, 1), np.uint64), np.arange(size))
    over = gumbel(np.array([draw_key(1, at) for at in range(size)], np.uint64), np.full(size, 42))
    for series in (along, over):
        assert abs(np.corrcoef(series[1:], series[:-1])[0, 1]) < 4 / np.sqrt(size)


@pytest.mark.parametrize(("value", "mixed"), [
    (0, 0xE220A8397B1DCDAF), (0x9E3779B97F4A7C15, 0x6E789E6AA1B965F4),  # its first outputs, as its authors publish them
    (7, 0x63CBE1E459320DD7), (2**63 - 1, 0x2A67D7552E039EA7), (2**64 - 1, 0xE4D971771B652C20),
])  # fmt: skip
def test_mix_is_splitmix64(value: int, mixed: int) -> None:
    assert mix(value) == mixed


# The same seed gives the same text after an upgrade: what follows must never change. Whole numbers, since the last bit
# of a logarithm is the numpy version's own.


@pytest.mark.parametrize(("seed", "index", "derived"), [
    (0, 1, 313702574736366215), (0, 2, 7774984521324166428), (7, 1, 2207009715805324207), (7, 2, 2545488658212934290),
    (MAX_SEED, 1, 7539667506701923294),
])  # fmt: skip
def test_a_seeds_relatives_are_those_of_every_version(seed: int, index: int, derived: int) -> None:
    assert derive_seed(seed, index) == derived


@pytest.mark.parametrize(("seed", "position", "key"), [
    (0, 0, 0xA706DD2F4D197E6F), (7, 0, 0xB8B4C2977EABCE45), (7, 1, 0x3D41BF495CD3075F),
    (MAX_SEED, 300, 0xB59063AF399CDD51),
])  # fmt: skip
def test_the_key_of_a_draw_is_that_of_every_version(seed: int, position: int, key: int) -> None:
    assert draw_key(seed, position) == key


@pytest.mark.parametrize(("seed", "position", "token", "bits"), [
    (0, 0, 0, 0x238275BC38FCBE91), (0, 0, 1, 0x29BDAB46A05A16DC), (7, 0, 1, 0x816F7933E2BE9A40),
    (7, 1, 1, 0x1C672609B449E1D6), (7, 12, 6143, 0x20F6E616EC2D0D55), (MAX_SEED, 300, 151935, 0x54074D77B941E522),
])  # fmt: skip
def test_the_noise_of_a_token_is_that_of_every_version(seed: int, position: int, token: int, bits: int) -> None:
    (noise,) = gumbel(np.array([draw_key(seed, position)], np.uint64), np.array([token]))
    assert noise == pytest.approx(-math.log(-math.log(((bits >> 12) + 0.5) / 2**52)), rel=1e-12)


@pytest.mark.parametrize(("bits", "cell"), [(0, 1), (2**12 - 1, 1), (2**12, 3), (2**64 - 1, 2**53 - 1)])
def test_random_bits_become_the_middle_of_their_cell(bits: int, cell: int) -> None:
    assert to_uniform(np.array([bits], np.uint64))[0] == cell * 2.0**-53


def test_draws_among_equals_are_those_of_every_version() -> None:
    keys = [draw_key(7, position) for position in range(8)]
    assert draw(np.zeros((8, 1000), np.float32), [only()] * 8, keys) == [195, 118, 358, 393, 935, 629, 219, 232]


@given(st.integers(0, MAX_SEED))
def test_the_first_relative_of_a_seed_is_the_seed_and_the_others_differ(seed: int) -> None:
    """protocol.md, mistake 10: seed 0 is a seed like any other."""
    family = [derive_seed(seed, index) for index in range(64)]
    assert family[0] == seed
    assert len(set(family)) == 64
    assert all(0 <= seed <= MAX_SEED for seed in family)


@pytest.mark.parametrize(
    ("setting", "left"),
    [(only(), (0, 1, 2, 3)), (only(top_k=2), (0, 1)), (only(min_p=0.3), (0, 1, 2)), (only(0.0), None)],
)
def test_a_draw_tells_its_share_of_what_the_filters_left(setting: Sampling, left: tuple[int, ...] | None) -> None:
    shares = (0.5, 0.25, 0.2, 0.05)
    for key in range(20):
        (drawn,) = sampler.draw(logits_of(shares)[None], [setting], [key])
        wanted = 1.0 if left is None else shares[drawn.token] / sum(shares[token] for token in left)
        assert drawn.share == pytest.approx(wanted, rel=1e-5)
