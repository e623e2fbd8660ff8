"""What a GGUF file says of itself before its tensors: architecture, context, quantisation, the special tokens.

Refuses to load weights or the ML library; a head of 32,000 tokens takes some ten milliseconds. Layout, little-endian:

    "GGUF"  u32 version  u64 tensors  u64 pairs
    pair:   string key, u32 type, value;  string: u64 length, bytes
    types:  0-5, 7, 10-12 numbers, 8 string, 9 array: u32 type, u64 count, values;  6 and 12 are floats
"""
from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from kgen_ext.errors import ModelFileError

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
AGAIN = "download it again"
_MOST = 1 << 26  # a head of more bytes, or a text or list of more entries, is damage
# llama.h, enum llama_ftype.
_QUANTS = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
           12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
           32: "BF16"}  # fmt: skip
_CONTROL, _USER_DEFINED = 3, 4  # tokenizer.ggml.token_type


@dataclass(frozen=True, slots=True)
class GgufHead:
    """The pairs a person asks for; `special` are the tokens that are no ordinary text."""

    architecture: str
    name: str
    context: int | None
    quant: str
    tokens: int
    special: frozenset[str]


def read_gguf_head(path: Path) -> GgufHead:
    """Return the head of a GGUF file; raises ModelFileError for a file that is none, or is cut off in it."""
    try:
        with path.open("rb") as file:
            pairs = _pairs(file)
    except (OSError, struct.error, ValueError, MemoryError) as error:
        raise ModelFileError(f"{path}: not a GGUF file, or cut off in its head: {error}", hint=AGAIN) from error
    tokens, kinds = pairs.get("tokenizer.ggml.tokens", []), pairs.get("tokenizer.ggml.token_type", [])
    architecture = str(pairs.get("general.architecture", ""))
    context = pairs.get(f"{architecture}.context_length")
    marked = {text for text, kind in zip(tokens, kinds, strict=False) if kind in (_CONTROL, _USER_DEFINED)}
    return GgufHead(
        architecture=architecture,
        name=str(pairs.get("general.name", "")),
        context=context if isinstance(context, int) else None,
        quant=_QUANTS.get(pairs.get("general.file_type", -1), ""),
        tokens=len(tokens),
        special=frozenset(marked | {text for text in tokens[-64:] if text.startswith("<|")}),
    )


def _pairs(file: BinaryIO) -> dict[str, Any]:
    magic, version, _, count = struct.unpack("<4sIQQ", file.read(24))
    if magic != b"GGUF" or version not in (2, 3) or count > 1 << 16:
        raise ValueError(f"it begins with {magic!r}, version {version}")
    return {_text(file): _value(file, *struct.unpack("<I", file.read(4))) for _ in range(count)}


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _text(file)
    if kind == _ARRAY:
        inner, count = struct.unpack("<IQ", file.read(12))
        if count > _MOST or file.tell() > _MOST:
            raise ValueError("a list of impossible length")
        if inner in _NUMBERS:
            code = f"<{count}{_NUMBERS[inner]}"
            return list(struct.unpack(code, file.read(struct.calcsize(code))))
        return [_value(file, inner) for _ in range(count)]
    if kind not in _NUMBERS:
        raise ValueError(f"a value of unknown type {kind}")
    return struct.unpack("<" + _NUMBERS[kind], file.read(struct.calcsize("<" + _NUMBERS[kind])))[0]


def _text(file: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > _MOST:
        raise ValueError("a text of impossible length")
    data = file.read(length)
    if len(data) < length:
        raise ValueError("it ends inside a text")
    return data.decode("utf-8", "replace")
