"""Build `kgen_ext/tags/data/aliases.bin` from a tag file: other names of the tags in `popular.bin`.

    python -m tools.tag_lists.build_aliases TAGS.csv [--out FILE] [--check]

TAGS.csv: name,category,posts,"alias,alias", most used first (0 is general). An alias of two tags stands for the more
used one; what `unsafe.txt` blocks, names of tags and what no sentence would say are left out. `--check` writes nothing
and compares with the existing file. Same input, same names.
"""
from __future__ import annotations

import argparse
import csv
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from kgen_ext.rules.blocklist import load_blocklist
from kgen_ext.tags.canonical import normalise
from kgen_ext.tags.lists import ALIASES, POPULAR, pack_lists, read_lists
from tools.tag_lists.build_popular import UNSAFE

OUT = Path(ALIASES)
_WORDS = re.compile(r"[a-z]{3,}(?:[ '-][a-z]+){0,3}|[a-z]{2}[ '-][a-z]+")


def read_aliases(path: Path) -> list[str]:
    """Return the lines of the list, in order of the tags' posts."""
    unsafe = load_blocklist(UNSAFE)
    (popular,) = read_lists(POPULAR, 1)
    known = set(popular)
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(int(row[2]), normalise(row[0]), row[3]) for row in csv.reader(file) if len(row) > 3]
    names = {name for _, name, _ in rows} | known
    found: dict[str, str] = {}
    for _, name, aliases in sorted(rows, key=lambda row: (-row[0], row[1])):
        for alias in map(normalise, aliases.split(",") if name in known else ()):
            if alias not in names and _WORDS.fullmatch(alias) and unsafe.match(alias) is None:
                found.setdefault(alias, name)
    return [f"{alias}\t{name}" for alias, name in found.items()]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tools.tag_lists.build_aliases", description=__doc__)
    parser.add_argument("tags", type=Path)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    lines = read_aliases(options.tags)
    if not options.check:
        options.out.write_bytes(pack_lists(lines))
    if read_lists(str(options.out), 1) != (tuple(lines),):
        raise SystemExit(f"{options.out}: not what {options.tags} gives")
    sys.stdout.write(f"{options.out}: {len(lines)} names, {options.out.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
