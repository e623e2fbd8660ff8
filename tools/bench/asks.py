"""What both runtimes are asked for: thirty-two fixed prompts, and a thousand random ones from a seed.

Plain tags and sentences that either runtime takes as they are; refuses to know how they are answered.
"""
from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from kgen_ext.request import TagLength, TextLength


@dataclass(frozen=True, slots=True)
class Ask:
    """One prompt with its options, in words both runtimes know. `bans` are whole tags, `*` standing for any text."""

    tags: str
    text: str = ""
    bans: tuple[str, ...] = ()
    tag_length: TagLength = TagLength.LONG
    text_length: TextLength = TextLength.NONE
    seed: int = 1
    count: int = 1

    @property
    def given(self) -> tuple[str, ...]:
        """The user's tags."""
        return tuple(tag.strip() for tag in self.tags.split(",") if tag.strip())


# One to sixteen tags; every fourth with text, every fourth (another one) with bans that a model is likely to meet.
PROMPTS: tuple[Ask, ...] = (
    Ask("1girl"),
    Ask("1girl, fox ears, shrine"),
    Ask("1boy, knight, armor, castle", bans=("sword", "helmet")),
    Ask("1girl, solo, reading", "A girl reads a book by the window."),
    Ask("scenery, mountain, lake, sunrise"),
    Ask("1girl, school uniform, cherry blossoms, smile, looking at viewer"),
    Ask("no humans, cat, sleeping", bans=("1girl", "smile")),
    Ask("1girl, umbrella, rain, night, city", "She waits for the last bus. Neon signs shine on the wet street."),
    Ask("2girls, picnic, grass"),
    Ask("1girl, long hair, white dress, sunflower field, straw hat, summer, blue sky, wind"),
    Ask("1girl, witch, forest", bans=("hat", "witch hat", "broom")),
    Ask("1boy, glasses, library, sitting", "A young man writes a letter in an old library."),
    Ask("landscape, winter, snow, house"),
    Ask("1girl, astronaut, space, planet, stars, floating"),
    Ask("1girl, kimono, festival, lantern", bans=("solo", "smile")),
    Ask("cityscape, night", "A quiet street between tall buildings. The rain has just stopped."),
    Ask("1girl, twintails, red ribbon, ice cream, beach, ocean, sandals, laughing, open mouth"),
    Ask("1boy, guitar, stage"),
    Ask("no humans, train, station, sunset", bans=("sky", "cloud")),
    Ask("1girl, baker, apron, bread, kitchen", "A baker takes fresh bread from the oven."),
    Ask("1girl, short hair, hoodie, headphones, skateboard, street, graffiti"),
    Ask("multiple girls, band, drums, guitar, concert"),
    Ask("1girl, mermaid, underwater", bans=("fish", "bubble")),
    Ask("1girl, winter clothes, scarf", "Her breath is white in the cold air."),
    Ask("still life, fruit, table"),
    Ask("1girl, elf, pointy ears, green eyes, blonde hair, braid, bow (weapon), quiver, cape, boots, forest, sunlight"),
    Ask("1boy, chef, cooking", bans=("1girl", "hat")),
    Ask("garden, flower, butterfly", "A small garden behind a stone wall."),
    Ask("1girl, ballerina, dancing"),
    Ask("1girl, detective, trench coat, fedora, city, night, rain, street light, puddle, standing, looking back"),
    Ask("robot, rust, desert, ruins", bans=("1girl", "solo")),
    Ask(
        "1girl, solo, long hair, brown hair, blue eyes, cardigan, pleated skirt, cafe, window, coffee, cake, plate, "
        "sitting, smile, afternoon, indoors",
        "She looks out of the window and smiles.",
    ),
)  # fmt: skip

_PEOPLE = ("1girl", "1boy", "2girls", "1girl, solo", "1boy, solo", "no humans", "multiple girls", "1girl, 1boy", "")
_OTHERS = ("no humans", "multiple girls")
_THINGS = tuple(
    dict.fromkeys(tag for ask in PROMPTS for tag in ask.given if not tag[0].isdigit() and tag not in _OTHERS)
)
_BANS = (
    "smile", "solo", "hat", "*hair", "looking at viewer", "blush", "*eyes", "sky", "flower", "* dress", "shirt", "tree",
    "standing", "outdoors", "day", "bow", "*ribbon*", "gloves", "cloud", "long sleeves", "water", "1boy",
)  # fmt: skip
_TEXTS = tuple(ask.text for ask in PROMPTS if ask.text)


def turn_asks(count: int, *, tag_length: TagLength, text_length: TextLength, seed: int) -> list[Ask]:
    """Return the first `count` of the fixed prompts, which begin anew with other seeds when they run out."""
    rows = (PROMPTS[index % len(PROMPTS)] for index in range(count))
    return [
        replace(one, tag_length=tag_length, text_length=text_length, seed=seed * 1_000 + index + 1)
        for index, one in enumerate(rows)
    ]


def random_asks(count: int, *, seed: int) -> Iterator[Ask]:
    """Yield random requests: up to fourteen tags, half with bans, some with text, every length that fits 512 tokens."""
    draw = random.Random(seed)
    for index in range(count):
        tags = draw.sample(_THINGS, draw.randint(0, 12))
        bans = draw.sample(_BANS, draw.randint(1, 4)) if draw.random() < 0.5 else []
        people = draw.choice(_PEOPLE)
        yield Ask(
            ", ".join(dict.fromkeys(part for part in (*people.split(", "), *tags) if part)),
            draw.choice(_TEXTS) if draw.random() < 0.25 else "",
            tuple(bans),
            draw.choice((TagLength.VERY_SHORT, TagLength.SHORT, TagLength.LONG)),
            draw.choice((TextLength.NONE, TextLength.VERY_SHORT, TextLength.SHORT, TextLength.LONG)),
            seed=seed * 100_000 + index + 1,
        )
