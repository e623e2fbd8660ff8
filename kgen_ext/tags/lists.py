"""Word lists in files of a few ten kilobytes: popular tags, other names of tags, phrases of descriptions.

A file is zlib, in it UTF-8: a text a line, the most used first, an empty line between lists. In `data/`:

    popular.bin   12,000 safe general tags; written by `tools.tag_lists.build_popular`
    aliases.bin   other names of these: ALIAS TAB TAG; written by `tools.tag_lists.build_aliases`
    phrases.bin   how descriptions go on behind two words, and behind one; written by `tools.tag_lists.build_phrases`
"""
from __future__ import annotations

import os
import zlib
from collections.abc import Sequence

from kgen_ext.tags.names import PATH as NAMES_PATH

POPULAR, ALIASES, PHRASES = (
    os.path.join(os.path.dirname(NAMES_PATH), f"{name}.bin") for name in ("popular", "aliases", "phrases")
)


def pack_lists(*lists: Sequence[str]) -> bytes:
    """Return the bytes of a file of lists."""
    return zlib.compress("\n\n".join(map("\n".join, lists)).encode(), 9)


def read_lists(path: str, count: int) -> tuple[tuple[str, ...], ...]:
    """Return the `count` lists of a file; empty ones where it cannot be read or holds others."""
    try:
        with open(path, "rb") as file:
            text = zlib.decompress(file.read()).decode()
    except (OSError, zlib.error, UnicodeDecodeError):
        text = ""
    lists = tuple(tuple(part.split("\n")) if part else () for part in text.split("\n\n"))
    return lists if len(lists) == count else ((),) * count
