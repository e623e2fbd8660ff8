"""Every rule by forced decoding: the engine tries to break it, the result obeys it, and the event gives the reason."""
from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from decoding_kit import check, force, greedy

from kgen_ext.rules.questions import QUESTIONS, Question

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
    "new series' costume": ("k/da (league of legends)", "", {}),
    "quality": ("masterpiece", "", {}),
    "rating": ("nsfw", "", {}),
    "meta": ("highres", "", {}),
    "rule": ("long hair", "twintails", {"rules": ("if twintails ban long hair",)}),
    "rule, the other way": ("twintails1", "twintails2", {"rules": ("if twintails1 ban twintails2",)}),
}
REASONS = {"banned": "banned", "repeat": "repeat", "contradiction": "contradiction", "new": "category",
           "quality": "category", "rating": "category", "meta": "category", "rule": "rule"}  # fmt: skip
PIECES = ("twintails1", "twintails2", "wlop", "vocaloid", "umbrella", "shrine", "k/da (league of legends)",
          "amiya (arknights)")


def reason(case: str) -> str:
    return REASONS[case.split(",")[0].split(" ")[0]]


@pytest.mark.parametrize("case", CASES)
def test_a_tag_that_breaks_a_rule_is_taken_back_and_another_is_drawn_in_its_place(case: str) -> None:
    tag, prompt, options = CASES[case]
    script = [*([","] if prompt else []), (tag, "umbrella"), ",", "shrine", "</s>"]
    ran = check(force(script, greedy(prompt, **options), pieces=PIECES))
    assert ran.tags == ("umbrella", "shrine")
    assert ran.rejected == [(reason(case), tag)]
    assert ran.output.rewound >= 1


@pytest.mark.parametrize(("one", "other"), list(combinations(CASES, 2)))
def test_two_rules_hold_together(one: str, other: str) -> None:
    (tag, prompt, options), (tag2, prompt2, options2) = CASES[one], CASES[other]
    asked: dict[str, object] = {key: (*options.get(key, ()), *options2.get(key, ()))  # type: ignore[misc]
                                for key in options.keys() | options2.keys()}  # fmt: skip
    prompts = ", ".join(part for part in (prompt, prompt2) if part)
    script = [(tag, "umbrella"), ",", (tag2, "shrine"), "</s>"]
    ran = check(force([",", *script] if prompts else script, greedy(prompts, **asked), pieces=PIECES))
    assert ran.tags == ("umbrella", "shrine")
    assert {rule for rule, _ in ran.rejected} == {reason(one), reason(other)}


def test_a_repeat_of_an_own_tag_is_taken_back() -> None:
    ran = check(force(["smile", ",", ("smile", "hat"), ",", ("Smile", "sky"), "</s>"], greedy(), pieces=["Smile"]))
    assert ran.tags == ("smile", "hat", "sky")
    # The tokens of `smile` are closed once it stands; another spelling is judged when it is whole.
    assert ran.rejected == [("repeat", "Smile")]


@pytest.mark.parametrize("question", [asked for asked in QUESTIONS if len(asked.answers) > 1], ids=lambda it: it.name)
def test_every_question_is_answered_once_unless_contradictions_are_allowed(question: Question) -> None:
    tags = [[tag.strip() for tag in some.split(",")] for some in question.answers.values()]
    first, last = next((a, b) for a in tags[0] for b in tags[-1] if a not in tags[-1] and b not in tags[0])
    script = [first, ",", (last, "umbrella"), "</s>"]
    pieces = (first, last, "umbrella")
    ran = check(force(script, greedy(), pieces=pieces))
    assert ran.tags == (first, "umbrella")
    assert ran.rejected == [("contradiction", last)]
    assert force(script, greedy(allow_contradictions=True), pieces=pieces).tags == (first, last)


@pytest.mark.parametrize(
    ("tag", "category"),
    [("hatsune miku", "characters"), ("amiya (arknights)", "characters"), ("vocaloid", "copyrights"),
     ("masterpiece", "quality"), ("nsfw", "rating"), ("highres", "meta"), ("wlop", "artist")],
)  # fmt: skip
def test_what_is_allowed_may_be_written(tag: str, category: str) -> None:
    ran = check(force([(tag, "hat"), "</s>", "</s>"], greedy(allow=(category,)), pieces=PIECES))
    assert ran.tags == (tag,)
    assert ran.rejected == []


