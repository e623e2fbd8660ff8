"""Planning a request and assembling its result, without a model."""
from __future__ import annotations

from dataclasses import replace

import pytest
from scripted_engine import ScriptedEngine

from kgen_ext.decoding.row import RowOutput
from kgen_ext.events import Expansion, Finish
from kgen_ext.protocol import Protocol, TagField
from kgen_ext.request import Category, ExpandRequest
from kgen_ext.rules.filter import PhraseFilter, RowTags
from kgen_ext.rules.known import TagFiles
from kgen_ext.service.cache import DecodedRow, Key, ResultCache
from kgen_ext.service.plan import ExpansionPlan, ModelContext, make_jobs, plan_expansion
from kgen_ext.service.result import build_expansion
from kgen_ext.tags.tag import read_tag

NOTHING = RowOutput((), {}, {}, Finish.COMPLETE, (), "", 0, 0, 0)


def plan(prompt: str = "fox", **options: object) -> ExpansionPlan:
    return plan_expansion(ExpandRequest(prompt, **options), TagFiles())  # type: ignore[arg-type]


def assembled(ready: ExpansionPlan, *written: RowOutput | None) -> Expansion:
    return build_expansion(ready, written, row=0, seed=0, model="m", engine="e", hidden=0, seconds=0.0)


def wrote(*tags: str, **texts: str) -> RowOutput:
    return replace(NOTHING, tags=tuple(map(read_tag, tags)), texts=texts)


# What the model is to see.


def test_a_segment_with_nothing_to_see_is_left_alone() -> None:
    assert [subject is None for subject in plan("BREAK fox").subjects] == [True, False]


@pytest.mark.parametrize("prompt", ["", "<lora:x:1>", " BREAK "])
def test_where_there_is_nothing_to_see_at_all_the_model_starts_from_nothing(prompt: str) -> None:
    assert plan(prompt).subjects[0] is not None


def test_the_description_belongs_to_the_first_segment() -> None:
    found = plan("fox BREAK sky", text="A fox.").subjects
    assert [subject and subject.text for subject in found] == ["A fox.", ""]


def test_the_user_s_tags_cannot_speak_to_the_model_in_its_own_signs() -> None:
    (subject,) = plan("<|long|>, cat, a<|empty|>b").subjects
    assert subject is not None and "<|" not in "".join(subject.tags)


@pytest.mark.parametrize(
    "typed",
    ["fox ears", "Fox Ears", "FOX EARS", "fox_ears", "Fox-Ears", "ｆｏｘ ｅａｒｓ", "fox‐ears", "(fox ears:1.2)",
     "fox ears.", "fox ears;", "“fox ears”", "1.2::fox ears::", "{{Fox Ears}}", "（fox ears：1.2）", "fox ears:1.2"],
)  # fmt: skip
def test_a_tag_is_shown_as_in_training_however_it_is_typed(typed: str) -> None:
    (subject,) = plan(typed).subjects
    assert subject is not None and subject.tags == ("fox ears",)


@pytest.mark.parametrize(
    ("typed", "shown"),
    [("X-Ray", "x-ray"), ("T-Shirt", "t-shirt"), ("Off-Shoulder_Shirt", "off-shoulder shirt"), (":D", ":d"),
     ("girl’s toy", "girl's toy"), ("Half Closed Eyes", "half-closed eyes"), (r"Vision \(Weapon\)", "vision (weapon)"),
     ("黒い鵼", "黒い鵼"), ("^_^", "^_^"), ("Wide-Eyed", "wide-eyed")],
)  # fmt: skip
def test_a_tag_keeps_the_signs_it_was_trained_with(typed: str, shown: str) -> None:
    (subject,) = plan(typed).subjects
    assert subject is not None and subject.tags[0] == shown


@pytest.mark.parametrize("typed", ["Hatsune Miku", "HATSUNE_MIKU", "Hatsune-Miku"])
def test_metadata_is_shown_as_in_training_however_it_is_typed(typed: str) -> None:
    (subject,) = plan(f"{typed}, Masterpiece").subjects
    assert subject is not None
    assert dict(subject.meta) == {Category.CHARACTERS: ("hatsune miku",), Category.QUALITY: ("masterpiece",)}


def test_sentences_are_shown_in_ordinary_case_wherever_they_stand() -> None:
    (subject,) = plan("A GIRL IN THE RAIN, hat", text="A FOX WAITS.").subjects
    assert subject is not None and subject.text == "A fox waits. A girl in the rain"


def test_of_spellings_of_one_tag_the_model_sees_one() -> None:
    (subject,) = plan("Fox-Ears, fox ears, FOX_EARS.").subjects
    assert subject is not None and subject.tags == ("fox ears",)


@pytest.mark.parametrize("prompt", ["-1::Hat::, fox", "(hat:-1), fox", "(hat:0), fox"])
def test_a_tag_whose_weight_keeps_it_out_is_banned(prompt: str) -> None:
    assert plan(prompt).rules.bans.match("hat") is not None


