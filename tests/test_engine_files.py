"""Damaged, foreign and missing files: each is named, with the fault, before a library opens it."""
from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from engine_fixtures import GGUF, tiny_config, tiny_tensors, tiny_tokenizer, write_safetensors, write_tiny

from kgen_ext.engines import ENGINES, available_engines, load_engine
from kgen_ext.engines.registry import ENGINE_KINDS
from kgen_ext.errors import BadValue, EngineError, EngineUnavailable, ModelFileError

Damage = Callable[[Path], object]


def edit_config(**changes: object) -> Damage:
    return lambda folder: (folder / "config.json").write_text(json.dumps(tiny_config(**changes)), "utf-8")


def cut(name: str, size: int) -> Damage:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def write(name: str, data: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(data)


def rename(name: str, to: str) -> Damage:
    return lambda folder: (folder / name).rename(folder / to)


def without(tensor: str) -> Damage:
    def damage(folder: Path) -> None:
        tensors = tiny_tensors(tiny_config())
        del tensors[tensor]
        write_safetensors(folder / "model.safetensors", tensors)

    return damage


def header(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


FOLDERS: dict[str, tuple[Damage, str, str]] = {
    "no config": (rename("config.json", "x.json"), "config.json", "no such file"),
    "config is no JSON": (write("config.json", b"{oops"), "config.json", "property name"),
    "config is not UTF-8": (write("config.json", b"\xff\xfe\x00"), "config.json", "utf-8"),
    "config is a list": (write("config.json", b"[]"), "config.json", "no JSON object"),
    "foreign architecture": (edit_config(model_type="gpt2"), "config.json", "'gpt2'"),
    "foreign rope": (edit_config(rope_scaling={"type": "linear", "factor": 2}), "config.json", "rope type is 'linear'"),
    "foreign bias": (edit_config(attention_bias=True), "config.json", "attention_bias"),
    "config lacks a number": (edit_config(hidden_size=None), "config.json", "a number is needed"),
    "config makes no model": (edit_config(num_key_value_heads=3), "config.json", "do not describe a model"),
    "no weights": (rename("model.safetensors", "x"), "model.safetensors", "no such file"),
    "only a pickle": (rename("model.safetensors", "pytorch_model.bin"), "pytorch_model.bin", "can run code"),
    "weights cut off": (cut("model.safetensors", 20000), "model.safetensors", "cut off"),
    "weights cut off in the header": (cut("model.safetensors", 100), "model.safetensors", "cut off in its header"),
    "weights empty": (cut("model.safetensors", 0), "model.safetensors", "not a safetensors file"),
    "weights are text": (write("model.safetensors", b"version https://git-lfs"), "model.safetensors", "not a safeten"),
    "weights with a foreign header": (write("model.safetensors", header(b"[1]")), "model.safetensors", "not a safeten"),
    "weights with a bad header": (write("model.safetensors", header(b'{"a": {}}')), "model.safetensors", "not a safe"),
    "weights of a foreign type": (
        write("model.safetensors", header(b'{"a": {"dtype": "I8", "shape": [0], "data_offsets": [0, 0]}}')),
        "model.safetensors", "a is I8",
    ),
    "weights that do not fill their place": (
        write("model.safetensors", header(b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}') + b"1234"),
        "model.safetensors", "does not fill its place",
    ),
    "a tensor is missing": (without("model.norm.weight"), "model.safetensors", "model.norm.weight is missing"),
    "config and weights differ": (edit_config(intermediate_size=40), "model.safetensors", "config.json says [40, 32]"),
    "no tokenizer": (rename("tokenizer.json", "x"), "tokenizer.json", "no such file"),
    "tokenizer is no JSON": (write("tokenizer.json", b"{"), "tokenizer.json", "property name"),
    "tokenizer of another kind": (write("tokenizer.json", b"{}"), "tokenizer.json", "not a tokenizer"),
    "tokenizer larger than the model": (
        lambda folder: write_tiny(folder, vocab_size=290) and (folder / "tokenizer.json").write_text(
            json.dumps(tiny_tokenizer(299)), "utf-8"),
        "tokenizer.json", "the model 290",
    ),
    "a model without an end": (edit_config(eos_token_id=999), "tokenizer.json", "no token ends a text"),
}  # fmt: skip


@pytest.mark.parametrize("engine", ["reference", "transformers"])
@pytest.mark.parametrize(("damage", "file", "wrong"), FOLDERS.values(), ids=FOLDERS)
def test_a_bad_folder_is_refused_with_the_name_of_the_file(
    tmp_path: Path, damage: Damage, file: str, wrong: str, engine: str
) -> None:
    if engine == "transformers":
        pytest.importorskip("torch")
        pytest.importorskip("transformers")
    damage(write_tiny(tmp_path))
    with pytest.raises(ModelFileError) as raised:
        load_engine(engine, folder=tmp_path, gguf=None, device="cpu")
    assert str(tmp_path / file) in str(raised.value)
    assert wrong in str(raised.value)


def test_an_index_may_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "model")
    (folder / "model.safetensors").rename(tmp_path / "outside.safetensors")
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../outside.safetensors"}}', "utf-8")
    with pytest.raises(ModelFileError, match="outside the folder"):
        load_engine("reference", folder=folder, gguf=None)


def head(*, version: int = 3, architecture: bytes = b"llama") -> bytes:
    key = b"general.architecture"
    pair = struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, len(architecture)) + architecture
    return b"GGUF" + struct.pack("<IQQ", version, 0, 1) + pair


GGUFS = {
    "not a GGUF": (b"hello, this is text", "not a GGUF file"),
    "empty": (b"", "not a GGUF file"),
    "a zip, as torch writes": (b"PK\x03\x04" + b"\0" * 100, "refused"),
    "cut off in its head": (head()[:30], "cut off in its head"),
    "a foreign architecture": (head(architecture=b"gpt2"), "'gpt2', known are llama"),
    "too new": (head(version=9), "version 9"),
    "too old": (head(version=1), "version 1"),
    "a head and nothing behind": (head(), "llama.cpp cannot load it"),
}


@pytest.mark.parametrize(("data", "wrong"), GGUFS.values(), ids=GGUFS)
def test_a_bad_gguf_is_refused_with_its_name(
    tmp_path: Path, data: bytes, wrong: str, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("llama_cpp")
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    with pytest.raises(ModelFileError) as raised:
        load_engine("llama_cpp", folder=None, gguf=path, device="cpu")
    assert str(path) in str(raised.value)
    assert wrong in str(raised.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_gguf_is_refused_with_its_name(tmp_path: Path, share: float) -> None:
    pytest.importorskip("llama_cpp")
    whole, path = GGUF.read_bytes(), tmp_path / "model.gguf"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ModelFileError, match=r"llama\.cpp cannot load it: ") as raised:
        load_engine("llama_cpp", folder=None, gguf=path, device="cpu")
    assert str(path) in str(raised.value)


def test_a_missing_gguf_is_named(tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp")
    with pytest.raises(ModelFileError, match=r"absent\.gguf: No such file"):
        load_engine("llama_cpp", folder=None, gguf=tmp_path / "absent.gguf")


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "pytorch_model.bin"])
@pytest.mark.parametrize("engine", ["reference", "llama_cpp"])
def test_a_pickle_is_refused_whatever_engine_is_asked(tmp_path: Path, name: str, engine: str) -> None:
    if engine == "llama_cpp":
        pytest.importorskip("llama_cpp")
    path = tmp_path / name
    path.write_bytes(b"\x80\x02")
    with pytest.raises(ModelFileError, match="can run code") as raised:
        load_engine(engine, folder=path, gguf=path)
    assert str(path) in str(raised.value)


def test_the_wrong_kind_of_file_for_an_engine_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no file was given"):
        load_engine("reference", folder=None, gguf=None)
    with pytest.raises(ModelFileError, match="needs the folder"):
        load_engine("reference", folder=GGUF, gguf=None)
    pytest.importorskip("llama_cpp")
    with pytest.raises(ModelFileError, match="holds no GGUF"):
        load_engine("llama_cpp", folder=tmp_path, gguf=None)


def test_bad_values_name_the_field_and_what_is_allowed(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path)
    with pytest.raises(BadValue, match=r"engine: 'gpt' is not allowed .use reference, transformers, llama_cpp"):
        load_engine("gpt", folder=folder, gguf=None)
    with pytest.raises(BadValue, match=r"device: 'tpu' .*use auto, cpu, cuda"):
        load_engine("reference", folder=folder, gguf=None, device="tpu")
    with pytest.raises(BadValue, match="threads: 0"):
        load_engine("reference", folder=folder, gguf=None, threads=0)
    with pytest.raises(BadValue, match=r"n_ctx: 65 .*use 1 to 64"):
        load_engine("reference", folder=folder, gguf=None, n_ctx=65)
    assert load_engine("reference", folder=folder, gguf=None, n_ctx=20).n_ctx == 20


def test_a_library_that_breaks_in_an_unforeseen_way_is_a_failure_with_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> object:
        raise MemoryError

    monkeypatch.setattr("kgen_ext.engines.numpy_llama.open_checkpoint", fail)
    with pytest.raises(EngineError, match=r"engine reference cannot load .*: MemoryError"):
        load_engine("reference", folder=tmp_path, gguf=None)


def test_a_device_that_is_not_there_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    absent = next(name for name, there in (("cuda", torch.cuda.is_available()), ("mps", False)) if not there)
    folder = write_tiny(tmp_path, num_key_value_heads=4)  # which every release runs
    with pytest.raises(BadValue, match=f"device: '{absent}' .*auto"):
        load_engine("transformers", folder=folder, gguf=None, device=absent)


def test_a_missing_library_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import kgen_ext.engines.registry as load

    monkeypatch.setattr(load, "find_spec", lambda name: None)
    missing = [f"not installed: {', '.join(kind.packages)}" for kind in ENGINE_KINDS]
    assert available_engines() == tuple((name, False, reason) for name, reason in zip(ENGINES, missing, strict=True))
    with pytest.raises(EngineUnavailable, match=r"llama_cpp.*pip install llama-cpp-python"):
        load_engine("llama_cpp", folder=None, gguf=GGUF)
    with pytest.raises(EngineUnavailable, match=r"torch, transformers.*pip install torch transformers"):
        load_engine("transformers", folder=GGUF.parent, gguf=None)


def test_asking_what_is_available_imports_nothing() -> None:
    import subprocess

    code = (
        "import sys; from kgen_ext.engines import available_engines as a; assert a()[0][:2] == ('reference', True);"
        "print([m for m in ('torch', 'transformers', 'llama_cpp', 'tokenizers', 'numpy') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
    assert ENGINES == ("reference", "transformers", "llama_cpp")
