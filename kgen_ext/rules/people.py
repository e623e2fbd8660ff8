"""People that a tag or a sentence tells of: how many, and of which sort.

    2girls   six girls   a girl   1woman   old man   three boys and a girl   trio   couple   crowd   lone girl

A person's word counts unless what follows makes it a description of something else (`witch hat`, `cowboy shot`) or it
is only shown (`statue of a man`). `the girl` and `her sister's` are nobody new; `and a woman`, `another girl` are.
"""
from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kgen_ext.tags.groups import Group, singular, word_groups
from kgen_ext.tags.subjects import is_person

MANY = 1000
Span = tuple[int, int]  # how many at least and at most

_GIRLS = frozenset(
    "girl girls woman women lady ladies gal gals female females maiden maidens lass damsel schoolgirl queen princess "
    "princesses empress duchess countess goddess goddesses priestess priestesses sorceress enchantress huntress "
    "heroine waitress actress hostess stewardess mother mothers mom mum mommy grandmother grandma granny sister "
    "sisters daughter daughters aunt wife wives bride brides nun nuns witch witches maid maids miko geisha ballerina "
    "cheerleader valkyrie amazon kunoichi mermaid succubus tomboy gyaru superheroine housewife milf brunette "
    "girlfriend niece nymph dryad".split()
)
_BOYS = frozenset(
    "boy boys man men guy guys male males gentleman gentlemen lad dude bloke king kings prince princes emperor duke "
    "father fathers dad daddy grandfather grandpa brother brothers son sons uncle husband groom monk monks wizard "
    "wizards warlock butler waiter actor nobleman shota femboy boyfriend nephew cowboy cowboys satyr".split()
)
_OTHERS = frozenset(("other", "others"))
_FEMALE = frozenset(("girl", "girls", "woman", "women"))
_MALE = frozenset(("man", "men", "boy", "boys"))
_ENDING = re.compile(r"(\w*?)((?:wo)?m[ae]n|girls?|boys?)")
# Of men and boys: `fisherman`, `catboys`.
_STEMS = frozenset(
    "air anchor ant aqua axe bat bell bad boat bow business cat cave camera chair clergy con cow crafts crew cross "
    "dog door elf fan farm fem ferry fire fisher fox frontiers gentle guards gun handy headless hench horse "
    "hunts ice iron mail marks merchant mer milk minute mountain news noble oars old police post rifles sales school "
    "sea service snake space spider spokes sports stable states super swords tin trades trench watch weather wolf wood "
    "wooden work working yachts young".split()
)
_NO_PEOPLE = frozenset("figure figures group audience crowd everyone yuri yaoi hetero couple twin twins".split())
_ALL = frozenset("people human humans person persons one characters character anyone somebody anybody".split())
_PLURALS = frozenset("people men women ladies children everyone youth".split())
_NUMBERS = {
    "a": 1, "an": 1, "one": 1, "single": 1, "lone": 1, "another": 1, "two": 2, "three": 3, "four": 4, "five": 5,
    "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "both": 2, "twin": 2, "solitary": 1,
}  # fmt: skip
_MANY = frozenset("several many multiple some various numerous few lots dozens hundreds countless".split())
_SETS = {
    "pair": (2, 2), "couple": (2, 2), "duo": (2, 2), "trio": (3, 3), "quartet": (4, 4), "group": (2, MANY),
    "crowd": (3, MANY), "bunch": (2, MANY), "team": (2, MANY), "band": (2, MANY), "army": (3, MANY),
    "squad": (2, MANY), "gang": (2, MANY), "line": (2, MANY), "lots": (2, MANY), "dozens": (2, MANY),
}  # fmt: skip
# Alone these tell of several; which sorts is open.
_COMPANY: dict[str, Span] = {
    "couple": (2, 2), "duo": (2, 2), "twins": (2, 2), "trio": (3, 3), "quartet": (4, 4), "lovers": (2, 2),
    "crowd": (2, MANY), "everyone": (2, MANY), "audience": (2, MANY), "family": (2, MANY), "friends": (2, MANY),
    "siblings": (2, MANY), "people": (2, MANY), "couples": (2, MANY), "classmates": (2, MANY), "group": (2, MANY),
    "crowds": (2, MANY),
}  # fmt: skip
_DEFINITE = frozenset("the this that these those her his their my your its our".split())
_JOINING = frozenset(("and", "&", "with", "plus", "+"))
_NEGATIONS = frozenset(("no", "without", "zero"))
_SHOWN = frozenset("statue statues sculpture figurine figure bust doll mannequin scarecrow painting poster silhouette "
                   "shape ghost spirit head hand".split())  # fmt: skip
