"""A page small enough to read for the models panel: parts that remember what they were given and what they call."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kgen_ext.models import Locations
from kgen_ext.webui.host import Host
from kgen_ext.webui.models_controller import BackgroundTasks, ModelsController
from kgen_ext.webui.models_panel import build


class Part:
    """A component that keeps what it was made with and what its events do."""

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


class FakeTab:
    def __init__(self) -> None:
        self.gr, self.host, self.name = FakeGradio(), Host(), "txt2img"
        self.controls = {"model": Part()}

    def id(self, name: str) -> str:
        return f"kgen_{self.name}_{name}"


def desk_of(
    places: Locations, *, offline: bool = False, tasks: BackgroundTasks | None = None, unloaded: int = 0
) -> ModelsController:
    return ModelsController(
        places=lambda: places, offline=lambda: offline, unload=lambda: unloaded, tasks=tasks, period=0.02
    )


def page(places: Locations) -> tuple[FakeTab, dict[str, Part]]:
    tab = FakeTab()
    build(tab, desk=desk_of(places))  # type: ignore[arg-type]
    return tab, tab.gr.made
