"""Contradictions: tags that cannot both hold, what lifts that, and a growing list of tags."""
from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgen_ext.rules.contradictions import Scene
from kgen_ext.rules.questions import QUESTIONS
from kgen_ext.tags.categories import is_people_count

TAGS = sorted({tag.strip() for question in QUESTIONS for tags in question.answers.values() for tag in tags.split(",")})
MORE = ["a knight and a princess", "old man", "two girls", "trio", "six boys", "mother and daughter", "twins",
        "solo", "no humans", "couple", "multicolored hair", "heterochromia", "smile", "multiple views", "hat"]
ANY_TAG = st.sampled_from(TAGS + MORE)


def conflict(tag: str, present: Sequence[str]) -> str | None:
    return Scene(present).conflict(tag)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("1girl", "2girls"), ("1girl", "multiple girls"), ("2boys", "3boys"), ("solo", "2girls"),
        ("solo", "multiple boys"), ("no humans", "1girl"), ("no humans", "2boys"), ("solo", "couple"),
        ("blonde hair", "black hair"), ("red hair", "light blue hair"), ("long hair", "short hair"),
        ("medium hair", "very long hair"), ("blue eyes", "red eyes"), ("day", "night"), ("sunset", "night"),
        ("sunrise", "sunset"), ("indoors", "outdoors"), ("summer", "winter"), ("open mouth", "closed mouth"),
        ("standing", "sitting"), ("on back", "on stomach"), ("full body", "upper body"), ("from above", "from below"),
        ("flat chest", "large breasts"), ("pale skin", "dark skin"), ("white background", "black background"),
        ("bald", "long hair"), ("bald", "red hair"),
    ],
)  # fmt: skip
def test_two_tags_that_cannot_both_be_true_conflict_whichever_comes_first(first: str, second: str) -> None:
    assert conflict(first, [second]) == second
    assert conflict(second.replace(" ", "_").upper(), ["smile", first]) == first


@pytest.mark.parametrize(
    "together",
    [
        ["long hair", "very long hair", "absurdly long hair"], ["brown hair", "light brown hair"],
        ["2girls", "multiple girls"], ["1girl", "solo"], ["1girl", "1boy"], ["no humans", "solo"],
        ["sunset", "evening"], ["night", "evening", "night sky"],
        ["silver hair", "grey hair"], ["seiza", "kneeling"], ["morning", "sunrise"],
        ["hair ornament", "blue hair", "blue eyes", "blue background"], ["lying", "on back", "indoors", "night"],
        ["hatsune miku", "aqua hair", "twintails"], ["blue hair", "red ribbon", "green shirt"],
    ],
)  # fmt: skip
def test_tags_that_agree_or_have_nothing_to_do_with_each_other_do_not_conflict(together: list[str]) -> None:
    assert [conflict(tag, together[:i]) for i, tag in enumerate(together)] == [None] * len(together)


@pytest.mark.parametrize(
    ("lifter", "first", "second"),
    [
        ("multicolored hair", "red hair", "blue hair"), ("two-tone hair", "red hair", "blue hair"),
        ("gradient hair", "red hair", "blue hair"), ("streaked hair", "red hair", "blue hair"),
        ("heterochromia", "red eyes", "blue eyes"), ("multiple views", "from above", "from below"),
        ("split screen", "day", "night"), ("gradient background", "pink background", "blue background"),
    ],
)  # fmt: skip
def test_a_tag_of_the_user_s_that_makes_room_for_both_lifts_the_conflict(lifter: str, first: str, second: str) -> None:
    assert Scene(user=["1girl", first]).conflict(second) == first
    assert Scene(user=["1girl", first, lifter]).conflict(second) is None


@pytest.mark.parametrize("people", [["2girls"], ["1girl", "1boy"], ["multiple boys"], ["6+others"], ["couple"]])
def test_several_people_may_look_different_but_share_one_sky(people: list[str]) -> None:
    for first, second in [("red hair", "blue hair"), ("long hair", "short hair"), ("red eyes", "blue eyes")]:
        assert conflict(second, [*people, first]) is None
    assert conflict("night", [*people, "day"]) == "day"
    assert conflict("solo", people) is not None


def test_somebody_else_contradicts_solo() -> None:
    assert conflict("1boy", ["1girl", "solo"]) == "solo"
    assert conflict("solo", ["1girl", "1boy"]) == "1girl"


def test_the_user_s_people_count_is_complete() -> None:
    assert Scene(user=["1girl", "smile"]).conflict("1boy") == "1girl"
    assert Scene(user=["2girls"]).conflict("multiple girls") is None
    assert Scene(user=["smile"]).conflict("1boy") is None
    assert Scene(["1girl"], user=["smile"]).conflict("1boy") is None


def test_a_tag_never_conflicts_with_itself() -> None:
    for tag in TAGS:
        assert conflict(tag, [tag]) is None


def test_a_copy_grows_on_its_own() -> None:
    scene = Scene(user=["1girl"])
    twin = scene.copy()
    twin.add("red hair")
    assert (scene.conflict("blue hair"), twin.conflict("blue hair")) == (None, "red hair")
    assert twin.conflict("1boy") == "1girl"


@given(st.lists(ANY_TAG, max_size=12), st.lists(ANY_TAG, max_size=4), ANY_TAG)
def test_what_is_named_is_present(present: list[str], user: list[str], tag: str) -> None:
    found = Scene(present, user=user).conflict(tag)
    assert found is None or found in (*present, *user)


@given(st.lists(ANY_TAG, max_size=25))
def test_a_scene_of_accepted_tags_answers_each_question_about_the_picture_once(drawn: list[str]) -> None:
    scene, kept = Scene(), list[str]()
    for tag in drawn:
        if scene.conflict(tag) is None:
            scene.add(tag)
            kept.append(tag)
    assert not {"indoors", "outdoors"} <= set(kept) or "multiple views" in kept
    girls = [tag for tag in kept if is_people_count(tag) and "girl" in tag]
    assert len(set(girls) - {"multiple girls"}) <= 1
    assert not ("no humans" in kept and girls)
