"""Build the list of the names that are taken for general tags, `data/ordinary.txt`: most people mean them as words.

Only names are copied from the sources.

    python -m tools.tag_lists.build_ordinary LISTS_FOLDER --tags TAGS.csv CAPTIONS.txt...

TAGS.csv: name,category,posts,"aliases" (0 is general). CAPTIONS: descriptions of pictures, one per line. A name is
ordinary if a general tag or an alias of one is spelled the same, or if captions have it in lower case, as one to four
words, at least five times and at least as often as posts have the tag.
"""
from __future__ import annotations

import argparse
import csv
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

from kgen_ext.tags.canonical import normalise
from kgen_ext.tags.names import key_of
from tools.tag_lists.build_lists import EXCEPTIONS, read_lists

LEAST = 5
LONGEST = 4
HEADER = """\
# Names in the lists of tipo-kgen that are read as general tags, since most people mean the word: see NOTICE.md.
# Written by tools.tag_lists.build_ordinary; used by tools.tag_lists.build_lists.
"""


def count_phrases(captions: Iterable[str], wanted: Collection[str]) -> Counter[str]:
    """Count how often each wanted name occurs in the captions, in the same letter case."""
    found: Counter[str] = Counter()
    for caption in captions:
        for part in re.split(r"[^A-Za-z0-9' -]+", caption):
            words = part.split()
            for start in range(len(words)):
                for end in range(start + 1, min(start + LONGEST, len(words)) + 1):
                    if (phrase := " ".join(words[start:end])) in wanted:
                        found[phrase] += 1
    return found


def ordinary_names(names: Collection[str], rows: Iterable[list[str]], phrases: Counter[str]) -> list[str]:
    """Return the names that are ordinary words, sorted."""
    general: set[str] = set()
    aliases: set[str] = set()
    posts: dict[str, int] = {}
    for name, category, count, *more in rows:
        key = key_of(normalise(name))
        if category != "0":
            posts.setdefault(key, int(count))
            continue
        general.add(key)
        aliases.update(key_of(normalise(alias)) for alias in ",".join(more).split(",") if not alias.startswith("/"))
    spelled_so = general | (aliases - posts.keys())
    words = {
        name
        for name, count in phrases.items()
        if count >= max(LEAST, posts.get(name, 0)) and any(letter.isalpha() for letter in name)
    }
    return sorted((spelled_so | words) & set(names))


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tools.tag_lists.build_ordinary", description=__doc__)
    parser.add_argument("lists", type=Path)
    parser.add_argument("--tags", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=EXCEPTIONS)
    parser.add_argument("captions", type=Path, nargs="+")
    options = parser.parse_args(arguments)
    names = read_lists(options.lists)
    phrases: Counter[str] = Counter()
    for path in options.captions:
        phrases += count_phrases(path.read_text("utf-8").splitlines(), names)
    with options.tags.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    ordinary = ordinary_names(names, rows, phrases)
    options.out.write_text(HEADER + "".join(name + "\n" for name in ordinary), "utf-8")
    sys.stdout.write(f"{options.out}: {len(ordinary)} names\n")


if __name__ == "__main__":
    main()
