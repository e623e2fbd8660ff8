"""The file of a table of tag pairs: what it keeps, and what it refuses."""
from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from kgen_ext.errors import ModelFileError
from kgen_ext.models import STARTER, load_catalogue, resolve
from kgen_ext.models.resolve import STARTER_FOLDER, find_entry
from kgen_ext.models.schema import PRIOR
from kgen_ext.tags.pair_table import _HEADER, MAGIC, PairTable, make_pair_table, pack_pair_table, read_pair_table

TAGS = ("1girl", "hat", "straw hat", "sun")
WEIGHTS = np.array([[0, 0.5, 0, 0], [0.1, 0, 0.02, -0.2], [0, 0.9, 0, 0.3], [0, 0, 0, 0]], np.float32)
RARITIES = np.array([[0, 0, 0, 0], [0, 0, 0, 2.5], [0, 0, 0, 0], [0, 1.2, 0.5, 0]], np.float32)


def table() -> PairTable:
    popularity = np.array([0.8, 0.2, 0.01, 0.001], np.float32)
    return make_pair_table(TAGS, popularity, WEIGHTS, RARITIES, keep=3, least=0.01)


def read(path: Path, data: bytes) -> PairTable:
    path.write_bytes(data)
    return read_pair_table(path)


def dense(found: PairTable, values: np.ndarray) -> np.ndarray:
    matrix = np.zeros((len(found.tags),) * 2, np.float32)
    matrix[np.repeat(np.arange(len(found.tags)), np.diff(found.starts)), found.columns] = values
    return matrix


def test_a_table_comes_back_as_it_was_but_for_rounding(tmp_path: Path) -> None:
    found = read(tmp_path / "prior.bin", pack_pair_table(table()))
    assert found.tags == TAGS
    np.testing.assert_allclose(found.popularity, table().popularity, rtol=0.03)
    np.testing.assert_allclose(dense(found, found.weights), WEIGHTS, atol=0.01)
    np.testing.assert_allclose(dense(found, found.rarities), RARITIES, atol=0.01)


def test_a_table_without_pairs_is_one(tmp_path: Path) -> None:
    empty = make_pair_table(TAGS, table().popularity, np.zeros((4, 4), np.float32), keep=3, least=0.01)
    assert len(read(tmp_path / "prior.bin", pack_pair_table(empty)).columns) == 0


def test_a_row_keeps_its_largest_weights() -> None:
    kept = make_pair_table(TAGS, table().popularity, WEIGHTS, keep=1, least=0.01)
    assert kept.columns.tolist() == [1, 3, 1]


def test_a_row_keeps_all_its_rarities() -> None:
    kept = make_pair_table(TAGS, table().popularity, WEIGHTS, RARITIES, keep=1, least=0.01)
    assert dense(kept, kept.rarities).tolist() == RARITIES.tolist()


def packed(body: bytes, *, tags: int = 1, entries: int = 0, most: float = 0.5) -> bytes:
    squeezed = zlib.compress(body)
    return _HEADER.pack(MAGIC, tags, entries, most, 1.0, 1.0, 3, sha256(squeezed).digest()) + squeezed


HOSTILE: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "another file": lambda: b"PK\x03\x04" * 20,
    "cut short": lambda: pack_pair_table(table())[:-3],
    "damaged": lambda: pack_pair_table(table())[:-1] + b"\0",
    "more behind it": lambda: pack_pair_table(table()) + b"\0",
    "no zlib": lambda: _HEADER.pack(MAGIC, 1, 0, 0.5, 1.0, 1.0, 3, sha256(b"hat").digest()) + b"hat",
    "a bomb": lambda: packed(bytes(50_000_000)),
    "too many tags": lambda: packed(b"hat\0\0\0", tags=70_000),
    "too many entries": lambda: packed(b"hat\0\0\0", entries=1 << 31),
    "no number": lambda: packed(b"hat\0\0\0", most=float("nan")),
    "names of another count": lambda: packed(b"h\nt" + bytes(3)),
    "the same name twice": lambda: packed(b"h\nh" + bytes(6), tags=2),
    "a name with a comma": lambda: packed(b"h,t" + bytes(3)),
    "a name with a control sign": lambda: packed(b"h\x1bt" + bytes(3)),
    "a name that is no UTF-8": lambda: packed(b"h\xfft" + bytes(3)),
    "fewer entries than rows say": lambda: packed(b"hat\0" + struct.pack("<H", 2)),
    "an entry of no tag": lambda: packed(b"hat\0" + struct.pack("<HHbB", 1, 9, 5, 0), entries=1),
    "an entry of itself": lambda: packed(b"hat\0" + struct.pack("<HHbB", 1, 1, 5, 0), entries=1),
    "entries out of order": lambda: packed(
        b"h\na" + bytes(2) + struct.pack("<HHHHbbBB", 2, 0, 1, 0, 5, 5, 0, 0), tags=2, entries=2
    ),
}  # fmt: skip


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_table_is_refused_with_its_name(data: Callable[[], bytes], tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"prior\.bin: no table of tag pairs"):
        read(tmp_path / "prior.bin", data())


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"prior\.bin: cannot be read"):
        read_pair_table(tmp_path / "prior.bin")


SHIPPED = read_pair_table(STARTER_FOLDER / PRIOR)


def test_the_starters_table_is_the_one_its_entry_names() -> None:
    entry = find_entry(STARTER, load_catalogue())
    assert entry is not None and entry.prior == SHIPPED.checksum


def test_the_starters_table_is_small() -> None:
    assert (STARTER_FOLDER / PRIOR).stat().st_size < 2_000_000


def test_the_starters_table_is_read_for_a_copy_of_the_starter(tmp_path: Path) -> None:
    copied = tmp_path / "copy.gguf"
    copied.write_bytes((STARTER_FOLDER / "starter-Q8_0.gguf").read_bytes())
    assert resolve(str(copied)).prior() == STARTER_FOLDER / PRIOR


def test_a_table_beside_the_weights_goes_first(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    (tmp_path / PRIOR).write_bytes(b"")
    assert resolve(str(tmp_path / "model.gguf")).prior() == tmp_path / PRIOR
