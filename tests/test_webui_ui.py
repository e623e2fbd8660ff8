"""The page: built from the table in both tabs, on the fake gradio and on the installed one."""
from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_gradio import FakeGradio
from page_kit import Page, build_page
from webui_kit import forget

from kgen_ext.models.priors import prior_path
from kgen_ext.sampling import SAMPLING_NAMES
from kgen_ext.webui import ui
from kgen_ext.webui.controls import BY_FIELD, CONTROLS, Widget, read_values
from kgen_ext.webui.host import Host
from kgen_ext.webui.settings import read_settings, webui_locations

KINDS = {Widget.CHECKBOX: "checkbox", Widget.CHOICE: "dropdown", Widget.CHOICES: "checkboxgroup",
         Widget.LIVE: "dropdown", Widget.TEXT: "textbox", Widget.SLIDER: "slider", Widget.NUMBER: "number"}  # fmt: skip


@pytest.fixture(params=["fake txt2img", "fake img2img", "real txt2img", "real img2img"])
def page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Page]:
    kind, tab = request.param.split()
    yield build_page(monkeypatch, tmp_path, img2img=tab == "img2img", real=kind == "real")
    forget()


def control(page: Page, field: str) -> Any:
    return page.controls[[param.field for param in CONTROLS].index(field)]


def kind(component: Any) -> str:
    return str(getattr(component, "kind", None) or component.get_block_name()).lower()


def names(choices: Any) -> list[str]:
    """Return the values of choices: gradio 4 keeps pairs."""
    return [choice[1] if isinstance(choice, tuple) else choice for choice in choices]


def changes(result: Any) -> list[dict[str, Any]]:
    """Return what an event changes, as gradio 3 says it; 4 returns the dictionary too."""
    return [dict(update) for update in (result if isinstance(result, list) else [result])]


def test_the_controls_come_in_the_tables_order_as_the_table_says(page: Page) -> None:
    assert len(page.controls) == len(CONTROLS)
    for param, component in zip(CONTROLS, page.controls, strict=True):
        if param.field not in SAMPLING_NAMES:  # those follow the model
            assert component.value == param.shown_default
        assert component.label == param.label
        if param.field != "enabled":
            assert component.elem_id == f"kgen_{page.name}_{param.field}"
            assert component.webui_tooltip == param.info
            assert kind(component) == KINDS[param.widget]
        if param.choices:
            assert names(component.choices) == [label for _, label in param.choices]
        if param.widget is Widget.SLIDER:
            assert (component.minimum, component.maximum, component.step) == (param.low, param.high, param.step)


def test_the_values_of_an_untouched_page_are_the_tables(page: Page) -> None:
    """But for the sliders, which show the model's numbers and do not count before one of them is moved."""
    defaults = {name: BY_FIELD[name].default for name in SAMPLING_NAMES}
    assert replace(read_values([component.value for component in page.controls]), **defaults) == read_values([])


def test_no_textbox_or_dropdown_lacks_a_value(page: Page) -> None:
    """Forge ignores a paste into one that was made without."""
    for part in page.parts.values():
        if kind(part) in ("textbox", "dropdown"):
            assert part.value is not None


def test_the_infotext_fields_are_the_controls_themselves(page: Page) -> None:
    fields = page.stage.script.infotext_fields
    assert [component for component, _ in fields] == page.controls


def test_an_image_that_is_sent_takes_along_every_control_but_the_seed(page: Page) -> None:
    names = page.stage.script.paste_field_names
    sent = [component for component, name in page.stage.script.infotext_fields if name in names]
    assert sent == [component for component in page.controls if component is not control(page, "seed")]


def test_the_button_in_the_tool_row_sends_the_page_and_every_control(page: Page) -> None:
    wire = page.wire("expand")
    assert wire.inputs[1:] == page.controls and not wire.inputs[0].visible
    assert wire.js is not None and f"kgenTools.expand('{page.name}', inputs)" in wire.js
    assert not wire.outputs[0].visible


def test_a_press_on_the_button_in_the_tool_row_answers_with_the_prompt(page: Page) -> None:
    state = json.dumps({"id": "x", "tab": page.name, "prompt": "cat", "seed": "7", "run": 4})
    wire = page.wire("expand")
    assert wire.fn is not None
    last = [changes(result)[0] for result in wire.fn(state, *(component.value for component in page.controls))][-1]
    assert json.loads(last["value"])["prompt"] == "cat, word7"


