"""Helpers of the engine tests: the starter model in each engine, and tiny random checkpoints written from scratch.

No ML library makes the checkpoints: the formats are written byte by byte, which checks the readers independently.
"""
from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kgen_ext.engine import Engine
from kgen_ext.engines import load_engine
from kgen_ext.engines.checkpoint import LlamaShape
from tools.training.gguf import F16, read_tokenizer, read_weights, write_gguf

GGUF = Path(__file__).parents[1] / "kgen_ext" / "starter" / "starter-Q8_0.gguf"
PACKAGES = {"reference": ("tokenizers",), "transformers": ("torch", "transformers"), "llama_cpp": ("llama_cpp",)}
REQUEST = "rating: safe\naspect ratio: 0.7\ntarget: <|short|> <|tag_to_long|>\ntag: 1girl, fox ears, shrine"


def open_starter(name: str) -> Engine:
    """Return the starter model in an engine, on one thread of the CPU; skip where its library is missing."""
    for package in PACKAGES[name]:
        pytest.importorskip(package)
    return load_engine(name, folder=None, gguf=exact_gguf(), device="cpu", threads=1)


@cache
def exact_gguf() -> Path:
    """Write the starter as an F16 GGUF: with Q8_0, llama.cpp rounds what it multiplies the weights with, too."""
    folder = Path(tempfile.mkdtemp(prefix="kgen-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write_gguf(folder / "starter-F16.gguf", *read_weights(GGUF), read_tokenizer(GGUF), name="starter", kind=F16)
    return folder / "starter-F16.gguf"


def tiny_config(**changes: Any) -> dict[str, Any]:
    """Return the config.json of a model small enough to be written in a test."""
    return {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 300, "hidden_size": 32,
        "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 8, "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": False, "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2,
    } | changes  # fmt: skip


def tiny_tokenizer(n_vocab: int = 300) -> dict[str, Any]:
    """Return a tokenizer.json: three special tokens, all bytes, then characters from U+0100 on."""
    listed = ["<unk>", "<s>", "</s>", *(f"<0x{value:02X}>" for value in range(256))]
    listed += [chr(0x100 + n) for n in range(n_vocab - len(listed))]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0", "truncation": None, "padding": None, "pre_tokenizer": None, "post_processor": None,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
        "decoder": {"type": "ByteFallback"},
        "added_tokens": [{"id": index, "content": listed[index], **flags} for index in range(3)],
        "model": {
            "type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True,
            "vocab": {text: index for index, text in enumerate(listed)}, "merges": [],
        },
    }  # fmt: skip


def encode(values: np.ndarray, dtype: str) -> bytes:
    """Return a tensor's bytes as safetensors stores them."""
    if dtype == "BF16":  # cut, not rounded: any bfloat16 will do
        return (values.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    return values.astype({"F64": "<f8", "F32": "<f4", "F16": "<f2"}[dtype]).tobytes()


def write_safetensors(path: Path, tensors: dict[str, np.ndarray], *, dtype: str = "F32") -> None:
    """Write tensors in the safetensors format."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, values in tensors.items():
        raw = encode(values, dtype)
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    head = json.dumps(header).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + data)


def tiny_tensors(config: dict[str, Any], *, seed: int = 0) -> dict[str, np.ndarray]:
    """Return random weights for a config."""
    drawn = np.random.default_rng(seed)
    shape = LlamaShape(
        vocab=config["vocab_size"], hidden=config["hidden_size"], inner=config["intermediate_size"],
        layers=config["num_hidden_layers"], heads=config["num_attention_heads"],
        kv_heads=config["num_key_value_heads"], head_dim=config["head_dim"], context=64, eps=1e-5, theta=1e4,
        tied=config["tie_word_embeddings"], bos=1, eos=2,
    )  # fmt: skip
    return {
        name: np.float32(0.2) * drawn.standard_normal(size, dtype=np.float32) + np.float32(len(size) == 1)
        for name, size in shape.tensors().items()
    }


def write_tiny(folder: Path, *, dtype: str = "F32", seed: int = 0, **changes: Any) -> Path:
    """Write a whole tiny checkpoint into a folder and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    config = tiny_config(**changes)
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    (folder / "tokenizer.json").write_text(json.dumps(tiny_tokenizer(config["vocab_size"])), "utf-8")
    write_safetensors(folder / "model.safetensors", tiny_tensors(config, seed=seed), dtype=dtype)
    return folder
