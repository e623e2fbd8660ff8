"""The reference engine: bit-identical in any batch, and numerically equal to the library."""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from engine_fixtures import REQUEST, open_starter, tiny_config, tiny_tensors, write_safetensors, write_tiny
from hypothesis import given
from hypothesis import strategies as st

from kgen_ext.engine import Engine
from kgen_ext.engines import load_engine
from kgen_ext.engines.numpy_llama import NumpyLlamaEngine
from kgen_ext.errors import EngineUnavailable


@pytest.fixture(scope="module")
def starter() -> Engine:
    return open_starter("reference")


def alone(engine: Engine, tokens: list[int]) -> np.ndarray:
    cache = engine.open_cache(1, engine.n_ctx)
    return cache.forward([(0, tokens)])[0].copy()


@pytest.mark.parametrize("rows", range(1, 18))
def test_a_row_is_the_same_to_the_bit_alone_and_among_rows_of_other_lengths(starter: Engine, rows: int) -> None:
    ids = starter.tokenize(REQUEST)
    prompts = [(ids * 3)[: 1 + 5 * row % 61] for row in range(rows)]
    cache = starter.open_cache(rows, 128)
    logits = cache.forward(list(enumerate(prompts)))
    assert all(np.array_equal(found, alone(starter, prompt)) for found, prompt in zip(logits, prompts, strict=True))
    stepped = cache.forward([(row, [9]) for row in reversed(range(rows))])[::-1]
    assert all(np.array_equal(found, alone(starter, [*p, 9])) for found, p in zip(stepped, prompts, strict=True))


@pytest.mark.parametrize("size", [1, 2, 3, 8, 13])
def test_the_chunking_of_a_prompt_does_not_change_a_bit(starter: Engine, size: int) -> None:
    ids = starter.tokenize(REQUEST)
    cache = starter.open_cache(1, 128)
    for at in range(0, len(ids), size):
        logits = cache.forward([(0, ids[at : at + size])])
    assert np.array_equal(logits[0], alone(starter, ids))


acts = st.lists(
    st.one_of(
        st.tuples(st.just("feed"), st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5)), min_size=1, max_size=4)),
        st.tuples(st.just("cut"), st.tuples(st.integers(0, 3), st.integers(0, 20))),
        st.tuples(st.just("fork"), st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 20))),
    ),
    max_size=12,
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return NumpyLlamaEngine(write_tiny(tmp_path_factory.mktemp("tiny")))


@given(acts=acts)
def test_any_past_leads_to_the_same_bits(tiny: Engine, acts: list[tuple[str, tuple[int, ...]]]) -> None:
    cache = tiny.open_cache(4, 64)
    held: list[list[int]] = [[], [], [], []]
    for name, what in acts:
        if name == "feed":
            wanted = {row: count for row, count in what if len(held[row]) + count <= 60}
            first = {row: 7 * len(held[row]) + 5 * row for row in wanted}
            chunks = [(row, [3 + (first[row] + n) % 290 for n in range(k)]) for row, k in wanted.items()]
            for (row, tokens), found in zip(chunks, cache.forward(chunks) if chunks else (), strict=True):
                held[row] += tokens
                assert np.array_equal(found, alone(tiny, held[row]))
        elif name == "cut":
            row, length = what[0], min(what[1], len(held[what[0]]))
            cache.truncate(row, length)
            del held[row][length:]
        else:
            source, target, length = what[0], what[1], min(what[2], len(held[what[0]]))
            cache.fork(source, target, length)
            held[target] = held[source][:length]
        assert [cache.length(row) for row in range(4)] == [len(row) for row in held]


SHAPES = {
    "grouped queries, own output": {},
    "one key head": {"num_key_value_heads": 1},
    "tied": {"tie_word_embeddings": True, "num_key_value_heads": 4},
    "heads wider than hidden": {"head_dim": 16},
    "odd sizes": {"hidden_size": 40, "head_dim": 10, "intermediate_size": 50, "vocab_size": 301},
    "other theta and eps": {"rope_theta": 500000.0, "rms_norm_eps": 1e-3},
}


