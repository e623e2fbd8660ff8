"""Claims: what a tag or a text says of a picture, as answers to questions, people, and things that are not there.

    big green eyes   eyes: green   red-haired girl   long flowing silver hair   hair color pink   redhead
    a girl with long silver hair sits on a bench at night; no hat, without glasses

A colour or a length belongs to the noun behind it with any adjectives between (`white long hair`), or in front
(`hair: red`). It does not reach across a preposition or another noun (`red ribbon in hair`), and a noun that
describes another is none (`red hair ribbon`). Reading takes time linear in the text.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from kgen_ext.once import once
from kgen_ext.rules.people import NO_ONE, People, read_people
from kgen_ext.rules.questions import (
    BACKGROUND,
    COLOUR_PAIRS,
    COLOURS,
    EYE_COLOUR,
    HAIR_COLOUR,
    HAIR_LENGTH,
    LENGTH_PAIRS,
    LENGTHS,
    MIXED,
    MIXED_PAIRS,
    QUESTIONS,
    SEVERAL,
    SHADES,
    SKIN,
    SKINS,
    STREAKS,
)
from kgen_ext.tags.groups import PREPOSITIONS, Group, singular, word_groups

Answers = frozenset[str]

_WORD = re.compile(r"\d+\+?[^\W\d_]*|[^\W_]+(?:'[^\W_]+)?|[&/+.,;:!?()]")
_NUMBER = {question.name: number for number, question in enumerate(QUESTIONS)}
_COLOURED = {"hair": HAIR_COLOUR, "style": HAIR_COLOUR, "eyes": EYE_COLOUR, "skin": SKIN, "background": BACKGROUND}
_NOUNS = {
    "hair": "hair", "hairs": "hair", "haired": "hair", "hairstyle": "hair", "haircut": "hair", "locks": "hair",
    "eyes": "eyes", "eye": "eyes", "eyed": "eyes", "iris": "eyes", "irises": "eyes",
    "ponytail": "style", "ponytails": "style", "twintails": "style", "pigtails": "style", "braid": "style",
    "braids": "style", "bangs": "style", "curls": "style", "mohawk": "style", "dreadlocks": "style",
    "skin": "skin", "skinned": "skin", "complexion": "skin",
    "background": "background", "backdrop": "background", "backgrounds": "background",
}  # fmt: skip
_COMPOUND = frozenset(
    "bun buns intake intakes flap flaps ring rings shadow makeup patch lash lashes dryer brush clip clips pin pins tie "
    "ties band bands bead beads net bell salon bobbles tubes scrunchie stick sticks wings ears tight contact dress "
    "brushing drying cutting pull roots trim stylist ornament fruit test mask cream socket tattoo piercing candy "
    "print pattern character characters text music noise people story".split()
)
_OTHER_HAIR = frozenset("armpit chest facial pubic body arm leg animal nose ear back stray dog cat horse".split())
_STOPS = PREPOSITIONS | frozenset(
    "is are was were and or but the a an her his their my your its this that these those who which no not has have "
    "having had wears wearing wear & / + . , ; : ! ? ( )".split()
)
_BETWEEN = frozenset(("and", "&", "/", "or", "+"))
_ISH = {"reddish": "red", "bluish": "blue", "greenish": "green", "pinkish": "pink", "purplish": "purple",
        "brownish": "brown", "greyish": "grey", "grayish": "grey", "yellowish": "yellow", "whitish": "white"}
_LINKS = frozenset(("color", "colour", "colors", "colored", "coloured", "is", "are", "dyed", ":", "in", "was", "were"))
_HEADS = frozenset((
    Group.CLOTHING, Group.ACCESSORY, Group.CREATURE, Group.BODY, Group.BACKGROUND, Group.EYES, Group.HAIR,
))  # fmt: skip
# Said of a person's hair when they stand alone or before a person: `blonde girl`, `a redhead`.
_HAIR_PEOPLE = {"redhead": COLOURS["redhead"], "redheaded": COLOURS["redhead"], "redheads": COLOURS["redhead"],
                "brunette": COLOURS["brunette"], "brunettes": COLOURS["brunette"], "blondie": COLOURS["blonde"],
                "blondes": COLOURS["blonde"]}  # fmt: skip
_HAIR_ADJECTIVES = frozenset(("blonde", "blond", "ginger"))
_ABSENT = frozenset(("no", "without", "sans"))
_DESCRIBED = frozenset((Group.CLOTHING, Group.ACCESSORY, Group.CREATURE))
_ARTICLES = frozenset("a an the two three some several this".split())
_PRONOUNS = frozenset("she he her his him hers i my me we our us you your".split())
_MOST = 3  # words of a thing that is not there


@dataclass(frozen=True, slots=True)
class Claims:
    """What a tag or a text says. `answers`: question number and what it allows; `lifts`: questions it lifts.

    `things`: what it names, and `absent`: what it says is not there, both in the singular. `of_animal`: its subject is
    an animal, and nobody is told of.
    """

    answers: tuple[tuple[int, Answers], ...] = ()
    lifts: frozenset[int] = frozenset()
    people: People = NO_ONE
    things: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()
    of_animal: bool = False


@lru_cache(maxsize=8192)
def read_claims(name: str) -> Claims:
    """Read a tag's comparison form, or a text in small letters."""
    words = _WORD.findall(name.lower().replace("’", "'"))
    answers = dict[int, Answers]()
    for number, found in (*_whole().get(name, ()), *_phrases_in(words), *_nouns_in(words)):
        known = answers.get(number)
        # A text that says two things of one question allows both; what says one more exactly is narrower.
        answers[number] = found if known is None else (known & found or known | found)
    absent, people = frozenset(_absent_in(words)), read_people(words)
    return Claims(
        tuple(sorted(answers.items())),
        _lifted_by().get(name, frozenset()),
        people,
        frozenset() if absent else frozenset(_things_in(words)),
        absent,
        not people and _is_of_animal(words),
    )


