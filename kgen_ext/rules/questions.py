"""Questions that a picture answers once, what answers them, and words of colour and length.

`answers` lists whole tags, `phrases` what also counts within a longer tag or a sentence. Hair, eyes, skin and
background are read by `claims` from a colour or a length and the noun, in any order and with other words between them.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# Said by tags such as `multicolored hair`: more than one answer is true.
SEVERAL = "several"


@dataclass(frozen=True, slots=True)
class Question:
    """One question: `answers` and `phrases` map each answer to what allows it, several where it leaves that open.

    With a tag of `lifted_by`, if the user wrote it, several answers may be true. A question about a person does not
    apply while the scene has several people.
    """

    name: str
    answers: Mapping[str, str] = field(default_factory=dict)
    phrases: Mapping[str, str] = field(default_factory=dict)
    lifted_by: str = ""
    per_person: bool = False


_POSES = "multiple views, variations, sequential, comic, 4koma, before and after, character sheet, reference sheet"
_PARTED = f"{_POSES}, split screen"

HAIR_COLOUR, HAIR_LENGTH, EYE_COLOUR, SKIN, BACKGROUND = (
    "hair colour", "hair length", "eye colour", "skin", "background colour",
)  # fmt: skip

QUESTIONS = (
    Question(
        HAIR_COLOUR,
        {
            SEVERAL: "colored tips, roots (hair), highlights, hair highlights, multiple hair colors, dyed tips, "
            "different colored hair, multi-hued hair, half and half hair, colored streaks, dip dye",
            "none": "shaved head",
        },
        {"none": "bald"},
        per_person=True,
    ),
    Question(
        HAIR_LENGTH,
        {
            "very short": "buzz cut, crew cut, pixie cut, shaved head, undercut",
            "short": "bob cut, bob hair, bob, pixie cut, bowl cut, hime bob, chin-length bob, undercut",
            "medium": "bob cut, bob hair, bob, lob, lob haircut",
        },
        {
            "none": "bald",
            "very short": "buzz cut, crew cut, pixie cut, pixie haircut, pixie hair, shaved head",
            "short": "bob cut, bob haircut, bob hair, pixie cut, pixie haircut, pixie hair, bowl cut, short bob",
            "medium": "bob cut, bob haircut, bob hair",
        },
        "short hair with long locks, asymmetrical hair, uneven hair, variations, before and after, long bob",
        per_person=True,
    ),
    Question(
        EYE_COLOUR,
        {SEVERAL: "heterochromia, mismatched eyes, odd eyes, different colored eyes, sectoral heterochromia"},
        {SEVERAL: "heterochromia, heterochromatic"},
        per_person=True,
    ),
    Question(SKIN, lifted_by="multicolored skin", per_person=True),
    Question(
        "bust",
        {
            "flat": "flat chest",
            "small": "small breasts",
            "medium": "medium breasts",
            "large": "large breasts, big breasts",
            "huge": "huge breasts, gigantic breasts",
        },
        lifted_by="breast expansion, variations, before and after",
        per_person=True,
    ),
    Question(
        "mouth",
        {
            "open": "open mouth, wide open mouth, parted lips, mouth open, slightly open mouth, slightly parted lips",
            "closed": "closed mouth, sealed lips, mouth closed, closed lips, pursed lips",
        },
        {"open": "open mouth, mouth open, parted lips", "closed": "closed mouth, mouth closed"},
        _POSES,
        per_person=True,
    ),
    Question(
        "eyelids",
        {"closed": "closed eyes, eyes closed, sleeping", "open": "wide-eyed, wide eyes, eyes open, open eyes"},
        {"closed": "closed eyes, eyes closed", "open": "eyes open, open eyes, wide eyes"},
        _POSES,
        per_person=True,
    ),
    Question(
        "posture",
        {
            "standing": "standing, standing on one leg, tiptoes, stand",
            "sitting": "sitting, wariza, seiza, indian style, reclining, seated, sitting down, crossed legs sitting",
            "lying": "lying, on back, on stomach, on side, reclining, lying down, laying down",
            "kneeling": "kneeling, wariza, seiza, on one knee",
            "squatting": "squatting, crouching",
        },
        {
            "standing": "standing on, standing in, standing at, standing by, standing near, standing under, "
            "standing before, standing beside, standing behind, standing next, standing alone, standing still, "
            "stands on, stands in, stands at, stands by, stands near, stands under, stands before, stands beside",
            "sitting": "sitting on, sitting in, sitting at, sitting by, sitting near, sitting under, sitting beside, "
            "sitting next, sitting alone, sitting down, seated on, seated at, seated in, sits on, sits in, sits at, "
            "sits by, sits near, sits under, sits beside, sits down, sits next, sitting with, sitting cross",
            "lying": "lying on, lying in, lying down, lies on, lies in, lies down, laying on, laying down, laying in",
            "kneeling": "kneeling on, kneeling in, kneeling before, kneeling down, kneels on, kneels in, kneels down",
            "squatting": "squatting on, squatting down, crouching on, crouching in, crouching down",
        },
        _POSES,
        per_person=True,
    ),
    Question("lying on", {"back": "on back", "stomach": "on stomach"}, lifted_by=_POSES, per_person=True),
    Question(
        "framing",
        {
            "portrait": "portrait, feet out of frame, headshot, head shot, close-up portrait, face portrait, close up",
            "upper": "upper body, feet out of frame, bust shot, half body, half-body, bust portrait, upper-body, "
            "waist up, waist-up",
            "cowboy": "cowboy shot, feet out of frame",
            "lower": "lower body",
            "full": "full body, full body shot, fullbody, full-body, full body view, full body portrait, "
            "full length portrait, full-length",
        },
        {
            "full": "full body shot, full body portrait, full body view, full length portrait, full body photo, "
            "full body of, full body, full length photo, head to toe",
            "upper": "upper body shot, upper body portrait, waist up, bust shot, half body shot, half body portrait, "
            "upper body",
            "cowboy": "cowboy shot",
            "portrait": "head shot, headshot of",
        },
        f"{_POSES}, inset, projected inset, zoom layer",
        per_person=True,
    ),
    Question(
        "camera height",
        {
            "above": "from above, view from above, high angle, high angle shot, high-angle shot, aerial view, "
            "bird's-eye view, bird's eye view, birds eye view, top view, top down, top-down view, overhead view, "
            "overhead shot, from overhead, drone view",
            "below": "from below, view from below, low angle, low angle shot, low-angle shot, worm's-eye view, "
            "worm's eye view",
        },
        {
            "above": "seen from above, viewed from above, shot from above, view from above, high angle shot, "
            "high angle view, aerial view, bird's eye view, birds eye view, overhead view, overhead shot",
            "below": "seen from below, viewed from below, shot from below, view from below, low angle shot, "
            "low angle view, worm's eye view",
        },
        _POSES,
    ),
    Question(
        "time of day",
        {
            "dawn": "dawn, sunrise, twilight, early morning, morning, daybreak, golden hour",
            "day": "day, daytime, day time, noon, midday, daylight, broad daylight, morning, afternoon, sunny day, "
            "early morning, late afternoon",
            "dusk": "dusk, sunset, evening, twilight, late afternoon, golden hour, sundown, nightfall",
            "night": "night, nighttime, night time, midnight, evening, night sky, at night, starry night, "
            "starry sky, starry night sky, moonlit night, nightfall, dark night, city at night, "
            "late night, nightscape, night city",
        },
        {
            "dawn": "at dawn, at sunrise, at daybreak, sunrise over, at twilight",
            "day": "at noon, at midday, during the day, in the daytime, in broad daylight, sunny day, rainy day, "
            "in the morning, in the afternoon, cloudy day, bright day, summer day, snowy day, winter day, "
            "sunny afternoon, sunny morning",
            "dusk": "at dusk, at sunset, in the evening, at twilight, sunset over, at sundown, sunset sky",
            "night": "at night, in the night, by night, during the night, at midnight, night sky, starry night, "
            "starry sky, in the evening, moonlit night, dark night, night scene, night time, night view, rainy night, "
            "summer night, winter night, snowy night",
        },
        f"{_PARTED}, day and night, time lapse",
    ),
    Question(
        "place",
        {
            "indoors": "indoors, indoor, inside, interior, bedroom, bathroom, kitchen, living room, classroom, "
            "library, "
            "office, hallway, corridor, attic, basement, indoor scene, in a room, in room, inside a room",
            "outdoors": "outdoors, outdoor, outside, beach, forest, street, alley, meadow, field, desert, "
            "jungle, in a forest, in the forest, on the beach, in the street, on the street, outdoor scene, "
            "open field, flower field, in the woods, woods, in the snow, snowfield, savannah",
        },
        {
            "indoors": "in a bedroom, in her bedroom, in his bedroom, in the bedroom, in a kitchen, in the kitchen, "
            "in a bathroom, in the bathroom, in a classroom, in the classroom, in a library, in the library, "
            "in an office, in the office, in a living room, in the living room, indoor scene, inside a room, "
            "inside a house, inside a cafe, in her room, in his room, in a cafe, in a room, in a dark room",
            "outdoors": "in a forest, in the forest, in a dark forest, on a beach, on the beach, at the beach, in a "
            "field, "
            "in the street, on a street, on the street, in the woods, in a meadow, in the meadow, in the desert, "
            "in a desert, in the mountains, on a mountain, in the jungle, in a jungle, in a field of, in the snow, "
            "in an alley, in the field",
        },
        _PARTED,
    ),
    Question(
        "season",
        {
            "spring": "spring, spring (season), springtime, in spring, cherry blossom season",
            "summer": "summer, summertime, in summer, summer day, summer night",
            "autumn": "autumn, fall (season), in autumn, autumn leaves, autumn forest, autumnal",
            "winter": "winter, wintertime, in winter, winter day, winter night",
        },
        {
            "spring": "in spring, in the spring, spring morning, spring day, springtime",
            "summer": "in summer, in the summer, summer day, summer night, summer morning, summer afternoon, "
            "summertime",
            "autumn": "in autumn, in the autumn, autumn day, autumn evening, autumn forest, autumn morning",
            "winter": "in winter, in the winter, winter day, winter night, winter morning, winter forest, wintertime, "
            "winter landscape",
        },
        f"{_PARTED}, four seasons",
    ),
    Question(
        BACKGROUND,
        {SEVERAL: "gradient background, checkered background, striped background"},
        lifted_by=f"{_POSES}, split screen, split theme",
    ),
)

# Colour words and the answers each allows; `ash blonde` and the like are in COLOUR_PAIRS.
COLOURS: dict[str, frozenset[str]] = {
    word: frozenset(answers.split())
    for answers, words in (
        ("black", "black ebony raven onyx obsidian jet noir"),
        ("blue", "blue sapphire cobalt cerulean navy"),
        ("blue aqua", "azure cyan"),
        ("aqua", "aqua teal turquoise aquamarine"),
        ("brown", "brown brunette chestnut chocolate mahogany caramel"),
        ("brown red", "auburn"),
        ("brown green", "hazel"),
        ("green", "green emerald jade olive"),
        ("green aqua", "mint"),
        ("grey", "grey gray silver silvery"),
        ("orange", "orange tangerine"),
        ("orange yellow", "amber"),
        ("orange red", "ginger copper redhead"),
        ("pink", "pink rosy salmon"),
        ("pink purple", "magenta fuchsia"),
        ("purple", "purple violet lavender lilac amethyst"),
        ("purple blue", "indigo"),
        ("red", "red crimson scarlet ruby maroon burgundy vermilion"),
        ("white", "white snowy ivory"),
        ("yellow", "yellow blonde blond gold golden flaxen"),
        ("yellow white grey", "platinum"),
        ("beige", "beige"),
        ("transparent", "transparent"),
    )
    for word in words.split()
}
COLOUR_PAIRS: dict[tuple[str, str], frozenset[str]] = {
    ("light", "blue"): frozenset(("blue", "aqua")),
    ("pale", "blue"): frozenset(("blue", "aqua")),
    ("sky", "blue"): frozenset(("blue", "aqua")),
    ("ice", "blue"): frozenset(("blue", "aqua")),
    ("baby", "blue"): frozenset(("blue", "aqua")),
    ("sea", "green"): frozenset(("green", "aqua")),
    ("strawberry", "blonde"): frozenset(("orange", "pink", "yellow")),
    ("strawberry", "blond"): frozenset(("orange", "pink", "yellow")),
    ("platinum", "blonde"): frozenset(("yellow",)),
    ("platinum", "blond"): frozenset(("yellow",)),
    ("dirty", "blonde"): frozenset(("yellow", "brown")),
    ("dirty", "blond"): frozenset(("yellow", "brown")),
    ("dark", "blonde"): frozenset(("yellow", "brown")),
    ("rose", "gold"): frozenset(("pink", "yellow")),
}
# Nouns that go with the colour behind them: `wine red`, `snow white`.
SHADES = frozenset(
    "sky wine rose snow jet ice honey blood sea ash cherry ocean baby neon lime ruby emerald midnight navy royal "
    "electric forest ink coal fire flame sand strawberry platinum dirty milk pearl moss steel salt charcoal".split()
)
# Words that say more than one colour, in front of the noun: `two-tone hair`, `multi-colored hair`.
MIXED = frozenset(
    "multicolored multicoloured multicolor multicolour twotone gradient streaked rainbow ombre iridescent splitcolor "
    "highlighted mismatched different odd heterochromatic colorful colourful prismatic".split()
)
MIXED_PAIRS = frozenset({
    ("two", "tone"), ("multi", "colored"), ("multi", "coloured"), ("multi", "color"), ("split", "color"),
    ("split", "colored"), ("colored", "inner"), ("coloured", "inner"), ("half", "half"), ("two", "toned"),
    ("two", "colored"), ("three", "tone"), ("dual", "colored"), ("tri", "color"), ("bi", "color"), ("dip", "dyed"),
    ("two", "color"), ("different", "colored"), ("inner", "colored"),
})  # fmt: skip
# Behind a colour in a hair colour's place: `blue streaks`, `pink tips`, `white highlights`.
STREAKS = frozenset("streak streaks highlight highlights tips roots underlights".split())

# What a length word or pair in front of `hair` allows.
LENGTHS: dict[str, frozenset[str]] = {
    "short": frozenset(("very short", "short")),
    "cropped": frozenset(("very short", "short")),
    "medium": frozenset(("medium",)),
    "mid": frozenset(("medium",)),
    "long": frozenset(("long", "very long", "absurdly long")),
    "longhaired": frozenset(("long", "very long", "absurdly long")),
    "floorlength": frozenset(("very long", "absurdly long")),
    "lengthy": frozenset(("long", "very long", "absurdly long")),
}
LENGTH_PAIRS: dict[tuple[str, str], frozenset[str]] = {
    ("very", "short"): frozenset(("very short",)),
    ("extremely", "short"): frozenset(("very short",)),
    ("very", "long"): frozenset(("very long", "absurdly long")),
    ("super", "long"): frozenset(("very long", "absurdly long")),
    ("extremely", "long"): frozenset(("very long", "absurdly long")),
    ("really", "long"): frozenset(("very long", "absurdly long")),
    ("absurdly", "long"): frozenset(("absurdly long",)),
    ("medium", "long"): frozenset(("medium", "long")),
    ("medium", "short"): frozenset(("medium", "short")),
    ("semi", "long"): frozenset(("medium", "long")),
    ("shoulder", "length"): frozenset(("medium",)),
    ("neck", "length"): frozenset(("short", "medium")),
    ("chin", "length"): frozenset(("short",)),
    ("ear", "length"): frozenset(("short",)),
    ("jaw", "length"): frozenset(("short",)),
    ("medium", "length"): frozenset(("medium",)),
    ("mid", "length"): frozenset(("medium",)),
    ("back", "length"): frozenset(("long",)),
    ("chest", "length"): frozenset(("long",)),
    ("waist", "length"): frozenset(("long", "very long")),
    ("hip", "length"): frozenset(("long", "very long")),
    ("thigh", "length"): frozenset(("very long", "absurdly long")),
    ("knee", "length"): frozenset(("very long", "absurdly long")),
    ("ankle", "length"): frozenset(("very long", "absurdly long")),
    ("floor", "length"): frozenset(("very long", "absurdly long")),
}
_SKIN_COLOURS = ("blue", "green", "red", "purple", "pink", "grey", "orange", "yellow")
SKINS: dict[str, frozenset[str]] = {
    "pale": frozenset(("pale",)), "fair": frozenset(("pale",)), "white": frozenset(("pale",)),
    "light": frozenset(("pale",)), "porcelain": frozenset(("pale",)), "dark": frozenset(("dark",)),
    "black": frozenset(("dark",)), "brown": frozenset(("dark", "tan")), "ebony": frozenset(("dark",)),
    "tan": frozenset(("dark", "tan")), "tanned": frozenset(("dark", "tan")), "olive": frozenset(("tan",)),
    "bronze": frozenset(("dark", "tan")),
} | {colour: frozenset((colour,)) for colour in _SKIN_COLOURS}  # fmt: skip
