"""The preview panel: its buttons, the cards, and the error of the last image.

    versions   [Preview] [Again] [Cancel]   cards   error of the last image

“Cancel” is there while a preview runs, “Again” after it. The prompt box belongs to the host; `javascript/kgen.js` reads
and fills it.
"""
from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kgen_ext.webui.controls import CONTROLS
from kgen_ext.webui.preview_html import MAX_VERSIONS

if TYPE_CHECKING:
    from kgen_ext.webui.ui import Tab

_TOOLTIPS = {
    "versions": f"Number of versions to preview, 1 to {MAX_VERSIONS}.",
    "preview": "Expand the prompt and show the result here, without generating an image.",
    "again": "Expand the prompt again with a new seed.",
    "cancel": "Stop expanding. Finished tags and sentences are kept.",
}


@dataclass(frozen=True, slots=True)
class PreviewButtons:
    """The number of versions and the buttons."""

    versions: Any
    preview: Any
    again: Any
    cancel: Any


def build_buttons(tab: Tab) -> PreviewButtons:
    """Build the number of versions and the buttons inside an open row."""
    gr = tab.gr
    with gr.Row(elem_classes=["kgen-preview"]):
        versions = gr.Number(value=1, minimum=1, maximum=MAX_VERSIONS, precision=0, label="Versions",
                             elem_id=tab.id("versions"), elem_classes=["kgen-number"])  # fmt: skip
        preview = gr.Button("Preview", variant="primary", elem_id=tab.id("preview"))
        again = gr.Button("Again", visible=False, elem_id=tab.id("again"))
        cancel = gr.Button("Cancel", visible=False, elem_id=tab.id("cancel"))
    buttons = PreviewButtons(versions, preview, again, cancel)
    for name, tooltip in _TOOLTIPS.items():
        getattr(buttons, name).webui_tooltip = tooltip
        tab.keep_unsaved(getattr(buttons, name))
    return buttons


def build(tab: Tab, buttons: PreviewButtons) -> Callable[[], None]:
    """Build the cards; call the returned function when all controls of the tab exist, to connect the buttons."""
    gr = tab.gr
    cards = gr.HTML("", elem_id=tab.id("panel"))
    report = gr.HTML("", elem_id=tab.id("report"))  # filled by the page's script
    page = gr.Textbox(value="", visible=False)  # the page's script sends the state of the page in its place
    tab.keep_unsaved(cards, report, page)

    def connect() -> None:
        script = tab.script("page")
        controls = [tab.controls[control.field] for control in CONTROLS]
        for button, new_seed in ((buttons.preview, False), (buttons.again, True)):
            button.click(fn=_runner(tab, again=new_seed), _js=script, inputs=[page, buttons.versions, *controls],
                         outputs=[cards, buttons.again, buttons.cancel], show_progress="hidden",
                         **unlimited(button.click))  # fmt: skip
        buttons.cancel.click(fn=cancel_preview, _js=script, inputs=[page], outputs=[], queue=False,
                             show_progress="hidden")  # fmt: skip

    return connect


def unlimited(click: Callable[..., Any]) -> dict[str, Any]:
    """Return the argument that lets several pages preview at once; gradio 3 has no limit and no such argument."""
    return {"concurrency_limit": None} if "concurrency_limit" in inspect.signature(click).parameters else {}


def _runner(tab: Tab, *, again: bool) -> Callable[..., Iterator[Any]]:
    update = tab.gr.update

    def run(page: str, versions: Any, *arguments: Any) -> Iterator[Any]:
        # Imported at the first preview, not while the page is built.
        from kgen_ext.webui.preview import run_preview, shared_previews
        from kgen_ext.webui.session import current
        from kgen_ext.webui.token_counter import token_counter

        html: str | None = None
        for html in run_preview(page, versions, arguments, again=again, host=tab.host, session=current(),
                                previews=shared_previews(), counter=token_counter(tab.host)):  # fmt: skip
            if html is None:
                yield [update(), update(), update()]  # the buttons are a later preview's
            else:
                yield [update(value=html), update(visible=False), update(visible=True)]
        if html is not None:
            yield [update(), update(visible=True), update(visible=False)]

    return run


def cancel_preview(page: str) -> None:
    """Cancel what the page of this state is running."""
    from kgen_ext.webui.preview import shared_previews

    shared_previews().cancel(str(json.loads(page or "{}").get("id", "")))
