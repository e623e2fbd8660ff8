"""Words that tell what a part of a prompt is about: people, creatures, a person's details, or the surroundings.

A tag is told by its head, the last word (`black cat` is a cat, `cat ears` are ears), or by a person before a
preposition or a verb (`girl in a red coat`); a sentence by any of its words. The words are this project's own.
"""
from __future__ import annotations

import re

_PERSONS = frozenset(
    "girl boy woman women man men lady gentleman guy male female person human people child children kid baby toddler "
    "teen teenager adult elder couple twin sibling sister brother mother father mom dad daughter son grandmother "
    "grandfather wife husband bride groom princess prince queen king emperor empress knight warrior soldier samurai "
    "ninja kunoichi wizard witch mage magician sorcerer sorceress warlock priest priestess nun monk cleric paladin "
    "archer rogue thief assassin pirate viking barbarian gladiator hunter huntress maid butler nurse doctor teacher "
    "student idol singer dancer ballerina musician guitarist pianist violinist drummer painter photographer chef cook "
    "waiter waitress bartender barista farmer sailor pilot astronaut officer detective firefighter worker engineer "
    "mechanic scientist librarian merchant blacksmith athlete swimmer runner cyclist boxer wrestler surfer skater "
    "geisha shaman druid elf elves dwarf dwarves orc goblin fairy angel demon devil vampire werewolf zombie skeleton "
    "ghost mermaid centaur cyborg android goddess god deity hero heroine superhero villain clown jester bard traveler "
    "traveller adventurer wanderer actor actress tourist hiker mercenary bodyguard gunslinger sniper spy hacker gyaru "
    "tomboy kitsune oni tengu maiden miko shopkeeper gardener shepherd royalty nobleman noble duchess duke redhead "
    "brunette cheerleader cosplayer gambler graduate guest youth lord apprentice ranger crowd audience group everyone "
    "yuri yaoi hetero".split()
)
_ENDINGS = ("man", "woman", "men", "women", "girl", "boy")  # policewoman, fishermen, schoolgirl
_PRONOUNS = frozenset("he she him her his hers somebody someone figure figures character characters viewer".split())
_NO_PERSONS = frozenset("roman german ottoman talisman specimen regimen omen abdomen acumen semen snowman".split())
_CREATURES = frozenset(
    "animal cat kitten kitty dog puppy corgi husky shiba poodle retriever fox wolf wolves bear panda rabbit bunny hare "
    "mouse mice rat hamster squirrel deer fawn stag moose horse pony unicorn pegasus cow bull pig boar sheep lamb goat "
    "donkey zebra giraffe elephant rhino rhinoceros hippo hippopotamus lion lioness tiger leopard cheetah panther "
    "jaguar lynx monkey ape gorilla chimpanzee koala kangaroo sloth otter beaver raccoon badger hedgehog bat bird owl "
    "eagle hawk falcon crow raven parrot penguin duck duckling goose swan chicken hen rooster peacock flamingo pigeon "
    "dove sparrow robin hummingbird seagull fish goldfish koi shark whale dolphin orca walrus octopus squid jellyfish "
    "crab lobster turtle tortoise snake serpent lizard gecko chameleon crocodile alligator frog toad dinosaur dragon "
    "wyvern phoenix griffin hydra kraken monster creature beast butterfly butterflies moth bee wasp spider beetle "
    "dragonfly ladybug snail caterpillar slime robot mecha mech alien snowman golem troll ogre".split()
)
_DETAILS = frozenset(
    # looks
    "hair bangs ponytail twintails braid bun ahoge sidelocks bob eyes eye pupils eyebrows eyelashes lashes face cheeks "
    "lips nose ears ear teeth fang fangs tongue skin freckles mole scar tattoo makeup lipstick beard mustache stubble "
    "horns horn halo wings tail breasts chest cleavage collarbone shoulders shoulder arms arm hands hand fingers nails "
    "fingernails legs leg thighs feet foot toes barefoot back waist hips navel midriff abs muscles body skinny slim "
    "tall muscular curvy chubby bald freckle "
    # clothes and what is worn or held
    "dress skirt miniskirt shirt t-shirt blouse sweater hoodie cardigan jacket coat blazer vest suit tuxedo uniform "
    "serafuku kimono yukata hakama robe cloak cape cloaks pants trousers jeans shorts leggings swimsuit bikini apron "
    "clothes clothing outfit costume attire armor armour sleeves sleeve collar necktie tie bowtie scarf shawl gloves "
    "gauntlets mittens belt sash obi socks stockings thighhighs pantyhose kneehighs shoes boots sneakers sandals heels "
    "footwear hat cap beret helmet hood hairband headband hairclip ribbon bow ornament veil crown tiara headphones "
    "headwear glasses sunglasses goggles eyewear eyepatch mask earrings earring necklace choker pendant bracelet ring "
    "jewelry bag backpack sword katana dagger spear axe staff wand rifle gun shield umbrella naked nude topless "
    # pose, expression and framing
    "sitting standing lying kneeling squatting crouching walking running jumping dancing sleeping smiling laughing "
    "crying leaning stretching waving pointing holding looking hugging eating drinking reading singing fighting "
    "smile grin smirk frown pout blush tears expression pose posture selfie viewer gaze stare portrait headshot "
    "contrapposto wink crossed".split()
)
_DETAIL_STARTS = ("looking ", "holding ", "hand on ", "hands on ", "arms ", "arm ", "head ", "crossed ", "closed mouth",
                  "open mouth", "upper body", "full body", "lower body", "cowboy shot", "wearing ")  # fmt: skip
