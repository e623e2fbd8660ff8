"""Claims in people's own words: which tags contradict what a user typed, whether as tags or as sentences."""
from __future__ import annotations

import time

import pytest
from decoding_kit import check, force, greedy

from kgen_ext.rules.claims import read_claims
from kgen_ext.rules.contradictions import Scene
from kgen_ext.rules.people import read_people

# What the user types, tags that agree with it, and tags that do not.
COLOURS = [
    ("silver hair", "grey hair", "white hair"), ("white hair", "white hair", "silver hair"),
    ("white hair", "long hair", "grey hair"), ("blond hair", "blonde hair", "brown hair"),
    ("golden hair", "blonde hair", "black hair"), ("crimson hair", "red hair", "blue hair"),
    ("scarlet eyes", "red eyes", "green eyes"), ("ginger hair", "orange hair", "black hair"),
    ("redhead", "red hair", "blonde hair"), ("azure hair", "blue hair", "pink hair"),
    ("cyan eyes", "aqua eyes", "brown eyes"), ("teal hair", "aqua hair", "red hair"),
    ("gray hair", "grey hair", "black hair"), ("blonde", "blonde hair", "black hair"),
    ("brunette", "brown hair", "red hair"), ("bald", "1boy", "long hair"), ("bald", "smile", "red hair"),
    ("red-hair", "red hair", "green hair"), ("red-haired girl", "red hair", "black hair"),
    ("blue-eyed", "blue eyes", "red eyes"), ("big green eyes", "green eyes", "blue eyes"),
    ("long flowing silver hair", "grey hair", "blue hair"), ("hair: red", "red hair", "blue hair"),
    ("eyes blue", "blue eyes", "brown eyes"), ("white long hair", "white hair", "black hair"),
    ("very long black straight hair", "black hair", "brown hair"), ("hair color pink", "pink hair", "red hair"),
    ("bright vivid purple eyes", "purple eyes", "yellow eyes"), ("light green eyes", "green eyes", "red eyes"),
    ("sky blue eyes", "blue eyes", "green eyes"), ("wine red hair", "red hair", "white hair"),
    ("black ponytail", "black hair", "blonde hair"), ("her hair is long and red", "red hair", "black hair"),
    ("dark hair", "black hair", "blonde hair"), ("reddish brown hair", "brown hair", "green hair"),
    ("a blonde woman", "blonde hair", "black hair"), ("pale skin", "red hair", "dark skin"),
    ("dark-skinned", "tan", "pale skin"), ("plain white background", "white background", "blue background"),
    ("black and white hair", "multicolored hair", "red hair"),
]  # fmt: skip
LENGTHS = [
    ("shoulder-length hair", "medium hair", "very long hair"), ("waist-length hair", "long hair", "short hair"),
    ("bob cut", "short hair", "long hair"), ("pixie cut", "short hair", "medium hair"),
    ("long black hair", "very long hair", "short hair"), ("very long black hair", "long hair", "short hair"),
    ("short messy hair", "short hair", "long hair"), ("long-haired man", "long hair", "short hair"),
    ("knee-length hair", "very long hair", "medium hair"), ("buzz cut", "short hair", "long hair"),
    ("hair: long", "long hair", "short hair"), ("medium-length brown hair", "medium hair", "long hair"),
]  # fmt: skip
PEOPLE = [
    ("2 girls", "2girls", "1girl"), ("2 girls", "multiple girls", "solo"), ("two girls", "2girls", "3girls"),
    ("six girls", "multiple girls", "2girls"), ("a girl", "1girl", "2girls"), ("a girl", "solo", "1boy"),
    ("1woman", "1girl", "1boy"), ("1man", "1boy", "1girl"), ("woman", "solo", "2girls"), ("old man", "1boy", "1girl"),
    ("girl and boy", "1boy", "solo"), ("girl and boy", "1girl", "2boys"), ("man and woman", "1girl", "solo"),
    ("couple", "1girl", "solo"), ("couple", "hetero", "3girls"), ("three boys and a girl", "3boys", "2boys"),
    ("three boys and a girl", "1girl", "2girls"), ("trio", "multiple girls", "solo"), ("trio", "3girls", "4girls"),
    ("1girl 1boy", "1boy", "solo"), ("lone girl", "solo", "2girls"), ("crowd", "multiple girls", "solo"),
    ("crowd", "1girl", "no humans"), ("girls", "multiple girls", "1girl"), ("group of girls", "3girls", "solo"),
    ("king", "1boy", "1girl"), ("nun", "1girl", "1boy"), ("grandmother", "1girl", "male focus"),
    ("businessman in a suit", "1boy", "1girl"), ("schoolgirl", "1girl", "1boy"), ("knight", "1girl", "2girls"),
    ("knight", "1boy", "no humans"), ("mother and daughter", "2girls", "solo"), ("6+girls", "multiple girls", "solo"),
    ("no people", "scenery", "1girl"), ("several men", "multiple boys", "1boy"), ("fox girl", "1girl", "1boy"),
    ("1girl", "fox girl", "old man"), ("2girls", "fox girl", "couple of boys"), ("1girl", "mature female", "1boy"),
    ("a pair of boys", "2boys", "1girl"), ("twin sisters", "2girls", "solo"), ("girl with a cat", "1girl", "1boy"),
    ("a 17 year old girl", "1girl", "2girls"), ("21 yo woman in a park", "solo", "1boy"), ("2 girl", "2girls", "solo"),
    ("two young women", "2girls", "solo"),
    ("two 17 year old girls", "2girls", "solo"), ("world war 2 era girl", "1girl", "2girls"),
    ("2 young women", "2girls", "solo"), ("firemen", "multiple boys", "1girl"), ("catboy", "1boy", "1girl"),
]  # fmt: skip
SENTENCES = [
    ("Portrait of an old fisherman.", "1boy", "1girl"), ("Portrait of an old fisherman.", "solo", "no humans"),
    ("A woman with long red hair and a bright lipstick.", "red hair", "black hair"),
    ("A woman with long red hair and a bright lipstick.", "long hair", "short hair"),
    ("A girl with big blue eyes sits on a bench at night.", "night", "day"),
    ("A girl with big blue eyes sits on a bench at night.", "sitting", "standing"),
    ("A girl with big blue eyes sits on a bench at night.", "blue eyes", "green eyes"),
    ("The princess waits in the library.", "indoors", "outdoors"), ("A man walks at sunset.", "sunset", "night"),
    ("Her hair is silver. She smiles.", "grey hair", "white hair"), ("A nun prays in winter.", "winter", "summer"),
    ("Two girls share an umbrella.", "2girls", "solo"), ("A man and a woman dance.", "1boy", "solo"),
    ("A girl talks to another girl.", "2girls", "solo"), ("The girl smiles. The girl waves.", "1girl", "2girls"),
    ("A knight and a princess on a hill.", "1boy", "solo"), ("A boy without a hat.", "smile", "hat"),
]  # fmt: skip
WIDER = [
    ("at night", "night", "day"), ("nighttime", "night", "sunset"), ("night time", "night sky", "day"),
    ("city street at night", "night", "day"), ("inside", "indoors", "outdoors"), ("in the snow", "snow", "indoors"),
    ("bedroom", "indoors", "outdoors"), ("beach", "outdoors", "indoors"), ("in winter", "winter", "summer"),
    ("full body shot", "full body", "upper body"), ("low angle shot", "from below", "from above"),
    ("sitting on a chair", "sitting", "standing"), ("lying on the grass", "lying", "standing"),
    ("eyes closed", "closed eyes", "wide-eyed"), ("mouth closed", "closed mouth", "open mouth"),
    ("sunny day", "day", "night"),
]  # fmt: skip
ABSENT = [
    ("no hat", "smile", "hat"), ("no hat", "hair ornament", "straw hat"), ("without glasses", "smile", "glasses"),
    ("no glasses", "sky", "black-framed glasses"), ("no shoes", "barefoot", "shoes"), ("no earrings", "ring",
    "earring"),
    ("without a hat or gloves", "scarf", "white gloves"), ("no weapons", "bag", "weapon"), ("no text", "sky", "text"),
    ("not wearing glasses", "hat", "glasses"), ("red shoes", "socks", "no shoes"), ("no tail", "fox ears", "fox tail"),
]  # fmt: skip
# Of these a word within a sentence says too little.
BARE = ("inside", "bedroom", "beach", "nighttime", "night time")
CASES = [*COLOURS, *LENGTHS, *PEOPLE, *WIDER, *ABSENT]


