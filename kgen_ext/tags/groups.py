"""Groups of tags by what they say of a picture: hair, eyes, clothing, background, pose, and five more.

A tag is in every group that one of these gives it:

* the table `data/groups.bin`, which holds the tags of danbooru-tag-groups (`data/NOTICE.md`);
* its head word, the last before a preposition: `flowing silver hair` is hair, `hair ribbon` an accessory, `hat on
  head` clothing; in brackets a word may name the group (`roots (hair)`);
* a word that says so wherever it is: `blue-eyed girl`, `holding umbrella`, `hand on own hip`.

Running text has no tags; there every word of a group counts (`search_group`).

The table, little endian, written by `tools.tag_lists.build_groups`: 8 bytes b"KGENGRP1", u32 number of tags, u32 salt,
then a u64 for each tag, sorted: its hash (as in `names`), then 16 bits of which the lowest ten tell the groups.
"""
from __future__ import annotations

import os
import re
import struct
from bisect import bisect_left
from collections.abc import Iterator
from enum import Enum
from functools import lru_cache

from kgen_ext.errors import Failure
from kgen_ext.once import once
from kgen_ext.tags.names import PATH as NAMES_PATH
from kgen_ext.tags.names import hasher, key_of

MAGIC = b"KGENGRP1"
HEADER = struct.Struct("<8sII")
MASK_BITS = 16
PATH = os.path.join(os.path.dirname(NAMES_PATH), "groups.bin")
_HINT = "reinstall the extension"


class Group(str, Enum):
    """The groups; the order is that of the bits in the table."""

    HAIR = "hair"
    EYES = "eyes"
    CLOTHING = "clothing"
    BACKGROUND = "background"
    POSE = "pose"
    EXPRESSION = "expression"
    BODY = "body"
    ACCESSORY = "accessory"
    CREATURE = "creature"
    CAMERA = "camera"


_NONE: frozenset[Group] = frozenset()
# Other words for a group, as people may write them behind `category:`.
SYNONYMS = {group.value: group for group in Group} | {
    "hairs": Group.HAIR, "hairstyle": Group.HAIR, "hairstyles": Group.HAIR, "haircut": Group.HAIR,
    "eye": Group.EYES,
    "clothes": Group.CLOTHING, "clothing": Group.CLOTHING, "cloth": Group.CLOTHING, "outfit": Group.CLOTHING,
    "outfits": Group.CLOTHING, "attire": Group.CLOTHING, "costume": Group.CLOTHING, "costumes": Group.CLOTHING,
    "garment": Group.CLOTHING, "garments": Group.CLOTHING, "dress": Group.CLOTHING,
    "backgrounds": Group.BACKGROUND, "scenery": Group.BACKGROUND, "place": Group.BACKGROUND,
    "places": Group.BACKGROUND, "location": Group.BACKGROUND, "locations": Group.BACKGROUND,
    "setting": Group.BACKGROUND, "environment": Group.BACKGROUND,
    "poses": Group.POSE, "posture": Group.POSE, "postures": Group.POSE, "action": Group.POSE, "actions": Group.POSE,
    "gesture": Group.POSE, "gestures": Group.POSE,
    "expressions": Group.EXPRESSION, "emotion": Group.EXPRESSION, "emotions": Group.EXPRESSION,
    "face": Group.EXPRESSION, "mood": Group.EXPRESSION,
    "bodies": Group.BODY, "anatomy": Group.BODY, "figure": Group.BODY,
    "accessories": Group.ACCESSORY, "jewelry": Group.ACCESSORY, "jewellery": Group.ACCESSORY,
    "ornament": Group.ACCESSORY, "ornaments": Group.ACCESSORY,
    "creatures": Group.CREATURE, "animal": Group.CREATURE, "animals": Group.CREATURE, "monster": Group.CREATURE,
    "monsters": Group.CREATURE,
    "cameras": Group.CAMERA, "framing": Group.CAMERA, "composition": Group.CAMERA, "angle": Group.CAMERA,
    "angles": Group.CAMERA, "perspective": Group.CAMERA, "view": Group.CAMERA, "shot": Group.CAMERA,
}  # fmt: skip

