"""Checkpoints with random weights in the shape of every published family: vocabulary, special tokens, files, context.

Layers are few and narrow; the vocabularies have their real size and layout.

    TIPO v1    LLaMA, SentencePiece, 32,000 pieces and 13 special tokens (32000 to 32012), 1024 tokens
    DanTagGen  LLaMA, SentencePiece, 32,000 pieces and 6 special tokens, 512 tokens
    TIPO v2    GGUF of architecture dots1 (experts), byte-level vocabulary of 65,536, 4096 tokens

A random model would write one filler character after another. The first number of the hidden state is made large and
nearly constant, so that the output matrix can hold a preference for each token there: a comma after a few words. The
second says that the last token was a comma or a period, and keeps another from following.
"""
from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from engine_fixtures import tiny_config, tiny_tensors, write_safetensors

from kgen_ext.protocol import dtg, tipo
from kgen_ext.protocol.plan import DTG_TAGS

SPACE = "\u2581"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
WORDS = (
    "1girl solo smile long short hair blue eyes brown red dress white shirt black hat sky cloud day night tree flower "
    "water city street sitting standing looking at viewer open mouth blush ribbon bow jacket skirt gloves boots hand "
    "upper body full outdoors indoors window book cup table chair cat dog bird tail ears animal wings sword umbrella "
    "twintails ponytail braid glasses scarf kimono shrine fox rain snow moon stars light smoke fire grass mountain "
    "river house garden the a is in on of and with she stands under"
).split()
KEYS = ("rating", "artist", "characters", "copyrights", "aspect", "ratio", "target", "general", "quality", "meta",
        "tag", "short", "long", "safe", "masterpiece")  # fmt: skip
EMBED, WIDE = 32, 64  # multiples of a Q8_0 block


@dataclass(frozen=True)
class Shape:
    """A family: its special tokens as they come behind the 32,000 pieces, and its context."""

    special: tuple[str, ...]
    context: int


TIPO_V1 = Shape(tipo.SPECIAL_TOKENS, 1024)
DTG = Shape((dtg.INPUT_END, dtg.EMPTY, *(f"<|{length.value}|>" for length in DTG_TAGS)), 512)


@cache
def pieces(shape: Shape) -> tuple[tuple[str, float, int], ...]:
    """Return (text, score, kind) of every token."""
    found = {"<unk>": UNKNOWN, "<s>": CONTROL, "</s>": CONTROL}
    found |= {f"<0x{value:02X}>": BYTE for value in range(256)}
    letters = SPACE + "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789,.:;!?()[]{}<>|/_-+'\"&%#@*=^~`$\\"
    joined = [f"{SPACE}{word}"[:end] for word in (*WORDS, *KEYS) for end in range(2, len(word) + 2)]
    joined += [word[:end] for word in KEYS for end in range(2, len(word) + 1)]  # at the start of a line
    for text in (*dict.fromkeys(joined), *letters):
        found.setdefault(text, NORMAL)
    fillers = (chr(code) for code in range(0x4E00, 0x4E00 + 40_000))
    while len(found) < 32_000:
        found[next(fillers)] = NORMAL
    listed = [(text, -float(at) if kind == NORMAL else 0.0, kind) for at, (text, kind) in enumerate(found.items())]
    return (*listed, *((text, -1000.0, CONTROL) for text in shape.special))


def config(shape: Shape) -> dict[str, Any]:
    """Return the config.json."""
    return tiny_config(
        vocab_size=len(pieces(shape)), hidden_size=EMBED, intermediate_size=WIDE, num_key_value_heads=4,
        max_position_embeddings=shape.context, tie_word_embeddings=False,
    )  # fmt: skip


def tensors(shape: Shape, *, seed: int = 1) -> dict[str, np.ndarray]:
    """Return random weights with the preferences described above."""
    found = tiny_tensors(config(shape), seed=seed)
    # Layers whisper, so that the steady number stays the larger part of what comes out.
    found |= {name: tensor * 0.1 for name, tensor in found.items() if "o_proj" in name or "down_proj" in name}
    return found | steered(found, [text for text, _, _ in pieces(shape)])


