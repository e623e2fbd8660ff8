"""The line under the checkpoint profile: what the chosen profile does with the checkpoint of the page.

It is told when the profile is chosen, and anew when its fold is opened, as the checkpoint may be another by then.
"""
from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kgen_ext.webui.ui import Tab


def build(tab: Tab) -> None:
    """Build the line in the open fold that has the control."""
    gr, control = tab.gr, tab.controls["profile"]
    line = gr.HTML("", elem_id=tab.id("profile_line"))
    fill = tab.pressed_by_script("profile_fill")
    tab.keep_unsaved(line)

    def told(choice: Any) -> Any:
        from kgen_ext.webui.checkpoint_profile import profile_line

        text = profile_line(choice, tab.host)
        return gr.update(value=f'<div class="kgen-line">{escape(text)}</div>' if text else "")

    for event in (control.change, fill.click):
        event(fn=told, inputs=[control], outputs=[line], show_progress="hidden")