def test_a_tool_row_that_is_built_after_the_controls_has_its_button_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = build_page(monkeypatch, tmp_path, img2img=False, real=False).stage.script
    gradio: Any = sys.modules["gradio"]
    script.tool_row, script.waiting = None, {}
    script.show(False)
    ui.build(script, False)
    before = len(gradio.wires)
    script.component_built("txt2img_style_apply")
    targets = [(wire.target, wire.event) for wire in gradio.wires[before:]]
    expand, stop = "kgen_txt2img_expand", "kgen_txt2img_expand_stop"
    assert targets == [(expand, "click"), (expand, "then"), (stop, "click")]
    forget()


def test_a_host_that_cannot_add_to_its_tool_row_has_the_page_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("fake_parts.Script.on_after_component", None)
    monkeypatch.setattr("fake_parts.Script.component_built", lambda self, elem_id: None)
    page = build_page(monkeypatch, tmp_path, img2img=False, real=False)
    assert "kgen_txt2img_expand" not in page.parts
    forget()


def test_every_control_has_one_place(page: Page) -> None:
    placed = [*ui.FIRST, *ui.SECOND, *(field for fold in ui.FOLDS for row in fold.rows for field in row)]
    assert sorted(placed) == sorted(param.field for param in CONTROLS if param.field != "enabled")


def test_no_two_elements_share_an_id(page: Page) -> None:
    if isinstance(gradio := sys.modules["gradio"], FakeGradio):
        names = [component.elem_id for component in gradio.made if component.elem_id]
        assert sorted(names) == sorted(set(names))


def test_every_element_id_is_this_tabs_own(page: Page) -> None:
    assert all(name.startswith(f"kgen_{page.name}_") for name in page.parts)


def test_at_first_only_what_counts_is_shown(page: Page) -> None:
    hidden = {param.field for param in CONTROLS if not control(page, param.field).visible}
    engines = names(control(page, "engine").choices)
    only_one = {"engine"} if len(engines) < 3 else set()
    assert hidden - {"enabled"} == {"text_length", "template", "yours"} | only_one


def test_sentences_bring_their_length_and_take_that_of_tags(page: Page) -> None:
    wire = page.wire("add", "change")
    show = BY_FIELD["add"].show
    fields = [output.elem_id.rpartition(f"{page.name}_")[2] for output in wire.outputs]
    for added, shown in (("tags", {"tag_length"}), ("text", {"text_length"}), ("both", {"tag_length", "text_length"})):
        assert wire.fn is not None
        visible = [update["visible"] for update in changes(wire.fn(show(added)))]
        assert {field for field, yes in zip(fields, visible, strict=True) if yes} == shown


def test_a_table_named_by_another_s_image_is_shown_to_be_set_back(page: Page) -> None:
    change = page.wire("yours", "change").fn
    assert change is not None
    assert [changes(change(name))[0]["visible"] for name in ("bob", "none", "")] == [True, False, False]


def test_a_table_that_is_not_there_stays_shown_when_lists_are_looked_up(page: Page) -> None:
    refresh = page.wire("refresh", "click")
    assert refresh.fn is not None
    fields = [output.elem_id.rpartition(f"{page.name}_")[2] for output in refresh.outputs]
    place = fields.index("yours")
    assert [changes(refresh.fn(name))[place]["visible"] for name in ("bob", "none")] == [True, False]