# Adjectives that are taken back with the noun behind them.
ADJECTIVES = frozenset(
    "long short medium very absurdly big large small tiny huge wide narrow thick thin light dark pale bright deep "
    "soft black blue brown green orange pink purple red blonde blond yellow golden gold silver grey gray white "
    "aqua teal cyan crimson scarlet ginger auburn chestnut violet lavender turquoise azure amber hazel emerald "
    "platinum beautiful cute pretty elegant flowing curly straight wavy messy shiny glossy silky sparkling glowing "
    "gentle warm traditional simple ornate flowery lovely little old new dirty clean tight loose".split()
)
# Head words in the singular; a word may be in several groups.
_HEADS: dict[Group, str] = {
    Group.HAIR: (
        "hair haired hairstyle haircut hairdo ponytail pigtail twintail braid braided bang bangs fringe ahoge "
        "sidelock forelock hairline updo bun chignon bob pixie mohawk afro dreadlock dreads cornrow curl curls "
        "ringlet drill drills lock locks strand strands tress tresses undercut ponytailed bald blonde blond "
        "brunette redhead redheaded beard bearded mustache moustache goatee sideburn stubble intake intakes "
        "cowlick highlights mullet pompadour topknot"
    ),
    Group.EYES: (
        "eye eyed iris irises pupil sclera heterochromia eyelash eyelashes lash eyelid eyebrow brow gaze eyeball "
        "tsurime tareme sanpaku jitome"
    ),
    Group.CLOTHING: (
        "dress sundress gown nightgown shirt undershirt blouse top tshirt tee sweater sweatshirt hoodie cardigan "
        "vest waistcoat jacket coat overcoat raincoat trenchcoat blazer parka windbreaker suit tuxedo uniform "
        "serafuku gakuran kimono yukata hakama haori hanfu hanbok cheongsam qipao robe bathrobe cloak cape capelet "
        "poncho shawl skirt miniskirt pants pant trousers jeans jean leggings legging shorts bloomers overalls "
        "overall jumpsuit bodysuit leotard swimsuit swimwear bikini underwear undergarment lingerie bra panties "
        "panty boxers briefs sock stocking thighhigh kneehigh pantyhose tights tight legwear garter shoe boot "
        "sandal slipper sneaker heel heels loafer footwear geta zouri clothes clothing clothed outfit attire "
        "garment costume cosplay apron armor armour breastplate gauntlet pauldron greave chainmail sleeve sleeved "
        "sleeveless collar lapel hood hooded hat cap beanie beret helmet headwear headgear bonnet hijab turban "
        "veil glove mitten mitt scarf necktie tie bowtie neckerchief neckwear ascot corset bustier camisole tunic "
        "sash obi kilt sarong pajamas pyjamas pajama sleepwear nightwear sportswear buttons zipper frill ruffle "
        "neckline hem cutout pocket dressed wardrobe buruma plugsuit wetsuit exoskeleton fabric cuffs turtleneck "
        "jersey gi dougi tabard surcoat doublet jerkin petticoat crinoline pinafore romper onesie kigurumi "
        "headdress sweatpants tracksuit trunks halterneck strap strapless nude naked topless barefoot shirtless"
    ),
    Group.BACKGROUND: (
        "background backdrop scenery scene landscape cityscape skyline seascape horizon indoors outdoors indoor "
        "outdoor room bedroom bathroom kitchen classroom office library hallway corridor balcony rooftop window "
        "wall floor ceiling house building tower castle palace temple shrine torii church cathedral ruins street "
        "road alley sidewalk path city town village cafe restaurant shop store market school station park garden "
        "playground pool bridge forest woods jungle tree bush grass meadow field hill mountain cliff valley canyon "
        "desert beach shore coast sea ocean lake river waterfall pond stream island cave sky cloud sun sunlight "
        "moonlight moon star night day daytime nighttime dusk dawn sunset sunrise twilight evening morning "
        "afternoon noon midnight rain snow fog mist storm lightning rainbow aurora space planet galaxy nebula "
        "universe dungeon laboratory stage stadium theater museum hospital prison farm barn countryside wilderness "
        "onsen underwater snowing raining spring summer autumn winter weather environment setting courtyard "
        "terrace porch harbor dock pier lighthouse fountain bench fence lamppost streetlight crowd arcade aquarium "
        "swamp lagoon oasis volcano glacier arena battlefield graveyard cemetery vineyard orchard greenhouse bed "
        "sheet pillow chair table couch sofa desk curtain bookshelf furniture"
    ),
    Group.POSE: (
        "pose posing posture standing sitting seated lying kneeling squatting crouching reclining leaning bending "
        "stretching walking running jumping flying floating falling dancing swimming riding climbing crawling "
        "sleeping fighting holding carrying hugging hug pointing waving saluting salute reaching raising looking "
        "facing spreading crossing wariza seiza tiptoes handstand contrapposto headstand gesture akimbo adjusting "
        "eating drinking reading writing singing playing cooking praying clapping touching grabbing pulling "
        "pushing lifting throwing kicking punching hiding resting stepping balancing perched kneels sits stands "
        "lies walks runs leans crouches kneel sit stand walk lean jump hold holds looks tilt selfie stance midair "
        "grab pull lift leaned slouching straddling bathing shopping driving cleaning drawing painting aiming "
        "swinging wielding undressing dressing brushing licking biting kissing kiss handshake piggyback carry"
    ),
    Group.EXPRESSION: (
        "expression smile smiling smiled grin grinning smirk smug laugh laughing frown frowning scowl pout pouting "
        "blush blushing crying tears tear angry anger annoyed sad sadness happy happiness joyful surprised shocked "
        "scared fear afraid worried nervous embarrassed shy serious expressionless emotionless bored sleepy tired "
        "confused determined disgust disgusted wince wink winking glare glaring stare staring smiles grins laughs "
        "yawn yawning sigh sobbing melancholy gloomy cheerful excited drooling flustered jealous lonely proud calm "
        "unamused upset drunk blushes frowns cries happily sadly tsundere yandere sweatdrop trembling scream "
        "screaming shouting emotion mouth"
    ),
    Group.BODY: (
        "body skin skinned breast chest bust bosom cleavage midriff navel stomach belly abs waist hip thigh leg "
        "knee calf foot toe arm elbow hand finger nail fingernail toenail shoulder armpit collarbone neck nape "
        "back face cheek chin jaw forehead nose lip lips teeth tooth fang tongue ear ears eared tail tailed wing "
        "winged horn horned halo feather claw paw hoof scales muscle muscular toned abdomen torso pectoral "
        "pectorals physique build slim slender thin petite curvy chubby plump fat tall skinny freckle mole scar "
        "tattoo tan tanline tanned pale wrinkle birthmark antlers fins fur tanlines height ribs spine wound bruise "
        "injury gill tentacle buttock ass crotch groin nipple areola penis testicle"
    ),
    Group.ACCESSORY: (
        "accessory jewelry jewellery necklace choker pendant locket earring bracelet bangle ring anklet brooch pin "
        "hairpin hairclip hairband headband ribbon bow bowtie ornament tiara crown circlet diadem headpiece "
        "headdress headset headphone headphones earphones earbuds glasses sunglasses eyewear goggles monocle "
        "eyepatch mask blindfold bandage bandaid piercing wristband wristwatch watch armband armlet belt buckle "
        "chain pouch bag handbag backpack purse satchel briefcase umbrella parasol fan badge medal medallion "
        "amulet charm tassel bell scrunchie barrette bead beads gem gemstone jewel pearl scarf glove hat beret cap "
        "headwear collar leash veil cane wreath lanyard cuff handcuffs hairflower corsage emblem kanzashi makeup "
        "lipstick eyeshadow eyeliner sheath scabbard holster garland bandana bandanna keychain randoseru bouquet"
    ),
    Group.CREATURE: (
        "creature animal beast monster cat kitten dog puppy wolf fox rabbit bunny bird crow raven owl eagle hawk "
        "falcon dove pigeon sparrow parrot penguin duck swan goose chicken rooster chick horse pony unicorn "
        "pegasus cow bull ox sheep lamb goat pig boar deer fawn stag bear panda lion tiger leopard cheetah panther "
        "jaguar elephant giraffe zebra monkey ape gorilla mouse rat hamster squirrel hedgehog raccoon otter beaver "
        "seal walrus whale dolphin shark fish goldfish koi octopus squid jellyfish crab lobster shrimp starfish "
        "turtle tortoise snake lizard crocodile alligator frog toad salamander dinosaur dragon wyvern phoenix "
        "griffin gryphon hydra slime ghost spirit yokai youkai demon devil angel fairy goblin orc troll ogre golem "
        "zombie skeleton vampire werewolf kraken spider scorpion insect bug beetle ladybug butterfly moth bee wasp "
        "ant dragonfly firefly caterpillar snail worm bat flamingo peacock seagull kangaroo koala camel llama "
        "alpaca donkey weasel ferret mammoth lynx hyena coyote jackal pet livestock poultry seahorse stingray "
        "corgi shiba husky retriever poodle kitsune tanuki pokemon familiar mascot centaur mermaid chimera "
        "basilisk"
    ),
    Group.CAMERA: (
        "shot closeup portrait view angle perspective pov focus foreshortening fisheye framing framed composition "
        "depth blur blurry bokeh lens zoom panorama selfie cropped profile headshot viewpoint isometric symmetry "
        "vignette vignetting letterboxed border camera"
    ),
}
# Phrases that are read as a whole, as their head alone would tell less, or something else. Where a word of them is in
# a group that the phrase is not in, the phrase decides.
_PHRASES: dict[str, tuple[Group, ...]] = {
    phrase.strip(): groups
    for groups, phrases in (
        ((Group.HAIR, Group.EYES), "hair over one eye, hair over eyes, hair between eyes, eyes visible through hair, "
         "eyebrows visible through hair, hair over eye"),
        ((Group.HAIR,), "buzz cut, crew cut, bob cut, hime cut, pixie cut, bowl cut, bed head, double bun, "
         "two side up, one side up, half updo, hair bun, hair buns, hair intakes, hair flaps, hair rings, hair down, "
         "hair up, "
         "hair tied back, hair slicked back"),
        ((Group.EYES, Group.EXPRESSION), "closed eyes, eyes closed, half closed eyes, half closed eye, one eye closed, "
         "narrowed eyes, empty eyes, rolling eyes, crazy eyes, wide eyed, raised eyebrow, raised eyebrows, "
         "tearful eyes, teary eyes"),
        ((Group.EXPRESSION,), "open mouth, closed mouth, wide open mouth, parted lips, tongue out, pursed lips, "
         "clenched teeth, furrowed brow, nose blush, light smile, evil smile, shaded face, red face"),
        ((Group.POSE,), "peace sign, head tilt, all fours, on back, on stomach, on side, bent over, arched back, "
         "arms up, arm up, legs up, leg up, hand up, hands up, knees up, feet up, head down, looking back, back to "
         "back, "
         "princess carry, indian style, thumbs up, upside down, arms at sides, cross legged, head rest"),
        ((Group.CAMERA,), "from above, from below, from behind, from side, from the side, from outside, full body, "
         "upper body, lower body, half body, close up, out of frame, straight on, multiple views, dutch angle, "
         "depth of field, motion blur, lens flare, chromatic aberration, fish eye, bird's eye view, worm's eye view, "
         "birds eye view, vanishing point, cowboy shot, bust shot, face focus, low angle, high angle, split screen"),
        ((Group.BACKGROUND,), "in the snow, in the rain, at night, night sky, starry sky"),
        ((Group.ACCESSORY,), "nail polish, band aid, eye patch, head wreath, head scarf"),
        ((Group.CLOTHING,), "playboy bunny, t shirt, off shoulder, one piece, short shorts, no shoes"),
    )
    for phrase in phrases.split(",")
}
# Limbs make a pose where they are put somewhere: `hand on own hip`, `arms up`, `crossed legs`.
_LIMBS = frozenset(("arm", "hand", "leg", "knee", "foot", "finger", "fist", "palm", "elbow", "chin", "head"))
_PUT = frozenset(
    "up down on in at behind over between against under around to through crossed raised outstretched spread clasped "
    "interlocked together apart folded bent lifted extended stretched".split()
)
_LIMBED = frozenset((Group.BODY, Group.POSE))
# Behind a noun these say how it is: `hood up`, `skirt set`, `eyes covered`.
_TRAILING = frozenset("up down raised covered closed open out together apart set back tied loose color colour".split())
# Words that tell a group wherever they are in a tag: `blue-eyed girl`, `long-haired man`, `wearing`, `clothed`.
_ANYWHERE = frozenset(("haired", "eyed", "skinned", "bearded", "ponytailed", "hooded", "sleeved"))
# Behind these a noun phrase is over, so that the word before them is its head: `hat on head`.
PREPOSITIONS = frozenset(
    "of in on over under between behind with without at from through around to for by against above below inside "
    "outside near beside across along among beneath into onto as while visible".split()
)
# `bow (weapon)` is none that is worn.
_ELSEWHERE = frozenset("weapon food object instrument flower game symbol series company module fruit vehicle".split())
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_IRREGULAR = {
    "feet": "foot", "teeth": "tooth", "wolves": "wolf", "mice": "mouse", "geese": "goose", "scarves": "scarf",
    "calves": "calf", "leaves": "leaf", "oxen": "ox", "hooves": "hoof", "irises": "iris", "bodies": "body",
    "lenses": "lens", "men": "man", "women": "woman", "children": "child", "lens": "lens", "abs": "abs",
    "glasses": "glasses", "sunglasses": "sunglasses", "hairs": "hair", "clothes": "clothes",
}  # fmt: skip


