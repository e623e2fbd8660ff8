"""Groups of tags: which tags are in which, what is found in running text, and bans, protects and rules on them."""
from __future__ import annotations

import re
import time
from hashlib import sha256
from pathlib import Path

import pytest
from decoding_kit import check, force, greedy, run_all
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from test_decoding_random import mad_engine

from kgen_ext.errors import BadPattern, Failure
from kgen_ext.prompt import parse, subjects
from kgen_ext.request import Category, ExpandRequest
from kgen_ext.rules.conditional import parse_rule
from kgen_ext.rules.patterns import compile_pattern
from kgen_ext.tags.groups import HEADER, PATH, SYNONYMS, Group, GroupTable, groups_of, search_group, singular
from tools.tag_lists import build_groups

TAGS: dict[Group, str] = {
    Group.HAIR: "flowing silver hair, long hair, twintails, ponytail, ahoge, blunt bangs, hair bun, bob cut, "
    "red-haired girl, "
    "hair over one eye, bald, beard, hair down, redhead, roots (hair), multicolored hair, braided ponytail",
    Group.EYES: "blue eyes, big green eyes, closed eyes, heterochromia, blue-eyed girl, long eyelashes, thick "
    "eyebrows, "
    "hair between eyes, slit pupils, one eye closed, glowing eyes, tsurime",
    Group.CLOTHING: "red dress, school uniform, hat, white shirt, boots, t-shirt, kimono, see-through shirt, hood up, "
    "skirt set, no shoes, japanese clothes, one-piece swimsuit, wearing red scarf, puffy sleeves, straw hat, armor",
    Group.BACKGROUND: "white background, outdoors, night sky, forest, city street, cherry blossoms, bedroom, sunset, "
    "detailed background, blurry background, scenery, castle, on bed, in the snow",
    Group.POSE: "standing, sitting on bench, arms up, hand on own hip, holding umbrella, looking at viewer, looking "
    "back, "
    "crossed arms, knee up, head tilt, peace sign, on back, spread arms, outstretched arm",
    Group.EXPRESSION: "smile, evil smile, blush, open mouth, closed eyes, :d, crying, tears, expressionless, tongue "
    "out, "
    "parted lips, half-closed eyes, angry, ^_^",
    Group.BODY: "fox ears, cat tail, pale skin, dark-skinned female, muscular, freckles, wings, demon horns, navel, "
    "scar, "
    "bare shoulders, pointy ears, collarbone",
    Group.ACCESSORY: "hair ornament, hairband, hair ribbon, earrings, glasses, red bow, choker, backpack, holding "
    "umbrella, "
    "flower crown, wristwatch, hair bow, black choker, mask",
    Group.CREATURE: "black cat, dragon, fox, small bird, goldfish, white rabbit, butterfly, dogs, wolves, unicorn, "
    "penguin",
    Group.CAMERA: "from above, full body, upper body, close-up, portrait, cowboy shot, dutch angle, depth of field, "
    "pov, "
    "wide shot, fisheye, lens flare, multiple views",
}
NOT: dict[Group, str] = {
    Group.HAIR: "hair ornament, hairband, hair ribbon, blue eyes, chair, hair bow, wig stand, hare",
    Group.EYES: "eyepatch, glasses, looking at viewer, bird's-eye view, hair ribbon",
    Group.CLOTHING: "hair ribbon, hair ornament, smile, blue eyes, fox ears, hairband, sword",
    Group.BACKGROUND: "1girl, smile, red dress, depth of field, black hair",
    Group.POSE: "hands, feet, ring, earrings, wings, bare legs, hair down, wedding ring",
    Group.EXPRESSION: "blue eyes, lips, standing",
    Group.BODY: "full body, upper body, standing, tongue out, arms up, red hair",
    Group.ACCESSORY: "red hair, blue eyes, bow (weapon), standing, white shirt",
    Group.CREATURE: "fox ears, cat tail, smile, playboy bunny, 1girl, no humans",
    Group.CAMERA: "looking at viewer, body, standing, solo",
}
# A sentence, and what of it is of the group.
TEXTS: dict[Group, tuple[tuple[str, str], ...]] = {
    Group.HAIR: (("She shakes her long blonde hair.", "long blonde hair"), ("A silver-haired elf.", "silver-haired"),
                 ("Twin braids fall.", "braids"), ("A redhead smiles.", "redhead"), ("Her hair, wet.", "hair")),
    Group.EYES: (("His big blue eyes shine.", "big blue eyes"), ("A green-eyed cat.", "green-eyed"),
                 ("Her gaze is cold.", "gaze")),
    Group.CLOTHING: (("She wears a long red dress.", "long red dress"), ("His boots are wet.", "boots"),
                     ("A T-shirt hangs there.", "T-shirt")),
    Group.BACKGROUND: (("They meet in a dark forest.", "dark forest"), ("The sky is blue.", "sky")),
    Group.POSE: (("A man sits here.", "sits"), ("She is holding on.", "holding"), ("He stands.", "stands")),
    Group.EXPRESSION: (("She smiles.", "smiles"), ("With a gentle smile.", "gentle smile")),
    Group.BODY: (("Her pale skin glows.", "pale skin"), ("Two black wings.", "black wings")),
    Group.ACCESSORY: (("A golden necklace.", "golden necklace"), ("Her earrings.", "earrings")),
    Group.CREATURE: (("A black cat sleeps.", "black cat"), ("Two wolves.", "wolves")),
    Group.CAMERA: (("Seen from above.", "from above"), ("A close-up of it.", "close-up")),
}  # fmt: skip


