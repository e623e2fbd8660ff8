"""Tells sentences from tags and finds trigger words, by simple rules over words.

Refuses to know the tag lists (that is tags/) and the syntax around the words (that is parser.py).

An item, the text between two separators, is prose if
    it starts with a, an or a pronoun and has four words or more (`the`: six, and no colon: series are called so),
    or it has is, are, was or were between other words, four in all,
    or it ends a sentence, has three words (before ! and ? five: `bocchi the rock!`) and among them a function word,
    or it has eight words, two function words among them and no colon, or twelve words.
`looking at viewer`, `hand on own hip`, `the legend of zelda` and `5.30 p.m.` stay tags.

A trigger word is one word with an underscore and a part that carries a version or a number glued to a name:
`my_char_v2`, `ohwx_person01`. `long_hair`, `score_9`, `score_8_up`, `6+girls`, `persona_5` are ordinary.
"""
from __future__ import annotations

import re

from kgen_ext.prompt.sentences import is_finished

_STARTERS = frozenset("a an he she they it i we you his her their its my our this that these those there".split())
_FUNCTION = frozenset(
    "a an the of in on at to with and or from by for is are was were has have her his their its she he they it "
    "who which that as into over under while near behind between through".split()
)
_BE = frozenset("is are was were".split())


def is_prose(shown: str) -> bool:
    """Say whether an item reads as a sentence or part of one, rather than as a tag."""
    words = shown.lower().split()
    if len(words) < 3 or (shown.endswith(")") and " (" in shown):
        return False  # the latter are names: formidable (the lady of the beach) (azur lane)
    functions = sum(word.strip(",.;:!?\"'") in _FUNCTION for word in words)
    return (
        (words[0] in _STARTERS and len(words) >= 4)
        or (words[0] == "the" and len(words) >= 6 and ":" not in shown)
        or (len(words) >= 4 and any(word in _BE for word in words[1:-1]))
        or (is_finished(shown) and functions >= 1 and (shown[-1] not in "!?！？" or len(words) >= 5))
        or (len(words) >= 8 and functions >= 2 and ":" not in shown)
        or len(words) >= 12
    )


def is_trigger(word: str) -> bool:
    """Say whether a word is a LoRA's or embedding's trigger, which a language model can only garble."""
    if "_" not in word or re.search(r"\s|[()]", word):
        return False
    parts = word.strip("_").split("_")[1:]
    return any(re.fullmatch(r"[vV]\d[\d.]*\w{0,2}|[^\W\d]{3,}\d+", part) for part in parts)
