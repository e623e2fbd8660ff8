"""Tag lists and metadata by forced decoding: how many, complete ones only, and what ends them."""
from __future__ import annotations

import pytest
from decoding_kit import NAMES, check, force, greedy, make, spell
from scripted_engine import COMMON_PIECES, ScriptedEngine

from kgen_ext.decoding.loop import BatchDecoder
from kgen_ext.decoding.prose import MAX_SENTENCE_TOKENS, MAX_WASTE
from kgen_ext.decoding.row import MAX_ROLLBACKS
from kgen_ext.decoding.tag_list import MAX_TAG_TOKENS
from kgen_ext.decoding.vocabulary import token_table
from kgen_ext.events import Finish
from kgen_ext.protocol import Protocol


def many(count: int, *, first: str = "") -> list[str]:
    return [part for name in NAMES[:count] for part in (",", name)][0 if first else 1 :]


@pytest.mark.parametrize(("length", "low", "high"), [("very_short", 0, 18), ("short", 18, 36), ("long", 36, 54),
                                                     ("very_long", 54, 72)])  # fmt: skip
def test_a_list_ends_at_its_maximum_and_not_before_its_minimum(length: str, low: int, high: int) -> None:
    endless = check(force(many(90), greedy(tag_length=length), pieces=NAMES))
    assert len(endless.tags) == high
    assert endless.output.finish is Finish.COMPLETE
    eager = check(force([*many(1), *(part for name in NAMES[1:90] for part in ("</s>", name)), "</s>"],
                        greedy(tag_length=length), pieces=NAMES))  # fmt: skip
    assert len(eager.tags) == max(low, 1)
    assert not eager.output.short


def test_the_user_s_own_tags_count() -> None:
    ran = check(force(many(40, first=","), greedy(", ".join(NAMES[60:77])), pieces=NAMES))
    assert len(ran.tags) == 1


@pytest.mark.parametrize("count", [18, 19, 40])
def test_nothing_is_added_to_a_list_that_is_full(count: int) -> None:
    ran = check(force([",", "hat", "</s>"], greedy(", ".join(NAMES[:count])), pieces=NAMES))
    assert (ran.tags, ran.output.finish, ran.output.short, ran.output.decoded) == ((), Finish.COMPLETE, (), 0)


def test_a_full_list_is_followed_by_the_next_field() -> None:
    ran = check(force(" A girl stands. She smiles.</s>", greedy(", ".join(NAMES[:18]), text_length="very_short"),
                      pieces=NAMES))  # fmt: skip
    assert ran.tags == ()
    assert ran.output.texts == {"long": "A girl stands. She smiles."}


def test_the_user_s_last_tag_is_never_extended() -> None:
    ran = check(force([" hair", (",", " hair"), "smile", "</s>"], greedy("long")))
    assert ran.tags == ("smile",)


def test_a_half_tag_at_the_end_of_the_context_is_dropped() -> None:
    script = ["smile", ",", *[" very"] * 20]
    whole = check(force(script, greedy(), pieces=[" very"], n_ctx=64))
    assert whole.tags[0] == "smile"
    short = force(script, greedy(), pieces=[" very"], n_ctx=len(whole.job.request) + 6)
    assert (short.tags, short.output.finish) == (("smile",), Finish.LENGTH)


def test_a_comma_glued_to_a_tag_s_last_letters_is_cut_off_them() -> None:
    pieces = ["ha", "t, ", "sm", "ile,", ", ", "hat (", "a),", "a)", "ile", "t"]
    ran = check(force(["ha", "t, ", "sm", "ile,", "hat (", "a),", "sky", "</s>"], greedy(), pieces=pieces))
    assert ran.tags == ("hat", "smile", "hat (a)", "sky")


def test_letters_that_are_no_token_without_their_comma_are_not_lost() -> None:
    ran = check(force(["ha", ("ir,", "t"), ",", "smile", "</s>"], greedy(), pieces=["ha", "ir,"]))
    assert ran.tags == ("hat", "smile")


def test_a_tag_may_begin_with_a_space_that_is_a_token_of_its_own() -> None:
    ran = check(force(["smile", ",", " ", "1girl", "</s>"], greedy(), pieces=[" "]))
    assert ran.tags == ("smile", "1girl")
    assert ran.output.decoded == 5


def test_several_tags_between_wide_commas_are_not_one() -> None:
    ran = check(force([("hat，sky", "smile"), "</s>"], greedy(ban=("hat",)), pieces=["hat，sky"]))
    assert ran.tags == ("smile",)


def test_a_tag_that_is_given_up_leaves_no_half_of_it_before_the_next_header() -> None:
    bad = tuple(f"{name} bad" for name in NAMES[:20])
    engine = ScriptedEngine.forcing(["hat", ",", bad, "</s>"], pieces=[*COMMON_PIECES, *bad])
    cache = engine.open_cache(1, 1024)
    request = greedy(tag_length="very_short", text_length="very_short", ban=("* bad", "/[^a-z].*/", "?", "??"))
    held = list[int]()  # what stood in the slot before it was given back
    for item in BatchDecoder(cache, token_table(engine)).run([make(engine, request)[0][1]]):
        if not isinstance(item, tuple):
            held = cache.tokens[0].copy()
        else:
            assert item[1].tags[0].spelling == "hat"
            tags = spell(engine, held).split("tag:")[1].split("\nlong:")[0]
            assert [tag.strip() for tag in tags.split(",")] == [tag.spelling for tag in item[1].tags]