_SURROUNDINGS = frozenset(
    "background scenery landscape cityscape skyline outdoors indoors outside inside nature sky cloud clouds sun moon "
    "star stars planet galaxy space universe nebula aurora night day morning noon afternoon evening dusk dawn sunset "
    "sunrise twilight midnight sunlight moonlight daylight starlight weather rain storm thunderstorm lightning snow "
    "snowfall blizzard fog mist wind rainbow spring summer autumn fall winter season water sea ocean waves wave river "
    "riverbank bank stream lake pond waterfall beach shore coast seaside island sand desert dune oasis harbor harbour "
    "port pier dock mountain mountains hill hills cliff canyon valley cave cavern volcano glacier rock rocks boulder "
    "field meadow grass grassland prairie plain savanna farm farmland vineyard garden park yard courtyard forest woods "
    "woodland jungle rainforest swamp tree trees bush bushes leaves foliage branch flower flowers blossoms blossom "
    "petals bamboo ivy moss vines path trail road street alley highway crosswalk sidewalk pavement bridge tunnel "
    "railway railroad station city town village metropolis downtown suburb slum ruins ruin castle palace tower towers "
    "fortress wall walls gate fence temple shrine torii church cathedral chapel monastery mosque pagoda lighthouse "
    "windmill house houses building buildings skyscraper skyscrapers cottage cabin hut mansion apartment rooftop roof "
    "balcony terrace porch veranda room bedroom bathroom kitchen hallway corridor lobby office classroom school "
    "library museum gallery hospital laboratory lab workshop warehouse factory garage shop store supermarket mall "
    "market cafe café restaurant bar pub tavern inn hotel theater theatre stage arena stadium gym dungeon "
    "cockpit spaceship spacecraft train bus subway interior exterior architecture window windows door doors floor "
    "ceiling stairs staircase pillar pillars column columns fireplace chimney furniture table chair desk couch sofa "
    "bed bookshelf shelf carpet rug curtains lamp lantern lanterns lamppost streetlight candle candles neon "
    "leaf chalkboard statue fountain bench graveyard cemetery playground festival fireworks snowy "
    "rainy sunny cloudy foggy overcast horizon reflection puddle underwater countryside wasteland".split()
)
# Behind a person: `girl in a coat`, `knight standing`, `man's`. Behind a creature these make it a part or a thing.
_BEHIND = frozenset("in on at with of from by near behind under wearing who and holding".split())
_PARTS = frozenset("ears ear tail tails costume mask hood print plush plushie toy ornament pattern horns wings".split())
_WORDS = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def names_person(name: str) -> bool:
    """Return whether a tag is a person of some kind: `old fisherman`, `girl in a red coat`, not `girl's dress`.

    >>> [names_person(name) for name in ("office lady", "2 girls", "knight standing", "maid headdress")]
    [True, True, True, False]
    """
    words = _words(name)
    return words[:1] == ["solo"] or any(
        is_person(word) and (not after or after[0] in _BEHIND or after[0].endswith("ing"))
        for word, *after in (words[place : place + 2] for place in range(len(words)))
    )


def names_creature(name: str) -> bool:
    """Return whether a tag is an animal or another creature: `black cat`, not `cat ears`."""
    words = _words(name)
    return bool(words) and _in(words[-1], _CREATURES)


def text_names_subject(text: str) -> bool:
    """Return whether running text speaks of a person or a creature."""
    words = _words(text)
    return any(
        is_person(word) or (_in(word, _CREATURES) and not (after and after[0] in _PARTS))
        for word, *after in (words[place : place + 2] for place in range(len(words)))
    )


def find_person(text: str) -> tuple[int, int] | None:
    """Return where running text speaks of a person for the first time, pronouns included."""
    for found in _WORDS.finditer(text):
        word = found[0].lower()
        if word in _PRONOUNS or is_person(word):
            return found.span()
    return None


def is_detail(name: str) -> bool:
    """Return whether a tag is about a person's looks, clothes, pose or expression, or how a person is framed."""
    words = _words(name)
    return bool(words) and (_in(words[-1], _DETAILS) or name.startswith(_DETAIL_STARTS) or words[0] in _DETAILS)


def is_surroundings(name: str) -> bool:
    """Return whether a tag is a place, a part of one, the weather, the season or the time of day."""
    words = _words(name)
    return bool(words) and (_in(words[-1], _SURROUNDINGS) or words[0] in _SURROUNDINGS) and not is_detail(name)


def _words(name: str) -> list[str]:
    own = name.rpartition(" (")[0] if name.endswith(")") else name
    return [word.lower() for word in _WORDS.findall(own or name)]


def is_person(word: str) -> bool:
    """Return whether a word of small letters is a person of some kind."""
    if _in(word, _PERSONS):
        return True
    return len(word) > 4 and word.removesuffix("s").endswith(_ENDINGS) and word.removesuffix("s") not in _NO_PERSONS


def _in(word: str, words: frozenset[str]) -> bool:
    """Return whether a word or its singular is among others."""
    return word in words or word.removesuffix("s") in words or word.removesuffix("es") in words
