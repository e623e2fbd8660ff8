"""Build `kgen_ext/tags/data/phrases.bin`: how descriptions of pictures go on behind two words, and behind one.

    python -m tools.tag_lists.build_phrases CAPTIONS.jsonl... [--out FILE] [--check]

CAPTIONS: JSON lines with a `caption`. The starter's own texts, written for prompts of popular tags, count `WEIGHT`
times. A comma and a stop count as words. A next word is recorded where it follows in at least `SHARE` of the cases and
`TIMES` times, and a phrase goes on for as long as that holds. Long words are recorded for those who begin them. Phrases
with a word that `unsafe.txt` blocks are left out. `--check` writes nothing and compares with the existing file. Same
captions and starter, same bytes.
"""
from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from kgen_ext import ExpandRequest, open_expander
from kgen_ext.rules.blocklist import load_blocklist
from kgen_ext.tags.lists import PHRASES, POPULAR, pack_lists, read_lists

OUT = Path(PHRASES)
UNSAFE = Path(__file__).parents[2] / "kgen_ext" / "models" / "data" / "unsafe.txt"
SHARE, TIMES, WORD_TIMES = 0.2, 10, 20
TEXTS, WEIGHT = 900, 5
_SUBJECTS = ("1girl", "1girl", "1girl", "1boy", "2girls", "no humans")
_POPULAR = 1500  # tags to write texts about
_LONGEST = 5  # words behind those known
_SHORTEST_WORD = 6  # letters of a word that may be several tokens
_WORD = re.compile(r"[A-Za-z]+(?:['-][A-Za-z]+)*|[.,]|\S")
_USUAL = re.compile(r"[A-Za-z]+(?:['-][A-Za-z]+)*|[.,]")

Words = tuple[str, ...]


def read_captions(paths: Iterable[Path]) -> Iterator[str]:
    """Yield the captions of files."""
    for path in paths:
        yield from (json.loads(line)["caption"] for line in path.read_text("utf-8").splitlines())


def write_texts(count: int) -> list[str]:
    """Return texts of the starter."""
    (tags,) = read_lists(POPULAR, 1)
    random_tags = random.Random(0)
    requests = [
        ExpandRequest(
            prompt=", ".join((random_tags.choice(_SUBJECTS), *random_tags.sample(tags[:_POPULAR], 1 + row % 4))),
            seed=row,
            tag_length=("very_short", "short")[row % 2],
            text_length=("short", "long", "very_long")[row % 3],
        )
        for row in range(count)
    ]
    with open_expander() as expander:
        return [expansion.added_text for expansion in expander.expand(requests)]


def find_phrases(texts: Iterable[str], *, share: float, times: int, word_times: int) -> tuple[list[str], list[str]]:
    """Return phrases that begin with two known words, and with one, the most frequent first."""
    follow = (defaultdict[Words, Counter[str]](Counter), defaultdict[Words, Counter[str]](Counter))
    single = Counter[str]()
    for text in texts:
        words = _WORD.findall(text)
        single.update(words)
        for known, counts in enumerate(follow, 1):
            for at in range(len(words) - known):
                counts[tuple(words[at : at + known])][words[at + known]] += 1
    following = [
        {
            context: (word, count)
            for context, counts in counted.items()
            for word, count in [max(counts.items(), key=lambda item: (item[1], item[0]))]
            if count >= times and count >= share * sum(counts.values()) and all(map(_USUAL.fullmatch, (*context, word)))
        }
        for counted in follow
    ]
    lists = list[list[str]]()
    for known, found in enumerate(following, 1):
        phrases = Counter[str]()
        for context, (word, count) in found.items():
            words = [*context, word]
            while len(words) < known + _LONGEST and (further := following[1].get(tuple(words[-2:]))) is not None:
                words.append(further[0])
            phrases[_spell(words)] = count
        if known == 1:
            for word, count in single.items():
                if len(word) >= _SHORTEST_WORD and count >= word_times and _USUAL.fullmatch(word):
                    phrases.setdefault(word, count)
        lists.append([phrase for phrase, _ in sorted(phrases.items(), key=lambda item: (-item[1], item[0]))])
    one, two = lists
    return two, one


def _spell(words: Sequence[str]) -> str:
    return "".join(word if word in ".," else f" {word}" for word in words).strip()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tools.tag_lists.build_phrases", description=__doc__)
    parser.add_argument("captions", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    unsafe = load_blocklist(UNSAFE)
    texts = [*read_captions(options.captions), *write_texts(TEXTS) * WEIGHT]
    found = find_phrases(texts, share=SHARE, times=TIMES, word_times=WORD_TIMES)
    lists = tuple(tuple(phrase for phrase in phrases if unsafe.search_text(phrase) is None) for phrases in found)
    if not options.check:
        options.out.write_bytes(pack_lists(*lists))
    if read_lists(str(options.out), len(lists)) != lists:
        raise SystemExit(f"{options.out}: other phrases than these captions give")
    counts = " + ".join(str(len(phrases)) for phrases in lists)
    sys.stdout.write(f"{options.out}: {counts} phrases, {options.out.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
