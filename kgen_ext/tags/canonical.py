r"""Written form and comparison form of a tag: the forms in which two spellings of one tag are equal.

The written form (`normalise`) is the one the models were trained on. In this order:

* full-width ASCII, the ideographic space, and curly quotes and dashes become ASCII; lower case; outer and repeated
  white space is removed;
* a backslash before a bracket is an escape and is removed (`saber \(fate\)`); other runs of backslashes become one
  (`\o/`);
* a leading `artist:`, as NovelAI users write it, is removed: the models' lists hold the bare name;
* underscores become spaces when the tag has four or more characters, so `^_^`, `o_o` and `>_<` stay, as in training
  (the models' author's data code; a longer face such as `(o)_(o)` was trained as `(o) (o)`);
* the closed set of score and source tags keeps its underscores (`score_9_up`), again as trained.

The comparison form (`canonical_name`) also removes the decoration that a model adds to evade a ban or a repeat:

* invisible characters and accents are removed; letters of other alphabets and styles become the Latin ones they look
  like;
* hyphens between letters become spaces where only that is a tag, of the whole or of a word, and a space becomes a
  hyphen where only that is one: `fox-ears` is `fox ears`, `half closed eyes` is `half-closed eyes`; `x-ray` stays;
* signs at both ends are removed (`hat..`, `*hat*`, `(hat)`), but no more than it takes to reach a name that exists:
  `:d`, `d.va`, `k-on!`, `...` stay, and `k-on!.` is `k-on!`. A closed bracket belongs to the name: `saber (fate)`.

Different words stay different: plurals, other hyphens and spaces between letters are kept. Names that exist are those
of `names`. A prompt's weights and brackets are removed before a tag comes here.
"""
from __future__ import annotations

import re
import unicodedata

from kgen_ext.request import Category
from kgen_ext.tags.names import key_of, load_names

# U+FF01..FF5E are ASCII 0x21..0x7E set wide; U+3000 is the space that goes with them.
_WIDE = {0xFF01 + i: 0x21 + i for i in range(94)} | {0x3000: 0x20}
# What may stand between the words of one tag, and the most of them that are tried out.
_GAP = re.compile(r"(?<=[^\W_])[ -](?=[^\W_])")
_HYPHEN = re.compile(r"(?<=[^\W_])-(?=[^\W_])")
_MAX_GAPS = 5
# What word processors and phones make of ' " and -.
_CURLY = (
    dict.fromkeys(map(ord, "\u2018\u2019\u201a\u201b\u2032\u02bc\u00b4"), "'")
    | dict.fromkeys(map(ord, "\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb"), '"')
    | dict.fromkeys(range(0x2010, 0x2016), "-")
    | {0x2212: "-"}
)
ASCII_SIGNS: dict[int, int | str] = _WIDE | _CURLY
# Tried only where a run begins: at each backslash of a long run, it would take quadratic time.
_ESCAPE = re.compile(r"(?<!\\)\\+(?=[()\[\]{}])")
_BACKSLASHES = re.compile(r"\\\\+")
_PREFIX = re.compile(r"[\s_]*artist:(?:[\W_]*artist:)*\s*(?=\S)")

SCORES: tuple[str, ...] = (
    "score_9", "score_9_up", "score_8_up", "score_7_up", "score_6_up", "score_5_up", "score_4_up",
)  # fmt: skip
SOURCES: tuple[str, ...] = ("source_anime", "source_cartoon", "source_furry", "source_pony")
_KEPT = {name.replace("_", " "): name for name in SCORES + SOURCES}

# No name has more signs than this at either end.
_MAX_SIGNS = 4
# Of longer runs of signs alone, as in a divider, no part is looked for.
_MAX_RUN = 64
# Nearly every tag: letters at both ends, or one closed bracket at the end.
_USUAL = re.compile(r"[^\W_](?:[^()\[\]{}]*[^\W_])?(?: \([^()\[\]{}]*[^\W_][^()\[\]{}]*\))?")
_CLOSERS = {")": "(", "]": "[", "}": "{"}
_OPENERS = {opener: closer for closer, opener in _CLOSERS.items()}
# Cyrillic and Greek small letters that look Latin in most fonts.
_LOOKALIKES = str.maketrans("аеорсухіјѕԁһӏԛԝкмтвнαεικνορτυχγω", "aeopcyxijsdhlqwkmtbhaeikvoptuxyw")
# Fillers that Unicode counts as letters, and variation selectors.
_BLANK = frozenset("\u115f\u1160\u17b4\u17b5\u3164\uffa0") | {chr(code) for code in range(0xFE00, 0xFE10)}


def normalise(tag: str) -> str:
    r"""Return the written form of a tag; twice changes nothing.

    >>> normalise(" Looking_At  Viewer"), normalise("^_^"), normalise(r"saber_\(fate\)"), normalise("Score 9")
    ('looking at viewer', '^_^', 'saber (fate)', 'score_9')
    """
    if not tag.isascii():
        tag = tag.translate(ASCII_SIGNS)
    tag = tag.lower()
    if "\\" in tag:
        tag = _BACKSLASHES.sub(r"\\", _ESCAPE.sub("", tag))
    tag = " ".join(tag.split())
    if "artist:" in tag:
        tag = _PREFIX.sub("", tag, count=1) if _PREFIX.match(tag) else tag
    if "_" in tag and len(tag) >= 4:
        tag = " ".join(tag.replace("_", " ").split()) or tag
    return _KEPT.get(tag, tag)


