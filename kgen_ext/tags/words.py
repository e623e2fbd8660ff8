"""Word table: tags for words in other scripts, whole or cut into parts that are all known.

File `data/words.txt`, UTF-8, written by `tools.tag_lists.build_words`; a line is a meaning and its words, with tabs
between, in folded form (`fold_word`):

    fox ears TAB 狐耳 TAB лисьи уши     a tag; several with semicolons
    + red TAB 红色 TAB красное          an adjective: it joins the noun beside it
    = TAB 的 TAB с                      words that join others

An item that is no word of the table is cut where its script allows it: alphabets and Hangul at spaces, other scripts
anywhere, but two parts of one character never stand side by side (河马 is a hippopotamus, no river and horse). All of
it must be known: nothing is translated by half.
"""
from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from kgen_ext.once import once
from kgen_ext.tags.names import PATH

WORDS = os.path.join(os.path.dirname(PATH), "words.txt")
ADJECTIVE, JOINER = "+ ", "="
_MAX_ITEM = 200  # characters; no list of words is longer
_VARIANTS = str.maketrans({
    "ё": "е", "أ": "ا", "إ": "ا", "آ": "ا", "ى": "ي", "ة": "ه", "ـ": None, "ँ": "ं", "・": None, "\ufe0e": None,
    "\ufe0f": None, "\u200b": None, "\u200c": None, "\u200d": None,
    **{chr(code): None for code in (*range(0x64B, 0x653), *range(0x591, 0x5C8))},  # vowel marks
})  # fmt: skip
_HIRAGANA = {code: code - 0x60 for code in range(0x30A1, 0x30F7)}  # by the katakana of the same sound
# Scripts with spaces between words, and everything that is no letter of another script.
_SPACED = re.compile(r"[\w'-]", re.A)
_SPACED_NAMES = ("CYRILLIC", "GREEK", "ARABIC", "HEBREW", "DEVANAGARI", "HANGUL", "LATIN")
_NOUN_FIRST = ("ARABIC", "HEBREW", "THAI")
_COLOURS = {
    "hair": {"golden": "blonde", "yellow": "blonde", "silver": "grey"},
    "eyes": {"golden": "yellow", "silver": "grey"},
}  # fmt: skip
# What an adjective says of a person, as a tag.
_OF_PEOPLE = {"beautiful": "beautiful", "cute": "cute", "wet": "wet", "blonde": "blonde hair"}


def fold_word(text: str) -> str:
    """Return the form in which words are compared: width, case, accents that are left out, kana and spaces folded.

    >>> fold_word("Лисьи  Ушки"), fold_word("ミク"), fold_word("ΜΑΛΛΙΆ")
    ('лисьи ушки', 'みく', 'μαλλια')
    """
    return _fold(text).translate(_HIRAGANA)


def _fold(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).casefold().translate(_VARIANTS)
    if any("\u0370" <= letter <= "\u03ff" for letter in text):
        text = "".join(letter for letter in unicodedata.normalize("NFD", text) if not unicodedata.combining(letter))
    return " ".join(text.replace("_", " ").split())


def translate(item: str) -> tuple[str, ...] | None:
    """Return the tags of an item in another script, or None where it is not fully known.

    >>> translate("狐耳"), translate("黑色长发")
    (('fox ears',), ('black hair', 'long hair'))
    """
    if item.isascii() or len(item) > _MAX_ITEM:
        return None
    return _translate(item)


@lru_cache(maxsize=512)
def _translate(item: str) -> tuple[str, ...] | None:
    words = load_meanings()
    typed = _fold(item).strip(".!?。！？ ")
    folded = typed.translate(_HIRAGANA)
    if folded.isascii():
        return None
    meaning = words.get(folded)
    if meaning is not None:
        return None if meaning[:1] in ADJECTIVE + JOINER else tuple(meaning.split("; "))
    parts = _cut(folded, typed, words)
    return _compose(parts, folded) if parts else None


