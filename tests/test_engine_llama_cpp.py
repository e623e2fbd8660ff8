"""llama.cpp's rows: the same bits in any batch, whether or not a single row needs a second one for that."""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from engine_fixtures import REQUEST

import kgen_ext
from kgen_ext.engines import load_engine
from kgen_ext.engines.checkpoint import find_tensors, read_shape
from tools.training.gguf import F16, Q8_0, write_gguf

STARTER = Path(kgen_ext.__file__).parent / "starter"
pytest.importorskip("llama_cpp")


@pytest.fixture(scope="module", params=[F16, Q8_0], ids=["F16", "Q8_0"])
def gguf(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the starter again in this kind of weights."""
    path = tmp_path_factory.mktemp("gguf") / "starter.gguf"
    config, tokenizer = (
        json.loads((STARTER / name).read_text(encoding="utf-8")) for name in ("config.json", "tokenizer.json")
    )
    weights = {name: tensor.read() for name, tensor in find_tensors(STARTER, read_shape(STARTER)).items()}
    write_gguf(path, weights, config, tokenizer, name="starter", kind=request.param)
    return path


def test_a_row_alone_and_in_company_has_the_same_bits(gguf: Path) -> None:
    engine = load_engine("llama_cpp", folder=None, gguf=gguf, threads=1)
    cache = engine.open_cache(5, 256)
    assert engine.lone_rows_differ is not None  # type: ignore[attr-defined] # tried when the first cache was opened
    ids = engine.tokenize(REQUEST)
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
        engine.open_cache(1, n_ctx).close()
        assert (engine.lone_rows_differ is not None) is tried  # type: ignore[attr-defined]
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
