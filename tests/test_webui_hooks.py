"""Jobs of a host with the extension in them: what is drawn, what is written, and that nothing is ever in the way."""
from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_host import Runner, Script, shallow
from webui_kit import Stage, forget, positional, set_stage

from kgen_ext import __version__
from kgen_ext.errors import EngineUnavailable, ModelFileError, UnknownModel
from kgen_ext.webui.hooks import OVERRIDES
from kgen_ext.webui.params import PARAMS


@pytest.fixture(params=["a1111", "forge", "reforge", "bare"])
def any_stage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    yield set_stage(monkeypatch, tmp_path, kind=request.param)
    forget()


@pytest.mark.parametrize("img2img", [False, True])
def test_every_image_of_a_job_gets_words_of_its_own_from_its_own_seed(any_stage: Stage, img2img: bool) -> None:
    stage = any_stage
    done = stage.run(img2img=img2img, n_iter=2, batch_size=2, width=832, height=1216)
    assert done.prompts == ["cat, word7", "cat, word8", "cat, word9", "cat, word10"]
    assert len(stage.expander.asked) == 1  # one batched call
    assert {(one.width, one.height) for one in stage.requests} == {(832, 1216)}
    for text, prompt in zip(done.infotexts, done.prompts, strict=True):
        found = stage.host.parse(text)
        assert found["Prompt"] == prompt and found["KGen prompt"] == "cat" and found["KGen"] == __version__
        assert "KGen seed" not in found
    assert stage.host.parse(done.grid)["Prompt"] == "cat, word7"


def test_switched_off_nothing_is_touched_opened_or_written(stage: Stage) -> None:
    done = stage.run(args=positional(enabled=False), n_iter=2)
    assert done.prompts == ["cat", "cat"]
    assert "KGen" not in "".join(done.infotexts)
    assert not stage.opened and not stage.expander.asked


def test_switched_off_wrong_values_are_no_matter(stage: Stage) -> None:
    done = stage.run(args=[False, 3, None, "x"] + ["y"] * 90)
    assert done.prompts == ["cat"] and "KGen" not in done.infotexts[0]


@pytest.mark.parametrize("args", [[{"enabled": True, "seed": 3}], [True], [True, "starter"]])
def test_api_arguments_may_be_few_or_named(stage: Stage, args: list[Any]) -> None:
    assert stage.run(args=args).prompts == ["cat, word3" if isinstance(args[0], dict) else "cat, word7"]


def test_names_go_before_defaults_that_the_host_puts_behind_them(stage: Stage) -> None:
    args = [{"enabled": True, "seed": 3}, *[param.shown_default for param in PARAMS[1:]]]
    assert stage.run(args=args).prompts == ["cat, word3"]


@pytest.mark.parametrize("args", [
    [True, "starter", "nonsense"], [{"enabled": True, "colour": 1}], [True] * 99, ["yes"], [{"enabled": 1, "seed": -9}],
    [True, "starter", None], [True, 7],
])  # fmt: skip
def test_wrong_arguments_make_the_image_from_ones_own_prompt_and_say_why(
    stage: Stage, args: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "kgen"):
        done = stage.run(args=args)
    found = stage.host.parse(done.infotexts[0])
    assert done.prompts == ["cat"] and "not allowed" in found["KGen error"]
    assert len(caplog.records) == 1 and not stage.host_errors()


class Colour(Exception):
    pass


class OutOfMemoryError(RuntimeError):
    pass


FAILURES = [
    UnknownModel("model: 'x' is not the name of a model", hint="kgen models list shows the names"),
    ModelFileError("model.gguf: ends in the middle", hint="download it again"),
    EngineUnavailable("llama-cpp-python is not installed", hint="choose the engine auto"),
    MemoryError(),
    OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB"),
    Colour("foreign\nand long " + "x" * 1000),
    KeyError("x"),
]


@pytest.mark.parametrize("timing", ["after", "before"])
@pytest.mark.parametrize("where", ["opening", "running"])
@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_whatever_fails_the_image_is_made_and_one_line_says_why(
    stage: Stage, failure: BaseException, where: str, timing: str, caplog: pytest.LogCaptureFixture
) -> None:
    if where == "opening":
        stage.failure = failure
    else:
        stage.expander.failure = failure
    job = stage.job(values={"timing": timing}, n_iter=2, enable_hr=True, hr_prompt="dog")
    with caplog.at_level(logging.WARNING, "kgen"):
        done = stage.host.run(job)
    assert done.prompts == ["cat", "cat"] and done.hr_prompts == ["dog", "dog"] and not job.scripts.errors
    assert len(caplog.records) == 1 and "\n" not in caplog.records[0].getMessage()
    for text in done.infotexts:
        found = stage.host.parse(text)
        assert found["KGen error"] in caplog.records[0].getMessage() and len(found["KGen error"]) <= 300
    assert stage.session.report.failed and stage.session.report.line == found["KGen error"]
    stage.failure = stage.expander.failure = None
    assert stage.run().prompts == ["cat, word7"]  # the next job is not the worse for it
    assert not stage.session.report.failed


