"""Every rule by forced decoding: the engine wants to break it, the result obeys it, and the event says why."""
from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from decoding_kit import NAMES, Ran, ask, force, make, sentences_of, spell, violations

from kgen_ext.decoding.batch import BatchDecoder
from kgen_ext.decoding.tag_writer import MAX_TAG_TOKENS
from kgen_ext.decoding.text_writer import MAX_SENTENCE_TOKENS, MAX_WASTE
from kgen_ext.decoding.tokens import token_table
from kgen_ext.engines.scripted import COMMON_PIECES, ScriptedEngine
from kgen_ext.events import Finish
from kgen_ext.protocol import Protocol
from kgen_ext.tags.contradictions import GROUPS

# A rule, what makes it hold (prompt, options), and the tag that breaks it, one token each.
CASES: dict[str, tuple[str, str, dict[str, object]]] = {
    "banned literal": ("hat", "", {"ban": ("hat",)}),
    "banned glob": ("short hair", "", {"ban": ("short *",)}),
    "banned regex": ("red eyes", "", {"ban": ("/red .*/",)}),
    "banned category": ("2girls", "", {"ban": ("category:special",)}),
    "repeat of the user's": ("smile", "smile", {}),
    "repeat, weighted": ("sky", "(Sky:1.3)", {}),
    "repeat, underscores": ("looking at viewer", "Looking_At_Viewer", {}),
    "contradiction": ("night", "day", {}),
    "new artist": ("wlop", "", {}),
    "new character": ("hatsune miku", "", {}),
    "new series": ("vocaloid", "", {}),
    "quality": ("masterpiece", "", {}),
    "rating": ("nsfw", "", {}),
    "meta": ("highres", "", {}),
    "rule": ("long hair", "twintails", {"rules": ("if twintails ban long hair",)}),
    "rule, the other way": ("twintails1", "twintails2", {"rules": ("if twintails1 ban twintails2",)}),
}
REASONS = {"banned": "banned", "repeat": "repeat", "contradiction": "contradiction", "new": "category",
           "quality": "category", "rating": "category", "meta": "category", "rule": "rule"}  # fmt: skip
PIECES = ("twintails1", "twintails2", "wlop", "vocaloid", "umbrella", "shrine")


def reason(case: str) -> str:
    return REASONS[case.split(",")[0].split(" ")[0]]


def check(ran: Ran) -> Ran:
    assert violations(ran) == []
    return ran


@pytest.mark.parametrize("case", CASES)
def test_a_tag_that_breaks_a_rule_is_taken_back_and_another_is_drawn_in_its_place(case: str) -> None:
    tag, prompt, options = CASES[case]
    ran = check(force([(tag, "umbrella"), ",", "shrine", "</s>"], ask(prompt, **options), pieces=PIECES) if not prompt
                else force([",", (tag, "umbrella"), ",", "shrine", "</s>"], ask(prompt, **options), pieces=PIECES))
    assert ran.tags == ("umbrella", "shrine")
    assert ran.rejected == [(reason(case), tag)]
    assert ran.written.rewound >= 1


@pytest.mark.parametrize(("one", "other"), list(combinations(CASES, 2)))
def test_two_rules_hold_together(one: str, other: str) -> None:
    (tag, prompt, options), (tag2, prompt2, options2) = CASES[one], CASES[other]
    asked: dict[str, object] = {key: (*options.get(key, ()), *options2.get(key, ()))  # type: ignore[misc]
                                for key in options.keys() | options2.keys()}  # fmt: skip
    prompts = ", ".join(part for part in (prompt, prompt2) if part)
    script = [(tag, "umbrella"), ",", (tag2, "shrine"), "</s>"]
    ran = check(force([",", *script] if prompts else script, ask(prompts, **asked), pieces=PIECES))
    assert ran.tags == ("umbrella", "shrine")
    assert {rule for rule, _ in ran.rejected} == {reason(one), reason(other)}


def test_a_repeat_of_an_own_tag_is_taken_back() -> None:
    ran = check(force(["smile", ",", ("smile", "hat"), ",", ("Smile", "sky"), "</s>"], ask(), pieces=["Smile"]))
    assert ran.tags == ("smile", "hat", "sky")
    # The tokens of `smile` are closed once it stands; another spelling is judged when it is whole.
    assert ran.rejected == [("repeat", "Smile")]


