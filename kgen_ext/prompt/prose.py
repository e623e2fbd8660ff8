"""Prose or tag: whether an item of a prompt reads as a sentence or part of one, and how a sentence is shown.

A tag that exists is a tag (`looking at viewer`, `girl with a pearl earring`), and so is what says how the picture was
made or by whom (`in the style of NAME`). Any other item is prose if
    it starts with a, an or a pronoun and has four words or more (`the`: six, and no colon: series are called so),
    or it has is, are, was or were between other words, four in all,
    or it ends a sentence, has three words (before ! and ? five: `bocchi the rock!`) and among them a function word,
    or it has eight words, two function words among them and no colon, or twelve words,
    or it has a function word and enough words for the company it is in: the fewer other items, the fewer words.
What describes by itself is a caption (`portrait of an old fisherman`, `girl in rain`, `a fox`), and so are six words of
any kind; in a long list most phrases are tags (`detailed face and eyes`), unless an article within shows that they are
not (`sitting on a park bench`).
"""
from __future__ import annotations

import re
from collections.abc import Callable

from kgen_ext.prompt.sentences import is_finished, split_sentences
from kgen_ext.request import Category
from kgen_ext.tags.canonical import ASCII_SIGNS
from kgen_ext.tags.checkpoint import artists_of
from kgen_ext.tags.tag import read_tag

_ARTICLES = frozenset("a an the his her their its my your our".split())
# So many other items make a prompt a list of tags.
MANY = 3
_LEADING = frozenset(("a", "an"))
_STARTERS = frozenset("a an he she they it i we you his her their its my our this that these those there".split())
_FUNCTION = frozenset(
    "a an the of in on at to with without and or from by for is are was were has have his her their its she he they it "
    "who which that as into onto over under while near beside behind between through inside against during".split()
)
_PREPOSITIONS = frozenset("in on at with without into onto under over near beside behind through inside".split())
_BE = frozenset("is are was were".split())
# Words that stay small in a title.
_SMALL = _FUNCTION | frozenset("but nor so yet up off out de la van von der du".split())
_SCRAP = 4  # words of a tag in front of a full stop
# So many words in capitals in a row are no abbreviation.
_SHOUTED = 3
_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
# Wide signs have no space behind them.
_WIDE_SIGN = re.compile(r"([\uff01\uff0c\uff1a\uff1b\uff1f])(?=\w)")


def is_prose(shown: str, *, others: Callable[[], int]) -> bool:
    """Return whether an item reads as a sentence or part of one, rather than as a tag.

    others: returns how many other items of content are in the segment, at least up to MANY; called where it matters.

    >>> [is_prose("dancing in heavy summer rain", others=lambda: count) for count in (0, 9)]
    [True, False]
    """
    words = [word.strip(",.;:!?\"'") for word in shown.lower().split()]
    if len(words) < 2 or (shown.endswith(")") and " (" in shown):
        return False  # the latter is a name: formidable (the lady of the beach) (azur lane)
    if not _reads_as_prose(shown, words, others):
        return False
    tag = read_tag(shown)
    if tag.category is Category.ARTIST:
        return not artists_of(tag.name)  # many an artist is called like a phrase
    return tag.category is Category.GENERAL and not tag.is_known


def _reads_as_prose(shown: str, words: list[str], others: Callable[[], int]) -> bool:
    count, functions = len(words), sum(word in _FUNCTION for word in words)
    article = any(word in _ARTICLES for word in words[1:-1])
    if (
        (words[0] in _STARTERS and count >= 4)
        or (words[0] == "the" and count >= 6 and ":" not in shown)
        or (count >= 4 and any(word in _BE for word in words[1:-1]))
        or (count >= 3 and functions and is_finished(shown) and (shown[-1] not in "!?！？" or count >= 5))
        or (count >= 8 and functions >= 2 and ":" not in shown)
        or count >= 12
    ):
        return True
    leading = words[0] in _LEADING
    least = 3 if words[1] in _PREPOSITIONS else 4 if functions else 6
    if ":" in shown or not (leading or count >= least):
        return False
    company = others()
    if company == 0:
        return True
    if company < MANY:
        return leading or (functions > 0 and count >= (4 if article else 5 if functions >= 2 else 6))
    return functions > 0 and count >= (5 if article else 7 if functions >= 2 else 9)


def is_scrap(text: str, *, stop: str) -> bool:
    """Return whether what one of several stops ends is a tag rather than a sentence: `blue eyes. smile.`, `a; b; c`."""
    words = text.lower().split()
    if stop == ".":
        return len(words) <= _SCRAP and _FUNCTION.isdisjoint(words)
    return words[0] not in _STARTERS and not is_prose(text, others=lambda: MANY)


def leads_on(text: str) -> bool:
    """Return whether text ends in a function word, so that what follows belongs to the same phrase."""
    return text.rpartition(" ")[2].lower() in _FUNCTION


def shown_text(text: str) -> str:
    """Return running text as the models were trained to see it: plain signs, and the letter case of sentences.

    A sentence, or three words in a row, in capitals is put in small letters, and so is one with a capital at every
    word; ordinary sentences keep their case.

    >>> shown_text("A GIRL IN THE RAIN. She’s near the NASA base.")
    "A girl in the rain. She's near the NASA base."
    """
    if not text.isascii():
        text = _WIDE_SIGN.sub(r"\1 ", text).translate(ASCII_SIGNS)
    if not any(map(str.isupper, text)):
        return text
    return " ".join(map(_sentence_case, split_sentences(text)))


def _sentence_case(sentence: str) -> str:
    words = [found.group() for found in _WORD.finditer(sentence)]
    small = _small_words(words)
    if not any(small):
        return sentence
    parts, end = list[str](), 0
    for found, lower in zip(_WORD.finditer(sentence), small, strict=True):
        word = found.group()
        # The first letter of a sentence stays as it is.
        kept = word if not lower or word == "I" else word[0] + word[1:].lower() if not parts else word.lower()
        parts += [sentence[end : found.start()], kept]
        end = found.end()
    return "".join(parts) + sentence[end:]


def _small_words(words: list[str]) -> list[bool]:
    """Return for each word of a sentence whether its capitals say nothing."""
    if len(words) > 1 and all(word.isupper() for word in words if len(word) > 1):
        return [True] * len(words)
    if _is_title(words):
        return [not word.isupper() or word.lower() in _SMALL for word in words]
    small, start = [False] * len(words), 0
    for end in range(len(words) + 1):
        if end == len(words) or not words[end].isupper():
            if end - start >= _SHOUTED and sum(len(word) > 1 for word in words[start:end]) > 1:
                small[start:end] = [True] * (end - start)
            start = end + 1
    return small


def _is_title(words: list[str]) -> bool:
    """Return whether a sentence has a capital at every word but the little ones."""
    content = [word for word in words if len(word) > 1 and word.lower() not in _SMALL]
    little = any(word.istitle() and word.lower() in _SMALL for word in words[1:] if word != "I")
    return len(content) >= (2 if little else 3) and all(word[0].isupper() for word in content)
