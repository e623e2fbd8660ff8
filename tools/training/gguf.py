"""Our own GGUF v3 writer for a LLaMA with a SentencePiece-style vocabulary (format: ggml docs/gguf.md).
It knows bytes, tensor names and block formats, and refuses to know how the weights came about.

    magic `GGUF`, u32 version 3, u64 tensors, u64 key-values,
    key-values: string key, u32 type, value;  strings are u64 length + UTF-8,
    tensor infos: string name, u32 dimensions, u64 sizes (fastest first), u32 type, u64 offset,
    padding to 32 bytes, then the tensors, each padded to 32 bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 32
# Value types and tensor types of the format.
_U32, _F32, _BOOL, _STRING, _ARRAY, _I32 = 4, 6, 7, 8, 9, 5
F32, F16, Q8_0 = 0, 1, 8
# general.file_type of llama.cpp: mostly f16, mostly q8_0.
FILE_TYPE = {F16: 1, Q8_0: 7}
# Token types of llama.cpp.
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6
_Q8_BLOCK = 32

Weights = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Token:
    """One entry of the vocabulary: its text, its score (minus the rank) and its type."""

    text: str
    score: float
    kind: int


def vocabulary_of(tokenizer: Mapping[str, Any]) -> list[Token]:
    """Turn a tokenizer.json document into GGUF tokens: special ones are control tokens, `<0x0A>` a byte."""
    names: dict[int, str] = {position: name for name, position in tokenizer["model"]["vocab"].items()}
    special = {entry["id"]: entry["content"] for entry in tokenizer["added_tokens"]}
    names.update(special)
    tokens = []
    for position in range(len(names)):
        name = names[position]
        if name == tokenizer["model"]["unk_token"]:
            tokens.append(Token(name, 0.0, UNKNOWN))
        elif position in special:
            tokens.append(Token(name, 0.0, CONTROL))
        elif len(name) == 6 and name.startswith("<0x"):
            tokens.append(Token(name, 0.0, BYTE))
        else:
            tokens.append(Token(name, -float(position), NORMAL))
    return tokens


def key_values(
    config: Mapping[str, Any], tokens: Sequence[Token], *, name: str, kind: int
) -> dict[str, tuple[int, Any]]:
    """List the metadata llama.cpp needs to run the model, as key -> (value type, value)."""
    heads = config["num_attention_heads"]
    return {
        "general.architecture": (_STRING, "llama"),
        "general.type": (_STRING, "model"),
        "general.name": (_STRING, name),
        "general.license": (_STRING, "apache-2.0"),
        "general.alignment": (_U32, ALIGNMENT),
        "general.file_type": (_U32, FILE_TYPE[kind]),
        "general.quantization_version": (_U32, 2),
        "llama.block_count": (_U32, config["num_hidden_layers"]),
        "llama.context_length": (_U32, config["max_position_embeddings"]),
        "llama.embedding_length": (_U32, config["hidden_size"]),
        "llama.feed_forward_length": (_U32, config["intermediate_size"]),
        "llama.attention.head_count": (_U32, heads),
        "llama.attention.head_count_kv": (_U32, heads),
        "llama.attention.layer_norm_rms_epsilon": (_F32, config["rms_norm_eps"]),
        "llama.rope.dimension_count": (_U32, config["hidden_size"] // heads),
        "llama.rope.freq_base": (_F32, config["rope_theta"]),
        "llama.vocab_size": (_U32, len(tokens)),
        "tokenizer.ggml.model": (_STRING, "llama"),
        "tokenizer.ggml.pre": (_STRING, "default"),
        "tokenizer.ggml.tokens": (_ARRAY, (_STRING, [token.text for token in tokens])),
        "tokenizer.ggml.scores": (_ARRAY, (_F32, [token.score for token in tokens])),
        "tokenizer.ggml.token_type": (_ARRAY, (_I32, [token.kind for token in tokens])),
        "tokenizer.ggml.bos_token_id": (_U32, config["bos_token_id"]),
        "tokenizer.ggml.eos_token_id": (_U32, config["eos_token_id"]),
        "tokenizer.ggml.unknown_token_id": (_U32, 0),
        "tokenizer.ggml.add_bos_token": (_BOOL, True),
        "tokenizer.ggml.add_eos_token": (_BOOL, False),
        "tokenizer.ggml.add_space_prefix": (_BOOL, False),
    }


def ggml_tensors(weights: Weights, heads: int) -> dict[str, NDArray[np.float32]]:
    """Rename Hugging Face tensors for llama.cpp; its rotary pairs are neighbours, so q and k rows are permuted."""
    parts = {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    renamed: dict[str, NDArray[np.float32]] = {}
    for name, value in weights.items():
        if name == "model.embed_tokens.weight":
            renamed["token_embd.weight"] = value
        elif name == "model.norm.weight":
            renamed["output_norm.weight"] = value
        elif name.startswith("model.layers."):
            _, _, layer, part = name.removesuffix(".weight").split(".", 3)
            if parts[part] in ("attn_q", "attn_k"):
                rows, columns = value.shape
                value = value.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
            renamed[f"blk.{layer}.{parts[part]}.weight"] = value
    return renamed


def write_gguf(
    path: Path, weights: Weights, config: Mapping[str, Any], tokenizer: Mapping[str, Any], *, name: str, kind: int = F16
) -> None:
    """Write a model as GGUF: vectors as f32, matrices as `kind` (F16 or Q8_0), tied embeddings once."""
    tokens = vocabulary_of(tokenizer)
    pairs = key_values(config, tokens, name=name, kind=kind)
    tensors = [
        (key, value, F32 if value.ndim == 1 else kind)
        for key, value in ggml_tensors(weights, config["num_attention_heads"]).items()
    ]
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(pairs))
    head += b"".join(
        _string(key) + struct.pack("<I", kind_) + _value(kind_, value) for key, (kind_, value) in pairs.items()
    )
    offset, blobs = 0, []
    for key, value, tensor_kind in tensors:
        sizes = value.shape[::-1]
        head += _string(key) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, tensor_kind, offset)
        blobs.append(_padded(encode_tensor(value, tensor_kind)))
        offset += len(blobs[-1])
    path.write_bytes(_padded(head) + b"".join(blobs))


def encode_tensor(value: NDArray[np.float32], kind: int) -> bytes:
    """Encode a tensor: plain f32 or f16, or Q8_0 (blocks of 32: one f16 scale, then 32 signed bytes)."""
    if kind == F32:
        return value.astype("<f4").tobytes()
    if kind == F16:
        return value.astype("<f2").tobytes()
    blocks = value.astype(np.float32).reshape(-1, _Q8_BLOCK)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / 127.0
    inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    # ggml rounds halves away from zero; NumPy's rint would take the even neighbour.
    scaled = blocks * inverse
    whole = (np.sign(scaled) * np.floor(np.abs(scaled) + 0.5)).astype(np.int8)
    return np.concatenate([scale.astype("<f2").view(np.int8), whole], axis=1).tobytes()


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(kind: int, value: Any) -> bytes:
    if kind == _STRING:
        return _string(value)
    if kind == _ARRAY:
        inner, items = value
        return struct.pack("<IQ", inner, len(items)) + b"".join(_value(inner, item) for item in items)
    return struct.pack({_U32: "<I", _I32: "<i", _F32: "<f", _BOOL: "<?"}[kind], value)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % ALIGNMENT)
