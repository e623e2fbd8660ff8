"""Build the starter's word list: `python -m tools.training.wordlist --corpus CORPUS --out STARTER/words.txt.gz`.

    captions           words of two or more captions of all files
    tags               words of general tags with at least a thousand posts; a row's own tags are known besides
    wildcards          words of two or more phrases
    sentences          words of the templates that composed sentences are made of

Only what is safe is read, and only words of plain letters are kept. Printed are the words and the captions of the
evaluation files that the list would refuse.
"""

from __future__ import annotations

import argparse
import ast
import gzip
import inspect
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from kgen_ext.rules.repeats import find_words
from kgen_ext.rules.wordlist import WordList
from tools.training import phrases, prose
from tools.training.corpus import GENERAL, Corpus, load_corpus, read_jsonl

_TEXTS = 2  # captions, or phrases of wildcards, that a word has to be in
_POSTS = 1000
_EVALUATION = ("partiprompts", "drawbench")
_USUAL = re.compile(r"[a-z]+(?:'[a-z]+)*")
_HEAD = """\
# Words of the starter's training text, built by tools/training/wordlist.py; Apache-2.0, as the weights.
# Sources: the captions, tag names and phrases that the model card lists under Data, with their licences.
"""


def collect_words(corpus: Corpus) -> list[str]:
    """Return the words of a corpus in order."""
    captions = Counter[str]()
    for path in sorted((corpus.root / "captions").glob("*.jsonl")):
        captions.update(_words({str(record["caption"]) for record in corpus.captions(path.stem)}))
    listed = Counter[str]()
    for path in sorted((corpus.root / "tags/wildcards").glob("*.txt")):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        listed.update(_words(line for line in lines if not corpus.words.is_flagged(line)))
    names = (name for name, kind, posts in corpus.danbooru if kind == GENERAL and posts >= _POSTS)
    found = {word for counts in (captions, listed) for word, count in counts.items() if count >= _TEXTS}
    found.update(_words(names), _words(_templates()))
    return sorted(word for word in found if _USUAL.fullmatch(word))


def write_word_list(path: Path, words: Sequence[str]) -> None:
    """Write a word list; equal words make equal bytes."""
    path.write_bytes(gzip.compress((_HEAD + "".join(f"{word}\n" for word in words)).encode(), 9, mtime=0))


def refused(words: WordList, captions: Sequence[str]) -> tuple[list[str], int, int]:
    """Return the words of captions that a list refuses, the number of all, and the captions that have one."""
    found = [[word for _, _, word in find_words(caption)] for caption in captions]
    wrong = [[word for word in some if not words.knows(word)] for some in found]
    return [word for some in wrong for word in some], sum(map(len, found)), sum(map(bool, wrong))


def _templates() -> Iterator[str]:
    """Yield the texts in the code that composes sentences."""
    for module in (phrases, prose):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def _words(texts: Iterable[str]) -> Iterable[str]:
    return (word for text in texts for word in {word for _, _, word in find_words(text)})


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tools.training.wordlist", description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="folder laid out as in corpus.py")
    parser.add_argument("--out", type=Path, required=True, help="words.txt.gz to write")
    given = parser.parse_args()
    words = collect_words(load_corpus(given.corpus))
    write_word_list(given.out, words)
    print(f"{len(words):,} words, {given.out.stat().st_size:,} bytes")
    for name in _EVALUATION:
        captions = [str(record["caption"]) for record in read_jsonl(given.corpus / f"eval/{name}.jsonl")]
        wrong, total, lines = refused(WordList(words), captions)
        share = f"{len(wrong)} of {total} words refused ({len(wrong) / total:.2%})"
        print(f"{name}: {share}, in {lines} of {len(captions)} captions")
        print("  " + ", ".join(word for word, _ in Counter(wrong).most_common(20)))


if __name__ == "__main__":
    main()