def steered(found: dict[str, np.ndarray], texts: list[str], *, comma: float = 2.3) -> dict[str, np.ndarray]:
    """Return input and output matrix with a steady first number, weighed by each token's preference."""
    embed, out = found["model.embed_tokens.weight"] * 0.5, found["lm_head.weight"] * 0.5
    marks = np.array([text in (",", ".") for text in texts])
    embed[:, 0], embed[:, 1] = 2.0, 2.0 * marks
    out[:, 0], out[:, 1] = [_preference(text, comma) for text in texts], -1.5 * marks
    return {"model.embed_tokens.weight": embed, "lm_head.weight": out}


def _preference(text: str, comma: float) -> float:
    plain = text.removeprefix(SPACE).removeprefix("\u0120")
    if plain in WORDS:
        return 1.0 if text != plain else 0.2
    return {",": comma, ".": 1.8, "</s>": -0.5, "<|eos|>": -0.5, "<0x0A>": -0.5, "\u010a": -0.5}.get(text, -2.0)


def write_folder(folder: Path, shape: Shape, *, listed: str = "added_tokens_decoder", legacy: bool = True) -> Path:
    """Write a folder as the hub has it: safetensors, tokenizer.model, and the added tokens in one of two files."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config(shape)), "utf-8")
    write_safetensors(folder / "model.safetensors", tensors(shape), dtype="F16")
    (folder / "tokenizer.model").write_bytes(sentencepiece_model(pieces(shape)[:32_000]))
    added = {text: 32_000 + at for at, text in enumerate(shape.special)}
    settings: dict[str, Any] = {"tokenizer_class": "LlamaTokenizer", "legacy": legacy}
    if listed == "added_tokens_decoder":
        settings[listed] = {str(at): {"content": text, "special": True} for text, at in added.items()}
    else:
        (folder / listed).write_text(json.dumps(added), "utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    return folder


def sentencepiece_model(vocabulary: tuple[tuple[str, float, int], ...], *, algorithm: int = 2) -> bytes:
    """Return a tokenizer.model: pieces, the algorithm (2 is BPE), and that a space goes before a text."""

    def field(number: int, data: bytes) -> bytes:
        return _varint(number << 3 | 2) + _varint(len(data)) + data

    listed = b"".join(
        field(1, field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + (b"\x18" + _varint(kind)) * (kind != 1))
        for text, score, kind in vocabulary
    )
    return listed + field(2, b"\x18" + _varint(algorithm)) + field(3, field(1, b"identity") + b"\x18\x01\x20\x00")


def _varint(value: int) -> bytes:
    data = b""
    while value > 0x7F:
        data, value = data + bytes([value & 0x7F | 0x80]), value >> 7
    return data + bytes([value])


def write_gguf(path: Path, shape: Shape, *, added: int = CONTROL, quant: str = "F16") -> Path:
    """Write the same model as a GGUF, by the format's own package; added: the kind that special tokens are given."""
    import gguf

    from tools.training.gguf import ggml_tensors

    writer, made, vocabulary = gguf.GGUFWriter(path, "llama"), config(shape), pieces(shape)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(EMBED)
    writer.add_block_count(made["num_hidden_layers"])
    writer.add_feed_forward_length(WIDE)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(8)
    writer.add_vocab_size(len(vocabulary))
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([text for text, _, _ in vocabulary])
    writer.add_token_scores([score for _, score, _ in vocabulary])
    writer.add_token_types([added if at >= 32_000 else kind for at, (_, _, kind) in enumerate(vocabulary)])
    for name, at in (("bos", 1), ("eos", 2), ("unk", 0)):
        getattr(writer, f"add_{name}_token_id")(at)
    weights = tensors(shape)
    named = ggml_tensors({name: tensor for name, tensor in weights.items() if name != "lm_head.weight"}, 4)
    _write_tensors(writer, named | {"output.weight": weights["lm_head.weight"]}, quant)
    return path


