"""Build `kgen_ext/tags/data/popular.bin` from a tag file: names of safe general tags, the most used first.

    python -m tools.tag_lists.build_popular TAGS.csv [--count N] [--out FILE] [--check]

TAGS.csv: name,category,posts,"aliases" (0 is general), of which the general names that `unsafe.txt` does not block are
taken, in order of posts; posts themselves are not stored. `--check` writes nothing and compares with the existing file.
Same input, same names.
"""
from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path

from kgen_ext.rules.blocklist import load_blocklist
from kgen_ext.tags.canonical import normalise
from kgen_ext.tags.lists import POPULAR, pack_lists, read_lists

OUT = Path(POPULAR)
UNSAFE = Path(__file__).parents[2] / "kgen_ext" / "models" / "data" / "unsafe.txt"
COUNT = 12_000
_GENERAL = "0"


def read_popular(path: Path, count: int) -> list[str]:
    """Return the `count` most used safe general tags of a tag file, in written form."""
    unsafe = load_blocklist(UNSAFE)
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(int(posts), normalise(name)) for name, category, posts, *_ in csv.reader(file) if category == _GENERAL]
    rows.sort(key=lambda row: (-row[0], row[1]))
    names = dict.fromkeys(name for _, name in rows if "," not in name and unsafe.match(name) is None)
    return list(names)[:count]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tools.tag_lists.build_popular", description=__doc__)
    parser.add_argument("tags", type=Path)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    names = read_popular(options.tags, options.count)
    if not options.check:
        options.out.write_bytes(pack_lists(names))
    if read_lists(str(options.out), 1) != (tuple(names),):
        raise SystemExit(f"{options.out}: other names than {options.tags} gives")
    sys.stdout.write(f"{options.out}: {len(names)} names, {options.out.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
