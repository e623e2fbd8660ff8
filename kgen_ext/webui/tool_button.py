"""The button in the tool row under the prompt that expands the prompt in its box.

    [↙️] [🗑️] [📋] [✍️]      the host's own, then ours, in both tabs

The row belongs to the host and is built before the accordion or after it, as the user has ordered the page: the button
is connected when both are there. `javascript/kgen_tools.js` reads and fills the box, and shows how far it is. A second
click, while it works, cancels.
"""
from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kgen_ext.webui.controls import CONTROLS

if TYPE_CHECKING:
    from kgen_ext.webui.ui import Tab

SIGN = "✍️"
TOOLTIP = "Expand the prompt here, in its box. Can be undone; a second click cancels."
# The last of the host's buttons that every tab has; ours comes after it.
_NEIGHBOUR = "style_apply"


@dataclass(slots=True)
class ToolButton:
    """A tab's button, as far as it is built: the component, and what connects it to the controls."""

    component: Any = None
    connect: Callable[[Any], None] | None = None

    def show(self, component: Any) -> None:
        """Take the component, and connect it if the controls are there."""
        self.component = component
        self._connect()

    def _connect(self) -> None:
        if self.component is not None and self.connect is not None:
            self.connect(self.component)

    def build(self, tab: Tab) -> None:
        """Build what is hidden in the accordion; connect the button, now or as soon as it is there."""
        gr = tab.gr
        page, result = gr.Textbox(value="", visible=False), gr.Textbox(value="", visible=False)
        tab.keep_unsaved(page, result)
        controls = [tab.controls[control.field] for control in CONTROLS]

        def connect(component: Any) -> None:
            click = component.click
            # The page's script sends the state of the page in the place of the first input.
            click(fn=_runner(tab), _js=tab.script("expand", "kgenTools"), inputs=[page, *controls], outputs=[result],
                  show_progress="hidden", **_overlapping(click)).then(
                      fn=None, _js=tab.script("show", "kgenTools"), inputs=[result], outputs=[])  # fmt: skip

        self.connect = connect
        self._connect()


def place(script: Any, is_img2img: bool) -> None:
    """Have the host add a tab's button to its tool row, if it can; call it before the page is built."""
    on_after_component = getattr(script, "on_after_component", None)
    if on_after_component is None or getattr(script, "tool_button", None) is not None:
        return
    script.tool_button = ToolButton()
    name = "img2img" if is_img2img else "txt2img"

    def add(_: Any) -> None:
        import gradio

        from kgen_ext.webui.host import current_host
        from kgen_ext.webui.ui import Tab

        script.tool_button.show(Tab(gradio, current_host(), name, {}, {}).tool("expand", SIGN, TOOLTIP))

    on_after_component(add, elem_id=f"{name}_{_NEIGHBOUR}")


def _overlapping(click: Callable[..., Any]) -> dict[str, Any]:
    """Return the arguments that let a second click through while the first works, and several pages work at once.

    gradio 3 has no limits and no such arguments.
    """
    known = inspect.signature(click).parameters
    wanted = {"concurrency_limit": None, "trigger_mode": "multiple"}
    return {name: value for name, value in wanted.items() if name in known}


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