def words_of(text: str) -> list[str]:
    """Return the words of a text in small letters; hyphens and underscores divide words."""
    return _WORD.findall(text.lower().replace("’", "'"))


def singular(word: str) -> str:
    """Return a noun in the singular, as far as its ending tells.

    >>> [singular(word) for word in ("ribbons", "bodies", "watches", "feet", "dress", "shorts")]
    ['ribbon', 'body', 'watch', 'foot', 'dress', 'short']
    """
    if (known := _IRREGULAR.get(word)) is not None:
        return known
    if len(word) < 4 or word[-1] != "s" or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("ches", "shes", "xes", "sses")) else word[:-1]


def word_groups(word: str) -> frozenset[Group]:
    """Return the groups of a head word, in the singular or the plural.

    >>> sorted(word_groups("ribbons")), sorted(word_groups("quality"))
    ([<Group.ACCESSORY: 'accessory'>], [])
    """
    words = _words()
    return words.get(word) or words.get(singular(word), _NONE)


@lru_cache(maxsize=4096)
def groups_of(name: str) -> frozenset[Group]:
    """Return the groups of a tag's comparison form.

    >>> [sorted(group.value for group in groups_of(name)) for name in ("flowing silver hair", "hair ribbon", "quality")]
    [['hair'], ['accessory'], []]
    """
    own, opening, qualifier = name.rpartition(" (")
    if not opening or not name.endswith(")"):
        own, qualifier = name, ""
    elif (named := SYNONYMS.get(qualifier[:-1])) is not None:
        return load_groups().find(key_of(name)) | {named}
    found = load_groups().find(key_of(name))
    return found if qualifier[:-1] in _ELSEWHERE and qualifier else found | _read(words_of(own))


