"""Word lists: the words a model knows, so that a word its pieces only seem to make is found out.

A gzip file in UTF-8, one word a line in small letters, sorted by code point; lines that begin with # are comments.
Some words need no line of their own:

    fox's, she'll        the word with one of the usual endings behind an apostrophe
    lanterns, foxes      a regular plural
    x                    a single letter
    20th, 100mm, f1      a number with up to two letters behind it, or with one before it
"""
from __future__ import annotations

import gzip
import re
import zlib
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from kgen_ext.errors import AGAIN, ModelFileError

MAX_BYTES = 4_000_000  # decompressed
_NUMBER = re.compile(r"\d{1,4}(?:[.,:]\d+)*[^\W\d_]{0,2}|[^\W\d_]\d{1,2}(?:\.\d+)?")
_ENDINGS = frozenset("s d m t ll re ve".split())
# Shorter words have no plural by rule: `his` and `pers` are not made of `hi` and `per`.
_SHORTEST_SINGULAR = 4
# What takes -es: neither `classs` nor `tablees` is a plural.
_HISSING = ("ss", "us", "x", "z", "ch", "sh", "o")


class WordList:
    """Sorted words in comparison form (`repeats.find_words`)."""

    __slots__ = ("_words",)

    def __init__(self, words: Sequence[str] = ()) -> None:
        self._words = words

    def __len__(self) -> int:
        return len(self._words)

    def knows(self, word: str) -> bool:
        """Return whether a word is in the list, or is made by rule of one that is.

        >>> words = WordList(["don't", "fox", "lantern"])
        >>> [words.knows(word) for word in ("fox's", "lanterns", "don't", "20th", "lanternd")]
        [True, True, True, True, False]
        """
        if len(word) == 1 or self._has(word):
            return True
        if not word.isalpha():
            head, _, ending = word.rpartition("'")
            if head:
                return ending in _ENDINGS and self.knows(head)
            return _NUMBER.fullmatch(word) is not None
        return any(len(word) > _SHORTEST_SINGULAR and self._has(singular) for singular in _singulars(word))

    def begins(self, part: str) -> bool:
        """Return whether a known word begins with these letters."""
        index = bisect_left(self._words, part)
        return (index < len(self._words) and self._words[index].startswith(part)) or self.knows(part)

    def _has(self, word: str) -> bool:
        index = bisect_left(self._words, word)
        return index < len(self._words) and self._words[index] == word


def load_word_list(path: Path) -> WordList:
    """Read a word list; raises ModelFileError for a file that is none."""
    try:
        with gzip.open(path) as file:
            data = file.read(MAX_BYTES + 1)
        text = data.decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ModelFileError(f"{path}: no word list: {error}", hint=AGAIN) from error
    if len(data) > MAX_BYTES:
        raise ModelFileError(f"{path}: larger than {MAX_BYTES // 1_000_000} MB", hint="list fewer words")
    words = [line for line in text.split("\n") if line and line[0] != "#"]
    if not words:
        raise ModelFileError(f"{path}: holds no words", hint=AGAIN)
    if any(word >= following for word, following in pairwise(words)):
        words = sorted(set(words))
    return WordList(words)


def _singulars(word: str) -> Sequence[str]:
    if not word.endswith("s") or word.endswith("ss"):
        return ()
    found = [word[:-1]]
    if word.endswith("ies"):
        found.append(f"{word[:-3]}y")
    elif word.endswith("es") and word[:-2].endswith(_HISSING):
        found.append(word[:-2])
    return found
