"""Tags that a text names: by name, by another name (`sofa` is `couch`), in the plural, as a verb (`sleeps`).

The longest run of words that is a tag counts, the noun it ends in, and the action it begins with: `a black cat` names
`black cat` and `cat`, but `wine glass` no `wine`. Articles within a run are passed over (`holding a sword`). A rare tag
of one word is named only as a thing is: behind an article or a number (`a margarita`), or at the end of what one began
(`an old fisherman`); a verb behind who does it: `a cat rides`, but no `train ride`. What is said to be absent is not
named, nor is a word that means something else as a tag (`a picture of`, `orange`).
"""
from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache

from kgen_ext.once import once
from kgen_ext.request import Category
from kgen_ext.tags.canonical import ASCII_SIGNS
from kgen_ext.tags.groups import singular
from kgen_ext.tags.lists import ALIASES, POPULAR, read_lists
from kgen_ext.tags.names import key_of, load_names

_CLAUSE = re.compile(r"[.,;:!?()\[\]{}\"\n/|]+")
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
# Verbs that end in two of their last letter before -ing: `sit`, but `draw` and `sleep` do not.
DOUBLES = re.compile(r"[^aeiou]*[aeiou][^aeiouwxy]")
# How names end that were cut off: `sitting on`, another name of `sitting on person`.
CUT = (" on", " in", " of", " at", " to", " from", " by", " for", " with", " into")
_LONGEST = 4  # words of a tag
_LONGEST_TEXT = 8000  # letters that are read; no model sees more
_PASSED = frozenset("a an the that this his her its my your our their some two three four five several many".split())
# A rare tag neither begins nor ends with one.
_LITTLE = frozenset("and as at by for from in into is are of on onto over to under up with without near behind".split())
# Who does something, whatever the form of the verb, and in any number.
_DOERS = frozenset("he she it one who which that they we you i to".split())
_PERSONS = frozenset("man woman boy girl child kid person people guy lady couple family".split())
_ABSENT, _OR = frozenset(("no", "not", "without")), frozenset(("or", "nor"))
# Words that are tags, or other names of tags, and say something else in a sentence.
OTHERWISE = frozenset(
    "album all alone alternate american art back bar bars basic being bent big block blocks bolt booth border both "
    "bubble bubbles bust can center change china chinese club coach colors contrast couple cover covering curiosity "
    "cut cuts displays down drawing drifting dutch egyptian english even everyone exploration expression facing "
    "falls fan fans figure figures film flat floor formal french front full gear german giving gothic greek group "
    "half hand heavy high highlights hit homemade icon icons image imagination individuals infinity insane inspired "
    "italian japanese korean large left light like lines local locks logo long look looks macro made making male "
    "man marble match matches memory men mix no old older on orange orbit other out outline over own painting "
    "paintings pale parts patch pattern people photo photograph picture pictures pile pipe pipes point pose present "
    "print prints progress raised right rock rough russian scene set shades short show shows side sides single "
    "small some sphere sport sports stack stall streaming stretch style surprise tall text tie tied tight tire "
    "tires together top track tracks trip turning under up upright view wanted warm wave waves web western what "
    "wide with world x young".split()
) | {"color palette", "coffee cup", "reaching out", "traditional chinese"}


@lru_cache(maxsize=256)  # the rows of a prompt ask the same
def find_mentions(text: str) -> tuple[str, ...]:
    """Return the tags that a text names, each once, in the order of the text.

    >>> find_mentions("A black cat sleeps on the sofa, without a hat.")
    ('black cat', 'cat', 'sleeping', 'on couch', 'couch')
    """
    found: dict[str, None] = {}
    for clause in _CLAUSE.split(text[:_LONGEST_TEXT].translate(ASCII_SIGNS).lower()):
        found.update(dict.fromkeys(_mentions_in(_WORD.findall(clause))))
    return tuple(found)


def _mentions_in(words: Sequence[str]) -> Iterator[str]:
    forms, at, absent = _forms(), 0, False
    while at < len(words):
        word = words[at]
        if word in _PASSED or word in _ABSENT or word in _OR:
            absent = absent or word in _ABSENT
            at += 1
            continue
        end, tag = _longest_run(words, at, forms)
        if tag is not None and not absent:
            yield tag
            if end - at > 1:
                parts = [words[end - 1 : end], *([words[at : at + 1]] if words[at].endswith("ing") else [])]
                yield from filter(None, (_tag_of(part, forms) for part in parts))
        at, absent = end, absent and not _OR.isdisjoint(words[end : end + 1])


