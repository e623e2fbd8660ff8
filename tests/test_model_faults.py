"""Faulty model files: no crash, no other model instead, and one line that names the file and a remedy.

The faults of safetensors folders and of GGUF heads are in test_engine_files; here are those of the files beside them,
of GGUFs read without llama.cpp, and what the whole way through the service makes of a fault.
"""
from __future__ import annotations

import json
import logging
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from model_shapes import DTG, TIPO_V1, pieces, sentencepiece_model, write_folder, write_gguf

from kgen_ext.engines import load_engine
from kgen_ext.errors import KGenError, ModelFileError
from kgen_ext.request import ExpandRequest
from kgen_ext.service import open_expander


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("faults") / "whole", DTG)


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("gguf")
    return write_gguf(tmp_path_factory.mktemp("faults") / "whole.gguf", DTG)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """Return a copy of a whole folder, its weights by a link: they are large."""
    target = tmp_path / "model"
    target.mkdir()
    for entry in folder.iterdir():
        if entry.suffix == ".safetensors":
            (target / entry.name).symlink_to(entry)
        else:
            (target / entry.name).write_bytes(entry.read_bytes())
    return target


def edit(name: str, **changes: Any) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        value = json.loads((folder / name).read_text("utf-8")) | changes
        (folder / name).write_text(json.dumps(value), "utf-8")

    return damage


def write(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(data)


FOLDERS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "no tokenizer at all": (lambda folder: (folder / "tokenizer.model").unlink(), "tokenizer.json", "no such file"),
    "tokenizer.model is text": (write("tokenizer.model", b"version https://git"), "tokenizer.model", "SentencePiece"),
    "tokenizer.model cut off": (
        lambda folder: write("tokenizer.model", (folder / "tokenizer.model").read_bytes()[:100_001])(folder),
        "tokenizer.model", "cut off",
    ),
    "tokenizer.model is empty": (write("tokenizer.model", b""), "tokenizer.model", "holds no pieces"),
    "tokenizer.model of another algorithm": (
        write("tokenizer.model", sentencepiece_model(pieces(DTG)[:300], algorithm=1)),
        "tokenizer.model", "algorithm is 1",
    ),
    "added tokens are no list": (
        edit("tokenizer_config.json", added_tokens_decoder=["x"]), "model", "added tokens is damaged",
    ),
    "added tokens leave ids out": (
        edit("tokenizer_config.json", added_tokens_decoder={"32002": {"content": "<|x|>", "special": True}}),
        "model", "leaves ids out",
    ),
    "more tokens than the model has": (
        edit("tokenizer_config.json", added_tokens_decoder={
            str(32_000 + at): {"content": f"<|{at}|>", "special": True} for at in range(20)
        }), "tokenizer.model", "the model 32006 tokens",
    ),
    "added tokens without those of a protocol": (
        edit("tokenizer_config.json", added_tokens_decoder={
            str(32_000 + at): {"content": f"<|{at}|>", "special": True} for at in range(6)
        }), "model", "neither TIPO nor DanTagGen",
    ),
    "another architecture": (edit("config.json", model_type="qwen2"), "config.json", "'qwen2'"),
    "weights of another shape": (edit("config.json", hidden_size=64, head_dim=16), "model.safetensors", "config.json"),
    "a wrong vocabulary size": (edit("config.json", vocab_size=32013), "model.safetensors", "config.json says [32013"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "file", "wrong"), FOLDERS.values(), ids=FOLDERS)
def test_a_damaged_folder_is_named_with_what_is_wrong(
    copy: Path, damage: Callable[[Path], object], file: str, wrong: str
) -> None:
    damage(copy)
    with pytest.raises(ModelFileError) as raised:
        open_expander(model=str(copy), engine="reference")
    assert file in str(raised.value) and wrong in str(raised.value)
    assert raised.value.hint