@pytest.mark.parametrize(
    ("prompt", "options"),
    [("ahri \\(league of legends\\)", {}), ("league of legends", {}), ("hatsune miku", {}),
     ("k/da all out \\(League_of_Legends\\)", {}), ("hat", {"allow": ("copyrights",)})],
)  # fmt: skip
def test_what_belongs_to_a_series_may_stand_where_one_is_named(prompt: str, options: dict[str, object]) -> None:
    script = [",", ("k/da (league of legends)", "umbrella"), "</s>", "</s>"]
    ran = check(force(script, greedy(prompt, **options), pieces=PIECES))
    assert ran.tags == ("k/da (league of legends)",)
    assert ran.rejected == []


def tag_file(folder: Path) -> str:
    path = folder / "tags.csv"
    path.write_text('hat,0,100,"headwear,chapeau"\nsmile,0,50,\n1girl,0,900,"sole_female"\n', "utf-8")
    return str(path)


def test_with_a_tag_file_only_its_tags_stand_aliases_resolved(tmp_path: Path) -> None:
    script = [("umbrella", "chapeau"), ",", ("hat", "smile"), ",", ("sole female", "sky"), "</s>"]
    ran = check(force(script, greedy(tag_file=tag_file(tmp_path)), pieces=("umbrella", "chapeau", "sole female")))
    assert ran.tags == ("hat", "smile", "1girl")
    assert ran.rejected == [("unknown", "umbrella"), ("repeat", "hat")]


def test_an_alias_the_user_wrote_is_the_tag_it_stands_for(tmp_path: Path) -> None:
    ran = check(force([",", ("hat", "smile"), "</s>"], greedy("headwear", tag_file=tag_file(tmp_path))))
    assert ran.tags == ("smile",)
    assert ran.rejected == [("repeat", "hat")]


@pytest.mark.parametrize("order", [("twintails", "long hair"), ("long hair", "twintails")])
def test_a_conditional_rule_holds_in_whichever_order_its_tags_come(order: tuple[str, str]) -> None:
    first, last = order
    ran = check(force([first, ",", (last, "hat"), "</s>"], greedy(rules=("if twintails ban long hair",))))
    assert ran.tags == (first, "hat")
    assert ran.rejected == [("rule", last)]


def test_a_rule_whose_condition_fails_bans_nothing() -> None:
    ran = check(force(["long hair", ",", "hat", "</s>"], greedy(rules=("if twintails ban long hair",))))
    assert ran.tags == ("long hair", "hat")


def test_required_tags_are_shown_counted_and_never_repeated() -> None:
    ran = check(force([",", ("shrine", "hat"), "</s>"], greedy("smile", require=("shrine",)), pieces=PIECES))
    assert [entry.text for entry in ran.plan.required] == ["shrine"]
    assert ran.tags == ("hat",)
    assert ran.rejected == [("repeat", "shrine")]


def test_a_tag_both_required_and_banned_is_named_and_the_ban_holds() -> None:
    ran = check(force(["hat", "</s>"], greedy(require=("hat",), ban=("hat",))))
    assert "hat" not in (*(entry.text for entry in ran.plan.required), *ran.tags)
    assert any("'hat'" in note for note in ran.plan.notes)


def test_mistake_6_a_ban_of_hat_leaves_hatsune_miku_and_the_user_s_own_1girl() -> None:
    """protocol.md, mistake 6: bans matched parts of words, and deleted the user's tags."""
    options = greedy("1girl, hatsune miku", ban=("hat", "1girl", ":("), allow=("characters",))
    ran = check(force([",", ("hat", "hatsune miku", "hatsune miku (append)"), "</s>"], options,
                      pieces=["hatsune miku (append)"]))  # fmt: skip
    assert ran.tags == ("hatsune miku (append)",)
    assert ran.given == ("1girl", "hatsune miku")


def test_mistake_4_a_tag_keeps_the_letters_of_the_end_token() -> None:
    """protocol.md, mistake 4: `glasses` became `glasse` when `</s>` was stripped as characters."""
    ran = check(force(["s", ",", "glasses", ",", "dress", "</s>"], greedy(), pieces=["s", "glasses", "dress"]))
    assert ran.tags == ("s", "glasses", "dress")
