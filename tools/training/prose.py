"""Sentences: real captions cleaned up, and template captions that say in prose what tags say."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from kgen_ext.prompt.sentences import split_sentences
from tools.training.roles import sort_tags
from tools.training.tagforms import coloured_noun

_LEAD = re.compile(
    r"^(?:please |can you )?(?:draw|generate|create|make|paint|design|show)(?: me)?(?: an image of| a picture of)?:?\s+"
    r"|^(?:generated? (?:image|picture)|generating picture)\s*:\s*",
    re.I,
)
_CAMERA = re.compile(
    r"\b(?:camera|video|footage|zoom\w*|pans?|panning|frame rate|shot in|the shot|cinematograph\w*|clip)\b", re.I
)
_ARTISTS = re.compile(r"\bby [a-z]+ |\bart(?:station|germ)\b|\bin the style of\b|\bgreg rutkowski\b|\bmucha\b", re.I)
_PLACES_IN = frozenset(
    "city forest garden classroom library kitchen bedroom room cafe park village town field alley".split()
)
_WORN = frozenset("dress shirt skirt jacket coat kimono uniform hoodie sweater suit armor robe cape yukata".split())


def clean_sentences(text: str, *, limit: int = 8) -> tuple[str, ...]:
    """Return the usable sentences of a raw caption: spaced and capitalised, with a full stop; none if it is unfit."""
    text = re.sub(r"\s+", " ", text.replace("\u2019", "'").replace("\u201c", '"').replace("\u201d", '"')).strip(" ,'\"")
    text = re.sub(r"\s+([,.;:!?'])", r"\1", _LEAD.sub("", text))
    text = re.sub(r"\b(\d) (?=\d\b)", r"\1", text)
    if _ARTISTS.search(text) or not text.isascii() or len(text) < 12 or ":" in text or "<" in text:
        return ()
    sentences = split_sentences(text)
    kept = [part for part in sentences if not _CAMERA.search(part) and 12 <= len(part) <= 320 and "http" not in part]
    if not kept or kept[0] != sentences[0]:
        return ()
    return tuple(_finish(part) for part in kept[:limit])


def _finish(sentence: str) -> str:
    sentence = sentence.rstrip(" ,;-")
    return sentence[0].upper() + sentence[1:] + ("" if sentence[-1] in '.!?"' else ".")


def is_prompt_like(sentence: str) -> bool:
    """Say whether a caption is a keyword list rather than a sentence."""
    return sentence.count(",") >= max(3, len(sentence.split()) // 7)


def describe(
    people: Sequence[str],
    tags: Sequence[str],
    characters: Sequence[str],
    count: int,
    rng: np.random.Generator,
    *,
    given: Collection[str] = (),
) -> tuple[str, ...]:
    """Write up to `count` sentences that mention some of the tags, those of `given` before the others."""
    subject, pronoun, plural = _subject(people, characters)
    order = sorted(rng.permutation(list(tags)).tolist(), key=lambda tag: tag not in given) if tags else []
    kinds = sort_tags(distinct_things(order))
    sentences = [_opening(subject, pronoun, plural, kinds, rng)]
    makers: list[Any] = [_looks, _wears, _holds, _place, _things, _light]  # NumPy 2.2 has no type for such a shuffle
    rng.shuffle(makers)
    for maker in makers:
        if len(sentences) < count:
            sentences.extend(maker(pronoun, plural, kinds, rng))
    return tuple(sentences[:count])


def distinct_things(tags: Sequence[str]) -> list[str]:
    """Keep one tag of each thing (`white shirt`, not `shirt` beside it), so that no text names a thing twice."""
    kept: dict[str, str] = {}
    for tag in tags:
        thing = re.sub(r" \(.*\)$", "", tag).split()[-1]
        if thing not in kept or kept[thing] == thing:
            kept[thing] = tag
    return list(kept.values())


def _subject(people: Sequence[str], characters: Sequence[str]) -> tuple[str, str, bool]:
    name = re.sub(r" \(.*\)$", "", characters[0]).title() if characters else ""
    counts = {"1girl": "a girl", "1boy": "a boy", "2girls": "two girls", "2boys": "two boys", "3girls": "three girls"}
    counts |= {"multiple girls": "several girls", "multiple boys": "several boys", "1other": "a figure"}
    exact = any(tag[0].isdigit() for tag in people)
    found = [counts[tag] for tag in people if tag in counts and not (exact and tag.startswith("multiple"))]
    if "no humans" in people:
        return name, "It", False
    if len(found) > 1:
        return " and ".join(found[:2]), "They", True
    phrase = found[0] if found else "a figure"
    plural = not phrase.startswith("a ")
    pronoun = "They" if plural or "figure" in phrase else ("She" if "girl" in phrase else "He")
    return (name if name and not plural else phrase), pronoun, plural


def _opening(subject: str, pronoun: str, plural: bool, kinds: dict[str, list[str]], rng: np.random.Generator) -> str:
    place = _where(kinds, rng)
    if not subject:
        shown = [_a(tag) for tag in _take(kinds["things"], 2)] + ([] if place else kinds["light"][:1])
        words = ["A view of", "A scene with", "A picture of", "A quiet view of", "The picture shows", "One can see"]
        return _finish(f"{rng.choice(words)} {_join(shown) or 'a quiet place'}{place}")
    verb = "are" if plural else "is"
    doing = [tag for tag in kinds["doing"] if tag.split()[0].endswith("ing")]
    action = f" {verb} {doing[0].replace('at viewer', 'at the viewer')}" if doing else f" {verb} shown"
    looks = [_a(tag) for tag in _take(kinds["looks"], int(rng.integers(0, 3)))]
    who = f"{subject}{' with ' + _join(looks) if looks else ''}"
    clothes = [_a(tag) for tag in _take(kinds["clothes"], 1)] if rng.random() < 0.35 else []
    who += f" in {clothes[0]}" if clothes and clothes[0].split()[-1] in _WORN else ""
    if place and rng.random() < 0.3:
        return _finish(f"{place.strip()}, {who}{action}")
    return _finish(f"{who}{action}{place}")


def _where(kinds: dict[str, list[str]], rng: np.random.Generator) -> str:
    kinds["place"] = [tag for tag in kinds["place"] if tag not in ("indoors", "outdoors")]
    place = next(iter(_take(kinds["place"], 1)), "")
    light = next(
        (tag for tag in kinds["light"] if tag in ("night", "sunset", "sunrise", "twilight", "dusk", "dawn")), ""
    )
    words = f" {'in' if place.split()[-1] in _PLACES_IN else 'at'} {_a(place)}" if place else ""
    return words + (f" at {light}" if light and rng.random() < 0.8 else "")


def _looks(pronoun: str, plural: bool, kinds: dict[str, list[str]], rng: np.random.Generator) -> list[str]:
    looks = [_a(tag) for tag in _take(kinds["looks"], int(rng.integers(1, 4)))]
    return [_finish(f"{pronoun} {'have' if pronoun == 'They' else 'has'} {_join(looks)}")] if looks else []


def _wears(pronoun: str, plural: bool, kinds: dict[str, list[str]], rng: np.random.Generator) -> list[str]:
    clothes = _take(kinds["clothes"], int(rng.integers(1, 4)))
    verb = {"They": "are wearing", "It": "has"}.get(pronoun, str(rng.choice(["is wearing", "wears", "is dressed in"])))
    return [_finish(f"{pronoun} {verb} {_join([_a(tag) for tag in clothes])}")] if clothes else []


def _holds(pronoun: str, plural: bool, kinds: dict[str, list[str]], rng: np.random.Generator) -> list[str]:
    held = kinds["holding"][:1]
    return [_finish(f"{pronoun} {'are' if pronoun == 'They' else 'is'} holding {_a(held[0][8:])}")] if held else []


def _place(pronoun: str, plural: bool, kinds: dict[str, list[str]], rng: np.random.Generator) -> list[str]:
    places = [tag for tag in kinds["place"] if tag not in ("indoors", "outdoors")][:1]
    return (
        [
            _finish(
                f"{rng.choice(['The background shows', 'In the background is', 'The scene is set in'])} {_a(places[0])}"
            )
        ]
        if places
        else []
    )


def _things(pronoun: str, plural: bool, kinds: dict[str, list[str]], rng: np.random.Generator) -> list[str]:
    things = _take(kinds["things"], int(rng.integers(1, 4)))
    if not things:
        return []
    verb = "are" if len(things) > 1 or things[0].endswith("s") else "is"
    where = rng.choice(["nearby", "in the scene", "around", "in the picture"])
    return [_finish(f"There {verb} {_join([_a(tag) for tag in things])} {where}")]


def _light(pronoun: str, plural: bool, kinds: dict[str, list[str]], rng: np.random.Generator) -> list[str]:
    light = kinds["light"][: int(rng.integers(1, 3))]
    words = ["The mood is set by", "The scene is lit by", "It is a scene of", "All around is"]
    return [_finish(f"{rng.choice(words)} {_join(light)}")] if light else []


def _take(tags: list[str], count: int) -> list[str]:
    # What one sentence says, no later one repeats.
    taken = tags[:count]
    del tags[:count]
    return taken


def _a(tag: str) -> str:
    mass = tag.endswith(
        ("s", "hair", "jewelry", "footwear", "armor", "water", "snow", "grass", "food", "pantyhose", "serafuku")
    )
    noun = coloured_noun(tag)
    if mass or (noun or "").endswith("s"):
        return tag
    return f"{'an' if tag[0] in 'aeio' else 'a'} {tag}"


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""
