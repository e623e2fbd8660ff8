"""What a segment sees of the picture's other parts, and which tags are out of place in it.

    with a subject of its own   people, a character, a creature as the main thing: sees itself, and nothing is refused
    without one                 sees the others' tags, which count as had but not towards its length; gets no people
        surroundings            sees of them only what is surroundings, too; gets no looks, clothes or poses
        quality words           is left as it is

Where a part before ADDCOMM or ADDBASE, which holds for all regions, has the subject, regions see that part only: other
regions are other people. Where no part has a subject, all are expanded each for itself.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from kgen_ext.decoding.prose import PhraseSearch
from kgen_ext.prompt import Prompt, Segment, VisibleSubject, parse, subjects
from kgen_ext.prompt.spans import SpanKind
from kgen_ext.request import Category
from kgen_ext.rules import Rejection
from kgen_ext.service.scripts import read_given
from kgen_ext.tags.subjects import (
    find_person,
    is_detail,
    is_surroundings,
    names_creature,
    names_person,
    text_names_subject,
)
from kgen_ext.tags.tag import Tag

# Most tags shown of the other parts.
_SHOWN = 32
_NO_CONTENT = frozenset((Category.QUALITY, Category.META, Category.RATING, Category.ARTIST))
_PEOPLE = frozenset((Category.SPECIAL, Category.CHARACTERS))
_COMMON = frozenset(("ADDCOMM", "ADDBASE"))


class SegmentKind(Enum):
    """What a segment is about."""

    SUBJECT = "subject"
    DETAILS = "details"
    SURROUNDINGS = "surroundings"
    QUALITY = "quality"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the picture as the model may see it. common: it holds for all regions. veiled: more is hidden in it."""

    tags: tuple[Tag, ...]
    text: str
    common: bool = False
    veiled: bool = False

    @property
    def kind(self) -> SegmentKind:
        """What it is about."""
        content = [tag for tag in self.tags if tag.category not in _NO_CONTENT]
        if not content and not self.text:
            return SegmentKind.QUALITY if self.tags else SegmentKind.EMPTY
        named = any(tag.category in _PEOPLE or names_person(tag.name) for tag in content)
        if named or (content and names_creature(content[0].name)) or text_names_subject(self.text):
            return SegmentKind.SUBJECT
        words = (*(tag.name for tag in content), *self.text.lower().split())
        if any(map(is_surroundings, words)) and not any(is_detail(tag.name) for tag in content):
            return SegmentKind.SURROUNDINGS
        return SegmentKind.DETAILS


@dataclass(frozen=True, slots=True)
class View:
    """What a segment sees of the others: `shown` to the model, and `had`, which may not be added again.

    `refuses`: whether a tag is out of place in the segment; None where none is. `empty`: its text speaks of nobody.
    `left`: nothing is added. `own`: the segment's own tags, where marks say that they are not all.
    """

    shown: tuple[Tag, ...] = ()
    had: tuple[Tag, ...] = ()
    refuses: Callable[[Tag], bool] | None = None
    empty: bool = False
    left: bool = False
    own: tuple[Tag, ...] | None = None


def read_elsewhere(context: str, hides: Sequence[Callable[[str], bool]] = ()) -> list[Part]:
    """Return the parts of a picture that other prompts describe; hides: as for `subjects`."""
    if not context.strip():
        return []
    prompt = parse(context)
    visible = subjects(prompt, protect=hides)
    return read_parts(prompt, visible, [read_given(segment.tags, None) for segment in visible])


def read_parts(
    prompt: Prompt, visible: Sequence[VisibleSubject], given: Sequence[tuple[Tag, ...]], *, text: str = ""
) -> list[Part]:
    """Return a part for each segment of a prompt. text: a description that belongs to the first."""
    last = max(
        (token.start for token in prompt.tokens if token.kind is SpanKind.REGION and token.text in _COMMON), default=-1
    )
    return [
        Part(tags, f"{text} {seen.text}".strip() if index == 0 else seen.text, segment.end <= last,
             veiled=_shown_items(segment) > len(tags))
        for index, (segment, seen, tags) in enumerate(zip(prompt.segments, visible, given, strict=True))
    ]


