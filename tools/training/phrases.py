"""Sentences with slots, filled from lists of phrases: animals, furniture, clothes, places, weather."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

# Slot -> files of the phrase folder (any prefix before the last `__` is ignored).
_SOURCES = {
    "animal": ("pet", "dog", "cat", "bird", "animal", "fish"),
    "furniture": ("furniture", "chair", "bed"),
    "place": ("location_natural", "location_forest", "location_building", "landscape", "room", "location_water"),
    "clothes": ("women_clothing", "clothing-female", "dress", "hat"),
    "suit": ("men_clothing", "clothing-male", "suit-male"),
    "flower": ("flower",),
    "food": ("food", "fruit", "dessert"),
    "vehicle": ("vehicle", "train", "ship", "aircraft"),
    "sky": ("sky_condition", "event_weather", "daytime"),
}
# Common words come as often as all the rare ones of the files together.
_COMMON = {
    "animal": "dog dog dog cat cat cat bird rabbit horse fox bear wolf tiger lion owl frog sheep cow duck mouse",
    "furniture": "sofa sofa couch bed chair table desk bench carpet pillow window roof",
    "place": "beach forest city street garden park lake river mountain field kitchen bedroom library castle bridge",
    "clothes": "dress hat coat shirt skirt kimono sweater scarf apron jacket hoodie",
    "suit": "suit coat shirt jacket hat hoodie armor uniform sweater",
    "flower": "rose sunflower lily tulip hydrangea flower lotus",
    "food": "cake apple bread bowl cup fruit pizza strawberry sandwich lemon",
    "vehicle": "car train boat bicycle ship truck airplane bus motorcycle",
    "sky": "rain snow night sunset fog clouds sunrise moonlight",
    "colour": "red blue green white black yellow pink purple brown orange grey",
    "rest": "sleeps sits lies stands waits",
    "move": "runs walks jumps plays swims flies",
    "pose": "sits stands walks smiles waits reads dances sleeps",
}
_SENTENCES = (
    "A {animal} {rest} on a {colour} {furniture}.", "A {animal} {rest} on a {furniture}.",
    "A {colour} {animal} {move} near the {place}.", "A {animal} and a {animal} {rest} in the {place}.",
    "A {animal} {move} in the {sky}.", "Two {animal}s in a {place}.", "A {animal} with a {colour} {flower}.",
    "A {colour} {vehicle} in the {place} at {sky}.", "A {vehicle} on the {place}.", "A {place} in the {sky}.",
    "A {place} with a {vehicle} and a {flower}.", "A {colour} {furniture} in a {place}.",
    "A {colour} {flower} in a {place}.", "A {food} on a table next to a {flower}.",
    "A girl in a {colour} {clothes} {pose} in the {place}.", "A woman with {colour} hair {pose} near a {vehicle}.",
    "A girl with {colour} hair and {colour} eyes {pose} in the {sky}.", "A girl holds a {flower} in the {place}.",
    "A woman in a {clothes} eats {food} with a {animal}.", "A girl and a {animal} in the {place}.",
    "A man in a {colour} {suit} {pose} in the {place}.", "A boy with a {animal} on a {furniture}.",
    "A man with {colour} hair in a {suit} looks at the {sky}.", "A knight in armor rides a horse near the {place}.",
)  # fmt: skip
_WORDS = re.compile(r"[a-z]+(?:[ -][a-z]+){0,2}")


def load_phrases(folder: Path, is_safe: Callable[[str], bool]) -> dict[str, tuple[str, ...]]:
    """Read the slots' phrases from a folder of text files: up to three plain words, lower case, safe."""
    found: dict[str, tuple[str, ...]] = {}
    for slot, names in _SOURCES.items():
        lines = [line for name in names for path in sorted(folder.glob(f"*__{name}.txt")) for line in _lines(path)]
        found[slot] = tuple(line for line in dict.fromkeys(lines) if is_safe(line))
    return found


def write_sentence(phrases: Mapping[str, Sequence[str]], rng: np.random.Generator) -> str:
    """Fill a sentence's slots, each with a common word or a phrase of the lists, and none with what it says already."""
    said: set[str] = set()

    def fill(match: re.Match[str]) -> str:
        slot = match.group(1)
        common, rare = _COMMON[slot].split(), phrases.get(slot, ())
        pool = rare if rare and rng.random() < 0.3 else common
        left = [phrase for phrase in pool if phrase not in said] or pool
        chosen = str(left[int(rng.integers(len(left)))])
        said.add(chosen)
        return chosen

    text = re.sub(r"\{(\w+)\}", fill, _SENTENCES[int(rng.integers(len(_SENTENCES)))])
    text = re.sub(r"\b([Aa]) (?=[aeio])", r"\1n ", text)
    return text


def _lines(path: Path) -> list[str]:
    lines = [line.strip().lower() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    return [line for line in lines if _WORDS.fullmatch(line)]