def test_a_tag_whose_weight_keeps_it_out_contradicts_nothing() -> None:
    assert [tag.name for tag in plan("(blue hair:-1), fox").given[0]] == ["fox"]


def test_the_signs_of_a_tag_kept_out_are_no_pattern() -> None:
    assert plan("(/cat/:-1), (* hair:-1), fox").rules.bans.match("long hair") is None


def test_a_tag_required_twice_is_required_once() -> None:
    assert [entry.text for entry in plan(require="red moon, Red_Moon").required] == ["red moon"]


def test_what_is_required_is_given_to_the_first_segment_alone() -> None:
    engine = ScriptedEngine.random(1)
    ready = plan("fox BREAK sky", require="red moon")
    jobs, _ = make_jobs(ready, ModelContext(engine, Protocol.TIPO, False, 512), row=0, seed=0)
    fields = [job.fields[0] for job in jobs if job is not None]
    assert [field.given for field in fields if isinstance(field, TagField)] == [2, 1]


def test_of_several_forbidden_phrases_the_first_is_found() -> None:
    rules = plan(ban="river", rules=("if fox ban stone",)).rules
    found = PhraseFilter(RowTags(rules, ["fox"])).search("a stone by the river")
    assert found is not None and found[:2] == (2, 7)


@pytest.mark.parametrize(("given", "forbidden"), [("fox", True), ("cat", False)])
def test_a_rule_forbids_nothing_in_a_text_where_its_condition_fails(given: str, forbidden: bool) -> None:
    rules = plan(rules=("if fox ban stone",)).rules
    assert (PhraseFilter(RowTags(rules, [given])).search("a stone") is not None) is forbidden


# What is made of what it wrote.


def test_what_is_required_stands_in_the_first_segment_that_is_written() -> None:
    done = assembled(plan("BREAK fox", require="red moon"), None, wrote("hat"))
    assert done.prompt == "BREAK fox, red moon, hat"


def test_of_two_texts_the_second_is_the_one_added() -> None:
    assert assembled(plan(text_length="short"), wrote(short="A.", long="A fox.")).added_text == "A fox."


def test_a_description_goes_on_with_the_longer_text() -> None:
    ready = plan(text="A fox.", text_length="short", format="<|extended|>")
    assert assembled(ready, wrote(short="It runs.", long="It runs far.")).prompt == "A fox. It runs far."


def test_a_description_goes_on_with_the_only_text() -> None:
    ready = plan(text="A fox.", text_length="short", format="<|extended|>")
    assert assembled(ready, wrote(short="It runs.")).prompt == "A fox. It runs."


def test_a_row_that_was_cancelled_in_one_segment_was_cancelled() -> None:
    parts = [replace(NOTHING, finish=finish) for finish in (Finish.LENGTH, Finish.CANCELLED)]
    assert assembled(plan("fox BREAK sky"), *parts).finish is Finish.CANCELLED


def test_segments_without_a_safe_place_are_counted_from_one() -> None:
    done = assembled(plan("(a AND b AND c:1.3)"), *[wrote("hat")] * 3)
    assert done.notes == ("segment 2: no place is safe to add to",)


@pytest.mark.parametrize(("count", "temperature", "notes"), [(1, 0.0, 0), (2, 0.0, 1), (2, 0.5, 0)])
def test_variants_that_are_all_the_same_are_told(count: int, temperature: float, notes: int) -> None:
    assert len(assembled(plan(count=count, temperature=temperature), wrote("hat")).notes) == notes


@pytest.mark.parametrize(("length", "notes"), [(3_990, 1), (4_001, 0)])
def test_an_open_bracket_is_told_of_prompts_short_enough_to_weigh(length: int, notes: int) -> None:
    assert len(assembled(plan("(" + "a" * (length - 1), format="tags"), wrote("hat")).notes) == notes


# What is remembered of it.


def keys(count: int) -> list[Key]:
    return [Key(ExpandRequest("fox", seed=seed), "", "", "x", "e", "1") for seed in range(count)]


DONE = DecodedRow((NOTHING,), 0, 0.0)


def test_as_many_rows_are_remembered_as_fit_and_the_oldest_goes() -> None:
    cache = ResultCache(2)
    for key in keys(3):
        cache.put(key, DONE)
    assert [cache.get(key) is None for key in keys(3)] == [True, False, False]


@pytest.mark.parametrize("again", ["get", "put"])
def test_a_row_asked_for_again_is_not_the_oldest(again: str) -> None:
    cache = ResultCache(2)
    first, second, third = keys(3)
    cache.put(first, DONE)
    cache.put(second, DONE)
    if again == "get":
        cache.get(first)
    else:
        cache.put(first, DONE)
    cache.put(third, DONE)
    assert [cache.get(key) is None for key in (first, second, third)] == [False, True, False]