def scene(typed: str) -> Scene:
    return Scene(text=typed) if typed.endswith(".") else Scene(user=[typed])


@pytest.mark.parametrize(("typed", "agrees", "contradicts"), [*CASES, *SENTENCES])
def test_what_contradicts_the_user_is_refused(typed: str, agrees: str, contradicts: str) -> None:
    assert scene(typed).conflict(contradicts) is not None


@pytest.mark.parametrize(("typed", "agrees", "contradicts"), [*CASES, *SENTENCES])
def test_what_agrees_with_the_user_is_not_refused(typed: str, agrees: str, contradicts: str) -> None:
    assert scene(typed).conflict(agrees) is None


@pytest.mark.parametrize(("typed", "agrees", "contradicts"), [case for case in CASES if case[0] not in BARE])
def test_the_same_words_in_a_sentence_say_the_same(typed: str, agrees: str, contradicts: str) -> None:
    assert Scene(text=f"{typed}.").conflict(contradicts) is not None


@pytest.mark.parametrize(
    "tag",
    [
        "red hair ribbon", "black hair bow", "hair ornament", "hair between eyes", "hair over one eye",
        "red ribbon in hair", "bald eagle", "white chest hair",
        "red dress long hair", "red eyeliner", "cat eye makeup", "blue hairband", "armpit hair",
        "white hair ornament", "eye shadow",
        "black dress with red eyes print", "pubic hair", "evening gown", "birthday", "summer dress", "witch hat",
        "cowboy shot", "princess carry", "maid headdress", "statue of a man", "snowman", "a couple of apples",
        "god rays", "a bowl of ramen", "by norman rockwell", "fairy cottage", "elf ears", "each other", "sniper rifle",
        "gameboy", "german shepherd puppy", "cyclamen", "talisman",
    ],
)  # fmt: skip
def test_a_word_that_describes_something_else_says_nothing_of_hair_or_people(tag: str) -> None:
    claims = read_claims(tag)
    assert (Scene(user=["1boy", "black hair", "brown eyes"]).conflict(tag), bool(claims.people)) == (None, False)