def search_group(text: str, group: Group) -> tuple[int, int] | None:
    """Return the span of the first words of running text that are of a group, the adjectives before them included.

    >>> search_group("She has long blonde hair.", Group.HAIR), search_group("She smiles.", Group.HAIR)
    ((8, 24), None)
    """
    spans = [(found.start(), found.end(), found[0].lower().replace("’", "'")) for found in _WORD.finditer(text)]
    words = [word for _, _, word in spans]
    for at, word in enumerate(words):
        size = _size_of_hit(words, at, word, group)
        if size:
            first = at
            while first and words[first - 1] in ADJECTIVES:
                if text[spans[first - 1][1] : spans[first][0]].strip(" -_\n"):
                    break
                first -= 1
            last = at + size - 1
            while last + 1 < len(words) and group in word_groups(words[last + 1]):
                last += 1  # `blonde hair`
            return spans[first][0], spans[last][1]
    return None


def _size_of_hit(words: list[str], at: int, word: str, group: Group) -> int:
    """Return how many words from `at` on are of the group: a phrase's, one, or none."""
    for size, phrase_groups in _phrase_at(words, at):
        if group in phrase_groups:
            return size
    return 1 if group in word_groups(word) else 0


def _phrase_at(words: list[str], at: int) -> Iterator[tuple[int, tuple[Group, ...]]]:
    for size in _phrase_sizes().get(words[at], ()):
        if at + size <= len(words) and (found := _PHRASES.get(" ".join(words[at : at + size]))) is not None:
            yield size, found


