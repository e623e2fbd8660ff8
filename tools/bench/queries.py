"""Benchmark prompts: thirty-two fixed ones, and a thousand random ones from a seed.

They are plain tags and sentences that both runtimes accept unchanged.
"""
from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from kgen_ext.request import TagLength, TextLength


@dataclass(frozen=True, slots=True)
class Query:
    """One prompt with its options, in words both runtimes know.

    bans: whole tags, `*` standing for any text. replay: the tags that a model with random weights is to add.
    """

    tags: str
    text: str = ""
    bans: tuple[str, ...] = ()
    tag_length: TagLength = TagLength.LONG
    text_length: TextLength = TextLength.NONE
    seed: int = 1
    count: int = 1
    replay: tuple[str, ...] = ()

    @property
    def given(self) -> tuple[str, ...]:
        """The user's tags."""
        return tuple(tag.strip() for tag in self.tags.split(",") if tag.strip())


# One to sixteen tags; every fourth with text, every fourth (another one) with bans that a model is likely to meet.
PROMPTS: tuple[Query, ...] = (
    Query("1girl"),
    Query("1girl, fox ears, shrine"),
    Query("1boy, knight, armor, castle", bans=("sword", "helmet")),
    Query("1girl, solo, reading", "A girl reads a book by the window."),
    Query("scenery, mountain, lake, sunrise"),
    Query("1girl, school uniform, cherry blossoms, smile, looking at viewer"),
    Query("no humans, cat, sleeping", bans=("1girl", "smile")),
    Query("1girl, umbrella, rain, night, city", "She waits for the last bus. Neon signs shine on the wet street."),
    Query("2girls, picnic, grass"),
    Query("1girl, long hair, white dress, sunflower field, straw hat, summer, blue sky, wind"),
    Query("1girl, witch, forest", bans=("hat", "witch hat", "broom")),
    Query("1boy, glasses, library, sitting", "A young man writes a letter in an old library."),
    Query("landscape, winter, snow, house"),
    Query("1girl, astronaut, space, planet, stars, floating"),
    Query("1girl, kimono, festival, lantern", bans=("solo", "smile")),
    Query("cityscape, night", "A quiet street between tall buildings. The rain has just stopped."),
    Query("1girl, twintails, red ribbon, ice cream, beach, ocean, sandals, laughing, open mouth"),
    Query("1boy, guitar, stage"),
    Query("no humans, train, station, sunset", bans=("sky", "cloud")),
    Query("1girl, baker, apron, bread, kitchen", "A baker takes fresh bread from the oven."),
    Query("1girl, short hair, hoodie, headphones, skateboard, street, graffiti"),
    Query("multiple girls, band, drums, guitar, concert"),
    Query("1girl, mermaid, underwater", bans=("fish", "bubble")),
    Query("1girl, winter clothes, scarf", "Her breath is white in the cold air."),
    Query("still life, fruit, table"),
    Query(
        "1girl, elf, pointy ears, green eyes, blonde hair, braid, bow (weapon), quiver, cape, boots, forest, sunlight"
    ),
    Query("1boy, chef, cooking", bans=("1girl", "hat")),
    Query("garden, flower, butterfly", "A small garden behind a stone wall."),
    Query("1girl, ballerina, dancing"),
    Query("1girl, detective, trench coat, fedora, city, night, rain, street light, puddle, standing, looking back"),
    Query("robot, rust, desert, ruins", bans=("1girl", "solo")),
    Query(
        "1girl, solo, long hair, brown hair, blue eyes, cardigan, pleated skirt, cafe, window, coffee, cake, plate, "
        "sitting, smile, afternoon, indoors",
        "She looks out of the window and smiles.",
    ),
)  # fmt: skip

_PEOPLE = ("1girl", "1boy", "2girls", "1girl, solo", "1boy, solo", "no humans", "multiple girls", "1girl, 1boy", "")
_OTHERS = ("no humans", "multiple girls")
_THINGS = tuple(
    dict.fromkeys(tag for query in PROMPTS for tag in query.given if not tag[0].isdigit() and tag not in _OTHERS)
)
_BANS = (
    "smile", "solo", "hat", "*hair", "looking at viewer", "blush", "*eyes", "sky", "flower", "* dress", "shirt", "tree",
    "standing", "outdoors", "day", "bow", "*ribbon*", "gloves", "cloud", "long sleeves", "water", "1boy",
)  # fmt: skip
_TEXTS = tuple(query.text for query in PROMPTS if query.text)


def turn_queries(queries: Sequence[Query], count: int, *, seed: int) -> list[Query]:
    """Return the first `count` of the queries, each with a seed of its own; they begin anew when they run out."""
    return [replace(queries[index % len(queries)], seed=seed * 1_000 + index + 1) for index in range(count)]


def random_queries(count: int, *, seed: int) -> Iterator[Query]:
    """Yield random requests: up to fourteen tags, half with bans, some with text, every length that fits 512 tokens."""
    draw = random.Random(seed)
    for index in range(count):
        tags = draw.sample(_THINGS, draw.randint(0, 12))
        bans = draw.sample(_BANS, draw.randint(1, 4)) if draw.random() < 0.5 else []
        people = draw.choice(_PEOPLE)
        yield Query(
            ", ".join(dict.fromkeys(part for part in (*people.split(", "), *tags) if part)),
            draw.choice(_TEXTS) if draw.random() < 0.25 else "",
            tuple(bans),
            draw.choice((TagLength.VERY_SHORT, TagLength.SHORT, TagLength.LONG)),
            draw.choice((TextLength.NONE, TextLength.VERY_SHORT, TextLength.SHORT, TextLength.LONG)),
            seed=seed * 100_000 + index + 1,
        )
