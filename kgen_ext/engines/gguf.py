"""GGUF files: the header, and the model in one (shape, float32 tensors, vocabulary) for engines other than llama.cpp.

Layout, little-endian:

    "GGUF"  u32 version (2 or 3)  u64 tensors  u64 pairs, then the pairs, then the tensors, then the data
    pair:   string key, u32 type, value;  string: u64 length, bytes
    types:  0-5, 7, 10, 11 integers, 6, 12 floats, 8 a string, 9 an array: u32 type, u64 count, values
    tensor: string name, u32 dimensions, u64 sizes (fastest first), u32 type, u64 offset from the data
    data:   from the next multiple of general.alignment (32) on

Blocks of the quantisations read here; other ones, and other architectures, are left to llama.cpp:

    Q8_0    32 numbers: f16 scale, 32 signed bytes
    Q6_K    256 numbers: 128 bytes of low halves, 64 of the upper two bits, 16 signed scales, one f16 scale for all

Writers put general.architecture first: `check_gguf` reads no more than that pair. Of architecture llama, rotary pairs
are neighbours in the file and half a head apart in our layers: rows of q and k are put back in the order of training.
Of dots1 they are as in training; the experts of a layer are one tensor of three dimensions, read expert by expert.
"""
from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from kgen_ext.engines.checkpoint import Dots1Shape, LlamaShape, refuse_pickles
from kgen_ext.engines.tokenizer import CONTROL, SPLITS, TextTokens, VocabPiece, byte_level_tokens, piece_tokens
from kgen_ext.errors import AGAIN, ModelFileError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Architectures, and the llama-cpp-python that first supported each: 0.3.9 had no dots1, 0.3.10 has.
KNOWN = {"llama": "0.2", "dots1": "0.3.10"}
STRING, ARRAY = 8, 9
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
# Texts, lists and headers that claim to be longer are damaged.
MOST = 1 << 26
# llama.h: LLAMA_EXPERT_GATING_FUNC_TYPE_SIGMOID
_SIGMOID = 2
# Type numbers of ggml.h: name, numbers in a block, bytes in a block.
TYPES = {0: ("F32", 1, 4), 1: ("F16", 1, 2), 8: ("Q8_0", 32, 34), 14: ("Q6_K", 256, 210), 30: ("BF16", 1, 2)}
USE = "use the llama_cpp engine: pip install llama-cpp-python"
# Names of tensors: GGUF's, and Hugging Face's.
_LAYER_NAMES = {
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm", "ffn_gate_inp": "mlp.gate",
    "ffn_gate_shexp": "mlp.shared_experts.gate_proj", "ffn_up_shexp": "mlp.shared_experts.up_proj",
    "ffn_down_shexp": "mlp.shared_experts.down_proj",
}  # fmt: skip
_EXPERT_NAMES = {"ffn_gate_exps": "gate_proj", "ffn_up_exps": "up_proj", "ffn_down_exps": "down_proj"}
_MODEL_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor's entry in the header; `shape` as in NumPy, slowest dimension first."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int


