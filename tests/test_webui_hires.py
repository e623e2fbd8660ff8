"""The hires prompt of a job, and hires from the gallery."""
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from fake_parts import Script
from webui_kit import Stage, positional


@pytest.mark.parametrize("timing", ["after", "before"])
@pytest.mark.parametrize("hires, typed, drawn, written", [
    ("follow", "", "cat, word7", ""),
    ("follow", "cat", "cat, word7", ""),
    ("follow", "dog BREAK (fox)", "dog, word7 BREAK (fox)", "dog, word7 BREAK (fox)"),
    ("separate", "", "cat, word7", ""),
    ("separate", "dog", "dog, word7", "dog, word7"),
    ("leave", "", "cat", "cat"),
    ("leave", "dog", "dog", "dog"),
])  # fmt: skip
def test_the_hires_prompt(
    stage: Stage, hires: str, typed: str, drawn: str, written: str, timing: str
) -> None:
    done = stage.run(values={"hires": hires, "timing": timing}, enable_hr=True, hr_prompt=typed)
    assert (done.prompts, done.hr_prompts) == (["cat, word7"], [drawn])
    assert len(stage.requests) == (2 if hires == "separate" and typed else 1)
    found = stage.host.parse(done.infotexts[0])
    assert found["Hires prompt"] == written
    pasted = stage.host.paste(done.infotexts[0])
    assert pasted["Prompt"] == "cat" and pasted["Hires prompt"] == (typed if typed != "cat" else "")


@pytest.mark.parametrize("typed", ["", "dog"])
def test_hires_prompts_of_later_batches_are_those_of_their_images(stage: Stage, typed: str) -> None:
    done = stage.run(n_iter=2, batch_size=2, enable_hr=True, hr_prompt=typed)
    start = typed or "cat"
    assert done.hr_prompts == [f"{start}, word{seed}" for seed in (7, 8, 9, 10)]
    for text, hires in zip(done.infotexts, done.hr_prompts, strict=True):
        assert stage.host.parse(text)["Hires prompt"] == (hires if typed else "")


def test_switched_off_the_host_writes_the_hires_prompts_as_it_counts(stage: Stage) -> None:
    done = stage.run(args=positional(enabled=False), prompt=["cat", "ape"], hr_prompt=["dog", "bee"], n_iter=2,
                     enable_hr=True)  # fmt: skip
    assert [stage.host.parse(text)["Hires prompt"] for text in done.infotexts] == ["dog", "dog"]


def test_before_styles_hires_prompts_that_are_no_prompts_like_stay_as_they_are(stage: Stage) -> None:
    done = stage.run(values={"timing": "before"}, n_iter=2, enable_hr=True, hr_prompt=["dog", "bee"])
    assert (done.prompts, done.hr_prompts) == (["cat, word7"] * 2, ["dog", "bee"])


def test_before_styles_a_list_of_hires_prompts_stays_a_list(stage: Stage) -> None:
    job = stage.job(values={"timing": "before"}, enable_hr=True, hr_prompt=["dog"])
    stage.host.run(job)
    assert job.hr_prompt == ["dog, word7"]


def test_after_styles_hires_prompts_that_are_not_one_for_each_image_stay_as_they_are(stage: Stage) -> None:
    job = stage.job(enable_hr=True)
    job.all_prompts, job.main_prompt, job.all_seeds = ["cat", "ape"], "cat", [7, 8]  # as another script left them
    job.all_hr_prompts = ["dog"]
    job.scripts.call("process", job)
    assert (job.all_prompts, job.all_hr_prompts) == (["cat, word7", "ape, word8"], ["dog"])


def test_without_hires_fix_the_hires_prompt_is_no_matter(stage: Stage) -> None:
    stage.run(values={"hires": "separate"}, hr_prompt="dog")
    assert len(stage.requests) == 1


def upscale(stage: Stage, infotext: str, **fields: Any) -> Any:
    """Run a hires pass from the gallery on an image that carries this infotext, with its seed."""
    job = stage.job(seed=stage.host.parse(infotext)["Seed"], enable_hr=True, **fields)
    job.txt2img_upscale = True
    job.firstpass_image = SimpleNamespace(info={"parameters": infotext})
    return stage.host.run(job)


@pytest.mark.parametrize("timing", ["after", "before"])
@pytest.mark.parametrize("index", [0, 3])
def test_hires_from_the_gallery_draws_the_text_of_that_image(stage: Stage, timing: str, index: int) -> None:
    values = {"timing": timing}
    first = stage.run(values=values, n_iter=2, batch_size=2)
    done = upscale(stage, first.infotexts[index], values=values)
    assert done.prompts == done.hr_prompts == [first.prompts[index]]
    ours = [{key: value for key, value in stage.host.parse(text).items() if key.startswith("KGen")}
            for text in (first.infotexts[index], done.infotexts[0])]  # fmt: skip
    assert ours[0] == ours[1]