@pytest.mark.parametrize("group", [group for group in GROUPS if len(group.answers) > 1], ids=lambda group: group.name)
def test_every_group_of_contradictions_holds_and_can_be_switched_off(group: object) -> None:
    tags = [[one.strip() for one in some.split(",")] for some in group.answers.values()]  # type: ignore[attr-defined]
    first, last = next((a, b) for a in tags[0] for b in tags[-1] if a not in tags[-1] and b not in tags[0])
    script = [first, ",", (last, "umbrella"), "</s>"]
    pieces = (first, last, "umbrella")
    ran = check(force(script, ask(), pieces=pieces))
    assert ran.tags == (first, "umbrella")
    assert ran.rejected == [("contradiction", last)]
    assert force(script, ask(allow_contradictions=True), pieces=pieces).tags == (first, last)


@pytest.mark.parametrize(
    ("tag", "category"),
    [("hatsune miku", "characters"), ("vocaloid", "copyrights"), ("masterpiece", "quality"), ("nsfw", "rating"),
     ("highres", "meta"), ("wlop", "artist")],
)  # fmt: skip
def test_what_is_allowed_may_be_written(tag: str, category: str) -> None:
    ran = check(force([(tag, "hat"), "</s>", "</s>"], ask(allow=(category,)), pieces=PIECES))
    assert ran.tags == (tag,)
    assert ran.rejected == []


def tag_file(folder: Path) -> str:
    path = folder / "tags.csv"
    path.write_text('hat,0,100,"headwear,chapeau"\nsmile,0,50,\n1girl,0,900,"sole_female"\n', "utf-8")
    return str(path)


def test_with_a_tag_file_only_its_tags_stand_aliases_resolved(tmp_path: Path) -> None:
    script = [("umbrella", "chapeau"), ",", ("hat", "smile"), ",", ("sole female", "sky"), "</s>"]
    ran = check(force(script, ask(tag_file=tag_file(tmp_path)), pieces=("umbrella", "chapeau", "sole female")))
    assert ran.tags == ("hat", "smile", "1girl")
    assert ran.rejected == [("unknown", "umbrella"), ("repeat", "hat")]


def test_an_alias_the_user_wrote_is_the_tag_it_stands_for(tmp_path: Path) -> None:
    ran = check(force([",", ("hat", "smile"), "</s>"], ask("headwear", tag_file=tag_file(tmp_path))))
    assert ran.tags == ("smile",)
    assert ran.rejected == [("repeat", "hat")]


@pytest.mark.parametrize("order", [("twintails", "long hair"), ("long hair", "twintails")])
def test_a_conditional_rule_holds_in_whichever_order_its_tags_come(order: tuple[str, str]) -> None:
    first, last = order
    ran = check(force([first, ",", (last, "hat"), "</s>"], ask(rules=("if twintails ban long hair",))))
    assert ran.tags == (first, "hat")
    assert ran.rejected == [("rule", last)]


def test_a_rule_whose_condition_fails_bans_nothing() -> None:
    ran = check(force(["long hair", ",", "hat", "</s>"], ask(rules=("if twintails ban long hair",))))
    assert ran.tags == ("long hair", "hat")


def test_required_tags_are_shown_counted_and_never_repeated() -> None:
    ran = check(force([",", ("shrine", "hat"), "</s>"], ask("smile", require=("shrine",)), pieces=PIECES))
    assert ran.prepared.required == ("shrine",)
    assert ran.tags == ("hat",)
    assert ran.rejected == [("repeat", "shrine")]


def test_a_tag_both_required_and_banned_is_named_and_the_ban_holds() -> None:
    ran = check(force(["hat", "</s>"], ask(require=("hat",), ban=("hat",))))
    assert "hat" not in (*ran.prepared.required, *ran.tags)
    assert any("'hat'" in note for note in ran.prepared.notes)


def test_mistake_6_a_ban_of_hat_leaves_hatsune_miku_and_the_user_s_own_1girl() -> None:
    """protocol.md, mistake 6: bans matched parts of words, and deleted the user's tags."""
    options = ask("1girl, hatsune miku", ban=("hat", "1girl", ":("), allow=("characters",))
    ran = check(force([",", ("hat", "hatsune miku", "hatsune miku (append)"), "</s>"], options,
                      pieces=["hatsune miku (append)"]))  # fmt: skip
    assert ran.tags == ("hatsune miku (append)",)
    assert ran.given == ("1girl", "hatsune miku")


def test_mistake_4_a_tag_keeps_the_letters_of_the_end_token() -> None:
    """protocol.md, mistake 4: `glasses` became `glasse` when `</s>` was stripped as characters."""
    ran = check(force(["glasses", ",", "<s", ",", "/s>", "</s>"], ask(), pieces=["glasses", "<s", "/s>"]))
    assert ran.tags == ("glasses", "<s", "/s>")


