"""A tab's page for tests, on the fake gradio or the installed one, whose event handlers a test can call."""
from __future__ import annotations

import asyncio
import functools
import importlib.util
import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fake_gradio import FakeGradio, Wire
from webui_kit import Stage, set_stage

from kgen_ext.webui import ui

HAVE_GRADIO = importlib.util.find_spec("gradio") is not None


@dataclass
class Page:
    """A tab's page: its stage, the controls that `ui` returned, all components by element id, the event handlers."""

    stage: Stage
    name: str
    controls: list[Any]
    parts: dict[str, Any]
    wires: list[Wire]

    def part(self, name: str) -> Any:
        """Return a component by the end of its element id."""
        return self.parts[f"kgen_{self.name}_{name}"]

    def wire(self, name: str, event: str = "click") -> Wire:
        """Return the only event handler of a component for this event."""
        element = f"kgen_{self.name}_{name}"
        (found,) = [wire for wire in self.wires if wire.target == element and wire.event == event]
        return found


def build_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, img2img: bool, real: bool) -> Page:
    """Build a tab's page."""
    if real and not HAVE_GRADIO:
        if os.environ.get("KGEN_REQUIRE_GRADIO"):
            pytest.fail("gradio is not installed")
        pytest.skip("gradio is not installed")
    stage = set_stage(monkeypatch, tmp_path)
    stage.script.is_img2img = img2img
    monkeypatch.setattr("kgen_ext.webui.session.current", functools.cache(lambda: stage.session))
    if not real:
        return _fake(monkeypatch, stage, img2img)
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")  # read at its import
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # gradio's, about its dependencies
        # In an event loop: without one, gradio creates its own and leaves them open.
        return asyncio.run(_real(monkeypatch, stage, img2img))


def _fake(monkeypatch: pytest.MonkeyPatch, stage: Stage, img2img: bool) -> Page:
    gradio = FakeGradio()
    monkeypatch.setitem(sys.modules, "gradio", gradio)
    _host_parts(monkeypatch, gradio.InputAccordion, gradio.ToolButton)
    _tool_row(stage, img2img)
    controls = ui.build(stage.script, img2img)
    parts = {component.elem_id: component for component in gradio.made if component.elem_id}
    assert not gradio.open, "every container was closed"
    return Page(stage, "img2img" if img2img else "txt2img", controls, parts, gradio.wires)


async def _real(monkeypatch: pytest.MonkeyPatch, stage: Stage, img2img: bool) -> Page:
    import gradio as gr

    install_gradio_parts(monkeypatch, gr)
    with gr.Blocks(analytics_enabled=False) as blocks:
        _tool_row(stage, img2img)
        controls = ui.build(stage.script, img2img)
    blocks.queue()
    config = blocks.get_config_file()
    parts = {block.elem_id: block for block in blocks.blocks.values() if getattr(block, "elem_id", None)}
    wires = []
    for index, event in enumerate(config["dependencies"]):
        fn = blocks.fns[event.get("id", index)].fn
        inputs, outputs = ([blocks.blocks[number] for number in event[side]] for side in ("inputs", "outputs"))
        for target in event["targets"]:
            number, trigger = target if isinstance(target, (list, tuple)) else (target, event["trigger"])
            if trigger == "then":
                continue  # follows another event, and has no component of its own
            element = getattr(blocks.blocks[number], "elem_id", None) or ""
            wires.append(Wire(element, trigger, fn, event["js"] or None, inputs, outputs))
    return Page(stage, "img2img" if img2img else "txt2img", controls, parts, wires)


def install_gradio_parts(monkeypatch: pytest.MonkeyPatch, gr: Any, *, shown: bool = False) -> None:
    """Put the hosts' components for the installed gradio in place. shown: an accordion's checkbox is in sight."""
    new = int(gr.__version__.split(".")[0]) >= 4
    if new:
        _take_js(monkeypatch, gr)
        # Would write a .pyi file beside this one for the class below.
        monkeypatch.setattr("gradio.component_meta.create_or_modify_pyi", lambda *_: None)

    class Accordion(gr.Checkbox):  # type: ignore[misc]
        """A hidden checkbox with an accordion around it, like the hosts' InputAccordion."""

        def __init__(self, value: bool = False, *, label: str = "", elem_id: str = "", **others: Any) -> None:
            if others:  # gradio 4 makes a changed component anew from its settings
                super().__init__(value, label=label, elem_id=elem_id, **others)
                return
            super().__init__(value, label=label, elem_id=f"{elem_id}-checkbox", visible=shown)
            self.accordion = gr.Accordion(label=label, open=value or shown, elem_id=elem_id)

        def __enter__(self) -> Any:
            self.accordion.__enter__()
            return self

        def __exit__(self, *error: Any) -> None:
            self.accordion.__exit__(*error)

        def get_block_name(self) -> str:
            return "checkbox"

    make = (lambda value, **given: Accordion(value, **given)) if new else Accordion
    _host_parts(monkeypatch, make, lambda value, **given: gr.Button(value=value, **given))


def _tool_row(stage: Stage, img2img: bool) -> None:
    """Build the host's tool row, which comes before the scripts."""
    stage.script.show(img2img)
    stage.script.component_built(f"{'img2img' if img2img else 'txt2img'}_style_apply")


def _host_parts(monkeypatch: pytest.MonkeyPatch, accordion: Any, tool: Any) -> None:
    module = ModuleType("modules.ui_components")
    module.InputAccordion, module.ToolButton = accordion, tool  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "modules.ui_components", module)


def _take_js(monkeypatch: pytest.MonkeyPatch, gr: Any) -> None:
    """Let events accept `_js`, as Forge does on gradio 4."""
    for component in (gr.Button, gr.Dropdown, gr.Textbox, gr.Number, gr.Checkbox, gr.Slider):
        for event in ("click", "change", "input"):
            listener = getattr(component, event, None)
            if listener is not None:
                monkeypatch.setattr(component, event, _renaming(listener))


def _renaming(listener: Any) -> Any:
    @functools.wraps(listener)
    def call(*args: Any, **options: Any) -> Any:
        if "_js" in options:
            options["js"] = options.pop("_js")
        done = listener(*args, **options)
        if hasattr(done, "then"):
            done.then = _renaming(done.then)
        return done

    return call
