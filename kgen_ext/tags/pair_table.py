"""Pair table: what a tag in a list says of the chance of others, as a compact file.

File, little endian; sizes are of what follows the header, unpacked:

    8 bytes      b"KGENPRI2"
    u32          number of tags T, at most 65,535
    u32          number of entries E
    f32          largest popularity P
    f32          largest absolute weight W
    f32          largest rarity R
    u32          bytes of names N
    32 bytes     SHA-256 of the rest of the file
    zlib         N bytes of names: UTF-8, a tag a line, no two the same
                 u8  x T   popularity p: of a list's chance to have the tag, P * (p / 255) ** 4
                 u16 x T   entries of each tag's row
                 u16 x E   tags of the entries, each as its distance from the one before in its row, -1 before the first
                 i8  x E   weights w: sign(w) * W * (w / 127) ** 2
                 u8  x E   rarities r: R * (r / 255)

A row holds what its tag, in a list, adds to the chance of each of these tags to be in the list too, and of tags that
seldom meet, how much rarer than by chance they do: exp(-rarity).
"""
from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kgen_ext.errors import AGAIN, ModelFileError

MAGIC = b"KGENPRI2"
_HEADER = struct.Struct("<8sIIfffI32s")
MAX_TAGS, MAX_ENTRIES, MAX_NAMES = 65_535, 1 << 23, 1 << 22
_MAX_FILE = 1 << 24
_LEVELS, _POWER = 127, 2
_STEPS, _ROOT = 255, 4

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class PairTable:
    """Tags, how popular each is [T], and sparse rows: row t is `starts[t]:starts[t + 1]` of the others.

    columns: the tags of which a tag says something. weights: what it adds to their chance. rarities: how much rarer
    they are with it than by chance, as a logarithm that is not negative. checksum: SHA-256 of the file.
    """

    tags: tuple[str, ...]
    popularity: Floats
    starts: NDArray[np.int64]
    columns: NDArray[np.int64]
    weights: Floats
    rarities: Floats
    checksum: str = ""


def read_pair_table(path: Path) -> PairTable:
    """Read a table; raises ModelFileError for a file that is none, is damaged, or says what no table can."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error}", hint=AGAIN) from error
    try:
        return _parse(data)
    except ValueError as error:
        raise ModelFileError(f"{path}: no table of tag pairs: {error}", hint=AGAIN) from error


def pack_pair_table(table: PairTable) -> bytes:
    """Return the bytes of a table's file. All numbers are rounded, entries that round to 0 are left out."""
    most, largest = float(table.popularity.max(initial=1e-9)), float(np.abs(table.weights).max(initial=1e-9))
    rarest = float(table.rarities.max(initial=1e-9))
    popularity = np.rint((table.popularity / most) ** (1 / _ROOT) * _STEPS).astype(np.uint8)
    levels = np.rint(np.sqrt(np.abs(table.weights) / largest) * _LEVELS) * np.sign(table.weights)
    rarities = np.rint(table.rarities / rarest * _STEPS)
    kept = (levels != 0) | (rarities != 0)
    rows = np.repeat(np.arange(len(table.tags)), np.diff(table.starts))[kept]
    columns, counts = table.columns[kept], np.bincount(rows, minlength=len(table.tags))
    before = np.concatenate(([-1], columns[:-1]))
    before[(np.cumsum(counts) - counts)[counts > 0]] = -1
    names = "\n".join(table.tags).encode()
    body = zlib.compress(
        names
        + popularity.tobytes()
        + counts.astype("<u2").tobytes()
        + (columns - before).astype("<u2").tobytes()
        + levels[kept].astype(np.int8).tobytes()
        + rarities[kept].astype(np.uint8).tobytes(),
        9,
    )
    header = MAGIC, len(table.tags), len(columns), most, largest, rarest, len(names), sha256(body).digest()
    return _HEADER.pack(*header) + body