def _longest_run(words: Sequence[str], at: int, forms: Mapping[str, str]) -> tuple[int, str | None]:
    """Return the end of the longest run of words that names a tag, and the tag; else the next word and None."""
    for end in range(min(len(words), at + 2 * _LONGEST), at, -1):
        run = [word for word in words[at:end] if word not in _PASSED]
        if words[end - 1] in _PASSED or len(run) > _LONGEST:
            continue
        if run[0] == "on" and words[end : end + 1] == ["of"]:  # `on the back of a horse` nobody lies on the back
            continue
        tag = _tag_of(run, forms, behind=words[at - 1] if at else "")
        if tag is None and (len(run) > 1 or _is_thing(words, at)):
            tag = _rare_tag_of(run)
        if tag is not None:
            return end, tag
    return at + 1, None


def _is_thing(words: Sequence[str], at: int) -> bool:
    """Return whether a word is a thing: it stands behind an article, or ends what one began."""
    begun = next((back for back in range(1, _LONGEST) if at >= back and words[at - back] in _PASSED), 0)
    if begun <= 1 or not _LITTLE.isdisjoint(words[at - begun : at]):
        return begun == 1
    behind = words[at + 1 : at + 2]
    return not behind or behind[0] in _LITTLE or behind[0].endswith("ing")


def _tag_of(run: Sequence[str], forms: Mapping[str, str], *, behind: str = "") -> str | None:
    """Return the tag that words name; `behind`: the word before them, if the only one may be a verb."""
    *before, last = run
    if not before and last in OTHERWISE:
        return None
    spellings = [last, singular(last), f"{last}s"]
    if not before and is_verb(last, behind, forms):
        spellings += _participles(last)
    for spelling in spellings:
        name = " ".join((*before, spelling))
        tag = forms.get(name) or forms.get(name.replace("-", " "))
        # `wood` are not the `woods` that are a forest.
        if tag is not None and (before or spelling not in OTHERWISE) and (spelling != f"{last}s" or tag == name):
            return tag
    return None


def is_verb(word: str, behind: str, names: Collection[str]) -> bool:
    """Return whether a word may say what is done behind another: behind a noun of the right number, or `who`, `to`.

    >>> [is_verb(word, behind, {"cat", "metal"}) for word, behind in (("sleeps", "cat"), ("sleep", "cats"), ("to", ""),
    ... ("cooks", "two"), ("surface", "metal"), ("surface", "to"))]
    [True, True, False, False, False, True]
    """
    third, noun = word.endswith("s") and not word.endswith("ss"), singular(behind)
    if behind in _DOERS or behind.endswith("ly"):
        return True
    if behind == "and":
        return third and word not in names
    if noun in _PERSONS:
        return True
    return (noun in names or noun.endswith(("man", "er", "or", "ist"))) and third == (noun == behind)


def _rare_tag_of(run: Sequence[str]) -> str | None:
    *before, last = run
    if not _LITTLE.isdisjoint((run[0], last)):
        return None
    names = (" ".join((*before, word)) for word in dict.fromkeys((last, singular(last))) if word not in OTHERWISE)
    return next((name for name in names if len(name) > 3 and _exists(name)), None)


@lru_cache(maxsize=4096)
def _exists(name: str) -> bool:
    return load_names().category(key_of(name)) is Category.GENERAL


def _participles(verb: str) -> Iterator[str]:
    """Yield how the participle of a verb may be written: of `sits`, `rides`, `sleep`; `stars` are not staring."""
    stem = verb[:-1] if verb.endswith("s") else verb
    if len(stem) > 2:
        if not DOUBLES.fullmatch(stem):
            yield f"{stem}ing"
        yield f"{stem}{stem[-1]}ing"
        if stem.endswith("e"):
            yield f"{stem[:-1]}ing"


@once
def _forms() -> dict[str, str]:
    """Return each name and other name of a tag -> the tag."""
    (popular,), (aliases,) = read_lists(POPULAR, 1), read_lists(ALIASES, 1)
    forms = dict(line.split("\t", 1) for line in aliases if "\t" in line)
    forms = {name: tag for name, tag in forms.items() if not name.endswith(CUT) and name not in OTHERWISE}
    return forms | {name: name for name in popular if len(name) > 2}
