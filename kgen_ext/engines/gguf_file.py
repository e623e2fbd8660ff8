"""The head of a GGUF file: enough to name what is wrong with one before llama.cpp sees it, and all of it on demand.

Refuses to read tensors. Layout, little-endian:

    "GGUF"  u32 version (2 or 3)  u64 tensors  u64 pairs
    pair:   string key, u32 type, value;  string: u64 length, bytes
    types:  0-5, 7, 10, 11 whole numbers, 6, 12 floats, 8 a string, 9 an array: u32 type, u64 count, values
    tensor: string name, u32 dimensions, u64 sizes (fastest first), u32 type, u64 offset

Writers put general.architecture first: `check_gguf` reads no more than that pair.
"""
from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from kgen_ext.engines.checkpoint import refuse_pickles
from kgen_ext.errors import AGAIN, ModelFileError

# Architectures, and the llama-cpp-python that first had each: 0.3.9's llama.cpp knows no dots1, 0.3.10's does.
KNOWN = {"llama": "0.2", "dots1": "0.3.10"}
STRING, ARRAY = 8, 9
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
MOST = 1 << 26  # a text, a list or a head that is longer is damage


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor's entry in the head; `shape` as NumPy has it, slowest first."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int


@dataclass(frozen=True, slots=True)
class Head:
    """Everything before the tensors; `data` is where their bytes begin."""

    pairs: dict[str, Any]
    tensors: list[TensorInfo]
    data: int


def check_gguf(path: Path) -> str:
    """Return the architecture; raise ModelFileError unless it is one that TIPO or DanTagGen has."""
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


def read_head(path: Path) -> Head:
    """Return all pairs and all tensors' entries; raises ModelFileError for a file that ends or makes no sense in it."""
    try:
        with path.open("rb") as file:
            magic, version, tensors, pairs = struct.unpack("<4sIQQ", file.read(24))
            if magic != b"GGUF" or version not in (2, 3) or max(tensors, pairs) > 1 << 16:
                raise ValueError(f"it begins with {magic!r}, version {version}")
            found = {_text(file): _value(file, *struct.unpack("<I", file.read(4))) for _ in range(pairs)}
            infos = [_tensor(file) for _ in range(tensors)]
            align = int(found.get("general.alignment", 32))
            return Head(found, infos, -(-file.tell() // align) * align)
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