def test_a_bare_pickle_is_refused_before_it_is_opened(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    bomb = b"cos\nsystem\n(S'touch owned'\ntR."
    for name in ("pytorch_model.bin", "model.pt"):
        (copy / name).write_bytes(bomb)
    for model in (copy, copy / "pytorch_model.bin", copy / "model.pt"):
        with pytest.raises(ModelFileError, match=r"never loaded"):
            open_expander(model=str(model))
    assert not Path("owned").exists() and not (copy / "owned").exists()


def edited(data: bytes, old: bytes, new: bytes) -> bytes:
    assert len(old) == len(new) and old in data
    return data.replace(old, new, 1)


# What is done to the bytes, and what is said, by our own reader (reference) or by any (llama.cpp has its own words).
GGUFS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "of the future": (lambda data: data[:4] + struct.pack("<I", 4) + data[8:], "GGUF version 4"),
    "of another architecture": (
        lambda data: edited(data, b"\x05" + b"\0" * 7 + b"llama", b"\x05" + b"\0" * 7 + b"gemma"), "'gemma'"),
    "cut off in its head": (lambda data: data[:200_000], "cut off"),
    "cut off in its tensors": (lambda data: data[:-4096], "cut off"),
    "with a tensor renamed": (lambda data: edited(data, b"blk.1.ffn_up.weight", b"blk.9.ffn_up.weight"), "is missing"),
    "of a tokenizer that is not its architecture's": (
        lambda data: edited(data, b"tokenizer.ggml.model\x08\0\0\0\x05" + b"\0" * 7 + b"llama",
                            b"tokenizer.ggml.model\x08\0\0\0\x05" + b"\0" * 7 + b"plamo"), "plamo"),
    "with a text of impossible length": (
        lambda data: edited(data, b"llama.context_length\x04\0\0\0", b"llama.context_length\x08\0\0\0"), "head"),
}  # fmt: skip


@pytest.mark.parametrize("engine", ["reference", "llama_cpp"])
@pytest.mark.parametrize(("damage", "wrong"), GGUFS.values(), ids=GGUFS)
def test_a_damaged_gguf_is_named_with_what_is_wrong(
    gguf: Path, tmp_path: Path, damage: Callable[[bytes], bytes], wrong: str, engine: str
) -> None:
    if engine == "llama_cpp":
        pytest.importorskip("llama_cpp")
    path = tmp_path / "model.gguf"
    path.write_bytes(damage(gguf.read_bytes()))
    with pytest.raises(ModelFileError) as raised:
        load_engine(engine, folder=None, gguf=path, device="cpu")
    assert str(path) in str(raised.value)
    assert wrong in str(raised.value) or engine == "llama_cpp"


def test_a_quantisation_that_only_llama_cpp_reads_is_told(gguf: Path, tmp_path: Path) -> None:
    data = gguf.read_bytes()
    name = b"blk.0.attn_q.weight"
    at = data.index(name) + len(name) + 4 + 16  # behind dimensions and sizes
    assert data[at : at + 4] == struct.pack("<I", 1)
    path = tmp_path / "q2.gguf"
    path.write_bytes(data[:at] + struct.pack("<I", 10) + data[at + 4 :])
    with pytest.raises(ModelFileError, match=r"quantised as type 10, .*use the llama_cpp engine: pip install"):
        load_engine("reference", folder=None, gguf=path)


def test_a_damaged_gguf_beside_whole_safetensors_is_told_and_the_same_weights_run(
    copy: Path, gguf: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("llama_cpp")
    (copy / "model.gguf").write_bytes(gguf.read_bytes()[:-4096])
    with caplog.at_level(logging.WARNING, "kgen"), open_expander(model=str(copy), device="cpu", threads=1) as expander:
        assert expander.engine in ("transformers", "reference") and expander.model == "model"
        assert "model.gguf" in expander.reason
        assert expander.expand([ExpandRequest("1girl", tag_length="very_short", seed=1)])[0].added_tags
    assert len(caplog.messages) == 1


def test_a_fault_is_never_answered_with_another_model(copy: Path) -> None:
    (copy / "tokenizer.model").unlink()
    with pytest.raises(KGenError, match=r"tokenizer\.json"):
        open_expander(model=str(copy))


def test_a_vocabulary_of_the_other_family_is_told_by_its_tokens_not_by_its_name(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "DanTagGen-delta", TIPO_V1)
    with open_expander(model=str(folder), engine="reference") as expander:
        assert expander._context.protocol.value == "tipo"