# --- lists ---------------------------------------------------------------------------------------------------------

def many(count: int, *, first: str = "") -> list[str]:
    return [part for name in NAMES[:count] for part in (",", name)][0 if first else 1 :]


@pytest.mark.parametrize(("length", "low", "high"), [("very_short", 0, 18), ("short", 18, 36), ("long", 36, 54),
                                                     ("very_long", 54, 72)])  # fmt: skip
def test_a_list_ends_at_its_maximum_and_not_before_its_minimum(length: str, low: int, high: int) -> None:
    endless = check(force(many(90), ask(tag_length=length), pieces=NAMES))
    assert len(endless.tags) == high
    assert endless.written.finish is Finish.COMPLETE
    eager = check(force([*many(1), *(part for name in NAMES[1:90] for part in ("</s>", name)), "</s>"],
                        ask(tag_length=length), pieces=NAMES))  # fmt: skip
    assert len(eager.tags) == max(low, 1)
    assert not eager.written.short


def test_the_user_s_own_tags_count() -> None:
    ran = check(force(many(40, first=","), ask(", ".join(NAMES[60:77])), pieces=NAMES))
    assert len(ran.tags) == 1


@pytest.mark.parametrize("count", [18, 19, 40])
def test_nothing_is_added_to_a_list_that_is_full(count: int) -> None:
    ran = check(force([",", "hat", "</s>"], ask(", ".join(NAMES[:count])), pieces=NAMES))
    assert (ran.tags, ran.written.finish, ran.written.short, ran.written.decoded) == ((), Finish.COMPLETE, (), 0)


def test_a_full_list_is_followed_by_the_next_field() -> None:
    ran = check(force(" A girl stands. She smiles.</s>", ask(", ".join(NAMES[:18]), text_length="very_short"),
                      pieces=NAMES))  # fmt: skip
    assert ran.tags == ()
    assert ran.written.texts == {"long": "A girl stands. She smiles."}


def test_the_user_s_last_tag_is_never_extended() -> None:
    ran = check(force([" hair", (",", " hair"), "smile", "</s>"], ask("long")))
    assert ran.tags == ("smile",)


def test_a_half_tag_at_the_end_of_the_context_is_dropped() -> None:
    script = ["smile", ",", *[" very"] * 20]
    whole = check(force(script, ask(), pieces=[" very"], n_ctx=64))
    assert whole.tags[0] == "smile"
    short = force(script, ask(), pieces=[" very"], n_ctx=len(whole.job.request) + 6)
    assert (short.tags, short.written.finish) == (("smile",), Finish.LENGTH)


def test_a_comma_glued_to_a_tag_s_last_letters_is_cut_off_them() -> None:
    pieces = ["ha", "t, ", "sm", "ile,", ", ", "a),", "a)", "ile", "t"]
    ran = check(force(["ha", "t, ", "sm", "ile,", "(", "a),", "sky", "</s>"], ask(), pieces=pieces))
    assert ran.tags == ("hat", "smile", "(a)", "sky")


def test_letters_that_are_no_token_without_their_comma_are_not_lost() -> None:
    ran = check(force(["ha", ("ir,", "t"), ",", "smile", "</s>"], ask(), pieces=["ha", "ir,"]))
    assert ran.tags == ("hat", "smile")


def test_a_tag_may_begin_with_a_space_that_is_a_token_of_its_own() -> None:
    ran = check(force(["smile", ",", " ", "1girl", "</s>"], ask(), pieces=[" "]))
    assert ran.tags == ("smile", "1girl")
    assert ran.written.decoded == 5


def test_several_tags_between_wide_commas_are_not_one() -> None:
    ran = check(force([("hat，sky", "smile"), "</s>"], ask(ban=("hat",)), pieces=["hat，sky"]))
    assert ran.tags == ("smile",)


def test_a_tag_that_is_given_up_leaves_no_half_of_it_before_the_next_header() -> None:
    bad = tuple(f"{name} bad" for name in NAMES[:20])
    engine = ScriptedEngine.forcing(["hat", ",", bad, "</s>"], pieces=[*COMMON_PIECES, *bad])
    cache = engine.open_cache(1, 1024)
    request = ask(tag_length="very_short", text_length="very_short", ban=("* bad", "/[^a-z].*/", "?", "??"))
    held = list[int]()  # what stood in the slot before it was given back
    for item in BatchDecoder(cache, token_table(engine)).run([make(engine, request)[0][1]]):
        if not isinstance(item, tuple):
            held = cache.tokens[0].copy()
        else:
            assert item[1].tags[0] == "hat"
            tags = spell(engine, held).split("tag:")[1].split("\nlong:")[0]
            assert [one.strip() for one in tags.split(",")] == list(item[1].tags)


