"""The models panel on the fake gradio, with controllers of models folders of a test's own."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fake_gradio import FakeGradio, Wire

from kgen_ext.models import Locations
from kgen_ext.models.needs import Machine
from kgen_ext.models.tasks import BackgroundTasks
from kgen_ext.webui.host import Host
from kgen_ext.webui.models_controller import ModelsController, PanelUpdate
from kgen_ext.webui.models_offer import ModelOffers
from kgen_ext.webui.models_panel import build, build_offer
from kgen_ext.webui.ui import Tab

# A machine that runs everything, and one with the libraries that A1111 pins.
ABLE = Machine({"reference": (2, 0), "transformers": (5, 0), "llama_cpp": (0, 3, 36)}, gpu=False, memory=64 * 10**9)
OLD = Machine({"reference": (1, 26), "transformers": (4, 30, 2)}, gpu=True, memory=64 * 10**9)


def controller_of(
    locations: Locations, *, offline: tuple[str, ...] = (), tasks: BackgroundTasks | None = None, unloaded: int = 0,
    machine: Machine = ABLE,
) -> ModelsController:  # fmt: skip
    return ModelsController(
        locations=lambda: locations, offline=lambda: offline, unload=lambda: unloaded, tasks=tasks, poll_seconds=0.02,
        machine=lambda: machine,
    )  # fmt: skip


def offers_of(locations: Locations, *, offline: tuple[str, ...] = (), machine: Machine = ABLE) -> ModelOffers:
    return ModelOffers(locations=lambda: locations, offline=lambda: offline, machine=lambda: machine)


def rows_of(update: PanelUpdate) -> dict[str, str]:
    """Return the text of each model's row, without its name."""
    assert update.view is not None
    return {name: text.partition(" · ")[2] for text, name in update.view.models}


@dataclass
class Panel:
    """The panel of a tab, and what its events give by the end of the component's element id."""

    tab: Tab
    gradio: FakeGradio

    def wire(self, name: str, event: str = "click") -> Wire:
        element = self.tab.id(name)
        (found,) = [wire for wire in self.gradio.wires if (wire.target, wire.event) == (element, event)]
        return found

    def do(self, name: str, *values: Any, event: str = "click") -> Iterator[dict[str, Any]]:
        """Cause an event; yield its updates by the end of the element id."""
        wire = self.wire(name, event)
        assert wire.fn is not None
        answer = wire.fn(*values)
        for updates in [answer] if isinstance(answer, (list, dict)) else answer:
            listed = [updates] if len(wire.outputs) == 1 else updates
            names = [(part.elem_id or "").removeprefix(self.tab.id("")) for part in wire.outputs]
            yield dict(zip(names, listed, strict=True))

    def last(self, name: str, *values: Any, event: str = "click") -> dict[str, Any]:
        return list(self.do(name, *values, event=event))[-1]


def panel_of(locations: Locations, *, machine: Machine = ABLE) -> Panel:
    gradio = FakeGradio()
    tab = Tab(gradio, Host(), "txt2img", {}, {})
    tab.controls["model"] = gradio.Dropdown(elem_id=tab.id("model"))  # type: ignore[attr-defined]
    build(tab, build_offer(tab), controller=controller_of(locations, machine=machine),
          offers=offers_of(locations, machine=machine))  # fmt: skip
    return Panel(tab, gradio)
