"""SD.Next: what differs there, in the words of its own code (`fake_sdnext`)."""
from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_job import shallow
from fake_sdnext import FakeSdNext, through_exif
from hypothesis import example, given
from hypothesis import strategies as st
from test_webui_infotext import PLAIN, all_values, texts, write
from webui_kit import Stage, forget, positional, set_stage

from kgen_ext.webui.controls import BY_FIELD, CONTROLS, Values
from kgen_ext.webui.host import SCRIPT, Host
from kgen_ext.webui.hosts.sdnext import SdNext, move_script, read_order
from kgen_ext.webui.infotext import PasteMode, Record, decode, on_pasted, paste_fields
from kgen_ext.webui.progress import own_job, shown_progress
from kgen_ext.webui.token_counter import count_tokens


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    yield set_stage(monkeypatch, tmp_path, kind="sdnext")
    forget()


ROOT = Path(__file__).resolve().parents[1]


def host_of(stage: Stage) -> FakeSdNext:
    assert isinstance(stage.host, FakeSdNext)
    return stage.host


def own_prompts(stage: Stage, infotexts: Sequence[str]) -> list[str]:
    return [decode(str(stage.host.paste(text)["KGen prompt"])) for text in infotexts]


# Infotext.


def test_images_with_prompts_of_their_own_have_entries_of_their_own(stage: Stage) -> None:
    prompts = ["red cat", "blue cat", "red dog", "blue dog"]
    done = stage.run(prompt=prompts, n_iter=2, batch_size=2)
    assert stage.host_errors() == []
    assert own_prompts(stage, done.infotexts) == prompts


def test_a_prompt_expanded_before_styles_is_recorded_for_each_image(stage: Stage) -> None:
    done = stage.run(prompt=["red cat", "blue cat"], n_iter=2, values={"timing": "before"})
    assert own_prompts(stage, done.infotexts) == ["red cat", "blue cat"]


def test_a_grid_has_the_entries_of_its_first_image(stage: Stage) -> None:
    done = stage.run(prompt=["red cat", "blue cat"], batch_size=2)
    assert own_prompts(stage, [done.grid]) == ["red cat"]


def test_a_live_preview_in_another_thread_changes_no_entries(stage: Stage) -> None:
    host = host_of(stage)
    job = stage.job(prompt=["red cat", "blue cat"], batch_size=2)
    seen: list[str] = []
    written = host.written

    def preview_first(p: Any, prompts: Any, seeds: Any, index: int, *, grid: str | None = None) -> str:
        if grid is None:
            thread = threading.Thread(target=host.image_grid)
            thread.start()
            thread.join()
        seen.append(written(p, prompts, seeds, index, grid=grid))
        return seen[-1]

    host.written = preview_first  # type: ignore[method-assign]
    assert own_prompts(stage, host.run(job).infotexts) == ["red cat", "blue cat"]


def test_an_image_without_an_entry_of_the_one_before_has_none(stage: Stage) -> None:
    first = stage.run(prompt="cat").prompts[0]
    done = stage.run(prompt=[first, "dog"], n_iter=2)
    assert [("KGen note" in text, "KGen prompt" in text) for text in done.infotexts] == [(True, False), (False, True)]


def test_entries_of_an_earlier_job_are_not_written_for_a_later_one(stage: Stage) -> None:
    shared: dict[str, Any] = {}
    stage.run(prompt=["cat", "dog"], n_iter=2, extra_generation_params=shared)
    done = stage.run(prompt="fox", n_iter=2, extra_generation_params=shared)
    assert own_prompts(stage, done.infotexts) == ["fox", "fox"]


def test_a_copy_of_a_job_without_expansion_has_no_entries_of_the_job(stage: Stage) -> None:
    """The cells of a plot are copies."""
    job = stage.job(prompt=["cat", "dog"], n_iter=2)
    stage.host.run(job)
    cell = shallow(job)
    cell.script_args = [0, *positional(enabled=False)]
    assert "KGen" not in "".join(stage.host.run(cell).infotexts)


def test_an_image_saved_while_its_batch_is_drawn_has_its_entries_if_it_is_alone(stage: Stage) -> None:
    host, seen = host_of(stage), list[str]()
    host.draw = lambda p: seen.append(host.written(p, p.prompts, p.seeds, 0))
    stage.run(prompt=["red cat", "blue cat"], n_iter=2)
    assert own_prompts(stage, seen) == ["red cat", "blue cat"]


