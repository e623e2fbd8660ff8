"""The contract of engines, on the model that ships: what decoding may rely on, and what it may not."""
from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from engine_fixtures import PACKAGES, REQUEST, open_starter

from kgen_ext.engine import Cache, Engine
from kgen_ext.errors import EngineError

# How far an engine's logits may lie from the reference's, as a share of their standard deviation. transformers computes
# the same float32 products in another order; llama.cpp rounds activations and its cache to float16.
TOLERANCE = {"reference": 0.0, "transformers": 1e-4, "llama_cpp": 0.03}
TEXTS = {
    "nothing": "",
    "a request": REQUEST,
    "a text request": "target: <|long|> <|short_to_tag|>\nshort: A girl stands, f1.8 lens... at 5.30 p.m.\n",
    "spaces at both ends": "  1girl,   long hair  ",
    "specials with spaces around": "x <|short|>  <|tag_to_long|> y<|gen_meta|>",
    "begin and end": "<s>tag: a</s>",
    "another script": "1girl, 猫耳, ネコ, кошка, é, e\u0301",
    "emoji": "👩‍👩‍👧 \U0001f600\ufe0f, :d, ^_^, >:(",
    "control characters": "a\x00b\tc\r\nd\x7f",
    "almost special": "<|short|, <s, </s, <0x41>, \u2581",
    "a lone surrogate": "a\ud800b",
    "long": "blue sky, " * 200,
}


@pytest.fixture(scope="module")
def oracle() -> Iterator[Engine]:
    engine = open_starter("reference")
    yield engine
    engine.close()


@pytest.fixture(scope="module", params=list(PACKAGES))
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    engine = open_starter(request.param)
    yield engine
    engine.close()


@pytest.fixture
def cache(engine: Engine) -> Iterator[Cache]:
    cache = engine.open_cache(6, 256)
    yield cache
    cache.close()


@pytest.fixture
def expected(oracle: Engine) -> Iterator[Cache]:
    cache = oracle.open_cache(6, 256)
    yield cache
    cache.close()


def close_enough(engine: Engine, found: np.ndarray, wanted: np.ndarray) -> bool:
    return bool(np.abs(found - wanted).max() <= TOLERANCE[engine.name] * wanted.std())


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_the_same_text_has_the_same_token_ids(engine: Engine, oracle: Engine, text: str) -> None:
    assert list(engine.tokenize(text)) == list(oracle.tokenize(text))


def test_the_vocabulary_is_the_same(engine: Engine, oracle: Engine) -> None:
    assert engine.vocab == oracle.vocab
    assert engine.n_ctx == oracle.n_ctx


def test_the_pieces_of_a_text_are_its_bytes(engine: Engine) -> None:
    for text in TEXTS.values():
        named = {index: name.encode() for name, index in engine.vocab.special.items()}
        pieces = [named.get(token, engine.vocab.pieces[token]) for token in engine.tokenize(text)]
        assert b"".join(pieces) == text.encode("utf-8", "replace").replace("\u2581".encode(), b" ")


def test_logits_are_float32_one_row_for_each_chunk_and_may_be_overwritten(engine: Engine, cache: Cache) -> None:
    logits = cache.forward([(3, [5]), (1, [6, 7])])
    assert logits.dtype == np.float32
    assert logits.shape == (2, len(engine.vocab))
    logits[:] = 0


def test_logits_equal_the_reference_in_rows_of_different_length(engine: Engine, cache: Cache, expected: Cache) -> None:
    ids = engine.tokenize(REQUEST)
    for chunks in (
        [(0, ids)],
        [(4, ids[:3]), (2, ids), (1, ids[:9])],
        [(0, [7]), (1, [8]), (2, [9])],
        [(2, [10]), (0, ids[:4]), (5, [11])],
        [(row, [12 + row]) for row in (5, 3, 1)],
    ):
        assert close_enough(engine, cache.forward(chunks), expected.forward(chunks)), chunks


def test_the_greedy_continuation_is_the_same_wherever_it_is_decided(
    engine: Engine, cache: Cache, expected: Cache
) -> None:
    chunk, decided = engine.tokenize(REQUEST), 0
    for _ in range(60):  # how many of them are decided is the weights' business
        wanted, found = expected.forward([(0, chunk)])[0].copy(), cache.forward([(0, chunk)])[0]
        best = int(wanted.argmax())
        lead = wanted[best] - np.partition(wanted, -2)[-2]
        if lead > 2 * TOLERANCE[engine.name] * wanted.std():
            decided += 1
            assert int(found.argmax()) == best
        chunk = [best]
    assert decided >= 10


