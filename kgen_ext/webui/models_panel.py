"""The models panel on the page: what there is, its size and licence, and the buttons that get, check and remove it.

Refuses to do what the buttons do (`models_desk`). It stands in a folded part of the page that `ui` opens:

    table [Refresh]   model [name]   facts   [Download] [Cancel] [Verify] [Remove] [Unload]   what happens

Nothing of it is sent with a job, saved among the page's defaults, or read before somebody presses a button.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from kgen_ext.webui.host import Host
from kgen_ext.webui.models_controller import UNREAD, ModelsController, View, facts_html, offered, shared_tasks

if TYPE_CHECKING:
    from kgen_ext.webui.ui import Tab

BUTTONS = ("download", "cancel", "verify", "remove", "unload")


def build(tab: Tab, *, desk: ModelsController | None = None) -> None:
    """Make the panel inside the open part of a tab; desk: what the buttons work on, None for this process's models."""
    from kgen_ext.models import load_catalogue
    from kgen_ext.webui.ui import live_choices

    gr, desk, model = tab.gr, desk or own_desk(tab.host), tab.controls["model"]
    known = load_catalogue()  # ours alone: the disk is looked at when somebody asks
    names = offered(known)
    first = next(one for one in known if names[0].startswith(f"{one.id}:"))
    table = gr.HTML(UNREAD, elem_id=tab.id("models_table"))
    with gr.Row(elem_classes=["kgen-row"]):
        choice = gr.Dropdown(choices=list(names), value=names[0], label="Model to get, check or remove",
                             allow_custom_value=True, elem_id=tab.id("models_name"))  # fmt: skip
        refresh = gr.Button("Refresh", size="sm", elem_id=tab.id("models_refresh"))
    facts = gr.HTML(facts_html((first.id, first, ()), looked=False), elem_id=tab.id("models_facts"))
    with gr.Row(elem_classes=["kgen-row", "kgen-buttons"]):
        buttons = {part: gr.Button(part.capitalize(), size="sm", elem_id=tab.id(f"models_{part}")) for part in BUTTONS}
    status = gr.HTML("", elem_id=tab.id("models_status"))
    asked = gr.State("")
    for component in (table, choice, facts, status, refresh, *buttons.values()):
        component.do_not_save_to_config = True  # the host keeps the defaults of everything else in ui-config.json

    outputs = [status, table, facts, choice, model]

    def updates(view: View) -> list[Any]:
        shown = [gr.update(value=view.status)]
        shown += [gr.update() if one is None else gr.update(value=one) for one in (view.table, view.facts)]
        shown.append(gr.update() if view.names is None else gr.update(choices=list(view.names)))
        # The page's own list of models, when there may be another one now.
        shown.append(gr.update(choices=list(live_choices(tab.host, "model"))) if view.changed else gr.update())
        return shown

    def steps(action: Callable[[str], Iterator[View]]) -> Callable[[Any], Iterator[list[Any]]]:
        def run(name: Any) -> Iterator[list[Any]]:
            for view in action(_text(name)):
                yield updates(view)

        return run

    def removal(name: Any, before: Any) -> list[Any]:
        view, now = desk.remove(_text(name), _text(before))
        return [*updates(view), now]

    refresh.click(lambda name: updates(desk.refresh(_text(name))), [choice], outputs)
    choice.change(lambda name: updates(desk.choose(_text(name))), [choice], outputs)
    buttons["download"].click(steps(desk.download), [choice], outputs)
    buttons["verify"].click(steps(desk.verify), [choice], outputs)
    buttons["cancel"].click(lambda name: updates(desk.cancel(_text(name))), [choice], outputs)
    buttons["remove"].click(removal, [choice, asked], [*outputs, asked])
    buttons["unload"].click(lambda: updates(desk.unload()), [], outputs)


def own_desk(host: Host) -> ModelsController:
    """Return a desk for this WebUI's models."""
    from kgen_ext.webui.session import current
    from kgen_ext.webui.settings import read_settings, webui_places

    return ModelsController(
        places=lambda: webui_places(host, read_settings(host)),
        offline=lambda: read_settings(host).offline,
        unload=lambda: current().unload(),
        tasks=shared_tasks(),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
