"""The transformers engine: releases, and keys and values in the library's own cache."""
from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest
from engine_fixtures import PACKAGES, open_starter

from kgen_ext.engines.transformers import find_cache_argument, read_version
from kgen_ext.errors import EngineError, EngineUnavailable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4.30.2", (4, 30)), ("5.24.0", (5, 24)), ("5.13.0.dev0", (5, 13)), ("5.0.0rc1", (5, 0)), ("5.0rc1", (5, 0)),
        ("4.57.6+cpu", (4, 57)), ("6", (6, 0)),
    ],
)  # fmt: skip
def test_the_number_of_any_release_is_read(text: str, expected: tuple[int, int]) -> None:
    assert read_version(text) == expected


def until_5_23(input_ids: Any, past_key_values: Any = None, **kwargs: Any) -> None: ...


def since_5_24(input_ids: Any, cache: Any = None, **kwargs: Any) -> None: ...


def in_between(input_ids: Any, past_key_values: Any = None, cache: Any = None) -> None: ...


@pytest.mark.parametrize(
    ("forward", "name"), [(until_5_23, "past_key_values"), (since_5_24, "cache"), (in_between, "cache")]
)
def test_the_keys_and_values_are_called_what_the_model_calls_them(forward: Any, name: str) -> None:
    assert find_cache_argument(forward, "5.24.0") == name


def test_a_model_that_takes_neither_is_refused_with_a_way_out() -> None:
    with pytest.raises(EngineUnavailable, match=r"transformers 9\.0 .*cache, past_key_values.*reference"):
        find_cache_argument(lambda input_ids, memory: None, "9.0")


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_cut_forked_or_left_out_the_logits_are_the_reference_s(seed: int) -> None:
    for package in PACKAGES["transformers"]:
        pytest.importorskip(package)
    random = Random(seed)
    engines = open_starter("reference"), open_starter("transformers")
    wanted, found = (engine.open_cache(4, 48) for engine in engines)
    for _ in range(80):
        row, other, action = random.randrange(4), random.randrange(4), random.random()
        length = random.randint(0, wanted.length(row))
        for cache in (wanted, found):
            if action < 0.2:
                cache.truncate(row, length)
            elif action < 0.35:
                cache.fork(row, other, length)
        rows = random.sample(range(4), random.randint(1, 4))
        counts = [min(48 - wanted.length(row), random.choice((1, 1, 1, 2, 9))) for row in rows]
        ids = [[random.randrange(6000) for _ in range(count)] for count in counts]
        chunks = [(row, tokens) for row, tokens in zip(rows, ids, strict=True) if tokens]
        if chunks:
            logits = wanted.forward(chunks)
            assert np.abs(found.forward(chunks) - logits).max() <= 1e-4 * logits.std()
    for cache in (wanted, found):
        cache.close()
    for engine in engines:
        engine.close()


def test_a_call_that_failed_leaves_no_part_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in PACKAGES["transformers"]:
        pytest.importorskip(package)
    engine: Any = open_starter("transformers")
    cache = engine.open_cache(2, 48)
    cache.forward([(0, [7, 8, 9]), (1, [7])])
    head = engine.model.lm_head.forward
    monkeypatch.setattr(engine.model.lm_head, "forward", fails)
    with pytest.raises(EngineError, match="out of memory"):
        cache.forward([(0, [5]), (1, [6])])
    monkeypatch.setattr(engine.model.lm_head, "forward", head)
    logits = cache.forward([(0, [10])])
    fresh = engine.open_cache(1, 48)
    assert np.allclose(logits, fresh.forward([(0, [7, 8, 9, 10])]), atol=1e-4)
    engine.close()


def fails(*_: Any) -> Any:
    raise RuntimeError("out of memory")
