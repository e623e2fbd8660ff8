"""GGUF files with random weights in the shape of TIPO's models, and with LLaMA's own vocabulary.

What they write is meaningless, but costs what the real models' costs. The vocabulary is read from a GGUF file without
weights; llama.cpp's source has LLaMA's. TIPO's special tokens come behind its 32,000. One seed draws the weights.
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kgen_ext.engines.gguf import read_head
from kgen_ext.errors import BadValue
from kgen_ext.protocol.tipo import SPECIAL_TOKENS

CONTEXT, _CONTROL = 1024, 3


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a model: width, width of the gated layer, layers, heads."""

    name: str
    width: int
    hidden: int
    layers: int
    heads: int


TIPO_200M = Shape("TIPO-200M", 768, 2304, 20, 12)
TIPO_500M = Shape("TIPO-500M", 1280, 3840, 20, 20)
# To find out which tags a row accepts, which no weight decides.
TINY = Shape("tiny", 64, 64, 1, 1)


def write_shape(path: Path, shape: Shape, vocab: Path) -> None:
    """Write the model with F16 weights; `vocab` is a GGUF file with a vocabulary."""
    import gguf

    source = read_vocab(vocab)
    tokens = [*source["tokens"], *SPECIAL_TOKENS]
    scores = [*source["scores"], *(-1000.0 for _ in SPECIAL_TOKENS)]
    kinds = [*source["token_type"], *(_CONTROL for _ in SPECIAL_TOKENS)]
    draw = np.random.default_rng(200)

    def matrix(rows: int, columns: int) -> NDArray[np.float16]:
        return (draw.standard_normal((rows, columns), dtype=np.float32) * 0.05).astype(np.float16)

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(f"random weights, {shape.name}'s shape")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(1)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(source.get("bos_token_id", 1))
    writer.add_eos_token_id(source.get("eos_token_id", 2))
    writer.add_unk_token_id(source.get("unknown_token_id", 0))
    ones = np.ones(shape.width, np.float32)
    writer.add_tensor("token_embd.weight", matrix(len(tokens), shape.width))
    writer.add_tensor("output.weight", matrix(len(tokens), shape.width))
    writer.add_tensor("output_norm.weight", ones)
    for layer in range(shape.layers):
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"blk.{layer}.{part}.weight", matrix(shape.width, shape.width))
        for part in ("ffn_gate", "ffn_up"):
            writer.add_tensor(f"blk.{layer}.{part}.weight", matrix(shape.hidden, shape.width))
        writer.add_tensor(f"blk.{layer}.ffn_down.weight", matrix(shape.width, shape.hidden))
        writer.add_tensor(f"blk.{layer}.attn_norm.weight", ones)
        writer.add_tensor(f"blk.{layer}.ffn_norm.weight", ones)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read_vocab(path: Path) -> dict[str, Any]:
    """Return the `tokenizer.ggml.` values of a GGUF file; raises BadValue unless it has a SentencePiece vocabulary."""
    prefix = "tokenizer.ggml."
    pairs = read_head(path).pairs if path.is_file() else {}
    values = {key.removeprefix(prefix): value for key, value in pairs.items() if key.startswith(prefix)}
    if values.get("model") != "llama" or not {"tokens", "scores", "token_type"} <= set(values):
        raise BadValue("vocab", str(path), "a GGUF file with LLaMA's vocabulary, such as ggml-vocab-llama-spm.gguf")
    return values