def test_a_bad_ban_says_what_is_wrong_with_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stage = set_stage(monkeypatch, tmp_path, real=True)
    done = stage.run(values={"ban": "/(/"})
    assert done.prompts == ["cat"] and "/(/" in stage.host.parse(done.infotexts[0])["KGen error"]
    forget()


def test_a_tag_file_that_is_missing_is_told(stage: Stage) -> None:
    found = stage.host.parse(stage.run(values={"known_only": True}).infotexts[0])
    assert "tag file" in found["KGen error"] and not stage.opened


def test_a_path_in_place_of_a_model_opens_no_file(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "secret.gguf").write_bytes(b"GGUF")
    found = stage.host.parse(stage.run(values={"model": str(tmp_path / "secret.gguf")}).infotexts[0])
    assert "KGen error" in found and not stage.opened


def test_an_empty_answer_is_noted(stage: Stage) -> None:
    stage.expander.adds_nothing = True
    done = stage.run()
    assert done.prompts == ["cat"] and "added nothing" in stage.host.parse(done.infotexts[0])["KGen note"]
    stage.expander.adds_nothing = False
    assert stage.run().prompts == ["cat, word7"]  # the prompt did not become one that is done


def test_notes_of_the_expander_go_into_the_infotext(stage: Stage) -> None:
    stage.expander.notes = ("require: 'hat' is also banned by 'hat'", "shorter than asked for")
    found = stage.host.parse(stage.run().infotexts[0])
    assert found["KGen note"] == "; ".join(stage.expander.notes)


def test_equal_prompts_with_one_fixed_seed_are_expanded_once(stage: Stage) -> None:
    done = stage.run(values={"seed": 5}, n_iter=50, batch_size=2)
    assert len(stage.requests) == 1 and set(done.prompts) == {"cat, word5"} and len(done.prompts) == 100
    assert stage.host.parse(done.infotexts[99])["KGen seed"] == "5"


def test_a_hundred_images_are_one_stream(stage: Stage) -> None:
    done = stage.run(n_iter=25, batch_size=4)
    assert [len(asked) for asked in stage.expander.asked] == [100] and len(set(done.prompts)) == 100


def test_a_prompt_for_each_image_is_expanded_for_itself(stage: Stage) -> None:
    job = stage.job(prompt=["cat", "dog"], n_iter=2)
    done = stage.host.run(job)
    assert done.prompts == ["cat, word7", "dog, word8"]
    assert [stage.host.parse(text)["KGen prompt"] for text in done.infotexts] == ["cat", "dog"]
    assert job.prompt == ["cat", "dog"]


def test_variations_of_one_image_share_its_words(stage: Stage) -> None:
    done = stage.run(n_iter=2, subseed_strength=0.5)
    assert done.prompts == ["cat, word7"] * 2 and len(stage.requests) == 1


@pytest.mark.parametrize("seeds", [[5, 9], ["5", 9]])
def test_seeds_of_other_scripts_are_taken_as_they_are(stage: Stage, seeds: list[Any]) -> None:
    assert stage.run(seed=seeds, n_iter=2).prompts == ["cat, word5", "cat, word9"]


def test_a_negative_image_seed_is_a_seed_too(stage: Stage) -> None:
    done = stage.run(seed=-5)
    assert "KGen error" not in done.infotexts[0] and "KGen seed" not in done.infotexts[0]


# Styles, comments, dynamic prompts.


def test_after_wildcards_and_styles_the_styled_prompt_is_expanded(stage: Stage) -> None:
    stage.host.styles.styles["film"] = ("film grain", "blurry")
    done = stage.run(styles=["film"])
    assert done.prompts == ["cat, film grain, word7"]
    found = stage.host.paste(done.infotexts[0])
    assert found["Prompt"] == "cat" and found["Styles array"] == ["film"]


def test_before_them_the_typed_prompt_is_expanded_once_for_all_images(stage: Stage) -> None:
    stage.host.styles.styles["film"] = ("old {prompt} film", "")
    job = stage.job(values={"timing": "before"}, styles=["film"], n_iter=3)
    done = stage.host.run(job)
    assert done.prompts == ["old cat, word7 film"] * 3 and len(stage.requests) == 1
    seeds = [stage.host.parse(text).get("KGen seed") for text in done.infotexts]
    assert seeds == [None, "7", "7"]  # written where it is not the image's own
    found = stage.host.paste(done.infotexts[2])
    assert found["Prompt"] == "cat" and found["Styles array"] == ["film"]