# What a person's word describes when it stands before one of these: `maid dress`, `cowboy shot`.
_DESCRIBES = frozenset((Group.CLOTHING, Group.ACCESSORY, Group.CREATURE))
_DESCRIBES_ROLE = frozenset((Group.BACKGROUND, Group.BODY))
_DESCRIBED = frozenset(
    "shot carry costume cosplay sandwich doll statue figurine sized size made band club brand style themed mask "
    "focus figure toy plush group uniform school bed chess house castle room building magic art card years symbol "
    "flag rays slayer lights lamp moon ship hut rifle tale story game rings cottage pose".split()
)
_ENDS_PHRASE = frozenset(
    "in on at with of from by near behind under who that which is are was were and or but to for over beside into "
    "wearing holding & / . , ; : ! ? ( )".split()
)


@dataclass(frozen=True, slots=True)
class People:
    """Whom a tag or text tells of: `sorts`: each of girl, boy, other, and how many; `persons`: of no sort.

    `total`: of how many in all, where that is said. `open`: others may be there besides. `exact`: numbers were given
    as such (`2girls`), not by a noun alone (`girl`). `nobody`: said so.
    """

    sorts: tuple[tuple[str, Span], ...] = ()
    persons: Span | None = None
    total: Span | None = None
    open: bool = False
    exact: bool = False
    nobody: bool = False

    def __bool__(self) -> bool:
        return bool(self.sorts or self.persons or self.total or self.nobody)

    @property
    def least(self) -> int:
        """How many there are at least."""
        return max(sum(span[0] for _, span in self.sorts), self.persons[0] if self.persons else 0,
                   self.total[0] if self.total else 0)  # fmt: skip


NO_ONE = People()
NOBODY = People(nobody=True)
# Tags that tell of people without naming them.
_TAGS = {
    "solo": People(total=(1, 1)), "alone": People(total=(1, 1)), "no humans": NOBODY, "nobody": NOBODY,
    "no people": NOBODY, "solo focus": People(total=(2, MANY), open=True),
    "yuri": People(sorts=(("girl", (2, MANY)),), open=True), "yaoi": People(sorts=(("boy", (2, MANY)),), open=True),
    "hetero": People(sorts=(("boy", (1, MANY)), ("girl", (1, MANY))), open=True),
    "male focus": People(sorts=(("boy", (1, MANY)),), open=True),
    "female focus": People(sorts=(("girl", (1, MANY)),), open=True),
    "multiple persons": People(total=(2, MANY), open=True),
}  # fmt: skip


@dataclass(slots=True)
class _Mention:
    sort: str | None
    span: Span
    exact: bool
    added: bool  # joined to what comes before
    definite: bool


def read_people(words: Sequence[str]) -> People:
    """Return whom the words of a tag or a text tell of; signs are words of their own (`claims.read_claims`)."""
    if (known := _TAGS.get(" ".join(words))) is not None:
        return known
    mentions, total, open_, nobody = list[_Mention](), None, False, False
    at = 0
    while at < len(words):
        end = at + 1
        word = words[at]
        if word in ("solo", "alone") and words[at + 1 : at + 2] != ["focus"]:
            total = total or (1, 1)
        elif word in _COMPANY and word != "people" and _is_company(words, at):
            total, open_ = _COMPANY[word], True
        elif (read := _mention(words, at)) is not None:
            mention, end = read
            if isinstance(mention, _Mention):
                mentions.append(mention)
            else:
                nobody |= mention
        at = end
    if mentions or total or nobody:
        return _gather(mentions, total, open_=open_, nobody=nobody and not mentions)
    return NO_ONE



def _gather(mentions: list[_Mention], total: Span | None, *, open_: bool, nobody: bool) -> People:
    sorts, persons, joined = dict[str, Span](), None, False
    for mention in mentions:
        if mention.sort is None:
            if mention.span[1] == MANY:
                total, open_ = total or mention.span, True
            elif mention.added and mentions[0] is not mention:
                joined = True
                persons = mention.span if persons is None else _plus(persons, mention.span)
            else:
                persons = persons or mention.span
            continue
        known = sorts.get(mention.sort)
        if known is None:
            sorts[mention.sort] = mention.span
        elif mention.added and not mention.definite:
            sorts[mention.sort] = _plus(known, mention.span)
        else:
            sorts[mention.sort] = (max(known[0], mention.span[0]), max(known[1], mention.span[1]))
    if persons and (joined or (sorts and mentions[0].sort is None and any(mention.added for mention in mentions[1:]))):
        # `a knight and a princess`: two, one of them of a sort that is open.
        together = persons
        for span in sorts.values():
            together = _plus(together, span)
        total, open_ = total or together, open_ or bool(sorts)
        persons = None if sorts else together
    exact = any(mention.exact for mention in mentions if mention.sort is not None)
    return People(tuple(sorted(sorts.items())), persons, total, open_, exact, nobody)


def _plus(one: Span, other: Span) -> Span:
    return one[0] + other[0], min(one[1] + other[1], MANY)