def test_a_rewound_row_goes_on_as_if_nothing_had_been(engine: Engine, cache: Cache, expected: Cache) -> None:
    ids = engine.tokenize(REQUEST)
    cache.forward([(0, ids), (1, ids[:7])])
    cache.forward([(0, [40, 41, 42]), (1, [43])])
    cache.truncate(0, len(ids))
    assert cache.length(0) == len(ids)
    assert cache.length(1) == 8
    expected.forward([(0, ids), (1, [*ids[:7], 43])])
    chunks = [(0, [50]), (1, [51])]
    assert close_enough(engine, cache.forward(chunks), expected.forward(chunks))


def test_a_rewind_leaves_the_other_rows_alone(engine: Engine, cache: Cache) -> None:
    ids = engine.tokenize(REQUEST)
    after = []
    for rewind in (False, True):
        for row in (0, 1):
            cache.truncate(row, 0)
        cache.forward([(0, ids), (1, ids)])
        cache.forward([(0, [40]), (1, [41])])
        if rewind:
            cache.truncate(1, len(ids) - 2)
            cache.forward([(1, [44, 45, 46])])
        after.append(cache.forward([(0, [50]), (1, [51])])[0].copy())
    # To the bit; only transformers computes a row that paused again.
    assert close_enough(engine, *after) if engine.name == "transformers" else np.array_equal(*after)


def test_a_row_cut_to_nothing_can_be_used_again(engine: Engine, cache: Cache, expected: Cache) -> None:
    cache.forward([(2, engine.tokenize(REQUEST))])
    cache.truncate(2, 0)
    assert cache.length(2) == 0
    assert close_enough(engine, cache.forward([(2, [9, 8, 7])]), expected.forward([(2, [9, 8, 7])]))


def test_a_fork_goes_on_from_the_prefix_and_the_source_is_not_touched(
    engine: Engine, cache: Cache, expected: Cache
) -> None:
    ids = engine.tokenize(REQUEST)
    cache.forward([(0, ids), (3, [99, 98])])
    for target in (3, 5):
        cache.fork(0, target, 6)
        assert cache.length(target) == 6
    cache.truncate(0, len(ids) - 1)
    expected.forward([(0, ids[:-1]), (3, ids[:6]), (5, ids[:6])])
    chunks = [(3, [30, 31]), (0, [32]), (5, [33])]
    assert close_enough(engine, cache.forward(chunks), expected.forward(chunks))


def test_forks_of_forks_and_of_nothing(engine: Engine, cache: Cache, expected: Cache) -> None:
    ids = engine.tokenize(REQUEST)
    cache.forward([(0, ids)])
    cache.fork(0, 1, 9)
    cache.fork(1, 2, 5)
    cache.fork(4, 0, 0)
    cache.fork(2, 2, 4)
    assert [cache.length(row) for row in range(3)] == [0, 9, 4]
    expected.forward([(1, ids[:9]), (2, ids[:4])])
    chunks = [(0, [20]), (1, [21]), (2, [22])]
    assert close_enough(engine, cache.forward(chunks), expected.forward(chunks))


@pytest.mark.parametrize("size", [1, 2, 7])
def test_a_prompt_may_come_in_chunks(engine: Engine, cache: Cache, expected: Cache, size: int) -> None:
    ids = engine.tokenize(REQUEST)
    for at in range(0, len(ids), size):
        logits = cache.forward([(1, ids[at : at + size])])
    assert close_enough(engine, logits, expected.forward([(1, ids)]))


def test_a_chunk_may_fill_the_whole_context(engine: Engine, oracle: Engine) -> None:
    ids = (engine.tokenize(REQUEST) * 40)[: engine.n_ctx]
    found, wanted = (opened.open_cache(1, opened.n_ctx) for opened in (engine, oracle))
    assert close_enough(engine, found.forward([(0, ids)]), wanted.forward([(0, ids)]))
    with pytest.raises(ValueError, match="exceed n_ctx"):
        found.forward([(0, [5])])
    found.close()
    wanted.close()


BAD_CALLS = {
    "beyond n_ctx": ([(0, [5]), (1, [5] * 257)], "row 1 .* exceed n_ctx = 256"),
    "a row twice": ([(0, [5]), (0, [6])], "row 0 is named twice"),
    "no token": ([(0, [5]), (2, [])], "row 2 is given no token"),
    "no such row": ([(6, [5])], "row 6 does not exist"),
    "a foreign id": ([(0, [5]), (1, [10**6])], "row 1 is given a token id outside"),
    "a negative id": ([(0, [5]), (1, [-1])], "row 1 is given a token id outside"),
}


