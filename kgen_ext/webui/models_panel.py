"""The models panel: a table of models, with buttons that download, verify, remove and unload them.

    table   model [name] [Refresh]   details   [Download] [Cancel] [Verify] [Remove] [Unload]   status

`ui` builds it inside a folded accordion. Its components are neither arguments of the script nor saved in
ui-config.json, and nothing on disk is read before a button is pressed.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from kgen_ext.webui.background import shared_tasks
from kgen_ext.webui.host import Host
from kgen_ext.webui.models_controller import ModelsController, PanelUpdate, model_names
from kgen_ext.webui.models_html import NOT_SCANNED, facts_html

if TYPE_CHECKING:
    from kgen_ext.webui.ui import Tab

BUTTONS = ("download", "cancel", "verify", "remove", "unload")


def build(tab: Tab, *, controller: ModelsController | None = None) -> None:
    """Build the panel inside the open accordion of a tab; without a controller, for this WebUI's models."""
    from kgen_ext.models import load_catalogue
    from kgen_ext.webui.ui import live_choices

    gr, controller = tab.gr, controller or webui_controller(tab.host)
    known = load_catalogue()  # the built-in one: the user's own is read with the disk
    names = model_names(known)
    first = next(model for model in known if names[0].startswith(f"{model.id}:"))
    table = gr.HTML(NOT_SCANNED, elem_id=tab.id("models_table"))
    with gr.Row(elem_classes=["kgen-row"]):
        choice = gr.Dropdown(choices=list(names), value=names[0], label="Model to download, verify or remove",
                             allow_custom_value=True, elem_id=tab.id("models_name"))  # fmt: skip
        refresh = gr.Button("Refresh", size="sm", elem_id=tab.id("models_refresh"))
    facts = gr.HTML(facts_html((first.id, first, ()), scanned=False), elem_id=tab.id("models_facts"))
    with gr.Row(elem_classes=["kgen-row", "kgen-buttons"]):
        buttons = {name: gr.Button(name.capitalize(), size="sm", elem_id=tab.id(f"models_{name}")) for name in BUTTONS}
    status = gr.HTML("", elem_id=tab.id("models_status"))
    pending = gr.State("")
    tab.keep_unsaved(table, choice, facts, status, refresh, *buttons.values())

    outputs = [status, table, facts, choice, tab.controls["model"]]

    def changes(update: PanelUpdate) -> list[Any]:
        return [
            gr.update(value=update.status),
            *(gr.update() if html is None else gr.update(value=html) for html in (update.table, update.facts)),
            gr.update() if update.names is None else gr.update(choices=list(update.names)),
            # The model control of the page offers what is installed.
            gr.update(choices=list(live_choices(tab.host, "model"))) if update.changed else gr.update(),
        ]

    def stream(action: Callable[[str], Iterator[PanelUpdate]]) -> Callable[[Any], Iterator[list[Any]]]:
        def run(name: Any) -> Iterator[list[Any]]:
            for update in action(_text(name)):
                yield changes(update)

        return run

    def remove(name: Any, before: Any) -> list[Any]:
        update, after = controller.remove(_text(name), _text(before))
        return [*changes(update), after]

    refresh.click(lambda name: changes(controller.refresh(_text(name))), [choice], outputs)
    choice.change(lambda name: changes(controller.select(_text(name))), [choice], outputs)
    buttons["download"].click(stream(controller.download), [choice], outputs)
    buttons["verify"].click(stream(controller.verify), [choice], outputs)
    buttons["cancel"].click(lambda name: changes(controller.cancel(_text(name))), [choice], outputs)
    buttons["remove"].click(remove, [choice, pending], [*outputs, pending])
    buttons["unload"].click(lambda: changes(controller.unload()), [], outputs)


def webui_controller(host: Host) -> ModelsController:
    """Return a controller of this WebUI's models."""
    from kgen_ext.webui.session import current
    from kgen_ext.webui.settings import read_settings, webui_locations

    return ModelsController(
        locations=lambda: webui_locations(host, read_settings(host)),
        offline=lambda: read_settings(host).offline,
        unload=lambda: current().unload(),
        tasks=shared_tasks(),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
