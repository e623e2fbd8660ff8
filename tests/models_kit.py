"""A minimal gradio for the models panel: components that remember their arguments and event handlers."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kgen_ext.models import Locations
from kgen_ext.webui.background import BackgroundTasks
from kgen_ext.webui.host import Host
from kgen_ext.webui.models_controller import ModelsController
from kgen_ext.webui.models_panel import build
from kgen_ext.webui.ui import Tab


class Part:
    """A component that keeps its arguments and its event handlers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args, self.kwargs = args, kwargs
        self.events: dict[str, tuple[Callable[..., Any], list[Any], list[Any]]] = {}

    def __enter__(self) -> Part:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def click(self, fn: Callable[..., Any], inputs: list[Any], outputs: list[Any]) -> None:
        self.events["click"] = (fn, inputs, outputs)

    def change(self, fn: Callable[..., Any], inputs: list[Any], outputs: list[Any]) -> None:
        self.events["change"] = (fn, inputs, outputs)


class FakeGradio:
    """As much of gradio as the panel uses; keeps the components by element id."""

    def __init__(self) -> None:
        self.made: dict[str, Part] = {}

    def make(self, *args: Any, **kwargs: Any) -> Part:
        part = Part(*args, **kwargs)
        self.made[kwargs.get("elem_id", f"other {len(self.made)}")] = part
        return part

    HTML = Button = Dropdown = State = make

    def Row(self, **_: Any) -> Part:
        return Part()

    def update(self, **changes: Any) -> dict[str, Any]:
        return changes


def controller_of(
    locations: Locations, *, offline: tuple[str, ...] = (), tasks: BackgroundTasks | None = None, unloaded: int = 0
) -> ModelsController:
    return ModelsController(
        locations=lambda: locations, offline=lambda: offline, unload=lambda: unloaded, tasks=tasks, poll_seconds=0.02
    )


def page(locations: Locations) -> tuple[Tab, dict[str, Part]]:
    gradio = FakeGradio()
    tab = Tab(gradio, Host(), "txt2img", {"model": Part()}, {})
    build(tab, controller=controller_of(locations))
    return tab, gradio.made