@pytest.mark.parametrize(
    ("stated", "lifter"),
    [
        ("red hair", "multicolored hair"), ("long silver hair", "two-tone hair"), ("blonde", "streaked hair"),
        ("black hair", "colored inner hair"), ("pink hair", "gradient hair"), ("blue hair", "blue streaks"),
        ("white hair", "rainbow hair"), ("brown hair", "split-color hair"), ("redhead", "colored tips"),
        ("green eyes", "heterochromia"), ("blue-eyed", "multicolored eyes"), ("red eyes", "two-tone eyes"),
        ("hair: red", "highlights"), ("white background", "gradient background"),
    ],
)  # fmt: skip
def test_a_stated_colour_is_not_undermined(stated: str, lifter: str) -> None:
    assert Scene(user=[stated]).conflict(lifter) == stated


def test_a_tag_of_the_model_s_lifts_nothing() -> None:
    assert Scene(["multiple views"], user=["from above"]).conflict("from below") == "from above"


@pytest.mark.parametrize(
    "typed",
    [
        "A red fox in the snow.", "A cat sleeps on a sofa.", "a photo of a small brown dog", "Two wolves run.",
        "a dragon over a castle", "The black horse drinks.", "a cute kitten with blue eyes", "An owl.",
        "a white rabbit",
        "some birds on a wire",
    ],
)  # fmt: skip
def test_a_sentence_about_an_animal_is_about_no_person(typed: str) -> None:
    assert scene(typed).conflict("1girl") is not None


@pytest.mark.parametrize(
    "typed",
    ["A fox girl in the snow.", "A cat and her owner.", "fox", "A cat costume.", "A mountain at night.", "fox ears",
     "A woman with a cat.", "a castle and a dragon", "cat ears"],
)  # fmt: skip
def test_any_other_may_be_given_a_person(typed: str) -> None:
    assert scene(typed).conflict("1girl") is None


def test_an_animal_beside_clothes_may_be_given_a_person() -> None:
    assert Scene(user=["school uniform"], text="A cat sleeps.").conflict("1girl") is None


def test_before_a_colour_is_stated_the_model_may_choose_several() -> None:
    assert Scene(user=["1girl"]).conflict("multicolored hair") is None


def test_what_the_model_chose_is_held() -> None:
    assert Scene(["multicolored hair"], user=["1girl"]).conflict("red hair") == "multicolored hair"


def test_with_several_colours_asked_for_the_model_may_add_the_second() -> None:
    assert Scene(user=["streaked hair", "red hair"]).conflict("black hair") is None


def test_a_colour_that_is_between_two_is_one() -> None:
    assert Scene(user=["streaked hair", "azure hair"]).conflict("black hair") is None


def test_a_colour_belongs_to_the_noun_behind_it() -> None:
    assert Scene(user=["black hair"]).conflict("messy hair blue eyes") is None


def test_a_sentence_of_the_prompt_is_heard_while_decoding() -> None:
    script = [("1girl", "umbrella"), ",", "shrine", "</s>"]
    ran = check(force(script, greedy("A portrait of an old fisherman by the sea."), pieces=("umbrella", "shrine")))
    assert ("contradiction", "1girl") in ran.rejected


def test_with_two_colours_named_a_third_is_refused() -> None:
    assert Scene(user=["streaked hair", "red hair", "black hair"]).conflict("blue hair") is not None


def test_several_people_of_the_model_s_do_not_lift_what_the_user_said() -> None:
    assert Scene(["2girls"], user=["red hair"]).conflict("blue hair") == "red hair"


def test_several_people_of_the_user_s_may_look_different() -> None:
    assert Scene(user=["two girls", "red hair"]).conflict("blue hair") is None


@pytest.mark.parametrize("text", ["a girl and " * 3000, "red " * 9000 + "hair", "hair " * 9000, "no hat or " * 4000])
def test_reading_takes_time_linear_in_the_text(text: str) -> None:
    began = time.process_time()
    read_claims(text)
    assert time.process_time() - began < 2


def test_a_number_of_any_length_is_read() -> None:
    assert read_people(("9" * 5000, "girls")).sorts == (("girl", (999, 999)),)