def test_a_character_that_is_none_to_print_never_stands() -> None:
    odd = ["a\u200bb", "a\u2028b", "a\ufffdb", "a\ue0f0b", "a\u00a0b"]
    ran = check(force([(*odd, "smile"), "</s>"], ask(), pieces=odd))
    assert ran.tags == ("smile",)
    assert ran.rejected == []  # such tokens are drawn again at once


def test_a_ban_of_everything_ends_soon_and_says_so() -> None:
    ran = check(force(many(60), ask(tag_length="long", text_length="short", ban=("*",)), pieces=NAMES))
    assert (ran.tags, ran.written.texts) == ((), {"long": ""})
    assert ran.written.finish is Finish.COMPLETE
    assert ran.written.short == ("tag", "long")
    # What each field may waste, and the tag or sentence in which it met that bound.
    assert ran.written.decoded <= 2 * MAX_WASTE + MAX_TAG_TOKENS + MAX_SENTENCE_TOKENS


@pytest.mark.parametrize("script", [[" and"] * 400, ["smile", *[" and"] * 400], many(100), ["\n"] * 50])
@pytest.mark.parametrize("n_ctx", [40, 64, 128])
def test_a_model_that_never_ends_stops_at_the_context_with_what_is_whole(script: list[str], n_ctx: int) -> None:
    options = ask(tag_length="very_long", text_length="very_long")
    ran = check(force(script, options, pieces=NAMES, n_ctx=n_ctx))
    assert ran.written.finish is Finish.LENGTH
    assert len(ran.job.request) + len(ran.tags) <= n_ctx


# --- DanTagGen -----------------------------------------------------------------------------------------------------

def test_dtg_begins_a_new_tag_behind_its_input_and_ends_inside_its_band() -> None:
    ran = check(force(many(60), ask("1girl, smile"), pieces=NAMES, protocol=Protocol.DTG))
    assert ran.tags == NAMES[:14]
    eager = force(["hat", *["</s>"] * 30], ask("1girl, smile"), protocol=Protocol.DTG)
    assert eager.tags[0] == "hat"
    assert len(eager.tags) == 6


# --- metadata ------------------------------------------------------------------------------------------------------

META = ("artist", "characters", "rating")


def test_metadata_lines_follow_the_last_field_when_they_are_allowed() -> None:
    script = ["smile", "\n", "characters:", " hatsune miku", "\n", "rating:", " safe", "</s>"]
    ran = check(force(script, ask(allow=META), pieces=[" hatsune miku", " safe"]))
    assert ran.tags == ("smile",)
    assert {key.value: some for key, some in ran.written.meta.items()} == {
        "characters": ("hatsune miku",), "rating": ("safe",)
    }  # fmt: skip


def test_no_metadata_is_written_when_the_model_ends() -> None:
    ran = check(force(["smile", "</s>", "\n"], ask(allow=META)))
    assert (ran.tags, ran.written.meta) == (("smile",), {})


def test_a_metadata_value_obeys_bans_and_repeats_no_tag() -> None:
    script = ["hatsune miku", "\n", "characters:", (" hatsune miku", " saber", " rem (re:zero)"), "</s>"]
    pieces = [" hatsune miku", " saber", " rem (re:zero)"]
    ran = check(force(script, ask(allow=META, ban=("saber",)), pieces=pieces))
    assert {key.value: some for key, some in ran.written.meta.items()} == {"characters": ("rem (re:zero)",)}
    assert ran.rejected == [("repeat", "hatsune miku"), ("banned", "saber")]


# --- texts ---------------------------------------------------------------------------------------------------------

def write(script: str | list[object], **options: object) -> Ran:
    """Write a text behind a full list, so that nothing else is drawn."""
    asked = {"text_length": "short", **options}
    return check(force(script, ask(", ".join(NAMES[:18]), **asked), pieces=[*NAMES, " "]))  # type: ignore[arg-type]


@pytest.mark.parametrize(("length", "low", "high"), [("very_short", 1, 2), ("short", 2, 4), ("long", 4, 8),
                                                     ("very_long", 6, 18)])  # fmt: skip
def test_a_text_ends_at_its_maximum_and_not_before_its_minimum(length: str, low: int, high: int) -> None:
    endless = write(" A girl smiles." * 30, text_length=length).written.texts["long"]
    assert sum(len(sentences_of(line)) for line in endless.split("\n")) == high
    eager = write(" A girl smiles.</s>" * 30, text_length=length).written.texts["long"]
    assert sum(len(sentences_of(line)) for line in eager.split("\n")) == low


