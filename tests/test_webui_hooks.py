"""Jobs of a host with the extension's hooks: what is drawn, what is recorded, and that no job is ever stopped."""
from __future__ import annotations

import shutil
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from fake_job import Processed, Runner
from webui_kit import Stage, forget, positional, set_stage

from kgen_ext import __version__
from kgen_ext.models.resolve import STARTER_FOLDER
from kgen_ext.webui.controls import CONTROLS
from kgen_ext.webui.host import Host
from kgen_ext.webui.settings import read_settings, webui_locations


@pytest.fixture(params=["a1111", "forge", "reforge", "sdnext", "bare"])
def any_stage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    yield set_stage(monkeypatch, tmp_path, kind=request.param)
    forget()


@pytest.mark.parametrize("img2img", [False, True])
def test_every_image_of_a_job_gets_words_of_its_own_from_its_own_seed(any_stage: Stage, img2img: bool) -> None:
    stage = any_stage
    done = stage.run(img2img=img2img, n_iter=2, batch_size=2, width=832, height=1216)
    assert done.prompts == ["cat, word7", "cat, word8", "cat, word9", "cat, word10"]
    assert len(stage.expander.asked) == 1  # one batched call
    assert {(request.width, request.height) for request in stage.requests} == {(832, 1216)}
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


def test_a_switch_that_was_never_touched_is_off(stage: Stage) -> None:
    done = stage.run(args=[None])
    assert done.prompts == ["cat"] and "KGen" not in done.infotexts[0]


def test_switched_off_wrong_values_are_no_matter(stage: Stage) -> None:
    done = stage.run(args=[False, 3, None, "x"] + ["y"] * 90)
    assert done.prompts == ["cat"] and "KGen" not in done.infotexts[0]


@pytest.mark.parametrize("args", [[{"enabled": True, "seed": 3}], [True], [True, "starter"]])
def test_api_arguments_may_be_few_or_named(stage: Stage, args: list[Any]) -> None:
    assert stage.run(args=args).prompts == ["cat, word3" if isinstance(args[0], dict) else "cat, word7"]


def test_names_go_before_defaults_that_the_host_puts_behind_them(stage: Stage) -> None:
    args = [{"enabled": True, "seed": 3}, *[param.shown_default for param in CONTROLS[1:]]]
    assert stage.run(args=args).prompts == ["cat, word3"]


def test_notes_of_the_expander_go_into_the_infotext(stage: Stage) -> None:
    stage.expander.notes = ("require: 'hat' is also banned by 'hat'", "shorter than asked for")
    found = stage.host.parse(stage.run().infotexts[0])
    assert found["KGen note"] == "; ".join(stage.expander.notes)


def test_a_note_in_the_infotext_names_the_controls(stage: Stage) -> None:
    stage.expander.notes = ("tag_length long ends at 54",)
    assert stage.host.parse(stage.run().infotexts[0])["KGen note"] == "“Tag length” long ends at 54"


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


@pytest.mark.parametrize("timing", ["after", "before"])
def test_seed_0_of_the_page_is_a_seed_like_any_other(stage: Stage, timing: str) -> None:
    assert stage.run(values={"seed": 0, "timing": timing}).prompts == ["cat, word0"]


def test_images_beyond_the_listed_seeds_have_the_last(stage: Stage) -> None:
    job = stage.job()
    job.all_prompts, job.main_prompt, job.all_seeds = ["cat", "dog"], "cat", [7]  # as another script left them
    job.scripts.call("process", job)
    assert job.all_prompts == ["cat, word7", "dog, word7"]


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
        p.all_prompts = [
            f"{prompt} {animal}" for prompt, animal in zip(p.all_prompts, ("ape", "bee", "cow"), strict=True)
        ]


@pytest.fixture
def dynamic(stage: Stage) -> Processed:
    """A job whose images have prompts of their own before we see them."""
    job = stage.job(prompt="a", n_iter=3)
    dynamic = Dynamic()
    dynamic.args_from = dynamic.args_to = 0  # type: ignore[attr-defined]
    job.scripts = Runner([dynamic, stage.script])
    return stage.host.run(job)


def test_the_grid_keeps_a_prompt_that_is_no_images(stage: Stage, dynamic: Processed) -> None:
    assert stage.host.parse(dynamic.grid)["Prompt"] == "a"


def test_each_resolved_wildcard_prompt_is_expanded_and_recorded(stage: Stage, dynamic: Processed) -> None:
    done = dynamic
    assert done.prompts == ["a ape, word7", "a bee, word8", "a cow, word9"]
    assert [stage.host.paste(text)["Prompt"] for text in done.infotexts] == ["a ape", "a bee", "a cow"]


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
    assert [state[0] for state in seen] == [1, 1] and seen[0][1] < seen[1][1] and "2 prompts" in seen[0][2]
    assert (state.job_count, state.sampling_step, state.textinfo) == (-1, 0, None)


# Memory and models.


@pytest.mark.parametrize("timing", ["default", "before"])
@pytest.mark.parametrize("name", ["kgen_ext.webui.settings.read_settings", "kgen_ext.models.resolve"])
def test_a_job_reads_the_settings_and_finds_its_model_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, name: str, timing: str
) -> None:
    package, _, function = name.rpartition(".")
    original = getattr(import_module(package), function)
    calls = list[Any]()

    def counted(*given: Any, **named: Any) -> Any:
        calls.append(given)
        return original(*given, **named)

    for module in [module for key, module in sys.modules.items() if key.startswith("kgen_ext.")]:
        for attribute in [key for key, value in vars(module).items() if value is original]:
            monkeypatch.setattr(module, attribute, counted)
    stage.run(values={"timing": timing, "known_only": False}, n_iter=2)
    assert len(calls) == 1


def test_the_settings_of_a_job_hold_for_it(stage: Stage) -> None:
    # As hosts do: `override_settings` are applied between the two hooks.
    done = stage.run(override_settings={"kgen_model": "mine"})
    assert "mine" in stage.host.parse(done.infotexts[0])["KGen error"]


def test_a_model_that_is_installed_between_two_jobs_is_found(stage: Stage) -> None:
    wanted = {"model": "mine", "engine": "reference"}
    missing = stage.host.parse(stage.run(values=wanted).infotexts[0])["KGen error"]
    folder = webui_locations(Host(), read_settings(Host())).own
    folder.mkdir(parents=True)
    shutil.copy(next(STARTER_FOLDER.glob("*.gguf")), folder / "mine.gguf")
    stage.run(values=wanted)
    assert "mine" in missing and [opened["model"] for opened in stage.opened] == ["mine:Q8_0"]


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
