"""Name table: the category of each of some 987,000 tags that exist, read in place from a 4 MB file of hashes.

File `data/names.bin`, little endian, written by `tools.tag_lists.build_lists`:

    8 bytes      b"KGENTAG2"
    u32          number of names
    u32          salt of the hash, chosen so that no two names share one
    u32 x 65537  where each bucket of entries starts
    u32 x names  entries, sorted within a bucket: 29 bits of hash, then 3 bits of category (the order of CATEGORIES)

The hash is BLAKE2b of the key's UTF-8 (`key_of`): its low 16 bits are the bucket, the next 29 the entry. So a name of
the lists always gets its category (the builder checks each), and another word is mistaken for a name with probability
987,000 / 2**45, about one in 36 million. The file is mapped, not read: loading takes well under a millisecond and the
few pages that are touched.
"""
from __future__ import annotations

import os
import struct
import sys
from bisect import bisect_left
from collections.abc import Callable, Sequence

from kgen_ext.errors import Failure
from kgen_ext.once import once
from kgen_ext.request import Category

MAGIC = b"KGENTAG2"
HEADER = struct.Struct("<8sII")
BUCKETS = 1 << 16
HASH_BITS = 45
CATEGORY_BITS = 3
CATEGORIES = (Category.ARTIST, Category.CHARACTERS, Category.COPYRIGHTS, Category.META, Category.GENERAL)
PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "names.bin")
_HINT = "reinstall the extension"


def key_of(normalised: str) -> str:
    """Return the lists' spelling of a written form: they have no underscore at all, not even in `m_k`."""
    return normalised.replace("_", " ")


def hasher(salt: int) -> Callable[[str], int]:
    """Return the function from key to hash, of HASH_BITS bits."""
    from hashlib import blake2b  # takes milliseconds, and many runs never ask for a category

    salting = salt.to_bytes(16, "little")

    def hash_of(key: str) -> int:
        digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, salt=salting).digest()
        return int.from_bytes(digest, "little") & ((1 << HASH_BITS) - 1)

    return hash_of


class NameTable:
    """An open table; safe for several threads, since it never changes."""

    __slots__ = ("_entries", "_hash", "_starts", "count")

    def __init__(self, path: str) -> None:
        import mmap

        try:
            with open(path, "rb") as file:
                mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except (OSError, ValueError) as error:
            raise Failure(f"{path}: the list of tag names cannot be read: {error}", hint=_HINT) from error
        magic, self.count, salt = HEADER.unpack_from(mapped) if len(mapped) >= HEADER.size else (b"", 0, 0)
        words = BUCKETS + 1 + self.count
        if magic != MAGIC or len(mapped) != HEADER.size + 4 * words:
            raise Failure(f"{path}: not a list of tag names, or cut short", hint=_HINT)
        table = _little_endian(mapped[HEADER.size :])
        self._starts, self._entries, self._hash = table[: BUCKETS + 1], table[BUCKETS + 1 :], hasher(salt)

    def category(self, key: str) -> Category | None:
        """Return the category of a key (`key_of`), or None when it is not in the lists."""
        hashed = self._hash(key)
        bucket, rest = hashed % BUCKETS, hashed // BUCKETS
        end = self._starts[bucket + 1]
        at = bisect_left(self._entries, rest << CATEGORY_BITS, self._starts[bucket], end)
        if at < end and self._entries[at] >> CATEGORY_BITS == rest:
            return CATEGORIES[self._entries[at] & ((1 << CATEGORY_BITS) - 1)]
        return None


def _little_endian(data: memoryview) -> Sequence[int]:
    words = data.cast("I")
    if sys.byteorder == "little":
        return words
    from array import array

    swapped = array("I", words)
    swapped.byteswap()
    return swapped


@once
def load_names() -> NameTable:
    """Map the shipped table, once per process."""
    return NameTable(PATH)