def test_a_long_text_has_paragraphs() -> None:
    text = write(" A girl smiles. A girl smiles.\n" * 3 + "</s>", text_length="long").written.texts["long"]
    # Below the minimum of four sentences no line may end; from there on the model's own break is kept.
    assert text == "A girl smiles. " * 3 + "A girl smiles.\nA girl smiles. A girl smiles."
    full = write(" A girl smiles." * 20, text_length="long").written.texts["long"]
    assert [len(sentences_of(line)) for line in full.split("\n")] == [4, 4]


def test_a_banned_phrase_is_rewound_to_its_first_token() -> None:
    ran = write([" A", " girl", " with", (" blue", " red"), " hair", " smiles", ".", " A", " girl", ".", "</s>"],
                ban=("blue hair",))  # fmt: skip
    assert ran.written.texts["long"] == "A girl with red hair smiles. A girl."
    assert ran.rejected == [("banned", "blue hair")]
    assert ran.written.rewound == 3  # both words, and the token that showed that the second was over


@pytest.mark.parametrize(
    ("ban", "script"),
    [
        ("hat", [" A", " girl", ".", " A", " hat", ".", "</s>"]),  # no space behind it
        ("hat", [" A", " girl", ".", " A", (" hat", " girl"), '"', ".", "</s>"]),
        ("yes! precure", [" A", " girl", " of", " Yes", "!", (" Precure", " Hat"), " smiles", ".", "</s>"]),
        ("/girl\\. A/", [" A", " girl", ".", (" A", " The"), " hat", " smiles", ".", "</s>"]),
        ("/.*smiles\\.$/", [" A", " girl", ".", " A", " hat", ".", " A", " girl", (" smiles", " stands"), ".", "</s>"]),
        ("/^a .*/", [(" A", " The"), " girl", " smiles", ".", " The", " hat", " smiles", ".", "</s>"]),
    ],
)  # fmt: skip
def test_a_banned_phrase_stands_nowhere(ban: str, script: list[object]) -> None:
    write(script, ban=(ban,))


def test_a_phrase_that_is_met_again_and_again_does_not_stay_when_the_text_gives_up() -> None:
    ran = write([" A", " girl", ".", *[" hat"] * 200], ban=("hat", "/hat\\W/"), text_length="very_long")
    assert "hat" not in ran.written.texts["long"]


def test_a_sentence_that_never_stops_is_given_a_stop_behind_a_whole_word() -> None:
    ran = write([" A", *[" girl"] * 500])
    parts = sentences_of(ran.written.texts["long"])
    assert len(parts) == 2
    assert all(part.endswith("girl.") for part in parts)


def test_a_stop_of_ours_never_completes_a_banned_phrase() -> None:
    ran = write([" A", *[" girl"] * 500], ban=("/girl\\./",))
    assert "girl." not in ran.written.texts["long"]


def test_a_number_or_a_title_behind_a_stop_goes_on() -> None:
    text = " Mr. Fox has an f1.8 lens at 5.30 p.m. and smiles. A girl stands.</s>"
    assert write(text).written.texts["long"] == text[1:-4]


def test_a_space_that_is_a_token_of_its_own_decides_nothing() -> None:
    script = [" A", " girl", " at", " 5", " p.m", ".", " ", "and", " hat", ".",
              " ", '"', "A", " girl", ".", '"', "</s>"]  # fmt: skip
    ran = write(script)  # type: ignore[arg-type]
    assert ran.written.texts["long"] == 'A girl at 5 p.m. and hat. "A girl."'
    # Two sentences, so both fit where two are the most there may be.
    assert write(script, text_length="very_short").written.texts == ran.written.texts  # type: ignore[arg-type]


def test_wide_stops_end_sentences_without_a_space() -> None:
    ran = write(["少女", "。", "空", "！", "</s>"])
    assert ran.written.texts["long"] == "少女。空！"


@pytest.mark.parametrize("room", range(20, 50, 3))
def test_half_a_sentence_at_the_end_of_the_context_is_dropped(room: int) -> None:
    options = ask(", ".join(NAMES[:18]), text_length="very_long")
    ran = check(force(" A girl smiles." * 30, options, pieces=NAMES, n_ctx=50 + room))
    assert ran.written.finish is Finish.LENGTH
    sentences = sentences_of(ran.written.texts["long"].replace("\n", " "))
    assert sentences and set(sentences) == {"A girl smiles."}
