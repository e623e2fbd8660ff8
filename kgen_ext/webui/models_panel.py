"""The models panel: a row for each model, its files and details, and buttons that download, verify and remove them.

    rows     files     details     [Download] [Cancel] [Verify] [Remove] [Unload] [Refresh]     status

`ui` builds it inside a folded accordion; `javascript/kgen.js` presses Refresh when that is opened, and nothing on disk
is read before. The offer of a download is elsewhere on the page, under the preview: its buttons press hidden ones here.
Nothing here is an argument of the script or saved in ui-config.json.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from kgen_ext.models.tasks import BackgroundTasks
from kgen_ext.once import once
from kgen_ext.webui.controls import DEFAULT
from kgen_ext.webui.messages import ui_message
from kgen_ext.webui.models_controller import ModelsController, PanelUpdate
from kgen_ext.webui.models_html import message_html
from kgen_ext.webui.models_offer import ModelOffers, offer_html, press_html
from kgen_ext.webui.settings import STARTER, read_settings, webui_locations

if TYPE_CHECKING:
    from kgen_ext.webui.host import Host
    from kgen_ext.webui.ui import Tab

BUTTONS = ("download", "cancel", "verify", "remove", "unload", "refresh")
HIDDEN = ("ask", "get", "dismiss")  # pressed by the page's script
_TOOLTIPS = {
    "cancel": "Stop. What has been downloaded is kept, and the next download goes on from there.",
    "verify": "Compare the file with its checksum.",
    "remove": "Delete the file, after a second click.",
    "unload": "Free the memory of the loaded models.",
    "refresh": "Look for models again.",
}


class OfferParts(NamedTuple):
    """Components of the offer: its line, and the button that stops its download."""

    line: Any
    cancel: Any


def build_offer(tab: Tab) -> OfferParts:
    """Build the place of the offer; it is empty until the page's script asks for it after an expansion."""
    line = tab.gr.HTML("", elem_id=tab.id("offer"), elem_classes=["kgen-offer-place"])
    # Not in the line: that is replaced several times a second, and a click needs its button to stay. The page's script
    # presses the panel's own Cancel.
    cancel = tab.gr.Button("Cancel the download", size="sm", visible=False, elem_id=tab.id("offer_cancel"))
    tab.keep_unsaved(line, cancel)
    return OfferParts(line, cancel)


