"""A GGUF file with random weights in the shape of TIPO-200M: 768/2304, 20 layers, 12 heads, 32013 tokens, F16.

Its vocabulary is the starter's, padded with unused pieces, the special tokens last. Its output is meaningless and never
ends, but costs what the real model's costs. The weights are drawn from one seed.
"""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kgen_ext.protocol.tipo import SPECIAL_TOKENS

WIDTH, HIDDEN, LAYERS, HEADS, VOCABULARY, CONTEXT = 768, 2304, 20, 12, 32013, 1024
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6


def write_shape200m(path: Path, tokenizer: Path, *, layers: int = LAYERS, vocabulary: int = VOCABULARY) -> None:
    """Write the file; `tokenizer` is the starter's tokenizer.json."""
    import gguf

    names, kinds = _tokens(json.loads(tokenizer.read_text(encoding="utf-8")), vocabulary)
    draw = np.random.default_rng(200)

    def matrix(rows: int, columns: int) -> NDArray[np.float16]:
        return (draw.standard_normal((rows, columns), dtype=np.float32) * 0.05).astype(np.float16)

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("random weights, TIPO-200M's shape")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(vocabulary)
    writer.add_file_type(1)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(names)
    writer.add_token_scores([-float(index) for index in range(vocabulary)])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_space_prefix(False)
    ones = np.ones(WIDTH, np.float32)
    writer.add_tensor("token_embd.weight", matrix(vocabulary, WIDTH))
    writer.add_tensor("output.weight", matrix(vocabulary, WIDTH))
    writer.add_tensor("output_norm.weight", ones)
    for layer in range(layers):
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"blk.{layer}.{part}.weight", matrix(WIDTH, WIDTH))
        writer.add_tensor(f"blk.{layer}.ffn_gate.weight", matrix(HIDDEN, WIDTH))
        writer.add_tensor(f"blk.{layer}.ffn_up.weight", matrix(HIDDEN, WIDTH))
        writer.add_tensor(f"blk.{layer}.ffn_down.weight", matrix(WIDTH, HIDDEN))
        writer.add_tensor(f"blk.{layer}.attn_norm.weight", ones)
        writer.add_tensor(f"blk.{layer}.ffn_norm.weight", ones)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tokens(tokenizer: dict[str, dict[str, dict[str, int]]], vocabulary: int) -> tuple[list[str], list[int]]:
    """Return names and kinds of all tokens: the tokenizer's pieces, fillers, and TIPO's special tokens at the end."""
    pieces = sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])
    names = [name for name, _ in pieces if name not in SPECIAL_TOKENS]
    kinds = [_kind(name) for name in names]
    fillers = vocabulary - len(names) - len(SPECIAL_TOKENS)
    names += [f"\u2581filler{index}" for index in range(fillers)] + list(SPECIAL_TOKENS)
    return names, kinds + [_NORMAL] * fillers + [_CONTROL] * len(SPECIAL_TOKENS)


def _kind(name: str) -> int:
    if name == "<unk>":
        return _UNKNOWN
    if name in ("<s>", "</s>"):
        return _CONTROL
    return _BYTE if len(name) == 6 and name.startswith("<0x") else _NORMAL
