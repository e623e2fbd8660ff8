"""The button in the tool row under the prompt that expands the prompt in its box.

    [↙️] [🗑️] [📋] [✍️]      the host's own, then ours, in both tabs; [⏹️] in its place while it works

The row belongs to the host and is built before the accordion or after it, as the user has ordered the page: the button
is connected when both are there. `javascript/kgen_tools.js` reads and fills the box, and shows the one that applies.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kgen_ext.webui.controls import CONTROLS

if TYPE_CHECKING:
    from kgen_ext.webui.ui import Tab

# The end of the element id, the sign, the tooltip, the class that shows and hides it.
EXPAND = ("expand", "✍️", "Expand the prompt in its box. It can be undone.", "kgen-start")
STOP = ("expand_stop", "⏹️", "Cancel the expansion of the prompt.", "kgen-stop")
# The last of the host's buttons that every tab has; ours comes after it.
_NEIGHBOUR = "style_apply"


@dataclass(slots=True)
class ToolRow:
    """A tab's buttons, as far as they are built: the components, and what connects them to the controls."""

    buttons: tuple[Any, Any] | None = None
    connect: Callable[[Any, Any], None] | None = None

    def add(self, tab: Tab) -> None:
        """Add the buttons where the page is being built, and connect them if the controls are there."""
        expand, stop = (tab.tool(name, sign, tooltip, style) for name, sign, tooltip, style in (EXPAND, STOP))
        self.buttons = expand, stop
        self._connect()

    def _connect(self) -> None:
        if self.buttons is not None and self.connect is not None:
            self.connect(*self.buttons)

    def build(self, tab: Tab) -> None:
        """Build what is hidden in the accordion; connect the buttons, now or as soon as they are there."""
        from kgen_ext.webui.preview_panel import cancel_preview, unlimited

        gr = tab.gr
        # The page's script sends the state of the page in the place of the first.
        page, result = gr.Textbox(value="", visible=False), gr.Textbox(value="", visible=False)
        tab.keep_unsaved(page, result)
        controls = [tab.controls[control.field] for control in CONTROLS]

        def connect(expand: Any, stop: Any) -> None:
            run, show = tab.script("expand", "kgenTools"), tab.script("show", "kgenTools")
            expand.click(fn=_runner(tab), _js=run, inputs=[page, *controls], outputs=[result], show_progress="hidden",
                         **unlimited(expand.click)).then(fn=None, _js=show, inputs=[result], outputs=[])  # fmt: skip
            stop.click(fn=cancel_preview, _js=tab.script("stop", "kgenTools"), inputs=[page], outputs=[], queue=False,
                       show_progress="hidden")  # fmt: skip

        self.connect = connect
        self._connect()


def place(script: Any, is_img2img: bool) -> None:
    """Have the host add a tab's buttons to its tool row, if it can; call it before the page is built."""
    on_after_component = getattr(script, "on_after_component", None)
    if on_after_component is None or getattr(script, "tool_row", None) is not None:
        return
    script.tool_row = ToolRow()
    name = "img2img" if is_img2img else "txt2img"

    def add(_: Any) -> None:
        import gradio

        from kgen_ext.webui.host import current_host
        from kgen_ext.webui.ui import Tab

        script.tool_row.add(Tab(gradio, current_host(), name, {}, {}))

    on_after_component(add, elem_id=f"{name}_{_NEIGHBOUR}")


def _runner(tab: Tab) -> Callable[..., Iterator[Any]]:
    def run(page: str, *arguments: Any) -> Iterator[Any]:
        # Imported at the first click, not while the page is built.
        from kgen_ext.webui.in_place import expand_in_place
        from kgen_ext.webui.preview import shared_previews
        from kgen_ext.webui.session import current

        told = expand_in_place(page, arguments, host=tab.host, session=current(), previews=shared_previews())
        for text in told:
            yield tab.gr.update() if text is None else tab.gr.update(value=text)

    return run