def test_hires_from_the_gallery_keeps_the_text_whatever_the_page_says_by_now(stage: Stage) -> None:
    first = stage.run()
    done = upscale(stage, first.infotexts[0], values={"seed": 99, "ban": "hat"})
    assert done.prompts == ["cat, word7"] and len(stage.requests) == 1


def test_hires_from_the_gallery_of_an_image_made_without_us_leaves_its_prompt(stage: Stage) -> None:
    first = stage.run(args=positional(enabled=False))
    done = upscale(stage, first.infotexts[0])
    assert done.prompts == ["cat"] and "KGen" not in done.infotexts[0]


def test_hires_from_the_gallery_with_another_prompt_typed_since_expands_that(stage: Stage) -> None:
    first = stage.run()
    assert upscale(stage, first.infotexts[0], prompt="dog").prompts == ["dog, word7"]


@pytest.mark.parametrize("timing", ["after", "before"])
def test_words_for_a_prompt_typed_since_come_from_the_images_own_seed(stage: Stage, timing: str) -> None:
    first = stage.run(values={"timing": "before"}, n_iter=2)  # the second image has seed 8, its words are from 7
    assert upscale(stage, first.infotexts[1], prompt="dog", values={"timing": timing}).prompts == ["dog, word8"]


def test_hires_from_the_gallery_with_its_prompt_left_alone_keeps_what_the_image_says(stage: Stage) -> None:
    first = stage.run()
    done = upscale(stage, first.infotexts[0], hr_prompt="dog", values={"hires": "leave", "ban": "hat"})
    assert done.prompts == ["cat, word7"] and "KGen ban" not in done.infotexts[0]


def test_hires_from_the_gallery_leaves_the_hires_prompt_alone_where_the_page_says_so(stage: Stage) -> None:
    first = stage.run()
    assert upscale(stage, first.infotexts[0], hr_prompt="dog", values={"hires": "leave"}).hr_prompts == ["dog"]


def test_hires_from_the_gallery_of_an_empty_prompt_draws_the_text_of_that_image(stage: Stage) -> None:
    first = stage.run(prompt="")
    assert upscale(stage, first.infotexts[0], prompt="").hr_prompts == first.prompts


@pytest.mark.parametrize("hires", ["", "dog"])
@pytest.mark.parametrize("timing", ["after", "before"])
def test_hires_from_the_gallery_of_words_with_seed_0_has_the_same_words(stage: Stage, timing: str, hires: str) -> None:
    first = stage.run(values={"seed": 0})
    done = upscale(stage, first.infotexts[0], hr_prompt=hires, values={"timing": timing})
    assert done.hr_prompts == [f"{hires or 'cat'}, word0"]


@pytest.mark.parametrize("timing", ["after", "before"])
def test_hires_from_the_gallery_of_an_image_with_a_negative_seed_tells_no_other(stage: Stage, timing: str) -> None:
    first = stage.run(seed=-5, values={"timing": timing})
    assert "KGen seed" not in upscale(stage, first.infotexts[0], values={"timing": timing}).infotexts[0]


class Appending(Script):
    """A script behind ours that adds to the typed prompt."""

    default_args = ()

    def title(self) -> str:
        return "appending"

    def before_process(self, p: Any, *args: Any) -> None:
        p.prompt += ", film"


def test_an_empty_hires_prompt_stays_open_for_what_scripts_behind_ours_make_of_the_prompt(stage: Stage) -> None:
    job = stage.job(values={"timing": "before"}, enable_hr=True)
    job.scripts.alwayson_scripts.append(Appending())
    assert stage.host.run(job).hr_prompts == ["cat, word7, film"]


@pytest.mark.parametrize("info", [None, {}, {"parameters": "cat"}])
def test_hires_from_the_gallery_of_an_image_that_says_nothing_gives_the_same_words_from_its_seed(
    stage: Stage, info: Any
) -> None:
    job = stage.job(enable_hr=True)
    job.txt2img_upscale, job.firstpass_image = True, SimpleNamespace(info=info)
    assert stage.host.run(job).prompts == ["cat, word7"]


def test_a_gallery_pass_of_several_images_is_a_job_like_any_other(stage: Stage) -> None:
    first = stage.run()
    assert upscale(stage, first.infotexts[0], n_iter=2).prompts == ["cat, word7", "cat, word8"]