def build(
    tab: Tab, offer: OfferParts, *, controller: ModelsController | None = None, offers: ModelOffers | None = None
) -> None:
    """Build the panel inside the open accordion of a tab; without a controller, for this WebUI's models.

    offer: what `build_offer` returned.
    """
    gr = tab.gr
    controller = controller or webui_controller(tab.host)
    offers = offers or webui_offers(tab.host)
    models = gr.Radio(choices=[], label="Models", show_label=False, elem_id=tab.id("models_name"),
                      elem_classes=["kgen-models"])  # fmt: skip
    file = gr.Radio(choices=[], label="File", visible=False, elem_id=tab.id("models_file"))
    facts = gr.HTML("", elem_id=tab.id("models_facts"))
    with gr.Row(elem_classes=["kgen-row", "kgen-buttons"]):
        buttons = {
            name: gr.Button(name.capitalize(), size="sm", visible=name in ("unload", "refresh"),
                            variant="primary" if name == "download" else "secondary", elem_id=tab.id(f"models_{name}"))
            for name in BUTTONS
        }  # fmt: skip
        hidden = {name: tab.pressed_by_script(f"models_{name}") for name in HIDDEN}
    status = gr.HTML("", elem_id=tab.id("models_status"))
    pending, wanted = gr.State(""), gr.Textbox(value="", visible=False)
    tab.keep_unsaved(models, file, facts, status, wanted, *buttons.values())
    for name, tooltip in _TOOLTIPS.items():
        buttons[name].webui_tooltip = tooltip
    shown = [buttons[name] for name in ("download", "cancel", "verify", "remove")]
    outputs = [status, models, file, facts, *shown, tab.controls["model"], *offer]

    def changes(update: PanelUpdate, *, use: str = "", line: str | None = None) -> list[Any]:
        if line is None and update.changed and update.installed:
            line = ""  # what was offered is here
        shown = gr.update() if line is None else gr.update(value=line)
        stop = gr.update(visible=update.running and line is not None)
        return [gr.update(value=update.status), *_content(gr, update), _model_list(tab, update, use), shown, stop]

    def stream(action: Callable[[str], Iterator[PanelUpdate]]) -> Callable[[Any], Iterator[list[Any]]]:
        def run(name: Any) -> Iterator[list[Any]]:
            for update in action(_text(name)):
                yield changes(update)

        return run

    def show(model: Any, chosen: Any) -> list[Any]:
        name = _text(chosen) if _text(chosen).partition(":")[0] == _text(model) else _text(model)
        return changes(controller.show(name))

    def remove(name: Any, before: Any) -> list[Any]:
        update, after = controller.remove(_text(name), _text(before))
        return [*changes(update), after]

    def ask(model: Any) -> Any:
        found = offers.find(_wanted(tab.host, model))
        return gr.update(value=offer_html(found) if found else "")

    def dismiss() -> Any:
        try:
            offers.dismiss()
        except OSError as error:
            tab.host.log.warning("the offer comes again after a restart of the page: %s", error)
        return gr.update(value="")

    def get(name: Any, model: Any) -> Iterator[list[Any]]:
        instead = _wanted(tab.host, model) == STARTER  # else the list has the model's name already
        for update in controller.download(_text(name)):
            line = update.status
            if update.installed:
                line = message_html(f"{update.installed} is installed{', and chosen as the model' * instead}.")
            elif not update.running:
                line += press_html("Try again", "models_get", _text(name))
            use = update.installed if instead else ""
            yield changes(update, use=use, line=f'<div class="kgen-offer">{line}</div>')

    quiet = {"show_progress": "hidden"}
    buttons["refresh"].click(show, [models, file], outputs, **quiet)
    models.input(show, [models, file], outputs, **quiet)
    file.input(lambda name: changes(controller.show(_text(name))), [file], outputs, **quiet)
    buttons["download"].click(stream(controller.download), [file], outputs, **quiet)
    buttons["verify"].click(stream(controller.verify), [file], outputs, **quiet)
    buttons["cancel"].click(lambda: gr.update(value=controller.cancel().status), [], [status], **quiet)
    buttons["remove"].click(remove, [file, pending], [*outputs, pending], **quiet)
    buttons["unload"].click(lambda: changes(controller.unload()), [], outputs, **quiet)
    hidden["ask"].click(ask, [tab.controls["model"]], [offer.line], **quiet)
    hidden["dismiss"].click(dismiss, [], [offer.line], **quiet)
    hidden["get"].click(get, [wanted, tab.controls["model"]], outputs, _js=tab.script("wantedModel"), **quiet)


def _content(gr: Any, update: PanelUpdate) -> list[Any]:
    """Return the updates of rows, files, details, and of the buttons Download, Cancel, Verify and Remove."""
    view, running = update.view, update.running
    if view is None:
        return [*[gr.update()] * 3, *(gr.update(visible=False) if running else gr.update(),
                gr.update(visible=running), gr.update(), gr.update())]  # fmt: skip
    return [
        gr.update(choices=list(view.models), value=view.model),
        gr.update(choices=list(view.files), value=view.file, visible=len(view.files) > 1),
        gr.update(value=view.facts),
        gr.update(value=view.download or "Download", visible=bool(view.download) and not running),
        gr.update(visible=running),
        gr.update(visible=view.verify),
        gr.update(visible=view.remove),
    ]


def _model_list(tab: Tab, update: PanelUpdate, use: str) -> Any:
    """Return the update of the page's list of models, which offers what is installed. use: the name to choose."""
    from kgen_ext.webui.ui import live_choices

    if not update.changed:
        return tab.gr.update()
    chosen = {"value": use} if use else {}
    return tab.gr.update(choices=list(live_choices(tab.host, "model")), **chosen)


def _wanted(host: Host, model: Any) -> str:
    """Return the model that the page's list selects."""
    name = _text(model).strip()
    return read_settings(host).model if name in ("", DEFAULT) else name


@once
def shared_tasks() -> BackgroundTasks:
    """Return this process's tasks: they outlive a page and a reload of the UI, so that Cancel still finds them."""
    return BackgroundTasks(explain=ui_message)


def webui_controller(host: Host) -> ModelsController:
    """Return a controller of this WebUI's models."""
    from kgen_ext.webui.session import current

    return ModelsController(
        locations=lambda: webui_locations(host, read_settings(host)),
        offline=lambda: read_settings(host).offline,
        unload=lambda: current().unload(),
        tasks=shared_tasks(),
    )


def webui_offers(host: Host) -> ModelOffers:
    """Return the offers of this WebUI."""
    return ModelOffers(
        locations=lambda: webui_locations(host, read_settings(host)), offline=lambda: read_settings(host).offline
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