def _read(words: list[str]) -> frozenset[Group]:
    """Return the groups that a tag's words tell."""
    if (phrase := _PHRASES.get(" ".join(words))) is not None:
        return frozenset(phrase)
    if words and words[0] in ("no", "without"):
        words = words[1:]
    if not words:
        return _NONE
    if words[:2] == ["see", "through"]:
        words = words[2:] or words
    end = next((at for at, word in enumerate(words) if at and word in PREPOSITIONS), len(words))
    while end > 1 and words[end - 1] in _TRAILING:
        end -= 1
    head = words[end - 1] if end > 1 or words[0] not in PREPOSITIONS else words[-1]
    groups = set(word_groups(head))
    for at in range(len(words)):
        for size, found in _phrase_at(words, at):
            if at + size == len(words) or at == 0:
                groups = {*found} if at + size == len(words) else groups | {*found}
    if any(singular(word) in _LIMBS for word in words[:end]) and not _PUT.isdisjoint(words) and not groups - _LIMBED:
        groups = {Group.POSE}
    if Group.POSE in word_groups(words[0]) and len(words) > 1:
        groups = {Group.POSE} | (groups - {Group.BODY})  # `holding umbrella`, but `covering mouth`
    for word in words:
        if word in _ANYWHERE:
            groups |= word_groups(word)
    return frozenset(groups)


