"""The teacher: for each position of a `tag:` line the probabilities of tokens, instead of the one tag that was drawn.

A composed list is drawn from a distribution that is known at each step. Learning from one draw per step would waste
that: the order of tags means nothing, so most of the loss would be noise. At the first token of a tag the target is the
pair model's probability of each tag, summed over tags that begin with the same token; at its later tokens the same
among the tags that begin as this one does. Only the largest are kept; the rest goes to the token that was drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tools.training.compose import Composer
from tools.training.pairs import Growth
from tools.training.people import company_of
from tools.training.render import BOILERPLATE, LENGTHS, TASKS, Plan, told_before
from tools.training.scene import Scene
from tools.training.tagforms import is_people_tag

if TYPE_CHECKING:
    from tokenizers import Tokenizer

KEPT = 96  # chances stored for a place
_TEMPERATURE = 0.5  # sharper than what lists are drawn from: rare tags are noise to a small model
_OWED = 0.8  # chance of a people tag where the line has begun without
_REAL = 0.35  # of the chance belongs to the tags of a real post that its list has not said yet
_SOFT = 0.9  # the rest belongs to the tag that was drawn


@dataclass(frozen=True, slots=True)
class Lesson:
    """Soft targets of one text: for each of `places` (indices of target tokens) `tokens` and `chances` [n, KEPT]."""

    places: NDArray[np.int64]
    tokens: NDArray[np.uint16]
    chances: NDArray[np.float16]


NOTHING = Lesson(np.zeros(0, np.int64), np.zeros((0, KEPT), np.uint16), np.zeros((0, KEPT), np.float16))


class Teacher:
    """Writes lessons for rendered scenes of one composer in one vocabulary."""

    def __init__(self, composer: Composer, engine: Tokenizer) -> None:
        self.composer, self.engine = composer, engine
        vocabulary = engine.get_vocab()
        self.size = len(vocabulary)
        self.comma, self.line = vocabulary[","], vocabulary["<0x0A>"]
        self.opening = [vocabulary["tag"], vocabulary[":"]]
        tags = composer.model.tags
        spelt = engine.encode_batch([f", {tag}" for tag in tags], add_special_tokens=False)
        self.spelling = [tuple(one.ids[1:]) for one in spelt]
        self.first = np.array([ids[0] for ids in self.spelling])
        # Every unfinished beginning of two and more tokens' tags, with the tags that share it.
        self.beginnings: dict[tuple[int, ...], list[int]] = {}
        for row, ids in enumerate(self.spelling):
            for end in range(1, len(ids) + 1):
                self.beginnings.setdefault(ids[:end], []).append(row)
        self.others: dict[str, tuple[int, ...]] = {}

    def spell(self, tag: str) -> tuple[int, ...]:
        """Return the tokens of a tag behind a comma."""
        row = self.composer.model.index.get(tag)
        if row is not None:
            return self.spelling[row]
        if tag not in self.others:
            self.others[tag] = tuple(self.engine.encode(f", {tag}", add_special_tokens=False).ids[1:])
        return self.others[tag]

    def teach(self, scene: Scene, text: str, ids: Sequence[int]) -> Lesson:
        """Write the lesson of a rendered scene; `ids` begin with the token of the text's beginning."""
        lines = text.split("\n")
        at = next((place for place, line in enumerate(lines) if line.startswith("tag: ")), None)
        if at is None:
            return NOTHING
        tags = lines[at][5:].split(", ")
        start = self._start(ids)
        ends = [place for place in range(start, len(ids)) if ids[place] in (self.comma, self.line, 2)][: len(tags)]
        spans = list(zip([start, *(end + 1 for end in ends[:-1])], ends, strict=True))
        if len(spans) != len(tags) or any(
            tuple(ids[low:high]) != self.spell(tag) for (low, high), tag in zip(spans, tags, strict=True)
        ):
            return NOTHING
        growth = self._growth(scene, lines[:at])
        left = list(tags) if scene.real else []
        given = set(scene.tags[: scene.given])
        places: list[int] = []
        found: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
        # A line that does not open with its people tags owes them from its first tag on.
        owed = [tag for number, tag in enumerate(tags) if is_people_tag(tag) and not _leads(tags[:number])]
        for (low, high), written in zip(spans, tags, strict=True):
            tag = written if written in self.composer.model.index else written.lower()
            left = [other for other in left if other != written]
            due = owed if low > start else []
            if due or not is_people_tag(tag):
                chances, extra = growth.chances(_TEMPERATURE)
                if scene.real and not growth.told:
                    others = [tag, *left]
                    chances, extra = chances * np.float32(1 - _REAL), dict.fromkeys(others, _REAL / len(others))
                if due:
                    chances, extra = chances * np.float32(1 - _OWED), {one: (1 - _OWED) * p for one, p in extra.items()}
                    extra[due[0]] = _OWED
                # What people type about quality is read, not learnt.
                soft = 1.0 if tag in BOILERPLATE else _SOFT
                for place, (tokens, values) in self._places(chances, extra, ids, low, high):
                    places.append(place)
                    found.append((tokens, values * np.float32(soft)))
            growth.add(tag, own=tag not in given and not is_people_tag(tag))
            owed = [one for one in owed if one != tag]
        return _pack(places, found)

    def _start(self, ids: Sequence[int]) -> int:
        listed = list(ids)
        for place in range(len(listed) - 2):
            if listed[place + 1 : place + 3] == self.opening and (place == 0 or listed[place] == self.line):
                return place + 3
        return len(listed)

    def _growth(self, scene: Scene, before: Sequence[str]) -> Growth:
        composer = self.composer
        known = any(line.startswith("characters: ") for line in before)
        single = company_of(scene.people) == "nobody" or "solo" in scene.people or len(scene.people) == 1
        return composer.model.start(
            (), rivals=composer.rivals if single else {}, allowed=composer.allowed[company_of(scene.people)],
            anchors=scene.anchors if known else (), told=told_before(scene, _plan(before)),
            neighbours=composer.neighbours if scene.quiet else None,
        )  # fmt: skip

    def _places(
        self, chances: NDArray[np.float32], extra: Mapping[str, float], ids: Sequence[int], low: int, high: int
    ) -> list[tuple[int, tuple[NDArray[np.int64], NDArray[np.float32]]]]:
        dense = np.bincount(self.first, weights=chances, minlength=self.size)
        spelt = {self.spell(tag): chance for tag, chance in extra.items()}
        for spelling, chance in spelt.items():
            dense[spelling[0]] += chance
        kept = np.argpartition(-dense, KEPT)[:KEPT] if len(dense) > KEPT else np.arange(len(dense))
        found = [(low, (kept, dense[kept].astype(np.float32)))]
        for place in range(low + 1, high + 1):
            said = tuple(ids[low:place])
            after: dict[int, float] = {}
            for row in self.beginnings.get(said, ()):
                follow = self.spelling[row][len(said)] if len(self.spelling[row]) > len(said) else ids[high]
                after[follow] = after.get(follow, 0.0) + float(chances[row])
            for spelling, chance in spelt.items():
                if spelling[: len(said)] == said:
                    follow = spelling[len(said)] if len(spelling) > len(said) else ids[high]
                    after[follow] = after.get(follow, 0.0) + chance
            total = sum(after.values())
            if len(after) > 1 and total > 1e-9:
                best = sorted(after.items(), key=lambda item: -item[1])[:KEPT]
                # After a whole tag only the drawn token tells whether the list goes on.
                values = np.array([value for _, value in best], dtype=np.float32) / np.float32(total)
                found.append((place, (np.array([token for token, _ in best]), values)))
        return found


def _plan(before: Sequence[str]) -> Plan:
    """Read the plan off the lines before a list."""
    names = next(line for line in before if line.startswith("target: "))[8:].replace("<|", "").split("|>")
    words = [name.strip() for name in names if name.strip() != "gen_meta"]
    return Plan(next((word for word in words if word in TASKS), None), next(word for word in words if word in LENGTHS))


def _leads(before: Sequence[str]) -> bool:
    return all(is_people_tag(tag) for tag in before)


def _pack(places: list[int], found: list[tuple[NDArray[np.int64], NDArray[np.float32]]]) -> Lesson:
    tokens = np.zeros((len(places), KEPT), dtype=np.uint16)
    chances = np.zeros((len(places), KEPT), dtype=np.float16)
    for row, (listed, values) in enumerate(found):
        tokens[row, : len(listed)] = listed
        chances[row, : len(values)] = values
    return Lesson(np.array(places, dtype=np.int64), tokens, chances)