def _write_tensors(writer: Any, named: dict[str, np.ndarray], quant: str = "F16") -> None:
    import gguf

    kind = gguf.GGMLQuantizationType[quant]
    for name, tensor in named.items():
        if tensor.ndim == 1 or "gate_inp" in name:
            writer.add_tensor(name, tensor.astype(np.float32))
        elif quant == "F16":
            writer.add_tensor(name, tensor.astype(np.float16))
        else:
            writer.add_tensor(name, gguf.quants.quantize(tensor, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_dots1(path: Path, *, special: tuple[str, ...] = tipo.SPECIAL_TOKENS, context: int = 4096) -> Path:
    """Write a TIPO v2: two layers, the first dense, the second of 4 experts, 2 of them used, and a shared one."""
    import gguf

    vocabulary, kinds, merges = byte_level(65_536, ("<|bos|>", "<|eos|>", *special))
    writer = gguf.GGUFWriter(path, "dots1")
    writer.add_context_length(context)
    writer.add_embedding_length(EMBED)
    writer.add_block_count(2)
    writer.add_feed_forward_length(WIDE)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_key_length(8)
    writer.add_value_length(8)
    writer.add_rope_dimension_count(8)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(vocabulary))
    writer.add_leading_dense_block_count(1)
    writer.add_expert_count(4)
    writer.add_expert_used_count(2)
    writer.add_expert_shared_count(1)
    writer.add_expert_feed_forward_length(32)
    writer.add_expert_weights_norm(True)
    writer.add_expert_weights_scale(1.5)
    writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(vocabulary)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(vocabulary.index("<|bos|>"))
    writer.add_eos_token_id(vocabulary.index("<|eos|>"))
    writer.add_add_bos_token(True)
    drawn = np.random.default_rng(3)
    draw = lambda *size: (0.1 * drawn.standard_normal(size)).astype(np.float32)  # noqa: E731
    ends = steered(
        {"model.embed_tokens.weight": draw(len(vocabulary), EMBED), "lm_head.weight": draw(len(vocabulary), EMBED)},
        vocabulary, comma=2.8,
    )  # fmt: skip
    named = {"token_embd.weight": ends["model.embed_tokens.weight"], "output.weight": ends["lm_head.weight"],
             "output_norm.weight": np.ones(EMBED)}  # fmt: skip
    for at in range(2):
        layer = {"attn_norm": np.ones(EMBED), "ffn_norm": np.ones(EMBED), "attn_q_norm": np.ones(8),
                 "attn_k_norm": np.ones(8)}  # fmt: skip
        layer |= {f"attn_{part}": draw(EMBED, EMBED) for part in ("q", "k", "v", "output")}
        if at == 0:
            layer |= {"ffn_gate": draw(WIDE, EMBED), "ffn_up": draw(WIDE, EMBED), "ffn_down": draw(EMBED, WIDE)}
        else:
            layer |= {"ffn_gate_inp": draw(4, EMBED), "ffn_gate_exps": draw(4, 32, EMBED),
                      "ffn_up_exps": draw(4, 32, EMBED), "ffn_down_exps": draw(4, EMBED, 32),
                      "ffn_gate_shexp": draw(32, EMBED), "ffn_up_shexp": draw(32, EMBED),
                      "ffn_down_shexp": draw(EMBED, 32)}  # fmt: skip
            named[f"blk.{at}.exp_probs_b.bias"] = draw(4)
        named |= {f"blk.{at}.{name}.weight": tensor for name, tensor in layer.items()}
    _write_tensors(writer, named)
    return path


@cache
def byte_level(size: int, special: tuple[str, ...]) -> tuple[list[str], list[int], list[str]]:
    """Return tokens, kinds and merges of a byte-level vocabulary whose unused places are named so."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [value for value in range(256) if value not in shown]
    letters = {value: chr(value) for value in shown} | {value: chr(256 + n) for n, value in enumerate(rest)}
    tokens, merges = [letters[value] for value in range(256)], list[str]()
    space = letters[ord(" ")]
    for word in (*(space + word for word in (*WORDS, *KEYS)), *KEYS):
        for end in range(2, len(word) + 1):
            if word[:end] not in tokens:
                tokens.append(word[:end])
                merges.append(f"{word[: end - 1]} {word[end - 1]}")
    kinds = [NORMAL] * len(tokens) + [CONTROL] * len(special)
    tokens += special
    unused = [f"[UNUSED{at}]" for at in range(len(tokens), size)]
    return [*tokens, *unused], [*kinds, *([UNUSED] * len(unused))], merges