def test_among_others_it_has_none_rather_than_those_of_another_image(stage: Stage) -> None:
    host, seen = host_of(stage), list[str]()
    host.draw = lambda p: seen.extend(host.written(p, p.prompts, p.seeds, index) for index in range(2))
    stage.run(prompt=["red cat", "blue cat", "red dog", "blue dog"], n_iter=2, batch_size=2)
    assert len(seen) == 4 and "KGen" not in "".join(seen)


def test_images_that_do_not_differ_have_their_entries_at_any_time(stage: Stage) -> None:
    host, seen = host_of(stage), list[str]()
    host.draw = lambda p: seen.extend(host.written(p, p.prompts, p.seeds, index) for index in range(2))
    stage.run(prompt="cat", batch_size=2)
    assert own_prompts(stage, seen) == ["cat", "cat"]


@pytest.mark.parametrize("param", CONTROLS, ids=lambda param: param.field)
def test_every_key_of_ours_survives_a_reader_that_knows_letters_and_spaces_only(param: Any) -> None:
    """The host's reader loses a key with a hyphen; ours has them, so that what is pasted is read by ours."""
    line = f"a cat\nNegative prompt: \nSteps: 2, Size: 8x8, Seed: 1, {param.key}: 1"
    params = SimpleNamespace(found=FakeSdNext("sdnext", Path()).parse(line)).found
    on_pasted(line, params, host=Host(), mode=PasteMode.EXPANDED, timing="after")
    assert params[param.key] in ("1", 1)


def carry(entries: dict[str, Any], prompt: str = "a cat", negative: str = "bad") -> str:
    """Have the host write an image, and read its text out of the JPEG."""
    job = SimpleNamespace(
        steps=1, width=8, height=8, iteration=0, all_negative_prompts=[negative], extra_generation_params=entries
    )
    return through_exif(FakeSdNext("sdnext", Path()).written(job, [prompt], [1], 0))


@given(texts)
@example("a,")
@example("hat, , ")
@example("007")
@example("1.50")
@example("512x768")
@example("a\tb")
@example("bad")
def test_any_prompt_comes_back_from_a_jpeg(text: str) -> None:
    infotext = carry(write(PLAIN, Record(text, "a cat, hat")))
    params = FakeSdNext("sdnext", Path()).parse(infotext)
    on_pasted(infotext, params, host=Host(), mode=PasteMode.ORIGINAL, timing="after")
    assert params["Prompt"] == text


@given(all_values)
def test_any_controls_come_back_from_a_jpeg(values: Values) -> None:
    infotext = carry(write(values, Record("a cat", "a cat, hat", seed=5)))
    params = FakeSdNext("sdnext", Path()).parse(infotext)
    expected = write(values, Record("a cat", "a cat, hat", seed=5))
    on_pasted(infotext, params, host=Host(), mode=PasteMode.ORIGINAL, timing="after")
    written = {key: str(value) for key, value in expected.items() if value is not None}
    assert {key: str(params[key]) for key in written} == written


@given(st.text(st.sampled_from('a\t\x01 ,"'), min_size=1, max_size=8))
def test_an_expanded_prompt_that_a_jpeg_alters_is_written_beside_it(text: str) -> None:
    infotext = carry(write(PLAIN, Record("a cat", text)), prompt=text)
    params = {"Prompt": through_exif(text)}
    on_pasted(infotext, params, host=Host(), mode=PasteMode.EXPANDED, timing="after")
    assert params["Prompt"] == text


# The paste button.


def components() -> dict[str, Any]:
    values: dict[str, Any] = {param.field: param.shown_default for param in CONTROLS}
    return {field: SimpleNamespace(field=field, value=value) for field, value in values.items()}


def page(stage: Stage, infotext: str) -> dict[str, Any]:
    shown = host_of(stage).page(infotext, Fields(paste_fields(components())))
    return dict(shown)


class Fields(list[Any]):
    """Fields by name in place of their components, which cannot be keys."""

    def __iter__(self) -> Any:
        return ((Named(component), key) for component, key in super().__iter__())


class Named(str):
    value: Any

    def __new__(cls, component: Any) -> Named:
        made = super().__new__(cls, component.field)
        made.value = component.value
        return made


