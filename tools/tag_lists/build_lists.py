"""Build `kgen_ext/tags/data/names.bin` from the name lists of tipo-kgen, less ordinary words, and from a tag file.

    python -m tools.tag_lists.build_lists LISTS_FOLDER TAGS.csv [--exceptions FILE] [--out FILE] [--check]

LISTS_FOLDER holds artist.txt, characters.txt, copyrights.txt and meta.txt, one name per line. TAGS.csv:
name,category,posts,"aliases" (0 is general), of which the general names are taken and no alias. Every name written is
looked up before the command ends; `--check` writes nothing and compares with the existing file. The output depends only
on the input: same lists, same bytes.
"""
from __future__ import annotations

import argparse
import csv
import struct
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from kgen_ext.request import Category
from kgen_ext.tags.canonical import normalise
from kgen_ext.tags.names import (
    BUCKETS,
    CATEGORIES,
    CATEGORY_BITS,
    HASH_BITS,
    HEADER,
    MAGIC,
    PATH,
    NameTable,
    hasher,
    key_of,
)

OUT = Path(PATH)
EXCEPTIONS = Path(__file__).parent / "data" / "ordinary.txt"
LISTS = tuple(category for category in CATEGORIES if category is not Category.GENERAL)


def read_lists(folder: Path, exceptions: Iterable[str] = ()) -> dict[str, Category]:
    """Return key -> category without the exceptions; a name in two lists has the category of the first."""
    left_out = {key_of(normalise(name)) for name in exceptions}
    names: dict[str, Category] = {}
    for category in LISTS:
        for line in (folder / f"{category.value}.txt").read_text("utf-8").splitlines():
            key = key_of(normalise(line))
            if key and key not in left_out:
                names.setdefault(key, category)
    return names


def read_general(path: Path) -> dict[str, Category]:
    """Return key -> category of a tag file's general tags."""
    with path.open(encoding="utf-8", newline="") as file:
        tags = [name for name, category, *_ in csv.reader(file) if category == "0"]
    return dict.fromkeys((key_of(normalise(tag)) for tag in tags), Category.GENERAL)


def render_names(names: Mapping[str, Category]) -> bytes:
    """Return the bytes of the table; the salt is the first under which no two names share a hash."""
    for salt in range(100):
        hash_of = hasher(salt)
        hashes = {hash_of(key): CATEGORIES.index(category) for key, category in names.items()}
        if len(hashes) == len(names):
            break
    else:
        raise SystemExit(f"no salt keeps the names apart: too many names for {HASH_BITS} bits")
    order = sorted(hashes, key=lambda hashed: (hashed % BUCKETS, hashed))
    starts = [0] * (BUCKETS + 1)
    for hashed in order:
        starts[hashed % BUCKETS + 1] += 1
    for bucket in range(BUCKETS):
        starts[bucket + 1] += starts[bucket]
    entries = [(hashed // BUCKETS) << CATEGORY_BITS | hashes[hashed] for hashed in order]
    return HEADER.pack(MAGIC, len(names), salt) + struct.pack(f"<{BUCKETS + 1 + len(entries)}I", *starts, *entries)


def check_names(path: Path, names: Mapping[str, Category]) -> None:
    """Raise SystemExit unless the table gives every name its own category."""
    table = NameTable(str(path))
    wrong = [key for key, category in names.items() if table.category(key) is not category]
    if wrong or table.count != len(names):
        raise SystemExit(f"{path}: {len(wrong)} of {len(names)} names are wrong, such as {wrong[:5]}")


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tools.tag_lists.build_lists", description=__doc__)
    parser.add_argument("lists", type=Path)
    parser.add_argument("tags", type=Path)
    parser.add_argument("--exceptions", type=Path, default=EXCEPTIONS)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    exceptions = options.exceptions.read_text("utf-8").splitlines()
    listed = read_lists(options.lists, (line for line in exceptions if not line.startswith("#")))
    names = read_general(options.tags) | listed
    if not options.check:
        options.out.write_bytes(render_names(names))
    check_names(options.out, names)
    sys.stdout.write(f"{options.out}: {len(names)} names, {options.out.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