@dataclass(frozen=True, slots=True)
class Head:
    """The header; `data` is the offset of the tensors' bytes."""

    pairs: dict[str, Any]
    tensors: list[TensorInfo]
    data: int


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """A tensor in its file. heads: how many, where the rows are in the file's rotary order; else 0."""

    path: Path
    info: TensorInfo
    shape: tuple[int, ...]
    begin: int
    heads: int

    def read(self) -> NDArray[np.float32]:
        """Return the tensor as float32, rows in the order of training."""
        import numpy as np

        _, numbers, size = TYPES[self.info.kind]
        raw = np.fromfile(self.path, np.uint8, math.prod(self.shape) // numbers * size, offset=self.begin)
        value = _decode(raw, TYPES[self.info.kind][0]).reshape(self.shape)
        if self.heads:
            rows = self.shape[0]
            paired = value.reshape(self.heads, rows // self.heads // 2, 2, -1)
            value = np.ascontiguousarray(paired.swapaxes(1, 2).reshape(self.shape))
        return value


@dataclass(frozen=True, slots=True)
class GgufModel:
    """What an engine needs of the file."""

    shape: LlamaShape
    tensors: dict[str, GgufTensor]
    tokens: TextTokens


def read_gguf(path: Path) -> GgufModel:
    """Return shape, tensors and tokenizer, reading the header only; raises ModelFileError, EngineUnavailable."""
    check_gguf(path)
    head = read_head(path)
    pairs = head.pairs
    architecture = str(pairs.get("general.architecture"))
    try:
        pieces = _pieces(pairs)
        tied = not any(info.name == "output.weight" for info in head.tensors)
        shape = _shape(pairs, architecture, len(pieces), tied=tied)
    except (KeyError, ValueError, TypeError, ZeroDivisionError) as error:
        raise ModelFileError(f"{path}: its head does not describe a model: {error!r}", hint=AGAIN) from error
    return GgufModel(shape, _tensors(path, head.tensors, head.data, shape), _tokens(path, pairs, pieces, shape))


def _pieces(pairs: dict[str, Any]) -> list[VocabPiece]:
    tokens, kinds = pairs["tokenizer.ggml.tokens"], pairs["tokenizer.ggml.token_type"]
    scores = pairs.get("tokenizer.ggml.scores") or [0.0] * len(tokens)  # byte-level vocabularies have none
    pieces = [VocabPiece(*entry) for entry in zip(tokens, scores, kinds, strict=True)]
    for token in (pairs.get("tokenizer.ggml.bos_token_id"), pairs.get("tokenizer.ggml.eos_token_id")):
        if token is not None and token < len(pieces):
            pieces[token] = VocabPiece(pieces[token].text, pieces[token].score, CONTROL)
    return pieces


def _tokens(path: Path, pairs: dict[str, Any], pieces: list[VocabPiece], shape: LlamaShape) -> TextTokens:
    model, split = pairs.get("tokenizer.ggml.model"), pairs.get("tokenizer.ggml.pre", "default")
    common: dict[str, Any] = {"path": path, "n_vocab": shape.vocab, "bos": shape.bos, "eos": shape.eos}
    if model == "llama":
        return piece_tokens(pieces, prefix=bool(pairs.get("tokenizer.ggml.add_space_prefix", True)), **common)
    if model == "gpt2" and split in SPLITS:
        return byte_level_tokens(pieces, pairs.get("tokenizer.ggml.merges") or [], split=split, **common)
    raise ModelFileError(f"{path}: only llama.cpp reads its tokenizer ({model}, {split})", hint=USE)


def check_gguf(path: Path) -> str:
    """Return the architecture; raise ModelFileError unless TIPO or DanTagGen models have it."""
    if path.is_file():
        refuse_pickles(path)
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise ModelFileError(f"{path}: {error.strerror}", hint="check the path") from error
    if head[:4] != b"GGUF":
        what = "a pickle or zip archive, refused" if head[:2] in (b"PK", b"\x80\x02") else "not a GGUF file"
        raise ModelFileError(f"{path}: {what} (it begins with {head[:4]!r})", hint=AGAIN)
    try:
        version, _, pairs, length = struct.unpack_from("<IQQQ", head, 4)
        key = head[32 : 32 + length]
        kind, size = struct.unpack_from("<IQ", head, 32 + length)
        value = head[44 + length : 44 + length + size]
    except struct.error as error:
        raise ModelFileError(f"{path}: cut off in its head", hint=AGAIN) from error
    if version not in (2, 3):
        raise ModelFileError(f"{path}: GGUF version {version}, known are 2 and 3", hint="convert it again")
    architecture = value.decode("utf-8", "replace")
    if not (pairs and key == b"general.architecture" and kind == STRING):
        architecture = str(read_head(path).pairs.get("general.architecture", ""))
    if architecture not in KNOWN:
        raise ModelFileError(
            f"{path}: the architecture is {architecture!r:.60}, known are {', '.join(KNOWN)}",
            hint="choose a TIPO or DanTagGen model",
        )
    return architecture


def check_tensors(path: Path) -> None:
    """Raise ModelFileError unless the architecture is known and all tensors are within the file.

    Of a quantisation that only llama.cpp reads, a tensor's size is not known: only its beginning is checked.
    """
    check_gguf(path)
    head, size = read_head(path), path.stat().st_size
    for info in head.tensors:
        _, numbers, width = TYPES.get(info.kind, ("", 1, 0))
        if head.data + info.offset + math.prod(info.shape) // numbers * width > size:
            raise ModelFileError(f"{path}: {info.name} ends behind the file: it is cut off", hint=AGAIN)


def read_head(path: Path) -> Head:
    """Return the header; raises ModelFileError where it is cut off or makes no sense."""
    try:
        with path.open("rb") as file:
            magic, version, tensors, pairs = struct.unpack("<4sIQQ", file.read(24))
            if magic != b"GGUF" or version not in (2, 3) or max(tensors, pairs) > 1 << 16:
                raise ValueError(f"it begins with {magic!r}, version {version}")
            entries = {_text(file): _value(file, *struct.unpack("<I", file.read(4))) for _ in range(pairs)}
            infos = [_tensor(file) for _ in range(tensors)]
            align = int(entries.get("general.alignment", 32))
            return Head(entries, infos, -(-file.tell() // align) * align)
    except (OSError, struct.error, ValueError, TypeError, ZeroDivisionError, MemoryError) as error:
        raise ModelFileError(f"{path}: not a GGUF file, or cut off in its head: {error}", hint=AGAIN) from error


def _tensor(file: BinaryIO) -> TensorInfo:
    name = _text(file)
    (dimensions,) = struct.unpack("<I", file.read(4))
    if dimensions > 8:
        raise ValueError(f"a tensor of {dimensions} dimensions")
    *sizes, kind, offset = struct.unpack(f"<{dimensions}QIQ", file.read(8 * dimensions + 12))
    return TensorInfo(name, tuple(reversed(sizes)), kind, offset)


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == STRING:
        return _text(file)
    if kind == ARRAY:
        inner, count = struct.unpack("<IQ", file.read(12))
        if count > MOST or file.tell() > MOST:
            raise ValueError("a list of impossible length")
        if inner in NUMBERS:
            code = f"<{count}{NUMBERS[inner]}"
            return list(struct.unpack(code, file.read(struct.calcsize(code))))
        return [_value(file, inner) for _ in range(count)]
    if kind not in NUMBERS:
        raise ValueError(f"a value of unknown type {kind}")
    return struct.unpack("<" + NUMBERS[kind], file.read(struct.calcsize("<" + NUMBERS[kind])))[0]


def _text(file: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > MOST:
        raise ValueError("a text of impossible length")
    data = file.read(length)
    if len(data) < length:
        raise ValueError("it ends inside a text")
    return data.decode("utf-8", "replace")


def _shape(pairs: dict[str, Any], architecture: str, vocab: int, *, tied: bool) -> LlamaShape:
    of = {key.partition(".")[2]: value for key, value in pairs.items() if key.startswith(f"{architecture}.")}
    heads, hidden = int(of["attention.head_count"]), int(of["embedding_length"])
    if of.get("rope.scaling.type", "none") != "none":
        raise ValueError(f"rope scaling {of['rope.scaling.type']} is not known here; {USE}")
    numbers: dict[str, Any] = dict(
        vocab=vocab, hidden=hidden, inner=int(of["feed_forward_length"]), layers=int(of["block_count"]), heads=heads,
        kv_heads=int(of.get("attention.head_count_kv", heads)),
        head_dim=int(of.get("attention.key_length", hidden // heads)), context=int(of["context_length"]),
        eps=float(of["attention.layer_norm_rms_epsilon"]), theta=float(of.get("rope.freq_base", 10000.0)), tied=tied,
        bos=pairs.get("tokenizer.ggml.bos_token_id", 1), eos=pairs.get("tokenizer.ggml.eos_token_id", 2),
    )  # fmt: skip
    shape = LlamaShape(**numbers) if architecture == "llama" else Dots1Shape(**numbers, **_experts(of))
    if min(shape.hidden, shape.inner, shape.layers, shape.context, shape.head_dim) < 1 or heads % shape.kv_heads:
        raise ValueError(f"{shape}")
    return shape


def _experts(of: dict[str, Any]) -> dict[str, Any]:
    """Return what Dots1Shape has more than LlamaShape, from the pairs of the architecture."""
    experts, used = int(of["expert_count"]), int(of["expert_used_count"])
    if not 2 <= experts <= 1024 or not 1 <= used <= experts:
        raise ValueError(f"{used} of {experts} experts")
    if int(of.get("expert_gating_func", _SIGMOID)) != _SIGMOID:
        raise ValueError(f"expert gating {of['expert_gating_func']} is not known here; {USE}")
    return dict(
        dense=int(of["leading_dense_block_count"]), experts=experts, used=used, shared=int(of["expert_shared_count"]),
        expert_inner=int(of["expert_feed_forward_length"]), norm=bool(of.get("expert_weights_norm", False)),
        scale=float(of.get("expert_weights_scale", 1.0)),
    )  # fmt: skip


def _tensors(path: Path, infos: list[TensorInfo], data: int, shape: LlamaShape) -> dict[str, GgufTensor]:
    size, wanted, tensors = path.stat().st_size, shape.tensors(), dict[str, GgufTensor]()
    for info in infos:
        names = _names(info)
        if names[0] not in wanted:
            continue  # rotary factors of some converters, which follow from theta
        if info.kind not in TYPES:
            says = f"{info.name} is quantised as type {info.kind}, known here are"
            raise ModelFileError(f"{path}: {says} {', '.join(name for name, *_ in TYPES.values())}", hint=USE)
        part = info.shape[-2:] if len(info.shape) == 3 else info.shape
        if part != wanted[names[0]] or any(name not in wanted for name in names):
            says = f"{info.name} is {list(info.shape)}, its head says {list(wanted[names[0]])}"
            raise ModelFileError(f"{path}: {says}", hint=AGAIN)
        _, numbers, width = TYPES[info.kind]
        begin, length = data + info.offset, math.prod(part) // numbers * width
        if part[-1] % numbers or begin + len(names) * length > size:
            raise ModelFileError(f"{path}: {info.name} ends behind the file: it is cut off", hint=AGAIN)
        heads = 0
        if not isinstance(shape, Dots1Shape):
            heads = {"attn_q": shape.heads, "attn_k": shape.kv_heads}.get(info.name.split(".")[-2], 0)
        for index, name in enumerate(names):
            tensors[name] = GgufTensor(path, info, part, begin + index * length, heads)
    if missing := next((name for name in wanted if name not in tensors), None):
        raise ModelFileError(f"{path}: tensor {missing} is missing", hint=AGAIN)
    return tensors


def _names(info: TensorInfo) -> list[str]:
    """Return Hugging Face's name of a tensor, of all experts' where it holds them; "" where it has none."""
    block, _, rest = info.name.removeprefix("blk.").partition(".")
    name, _, kind = rest.rpartition(".")
    layer = f"model.layers.{block}"
    if info.name == f"blk.{block}.exp_probs_b.bias":
        return [f"{layer}.mlp.gate.e_score_correction_bias"]
    if kind == "weight" and name in _LAYER_NAMES:
        return [f"{layer}.{_LAYER_NAMES[name]}.weight"]
    if kind == "weight" and name in _EXPERT_NAMES and len(info.shape) == 3:
        return [f"{layer}.mlp.experts.{expert}.{_EXPERT_NAMES[name]}.weight" for expert in range(info.shape[0])] or [""]
    name, _, kind = info.name.rpartition(".")
    return [f"{_MODEL_NAMES[name]}.weight" if kind == "weight" and name in _MODEL_NAMES else ""]


def _decode(raw: NDArray[Any], kind: str) -> NDArray[np.float32]:
    import numpy as np

    if kind == "F32":
        return raw.view("<f4").astype(np.float32, copy=False)
    if kind == "F16":
        return raw.view("<f2").astype(np.float32)
    if kind == "BF16":  # the upper half of a float32
        return (raw.view("<u2").astype(np.uint32) << 16).view(np.float32)
    if kind == "Q8_0":
        blocks = raw.reshape(-1, 34)
        return (blocks[:, :2].copy().view("<f2").astype(np.float32) * blocks[:, 2:].view(np.int8)).ravel()
    return _decode_q6_k(raw.reshape(-1, 210))


def _decode_q6_k(blocks: NDArray[Any]) -> NDArray[np.float32]:
    """Decode Q6_K: of 128 numbers, quarter n is half of each of 32 low bytes and two bits of each of 32 high ones."""
    import numpy as np

    count = len(blocks)
    halves = blocks[:, :128].reshape(count, 2, 1, 2, 32) >> np.array([0, 4], np.uint8).reshape(1, 1, 2, 1, 1)
    low = halves.reshape(count, 2, 4, 32) & 15
    high = blocks[:, 128:192].reshape(count, 2, 1, 32) >> np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 4, 1) & 3
    whole = (low | high << 4).astype(np.int8) - np.int8(32)
    scales = blocks[:, 192:208].copy().view(np.int8).astype(np.float32).reshape(count, 16, 1)
    scale = blocks[:, 208:].copy().view("<f2").astype(np.float32).reshape(count, 1, 1)
    return (scale * scales * whole.reshape(count, 16, 16)).ravel().astype(np.float32, copy=False)