@once
def _words() -> dict[str, frozenset[Group]]:
    words = dict[str, set[Group]]()
    for group, heads in _HEADS.items():
        for word in heads.split():
            words.setdefault(word, set()).add(group)
    return {word: frozenset(groups) for word, groups in words.items()}


@once
def _phrase_sizes() -> dict[str, tuple[int, ...]]:
    """Return first word -> the sizes of its phrases, the longest first."""
    sizes = dict[str, set[int]]()
    for phrase in _PHRASES:
        first, *rest = words_of(phrase)
        sizes.setdefault(first, set()).add(len(rest) + 1)
    return {first: tuple(sorted(found, reverse=True)) for first, found in sizes.items()}


class GroupTable:
    """An open table; safe for several threads, since it never changes."""

    __slots__ = ("_entries", "_hash", "count")

    def __init__(self, path: str) -> None:
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError as error:
            raise Failure(f"{path}: the groups of tags cannot be read: {error}", hint=_HINT) from error
        magic, self.count, salt = HEADER.unpack_from(data) if len(data) >= HEADER.size else (b"", 0, 0)
        if magic != MAGIC or len(data) != HEADER.size + 8 * self.count:
            raise Failure(f"{path}: no table of groups, or cut short", hint=_HINT)
        self._entries, self._hash = struct.unpack_from(f"<{self.count}Q", data, HEADER.size), hasher(salt)

    def find(self, key: str) -> frozenset[Group]:
        """Return the groups of a key (`names.key_of`), none when it is not in the table."""
        hashed = self._hash(key)
        at = bisect_left(self._entries, hashed << MASK_BITS)
        if at < self.count and self._entries[at] >> MASK_BITS == hashed:
            return _of_mask(self._entries[at] & ((1 << MASK_BITS) - 1))
        return _NONE


@lru_cache(maxsize=1 << 10)
def _of_mask(mask: int) -> frozenset[Group]:
    return frozenset(group for bit, group in enumerate(Group) if mask >> bit & 1)


@once
def load_groups() -> GroupTable:
    """Read the shipped table, once per process."""
    return GroupTable(PATH)
