"""llama.cpp's rows: the same bits in any batch and any chunks, whether or not a lone token needs company for that."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from engine_fixtures import GGUF, REQUEST

from kgen_ext.engines import load_engine
from tools.training.gguf import F16, Q8_0, read_tokenizer, read_weights, write_gguf

pytest.importorskip("llama_cpp")


@pytest.fixture(scope="module", params=[F16, Q8_0], ids=["F16", "Q8_0"])
def gguf(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the starter again in this kind of weights."""
    path = tmp_path_factory.mktemp("gguf") / "starter.gguf"
    write_gguf(path, *read_weights(GGUF), read_tokenizer(GGUF), name="starter", kind=request.param)
    return path


def test_a_row_alone_and_in_company_has_the_same_bits(gguf: Path) -> None:
    engine = load_engine("llama_cpp", folder=None, gguf=gguf, threads=2)
    cache = engine.open_cache(5, 512)
    assert cache.exact  # tried when the first cache was opened
    ids = (engine.tokenize(REQUEST) * 9)[:240]
    found = []
    for rows in ((0,), (0, 1, 2, 3, 4), (0, 3)):
        for row in range(5):
            cache.truncate(row, 0)
        found.append([cache.forward([(row, ids) for row in rows])[0].copy()])
        for token in range(100, 140):
            found[-1].append(cache.forward([(row, [token]) for row in rows])[0].copy())
    assert all(np.array_equal(*pair) for others in found[1:] for pair in zip(found[0], others, strict=True))
    cache.close()
    engine.close()


def test_a_cache_too_small_for_the_trial_leaves_it_to_the_next(gguf: Path) -> None:
    engine = load_engine("llama_cpp", folder=None, gguf=gguf, threads=1)
    for n_ctx, tried in ((8, False), (64, True)):
        cache = engine.open_cache(1, n_ctx)
        assert cache.exact is tried
        cache.close()
    engine.close()


@pytest.mark.parametrize("length", [20, 63, 64, 65, 130, 200, 250, 400])
def test_a_row_fed_in_any_chunks_has_the_same_bits(gguf: Path, length: int) -> None:
    engine = load_engine("llama_cpp", folder=None, gguf=gguf, threads=2)
    cache, ids = engine.open_cache(3, 512), [300 + 7 * index % 800 for index in range(length + 12)]
    cache.forward([(0, ids[:length])])
    wanted = [cache.forward([(0, [token])])[0].copy() for token in ids[length:]]
    for size in (2, 3, 5, 12):
        cache.truncate(0, 0)
        cache.forward([(0, ids[: length // 2])])
        cache.forward([(0, ids[length // 2 : length])])
        for begin in range(0, 12, size):
            chunk = ids[length + begin : length + begin + size]
            found = cache.forward([(0, [*chunk, 299, 298])], [len(chunk) + 2])  # two wrong guesses behind it
            cache.truncate(0, length + begin + len(chunk))
            assert np.array_equal(found[: len(chunk)], wanted[begin : begin + len(chunk)])
    cache.close()
    engine.close()


def test_the_bits_do_not_depend_on_the_number_of_threads(gguf: Path) -> None:
    found = []
    for threads in (1, 2):
        engine = load_engine("llama_cpp", folder=None, gguf=gguf, threads=threads, device="cpu")
        cache, ids = engine.open_cache(4, 256), engine.tokenize(REQUEST)
        found.append([cache.forward([(row, ids) for row in range(4)]).copy()])
        for token in range(100, 108):
            found[-1].append(cache.forward([(row, [token]) for row in range(4)]).copy())
        cache.close()
        engine.close()
    assert all(np.array_equal(left, right) for left, right in zip(*found, strict=True))