@pytest.mark.parametrize(("chunks", "message"), BAD_CALLS.values(), ids=BAD_CALLS)
def test_a_bad_call_is_refused_before_anything_changes(
    cache: Cache, chunks: list[tuple[int, list[int]]], message: str
) -> None:
    before = cache.forward([(0, [7, 8]), (1, [9])]).copy()
    with pytest.raises(ValueError, match=message):
        cache.forward(chunks)
    assert [cache.length(row) for row in range(6)] == [2, 1, 0, 0, 0, 0]
    for row in (0, 1):
        cache.truncate(row, 0)
    assert np.array_equal(cache.forward([(0, [7, 8]), (1, [9])]), before)


def test_bad_lengths_are_refused(engine: Engine, cache: Cache) -> None:
    cache.forward([(0, [7, 8])])
    for act in (lambda: cache.truncate(0, 3), lambda: cache.truncate(0, -1), lambda: cache.fork(0, 1, 3)):
        with pytest.raises(ValueError, match="row 0 holds 2 tokens"):
            act()
    for rows, n_ctx in ((0, 10), (1, 0), (1, engine.n_ctx + 1)):
        with pytest.raises(ValueError, match=r"row|n_ctx"):
            engine.open_cache(rows, n_ctx)


def test_two_caches_do_not_meet(engine: Engine, cache: Cache) -> None:
    other = engine.open_cache(1, 64)
    logits = cache.forward([(0, [7, 8, 9])]).copy()
    other.forward([(0, [70, 80])])
    cache.truncate(0, 0)
    assert np.array_equal(cache.forward([(0, [7, 8, 9])]), logits)
    other.close()


def test_a_cache_may_be_closed_twice_and_not_used_after(engine: Engine) -> None:
    cache = engine.open_cache(2, 32)
    cache.forward([(0, [7])])
    cache.close()
    cache.close()
    with pytest.raises(EngineError, match="closed"):
        cache.forward([(0, [7])])


@pytest.mark.parametrize("name", PACKAGES)
def test_an_engine_may_be_closed_twice_and_not_used_after(name: str) -> None:
    engine = open_starter(name)
    cache = engine.open_cache(1, 32)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        cache.forward([(0, [7])])
    cache.close()
    with pytest.raises(EngineError, match="closed"):
        engine.open_cache(1, 32).forward([(0, [7])])


@pytest.mark.parametrize("name", ["reference", "llama_cpp"])
def test_company_does_not_change_a_bit(name: str) -> None:
    """Whoever else is in the call, in whatever order, given that the row's own chunks are the same."""
    engine = open_starter(name)
    ids = engine.tokenize(REQUEST)
    own = [ids, [40], [41], [90, 91, 92], [42], [43], [44]]
    runs = []
    for rows, row, others in ((1, 0, []), (2, 0, [1]), (9, 0, []), (9, 4, [3, 8]), (9, 8, [0]), (9, 5, [7, 2, 1, 0])):
        cache = engine.open_cache(rows, 512)
        if others:
            cache.forward([(other, (ids * 20)[: 3 + 40 * other]) for other in others])
        seen = []
        for step, chunk in enumerate(own):
            company = [(other, [60 + step] * (1 + (other == 3 and step == 2))) for other in others[step % 3 :]]
            logits = cache.forward([*company[:1], (row, chunk), *company[1:]])
            seen.append(logits[min(len(company), 1)].copy())
            if step == 4:
                cache.truncate(row, cache.length(row) - 3)
                if others:
                    cache.truncate(others[0], 2)
        runs.append(np.array(seen))
        cache.close()
    engine.close()
    assert all(np.array_equal(runs[0], run) for run in runs)


def test_idle_rows_are_not_changed_by_filling_up_llama_cpp(oracle: Engine) -> None:
    engine = open_starter("llama_cpp")
    cache, expected = engine.open_cache(6, 8), oracle.open_cache(6, 8)
    for chunks in (
        [(1, [7, 8, 9]), (3, [7] * 8)],  # row 3 is full: nothing can be added there, even for a moment
        [(0, [5]), (2, [6])],
        [(2, [5]), (4, [6])],
        [(5, [5])],
        [(1, [5]), (3, [6])][:1],
    ):
        assert close_enough(engine, cache.forward(chunks), expected.forward(chunks)), chunks
    assert [cache.length(row) for row in range(6)] == [expected.length(row) for row in range(6)]
    cache.close()
    engine.close()
