"""Where things are and what people do with them, as captions say it: `sitting on a` bench, a cup `on the` table.

A list of tags does not say how its things lie to each other. Captions do, for the same things in other pictures.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

_ARTICLES = {"a": "a", "an": "a", "the": "the"}
_PREPOSITIONS = frozenset(
    "on in at near under over behind beside with by inside above below along through across against around into "
    "toward towards beneath between among".split()
)
_JOINED = frozenset("next front top of to out up down from".split())
_PERSON = re.compile(r"(?:wo)?man|(?:wo)?men|girl|girls|boy|boys|lady|guy|person|people|child|children|kid|kids|player")
# Words in -ing and -ed that are no verb, or say what the sentence could not know.
_NO_VERBS = frozenset("building ceiling clothing evening morning railing being having red bed shed featuring".split())
_LEAST = 3  # captions that must say so
_LONGEST = 4  # words between the two
_Key = TypeVar("_Key")


@dataclass(frozen=True, slots=True)
class Relations:
    """Phrases with their counts, `sitting on a`, `in the`: between a person and a thing, and between two things."""

    person: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    things: Mapping[tuple[str, str], Mapping[str, int]] = field(default_factory=dict)


def find_relations(
    sentences: Iterable[str], forms: Mapping[str, str], nouns: frozenset[str]
) -> Relations:
    """Read the phrases off sentences: those that stand between a person or one of `nouns` and the next of them."""
    person: defaultdict[str, Counter[str]] = defaultdict(Counter)
    things: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for sentence in sentences:
        words = re.findall(r"[a-z'-]+|[,.;:]", sentence.lower())
        for place, word in enumerate(words):
            if word in _ARTICLES and place:
                _note(words, place, forms, nouns, person, things)
    return Relations(_often(person), _often(things))


def _note(
    words: list[str],
    article: int,
    forms: Mapping[str, str],
    nouns: frozenset[str],
    person: defaultdict[str, Counter[str]],
    things: defaultdict[tuple[str, str], Counter[str]],
) -> None:
    phrase: list[str] = []
    at = article - 1
    while at >= 0 and len(phrase) < _LONGEST and _joins(words[at]):
        phrase.insert(0, words[at])
        at -= 1
    while phrase and phrase[0] in _JOINED and phrase[:2] != ["next", "to"]:  # `side to` has lost its beginning
        phrase.pop(0)
    named = next((run for size in (3, 2, 1) if (run := " ".join(words[article + 1 : article + 1 + size])) in forms), "")
    if at < 0 or not phrase or not named or named != forms[named] or named not in nouns:
        return
    if phrase == ["with"]:  # joins anything: it says nothing of where
        return
    said = " ".join((*phrase, _ARTICLES[words[article]]))
    doer = words[at - 1] if words[at] in ("is", "are", "and") else words[at]
    if _PERSON.fullmatch(doer):
        person[named][said] += 1
    # Things do nothing but stand somewhere; behind `is` the nearest word need not be what is meant.
    elif forms.get(words[at]) in nouns and phrase[-1] in (*_PREPOSITIONS, "of", "to"):
        things[forms[words[at]], named][said] += 1


def _joins(word: str) -> bool:
    verb = len(word) > 4 and word.endswith(("ing", "ed")) and word not in _NO_VERBS
    return verb or word in _PREPOSITIONS or word in _JOINED


def _often(counts: Mapping[_Key, Counter[str]]) -> dict[_Key, dict[str, int]]:
    often = {key: {said: count for said, count in found.items() if count >= _LEAST} for key, found in counts.items()}
    return {key: found for key, found in often.items() if found}
