"""Checkpoint words: what says how good the picture is, how or by whom it was made, and what the models see of it."""
from __future__ import annotations

import time

import pytest

from kgen_ext.request import Category, ExpandRequest
from kgen_ext.rules.filter import RowTags, TagFilter, TagRules
from kgen_ext.rules.known import TagFiles
from kgen_ext.rules.patterns import compile_patterns
from kgen_ext.service.plan import plan_expansion
from kgen_ext.tags.checkpoint import artists_of
from kgen_ext.tags.tag import read_tag

QUALITY = (
    "score_10", "score_7", "score 3", "score_9_up", "best aesthetic", "amazing quality", "high quality",
    "Ultra Quality", "8k", "4K", "uhd", "hdr", "8k uhd", "highly detailed", "ultra-detailed", "super detailed",
    "intricate details", "sharp focus", "highly_detailed_face", "beautiful detailed eyes and hands", "perfect anatomy",
    "best lighting", "ultra high res", "incredibly fine detail", "high definition", "the best quality", "gorgeous",
)  # fmt: skip
META = (
    "year 2024", "year_2023", "year2022", "2021", "absurdres", "highres", "raw photo", "RAW", "photorealistic",
    "photo-realistic", "dslr", "film grain", "fujifilm xt3", "shot on kodak portra 400", "canon eos r5", "50mm",
    "85mm lens", "f/1.8", "octane render", "unreal engine 5", "ray tracing", "trending on artstation", "artstation hq",
    "award winning photo", "extremely detailed cg unity 8k wallpaper", "very detailed illustration", "digital art",
)  # fmt: skip
RATING = ("rating_safe", "rating:general", "rating: safe", "Rating Sensitive", "rating-general", "safe", "general")
ARTIST = (
    "by greg rutkowski", "by Nadja Uvarov", "art by wlop", "artwork by greg rutkowski and wlop", "in the style of wlop",
    "style of nadja uvarov", "digital painting by loish", "illustrated by nadja uvarov", "@wlop", "@nadja_uvarov",
    "artist:wlop", "artist: nadja uvarov", "greg rutkowski style", "by loish & nadja uvarov", "drawn by nadja",
)  # fmt: skip
CONTENT = (
    "detailed armor", "intricate lace", "cinematic lighting", "volumetric lighting", "depth of field", "realistic",
    "photo background", "photo of a cat", "old man", "water quality", "score", "scoreboard", "year of the ox", "rating",
    "film strip", "camera", "holding camera", "canon ball", "raw meat", "by the window", "by night", "by candlelight",
    "by a lake", "by the sea", "by old stairs", "by herself", "gothic style", "in the style of a movie poster",
    "artist", "art room", "@_@", "standing by", "f/x", "10", "engine", "beautiful dress", "hand on hip", "light",
    "high ponytail", "4 cats",
)  # fmt: skip


@pytest.mark.parametrize("tag", QUALITY)
def test_what_says_how_good_the_picture_is_is_quality(tag: str) -> None:
    assert read_tag(tag).category is Category.QUALITY


@pytest.mark.parametrize("tag", META)
def test_what_says_how_the_picture_was_made_is_meta(tag: str) -> None:
    assert read_tag(tag).category is Category.META


@pytest.mark.parametrize("tag", RATING)
def test_a_rating_is_one_behind_its_key_too(tag: str) -> None:
    assert read_tag(tag).category is Category.RATING


@pytest.mark.parametrize("tag", ARTIST)
def test_a_phrase_that_names_an_artist_is_an_artist(tag: str) -> None:
    assert read_tag(tag).category is Category.ARTIST


@pytest.mark.parametrize("tag", CONTENT)
def test_what_is_in_the_picture_is_general(tag: str) -> None:
    assert read_tag(tag).category is Category.GENERAL


@pytest.mark.parametrize(
    ("tag", "values"),
    [("score_9", ("score_9",)), ("score 8 up", ("score_8_up",)), ("Masterpiece", ("masterpiece",)),
     ("newest", ("newest",)), ("score_10", ()), ("8k", ()), ("amazing quality", ()), ("highres", ("highres",)),
     ("raw photo", ()), ("year 2024", ()), ("2024", ()), ("film grain", ()), ("rating_safe", ("safe",)),
     ("rating: general", ("general",)),
     ("safe", ("safe",)), ("by greg rutkowski", ("greg rutkowski",)), ("@wlop", ("wlop",)),
     ("@nadja_uvarov", ("nadja uvarov",)), ("artist: wlop", ("wlop",)),
     ("art by wlop and nadja uvarov", ("wlop", "nadja uvarov")), ("in the style of genshin impact", ()),
     ("Hatsune_Miku", ("hatsune miku",))],
)  # fmt: skip
def test_metadata_lines_hold_what_training_had(tag: str, values: tuple[str, ...]) -> None:
    assert read_tag(tag).trained_values == values


def subject(prompt: str) -> tuple[tuple[str, ...], dict[Category, tuple[str, ...]]]:
    found = plan_expansion(ExpandRequest(prompt=prompt), TagFiles()).subjects[0]
    assert found is not None
    return found.tags, dict(found.meta)


@pytest.mark.parametrize(
    ("prompt", "meta"),
    [
        ("score_9, score_8_up, score_7, fox", {Category.QUALITY: ("score_9", "score_8_up")}),
        ("8k, best quality, fox", {Category.QUALITY: ("best quality",)}),
        ("raw photo, fox, 8k uhd, dslr, film grain", {}),
        ("fox, rating:safe, year 2024", {Category.RATING: ("safe",)}),
        ("fox, art by wlop, by wlop and loish", {Category.ARTIST: ("wlop", "loish")}),
        ("fox, trending on artstation", {}),
    ],
)
def test_the_model_sees_the_metadata_it_knows_and_no_other(
    prompt: str, meta: dict[Category, tuple[str, ...]]
) -> None:
    assert subject(prompt) == (("fox",), meta)


def test_an_artist_named_in_a_phrase_is_not_added_again() -> None:
    allowed = TagRules(bans=compile_patterns(()), allow=frozenset({Category.ARTIST}))
    judged = TagFilter(RowTags(allowed, given=["art by wlop and loish"])).judge("loish")
    assert getattr(judged, "rule", "") == "repeat"


def test_a_model_adds_no_checkpoint_words_unasked() -> None:
    judged = TagFilter(RowTags(TagRules(bans=compile_patterns(())))).judge("highly detailed")
    assert getattr(judged, "detail", "") == "quality"


@pytest.mark.parametrize(
    "tag",
    ["by " + "a " * 50_000, "shot on canon " + "eos " * 50_000 + "x", "x " * 50_000 + "style",
     "in the style of " + "x & " * 50_000,
     "detailed " * 50_000 + "armor", "rating" + ":" * 100_000, "nikon a" * 30_000,
     "\\" * 100_000, ", artist:" * 10_000, "!?" * 100_000],
    ids=["by", "make", "style", "names", "words", "rating", "brands", "backslashes", "artists", "signs"],
)  # fmt: skip
def test_a_long_tag_is_read_in_linear_time(tag: str) -> None:
    started = time.process_time()
    read_tag(tag)
    assert time.process_time() - started < 2


def test_no_artist_is_found_where_one_of_several_is_none() -> None:
    assert artists_of("by wlop and the sea") == ()