def test_before_styles_an_open_seed_is_drawn_and_becomes_the_images(stage: Stage) -> None:
    done = stage.run(values={"timing": "before"}, seed=-1)
    seed = done.seeds[0]
    assert done.prompts == [f"cat, word{seed}"] and "KGen seed" not in done.infotexts[0]


@pytest.mark.parametrize("seed", ["", None, "12", 12.0])
def test_before_styles_a_seed_is_read_as_the_host_reads_it(stage: Stage, seed: Any) -> None:
    done = stage.run(values={"timing": "before"}, seed=seed)
    assert done.prompts == [f"cat, word{done.seeds[0]}"]
    assert seed in ("", None) or done.seeds == [12]


def test_before_styles_a_list_of_prompts_stays_a_list(stage: Stage) -> None:
    done = stage.run(values={"timing": "before"}, prompt=["cat", "dog"], n_iter=2)
    assert done.prompts == ["cat, word7", "dog, word7"]
    assert [stage.host.parse(text)["KGen prompt"] for text in done.infotexts] == ["cat", "dog"]


def test_the_timing_of_the_settings_page_counts_unless_the_page_says_otherwise(stage: Stage) -> None:
    stage.host.opts.kgen_timing = "before them, once for all images"
    assert stage.run(n_iter=2).prompts == ["cat, word7"] * 2
    assert stage.run(n_iter=2, values={"timing": "after"}).prompts == ["cat, word7", "cat, word8"]


def test_comments_networks_and_dividers_are_as_the_user_wrote_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stage = set_stage(monkeypatch, tmp_path, real=True)
    prompt = "cat # my note\n<lora:pet:0.8> BREAK [day:night:0.5] AND dog :1.2"
    job = stage.job(prompt=prompt, values={"tag_length": "very_short"})
    done = stage.host.run(job)
    found = stage.host.paste(done.infotexts[0])
    assert found["Prompt"] == prompt and "KGen error" not in found
    assert "# my note" not in done.prompts[0]  # the host took the comment away, and only that
    for part in ("<lora:pet:0.8>", " BREAK ", "[day:night:0.5]", " AND dog", ":1.2"):
        assert part in done.prompts[0]
    forget()


class Dynamic:
    """A script before ours that makes a prompt of its own for each image, as dynamic prompts does."""

    default_args = ()

    def before_process(self, p: Any) -> None: ...
    def before_process_batch(self, p: Any, **_: Any) -> None: ...
    def process_batch(self, p: Any, **_: Any) -> None: ...
    def postprocess_batch(self, p: Any, **_: Any) -> None: ...

    def process(self, p: Any) -> None:
        p.all_prompts = [f"{one} {animal}" for one, animal in zip(p.all_prompts, ("ape", "bee", "cow"), strict=True)]


def test_each_resolved_wildcard_prompt_is_expanded_and_recorded(stage: Stage) -> None:
    job = stage.job(prompt="a", n_iter=3)
    dynamic = Dynamic()
    dynamic.args_from = dynamic.args_to = 0  # type: ignore[attr-defined]
    job.scripts = Runner([dynamic, stage.script])
    done = stage.host.run(job)
    assert done.prompts == ["a ape, word7", "a bee, word8", "a cow, word9"]
    assert [stage.host.paste(text)["Prompt"] for text in done.infotexts] == ["a ape", "a bee", "a cow"]


# Hires.


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


def test_hires_from_the_gallery_of_an_image_that_says_nothing_gives_the_same_words_from_its_seed(
    stage: Stage,
) -> None:
    job = stage.job(enable_hr=True)
    job.txt2img_upscale, job.firstpass_image = True, object()
    assert stage.host.run(job).prompts == ["cat, word7"]


# Never twice.


@pytest.mark.parametrize("timing", ["after", "before"])
def test_a_result_of_this_session_is_not_expanded_again(stage: Stage, timing: str) -> None:
    prompt = stage.run().prompts[0]
    done = stage.run(prompt=f" {prompt}\n", values={"timing": timing})
    assert [one.strip() for one in done.prompts] == [prompt] and len(stage.requests) == 1
    found = stage.host.parse(done.infotexts[0])
    assert "already expanded" in found["KGen note"] and "KGen prompt" not in found
    assert "already expanded" in stage.session.report.line


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
    found = [stage.host.parse(one) for one in stage.host.run(job).infotexts]
    assert [(one["Prompt"], one["KGen prompt"], one["KGen ban"]) for one in found] == [
        ("cat, word7", "cat", "hat"), ("cat, word8", "cat", "hat")
    ]  # fmt: skip
    assert [stage.host.parse(one).get("KGen prompt") for one in insides] == ["face" if inner_on else None] * 2
    assert "KGen ban" not in " ".join(insides)


