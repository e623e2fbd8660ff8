"""GGUF files of a LLaMA with a SentencePiece-style vocabulary: written with the `gguf` package, read by KGen itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kgen_ext.engines.gguf import read_gguf, read_head
from tools.training.model import Shape
from tools.training.render import SPECIAL_TOKENS
from tools.training.vocabulary import BOS, EOS, FIRST_PIECE, tokenizer_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# gguf.GGMLQuantizationType: how matrices are stored.
F16, Q8_0 = 1, 8
# gguf.LlamaFileType: general.file_type of a file whose matrices are stored so.
_FILE_TYPE = {F16: 1, Q8_0: 7}
# gguf.TokenType.
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6

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


def read_weights(path: Path) -> tuple[dict[str, NDArray[np.float32]], Shape]:
    """Return the weights, with Hugging Face's names and whole again where the file rounds them, and the shape."""
    model = read_gguf(path)
    found = model.shape
    eps = float(f"{found.eps:.6g}")  # stored in 32 bits
    shape = Shape(found.vocab, found.hidden, found.layers, found.heads, found.inner, found.context, found.theta, eps)
    return {name: tensor.read() for name, tensor in model.tensors.items()}, shape


def read_tokenizer(path: Path) -> dict[str, Any]:
    """Return the tokenizer.json of a folder that tokenizer.py wrote, or that from which a GGUF was written."""
    if path.is_dir():
        document: dict[str, Any] = json.loads((path / "tokenizer.json").read_text(encoding="utf-8"))
        return document
    names = read_head(path).pairs["tokenizer.ggml.tokens"]
    return tokenizer_json(names[FIRST_PIECE : len(names) - len(SPECIAL_TOKENS)])


def open_tokenizer(path: Path) -> Tokenizer:
    """Open the tokenizer of a folder or of a GGUF."""
    from tokenizers import Tokenizer

    return Tokenizer.from_str(json.dumps(read_tokenizer(path)))


def write_gguf(
    path: Path, weights: Weights, shape: Shape, tokenizer: Mapping[str, Any], *, name: str, kind: int = F16
) -> None:
    """Write a model as GGUF: vectors as f32, matrices as `kind` (F16 or Q8_0), tied embeddings once."""
    import gguf

    heads = shape.num_attention_heads
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("model")
    writer.add_name(name)
    writer.add_license("apache-2.0")
    writer.add_custom_alignment(gguf.GGUF_DEFAULT_ALIGNMENT)
    writer.add_file_type(_FILE_TYPE[kind])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_block_count(shape.num_hidden_layers)
    writer.add_context_length(shape.max_position_embeddings)
    writer.add_embedding_length(shape.hidden_size)
    writer.add_feed_forward_length(shape.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(shape.rms_norm_eps)
    writer.add_rope_dimension_count(shape.head_size)
    writer.add_rope_freq_base(shape.rope_theta)
    tokens = vocabulary_of(tokenizer)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([token.text for token in tokens])
    writer.add_token_scores([token.score for token in tokens])
    writer.add_token_types([token.kind for token in tokens])
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(EOS)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    for key, value in ggml_tensors(weights, heads).items():
        if value.ndim == 1:
            writer.add_tensor(key, value.astype(np.float32))
        else:
            stored = gguf.GGMLQuantizationType(kind)
            writer.add_tensor(key, gguf.quants.quantize(value, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