def _is_company(words: Sequence[str], at: int) -> bool:
    """Return whether a word such as `couple` or `group` is one by itself: not `couple of apples`, not `group hug`."""
    after = words[at + 1] if at + 1 < len(words) else ""
    if words[at] == "group":
        return len(words) == 1 or after in ("photo", "portrait", "shot", "picture")
    before = words[at - 1] if at else ""
    return after != "of" and before not in _NEGATIONS and not (after and _describes(after))


def _mention(words: Sequence[str], at: int) -> tuple[_Mention | bool, int] | None:
    """Return the person that begins at a word and where the next word is; True where nobody is there."""
    number = ""
    word = words[at]
    if word[:1].isdigit():
        number = word.rstrip("abcdefghijklmnopqrstuvwxyz")
        word = word[len(number) :]
        if not word or not number.rstrip("+").isdigit():
            return None
    if not _is_person(word):
        return None
    end, sort, plural = at + 1, _sort(word), _is_plural(word)
    owns = word.endswith("'s")
    while end < len(words) and not owns and _is_person(words[end]):
        sort, plural, owns = sort or _sort(words[end]), _is_plural(words[end]), words[end].endswith("'s")
        end += 1
    if not owns and end < len(words) and _describes(words[end], role=sort is None):
        return False, end
    start, exact, span, definite = _determine(words, at)
    if span is not None and span[0] > 1 and not plural and start < at - 1:
        span, exact = None, False  # `world war 2 pilot girl`; but people write `2 girl`
    if number:
        exact, span = True, _counted(number)
    if sort == "other" and not exact:
        return False, end  # `each other`
    if start and words[start - 1] in _NEGATIONS:
        return (sort is None and words[end - 1] in _ALL), end
    if start > 1 and words[start - 1] == "of" and words[start - 2] in _SHOWN:
        return False, end
    if words[at] == "female" and end == at + 1 and end < len(words) and words[end] not in _ENDS_PHRASE:
        return False, end  # `female hands`
    if span is None:
        span = (2, MANY) if plural else (1, 1)
    elif plural and span == (1, 1) and not exact:
        span = (2, MANY)
    added = (start > 0 and words[start - 1] in _JOINING) or words[start] == "another"
    return _Mention(sort, span, exact, added, definite), end


def _determine(words: Sequence[str], at: int) -> tuple[int, bool, Span | None, bool]:
    """Look back from a person's word to its number: return where that is, whether it is exact, and the number."""
    for back in range(at - 1, max(at - 6, -1), -1):
        word = words[back]
        if word in _DEFINITE:
            return back, False, None, True
        if word in _MANY:
            return back, True, (2, MANY), False
        if word in _NUMBERS:
            if back and words[back - 1] in _DEFINITE:
                return back - 1, True, (_NUMBERS[word],) * 2, True
            return back, word not in ("a", "an"), (_NUMBERS[word], _NUMBERS[word]), False
        if words[back + 1] in ("year", "years", "yo", "yr", "yrs", "y"):
            continue  # an age
        if word.rstrip("+").isdigit():
            return back, True, _counted(word), False
        if word == "of" and back and words[back - 1] in _SETS:
            start = back - 1
            if start and words[start - 1] in _NUMBERS:
                start -= 1
            return start, True, _SETS[words[back - 1]], False
        if word in _ENDS_PHRASE or word in _NEGATIONS or _is_person(word) or word[:1].isdigit():
            return back + 1, False, None, False
    return max(at - 6, -1) + 1, False, None, False


def _counted(number: str) -> Span:
    count = min(int(number.rstrip("+")[:3]), MANY)
    return (count, MANY) if number.endswith("+") else (count, count)


def _is_person(word: str) -> bool:
    word = word.removesuffix("'s")
    if word in _GIRLS or word in _BOYS or word in _OTHERS:
        return True
    stem, ending = _ending(word)
    if ending in _MALE:
        return stem in _STEMS  # `norman`, `ramen` and `gameboy` are none
    return ending in _FEMALE or (word not in _NO_PEOPLE and is_person(word))


def _sort(word: str) -> str | None:
    word = word.removesuffix("'s")
    stem, ending = _ending(word)
    if word in _GIRLS or ending in _FEMALE:
        return "girl"
    if word in _BOYS or (ending in _MALE and stem in _STEMS):
        return "boy"
    return "other" if word in _OTHERS else None


def _ending(word: str) -> tuple[str, str]:
    """Return a word such as `fishermen` in two parts; the second is empty for most words."""
    found = _ENDING.fullmatch(word)
    return (found[1], found[2]) if found else (word, "")


def _is_plural(word: str) -> bool:
    if word in _PLURALS or word.endswith(("women", "men")):
        return True
    return word.endswith("s") and not word.endswith(("'s", "ss")) and singular(word) != word


def _describes(after: str, *, role: bool = False) -> bool:
    """Return whether a person's word is said of the noun behind it; roles also of others: `fairy house`, `elf ears`."""
    groups = word_groups(after)
    return after in _DESCRIBED or not _DESCRIBES.isdisjoint(groups) or (role and not _DESCRIBES_ROLE.isdisjoint(groups))