def test_an_infotext_of_others_is_pasted_and_switches_expansion_off(stage: Stage) -> None:
    assert page(stage, "a cat\nNegative prompt: dog\nSteps: 3, Seed: 4, Size: 8x8, App: SD.Next") == {"enabled": False}


def test_an_image_of_ours_is_pasted_as_it_was_made(stage: Stage) -> None:
    done = stage.run(values={"ban": "hat, ", "creativity": "custom", "min_p": 0.25, "allow": ("artist",)})
    shown = page(stage, through_exif(done.infotexts[0]))
    assert {name: shown[name] for name in ("enabled", "ban", "min_p", "allow")} == {
        "enabled": True, "ban": "hat, ", "min_p": 0.25, "allow": BY_FIELD["allow"].show(("artist",)),
    }  # fmt: skip


# Progress and stopping.


def test_a_job_of_our_own_begins_and_ends(stage: Stage) -> None:
    with own_job(SdNext(), "KGen"):
        assert host_of(stage).state.job == "KGen"
    assert host_of(stage).state.job == ""


def test_a_jobs_bar_is_ours_until_steps_are_counted(stage: Stage) -> None:
    state = host_of(stage).state
    state.begin("API-TXT")
    with shown_progress(SdNext(), rows=2):
        assert state.sampling_steps > 0
    assert state.sampling_steps == 0


def test_the_bar_of_a_plot_is_left_alone(stage: Stage) -> None:
    state = host_of(stage).state
    state.begin("Grid")
    state.sampling_steps = 40
    with shown_progress(SdNext(), rows=2):
        assert state.sampling_steps == 40


def press_stop(stage: Stage) -> Callable[[int], None]:
    return lambda row: host_of(stage).state.interrupt()


@pytest.mark.parametrize("timing", ["after", "before"])
def test_a_stop_while_prompts_are_expanded_leaves_no_image(stage: Stage, timing: str) -> None:
    stage.expander.before_row = press_stop(stage)
    assert stage.run(n_iter=4, values={"timing": timing}).prompts == []


def test_a_stop_while_prompts_are_expanded_is_still_one_afterwards(stage: Stage) -> None:
    stage.expander.before_row = press_stop(stage)
    stage.run(n_iter=4)
    assert host_of(stage).state.interrupted


def test_a_stop_during_an_image_ends_the_job_as_ever(stage: Stage) -> None:
    host_of(stage).draw = lambda p: host_of(stage).state.interrupt()
    assert stage.run(n_iter=4).prompts == ["cat, word7"]


def test_a_job_that_was_stopped_can_be_run_again(stage: Stage) -> None:
    job = stage.job(n_iter=2)
    stage.expander.before_row = press_stop(stage)
    stage.host.run(job)
    stage.expander.before_row = lambda row: None
    host_of(stage).state.begin("API-TXT")
    job.scripts.call("before_process", job)
    job.prompts = ["cat"]
    job.scripts.call("before_process_batch", job)
    assert job.prompts == ["cat"]


def test_the_prompt_of_a_job_is_expanded_although_it_has_no_main_prompt(stage: Stage) -> None:
    assert (stage.run().prompts, stage.host_errors()) == (["cat, word7"], [])


def test_the_next_job_runs_although_the_one_before_was_stopped(stage: Stage) -> None:
    stage.expander.before_row = press_stop(stage)
    stage.run(n_iter=2)
    stage.expander.before_row = lambda row: None
    host_of(stage).state.begin("API-TXT")
    assert len(stage.run(n_iter=2).prompts) == 2


# The order of scripts.


def scripts(*names: str) -> list[Any]:
    """Return scripts, each of the extension of that name; `own` is ours."""
    return [
        SimpleNamespace(filename=str(SCRIPT) if name == "own" else f"/x/extensions/{name}/scripts/main.py", name=name)
        for name in names
    ]


@pytest.mark.parametrize(("before", "after"), [
    ("own", "own"),
    ("a own b", "a own b"),
    ("after own before", "after own before"),
    ("a own b After c before", "a b After own c before"),
    ("a before b own c", "a own before b c"),
    ("own before after b", "before after own b"),
    ("before after b own", "before after own b"),
    ("a b", "a b"),
])  # fmt: skip
def test_our_script_goes_behind_some_and_in_front_of_others(before: str, after: str) -> None:
    listed = scripts(*before.split())
    move_script(listed, after=["after"], before=["before"])
    assert " ".join(script.name for script in listed) == after