@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES)
def test_every_shape_of_model_equals_the_library(tmp_path: Path, changes: dict[str, object]) -> None:
    for package in ("torch", "transformers"):
        pytest.importorskip(package)
    write_tiny(tmp_path, **changes)
    ours = load_engine("reference", folder=tmp_path, gguf=None)
    try:
        theirs = load_engine("transformers", folder=tmp_path, gguf=None, device="cpu", threads=1)
    except EngineUnavailable as error:
        pytest.skip(str(error))
    tokens = [3 + 11 * n % 290 for n in range(40)]
    found, wanted = alone(ours, tokens), alone(theirs, tokens)
    assert np.abs(found - wanted).max() < 1e-4 * wanted.std()


@pytest.mark.parametrize(("dtype", "share"), [("F32", 0.0), ("F64", 0.0), ("F16", 0.01), ("BF16", 0.06)])
def test_every_number_format_is_read(tmp_path: Path, dtype: str, share: float) -> None:
    exact = alone(NumpyLlamaEngine(write_tiny(tmp_path / "exact")), [5, 6, 7])
    found = alone(NumpyLlamaEngine(write_tiny(tmp_path / dtype, dtype=dtype)), [5, 6, 7])
    assert np.abs(found - exact).max() <= share * exact.std()


def test_bfloat16_means_the_upper_half_of_a_float32(tmp_path: Path) -> None:
    cut = {k: (v.view("<u4") & 0xFFFF0000).view("<f4") for k, v in tiny_tensors(tiny_config()).items()}
    wanted, found = write_tiny(tmp_path / "a"), write_tiny(tmp_path / "b", dtype="BF16")
    write_safetensors(wanted / "model.safetensors", cut)
    assert np.array_equal(*(alone(NumpyLlamaEngine(folder), [5, 6, 7]) for folder in (wanted, found)))


def test_a_checkpoint_in_several_files_is_one(tmp_path: Path) -> None:
    whole = NumpyLlamaEngine(write_tiny(tmp_path / "whole"))
    parts = write_tiny(tmp_path / "parts")
    (parts / "model.safetensors").unlink()
    named = list(tiny_tensors(tiny_config()).items())
    files = {"model-00001-of-00002.safetensors": named[:7], "model-00002-of-00002.safetensors": named[7:]}
    for name, tensors in files.items():
        write_safetensors(parts / name, dict(tensors))
    weight_map = {tensor: name for name, tensors in files.items() for tensor, _ in tensors}
    (parts / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}), "utf-8")
    assert np.array_equal(alone(whole, [5, 6, 7]), alone(NumpyLlamaEngine(parts), [5, 6, 7]))


def test_rope_may_be_described_as_newer_libraries_do(tmp_path: Path) -> None:
    old = NumpyLlamaEngine(write_tiny(tmp_path / "old", rope_theta=1234.0))
    new = write_tiny(tmp_path / "new", rope_theta=None, rope_parameters={"rope_type": "default", "rope_theta": 1234.0})
    assert np.array_equal(alone(old, [5, 6, 7]), alone(NumpyLlamaEngine(new), [5, 6, 7]))


def test_a_byte_level_vocabulary_gives_the_bytes_of_text(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|bos|>", "<|eos|>"], show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(["1girl, long hair, blue eyes"] * 20, trainer)
    folder = write_tiny(tmp_path, bos_token_id=None, eos_token_id=None)
    tokenizer.save(str(folder / "tokenizer.json"))
    engine = NumpyLlamaEngine(folder)
    text = "long hair, 猫 é\n\U0001f600"
    assert b"".join(engine.vocab.pieces[token] for token in engine.tokenize(text)) == text.encode()
    assert engine.tokenize("a<|eos|>")[-1] == engine.vocab.eos == engine.vocab.special["<|eos|>"]
    assert engine.vocab.bos == engine.vocab.special["<|bos|>"]