def canonical_name(written: str) -> str:
    """Return the comparison form of a written form; twice changes nothing.

    >>> [canonical_name(name) for name in ("hat..", "(hat)", "h\u200bat", ":d", "k-on!.", "saber (fate)")]
    ['hat', 'hat', 'hat', ':d', 'k-on!', 'saber (fate)']
    """
    return strip_signs(fold(written))


def strip_signs(folded: str) -> str:
    """Return the comparison form of a folded form (`fold`)."""
    while (less := _without_signs(folded)) != folded:
        folded = fold(normalise(less))  # what is left may have spaces at its ends, and hyphens that can be told now
    return folded


def fold(written: str) -> str:
    """Return a written form in plain letters, hyphens as in the tag, nothing invisible; twice changes nothing."""
    while not (written.isascii() and written.isprintable()):
        folded = normalise(fold_text(written)[0])
        if folded == written:
            break
        written = folded
    if "-" in written or " " in written:
        while (less := normalise(_respell(written))) != written:
            written = less
    return written


def _respell(name: str) -> str:
    """Return a name that does not exist with its hyphens as spaces, or a space as a hyphen, where that exists."""
    if _exists(name):
        return name
    gaps = [gap.start() for gap in _GAP.finditer(name)]
    if not gaps or len(gaps) > _MAX_GAPS:
        return name
    if "-" in name:
        spaced = _HYPHEN.sub(" ", name)
        if _category(spaced) not in (None, Category.ARTIST):
            return spaced
        words = name.split(" ")
        for i, word in enumerate(words):
            if len(words) > 1 and "-" in word and not _exists(word):
                spaced = _HYPHEN.sub(" ", word)
                words[i] = spaced if _category(spaced) is Category.GENERAL else word
        name = " ".join(words)
        if "-" not in name:
            return name
    respelled = (_HYPHEN.sub(" ", name[:gap]) + "-" + _HYPHEN.sub(" ", name[gap + 1 :]) for gap in gaps)
    return next((other for other in respelled if _category(other) not in (None, Category.ARTIST)), name)


def fold_text(text: str) -> tuple[str, list[int]]:
    """Return running text in plain letters, and for each letter the index in `text` that it came from."""
    folded, places = list[str](), list[int]()
    for place, letter in enumerate(text):
        for plain in letter if letter.isascii() else unicodedata.normalize("NFKD", letter).translate(_LOOKALIKES):
            if not is_invisible(plain):
                folded.append(plain)
                places.append(place)
    return "".join(folded), places


def is_invisible(letter: str) -> bool:
    """Return whether a character shows nothing by itself: joiners, direction marks, fillers, accents and strokes."""
    if letter in _BLANK or "\u0300" <= letter <= "\u036f" or "\u20d0" <= letter <= "\u20ff":
        return True
    return unicodedata.category(letter) in ("Cf", "Cc") and not letter.isspace()


def _without_signs(name: str) -> str:
    """Return the longest part that holds all letters of a name and exists; its core where none does."""
    if _USUAL.fullmatch(name) or _exists(name):
        return name
    first, last = _core(name)
    if first == last:  # signs alone
        if len(name) > _MAX_RUN:
            return name
        sizes = range(min(2 * _MAX_SIGNS, len(name)), 0, -1)
        parts = [name[begin : begin + size] for size in sizes for begin in range(len(name) - size + 1)]
        return next((part for part in parts if _category(part) is Category.GENERAL), name)
    ends = range(last, min(last + _MAX_SIGNS, len(name)) + 1)
    parts = [name[begin:end] for begin in range(max(first - _MAX_SIGNS, 0), first + 1) for end in ends]
    return next((part for part in sorted(parts, key=len, reverse=True) if _exists(part)), name[first:last])


def _core(name: str) -> tuple[int, int]:
    """Return where a name's letters begin and end, including the brackets that belong to them."""
    letters = [place for place, letter in enumerate(name) if letter.isalnum()]
    if not letters:
        return 0, 0
    first, last = letters[0], letters[-1] + 1
    opened, unopened = list[str](), list[str]()
    for letter in name[first:last]:
        if letter in _OPENERS:
            opened.append(letter)
        elif letter in _CLOSERS:
            if opened and opened[-1] == _CLOSERS[letter]:
                opened.pop()
            else:
                unopened.append(letter)
    for opener in reversed(opened):
        found = name.find(_OPENERS[opener], last)
        last = found + 1 if found >= 0 else last
    for closer in unopened:
        found = name.rfind(_CLOSERS[closer], 0, first)
        first = found if found >= 0 else first
    return first, last


def _exists(name: str) -> bool:
    return _category(name) is not None


def _category(name: str) -> Category | None:
    return load_names().category(key_of(name))
