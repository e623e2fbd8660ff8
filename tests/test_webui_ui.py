"""The page: built from the table in both tabs, on the fake gradio and on the installed one."""
from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_gradio import FakeGradio
from page_kit import Page, build_page
from webui_kit import forget

from kgen_ext.webui import ui
from kgen_ext.webui.controls import BY_FIELD, CONTROLS, CUSTOM, ControlGroup, Widget, read_values
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
        assert component.value == param.shown_default
        assert component.label == param.label
        if param.group is not ControlGroup.LABEL:
            assert component.elem_id == f"kgen_{page.name}_{param.field}"
            assert component.info == param.info
            assert kind(component) == KINDS[param.widget]
        if param.choices:
            assert names(component.choices) == [label for _, label in param.choices]
        if param.widget is Widget.SLIDER:
            assert (component.minimum, component.maximum, component.step) == (param.low, param.high, param.step)


def test_the_values_of_an_untouched_page_are_the_tables(page: Page) -> None:
    assert read_values([component.value for component in page.controls]) == read_values([])


def test_no_textbox_or_dropdown_lacks_a_value(page: Page) -> None:
    """Forge ignores a paste into one that was made without."""
    for part in page.parts.values():
        if kind(part) in ("textbox", "dropdown"):
            assert part.value is not None


def test_the_infotext_fields_are_the_controls_themselves(page: Page) -> None:
    fields = page.stage.script.infotext_fields
    assert [component for component, _ in fields] == page.controls
    assert page.stage.script.paste_field_names == [param.key for param in CONTROLS]


def test_every_element_id_is_this_tabs_own(page: Page) -> None:
    assert all(name.startswith(f"kgen_{page.name}_") for name in page.parts)


def test_at_first_only_what_counts_is_shown(page: Page) -> None:
    hidden = {param.field for param in CONTROLS if not control(page, param.field).visible}
    engines = names(control(page, "engine").choices)
    only_one = {"engine"} if len(engines) < 3 else set()
    assert hidden - {"enabled"} == {"text_length", "template", "temperature", "top_k", "top_p", "min_p"} | only_one


def test_sentences_bring_their_length_and_take_that_of_tags(page: Page) -> None:
    wire = page.wire("add", "change")
    show = BY_FIELD["add"].show
    fields = [output.elem_id.rpartition(f"{page.name}_")[2] for output in wire.outputs]
    for added, shown in (("tags", {"tag_length"}), ("text", {"text_length"}), ("both", {"tag_length", "text_length"})):
        assert wire.fn is not None
        visible = [update["visible"] for update in changes(wire.fn(show(added)))]
        assert {field for field, yes in zip(fields, visible, strict=True) if yes} == shown


def test_the_sliders_are_there_for_the_custom_creativity_only(page: Page) -> None:
    wire = page.wire("creativity", "change")
    assert wire.fn is not None and len(wire.outputs) == 4
    for chosen, visible in ((CUSTOM, True), (" Custom ", True), ("daring", False), ("", False), (None, False)):
        assert {update["visible"] for update in changes(wire.fn(chosen))} == {visible}


def test_the_template_is_there_for_the_custom_format_only(page: Page) -> None:
    wire = page.wire("format", "change")
    assert wire.fn is not None
    assert changes(wire.fn("Custom template"))[0]["visible"]
    assert not changes(wire.fn("Append to your prompt, nothing moved"))[0]["visible"]


def test_a_default_that_the_user_saved_shows_what_it_needs(page: Page) -> None:
    control(page, "add").init_field(BY_FIELD["add"].show("text"))
    control(page, "creativity").init_field(CUSTOM)
    control(page, "format").init_field("Custom template")
    shown = [field for field in ("tag_length", "text_length", "template", "top_k") if control(page, field).visible]
    assert shown == ["text_length", "template", "top_k"]


def test_the_lists_are_read_anew_on_request(page: Page) -> None:
    models = webui_locations(Host(), read_settings(Host())).own
    models.mkdir(parents=True)
    (models / "mine.gguf").write_bytes(b"GGUF")
    page.stage.host.opts.kgen_presets = "soft: temperature=0.3"
    wire = page.wire("refresh")
    assert wire.fn is not None
    found = dict(zip([output.elem_id for output in wire.outputs], changes(wire.fn()), strict=True))
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
        assert len(CONTROLS) < len(gradio.made) <= 90
    assert len(page.wires) <= 20


def test_the_api_asks_twice_for_the_defaults_and_gets_no_page(page: Page) -> None:
    page.stage.script.controls = page.controls  # as a host does when it has the page
    gradio = sys.modules["gradio"]
    before = (len(gradio.made), len(gradio.wires)) if isinstance(gradio, FakeGradio) else ()
    first, again = (ui.build(page.stage.script, page.name == "img2img") for _ in range(2))
    assert [component.value for component in first] == [component.value for component in page.controls]
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
        assert wire.outputs == [page.part("panel")]
        assert wire.js is not None and f"kgen.page('{page.name}', inputs)" in wire.js


def test_a_press_on_preview_streams_into_the_panel_and_cancel_is_heard_at_once(page: Page) -> None:
    state = json.dumps({"id": "x", "tab": page.name, "prompt": "cat", "width": "512", "height": "512", "seed": "7"})
    wire, cancel = page.wire("preview"), page.wire("cancel")
    assert wire.fn is not None and cancel.fn is not None
    values = [component.value for component in page.controls]
    last = [changes(result)[0] for result in wire.fn(state, 2, *values)][-1]
    assert "word7" in last["value"] and "word8" in last["value"]
    assert f'id="kgen_{page.name}_use1"' in last["value"]
    assert cancel.js == wire.js and cancel.fn(state) is None and cancel.fn("") is None


def test_nothing_of_the_preview_is_kept_among_the_pages_defaults(page: Page) -> None:
    for name in ("preview", "again", "cancel", "versions", "panel", "report", "refresh", "seed_own", "seed_reuse"):
        assert page.part(name).do_not_save_to_config