def test_the_order_is_that_of_metadata_ini() -> None:
    after, before = read_order(ROOT / "metadata.ini")
    assert "sd-webui-prompt-postprocessor" in after and "adetailer" in before


@pytest.mark.parametrize("text", ["", "[scripts]\n", "no section", "[scripts]\nAfter = %(x)s"])
def test_without_an_order_our_script_stays_where_it_is(text: str, tmp_path: Path) -> None:
    (tmp_path / "metadata.ini").write_text(text, "utf-8")
    assert read_order(tmp_path / "metadata.ini") == ([], [])


def test_prompt_post_processor_runs_before_ours_in_both_tabs(stage: Stage) -> None:
    runners = [SimpleNamespace(alwayson_scripts=scripts("own", "sd-webui-prompt-postprocessor")) for _ in range(2)]
    manager = sys.modules["modules.scripts_manager"]
    vars(manager).update(scripts_txt2img=runners[0], scripts_img2img=runners[1])
    for call in stage.host.callbacks["on_app_started"]:
        call(None, SimpleNamespace(routes=[], add_api_route=lambda *_, **__: None))
    assert [[script.name for script in runner.alwayson_scripts][-1] for runner in runners] == ["own", "own"]


# The switch.


def test_the_accordions_label_says_that_opening_is_the_switch() -> None:
    assert SdNext().switch_label("KGen") == "KGen (open: on, closed: off)"


# The token count.


@pytest.mark.parametrize(("shown", "counted"), [
    ("5/75", (5, 75)), ("92/75", (92, 150)), ("--/--", None), ("0/0", (0, 0)),
])  # fmt: skip
def test_tokens_are_counted_by_the_host(
    shown: str, counted: tuple[int, int] | None, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(monkeypatch, "modules.sd_models", model_data=SimpleNamespace(sd_model=object()))
    put(monkeypatch, "modules.ui_common", update_token_counter=lambda text: {"value": f"<div>{shown}</div>"})
    assert count_tokens(SdNext(), "cat") == counted


# Memory.


class Device(SimpleNamespace):
    type: str
    index: int | None


def put(monkeypatch: pytest.MonkeyPatch, name: str, **parts: Any) -> None:
    monkeypatch.setitem(sys.modules, name, SimpleNamespace(**parts))  # type: ignore[arg-type]


@pytest.fixture
def calls(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    made: list[str] = []
    put(monkeypatch, "modules.devices", device=Device(type="cuda", index=None), torch_gc=lambda: made.append("collect"))
    put(monkeypatch, "modules.sd_offload_aux",
        register_aux=lambda name, model: made.append(f"register {name} {model}"),
        move_aux_to_gpu=lambda name: made.append(f"move {name}"),
        deregister_aux=lambda name: made.append(f"deregister {name}"),
        evict_aux=lambda: made.append("evict"))  # fmt: skip
    put(monkeypatch, "modules.sd_offload", apply_balanced_offload=lambda: made.append("offload"))
    return made


def test_a_model_is_lent_to_the_hosts_auxiliary_models(calls: list[str]) -> None:
    with SdNext().on_gpu("ours", Device(type="cuda", index=0)):
        calls.append("use")
    assert calls == ["register KGen ours", "move KGen", "use", "deregister KGen"]


def test_a_failure_takes_it_away_again(calls: list[str]) -> None:
    with pytest.raises(MemoryError), SdNext().on_gpu("ours", Device(type="cuda", index=0)):
        raise MemoryError
    assert calls[-1] == "deregister KGen"


def test_on_a_device_that_is_not_the_hosts_it_is_moved_by_hand(calls: list[str]) -> None:
    module = SimpleNamespace(to=lambda device: calls.append(f"to {device.type}:{device.index}"))
    with SdNext().on_gpu(module, Device(type="cuda", index=1)):
        pass
    assert calls == ["to cuda:1"]


@pytest.mark.parametrize(("free", "enough", "asked"), [
    ([8], True, []), ([1, 8], True, ["evict", "offload", "collect"]), ([1, 1], False, ["evict", "offload", "collect"]),
    ([None], True, []),
])  # fmt: skip
def test_room_is_made_where_there_is_too_little(
    free: list[int | None], enough: bool, asked: list[str], calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter(free)
    monkeypatch.setattr(Host, "free_vram", lambda self: next(left))
    with SdNext().reserve(4) as yielded:
        assert yielded is enough
    assert calls == asked