def _cut(folded: str, typed: str, words: dict[str, str]) -> list[str] | None:
    """Return the meanings of the fewest parts that cover the whole, longest first; None where none do."""
    # best[(end, single)]: fewest parts that reach `end`, the last of which is one character or not
    best: dict[tuple[int, bool], tuple[int, tuple[int, bool] | None, str]] = {(0, False): (0, None, "")}
    longest = _longest()
    for begin in range(len(folded)):
        states = [state for state in ((begin, False), (begin, True)) if state in best]
        if not states or not _may_cut(folded, begin):
            continue
        if folded[begin].isspace():
            for state in states:
                _offer(best, (begin + 1, False), (best[state][0], state, ""))
            continue
        for end in range(min(len(folded), begin + longest), begin, -1):
            meaning = words.get(folded[begin:end])
            if meaning is None or not _may_cut(folded, end):
                continue
            if meaning == JOINER and typed[begin:end] != folded[begin:end]:
                continue  # katakana: the ト of グレートソード is no と
            single = end - begin == 1 and meaning != JOINER and not _is_spaced(folded[begin])
            for state in states:
                if not (single and state[1]):
                    _offer(best, (end, single), (best[state][0] + 1, state, meaning))
    ends = [state for state in ((len(folded), False), (len(folded), True)) if state in best]
    if not ends:
        return None
    parts, state = list[str](), min(ends, key=lambda end: best[end][0])
    while (before := best[state][1]) is not None:
        if best[state][2]:
            parts.append(best[state][2])
        state = before
    return parts[::-1]


def _offer(
    best: dict[tuple[int, bool], tuple[int, tuple[int, bool] | None, str]],
    state: tuple[int, bool],
    reached: tuple[int, tuple[int, bool] | None, str],
) -> None:
    if state not in best or reached[0] < best[state][0]:
        best[state] = reached


def _may_cut(text: str, at: int) -> bool:
    return at in (0, len(text)) or not (_is_spaced(text[at - 1]) and _is_spaced(text[at]))


def _is_spaced(letter: str) -> bool:
    if letter.isascii():
        return _SPACED.match(letter) is not None
    return unicodedata.name(letter, "").startswith(_SPACED_NAMES) or unicodedata.category(letter) == "Mn"


def _compose(parts: list[str], folded: str) -> tuple[str, ...] | None:
    """Return the tags of the parts, each adjective joined to its noun."""
    noun_first = any(unicodedata.name(letter, "").startswith(_NOUN_FIRST) for letter in folded)
    parts = [part for part in parts if part != JOINER]
    tags, waiting = list[str](), list[str]()
    for part in reversed(parts) if noun_first else parts:
        if part.startswith(ADJECTIVE):
            waiting.append(part[len(ADJECTIVE) :])
            continue
        joined = _join(waiting, part.split("; "))
        if joined is None:
            return None
        tags += joined
        waiting = []
    if waiting and tags and (head := tags[-1].split(" ")[-1]) in _COLOURS:  # 黒髪ロング: an adjective behind its noun
        tags += _join(waiting, [head]) or ()
        waiting = []
    if waiting or not tags:
        return None  # an adjective without a noun
    return tuple(dict.fromkeys(tags))


def _join(adjectives: list[str], nouns: list[str]) -> list[str] | None:
    """Return adjectives and nouns as tags; None where they do not go together (a red girl)."""
    if not adjectives:
        return nouns
    first, *more = nouns
    if first[0].isdigit() or first.startswith("multiple "):
        return [*nouns, *(_OF_PEOPLE[word] for word in adjectives)] if _OF_PEOPLE.keys() >= set(adjectives) else None
    head = first.split(" ")[-1]
    spelled = [_COLOURS.get(head, {}).get(adjective, adjective) for adjective in adjectives]
    if head in ("hair", "eyes"):
        bare = [] if first == head else [first]
        return [*(f"{adjective} {head}" for adjective in spelled), *bare, *more]
    return [f"{' '.join(spelled)} {first}", *more]


def _lines(path: str) -> Iterator[tuple[str, list[str]]]:
    with open(path, encoding="utf-8") as file:
        for line in file:
            meaning, *words = line.rstrip("\n").split("\t")
            yield meaning, words


@once
def load_meanings() -> dict[str, str]:
    """Return the meaning of each folded word, read once per process."""
    return {word: meaning for meaning, words in _lines(WORDS) for word in words}


@once
def _longest() -> int:
    return max(map(len, load_meanings()), default=0)
