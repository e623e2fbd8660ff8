"""Marked parts in the service and the WebUI: what is written where, what is recorded, and no mark in the image."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_service import expander, short
from test_webui_regions import couple_job
from webui_kit import Stage, forget, positional, set_stage

from kgen_ext.errors import BadValue
from kgen_ext.events import By, Expansion
from kgen_ext.prompt import escape, read_marks
from kgen_ext.request import ExpandRequest
from kgen_ext.rules.known import TagFiles
from kgen_ext.service.plan import plan_expansion
from kgen_ext.webui.job import ImagePrompt, follow


def expand(prompt: str, **options: object) -> Expansion:
    return expander().expand([short(prompt, **options)])[0]


PROMPTS = [
    "1girl, <kgen>fox ears</kgen>, night", "<kgen>1girl</kgen>, sky, <kgen>hat</kgen>", "1girl, <kgen></kgen>, hat",
    "1girl, hat BREAK <kgen>shrine</kgen>", "<kgen>1girl BREAK 1boy", "(<kgen>hat</kgen>:1.2), 1girl",
    "</kgen>a, <kgen>b", "1girl AND_PERP <kgen>hat :0.5</kgen>", "<lora:x:1>, <kgen>1girl</kgen> # note",
    "<kgen></kgen>",
]  # fmt: skip


@pytest.mark.parametrize("layout", ["append", "tags", "tags_then_text", "<|prompt|>; <|general|>"])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_source_is_the_prompt_as_typed(prompt: str, layout: str) -> None:
    assert expand(prompt, format=layout, text_length="very_short").source == prompt


@pytest.mark.parametrize("layout", ["append", "tags", "tags_then_text", "<|prompt|>; <|general|>"])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_users_pieces_are_the_prompt_without_marks(prompt: str, layout: str) -> None:
    done = expand(prompt, format=layout, text_length="very_short")
    users = "".join(piece.text for piece in done.pieces if piece.by is By.USER)
    assert users == read_marks(prompt, "kgen").text


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_pieces_are_the_result(prompt: str) -> None:
    done = expand(prompt)
    assert "".join(piece.text for piece in done.pieces) == done.prompt


@pytest.mark.parametrize("prompt", PROMPTS)
def test_something_is_added(prompt: str) -> None:
    assert expand(prompt).added_tags


def test_every_marked_part_of_a_segment_gets_additions() -> None:
    done = expand("<kgen>1girl</kgen>, sky, <kgen>hat</kgen>")
    assert [piece.by for piece in done.pieces] == [By.USER, By.MODEL, By.USER, By.MODEL]


def test_several_parts_of_a_segment_repeat_nothing() -> None:
    for seed in range(4):
        tags = ["1girl", "sky", "hat", *expand("<kgen>1girl</kgen>, sky, <kgen>hat</kgen>", seed=seed).added_tags]
        assert len(set(tags)) == len(tags)


def test_a_segment_without_a_mark_is_left() -> None:
    assert expand("1girl, hat BREAK <kgen>1boy</kgen>").prompt.startswith("1girl, hat BREAK 1boy, ")


def test_the_rest_of_the_segment_is_shown_and_not_counted() -> None:
    subject = plan_expansion(ExpandRequest("1girl, hat, <kgen>smile</kgen>"), TagFiles()).subjects[0]
    assert subject is not None and (subject.context, subject.tags) == (("1girl", "hat"), ("smile",))


@pytest.mark.parametrize(("prompt", "had"), [
    ("1girl, hat, <kgen>smile</kgen>", ["1girl", "hat"]),
    ("hat, night, <kgen>1girl</kgen>", ["hat", "night"]),
    ("hat, night, <kgen>smile</kgen>", ["hat", "night"]),
    ("1girl, night, <kgen>shrine</kgen>", ["1girl", "night"]),
])  # fmt: skip
def test_the_rest_of_the_segment_counts_as_had(prompt: str, had: list[str]) -> None:
    view = plan_expansion(ExpandRequest(prompt), TagFiles()).views[0]
    assert [tag.name for tag in view.had] == had


def test_a_marked_place_gets_no_second_girl() -> None:
    assert plan_expansion(ExpandRequest("1girl, <kgen>shrine, night</kgen>"), TagFiles()).views[0].refuses is not None


def test_marked_quality_words_are_expanded() -> None:
    assert plan_expansion(ExpandRequest("<kgen>highres</kgen> BREAK 1girl"), TagFiles()).subjects[0] is not None


def test_a_prompt_in_one_mark_is_expanded_as_without_it() -> None:
    assert expand("<kgen>1girl, hat</kgen>").prompt == expand("1girl, hat").prompt


def test_a_description_goes_behind_the_last_part_of_the_first_segment_with_a_mark() -> None:
    done = expand("1girl BREAK <kgen>hat</kgen>, sky", text="It rains.")
    assert [piece.text for piece in done.pieces if piece.by is By.USER] == ["1girl BREAK hat", "It rains.", ", sky"]


def test_a_stray_mark_is_told_in_a_note() -> None:
    assert any("</kgen>" in note for note in expand("</kgen>1girl").notes)


@pytest.mark.parametrize("mark", ["", "k1", "a b", "<", "a>"])
def test_a_mark_is_letters(mark: str) -> None:
    with pytest.raises(BadValue, match="mark"):
        ExpandRequest("1girl", mark=mark)


def test_another_name_of_the_mark() -> None:
    assert expand("1girl, <go>hat</go>, sky", mark="go").prompt.startswith("1girl, hat, ")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(
    ["<kgen>", "</kgen>", "a b", ", ", "(", ":1.2)", " BREAK ", "#", "[", "x:y:0.5]", "\n", "{"]
), max_size=10).map("".join))  # fmt: skip
def test_any_prompt_with_marks_keeps_its_bytes(prompt: str) -> None:
    done = expand(prompt)
    users = "".join(piece.text for piece in done.pieces if piece.by is By.USER)
    assert users == read_marks(prompt, "kgen").text


def test_the_parts_of_a_hires_prompt_get_what_their_like_got() -> None:
    done = expand("<kgen>1girl</kgen>, sky, <kgen>hat</kgen>")
    first, second = (piece.text for piece in done.pieces if piece.by is By.MODEL)
    request = ExpandRequest("<kgen>1girl</kgen>, sky, <kgen>hat</kgen>")
    assert follow(request, done, "<kgen>a</kgen>, b, <kgen>c</kgen>") == f"a{first}, b, c{second}"


def test_the_first_part_of_another_hires_prompt_gets_all() -> None:
    done = expand("<kgen>1girl</kgen>, sky")
    request = ExpandRequest("<kgen>1girl</kgen>, sky")
    assert follow(request, done, "x, <kgen>a</kgen>, b") == f"x, a, {escape(', '.join(done.added_tags))}, b"


# The WebUI.

MARKED = "cat, <kgen>sofa</kgen>, night"


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    yield set_stage(monkeypatch, tmp_path, real=True)
    forget()


@pytest.mark.parametrize("timing", ["after", "before"])
def test_the_image_is_drawn_without_marks(real: Stage, timing: str) -> None:
    done = real.run(prompt=MARKED, args=positional(timing=timing), enable_hr=True)
    assert done.prompts[0].startswith("cat, sofa, ") and "<kgen>" not in done.prompts[0] + done.hr_prompts[0]


def test_pasting_brings_the_marks_back(real: Stage) -> None:
    done = real.run(prompt=MARKED)
    assert real.host.paste(done.infotexts[0])["Prompt"] == MARKED


@pytest.mark.parametrize("timing", ["after", "before"])
def test_a_failure_leaves_the_prompt_without_marks(stage: Stage, timing: str) -> None:
    stage.failure = MemoryError()
    done = stage.run(prompt=MARKED, args=positional(timing=timing), enable_hr=True, hr_prompt="dog, <kgen>hat</kgen>")
    assert (done.prompts, done.hr_prompts) == (["cat, sofa, night"], ["dog, hat"])


def test_a_mistake_in_the_controls_leaves_the_prompt_without_marks(stage: Stage) -> None:
    assert stage.run(prompt=MARKED, args=positional(format="custom", template="")).prompts == ["cat, sofa, night"]


def test_a_failing_hook_leaves_the_prompt_without_marks(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kgen_ext.webui.hooks._checked", lambda image_prompts: 1 / 0)
    assert stage.run(prompt=MARKED).prompts == ["cat, sofa, night"]


def test_switched_off_the_prompt_is_not_touched(stage: Stage) -> None:
    assert stage.run(prompt=MARKED, args=positional(enabled=False)).prompts == [MARKED]


def test_a_hires_prompt_that_is_left_has_no_marks(stage: Stage) -> None:
    done = stage.run(prompt="cat", args=positional(hires="leave"), enable_hr=True, hr_prompt=MARKED)
    assert done.hr_prompts == ["cat, sofa, night"]


def test_the_mark_of_the_settings_is_used(stage: Stage) -> None:
    stage.host.opts.kgen_mark = "go"
    stage.run(prompt="cat, <go>hat</go>")
    assert stage.requests[0].mark == "go"


def test_the_unmarked_prompt_of_a_cancelled_job_is_no_result_of_the_session(stage: Stage) -> None:
    stage.expander.before_row = lambda row: stage.host.state.interrupt()
    stage.run(prompt=MARKED)
    assert stage.last.all_prompts == ["cat, sofa, night"] and not stage.session.wrote("cat, sofa, night")


def test_with_forge_couple_only_marked_lines_are_expanded(stage: Stage) -> None:
    done = stage.host.run(couple_job(stage, prompt="cat\n<kgen>dog</kgen>\nfox"))
    assert [request.prompt for request in stage.requests] == ["<kgen>dog</kgen>"]
    assert done.prompts[0].startswith("cat\n") and done.prompts[0].endswith("\nfox")


def test_a_mark_over_several_lines_marks_each(stage: Stage) -> None:
    stage.host.run(couple_job(stage, prompt="cat\n<kgen>dog\nfox</kgen>, hat"))
    assert [request.prompt for request in stage.requests] == ["<kgen>dog</kgen>", "<kgen>fox</kgen>, hat"]


@pytest.mark.parametrize(("line", "contexts"), [
    ("None", ["dog\nBREAK\nfox", "cat\nBREAK\nfox", "cat\nBREAK\ndog"]),
    ("First Line", ["dog\nBREAK\nfox", "cat\nADDCOMM\nfox", "cat\nADDCOMM\ndog"]),
    ("Last Line", ["fox\nADDCOMM\ndog", "fox\nADDCOMM\ncat", "cat\nBREAK\ndog"]),
])  # fmt: skip
def test_a_region_of_forge_couple_sees_the_others(stage: Stage, line: str, contexts: list[str]) -> None:
    job = couple_job(stage, prompt="cat\ndog\nfox")
    couple = job.scripts.alwayson_scripts[1]
    job.script_args, couple.args_to = [*job.script_args, line], couple.args_to + 1
    stage.host.run(job)
    assert [request.context for request in stage.requests] == contexts


def test_equal_regions_of_different_images_are_rows_of_their_own() -> None:
    first = ImagePrompt("sitting", 1, None, "1girl")
    assert replace(first, context="1boy") != first


def test_the_starter_adds_nobody_to_a_region_of_quality_words(real: Stage) -> None:
    done = real.host.run(couple_job(real, prompt="masterpiece, best quality\n1girl, hat"))
    assert done.prompts[0].split("\n")[0] == "masterpiece, best quality"
