"""Regional prompts: each region is a subject of its own, and the separators stay where the user put them."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_job import Runner
from fake_parts import Script
from webui_kit import Stage, forget, positional, set_stage

from kgen_ext.prompt import append, parse, render, subjects


@pytest.mark.parametrize("divider", ["BREAK", "ADDCOL", "ADDROW", "ADDCOMM", "ADDBASE", "ADDP", "[SEP]", "AND"])
def test_every_region_of_the_prompts_own_grammar_is_a_subject(divider: str) -> None:
    prompt = parse(f"1girl, red hair {divider}\n1boy, [PROMPT], blue hair")
    assert render(prompt) == f"1girl, red hair {divider}\n1boy, [PROMPT], blue hair"
    assert [list(subject.tags) for subject in subjects(prompt)] == [["1girl", "red hair"], ["1boy", "blue hair"]]
    text = "".join(piece.text for piece in append(prompt, ["smile", f"hat {divider}"]).pieces)
    assert text.startswith(f"1girl, red hair, smile {divider}\n1boy, [PROMPT], blue hair, hat")
    assert len(parse(text).segments) == 2  # the model cannot make a region


class Couple(Script):
    """A script with Forge Couple's title and the order of its first arguments."""

    default_args = ()

    def title(self) -> str:
        return "Forge Couple v5"


def couple_job(stage: Stage, *, enabled: Any = True, separator: Any = "", **fields: Any) -> Any:
    job = stage.job(**fields)
    couple = Couple()
    couple.args_from, couple.args_to = len(job.script_args), len(job.script_args) + 5
    job.script_args = [*job.script_args, enabled, False, "Basic", separator, "Horizontal"]
    job.scripts = Runner([stage.script, couple])
    return job


@pytest.mark.parametrize("timing", ["after", "before"])
def test_each_line_is_a_region_with_forge_couple(stage: Stage, timing: str) -> None:
    job = couple_job(stage, prompt="cat\n\ndog\ndog", enable_hr=True, values={"timing": timing})
    done = stage.host.run(job)
    lines = done.prompts[0].split("\n")
    assert [line.split(",")[0] for line in lines] == ["cat", "", "dog", "dog"]
    assert lines[0] == "cat, word7" and len(set(lines)) == 4  # equal regions get words of their own
    assert done.hr_prompts == done.prompts and len(stage.expander.asked) == 1
    found = stage.host.paste(done.infotexts[0])
    assert found["Prompt"] == "cat\n\ndog\ndog" and "KGen seed" not in found


def test_the_seeds_of_regions_are_those_of_every_version(stage: Stage) -> None:
    stage.host.run(couple_job(stage, prompt="cat\ndog\nfox"))
    assert [request.seed for request in stage.requests] == [7, 0x1E3779B97F4A7C1C, 0x3C6EF372FE94F831]


@pytest.mark.parametrize(
    "separator, prompt",
    [("|", "cat| dog"), ("\\t|\\t", "cat | dog"), ("\\n", "cat\ndog"), ("  ", "cat\ndog"), (None, "a\nb")],
)
def test_its_separator_is_read_as_it_reads_it(stage: Stage, separator: Any, prompt: str) -> None:
    stage.host.run(couple_job(stage, separator=separator, prompt=prompt))
    assert len(stage.requests) == 2


@pytest.mark.parametrize("enabled", [False, None, "Basic"])
def test_switched_off_it_divides_nothing(stage: Stage, enabled: Any) -> None:
    assert stage.host.run(couple_job(stage, enabled=enabled, prompt="cat\ndog")).prompts == ["cat\ndog, word7"]


def test_a_couple_with_fewer_controls_divides_nothing(stage: Stage) -> None:
    job = couple_job(stage, prompt="cat\ndog")
    job.scripts.alwayson_scripts[1].args_to -= 2
    assert stage.host.run(job).prompts == ["cat\ndog, word7"]


def test_a_script_that_cannot_say_its_title_is_none_of_our_business(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Couple, "title", lambda self: 1 / 0)
    assert stage.host.run(couple_job(stage, prompt="cat\ndog")).prompts == ["cat\ndog, word7"]


def test_a_note_of_several_regions_is_told_once(stage: Stage) -> None:
    stage.expander.notes = ("shorter than asked for",)
    done = stage.host.run(couple_job(stage, prompt="cat\ndog"))
    assert stage.host.parse(done.infotexts[0])["KGen note"] == "shorter than asked for"


def test_regions_that_were_expanded_before_are_left_as_they_are(stage: Stage) -> None:
    first = stage.host.run(couple_job(stage, prompt="cat\ndog")).prompts[0]
    done = stage.host.run(couple_job(stage, prompt=first))
    assert done.prompts == [first] and "already" in stage.host.parse(done.infotexts[0])["KGen note"]


@pytest.mark.parametrize("typed, drawn", [("ape\nbee", "ape, word7\nbee, "), ("ape", "ape")])
def test_hires_regions_follow_their_like(stage: Stage, typed: str, drawn: str) -> None:
    done = stage.host.run(couple_job(stage, prompt="cat\ndog", enable_hr=True, hr_prompt=typed))
    assert done.hr_prompts[0].startswith(drawn)


def test_failing_leaves_every_region(stage: Stage) -> None:
    stage.failure = MemoryError()
    done = stage.host.run(couple_job(stage, prompt="cat\ndog", enable_hr=True, hr_prompt="a\nb"))
    assert (done.prompts, done.hr_prompts) == (["cat\ndog"], ["a\nb"]) and "KGen error" in done.infotexts[0]


def test_the_starter_expands_regions_each_for_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stage = set_stage(monkeypatch, tmp_path, real=True)
    prompt = "2girls, beach ADDCOMM\nred hair, hat ADDCOL\nblue hair, ribbon"
    done = stage.run(prompt=prompt, args=positional(tag_length="short"))
    parts = done.prompts[0].split("ADDCOMM")[0], *done.prompts[0].split("ADDCOMM")[1].split("ADDCOL")
    for part, own in zip(parts, ("2girls, beach,", "red hair, hat,", "blue hair, ribbon,"), strict=True):
        assert part.strip().startswith(own)
    forget()