def test_a_character_that_is_none_to_print_never_stands() -> None:
    odd = ["a\u200bb", "a\u2028b", "a\ufffdb", "a\ue0f0b", "a\u00a0b"]
    ran = check(force([(*odd, "smile"), "</s>"], greedy(), pieces=odd))
    assert ran.tags == ("smile",)
    assert ran.rejected == []  # such tokens are drawn again at once


def test_a_ban_of_everything_ends_soon_and_says_so() -> None:
    ran = check(force(many(60), greedy(tag_length="long", text_length="short", ban=("*",)), pieces=NAMES))
    assert (ran.tags, ran.output.texts) == ((), {"long": ""})
    assert ran.output.finish is Finish.COMPLETE
    assert ran.output.short == ("tag", "long")
    # What each field may waste, and the tag or sentence in which it met that bound.
    assert ran.output.decoded <= 2 * MAX_WASTE + MAX_TAG_TOKENS + MAX_SENTENCE_TOKENS


def test_a_row_whose_rejections_run_out_closes_at_the_next_one() -> None:
    """Twelve at each place stay below every other bound."""
    bad = [f"bad {name}{letter}" for letter in "abcdefghijkl" for name in NAMES[:50]]
    script = [part for at, name in enumerate(NAMES[:50]) for part in ((*bad[12 * at : 12 * at + 12], name), ",")]
    ran = check(force(script, greedy(tag_length="very_long", ban=("bad *",)), pieces=[*NAMES, *bad]))
    assert len(ran.rejected) == MAX_ROLLBACKS
    assert ran.tags == NAMES[: MAX_ROLLBACKS // 12]


@pytest.mark.parametrize(("length", "tries"), [("very_short", 12), ("short", 96)])  # inside the band, and below it
@pytest.mark.parametrize(("more", "tags"), [(0, ("hat",)), (1, ())])
def test_a_place_is_tried_so_often_and_no_more(length: str, tries: int, more: int, tags: tuple[str, ...]) -> None:
    bad = [f"bad {name}" for name in NAMES[: tries + more]]
    ran = check(force([(*bad, "hat"), *["</s>"] * 2], greedy(tag_length=length, ban=("bad *",)), pieces=bad))
    assert ran.tags[:1] == tags


def test_long_tags_that_may_not_stand_are_not_listened_to_for_long() -> None:
    ran = check(force([" and"] * 400, greedy(tag_length="short", ban=("*",))))
    assert len(ran.rejected) == MAX_WASTE // (MAX_TAG_TOKENS - 1)


DOTTED = [f"{name}.." for name in NAMES[:16]]  # no such tag, and no rule against it


def test_the_ninth_tag_in_a_row_with_signs_about_it_stands() -> None:
    ran = check(force([tuple(DOTTED), "</s>"], greedy(), pieces=DOTTED))
    assert ran.tags == (DOTTED[8],)


def test_a_tag_that_stands_ends_the_row_of_those_with_signs_about_them() -> None:
    script = [(*DOTTED[:8], "hat"), ",", (*DOTTED[8:], "smile"), "</s>"]
    assert check(force(script, greedy(), pieces=DOTTED)).tags == ("hat", "smile")


@pytest.mark.parametrize("script", [[" and"] * 400, ["smile", *[" and"] * 400], many(100), ["\n"] * 50])
@pytest.mark.parametrize("n_ctx", [40, 64, 128])
def test_a_model_that_never_ends_stops_at_the_context_with_what_is_whole(script: list[str], n_ctx: int) -> None:
    options = greedy(tag_length="very_long", text_length="very_long")
    ran = check(force(script, options, pieces=NAMES, n_ctx=n_ctx))
    assert ran.output.finish is Finish.LENGTH
    assert len(ran.job.request) + len(ran.tags) <= n_ctx


# --- DanTagGen -----------------------------------------------------------------------------------------------------

def test_dtg_begins_a_new_tag_behind_its_input_and_ends_inside_its_band() -> None:
    ran = check(force(many(60), greedy("1girl, smile"), pieces=NAMES, protocol=Protocol.DTG))
    assert ran.tags == NAMES[:14]
    eager = force(["hat", *["</s>"] * 30], greedy("1girl, smile"), protocol=Protocol.DTG)
    assert eager.tags[0] == "hat"
    assert len(eager.tags) == 6


# --- metadata ------------------------------------------------------------------------------------------------------

META = ("artist", "characters", "rating")


def test_metadata_lines_follow_the_last_field_when_they_are_allowed() -> None:
    script = ["smile", "\n", "characters:", " hatsune miku", "\n", "rating:", " safe", "</s>"]
    ran = check(force(script, greedy(allow=META), pieces=[" hatsune miku", " safe"]))
    assert ran.tags == ("smile",)
    assert {key.value: some for key, some in ran.metadata.items()} == {
        "characters": ("hatsune miku",), "rating": ("safe",)
    }  # fmt: skip


def test_no_metadata_is_written_when_the_model_ends() -> None:
    ran = check(force(["smile", "</s>", "\n"], greedy(allow=META)))
    assert (ran.tags, ran.metadata) == (("smile",), {})


def test_a_metadata_value_obeys_bans_and_repeats_no_tag() -> None:
    script = ["hatsune miku", "\n", "characters:", (" hatsune miku", " saber", " rem (re:zero)"), "</s>"]
    pieces = [" hatsune miku", " saber", " rem (re:zero)"]
    ran = check(force(script, greedy(allow=META, ban=("saber",)), pieces=pieces))
    assert {key.value: some for key, some in ran.metadata.items()} == {"characters": ("rem (re:zero)",)}
    assert ran.rejected == [("repeat", "hatsune miku"), ("banned", "saber")]
