"""Contradictions: tags that cannot both be true of one picture.

A question is what a picture answers once (`hair colour`). A tag claims the answers it allows (`claims`); two tags
contradict each other when they allow none in common, so `long hair` agrees with `very long hair`. What is merely
unusual together is no contradiction, and a tag that answers no question never contradicts.

What the user says goes before what the model writes. A tag that makes room for several answers (`multicolored hair`,
`multiple views`) does so only if the user wrote it; once a colour is said, the model may not write one. A user's people
are complete: `1girl` or `portrait of an old fisherman` means that nobody else is there, unless others are left open
(`crowd`, `couple`); and a sentence that begins with an animal (`a red fox in the snow`) is about no person. While the
user speaks of several people, questions about a person do not apply; while only the model does, they apply where the
user has answered them. What the user says is not there (`no hat`) may not be written.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from kgen_ext.rules.claims import Answers, Claims, read_claims
from kgen_ext.rules.people import MANY, People, Span
from kgen_ext.rules.questions import QUESTIONS, SEVERAL
from kgen_ext.tags.groups import Group, groups_of
from kgen_ext.tags.tag import Tag, read_tag

_SEVERAL = frozenset((SEVERAL,))
_OF_PERSONS = frozenset((Group.HAIR, Group.CLOTHING))
_TEXT = 60  # letters of a text that name it


@dataclass(slots=True)
class _Answer:
    """What is said of one question so far. `claims`: by whom; `split`: the user said two things; `room`: several."""

    allowed: Answers = frozenset()
    claims: list[tuple[Answers, str]] = field(default_factory=list)
    by_user: bool = False
    split: bool = False
    room: bool = False

    def add(self, found: Answers, name: str, *, by_user: bool) -> None:
        self.claims.append((found, name))
        self.by_user |= by_user
        if SEVERAL in found:
            found -= _SEVERAL
            self.room |= by_user
            self.split |= by_user and len(found) > 1  # `black and white hair`
        if not found:
            return
        narrower = self.allowed & found
        if self.allowed and not narrower:
            self.split |= by_user
        self.allowed = narrower or self.allowed | found

    def conflict(self, found: Answers) -> str | None:
        """Return the name of a claim that another one contradicts, or None."""
        if SEVERAL in found:
            if self.room or self.split:
                return None
            return self.claims[0][1]
        if self.room and not self.split:
            return None
        if not found.isdisjoint(self.allowed):
            return None
        return next((name for claimed, name in self.claims if found.isdisjoint(claimed)), self.claims[0][1])

    def copy(self) -> _Answer:
        return _Answer(self.allowed, self.claims.copy(), self.by_user, self.split, self.room)


class Scene:
    """The tags of one picture so far, and what a further tag would contradict.

    user: the user's tags, whose people are taken as complete. text: the user's sentences, which say the same as tags.
    """

    __slots__ = (
        "_absent", "_animal", "_answers", "_lifted", "_names", "_people", "_several", "_things", "_user_people",
    )  # fmt: skip

    def __init__(self, tags: Iterable[str | Tag] = (), *, user: Iterable[str | Tag] = (), text: str = "") -> None:
        self._names = set[str]()
        self._answers = dict[int, _Answer]()
        self._lifted = frozenset[int]()
        self._people = list[tuple[People, str]]()
        self._things = dict[str, str]()
        self._absent = dict[str, str]()
        self._several = False  # the model's tags say that there are several people
        self._user_people = _UserPeople()
        for tag in user:
            name = read_tag(tag).name
            self._add(read_claims(name), name, by_user=True)
        if text.strip():
            self._add(read_claims(text.lower()), text.strip()[:_TEXT], by_user=True)
        self._animal = "" if self._people else self._find_animal([*self._names], text)
        for tag in tags:
            self.add(tag)

    def _find_animal(self, names: Iterable[str], text: str) -> str:
        """Return what of the user's is about an animal where nothing is about a person, else nothing."""
        if any(not groups_of(name).isdisjoint(_OF_PERSONS) for name in names):
            return ""
        own = [name for name in names if read_claims(name).of_animal]
        return text.strip()[:_TEXT] if read_claims(text.lower()).of_animal else "".join(own[:1])

    def add(self, tag: str | Tag) -> None:
        """Add a tag of the model's, whether or not it contradicts another."""
        name = read_tag(tag).name
        self._add(read_claims(name), name, by_user=False)

    def _add(self, claims: Claims, name: str, *, by_user: bool) -> None:
        if name in self._names:
            return
        self._names.add(name)
        for number, found in claims.answers:
            self._answers.setdefault(number, _Answer()).add(found, name, by_user=by_user)
        if claims.people:
            self._people.append((claims.people, name))
            if by_user:
                self._user_people.add(claims.people, name)
            elif claims.people.least > 1 or sum(span[0] for span in self._sorts().values()) > 1:
                self._several = True
        if by_user:
            self._lifted |= claims.lifts
            self._absent |= dict.fromkeys(claims.absent, name)
            self._things |= dict.fromkeys(claims.things, name)

    def copy(self) -> Scene:
        """Return a scene that grows independently."""
        twin = Scene()
        twin._names, twin._lifted, twin._people = self._names.copy(), self._lifted, self._people.copy()
        twin._answers = {number: answer.copy() for number, answer in self._answers.items()}
        twin._things, twin._absent, twin._several = self._things, self._absent, self._several
        twin._user_people, twin._animal = self._user_people, self._animal
        return twin

    def conflict(self, tag: str | Tag) -> str | None:
        """Return the name of the tag in the scene that this one contradicts, or None."""
        name = read_tag(tag).name
        if name in self._names:
            return None
        claims = read_claims(name)
        if claims.people and (other := self._people_conflict(claims.people)) is not None:
            return other
        for number, found in claims.answers:
            answer = self._answers.get(number)
            if answer is None or number in self._lifted or self._is_open(number, answer):
                continue
            if (other := answer.conflict(found)) is not None:
                return other
        if self._absent or claims.absent:
            return next((self._absent[thing] for thing in claims.things if thing in self._absent), None) or next(
                (self._things[thing] for thing in claims.absent if thing in self._things), None
            )
        return None

    def _is_open(self, number: int, answer: _Answer) -> bool:
        """Return whether the answers may be those of different people."""
        if not QUESTIONS[number].per_person:
            return False
        return self._user_people.several or (self._several and not answer.by_user)

    def _people_conflict(self, people: People) -> str | None:
        """Return who contradicts a tag of the model's that tells of people."""
        if self._animal and any(sort != "other" for sort, _ in people.sorts):
            return self._animal
        if people.nobody:
            return next((name for other, name in self._people if other.least and other != _ALONE), None)
        for other, name in self._people:
            if other.nobody and people != _ALONE:
                return name
        if (other_name := self._user_people.conflict(people)) is not None:
            return other_name
        known = self._sorts()
        for sort, span in people.sorts:
            if people.exact and sort in known and _is_apart(span, known[sort]):
                return self._who(sort)
        # All together: not more than a tag such as `solo` or `trio` says.
        least = {sort: span[0] for sort, span in known.items()}
        for sort, span in people.sorts:
            least[sort] = max(least.get(sort, 0), span[0])
        together = max(sum(least.values()), people.least)
        for other, name in self._people:
            if other.total is not None and together > other.total[1]:
                return name
        if people.total is not None and (most := people.total[1]) < MANY:
            if sum(span[0] for span in known.values()) > most:
                return self._who(next(iter(known)))
            return next((name for other, name in self._people if other.least > most), None)
        return None

    def _sorts(self) -> dict[str, Span]:
        """Return of each sort how many there are at least and at most, as far as numbers tell."""
        sorts = dict[str, Span]()
        for people, _ in self._people:
            for sort, span in people.sorts:
                span = span if people.exact else (span[0], MANY)
                known = sorts.get(sort, (0, MANY))
                sorts[sort] = (max(known[0], span[0]), min(known[1], span[1]))
        return sorts

    def _who(self, sort: str) -> str:
        return next(name for people, name in self._people if any(sort == other for other, _ in people.sorts))