def test_a_job_that_breaks_off_leaves_nothing_behind_for_the_next(stage: Stage) -> None:
    broken, job = stage.job(values={"ban": "hat"}), stage.job()
    job.extra_generation_params = broken.extra_generation_params
    broken.init = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        stage.host.run(broken)
    found = stage.host.parse(stage.host.run(job).infotexts[0])
    assert found["KGen prompt"] == "cat" and "KGen ban" not in found


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


# X/Y/Z: shallow copies that share one dict of infotext entries.


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


# Progress and stopping.


@pytest.mark.parametrize("button", ["interrupt", "stop_generating"])
def test_stopped_before_anything_loads_nothing(stage: Stage, button: str) -> None:
    getattr(stage.host.state, button)()
    job = stage.job()
    stage.host.run(job)
    assert not stage.opened and job.all_prompts == ["cat"]


@pytest.mark.parametrize("button", ["interrupt", "stop_generating"])
def test_stopped_between_rows_the_rest_is_the_users_own(stage: Stage, button: str) -> None:
    stage.expander.before_row = lambda row: getattr(stage.host.state, button)() if row == 2 else None
    job = stage.job(n_iter=4)
    stage.host.run(job)
    assert job.all_prompts == ["cat, word7", "cat, word8", "cat", "cat"]
    assert stage.host.state.job_count == -1 and stage.host.state.textinfo is None


def test_the_bar_shows_while_expanding_and_is_put_back(stage: Stage) -> None:
    seen: list[Any] = []
    state = stage.host.state
    stage.expander.before_row = lambda row: seen.append((state.job_count, state.sampling_step, state.textinfo))
    stage.run(n_iter=2)
    assert [one[0] for one in seen] == [1, 1] and seen[0][1] < seen[1][1] and "2 prompts" in seen[0][2]
    assert (state.job_count, state.sampling_step, state.textinfo) == (-1, 0, None)


# Memory and models.


def test_a_model_stays_loaded_or_goes_as_the_settings_say(stage: Stage) -> None:
    stage.run()
    stage.run()
    assert len(stage.opened) == 1 and not stage.expander.closed
    stage.host.opts.kgen_keep = "no"
    stage.run()
    assert stage.expander.closed == 1 and not stage.session.pool.resident()


def test_the_engine_and_the_device_are_those_of_the_page_and_the_settings(stage: Stage) -> None:
    stage.host.opts.kgen_device = "cpu"
    stage.run(values={"engine": "reference"})
    assert stage.opened == [{"model": "starter", "engine": "reference", "device": "cpu", "threads": None}]


def test_a_ui_reload_keeps_what_the_session_knows(stage: Stage) -> None:
    from kgen_ext.webui import script

    prompt = stage.run().prompts[0]
    stage.host.reload_ui()
    script.register()
    done = stage.run(prompt=prompt)
    assert done.prompts == [prompt] and len(stage.opened) == 1
    assert stage.host.paste(done.infotexts[0])["Prompt"] == prompt
    assert len(stage.host.callbacks["on_infotext_pasted"]) == 1


def test_registrations_name_their_file_where_the_host_lets_us(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the hosts look up the source of every frame: 6 ms a registration where they load scripts."""
    from kgen_ext.webui import script

    own = str(Path(script.__file__).parents[2] / "scripts" / "kgen.py")
    stage.host.registered.clear()
    script.register()
    assert [category for category, _ in stage.host.registered] == [
        "ui_settings", "before_ui", "before_ui", "infotext_pasted", "app_started",
    ]  # fmt: skip
    assert {filename for _, filename in stage.host.registered} == {own}

    callbacks = stage.host.modules["modules.script_callbacks"]
    calls = len(stage.host.callbacks["on_app_started"])
    monkeypatch.setattr(callbacks, "add_callback", lambda callbacks, fun: 1 / 0)  # an older host's
    script.register()
    assert len(stage.host.callbacks["on_app_started"]) == calls + 1
    monkeypatch.setattr(callbacks, "on_app_started", lambda call: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        script.register()


@pytest.mark.parametrize("order", [("txt2img", "img2img"), ("img2img", "txt2img")])
def test_both_tabs_with_different_controls_do_not_meet(stage: Stage, order: tuple[str, str]) -> None:
    for tab in order:
        done = stage.run(img2img=tab == "img2img", values={"seed": 3 if tab == "img2img" else 4})
        assert done.prompts == ["cat, word3" if tab == "img2img" else "cat, word4"]
