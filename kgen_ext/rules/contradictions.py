"""Contradictions: tags that cannot both be true of one picture.

A group is a question that a picture answers once (`hair colour`). Each of its tags lists the answers it allows; two
tags contradict each other when they allow none in common, so `long hair` agrees with `very long hair`. A group about a
person does not apply while the scene has several people, and each group names the tags that lift it. What is merely
unusual together is no contradiction, and a tag in no group never contradicts.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kgen_ext.once import once
from kgen_ext.tags.categories import is_people_count
from kgen_ext.tags.tag import Tag, read_tag


@dataclass(frozen=True, slots=True)
class Group:
    """One question: `answers` maps each answer to its tags; with a tag of `lifted_by` several may be true."""

    name: str
    answers: dict[str, str]
    lifted_by: str = ""
    per_person: bool = False


_COLOURS = ("black", "blue", "brown", "green", "orange", "pink", "purple", "red")
_POSES = "multiple views, variations, sequential, comic, 4koma, before and after, character sheet, reference sheet"

GROUPS = (
    Group(
        "hair colour",
        {colour: f"{colour} hair, light {colour} hair, dark {colour} hair" for colour in _COLOURS}
        | {
            "brown": "brown hair, light brown hair, dark brown hair, auburn hair",
            "red": "red hair, light red hair, dark red hair, auburn hair, ginger hair",
            "orange": "orange hair, ginger hair, strawberry blonde hair",
            "pink": "pink hair, light pink hair, dark pink hair, strawberry blonde hair",
            "purple": "purple hair, light purple hair, dark purple hair, violet hair, lavender hair",
            "aqua": "aqua hair, light blue hair, teal hair, turquoise hair",
            "blonde": "blonde hair, yellow hair, golden hair, platinum blonde hair, strawberry blonde hair",
            "grey": "grey hair, gray hair, light grey hair, dark grey hair, silver hair",
            "white": "white hair, silver hair, platinum blonde hair",
            "none": "bald",
        },
        "multicolored hair, two-tone hair, gradient hair, streaked hair, split-color hair, colored inner hair, "
        "colored tips, rainbow hair, ombre hair, roots (hair), highlights, half and half hair, multiple hair colors",
        per_person=True,
    ),
    Group(
        "hair length",
        {
            "none": "bald",
            "very short": "very short hair, short hair, buzz cut",
            "short": "short hair",
            "medium": "medium hair",
            "long": "long hair",
            "very long": "long hair, very long hair",
            "absurdly long": "long hair, very long hair, absurdly long hair",
        },
        "short hair with long locks, asymmetrical hair, uneven hair, variations, before and after",
        per_person=True,
    ),
    Group(
        "eye colour",
        {colour: f"{colour} eyes, light {colour} eyes, dark {colour} eyes" for colour in _COLOURS}
        | {
            "brown": "brown eyes, light brown eyes, dark brown eyes, hazel eyes",
            "green": "green eyes, light green eyes, dark green eyes, hazel eyes",
            "orange": "orange eyes, amber eyes",
            "purple": "purple eyes, light purple eyes, dark purple eyes, violet eyes",
            "yellow": "yellow eyes, gold eyes, golden eyes, amber eyes",
            "aqua": "aqua eyes, light blue eyes, teal eyes, turquoise eyes",
            "grey": "grey eyes, gray eyes, silver eyes",
            "white": "white eyes",
        },
        "heterochromia, multicolored eyes, two-tone eyes, gradient eyes, rainbow eyes, mismatched eyes",
        per_person=True,
    ),
    Group("skin", {"pale": "pale skin", "dark": "dark skin, very dark skin"}, "multicolored skin", per_person=True),
    Group(
        "bust",
        {
            "flat": "flat chest",
            "small": "small breasts",
            "medium": "medium breasts",
            "large": "large breasts",
            "huge": "huge breasts, gigantic breasts",
        },
        "breast expansion, variations, before and after",
        per_person=True,
    ),
    Group(
        "mouth",
        {"open": "open mouth, wide open mouth, parted lips", "closed": "closed mouth, sealed lips"},
        _POSES,
        per_person=True,
    ),
    Group(
        "posture",
        {
            "standing": "standing, standing on one leg, tiptoes",
            "sitting": "sitting, wariza, seiza, indian style, reclining",
            "lying": "lying, on back, on stomach, on side, reclining",
        },
        _POSES,
        per_person=True,
    ),
    Group("lying on", {"back": "on back", "stomach": "on stomach"}, _POSES, per_person=True),
    Group(
        "framing",
        {
            "portrait": "portrait, feet out of frame",
            "upper": "upper body, feet out of frame",
            "cowboy": "cowboy shot, feet out of frame",
            "lower": "lower body",
            "full": "full body",
        },
        f"{_POSES}, inset, projected inset, zoom layer",
        per_person=True,
    ),
    Group("camera height", {"above": "from above", "below": "from below"}, _POSES),
    Group(
        "time of day",
        {
            "dawn": "dawn, sunrise, twilight",
            "day": "day, daytime, noon, midday",
            "dusk": "dusk, sunset, evening, twilight",
            "night": "night, nighttime, midnight, evening, night sky",
        },
        f"{_POSES}, split screen, day and night, time lapse",
    ),
    Group("place", {"indoors": "indoors", "outdoors": "outdoors"}, f"{_POSES}, split screen"),
    Group(
        "season",
        {
            "spring": "spring, spring (season)",
            "summer": "summer",
            "autumn": "autumn, fall (season)",
            "winter": "winter",
        },
        f"{_POSES}, split screen, four seasons",
    ),
    Group(
        "background colour",
        {
            colour: f"{colour} background"
            for colour in (*_COLOURS, "aqua", "beige", "grey", "white", "yellow", "transparent")
        },
        f"{_POSES}, two-tone background, gradient background, multicolored background, rainbow background, "
        "split screen, split theme, checkered background, striped background",
    ),
    # Counts of one kind; Scene handles `solo` and `no humans`, which concern all kinds together.
    *(
        Group(
            f"number of {kind}s",
            {"1": f"1{kind}"}
            | {str(n): f"{n}{kind}s, multiple {kind}s" for n in range(2, 6)}
            | {"6+": f"6+{kind}s, multiple {kind}s"},
        )
        for kind in ("girl", "boy", "other")
    ),
)

_SEVERAL = frozenset({
    "couple", "group", "everyone", "crowd", "twins", "siblings", "sisters", "brothers", "solo focus", "yuri", "yaoi",
    "hetero", "multiple persons", "people",
})  # fmt: skip
_ALONE = "solo"
_NOBODY = "no humans"


def _split(text: str) -> frozenset[str]:
    return frozenset(tag.strip() for tag in text.split(",") if tag.strip())


@once
def _index() -> dict[str, tuple[tuple[int, frozenset[str]], ...]]:
    """Return tag -> (group, answers it allows), ..."""
    index: dict[str, dict[int, set[str]]] = {}
    for number, group in enumerate(GROUPS):
        for answer, tags in group.answers.items():
            for tag in _split(tags):
                index.setdefault(tag, {}).setdefault(number, set()).add(answer)
    return {tag: tuple((n, frozenset(found)) for n, found in groups.items()) for tag, groups in index.items()}


@once
def _lifted_by() -> dict[str, frozenset[int]]:
    """Return tag -> the groups it lifts."""
    lifters: dict[str, set[int]] = {}
    for number, group in enumerate(GROUPS):
        for tag in _split(group.lifted_by):
            lifters.setdefault(tag, set()).add(number)
    return {tag: frozenset(numbers) for tag, numbers in lifters.items()}


class Scene:
    """The tags of one picture so far, and what a further tag would contradict.

    user: the user's tags, whose people count is taken as complete: `1girl` means that nobody else is there.
    """

    __slots__ = ("_counts", "_grouped", "_lifted", "_several", "_tags", "_user_counts")

    def __init__(self, tags: Iterable[str | Tag] = (), *, user: Iterable[str | Tag] = ()) -> None:
        self._tags = set[str]()
        self._counts: list[str] = []
        self._grouped: dict[int, list[str]] = {}
        self._lifted: set[int] = set()
        self._several = ""
        for tag in user:
            self.add(tag)
        self._user_counts = tuple(self._counts)
        for tag in tags:
            self.add(tag)

    def add(self, tag: str | Tag) -> None:
        """Add a tag, whether or not it contradicts another."""
        name = read_tag(tag).name
        if name in self._tags:
            return
        self._tags.add(name)
        if is_people_count(name) and name != _NOBODY:
            if _is_plural(name) or any(_kind(name) != _kind(other) for other in self._counts):
                self._several = self._several or name
            self._counts.append(name)
        elif name in _SEVERAL:
            self._several = self._several or name
        for number, _ in _index().get(name, ()):
            self._grouped.setdefault(number, []).append(name)
        self._lifted.update(_lifted_by().get(name, ()))

    def copy(self) -> Scene:
        """Return a scene that grows independently."""
        twin = Scene()
        twin._tags, twin._counts = self._tags.copy(), self._counts.copy()
        twin._grouped = {number: tags.copy() for number, tags in self._grouped.items()}
        twin._lifted, twin._several, twin._user_counts = self._lifted.copy(), self._several, self._user_counts
        return twin

    def conflict(self, tag: str | Tag) -> str | None:
        """Return the name of the tag in the scene that this one contradicts, or None."""
        name = read_tag(tag).name
        if name in self._tags:
            return None
        if (other := self._people_conflict(name)) is not None:
            return other
        for number, answers in _index().get(name, ()):
            if number in self._lifted or (GROUPS[number].per_person and self._several):
                continue
            for other in self._grouped.get(number, ()):
                if answers.isdisjoint(next(found for n, found in _index()[other] if n == number)):
                    return other
        return None

    def _people_conflict(self, name: str) -> str | None:
        if name == _ALONE:
            return self._several or None
        if name == _NOBODY:
            return next(iter(self._counts), None) or self._several or None
        if name in _SEVERAL:
            return next((other for other in (_ALONE, _NOBODY) if other in self._tags), None)
        if not is_people_count(name):
            return None
        if _NOBODY in self._tags:
            return _NOBODY
        others = [other for other in self._counts if _kind(other) != _kind(name)]
        if _ALONE in self._tags and (_is_plural(name) or others):
            return _ALONE
        if self._user_counts and all(_kind(other) != _kind(name) for other in self._user_counts):
            return self._user_counts[0]
        return None


def _kind(count: str) -> str:
    return next(kind for kind in ("girl", "boy", "other") if kind in count)


def _is_plural(count: str) -> bool:
    return count.startswith("multiple") or not count.startswith("1") or count[1:2].isdigit() or "+" in count