def _split(text: str) -> list[str]:
    return [tag.strip() for tag in text.split(",") if tag.strip()]


@once
def _whole() -> dict[str, tuple[tuple[int, Answers], ...]]:
    """Return tag -> (question, answers it allows), ..."""
    index = dict[str, dict[int, set[str]]]()
    for number, question in enumerate(QUESTIONS):
        for answer, tags in question.answers.items():
            for tag in _split(tags):
                index.setdefault(tag, {}).setdefault(number, set()).add(answer)
    return {tag: tuple((n, frozenset(found)) for n, found in some.items()) for tag, some in index.items()}


@once
def _phrases() -> dict[str, tuple[tuple[tuple[str, ...], int, Answers], ...]]:
    """Return first word -> (all words, question, answers they allow), ..., the longest first."""
    index = dict[tuple[tuple[str, ...], int], set[str]]()
    for number, question in enumerate(QUESTIONS):
        for answer, phrases in question.phrases.items():
            for phrase in _split(phrases):
                index.setdefault((tuple(_WORD.findall(phrase)), number), set()).add(answer)
    by_first = dict[str, list[tuple[tuple[str, ...], int, Answers]]]()
    for (words, number), found in sorted(index.items(), key=lambda item: -len(item[0][0])):
        by_first.setdefault(words[0], []).append((words, number, frozenset(found)))
    return {first: tuple(some) for first, some in by_first.items()}


@once
def _lifted_by() -> dict[str, frozenset[int]]:
    """Return tag -> the questions it lifts."""
    lifters = dict[str, set[int]]()
    for number, question in enumerate(QUESTIONS):
        for tag in _split(question.lifted_by):
            lifters.setdefault(tag, set()).add(number)
    return {tag: frozenset(numbers) for tag, numbers in lifters.items()}


def _phrases_in(words: Sequence[str]) -> Iterator[tuple[int, Answers]]:
    phrases = _phrases()
    for at, word in enumerate(words):
        done = set[int]()
        for phrase, number, found in phrases.get(word, ()):
            end = at + len(phrase)
            if number in done or tuple(words[at:end]) != phrase:
                continue
            done.add(number)
            # `summer day dress` is no season, `bald eagle` no hair.
            if end == len(words) or word_groups(words[end]).isdisjoint(_DESCRIBED):
                yield number, found


