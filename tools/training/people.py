"""People in a scene: draws of people counts, the tags that each count forbids, and counts read off a caption."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tools.training.pairs import PairModel
from tools.training.tagforms import is_people_tag

# (people tags, share); shares follow the counts of prompt_tags.csv, with more scenes without people.
_COMPANIES: tuple[tuple[tuple[str, ...], float], ...] = (
    (("1girl", "solo"), 0.57),
    (("1girl",), 0.015),
    (("1boy", "solo"), 0.12),
    (("1boy",), 0.005),
    (("2girls", "multiple girls"), 0.05),
    (("2girls",), 0.02),
    (("1girl", "1boy"), 0.05),
    (("multiple girls",), 0.02),
    (("3girls", "multiple girls"), 0.02),
    (("2boys", "multiple boys"), 0.025),
    (("no humans",), 0.105),
)


def _words(text: str) -> str:
    return "|".join(text.split())


_FEMALE = re.compile(r"\b(?:woman|women|girls?|lady|ladies|she|her|mother|queen|princess|female|actress|witch)\b")
_MALE = re.compile(
    r"\b(?:man|men|boys?|guys?|he|his|father|king|prince|male|gentleman|actor|wizard|knight|monk|samurai"
    r"|(?:business|fisher|fire|police|sports|horse|sword|space|work|fishe)m[ae]n|grand(?:father|pa))\b"
)
_WOMEN = re.compile(r"\b(?:(?:business|police|sports)?women|girls|ladies)\b")
_MEN = re.compile(r"\b(?:(?:business|fisher|fire|police|sports|horse|sword|work)?men|boys|guys)\b")
_PERSON = re.compile(
    r"\b(?:couple(?! of)|group of|"
    + _words(
        r"persons? people players? riders? surfers? skiers? crowd family friends? someone artist team "
        r"\w*boarders? workers? soldiers? chefs? portrait face hands? pedestrians? astronauts? author "
        r"character musicians? dancers? farmers?"
    )
    + r")\b"
)
_HUMAN = re.compile(
    r"poking|piggyback|carry|carrying|tearing|annoyed|pout|eyebrows?|costume|^[:;>xo^@].?.?$|:|\b(?:"
    + _words(
        r"hair eyes? smile blush girl boy female male dress shirt skirt jacket kimono gloves? thighhighs "
        r"sleeves? uniform shoes boots footwear bangs twintails ponytail braids? hands? arms? legs? fingers? "
        r"mouth lips nails viewer pose standing sitting holding own cosplay coat pants shorts socks pantyhose "
        r"earrings jewelry choker necklace hairclip hairband ornament serafuku apron hood cape makeup bare "
        r"barefoot head body ahoge sidelocks collarbone teeth fang tongue cowboy profile solo fashion clothes "
        r"hakama armor wide-eyed expressionless frown crying tears grin looking lying kneeling hairpin tattoo "
        r"mole skin face facial neck\w* collar\w* scarf ribbon bow hat headwear cap mask glasses eyewear belt "
        r"vest sweater suit bowtie beret headphones frills zipper \w+bunny miko maid idol knight"
    )
    + r")\b"
)
_FEMININE = re.compile(
    r"\b(?:hair bow|hair ribbon|high heels|"
    + _words(
        r"dress skirt twintails female girl thighhighs lipstick miko maid frilled frills princess serafuku "
        r"eyeshadow makeup nontraditional"
    )
    + r")\b"
)
_MASCULINE = re.compile(r"\b(?:male|boy|beard|facial hair|mustache|stubble)\b")


def draw_people(rng: np.random.Generator) -> tuple[str, ...]:
    """Draw the people tags of a scene."""
    shares = np.array([share for _, share in _COMPANIES])
    return _COMPANIES[int(rng.choice(len(_COMPANIES), p=shares / shares.sum()))][0]


def mostly_alone(people: tuple[str, ...], rng: np.random.Generator) -> tuple[str, ...]:
    """Add the `solo` that posts of one person have, and that captions and hand-made lists seldom say."""
    alone = people in (("1girl",), ("1boy",)) and rng.random() < 0.85
    return (*people, "solo") if alone else people


def people_of_caption(caption: str, tags: Sequence[str]) -> tuple[str, ...]:
    """Read the people tags off a caption; `no humans` where it names nobody, nothing where it does not say who."""
    text = caption.lower()
    named = [tag for tag in tags if is_people_tag(tag) and tag not in ("no humans", "solo")]
    if "couple of" in text:  # two of anything
        named = [tag for tag in named if tag != "couple"]
    if named:
        return tuple(dict.fromkeys(named[:1]))
    kinds = ((_FEMALE, _WOMEN, "girl"), (_MALE, _MEN, "boy"))
    if found := tuple(tag for some, many, one in kinds if some.search(text) for tag in _count(text, many, one)):
        return found
    return () if _PERSON.search(text) else ("no humans",)


def _count(text: str, many: re.Pattern[str], one: str) -> tuple[str, ...]:
    several = many.search(text)
    if several is None:
        return (f"1{one}",)
    two = re.search(r"\b(?:two|couple of|pair of)(?: \w+)?$", text[: several.start()].rstrip())
    return (f"2{one}s", f"multiple {one}s")[0 if two else 1 :]


def allowed_tags(model: PairModel) -> dict[str, NDArray[np.bool_]]:
    """Return for `nobody`, `girls`, `boys` and `anyone` which of the model's tags [V] may come."""
    scenery = np.array([not is_people_tag(tag) and not _HUMAN.search(tag) for tag in model.tags])
    if "no humans" in model.index:
        lift = model.lift[model.index["no humans"]]
        scenery &= lift > 0.0
    anyone = np.array([not is_people_tag(tag) for tag in model.tags])
    return {
        "nobody": scenery,
        "girls": anyone & ~np.array([_MASCULINE.search(tag) is not None and "female" not in tag for tag in model.tags]),
        "boys": anyone & ~np.array([_FEMININE.search(tag) is not None for tag in model.tags]),
        "anyone": anyone,
    }


def company_of(people: Sequence[str]) -> str:
    """Name the key of `allowed_tags` for these people tags."""
    if "no humans" in people:
        return "nobody"
    female, male = any("girl" in tag for tag in people), any("boy" in tag for tag in people)
    return "anyone" if female == male else "girls" if female else "boys"


def is_human_tag(tag: str) -> bool:
    """Say whether a tag only makes sense with a person in the picture."""
    return _HUMAN.search(tag) is not None
