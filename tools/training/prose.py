"""Template sentences that say in prose what tags say."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tools.training.cleaning import finish
from tools.training.relations import Relations
from tools.training.roles import sort_tags
from tools.training.tagforms import coloured_noun

_PLACES_IN = frozenset(
    "city forest garden classroom library kitchen bedroom room cafe park village town field alley".split()
)
_PLURAL = re.compile(r"(?<![su])s$")  # `shoes`, not `dress`
_MASS = re.compile(
    r"\b(?:hair|skin|makeup|sky|jewelry|footwear|armor|water|snow|grass|food|pantyhose|serafuku)$"
)
_WORN = frozenset("dress shirt skirt jacket coat kimono uniform hoodie sweater suit armor robe cape yukata".split())
# What is worn and nobody is dressed in.
_ADORNS = re.compile(
    r"\b(?:hat|cap|glasses|bow|ribbon|choker|necklace|earrings|crown|hairband|belt|mask|hairclip|bowtie|headphones"
    r"|jewelry|ornament|necktie|scarf|gloves|boots|shoes|socks|footwear|beret|helmet)$"
)
_ACTIONS = {
    "looking at viewer": "looks at the viewer", "smile": "smiles", "grin": "grins", "blush": "blushes",
    "lying": "lies down", "crying": "cries",
}  # fmt: skip
# Light, season and weather as a sentence of their own, and views of the camera; every one said in two ways.
_LIGHT = {
    "night": "It is night./Night has fallen.", "day": "It is day./The day is bright.", "evening": "It is evening.",
    "sunset": "The sun is setting./The sun sinks low.", "sunrise": "The sun is rising./The sun comes up.",
    "twilight": "The last light fades into twilight.", "dusk": "Dusk is falling.", "dawn": "Dawn is breaking.",
    "rain": "Rain is falling./Rain pours down.", "snow": "Snow covers the ground.", "snowing": "Snow is falling.",
    "fog": "Fog hangs in the air./Fog softens every outline.", "sunlight": "Sunlight pours in./Warm sunlight falls.",
    "moonlight": "Moonlight falls softly./Pale moonlight lies on everything.",
    "backlighting": "Light comes from behind.",
    "autumn": "It is autumn./The colours are those of autumn.", "winter": "It is a cold winter day./It is winter.",
    "summer": "It is summer./The air is warm with summer.",
    "starry sky": "Stars fill the sky./The sky is full of stars.",
    "blue sky": "The sky is blue and clear./A blue sky opens above.", "cloudy sky": "Clouds cover the sky.",
    "night sky": "The night sky is dark above./A deep night sky spreads above.", "full moon": "A full moon shines.",
    "neon lights": "Neon lights glow./Neon lights colour the dark.", "light rays": "Rays of light break through.",
    "light particles": "Specks of light drift through the air.",
}  # fmt: skip
_CAMERA_SAYS = {
    "from above": "The view is from above./Seen from above.", "from below": "The view is from below.",
    "from side": "The view is from the side.", "from behind": "The view is from behind.",
    "close-up": "It is a close-up.", "portrait": "It is a portrait.", "upper body": "The frame ends at the waist.",
    "full body": "The figure is shown from head to foot.", "cowboy shot": "The frame ends above the knees.",
    "wide shot": "It is a wide shot.", "depth of field": "What is far away is out of focus.",
    "blurry background": "Everything behind is blurred.", "dutch angle": "The camera is tilted.",
}  # fmt: skip
_OF_SOMEONE = ("portrait", "upper body", "full body", "cowboy shot")


def describe(
    people: Sequence[str],
    tags: Sequence[str],
    characters: Sequence[str],
    count: int,
    rng: np.random.Generator,
    *,
    relations: Relations,
    given: Collection[str] = (),
    said: Sequence[str] = (),
    opening: bool = True,
) -> tuple[str, ...]:
    """Write up to `count` sentences that mention some of the tags, those of `given` before the others.

    relations: where things are; of one whose place nobody told nothing is said. said: tags that the text has named
    before. opening: the first sentence introduces the subject; without it a text that has done so is continued.
    """
    who = _subject(people, characters)
    order = sorted(rng.permutation(list(tags)).tolist(), key=lambda tag: tag not in given) if tags else []
    order = distinct_things(order)
    kinds = sort_tags(order)
    kinds["camera"] = [tag for tag in order if tag in _CAMERA_SAYS]
    sentences = [_opening(who, kinds, rng)] if opening else []
    placed = _Placed(relations, (*order, *said), bool(said))
    # Any: NumPy 2.2 has no type for such a shuffle.
    makers: list[Any] = [_looks, _wears, _holds, placed.place, placed.thing, placed.thing, _light, _view]
    if rng.random() < 0.7:  # as a person would go on, else in any order
        makers = [maker for maker in makers if rng.random() < 0.8] or makers
    else:
        rng.shuffle(makers)
    for maker in makers:
        if len(sentences) < count:
            sentences.extend(finish(text) for text in maker(who, kinds, rng) if text)
    return tuple(sentences[:count])


def distinct_things(tags: Sequence[str]) -> list[str]:
    """Keep one tag of each thing (`white shirt`, not `shirt` beside it), so that no text names a thing twice."""
    kept: dict[str, str] = {}
    for tag in tags:
        thing = re.sub(r" \(.*\)$", "", tag).split()[-1]
        thing = tag if thing == "hair" else thing  # `long hair` and `black hair` are said at once
        if thing not in kept or kept[thing] == thing:
            kept[thing] = tag
    return list(kept.values())


@dataclass(frozen=True, slots=True)
class _Subject:
    """Who a description is about; without a name nobody is."""

    name: str
    pronoun: str
    plural: bool

    @property
    def verb(self) -> str:
        return "are" if self.pronoun == "They" else "is"

    @property
    def whose(self) -> str:
        return {"She": "her", "He": "his", "They": "their"}.get(self.pronoun, "its")

    def does(self, action: str) -> str:
        """Bend a verb of the third person (`wears`) to the pronoun."""
        return _bend(action) if self.pronoun == "They" else action


def _bend(action: str) -> str:
    """Return the plural of a verb of the third person: `looks at the viewer` -> `look at the viewer`."""
    verb, _, rest = action.partition(" ")
    verb = {"has": "have", "is": "are", "cries": "cry"}.get(verb, re.sub(r"(?<=sh)es$|(?<=ss)es$|s$", "", verb))
    return f"{verb} {rest}".strip()


def _subject(people: Sequence[str], characters: Sequence[str]) -> _Subject:
    name = re.sub(r" \(.*\)$", "", characters[0]).title() if characters else ""
    counts = {"1girl": "a girl", "1boy": "a boy", "2girls": "two girls", "2boys": "two boys", "3girls": "three girls"}
    counts |= {"multiple girls": "several girls", "multiple boys": "several boys", "1other": "a figure"}
    exact = any(tag[0].isdigit() for tag in people)
    found = [counts[tag] for tag in people if tag in counts and not (exact and tag.startswith("multiple"))]
    if "no humans" in people or not (people or name):
        return _Subject(name, "It", False)
    if len(found) > 1:
        return _Subject(" and ".join(found[:2]), "They", True)
    phrase = found[0] if found else "a figure"
    plural = not phrase.startswith("a ")
    pronoun = "They" if plural or "figure" in phrase else ("She" if "girl" in phrase else "He")
    return _Subject(name if name and not plural else phrase, pronoun, plural)


def _opening(who: _Subject, kinds: dict[str, list[str]], rng: np.random.Generator) -> str:
    place = _where(kinds, rng)
    if not who.name:
        shown = [_a(tag) for tag in _take(kinds["things"], int(rng.integers(1, 3)))]
        words = f"{_join(shown) or 'a quiet place'}{place}"
        return finish(str(rng.choice([words, words, f"a quiet view of {words}", f"a wide view of {words}"])))
    verb = "are" if who.plural else "is"
    doing = [tag for tag in kinds["doing"] if tag.split()[0].endswith("ing") or tag in _ACTIONS]
    action = ""
    if doing:
        tag = _take(kinds["doing"], 1)[0] if kinds["doing"][0] == doing[0] else doing[0]
        simple = _ACTIONS.get(tag)
        if simple and (rng.random() < 0.7 or not tag.split()[0].endswith("ing")):
            action = f" {_bend(simple) if who.plural else simple}"
        else:
            action = f" {verb} {tag.replace('at viewer', 'at the viewer')}"
    looks = _look_phrases(_take(kinds["looks"], int(rng.integers(0, 3))))
    subject = f"{who.name}{' with ' + _join(looks) if looks else ''}"
    clothes = _take(kinds["clothes"], 1) if kinds["clothes"][:1] and rng.random() < 0.35 else []
    if clothes and clothes[0].split()[-1] in _WORN:
        subject += f" in {_a(clothes[0])}"
    else:
        kinds["clothes"][:0] = clothes
    if place and rng.random() < 0.3:
        return finish(f"{place.strip()}, {subject}{action or f' {verb} waiting'}")
    if not action and not place:
        return finish(f"a portrait of {subject}" if rng.random() < 0.5 else f"{subject}")
    return finish(f"{subject}{action}{place}")


def _where(kinds: dict[str, list[str]], rng: np.random.Generator) -> str:
    kinds["place"] = [tag for tag in kinds["place"] if tag not in ("indoors", "outdoors")]
    place = next(iter(_take(kinds["place"], 1)), "")
    times = ("night", "sunset", "sunrise", "twilight", "dusk", "dawn")
    light = next((tag for tag in kinds["light"] if tag in times), "")
    words = f" {'in' if place.split()[-1] in _PLACES_IN else 'at'} {_a(place)}" if place else ""
    if light and rng.random() < 0.5:
        kinds["light"].remove(light)
        words += f" at {light}"
    return words


def _looks(who: _Subject, kinds: dict[str, list[str]], rng: np.random.Generator) -> list[str]:
    taken = _take(kinds["looks"], int(rng.integers(1, 4)))
    looks = _look_phrases(taken)
    if not looks or not who.name:
        return []
    ways = [f"{who.pronoun} {who.does('has')} {_join(looks)}"]
    noun, verb = ("hair", "is") if (hair := _hair(taken)) else ("eyes", "are")
    if len(looks) == 1 and (words := hair or [tag[:-5] for tag in taken if tag.endswith(" eyes")]):
        ways.append(f"{who.whose} {noun} {verb} {_join(words)}")
    return [str(rng.choice(ways))]


def _look_phrases(tags: Sequence[str]) -> list[str]:
    """Say all that is said of the hair at once: `long hair`, `black hair` -> `long black hair`."""
    hair, others = _hair(tags), [_a(tag) for tag in tags if not tag.endswith(" hair")]
    return ([f"{' '.join(hair)} hair"] if hair else []) + others


def _hair(tags: Sequence[str]) -> list[str]:
    """Return what tags say of the hair, its colour last; who has very long hair has no long hair beside it."""
    hair = [tag[:-5] for tag in tags if tag.endswith(" hair")]
    hair.sort(key=lambda word: coloured_noun(f"{word} hair") is not None)
    return [word for word in hair if word != "long" or not any(other.endswith(" long") for other in hair)]


def _wears(who: _Subject, kinds: dict[str, list[str]], rng: np.random.Generator) -> list[str]:
    kinds["clothes"].sort(key=lambda tag: bool(_ADORNS.search(tag)))  # a dress is told before its ribbon
    taken = _take(kinds["clothes"], int(rng.integers(1, 4)))
    if not taken or not who.name:
        return []
    clothes = _join([_a(tag) for tag in taken])
    ways = [f"{who.pronoun} {who.does('wears')} {clothes}", f"{who.pronoun} {who.verb} wearing {clothes}"]
    if not _ADORNS.search(taken[-1]):
        ways.append(f"{who.pronoun} {who.verb} dressed in {clothes}")
    return [str(rng.choice(ways))]


def _holds(who: _Subject, kinds: dict[str, list[str]], rng: np.random.Generator) -> list[str]:
    held = [_a(tag[8:]) for tag in _take(kinds["holding"], 1)]
    if not held or not who.name:
        return []
    hands = "hands" if who.pronoun == "They" else "hand"
    way = rng.choice([f"{who.does('holds')} {held[0]}", f"{who.does('has')} {held[0]} in {who.whose} {hands}"])
    return [f"{who.pronoun} {way}"]


@dataclass(frozen=True, slots=True)
class _Placed:
    """Says where things and places of a list are, each beside what stands in the list with it."""

    relations: Relations
    tags: Sequence[str]
    said: bool  # something was told before, which a new posture might deny
    placed: list[str] = field(default_factory=list)  # whose place is told; no second one is

    def place(self, who: _Subject, kinds: dict[str, list[str]], rng: np.random.Generator) -> list[str]:
        kinds["place"] = [tag for tag in kinds["place"] if tag not in ("indoors", "outdoors")]
        return self._first(who, "place", kinds, rng)

    def thing(self, who: _Subject, kinds: dict[str, list[str]], rng: np.random.Generator) -> list[str]:
        return self._first(who, "things", kinds, rng)

    def _first(
        self, who: _Subject, kind: str, kinds: dict[str, list[str]], rng: np.random.Generator
    ) -> list[str]:
        for tag in kinds[kind]:
            if ways := self._ways(who, tag, kinds):
                counts = np.array([count for _, count, _ in ways], dtype=float)
                text, _, used = ways[int(rng.choice(len(ways), p=counts / counts.sum()))]
                self.placed.append(used[0])
                for tags in kinds.values():
                    tags[:] = [other for other in tags if other not in used]
                return [text]
        return []

    def _ways(self, who: _Subject, tag: str, kinds: dict[str, list[str]]) -> list[tuple[str, int, tuple[str, ...]]]:
        """Return what can be said of where `tag` is: a sentence, how often captions say so, and the tags it names."""
        doing = [other for other in self.tags if other.endswith("ing") and " " not in other]
        ways: list[tuple[str, int, tuple[str, ...]]] = []
        if who.name:
            for phrase, count in self.relations.person.get(tag, {}).items():
                verb = phrase.split()[0]
                if not verb.endswith("ing") or verb in doing or not (doing or self.said):
                    ways.append((f"{who.pronoun} {who.verb} {self._end(phrase, tag, kinds)}", count, (tag,)))
        # What is new is said to be by what the text has named: two new things by each other would be another subject.
        for other in (other for other in self.tags if not _left(other, kinds)):
            for pair in ((tag, other), (other, tag)):
                if pair[0] in self.placed:
                    continue
                for phrase, count in self.relations.things.get(pair, {}).items():
                    first = _a(tag) if pair[0] == tag else f"the {other}"
                    be = "are" if _PLURAL.search(pair[0]) else "is"
                    ways.append((f"{first} {be} {self._end(phrase, pair[1], kinds)}", count, pair))
        return ways

    @staticmethod
    def _end(phrase: str, tag: str, kinds: dict[str, list[str]]) -> str:
        words, _, article = phrase.rpartition(" ")
        return f"{words} {_a(tag) if article == 'a' and _left(tag, kinds) else f'the {tag}'}"


def _left(tag: str, kinds: dict[str, list[str]]) -> bool:
    return any(tag in tags for tags in kinds.values())


def _light(who: _Subject, kinds: dict[str, list[str]], rng: np.random.Generator) -> list[str]:
    return [str(rng.choice(_LIGHT[tag].split("/"))) for tag in _take(kinds["light"], 1) if tag in _LIGHT]


def _view(who: _Subject, kinds: dict[str, list[str]], rng: np.random.Generator) -> list[str]:
    shown = [tag for tag in kinds["camera"] if who.name or tag not in _OF_SOMEONE]
    return [str(rng.choice(_CAMERA_SAYS[tag].split("/"))) for tag in shown[:1]]


def _take(tags: list[str], count: int) -> list[str]:
    # What one sentence says, no later one repeats.
    taken = tags[:count]
    del tags[:count]
    return taken


def _a(tag: str) -> str:
    if _MASS.search(tag) or _PLURAL.search(tag):
        return tag
    return f"{'an' if tag[0] in 'aeio' else 'a'} {tag}"


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""