def _nouns_in(words: Sequence[str]) -> Iterator[tuple[int, Answers]]:
    """Yield what is said of hair, eyes, skin and background."""
    for at, word in enumerate(words):
        noun = _NOUNS.get(word)
        if noun is not None:
            if _is_noun(words, at):
                yield from _said_of(words, at, noun)
        elif word in STREAKS:
            if at and (words[at - 1] in COLOURS or (at > 1 and words[at - 1] == "hair" and words[at - 2] in COLOURS)):
                yield _NUMBER[HAIR_COLOUR], frozenset((SEVERAL,))
        elif word in _HAIR_PEOPLE:
            yield _NUMBER[HAIR_COLOUR], _HAIR_PEOPLE[word]
        elif word in _HAIR_ADJECTIVES and _describes_person(words, at):
            yield _NUMBER[HAIR_COLOUR], COLOURS[word]


def _describes_person(words: Sequence[str], at: int) -> bool:
    if at + 1 == len(words):
        # `platinum blonde` alone is hair; `ginger` alone is a root.
        return words[at] != "ginger"
    after = words[at + 1]
    return bool(read_people((after,)).sorts) or (words[at] != "ginger" and after in _STOPS and after != "and")


def _is_noun(words: Sequence[str], at: int) -> bool:
    """Return whether the noun stands for itself: not `hair ribbon`, `eye shadow` or `chest hair`."""
    if at and words[at - 1] in _OTHER_HAIR and words[at] in ("hair", "hairs"):
        return False
    if at + 1 == len(words) or words[at].endswith("ed"):
        return True
    after = words[at + 1]
    if after in _COMPOUND:
        return False
    return after in _LINKS or after in COLOURS or word_groups(after).isdisjoint((Group.ACCESSORY, Group.CLOTHING))


def _said_of(words: Sequence[str], at: int, noun: str) -> Iterator[tuple[int, Answers]]:
    before = _before(words, at)
    found = list(_read_adjectives(before, noun))
    if not found:
        found = list(_read_adjectives(_behind(words, at), noun))
    yield from found


def _before(words: Sequence[str], at: int) -> list[str]:
    """Return the adjectives in front of a noun, in order; `and` between two of them stays."""
    first = at
    while first and at - first < 10:
        word = words[first - 1]
        if word in _BETWEEN:
            if first < 2 or first == at or not (_tells(words[first - 2]) and _tells(words[first])):
                break
        elif word in _STOPS or not (_tells(word) or _is_adjective(word)):
            break
        first -= 1
    return list(words[first:at])


def _behind(words: Sequence[str], at: int) -> list[str]:
    """Return the adjectives behind a noun: `hair: red`, `eyes blue`, `her hair is long and red`."""
    begin = at + 1
    while begin < len(words) and words[begin] in _LINKS:
        begin += 1
    end = begin
    while end < len(words) and (_tells(words[end]) or (words[end] in ("and", "&", "/") and end > begin)):
        end += 1
    # `hair blue eyes`: the colour is that of another noun.
    if end < len(words) and words[end] not in _STOPS:
        return []
    return list(words[begin:end])


def _tells(word: str) -> bool:
    """Return whether a word may be part of a colour or a length."""
    return word in COLOURS or word in LENGTHS or word in MIXED or word in SHADES or word in _TELLING


_TELLING = frozenset(first for first, _ in (*LENGTH_PAIRS, *COLOUR_PAIRS)) | frozenset(
    ("length", "half", "dark", "light", "pale", "bright", "deep", "vivid", "tone", "fair", "tan", "tanned", "olive")
)


def _is_adjective(word: str) -> bool:
    """Return whether a word may stand between a colour and its noun: it is no other noun, except a style of hair."""
    return _HEADS.isdisjoint(word_groups(word)) or _NOUNS.get(word) == "style"


