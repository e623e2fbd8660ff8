"""The role of a tag in a sentence: a look, a garment, an action, a place, the light, or a thing."""

from __future__ import annotations

import re
from collections.abc import Sequence


def _words(text: str) -> str:
    return "|".join(text.split())


_PATTERNS = {
    "holding": re.compile(r"^holding (?!hands)\w+"),
    "looks": re.compile(
        # `hand in own hair` and `eyes visible through hair` are no looks that someone has.
        r"^(?!.*\b(?:between|through|own|another's|by|on|in|over|under|from|with|open)\b).*\b(?:"
        + _words("hair eyes ears tail wings horns? bangs twintails ponytail braids? halo freckles skin ahoge fangs?")
        + ")$"
    ),
    "clothes": re.compile(
        r"\b(?:"
        + _words(
            "dress shirt skirt jacket coat hat cap gloves boots shoes kimono uniform hoodie sweater pants "
            "shorts thighhighs cape pantyhose scarf glasses choker necklace earrings bow ribbon apron armor "
            "hakama cloak crown footwear socks necktie hairband vest serafuku suit belt mask hairclip bowtie "
            "headphones jewelry ornament blazer cardigan yukata robe beret helmet kneehighs"
        )
        + ")$"
    ),
    "doing": re.compile(
        r"^(?:"
        + _words(
            "sitting standing walking running lying kneeling dancing reading sleeping flying jumping singing "
            "eating drinking crying laughing squatting floating swimming fighting cooking smile grin blush"
        )
        + r"|looking \w+(?: \w+)?)$"
    ),
    "place": re.compile(
        r"^(?!depth of |track and )(?:.* )?(?:"
        + _words(
            "city forest beach ocean shrine temple classroom library kitchen bedroom room cafe park village "
            "town field alley garden castle church mountain lake river street ruins rooftop stage desert cave "
            "bridge school indoors outdoors"
        )
        + "|train station)$"
    ),
    "light": re.compile(
        "^(?:"
        + _words(
            "night day sunset sunrise twilight evening rain snow snowing fog sunlight moonlight dusk dawn "
            "backlighting autumn winter summer"
        )
        + "|(?:starry|blue|cloudy|night) sky|full moon|neon lights|light (?:rays|particles))$"
    ),
    # What a sentence would only stumble over: views, poses, body parts, faces, the style of the picture.
    "silent": re.compile(
        r"^scenery$|^nature$|^fantasy$|^architecture$|nontraditional|"
        r"focus|background|^:|\^|_|theme|\bview|shot|body|^solo|^from |closed|open |one |parted|between|\d|sleeve|style"
        r"|\(|perspective|angle|border|monochrome|greyscale|blurry|realistic|depth|portrait|close-up|highres|hand|arm|leg"
        r"|finger|mouth|nail|collar|^own |naked|bare|sketch|lineart|crossed|stand|sit|ly|^head|up$|down$|ing\b"
    ),
}
ROLES = (*_PATTERNS, "things")


def role_of(tag: str) -> str:
    """Name the role of a tag: the first pattern that fits, or `things`."""
    return next((name for name, pattern in _PATTERNS.items() if pattern.search(tag)), "things")


def sort_tags(tags: Sequence[str]) -> dict[str, list[str]]:
    """Sort tags by their roles; every role has a list."""
    found: dict[str, list[str]] = {name: [] for name in ROLES}
    for tag in tags:
        found[role_of(tag)].append(tag)
    return found
