"""The preview's buttons and panel. The prompt box is the host's; the page's script reads and fills it.

    versions   [Preview] [Again] [Cancel]   panel   what the last image said of its expansion

Refuses to know how a preview is made (`preview`), and how the prompt box is reached (`javascript/kgen.js`).
"""
from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from kgen_ext.webui.controls import CONTROLS
from kgen_ext.webui.preview import shared_previews

if TYPE_CHECKING:
    from kgen_ext.webui.ui import Tab

MOST = 8
_TIPS = {
    "preview": "Expand the prompt now and show the result here. Nothing is drawn.",
    "again": "Expand the prompt once more, with another seed.",
    "cancel": "Stop writing. What is whole by then is kept.",
}


def build(tab: Tab) -> Callable[[], None]:
    """Make the buttons and the panel; call what is returned when all controls of the tab exist."""
    gr = tab.gr
    with gr.Row(elem_classes=["kgen-row"]):
        versions = gr.Slider(minimum=1, maximum=MOST, step=1, value=1, label="Versions to preview",
                             elem_id=tab.id("versions"))  # fmt: skip
    with gr.Row(elem_classes=["kgen-row", "kgen-buttons"]):
        preview = gr.Button("Preview", variant="primary", elem_id=tab.id("preview"))
        again = gr.Button("Again, with a new seed", elem_id=tab.id("again"))
        cancel = gr.Button("Cancel", elem_id=tab.id("cancel"))
    shown = gr.HTML("", elem_id=tab.id("panel"))
    told = gr.HTML("", elem_id=tab.id("report"))  # the page's script writes here
    page = gr.Textbox(value="", visible=False)  # filled by the page's script with what is no control of ours
    for component in (preview, again, cancel, versions, shown, told, page):
        component.do_not_save_to_config = True  # the host keeps the defaults of everything else in ui-config.json
    for button, name in ((preview, "preview"), (again, "again"), (cancel, "cancel")):
        button.webui_tooltip = _TIPS[name]

    def wire() -> None:
        script = tab.script("page")
        controls = [tab.controls[param.field] for param in CONTROLS]
        for button, new_seed in ((preview, False), (again, True)):
            button.click(fn=_runner(tab, again=new_seed), _js=script, inputs=[page, versions, *controls],
                         outputs=[shown], show_progress="hidden", **_at_once(button.click))  # fmt: skip
        cancel.click(fn=_cancel, _js=script, inputs=[page], outputs=[], queue=False, show_progress="hidden")

    return wire


def _at_once(click: Callable[..., Any]) -> dict[str, Any]:
    """Return what lets several pages preview at once; gradio 3 does so unasked."""
    return {"concurrency_limit": None} if "concurrency_limit" in inspect.signature(click).parameters else {}


def _runner(tab: Tab, *, again: bool) -> Callable[..., Iterator[Any]]:
    def run(page: str, versions: Any, *arguments: Any) -> Iterator[Any]:
        from kgen_ext.webui.preview import run_preview
        from kgen_ext.webui.session import current
        from kgen_ext.webui.token_counter import counter

        for html in run_preview(page, versions, arguments, again=again, host=tab.host, session=current(),
                                previews=shared_previews(), counter=counter(tab.host)):  # fmt: skip
            yield tab.gr.update() if html is None else tab.gr.update(value=html)

    return run


def _cancel(page: str) -> None:
    name = json.loads(page or "{}").get("id", "")
    shared_previews().cancel(str(name))
