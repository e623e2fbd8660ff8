"""The head of a GGUF file: enough to name what is wrong with one before llama.cpp sees it.

Refuses to read tensors. Layout, little-endian:

    "GGUF"  u32 version (2 or 3)  u64 tensors  u64 pairs
    pair:   string key, u32 type, value;  string: u64 length, bytes
    type 8 is a string; writers put general.architecture first, and only that pair is read here
"""
from __future__ import annotations

import struct
from pathlib import Path

from kgen_ext.engines.checkpoint import AGAIN, refuse_pickles
from kgen_ext.errors import ModelFileError

KNOWN = ("llama", "dots1")
STRING = 8


def check_gguf(path: Path) -> None:
    """Raise ModelFileError unless the file begins as a GGUF of an architecture that TIPO or DanTagGen has."""
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
    if pairs and key == b"general.architecture" and kind == STRING and architecture not in KNOWN:
        raise ModelFileError(
            f"{path}: the architecture is {architecture!r}, known are {', '.join(KNOWN)}",
            hint="choose a TIPO or DanTagGen model",
        )
