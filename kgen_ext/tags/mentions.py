"""Tags that a text names: by name, by another name (`sofa` is `couch`), in the plural, as a verb (`sleeps`).

The longest run of words that is a tag counts, the noun it ends in, and the action it begins with: `a black cat` names
`black cat` and `cat`, but `wine glass` no `wine`. Articles within a run are passed over (`holding a sword`). A rare tag
of one word is named only as a thing is: behind an article or a number (`a margarita`), or at the end of what one began
(`an old fisherman`). What is said to be absent is not named, nor is a word that means something else as a tag (`a
picture of`, `orange`).
"""
from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
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
_DOUBLES = re.compile(r"[^aeiou]*[aeiou][^aeiouwxy]")
_LONGEST = 4  # words of a tag
_LONGEST_TEXT = 8000  # letters that are read; no model sees more
_PASSED = frozenset("a an the that this his her its my your our their some two three four five several many".split())
# A rare tag neither begins nor ends with one.
_LITTLE = frozenset("and as at by for from in into is are of on onto over to under up with without near behind".split())
_ABSENT, _OR = frozenset(("no", "not", "without")), frozenset(("or", "nor"))
# Single words that are tags, or other names of tags, and say something else in a sentence.
_OTHERWISE = frozenset(
    "album all alone alternate american art back bar bars basic being bent big block blocks bolt border both bust can "
    "center change china chinese club coach colors contrast couple cover covering cut cuts displays down drawing "
    "drifting dutch english everyone expression facing falls fans figure figures flat floor formal french front full "
    "german giving greek group half hand heavy high homemade icon icons image infinity inspired italian japanese "
    "korean large left light like lines local locks logo long look looks macro made making man match men mix no "
    "old on orange other out outline over own painting paintings parts patch pattern people photo photograph picture "
    "pictures pile point pose present print prints raised right rock rough russian scene set short show shows side "
    "sides single small some sphere sport sports stack style tall text tie together top track tracks trip turning "
    "under up upright view wave waves what wide with world x young".split()
)


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
        tag = _tag_of(run, forms)
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


def _tag_of(run: Sequence[str], forms: Mapping[str, str]) -> str | None:
    *before, last = run
    if not before and last in _OTHERWISE:
        return None
    spellings = [last, singular(last), f"{last}s"]
    if not before:
        spellings += _participles(last)
    for spelling in spellings:
        name = " ".join((*before, spelling))
        tag = forms.get(name) or forms.get(name.replace("-", " "))
        if tag is not None and (before or spelling not in _OTHERWISE):
            return tag
    return None


def _rare_tag_of(run: Sequence[str]) -> str | None:
    *before, last = run
    if not _LITTLE.isdisjoint((run[0], last)):
        return None
    names = (" ".join((*before, word)) for word in dict.fromkeys((last, singular(last))) if word not in _OTHERWISE)
    return next((name for name in names if len(name) > 3 and _exists(name)), None)


@lru_cache(maxsize=4096)
def _exists(name: str) -> bool:
    return load_names().category(key_of(name)) is Category.GENERAL


def _participles(verb: str) -> Iterator[str]:
    """Yield how the participle of a verb may be written: of `sits`, `rides`, `sleep`; `stars` are not staring."""
    stem = verb[:-1] if verb.endswith("s") else verb
    if len(stem) > 2:
        if not _DOUBLES.fullmatch(stem):
            yield f"{stem}ing"
        yield f"{stem}{stem[-1]}ing"
        if stem.endswith("e"):
            yield f"{stem[:-1]}ing"


@once
def _forms() -> dict[str, str]:
    """Return each name and other name of a tag -> the tag."""
    (popular,), (aliases,) = read_lists(POPULAR, 1), read_lists(ALIASES, 1)
    forms = dict(line.split("\t", 1) for line in aliases if "\t" in line)
    return forms | {name: name for name in popular if len(name) > 2}
