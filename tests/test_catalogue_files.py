"""Facts read from a model file without loading it: the head of a GGUF, the protocol by its special tokens."""
from __future__ import annotations

import ast
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_fixtures import GGUF, exact_gguf, tiny_config, tiny_tensors, tiny_tokenizer, write_tiny
from hypothesis import given
from hypothesis import strategies as st
from model_shapes import DTG

from kgen_ext.errors import ModelFileError
from kgen_ext.models.scan import protocol_of_file, read_gguf_head
from kgen_ext.protocol import tipo
from tools.training.gguf import F16, write_gguf
from tools.training.model import Shape

ROOT = Path(__file__).resolve().parents[1]


def tokenizer_with(special: tuple[str, ...]) -> dict[str, Any]:
    """Return a tokenizer.json whose last tokens are the given special ones."""
    value = tiny_tokenizer()
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    for at, text in enumerate(special, 300):
        value["added_tokens"].append({"id": at, "content": text, **flags})
        value["model"]["vocab"][text] = at
    return value


def gguf_with(path: Path, special: tuple[str, ...]) -> Path:
    config = tiny_config(vocab_size=300 + len(special), max_position_embeddings=512)
    weights = {name: np.asarray(tensor) for name, tensor in tiny_tensors(config).items()}
    shape = Shape(config["vocab_size"], 32, 2, 4, 48)
    write_gguf(path, weights, shape, tokenizer_with(special), name="tiny", kind=F16)
    return path


def test_the_starter_s_gguf_tells_its_facts() -> None:
    head = read_gguf_head(GGUF)
    assert head.quant == "Q8_0"
    assert head.special.issuperset(tipo.SPECIAL_TOKENS)
    assert read_gguf_head(exact_gguf()).quant == "F16"


@pytest.mark.parametrize("special, protocol", [
    (tipo.SPECIAL_TOKENS, "tipo"), (DTG.special, "dtg"), (("<|im_start|>",), None), ((), None),
    (tuple(tipo.SPECIAL_TOKENS)[1:], None),
])  # fmt: skip
def test_the_protocol_is_told_by_the_special_tokens(
    special: tuple[str, ...], protocol: str | None, tmp_path: Path
) -> None:
    assert protocol_of_file(gguf_with(tmp_path / "a.gguf", tuple(special))) == protocol
    folder = write_tiny(tmp_path / "folder")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_with(tuple(special))), "utf-8")
    assert protocol_of_file(folder) == protocol


def test_the_list_of_added_tokens_is_enough(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path)
    (folder / "tokenizer.json").unlink()
    (folder / "added_tokens.json").write_text(json.dumps({text: at for at, text in enumerate(tipo.SPECIAL_TOKENS)}))
    assert protocol_of_file(folder) == "tipo"


def test_a_folder_without_a_tokenizer_is_told(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ModelFileError, match=r"tokenizer\.json: no such file"):
        protocol_of_file(tmp_path)


def test_reading_a_head_reads_no_tensors(tmp_path: Path) -> None:
    path = gguf_with(tmp_path / "a.gguf", DTG.special)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 20_000])
    assert protocol_of_file(path) == "dtg"


@pytest.mark.parametrize("data", [
    b"", b"GGUF", b"<html><body>Please log in</body></html>", b"PK\x03\x04" * 20,
    struct.pack("<4sIQQ", b"GGUF", 9, 0, 0), struct.pack("<4sIQQ", b"GGUF", 3, 0, 1 << 60),
    struct.pack("<4sIQQQ", b"GGUF", 3, 0, 1, 1 << 60),
    struct.pack("<4sIQQQ1sIIQ", b"GGUF", 3, 0, 1, 1, b"k", 9, 8, 1 << 60),
    struct.pack("<4sIQQQ1sI", b"GGUF", 3, 0, 1, 1, b"k", 77),
])  # fmt: skip
def test_what_is_no_gguf_is_told_and_costs_no_memory(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match="not a GGUF file"):
        read_gguf_head(path)


@given(st.integers(0, 20_000), st.binary(min_size=1, max_size=8))
def test_a_damaged_head_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, at: int, data: bytes) -> None:
    raw = bytearray(GGUF.read_bytes()[:20_000])
    raw[at : at + len(data)] = data
    path = tmp_path_factory.mktemp("head") / "a.gguf"
    path.write_bytes(raw)
    with pytest.raises(ModelFileError):
        read_gguf_head(path)


def test_listing_models_loads_no_numbers_and_no_ml_library(tmp_path: Path) -> None:
    code = "import sys; from kgen_ext.cli import main; main(['models', 'list']); print(sorted(sys.modules))"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "KGEN_MODELS_DIR": str(tmp_path), "HF_HUB_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    loaded = ast.literal_eval(done.stdout.splitlines()[-1])
    assert "kgen_ext.models.describe" in loaded
    assert not {"numpy", "torch", "llama_cpp", "tokenizers", "huggingface_hub", "requests"} & set(loaded)
