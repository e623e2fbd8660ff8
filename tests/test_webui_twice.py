"""Prompts that are expanded only once: results that come back, jobs inside jobs, plots that share one dict."""
from __future__ import annotations

from typing import Any

import pytest
from fake_job import shallow
from fake_parts import Script
from webui_kit import Stage

from kgen_ext.webui.hooks import OVERRIDES


@pytest.mark.parametrize("timing", ["after", "before"])
def test_a_result_of_this_session_is_not_expanded_again(stage: Stage, timing: str) -> None:
    prompt = stage.run().prompts[0]
    done = stage.run(prompt=f" {prompt}\n", values={"timing": timing})
    assert [text.strip() for text in done.prompts] == [prompt] and len(stage.requests) == 1
    found = stage.host.parse(done.infotexts[0])
    assert "already expanded" in found["KGen note"] and "KGen prompt" not in found


def test_an_inner_job_of_adetailer_is_left_alone(stage: Stage) -> None:
    job = stage.job(prompt="face", img2img=True, extra_generation_params={"KGen prompt": "outer"})
    job._ad_inner = True
    done = stage.host.run(job)
    assert done.prompts == ["face"] and not stage.requests and job.extra_generation_params["KGen prompt"] == "outer"


@pytest.mark.parametrize("inner_on", [True, False])
def test_a_job_run_within_an_image_gives_the_images_entries_back(stage: Stage, inner_on: bool) -> None:
    job = stage.job(n_iter=2, values={"ban": "hat"})
    insides: list[str] = []

    class Detailer(Script):
        """Draws a part of each batch anew, in a job that shares the image's dict of entries."""

        def title(self) -> str:
            return "detailer"

        def postprocess_batch(self, p: Any, *args: Any, **kwargs: Any) -> None:
            inner = stage.job(prompt="face", img2img=True, values={"enabled": inner_on})
            inner.extra_generation_params = p.extra_generation_params
            insides.extend(stage.host.run(inner).infotexts)

    job.scripts.alwayson_scripts.append(Detailer())
    found = [stage.host.parse(text) for text in stage.host.run(job).infotexts]
    assert [(params["Prompt"], params["KGen prompt"], params["KGen ban"]) for params in found] == [
        ("cat, word7", "cat", "hat"), ("cat, word8", "cat", "hat")
    ]  # fmt: skip
    assert [stage.host.parse(text).get("KGen prompt") for text in insides] == ["face" if inner_on else None] * 2
    assert "KGen ban" not in " ".join(insides)


def test_a_job_that_breaks_off_leaves_nothing_behind_for_the_next(stage: Stage) -> None:
    broken, job = stage.job(values={"ban": "hat"}), stage.job()
    job.extra_generation_params = broken.extra_generation_params
    broken.init = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        stage.host.run(broken)
    found = stage.host.parse(stage.host.run(job).infotexts[0])
    assert found["KGen prompt"] == "cat" and "KGen ban" not in found


def test_a_job_that_breaks_off_and_turns_to_another_dict_does_not_surround_the_next(stage: Stage) -> None:
    broken, job = stage.job(values={"ban": "hat"}), stage.job()
    shared = broken.extra_generation_params
    broken.init = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        stage.host.run(broken)
    broken.extra_generation_params, job.extra_generation_params = {}, shared
    stage.host.run(job)
    assert "KGen ban" not in job.extra_generation_params


def test_generating_forever_starts_from_the_typed_prompt_each_time(stage: Stage) -> None:
    assert [stage.run(seed=seed).prompts[0] for seed in (1, 2, 1)] == ["cat, word1", "cat, word2", "cat, word1"]


@pytest.mark.parametrize("timing, last", [("after", "cat, word20"), ("before", "cat, word7")])
def test_a_script_that_runs_one_job_again_expands_once_for_each_image(
    stage: Stage, timing: str, last: str
) -> None:
    job = stage.job(img2img=True, values={"timing": timing})
    assert stage.host.run(job).prompts == ["cat, word7"]
    job.seed = 20
    done = stage.host.run(job)
    found = stage.host.parse(done.infotexts[0])
    assert done.prompts == [last] and found["KGen prompt"] == "cat" and "KGen note" not in found


def test_a_script_that_runs_one_job_again_with_another_prompt_has_that_expanded(stage: Stage) -> None:
    job = stage.job(img2img=True, values={"timing": "before"})
    stage.host.run(job)
    job.prompt = "dog"
    assert stage.host.run(job).prompts == ["dog, word7"]


def test_cells_of_a_plot_do_not_inherit_each_others_entries(stage: Stage) -> None:
    job = stage.job(values={"ban": "hat"}, prompt="cat")
    found = []
    for overrides in ({"seed": 3}, {"enabled": False}, {"ban": ""}):
        cell = shallow(job)
        setattr(cell, OVERRIDES, overrides)
        found.append(stage.host.parse(stage.host.run(cell).infotexts[0]))
    assert (found[0]["KGen ban"], found[0]["KGen seed"], found[0]["Prompt"]) == ("hat", "3", "cat, word3")
    assert not [key for key in found[1] if key.startswith("KGen")] and found[1]["Prompt"] == "cat"
    assert "KGen ban" not in found[2] and "KGen seed" not in found[2] and found[2]["Prompt"] == "cat, word7"