def pairs(table: dict[Group, str]) -> list[tuple[Group, str]]:
    return [(group, tag.strip()) for group, tags in table.items() for tag in tags.split(",")]


@pytest.mark.parametrize(("group", "tag"), pairs(TAGS))
def test_a_tag_is_in_its_group(group: Group, tag: str) -> None:
    assert compile_pattern(f"category:{group.value}").match(tag)


@pytest.mark.parametrize(("group", "tag"), pairs(NOT))
def test_a_tag_is_in_no_other_group(group: Group, tag: str) -> None:
    assert not compile_pattern(f"category:{group.value}").match(tag)


@pytest.mark.parametrize("tag", ["1girl", "masterpiece", "best quality", "hatsune miku", "sword", "book", "solo", ""])
def test_what_says_nothing_of_a_group_is_in_none(tag: str) -> None:
    assert groups_of(tag) == frozenset()


@pytest.mark.parametrize("spelling", ["Long_Hair", "(long hair)", "long hair..", "ｌｏｎｇ hair", "LONG HAIR"])
def test_a_group_holds_in_any_spelling(spelling: str) -> None:
    assert compile_pattern("category:hair").match(spelling)


@pytest.mark.parametrize(("group", "text", "found"), [(g, *case) for g, cases in TEXTS.items() for case in cases])
def test_in_text_a_groups_words_are_found_with_their_adjectives(group: Group, text: str, found: str) -> None:
    span = compile_pattern(f"category:{group.value}").search(text)
    assert span is not None and text[slice(*span)] == found


@pytest.mark.parametrize("text", ["A chair by the window.", "He hares off.", "", "Nothing of the kind.", "A share."])
def test_a_part_of_a_word_is_not_found(text: str) -> None:
    assert search_group(text, Group.HAIR) is None


@pytest.mark.parametrize(
    ("key", "group"),
    [
        ("clothes", Group.CLOTHING), ("Outfit", Group.CLOTHING), ("eye", Group.EYES), ("poses", Group.POSE),
        ("expressions", Group.EXPRESSION), ("animals", Group.CREATURE), ("accessories", Group.ACCESSORY),
        ("framing", Group.CAMERA), ("composition", Group.CAMERA), (" hair ", Group.HAIR), ("scenery", Group.BACKGROUND),
    ],
)  # fmt: skip
def test_other_words_for_a_group_are_understood(key: str, group: Group) -> None:
    assert compile_pattern(f"category:{key}").key == group.value


def test_no_word_for_a_group_is_a_category_already() -> None:
    assert SYNONYMS.keys().isdisjoint({category.value for category in Category} | {"people", "series", "character"})


def test_an_unknown_key_is_answered_with_all_keys() -> None:
    with pytest.raises(BadPattern) as caught:
        compile_pattern("category:colour")
    assert all(key.value in str(caught.value) for key in (*Category, *Group))