def view_segments(
    parts: Sequence[Part], elsewhere: Sequence[Part] = (), *, own: Sequence[VisibleSubject | None] | None = None
) -> list[View]:
    """Return what each part sees.

    elsewhere: parts of the picture that belong to other prompts. own: what of each part is marked, where there are
    marks: the rest of a marked part is seen like another part, and a part without a mark is left.
    """
    if own is None:
        return _view_others(parts, elsewhere, leaves=True)
    views = list[View]()
    for index, (part, marked) in enumerate(zip(parts, own, strict=True)):
        if marked is None:
            views.append(View(left=True))
            continue
        others = (*parts[:index], *parts[index + 1 :], *elsewhere)
        views.append(_view_marked(part, marked, others))
    return views


def _view_marked(part: Part, marked: VisibleSubject, others: Sequence[Part]) -> View:
    """Return what the marked tags of a part see of the rest, and with it of the others."""
    left = Counter(marked.tags)
    own, rest = list[Tag](), list[Tag]()
    for tag in part.tags:
        left[tag.spelling] -= 1
        (own if left[tag.spelling] >= 0 else rest).append(tag)
    whole = marked.text == part.text and not rest
    own_part = replace(part, tags=tuple(own), text=marked.text, veiled=part.veiled and whole)
    rest_part = Part(tuple(rest), "" if marked.text else part.text, common=True)
    view = _view_others([own_part], [rest_part, *others], leaves=False)[0]
    if view.refuses is None:
        view = replace(view, shown=_people_first(rest), had=tuple(rest))
    return replace(view, own=tuple(own))


def _view_others(parts: Sequence[Part], elsewhere: Sequence[Part], *, leaves: bool) -> list[View]:
    """Return what each part sees of the others. leaves: quality words alone are left as they are."""
    every = [*parts, *elsewhere]
    kinds = [part.kind for part in every] if len(every) > 1 else []
    if SegmentKind.SUBJECT not in kinds:
        return [View()] * len(parts)
    shared = any(part.common and kind is SegmentKind.SUBJECT for part, kind in zip(every, kinds, strict=True))
    views = list[View]()
    for index, (part, kind) in enumerate(zip(parts, kinds, strict=False)):
        if kind is SegmentKind.QUALITY and leaves:
            views.append(View(left=True))
            continue
        if kind is SegmentKind.SUBJECT or (kind is SegmentKind.EMPTY and leaves) or part.veiled:
            views.append(View())
            continue
        others = [
            other
            for place, other in enumerate(every)
            if place != index and (other.common or part.common or not shared)
        ]
        own = {tag.name for tag in part.tags}
        had = tuple({tag.name: tag for other in others for tag in other.tags if tag.name not in own}.values())
        if kind is SegmentKind.SURROUNDINGS:
            views.append(View(_surroundings(had)[:_SHOWN], had, _is_of_person, empty=True))
        else:
            views.append(View(_people_first(had)[:_SHOWN], had, is_people))
    return views


def _shown_items(segment: Segment) -> int:
    """Return how many items of a segment are or hide tags: a trigger word or a wildcard may be its subject."""
    return sum(item.kind is not SpanKind.PROSE for item in segment.items)


def search_people(text: str, search: PhraseSearch | None) -> tuple[int, int, Rejection] | None:
    """Return the first phrase of a text that speaks of people, or that `search` finds before it."""
    place = find_person(text)
    person = (*place, Rejection("category", "part")) if place is not None else None
    other = search(text) if search is not None else None
    return min((hit for hit in (person, other) if hit is not None), key=lambda hit: hit[0], default=None)


def is_people(tag: Tag) -> bool:
    """Return whether a tag brings people in, or says that there are none."""
    return tag.category in _PEOPLE or names_person(tag.name)


def _is_of_person(tag: Tag) -> bool:
    return is_people(tag) or is_detail(tag.name)


def _surroundings(tags: Iterable[Tag]) -> tuple[Tag, ...]:
    return tuple(tag for tag in tags if is_surroundings(tag.name) or tag.category in _NO_CONTENT)


def _people_first(tags: Iterable[Tag]) -> tuple[Tag, ...]:
    return tuple(sorted(tags, key=lambda tag: tag.category not in _PEOPLE))