def _read_adjectives(words: Sequence[str], noun: str) -> Iterator[tuple[int, Answers]]:
    question = _COLOURED[noun]
    if noun == "skin":
        skins = [SKINS[word] for word in words if word in SKINS]
        if skins:
            yield _NUMBER[SKIN], skins[-1]
        return
    colours, mixed, length, at = list[Answers](), False, None, 0
    while at < len(words):
        word = words[at]
        pair = (word, words[at + 1]) if at + 1 < len(words) else (word, "")
        if pair in LENGTH_PAIRS:
            length, at = LENGTH_PAIRS[pair], at + 2
            continue
        if pair in MIXED_PAIRS:
            mixed, at = True, at + 2
            continue
        if pair in COLOUR_PAIRS:
            colours.append(COLOUR_PAIRS[pair])
            at += 2
            continue
        if word in LENGTHS:
            length = LENGTHS[word]
        elif word in MIXED:
            mixed = True
        elif word == "half":
            mixed = len(colours) > 0 or "half" in words[at + 1 :]
        elif word in SHADES and pair[1] in COLOURS:
            pass
        elif (found := COLOURS.get(_ISH.get(word, word))) is not None:
            colours.append(found)
        elif (alone := _ALONE.get((word, noun))) is not None and COLOURS.keys().isdisjoint(words):
            colours.append(alone)
        at += 1
    joined = any(word in _BETWEEN or word == "half" for word in words)
    if colours or mixed:
        both = frozenset().union(*colours)
        several = mixed or (joined and len(colours) > 1 and not frozenset.intersection(*colours))
        yield _NUMBER[question], both | {SEVERAL} if several else both
    if length is not None and noun == "hair":
        yield _NUMBER[HAIR_LENGTH], length


# What these say of hair and eyes where no colour is named with them.
_ALONE = {
    ("dark", "hair"): frozenset(("black", "brown")), ("dark", "eyes"): frozenset(("black", "brown")),
    ("dark", "style"): frozenset(("black", "brown")), ("fair", "hair"): frozenset(("yellow",)),
}  # fmt: skip


def _absent_in(words: Sequence[str]) -> Iterator[str]:
    """Yield what `no hat`, `without a red hat or gloves`, `not wearing glasses` say is not there."""
    at = 0
    while at < len(words):
        if words[at] in _ABSENT or words[at : at + 2] == ["not", "wearing"]:
            at += 1 + (words[at] == "not")
            while at < len(words):
                while at < len(words) and words[at] in ("a", "an", "any", "the", "her", "his", "their", "wearing"):
                    at += 1
                end = at
                while end < len(words) and end - at < _MOST and words[end] not in _STOPS:
                    end += 1
                if end > at:
                    yield _thing(words[at:end])
                if end >= len(words) or words[end] not in ("or", "nor", "and", "&", "/"):
                    break
                at = end + 1
        else:
            at += 1


def _is_of_animal(words: Sequence[str]) -> bool:
    """Return whether a text begins with an animal, an article before it: `a photo of a red fox in the snow`."""
    if not _PRONOUNS.isdisjoint(words):
        return False
    begin = next((at + 1 for at, word in enumerate(words[:6]) if word == "of"), 0)
    if words[begin : begin + 1] and words[begin] not in _ARTICLES:
        return False
    for at in range(begin + 1, min(begin + 6, len(words))):
        groups = word_groups(words[at])
        if Group.CREATURE in groups:
            after = word_groups(words[at + 1]) if at + 1 < len(words) else frozenset[Group]()
            return after.isdisjoint((Group.CLOTHING, Group.ACCESSORY, Group.BODY, Group.HAIR))
        if words[at] in _STOPS or groups:
            return False
    return False


def _things_in(words: Sequence[str]) -> Iterable[str]:
    """Yield what a tag names: its last words; of a text, all nouns that a group knows."""
    words = [word for word in words if word[0].isalnum()]
    if len(words) > 5:
        return {singular(word) for word in words if word_groups(word)}
    end = next((at for at, word in enumerate(words) if at and word in PREPOSITIONS), len(words))
    return {_thing(words[begin:end]) for begin in range(max(end - _MOST, 0), end)}


def _thing(words: Sequence[str]) -> str:
    return " ".join((*words[:-1], singular(words[-1])))