def test_a_protected_group_is_hidden_from_the_model() -> None:
    protected = compile_pattern("category:hair")
    (seen,) = subjects(parse("1girl, long red hair, hair ribbon"), protect=(protected.match,))
    assert seen.tags == ("1girl", "hair ribbon")


def test_a_rule_may_ban_a_group() -> None:
    rule = parse_rule("if original ban category:hair, category:eyes and category:clothes")
    assert [rule.ban.match(tag) for tag in ("black hair", "red eyes", "hat", "cat")] == [
        "category:hair", "category:eyes", "category:clothes", None,
    ]  # fmt: skip


def test_a_group_may_be_a_rule_s_condition() -> None:
    assert parse_rule("if category:animals ban 1girl").holds(["black cat"])


def test_a_banned_group_is_taken_back_while_decoding() -> None:
    ran = check(force([("long hair", "umbrella"), ",", "shrine", "</s>"], greedy(ban=("category:hair",)),
                      pieces=("shrine", "umbrella")))  # fmt: skip
    assert ran.rejected == [("banned", "long hair")]


@pytest.mark.parametrize("text", ["hair " * 20_000, "long " * 20_000, "a" * 100_000, "from " * 20_000])
def test_searching_takes_time_linear_in_the_text(text: str) -> None:
    began = time.process_time()
    for group in (Group.BODY, Group.CAMERA):
        search_group(text, group)
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("plural", "one"),
    [("ribbons", "ribbon"), ("bodies", "body"), ("watches", "watch"), ("feet", "foot"), ("wolves", "wolf"),
     ("dress", "dress"), ("dresses", "dress"), ("foxes", "fox"), ("iris", "iris"), ("eyes", "eye"), ("bus", "bus")],
)  # fmt: skip
def test_a_plural_has_its_singular(plural: str, one: str) -> None:
    assert singular(plural) == one


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "groups.bin"
    path.write_bytes(HEADER.pack(b"KGENGRP1", 3, 0))
    with pytest.raises(Failure, match=re.escape(str(path))):
        GroupTable(str(path))


@pytest.mark.slow
@pytest.mark.parametrize("group", [Group.HAIR, Group.CLOTHING, Group.POSE, Group.EXPRESSION])
def test_a_locked_group_is_never_written_in_tags_or_text(group: Group) -> None:
    """The model is mad, and likes the vocabulary's words for hair, hats and smiles."""

    @settings(max_examples=12, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(seed=st.integers(0, 2**32), mood=st.sampled_from(["tags", "words", "stops"]))
    def broken(seed: int, mood: str) -> None:
        engine = mad_engine(seed, mood=mood, scale=1.0, n_ctx=256, echo=False)
        request = ExpandRequest("1girl", ban=(f"category:{group.value}",), text_length="short", seed=seed)
        for ran in run_all(engine, [request]):
            check(ran)
            assert [tag for tag in ran.tags if group in groups_of(tag)] == []
            assert [text for text in ran.output.texts.values() if search_group(text, group)] == []

    broken()


TREE = (
    '{"body": {"hair": {"objects": ["hair_bell"], "misc": ["wet_hair"]}}, "food": {"cake": ["bundt_cake"]}, '
    '"clothes": {"headwear": {"_data": ["hair_bell", "ajirogasa"]}}, "artists": {"a": ["$ref: a.txt"]}}'
)


def test_the_builder_reads_the_tree_s_branches() -> None:
    assert build_groups.read_tree(TREE) == {
        "hair bell": frozenset((Group.ACCESSORY,)), "wet hair": frozenset((Group.HAIR,)),
        "ajirogasa": frozenset((Group.ACCESSORY, Group.CLOTHING)),
    }  # fmt: skip


def test_the_builder_checks_its_table(tmp_path: Path) -> None:
    out = tmp_path / "groups.bin"
    (tmp_path / "tree.json").write_text(TREE, "utf-8")
    build_groups.main([str(tmp_path / "tree.json"), "--out", str(out)])
    with pytest.raises(SystemExit, match="wet hair"):
        build_groups.check_groups(out, build_groups.read_tree(TREE) | {"wet hair": frozenset((Group.POSE,))})


def test_the_shipped_table_is_the_one_that_the_notice_names() -> None:
    notice = (Path(PATH).parent / "NOTICE.md").read_text("utf-8")
    assert f"{sha256(Path(PATH).read_bytes()).hexdigest()}  groups.bin" in notice
