"""The preview panel: its buttons, the cards, and the error of the last image.

    versions   [Preview] [Again] [Cancel]   cards   error of the last image

The prompt box belongs to the host; `javascript/kgen.js` reads and fills it.
"""
from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from kgen_ext.webui.controls import CONTROLS
from kgen_ext.webui.preview_html import MAX_VERSIONS

if TYPE_CHECKING:
    from kgen_ext.webui.ui import Tab

_TOOLTIPS = {
    "preview": "Expand the prompt and show the result here, without generating an image.",
    "again": "Expand the prompt again with a new seed.",
    "cancel": "Stop expanding. Finished tags and sentences are kept.",
}


def build(tab: Tab) -> Callable[[], None]:
    """Build the panel; call the returned function when all controls of the tab exist, to connect the buttons."""
    gr = tab.gr
    with gr.Row(elem_classes=["kgen-row"]):
        versions = gr.Slider(minimum=1, maximum=MAX_VERSIONS, step=1, value=1, label="Versions to preview",
                             elem_id=tab.id("versions"))  # fmt: skip
    with gr.Row(elem_classes=["kgen-row", "kgen-buttons"]):
        preview = gr.Button("Preview", variant="primary", elem_id=tab.id("preview"))
        again = gr.Button("Again, with a new seed", elem_id=tab.id("again"))
        cancel = gr.Button("Cancel", elem_id=tab.id("cancel"))
    cards = gr.HTML("", elem_id=tab.id("panel"))
    report = gr.HTML("", elem_id=tab.id("report"))  # filled by the page's script
    page = gr.Textbox(value="", visible=False)  # the page's script sends the state of the page in its place
    tab.keep_unsaved(preview, again, cancel, versions, cards, report, page)
    for button, name in ((preview, "preview"), (again, "again"), (cancel, "cancel")):
        button.webui_tooltip = _TOOLTIPS[name]

    def connect() -> None:
        script = tab.script("page")
        controls = [tab.controls[control.field] for control in CONTROLS]
        for button, new_seed in ((preview, False), (again, True)):
            button.click(fn=_runner(tab, again=new_seed), _js=script, inputs=[page, versions, *controls],
                         outputs=[cards], show_progress="hidden", **_unlimited(button.click))  # fmt: skip
        cancel.click(fn=_cancel, _js=script, inputs=[page], outputs=[], queue=False, show_progress="hidden")

    return connect


def _unlimited(click: Callable[..., Any]) -> dict[str, Any]:
    """Return the argument that lets several pages preview at once; gradio 3 has no limit and no such argument."""
    return {"concurrency_limit": None} if "concurrency_limit" in inspect.signature(click).parameters else {}


def _runner(tab: Tab, *, again: bool) -> Callable[..., Iterator[Any]]:
    def run(page: str, versions: Any, *arguments: Any) -> Iterator[Any]:
        # Imported at the first preview, not while the page is built.
        from kgen_ext.webui.preview import run_preview, shared_previews
        from kgen_ext.webui.session import current
        from kgen_ext.webui.token_counter import token_counter

        for html in run_preview(page, versions, arguments, again=again, host=tab.host, session=current(),
                                previews=shared_previews(), counter=token_counter(tab.host)):  # fmt: skip
            yield tab.gr.update() if html is None else tab.gr.update(value=html)

    return run


def _cancel(page: str) -> None:
    from kgen_ext.webui.preview import shared_previews

    shared_previews().cancel(str(json.loads(page or "{}").get("id", "")))