def make_pair_table(
    tags: Sequence[str], popularity: Floats, weights: Floats, rarities: Floats | None = None, *, keep: int, least: float
) -> PairTable:
    """Return the table of dense matrices [T, T]: of each row the `keep` largest weights that are at least `least`.

    All rarities are kept that are not 0; without them no pair is rare.
    """
    sizes = np.abs(weights)
    if keep < len(tags):
        least_of_row = -np.partition(-sizes, keep, axis=1)[:, keep]
        sizes = np.where(sizes > least_of_row[:, None], sizes, 0)
    weights = np.where(sizes >= least, weights, np.float32(0))
    if rarities is None:
        rarities = np.zeros_like(weights)
    rows, columns = np.nonzero((weights != 0) | (rarities != 0))
    starts = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=len(tags)))))
    return PairTable(
        tuple(tags), popularity.astype(np.float32), starts, columns, weights[rows, columns], rarities[rows, columns]
    )


def _parse(data: bytes) -> PairTable:
    if len(data) > _MAX_FILE:
        raise ValueError(f"larger than {_MAX_FILE} bytes")
    if len(data) < _HEADER.size or data[:8] != MAGIC:
        raise ValueError("it does not begin as one")
    _, count, entries, most, largest, rarest, size, digest = _HEADER.unpack_from(data)
    body = data[_HEADER.size :]
    if sha256(body).digest() != digest:
        raise ValueError("damaged, or cut short")
    if not (0 < count <= MAX_TAGS and entries <= MAX_ENTRIES and size <= MAX_NAMES):
        raise ValueError("more than a table can hold")
    if not (0 < most <= 1 and 0 < largest <= 100 and 0 < rarest <= 100):
        raise ValueError("numbers out of range")
    lengths = size, count, 2 * count, 2 * entries, entries, entries
    unpacked = _unpack(body, sum(lengths))
    ends = np.cumsum(lengths).tolist()
    names, popularity, counts, steps, levels, rarities = (
        unpacked[end - length : end] for end, length in zip(ends, lengths, strict=True)
    )
    tags = tuple(names.decode().split("\n"))  # UnicodeDecodeError is a ValueError
    if len(tags) != count or len(set(tags)) != count or not all(_is_tag(tag) for tag in tags):
        raise ValueError("names that are no tags, or come twice")
    row_sizes = np.frombuffer(counts, "<u2").astype(np.int64)
    starts = np.concatenate(([0], np.cumsum(row_sizes)))
    if starts[-1] != entries:
        raise ValueError("rows of other sizes than its entries")
    columns = _columns(np.frombuffer(steps, "<u2").astype(np.int64), starts)
    if entries and (columns.max() >= count):
        raise ValueError("an entry of a tag that it does not have")
    if (columns == np.repeat(np.arange(count), row_sizes)).any():
        raise ValueError("a tag that says something of itself")
    level = np.frombuffer(levels, np.int8).astype(np.float32)
    return PairTable(
        tags,
        np.float32(most) * (np.frombuffer(popularity, np.uint8).astype(np.float32) / _STEPS) ** _ROOT,
        starts,
        columns,
        np.sign(level) * np.float32(largest) * (level / _LEVELS) ** _POWER,
        np.float32(rarest) * (np.frombuffer(rarities, np.uint8).astype(np.float32) / _STEPS),
        sha256(data).hexdigest(),
    )


def _unpack(body: bytes, size: int) -> bytes:
    packed = zlib.decompressobj()
    try:
        unpacked = packed.decompress(body, size + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(unpacked) != size or not packed.eof or packed.unused_data:
        raise ValueError("of another size than it says")
    return unpacked


def _columns(steps: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the tags of the entries; each row counts from -1 again."""
    if not len(steps):
        return steps
    if steps.min() < 1:
        raise ValueError("entries that are not in order")
    upto = np.concatenate(([0], np.cumsum(steps)))
    columns: NDArray[np.int64] = upto[1:] - np.repeat(upto[starts[:-1]], np.diff(starts)) - 1
    return columns


def _is_tag(name: str) -> bool:
    return bool(name) and name.isprintable() and "," not in name and name == name.strip()