def test_a_table_of_one_s_own_is_offered(page: Page, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KGEN_MODELS_DIR", str(tmp_path / "models"))
    prior_path("mine").parent.mkdir()
    prior_path("mine").write_bytes(b"")
    refresh = page.wire("refresh", "click")
    assert refresh.fn is not None
    fields = [output.elem_id.rpartition(f"{page.name}_")[2] for output in refresh.outputs]
    update = dict(zip(fields, changes(refresh.fn("none")), strict=True))["yours"]
    assert (names(update["choices"]), update["visible"]) == (["none", "mine"], True)


def shown(page: Page) -> list[float]:
    """Return what the sampling sliders show."""
    return [control(page, name).value for name in SAMPLING_NAMES]


def filled(page: Page, *, model: str, preset: str) -> list[float] | None:
    """Return what the sliders are set to for a model and a preset; None where they are left alone."""
    wire = page.wire("creativity", "change")
    assert wire.fn is not None
    updates = changes(wire.fn(model, preset))[:4]
    return [update["value"] for update in updates] if "value" in updates[0] else None


def test_the_sliders_show_what_the_default_model_recommends(page: Page) -> None:
    assert shown(page) == [0.6, 0, 1.0, 0.1]


def test_the_sliders_follow_the_model(page: Page) -> None:
    assert filled(page, model="TIPO-500M-ft:Q8_0", preset="default") == [0.5, 80, 0.95, 0.1]
    assert page.wire("model", "change").fn is page.wire("creativity", "change").fn


def test_a_preset_fills_the_sliders(page: Page) -> None:
    assert filled(page, model="default", preset=" Daring ") == [1.4, 0, 1.0, 0.05]


@pytest.mark.parametrize(("model", "preset"), [("default", "custom"), ("default", " Custom "), ("x", "nobody's")])
def test_the_sliders_are_left_alone_where_they_count_or_nothing_is_known(page: Page, model: str, preset: str) -> None:
    assert filled(page, model=model, preset=preset) is None


def test_a_model_of_ones_own_has_the_tables_numbers(page: Page) -> None:
    assert filled(page, model="mine", preset="default") == [1.0, 0, 1.0, 0.1]


@pytest.mark.parametrize("name", SAMPLING_NAMES)
def test_moving_a_slider_makes_the_preset_custom(page: Page, name: str) -> None:
    wire = page.wire(name, "input")
    assert (wire.js, wire.outputs) == ("() => 'custom'", [control(page, "creativity")])


def test_reset_brings_the_models_numbers_back(page: Page) -> None:
    wire = page.wire("reset")
    assert (wire.js, wire.outputs) == ("() => 'default'", [control(page, "creativity")])


@pytest.mark.parametrize(("preset", "there"), [("default", False), ("", False), (None, False), ("custom", True)])
def test_reset_is_there_where_the_model_is_not_followed(page: Page, preset: Any, there: bool) -> None:
    wire = page.wire("creativity", "change")
    assert wire.fn is not None and wire.outputs[-1] is page.part("reset")
    assert changes(wire.fn("default", preset))[-1]["visible"] is there


def test_the_sliders_are_not_among_the_saved_defaults(page: Page) -> None:
    """A number saved for one model would be shown for another."""
    assert all(control(page, name).do_not_save_to_config for name in SAMPLING_NAMES)


def test_the_template_is_there_for_the_custom_format_only(page: Page) -> None:
    wire = page.wire("format", "change")
    assert wire.fn is not None
    assert changes(wire.fn("Custom template"))[0]["visible"]
    assert not changes(wire.fn("Append, nothing moved"))[0]["visible"]


def test_a_default_that_the_user_saved_shows_what_it_needs(page: Page) -> None:
    control(page, "add").init_field(BY_FIELD["add"].show("text"))
    control(page, "format").init_field("Custom template")
    assert [field for field in ("tag_length", "text_length", "template") if control(page, field).visible] == [
        "text_length", "template"
    ]  # fmt: skip


@pytest.mark.parametrize(("field", "value", "numbers"), [
    ("creativity", "careful", [0.5, 0, 0.95, 0.1]), ("model", "TIPO-500M-ft", [0.5, 80, 0.95, 0.1]),
])  # fmt: skip
def test_a_default_that_the_user_saved_fills_the_sliders(
    page: Page, field: str, value: str, numbers: list[float]
) -> None:
    control(page, field).value = value  # as a host does, before it calls this
    control(page, field).init_field(value)
    assert shown(page) == numbers


def test_the_lists_are_read_anew_on_request(page: Page) -> None:
    models = webui_locations(Host(), read_settings(Host())).own
    models.mkdir(parents=True)
    (models / "mine.gguf").write_bytes(b"GGUF")
    page.stage.host.opts.kgen_presets = "soft: temperature=0.3"
    wire = page.wire("refresh")
    assert wire.fn is not None
    found = dict(zip([output.elem_id for output in wire.outputs], changes(wire.fn("none")), strict=True))
    assert "soft" in names(found[f"kgen_{page.name}_creativity"]["choices"])
    assert names(found[f"kgen_{page.name}_model"]["choices"])[:2] == ["default", "starter"]


def test_the_seeds_buttons_follow_the_image_or_take_the_selected_ones(page: Page) -> None:
    own, reuse = page.wire("seed_own"), page.wire("seed_reuse")
    assert own.fn is not None and own.fn() == -1
    assert own.outputs == reuse.outputs == [control(page, "seed")]
    assert reuse.js is not None and f"kgen.reuseSeed('{page.name}', inputs)" in reuse.js


def test_building_a_page_opens_no_model(page: Page) -> None:
    assert page.stage.opened == []
    assert page.stage.session._pool is None or not page.stage.session.pool.resident()


def test_a_page_stays_small(page: Page) -> None:
    """Each part and each event costs a start of Forge a fifth of a millisecond, twice."""
    if isinstance(gradio := sys.modules["gradio"], FakeGradio):
        assert len(CONTROLS) < len(gradio.made) <= 95
    assert len(page.wires) <= 35


def test_the_api_asks_twice_for_the_defaults_and_gets_no_page(page: Page) -> None:
    page.stage.script.controls = page.controls  # as a host does when it has the page
    gradio = sys.modules["gradio"]
    before = (len(gradio.made), len(gradio.wires)) if isinstance(gradio, FakeGradio) else ()
    first, again = (ui.build(page.stage.script, page.name == "img2img") for _ in range(2))
    assert [component.value for component in first] == [control.shown_default for control in CONTROLS]
    assert all(before is after for before, after in zip(first, again, strict=True))
    if isinstance(gradio, FakeGradio):
        assert (len(gradio.made), len(gradio.wires)) == (before[0] + len(CONTROLS), before[1])
    assert page.stage.script.infotext_fields[0][0] is page.controls[0]


def test_the_models_are_looked_for_once_for_all_pages_of_a_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = build_page(monkeypatch, tmp_path, img2img=False, real=False)
    looks: list[object] = []
    monkeypatch.setattr(ui, "installed_models", lambda host: looks.append(host) or ("starter", "new"))
    for start in (1, 2):
        for before_ui in page.stage.host.callbacks["on_before_ui"]:
            before_ui()
        for _ in range(3):
            built = ui.build(page.stage.script, page.name == "img2img")
            assert "new" in names(built[1].choices) and len(looks) == start
    forget()


def test_the_preview_sends_the_page_and_every_control_and_fills_the_panel(page: Page) -> None:
    for name in ("preview", "again"):
        wire = page.wire(name)
        assert wire.inputs[1:] == [page.part("versions"), *page.controls]
        assert wire.outputs == [page.part("panel"), page.part("again"), page.part("cancel")]
        assert wire.js is not None and f"kgen.page('{page.name}', inputs)" in wire.js


def test_a_press_on_preview_streams_into_the_panel_and_cancel_is_heard_at_once(page: Page) -> None:
    state = json.dumps({"id": "x", "tab": page.name, "prompt": "cat", "width": "512", "height": "512", "seed": "7"})
    wire, cancel = page.wire("preview"), page.wire("cancel")
    assert wire.fn is not None and cancel.fn is not None
    values = [component.value for component in page.controls]
    last = [changes(result)[0] for result in wire.fn(state, 2, *values)][-2]
    assert "word7" in last["value"] and "word8" in last["value"]
    assert f'id="kgen_{page.name}_use1"' in last["value"]
    assert cancel.js == wire.js and cancel.fn(state) is None and cancel.fn("") is None


def buttons(page: Page, state: str = "") -> list[tuple[Any, Any]]:
    """Return whether “Again” and “Cancel” are shown, at each step of a preview."""
    wire = page.wire("preview")
    assert wire.fn is not None
    steps = [changes(result) for result in wire.fn(state, 1, *(component.value for component in page.controls))]
    return [(step[1].get("visible"), step[2].get("visible")) for step in steps]


def test_cancel_is_there_while_a_preview_runs_and_again_after_it(page: Page) -> None:
    seen = buttons(page, json.dumps({"id": "x", "tab": page.name, "prompt": "cat", "seed": "7"}))
    assert (seen[0], seen[-1]) == ((False, True), (True, False))


def test_again_is_there_after_an_error(page: Page) -> None:
    assert buttons(page)[-1] == (True, False)


def test_neither_again_nor_cancel_is_there_at_first(page: Page) -> None:
    assert (page.part("again").visible, page.part("cancel").visible) == (False, False)


def test_nothing_of_the_preview_is_kept_among_the_pages_defaults(page: Page) -> None:
    for name in ("preview", "again", "cancel", "versions", "panel", "report", "refresh", "seed_own", "seed_reuse",
                 "expand", "expand_stop"):
        assert page.part(name).do_not_save_to_config
