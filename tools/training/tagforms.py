"""How a tag is written for the model, and which tags exclude one another in one picture."""

from __future__ import annotations

import re
from collections.abc import Iterable

_COLOUR = (
    r"(?:aqua|black|blonde|blue|brown|green|grey|gray|gold|golden|orange|pink|purple|red|silver|white|yellow|beige|teal"
    r"|(?:dark|light) (?:blue|green|brown|purple|pink|red)|platinum blonde)"
)
_COLOURED = re.compile(rf"^{_COLOUR} (?P<noun>[a-z][a-z -]*)$")
_PEOPLE = re.compile(
    r"^(?:\d\+?(?:girl|boy|other)s?|multiple (?:girls|boys|others)|no humans|solo|solo focus|couple|everyone)$"
)

# One of each line in a picture of one person; sources: the meaning of the tags on Danbooru's wiki.
_EXCLUSIVE = """
    short hair/medium hair/long hair/bald
    very short hair/long hair
    very short hair/very long hair
    short hair/very long hair
    absurdly long hair/short hair
    open mouth/closed mouth
    closed eyes/one eye closed
    closed eyes/looking at viewer
    closed eyes/wide-eyed
    smile/frown
    smile/expressionless
    happy/sad
    happy/angry
    upper body/full body/cowboy shot/portrait/lower body/close-up/head only
    standing/sitting/lying/kneeling/squatting/wariza/seiza/on back/on side/on stomach
    indoors/outdoors
    day/night/sunset/evening/twilight/sunrise
    blue sky/night sky/starry sky/cloudy sky/orange sky
    simple background/outdoors
    simple background/indoors
    simple background/scenery
    white background/outdoors
    white background/indoors
    white background/night
    white background/sky
    simple background/sky
    white background/detailed background
    simple background/detailed background
    simple background/city
    from above/from below
    from behind/from front
    looking at viewer/looking away/looking back/looking down/looking up/looking to the side
    spring (season)/summer/autumn/winter
    day/moon
    day/starry sky
    day/full moon
    sun/moon
    barefoot/shoes
    barefoot/boots
    barefoot/socks
    sleeveless/long sleeves/short sleeves
    monochrome/colorful
    skirt/pants
    skirt/shorts
    dress/pants
    dress/shorts
    dress/shirt
    twintails/ponytail
    low twintails/high ponytail
    side ponytail/twintails
    mature female/chibi
"""


def spell_tag(name: str) -> str:
    """Write a tag as the model sees it: `long_hair` -> `long hair`, while `^_^` and `:d` stay."""
    name = name.replace("\\(", "(").replace("\\)", ")").strip()
    # The rule of TIPO's training code: four characters or more; shorter ones are faces and keep theirs.
    return name.replace("_", " ") if len(name) >= 4 else name


def is_people_tag(tag: str) -> bool:
    """Say whether `tag` counts the people in the picture (`1girl`, `multiple boys`, `no humans`, `solo`)."""
    return _PEOPLE.match(tag) is not None


def coloured_noun(tag: str) -> str | None:
    """Return what a colour tag colours (`black hair` -> `hair`), or None."""
    match = _COLOURED.match(tag)
    return match["noun"] if match else None


def exclusion_table(tags: Iterable[str]) -> dict[str, frozenset[str]]:
    """Map each of `tags` to those that cannot stand beside it for a single subject."""
    known = list(dict.fromkeys(tags))
    rivals: dict[str, set[str]] = {tag: set() for tag in known}
    nouns: dict[str, list[str]] = {}
    for tag in known:
        noun = coloured_noun(tag)
        if noun:
            nouns.setdefault(noun, []).append(tag)
    groups = list(nouns.values()) + [line.strip().split("/") for line in _EXCLUSIVE.strip().splitlines()]
    for group in groups:
        present = [tag for tag in group if tag in rivals]
        for tag in present:
            rivals[tag].update(other for other in present if other != tag)
    return {tag: frozenset(others) for tag, others in rivals.items()}
