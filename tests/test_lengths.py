"""Tag lengths: what counts, where `auto` ends, and that nothing is left empty without a note that says why."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from decoding_kit import NAMES, check, force, greedy, run_all
from scripted_engine import ScriptedEngine

from kgen_ext.decoding.row import RowOutput
from kgen_ext.events import Expansion, Finish, name_fields
from kgen_ext.models import find_entry, load_catalogue
from kgen_ext.protocol import Protocol, Subject, TagField, dtg, tipo
from kgen_ext.protocol.plan import DTG_TAGS, TAG_BANDS, TIPO_TAGS, Band, ask_length
from kgen_ext.request import Category, ExpandRequest, TagLength, Task, TextLength
from kgen_ext.rules.known import TagFiles
from kgen_ext.service.expander import Expander
from kgen_ext.service.notes import row_notes
from kgen_ext.service.plan import ModelContext, check_servable, plan_expansion
from kgen_ext.webui.messages import ui_note


def context(
    engine: ScriptedEngine | None = None, protocol: Protocol = Protocol.TIPO, n_ctx: int = 1024
) -> ModelContext:
    return ModelContext(engine or ScriptedEngine.random(7), protocol, False, n_ctx)


def expand(prompt: str, *, engine: ScriptedEngine | None = None, n_ctx: int = 1024, protocol: Protocol = Protocol.TIPO,
           **options: object) -> Expansion:  # fmt: skip
    expander = Expander(context(engine, protocol, n_ctx), model="scripted", checksum="x", rows=2)
    request = ExpandRequest(prompt, **{"tag_length": "very_short", "min_p": 0.0, **options})  # type: ignore[arg-type]
    return expander.expand([request])[0]


def things(count: int) -> str:
    return ", ".join(NAMES[:count])


def counted(prompt: str, **options: object) -> list[int]:
    """Return how many tags count in each segment before anything is added."""
    request = ExpandRequest(prompt, tag_length="very_short", **options)  # type: ignore[arg-type]
    plan = plan_expansion(request, TagFiles())
    plans = [
        tipo.plan(subject, task=Task.TAG, tag_length=TagLength.VERY_SHORT, text_length=TextLength.NONE)
        for subject in plan.subjects if subject is not None
    ]  # fmt: skip
    return [field.given for plan in plans for field in plan.fields if isinstance(field, TagField)]


# What counts.


@pytest.mark.parametrize(
    ("prompt", "count"),
    [
        ("1girl, hat", [2]),
        ("masterpiece, hat", [1]),  # quality
        ("highres, hat", [1]),  # meta
        ("safe, hat", [1]),  # rating
        ("hatsune miku, hat", [1]),  # character
        ("vocaloid, hat", [1]),  # series
        ("artist:somebody, hat", [1]),
        ("hat, hat, Hat", [1]),
        ("(hat:1.2), [scarf], very (long:1.3) hair", [3]),
        ("<lora:ink:1>, my_char_v2, __animal__, hat", [1]),  # hidden from the model
        ("1girl, hat BREAK 1boy", [2, 1]),
        ("A girl stands in the rain.", [0]),
    ],
)
def test_people_and_general_tags_of_a_segment_count(prompt: str, count: list[int]) -> None:
    assert counted(prompt) == count


@pytest.mark.parametrize(
    ("required", "count"),
    [
        ("scarf", 2), ("(scarf:1.2)", 2), ("(scarf, coat:1.2)", 3), ("hat", 1), ("<lora:ink:1>", 1), ("masterpiece", 1),
        ("hatsune miku", 1), ("2girls", 2), ("__animal__", 1), ("my_char_v2", 1),
    ],
)  # fmt: skip
def test_a_required_tag_counts_as_if_it_had_been_given(required: str, count: int) -> None:
    assert counted("hat", require=required) == [count]


# The length `auto`.


@pytest.mark.parametrize(
    ("given", "asked", "maximum"),
    [
        (0, "short", 36), (1, "short", 36), (30, "short", 36), (31, "long", 54), (36, "long", 54), (48, "long", 54),
        (49, "very_long", 72), (66, "very_long", 72), (71, "very_long", 72), (72, "very_long", 72),
    ],
)  # fmt: skip
def test_auto_asks_for_the_first_length_that_leaves_room(given: int, asked: str, maximum: int) -> None:
    size, band = ask_length(TagLength.AUTO, given=given, bands=TIPO_TAGS)
    assert (size.value, band.maximum) == (asked, maximum)


@pytest.mark.parametrize("length", list(TIPO_TAGS))
@pytest.mark.parametrize("given", [0, 17, 35, 53, 71, 100])
def test_every_other_length_keeps_its_band(length: TagLength, given: int) -> None:
    assert ask_length(length, given=given, bands=TIPO_TAGS) == (length, TIPO_TAGS[length])


def test_auto_has_no_minimum_but_one_more_tag() -> None:
    assert ask_length(TagLength.AUTO, given=3, bands=TIPO_TAGS)[1] == Band(4, 36)


def test_the_model_is_never_told_of_auto() -> None:
    plan = tipo.plan(Subject(("hat",)), task=Task.TAG, tag_length=TagLength.AUTO, text_length=TextLength.NONE)
    assert "target: <|short|>\n" in plan.request


def test_auto_works_for_danbooru_tag_models_too() -> None:
    plan = dtg.plan(Subject(NAMES[:28]), tag_length=TagLength.AUTO, quality_line=False)
    assert "target: <|long|>\n" in plan.request
    assert [field.band for field in plan.fields if isinstance(field, TagField)] == [
        Band(29, DTG_TAGS[TagLength.LONG].maximum)
    ]


@pytest.mark.parametrize("count", [1, 2, 5, 20])
def test_an_auto_list_ends_where_the_model_ends_it(count: int) -> None:
    script = [piece for name in NAMES[1 : count + 1] for piece in (",", name)]
    ran = check(force([*script, "</s>"], greedy(NAMES[0], tag_length="auto"), pieces=NAMES))
    assert len(ran.tags) == count


def test_an_auto_list_ends_at_its_maximum_where_the_model_does_not_end_it() -> None:
    ran = check(
        force(
            [piece for name in NAMES[1:60] for piece in (",", name)], greedy(NAMES[0], tag_length="auto"), pieces=NAMES
        )
    )
    assert len(ran.tags) == 35


def test_an_auto_list_is_not_left_empty_while_the_model_has_something() -> None:
    """Twenty rejections are more than a list inside its band takes."""
    bans = tuple(NAMES[1:21])
    script = [",", tuple(f" {name}" for name in NAMES[1:22]), "</s>"]
    ran = check(force(script, greedy(NAMES[0], tag_length="auto", ban=bans), pieces=[f" {name}" for name in NAMES]))
    assert ran.tags == (NAMES[21],)


def test_auto_is_what_the_starter_recommends() -> None:
    entry = find_entry("starter", load_catalogue())
    assert entry is not None and entry.recommended is not None and entry.recommended.tag_length == "auto"


# A prompt that has its number.


def limit_notes(prompt: str, protocol: Protocol = Protocol.TIPO, **options: object) -> tuple[str, ...]:
    request = ExpandRequest(prompt, **options)  # type: ignore[arg-type]
    return check_servable(plan_expansion(request, TagFiles()), context(protocol=protocol)).notes


@pytest.mark.parametrize(
    ("count", "length", "note"),
    [
        (61, "long", "tag_length long ends at 54: no tags added; choose very_long (72)"),
        (54, "long", "tag_length long ends at 54: no tags added; choose very_long (72)"),
        (18, "very_short", "tag_length very_short ends at 18: no tags added; choose short (36)"),
        (36, "very_short", "tag_length very_short ends at 18: no tags added; choose long (54)"),
        (40, "short", "tag_length short ends at 36: no tags added; choose long (54)"),
        (72, "very_long", "tag_length very_long ends at 72: no tags added"),
        (80, "long", "very_long, the longest tag_length, ends at 72: no tags added"),
        (72, "auto", "very_long, the longest tag_length, ends at 72: no tags added"),
    ],
)
def test_a_full_prompt_is_told_both_numbers_and_what_to_choose(count: int, length: str, note: str) -> None:
    assert limit_notes(things(count), tag_length=length) == (f"the prompt has {count} tags and {note}",)


@pytest.mark.parametrize(
    ("count", "length"), [(53, "long"), (17, "very_short"), (35, "short"), (71, "auto"), (40, "auto")]
)
def test_a_prompt_with_room_for_a_tag_has_no_note(count: int, length: str) -> None:
    assert limit_notes(things(count), tag_length=length) == ()


def test_the_bands_named_are_the_models_own() -> None:
    assert limit_notes(things(20), Protocol.DTG, tag_length="very_short") == (
        "the prompt has 20 tags and tag_length very_short ends at 16: no tags added; choose short (32)",
    )


def test_the_segment_that_is_full_is_named() -> None:
    assert limit_notes(f"hat BREAK {things(19)}", tag_length="very_short")[0].startswith("segment 2 has 19 tags")


def test_the_note_is_in_the_result() -> None:
    assert "no tags added" in expand(things(20)).notes[0]


def test_text_alone_counts_no_tags() -> None:
    assert limit_notes(things(20), tag_length="very_short", text_length="short", no_tags=True) == ()


def test_the_command_names_its_option() -> None:
    note = name_fields("tag_length long and text_length short", lambda field: f"--{field.replace('_', '-')}")
    assert note == "--tag-length long and --text-length short"


def test_the_page_names_its_control() -> None:
    assert (
        ui_note("tag_length long ends at 54; choose very_long (72)")
        == "“Tag length” long ends at 54; choose very long (72)"
    )


# Nothing is empty without a word.


def saying(notes: tuple[str, ...], words: str) -> list[str]:
    return [note for note in notes if words in note]


@pytest.mark.parametrize("length", ["very_short", "short", "auto", "long"])
def test_where_everything_is_banned_a_note_says_so(length: str) -> None:
    done = expand("fox", tag_length=length, ban="*")
    assert done.added_tags == () and saying(done.notes, "the rules left the model nothing")


def test_a_list_that_may_be_empty_says_which_rule_emptied_it() -> None:
    notes = expand("fox", tag_length="very_short", ban="*").notes
    assert saying(notes, "nothing added: the rules left the model nothing to write (most often: banned '*'")


def test_where_the_context_is_full_a_note_says_so() -> None:
    nothing = RowOutput((), {}, {}, Finish.LENGTH, (), "", 0, 0, 0)
    notes = row_notes(plan_expansion(ExpandRequest("fox"), TagFiles()), [nothing], hidden=0)
    assert notes == ["tag_length long: the model's context ended before that; what is whole was kept"]


def test_a_row_that_was_cancelled_at_once_says_so() -> None:
    expander = Expander(context(), model="scripted", checksum="x", rows=2)
    request = ExpandRequest("fox", tag_length="very_short")
    done = expander.expand([request], cancelled=lambda: True)[0]
    assert saying(done.notes, "nothing added: cancelled")


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ("text", "this format shows sentences alone"),
        ("<|extended|>", "this format shows sentences alone"),
        ("<|quality|>", "it has no slot for what the model wrote"),
        ("<|prompt|>, <|artist|>", "it has no slot for what the model wrote"),
    ],
)
def test_a_format_that_shows_nothing_of_it_says_so(layout: str, words: str) -> None:
    assert saying(expand("fox", format=layout).notes, words)


def test_each_segment_that_stays_empty_is_named() -> None:
    done = expand("fox BREAK 1girl", ban="*")
    assert [note.partition(":")[0] for note in saying(done.notes, "nothing added")] == ["segment 1", "segment 2"]


def test_auto_holds_in_a_batch_as_alone() -> None:
    requests = [ExpandRequest(name, tag_length="auto", seed=3, min_p=0.0) for name in NAMES[:5]]
    engine = ScriptedEngine.random(7)
    alone = [run_all(engine, [request])[0].tags for request in requests]
    assert [ran.tags for ran in run_all(engine, requests, rows=3)] == alone


def test_every_protocol_has_bands_for_every_length_but_auto() -> None:
    assert {frozenset(bands) for bands in TAG_BANDS.values()} == {frozenset(TagLength) - {TagLength.AUTO}}


def test_names_stay_out_of_the_number_but_in_the_request() -> None:
    plan = plan_expansion(ExpandRequest("hat", require="hatsune miku"), TagFiles())
    assert plan.subjects[0] is not None and dict(plan.subjects[0].meta)[Category.CHARACTERS] == ("hatsune miku",)


def test_the_bands_of_the_documentation_are_the_codes() -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "prompts.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\d+) to (\d+) \| (\d+) to (\d+) \|$", page, re.MULTILINE)
    assert [(name, *map(int, numbers)) for name, *numbers in rows] == [
        (size.value, band.minimum, band.maximum, DTG_TAGS[size].minimum, DTG_TAGS[size].maximum)
        for size, band in TIPO_TAGS.items()
    ]