_ALONE = People(total=(1, 1))


def _is_apart(one: Span, other: Span) -> bool:
    return one[1] < other[0] or other[1] < one[0]


class _UserPeople:
    """The people of the user's tags and text together."""

    __slots__ = ("_exact", "_names", "_open", "_persons", "_sorts", "_total")

    def __init__(self) -> None:
        self._sorts = dict[str, Span]()
        self._exact = set[str]()
        self._persons: Span | None = None
        self._total: Span | None = None
        self._open = False
        self._names = list[str]()

    @property
    def several(self) -> bool:
        """Whether there are several people, or may be."""
        least = sum(span[0] for span in self._sorts.values())
        total, persons = self._total or (0, MANY), self._persons or (0, MANY)
        return least > 1 or total[0] > 1 or persons[0] > 1 or (self._open and total[1] > 1)

    def add(self, people: People, name: str) -> None:
        """Take in what a tag or the text tells; numbers go before nouns alone."""
        self._names.append(name)
        self._open |= people.open
        for sort, span in people.sorts:
            known = self._sorts.get(sort)
            if known is None or (people.exact and sort not in self._exact):
                self._sorts[sort] = span
            elif people.exact or sort not in self._exact:
                self._sorts[sort] = _narrowed(known, span)
            if people.exact:
                self._exact.add(sort)
        if people.persons is not None:
            self._persons = people.persons if self._persons is None else _narrowed(self._persons, people.persons)
        if people.total is not None:
            self._total = people.total if self._total is None else _narrowed(self._total, people.total)

    def conflict(self, people: People) -> str | None:
        """Return the name of a tag that leaves no room for these people, or None."""
        if not self._names:
            return None
        for sort, span in people.sorts:
            known = self._sorts.get(sort)
            span = span if people.exact else (span[0], MANY)
            if (known is not None and _is_apart(known, span)) or (known is None and self._sorts and not self._open):
                return self._names[0]
        if people.least > self._most:
            return self._names[0]
        return None

    @property
    def _most(self) -> int:
        """How many people there are at most."""
        if self._total is not None:
            return self._total[1]
        if self._open:
            return MANY
        if self._sorts:
            return sum(span[1] for span in self._sorts.values())
        return self._persons[1] if self._persons is not None else MANY


def _narrowed(one: Span, other: Span) -> Span:
    """Return what two spans have in common; both where that is nothing."""
    least, most = max(one[0], other[0]), min(one[1], other[1])
    return (least, most) if least <= most else (min(one[0], other[0]), max(one[1], other[1]))
