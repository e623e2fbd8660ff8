"""The page: an accordion with the enable checkbox on its label, built from the table of parameters.

Works with gradio 3.41 and 4.40. A host asks for a page several times: nothing here has a side effect, loads a
library or looks into more than the names of the models on disk. Refuses to know what the controls do.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kgen_ext.once import once
from kgen_ext.webui import models_panel, preview_panel
from kgen_ext.webui.controls import BY_FIELD, CONTROLS, CUSTOM, DEFAULT, Control, ControlGroup, Widget
from kgen_ext.webui.host import Host, current_host
from kgen_ext.webui.infotext import paste_fields
from kgen_ext.webui.presets import preset_names
from kgen_ext.webui.settings import installed_models, read_settings

# Rows of the page; what is in none of them has a line to itself. A test checks that each control is built once.
_ROWS = (("model", "creativity"), ("add", "tag_length", "text_length"), ("ban", "require"), ("rules", "protect"),
         ("allow_contradictions", "known_only"), ("timing", "hires", "engine"), ("temperature", "top_k"),
         ("top_p", "min_p"))  # fmt: skip
_FOLDED = {ControlGroup.RULES: "What may be written", ControlGroup.ADVANCED: "Advanced"}
_SLIDERS = ("temperature", "top_k", "top_p", "min_p")
_LINES = {"rules": 2, "text": 2}
# Small buttons beside a control: its field, what is on the button (the host's own signs), its tooltip.
_TOOLS = {
    "refresh": ("model", "🔄", "Look for new models, presets and engines."),
    "seed_own": ("seed", "🎲️", "-1: the words follow each image’s own seed."),
    "seed_reuse": ("seed", "♻️", "Take the seed that wrote the words of the selected image."),
}


@dataclass(frozen=True, slots=True)
class Tab:
    """What the parts of one tab's page share: gradio, the host, the tab's name, and the controls by field."""

    gr: Any
    host: Host
    name: str
    controls: dict[str, Any]
    tools: dict[str, Any]

    def id(self, name: str) -> str:
        """Return an element id that no other tab has."""
        return f"kgen_{self.name}_{name}"

    def script(self, function: str) -> str:
        """Return an event's script: a function of `javascript/kgen.js`, given this tab and the event's inputs."""
        return f"(...inputs) => window.kgen ? window.kgen.{function}({self.name!r}, inputs) : inputs"

    def tool(self, name: str, sign: str, tip: str) -> Any:
        """Return a small button as the host has them beside its own controls."""
        kind = self.host.part("modules.ui_components.ToolButton") or self.gr.Button
        button = kind(value=sign, elem_id=self.id(name))
        button.webui_tooltip = tip
        button.do_not_save_to_config = True
        return button


def build(script: Any, is_img2img: bool) -> list[Any]:
    """Build the accordion of a tab and return the controls in the table's order; fills the script's paste fields.

    A script whose page stands (the hosts note its controls) is asked again by the API, twice a tab, for the defaults
    alone: it gets controls without a page around them.
    """
    import gradio

    host = current_host()
    if getattr(script, "controls", None):
        return list(_defaults())
    tab = Tab(gradio, host, "img2img" if is_img2img else "txt2img", {}, {})
    enabled = BY_FIELD["enabled"]
    accordion = host.part("modules.ui_components.InputAccordion")
    with accordion(enabled.default, label=enabled.label, elem_id=tab.id("enabled")) as tab.controls["enabled"]:
        _group(tab, ControlGroup.MAIN)
        wire_preview = preview_panel.build(tab)
        for group, title in _FOLDED.items():
            with _folded(tab, group.value, title):
                _group(tab, group)
        with _folded(tab, "models_panel", "Models"):
            models_panel.build(tab)
    _wire_tools(tab)
    wire_preview()
    _follow(tab)
    script.infotext_fields = paste_fields(tab.controls)
    script.paste_field_names = [param.key for param in CONTROLS]
    return [tab.controls[param.field] for param in CONTROLS]


@once
def _defaults() -> tuple[Any, ...]:
    """Build the controls for their values, once for all the pages of one start."""
    import gradio

    tab = Tab(gradio, current_host(), "api", {}, {})
    return tuple(_control(tab, param) for param in CONTROLS)


@contextmanager
def _folded(tab: Tab, name: str, title: str) -> Iterator[None]:
    with tab.gr.Accordion(title, open=False, elem_id=tab.id(name), elem_classes=["kgen-folded"]):
        yield


def _group(tab: Tab, group: ControlGroup) -> None:
    fields = [param.field for param in CONTROLS if param.group is group]
    while fields:
        row = next((row for row in _ROWS if fields[0] in row), (fields[0],))
        with tab.gr.Row(elem_classes=["kgen-row"]):
            for field in row:
                tab.controls[field] = _control(tab, BY_FIELD[field])
                for name, (beside, sign, tip) in _TOOLS.items():
                    if beside == field:
                        tab.tools[name] = tab.tool(name, sign, tip)
        fields = [field for field in fields if field not in row]


def _control(tab: Tab, param: Control) -> Any:
    gr = tab.gr
    common: dict[str, Any] = {"label": param.label, "info": param.info or None, "elem_id": tab.id(param.field)}
    shown = param.shown_default
    if param.widget is Widget.CHECKBOX:
        return gr.Checkbox(value=shown, **common)
    if param.widget is Widget.CHOICE:
        labels = [label for _, label in param.choices]
        return gr.Dropdown(choices=labels, value=shown, visible=param.field != "text_length", **common)
    if param.widget is Widget.CHOICES:
        return gr.CheckboxGroup(choices=[label for _, label in param.choices], value=shown, **common)
    if param.widget is Widget.LIVE:
        choices = list(_choices()[param.field])
        # A name that is not in the list, pasted from an image, must be shown and explained rather than dropped.
        return gr.Dropdown(choices=choices, value=shown, allow_custom_value=True,
                           visible=_offers(param.field, choices), **common)  # fmt: skip
    if param.widget is Widget.SLIDER:
        return gr.Slider(minimum=param.low, maximum=param.high, step=param.step, value=shown,
                         visible=param.field not in _SLIDERS, **common)  # fmt: skip
    if param.widget is Widget.NUMBER:
        return gr.Number(value=shown, precision=0, **common)
    lines = _LINES.get(param.field, 1)
    return gr.Textbox(value=shown, lines=lines, max_lines=max(6, lines), visible=param.field != "template", **common)


@once
def _choices() -> Mapping[str, tuple[str, ...]]:
    """Look once for all the pages of one start; return what each live list offers, by field."""
    return {param.field: live_choices(current_host(), param.field) for param in CONTROLS if param.widget is Widget.LIVE}


def refresh_choices() -> None:
    """Forget what was found for earlier pages; to be called before pages are built."""
    _choices.cache_clear()
    _defaults.cache_clear()


def live_choices(host: Host, field: str) -> tuple[str, ...]:
    """Return what a list that is filled while the host runs offers now."""
    if field == "model":
        return (DEFAULT, *installed_models(host))
    if field == "creativity":
        return preset_names(read_settings(host).presets)
    from kgen_ext.engines import available_engines

    return ("auto", *(name for name, usable, _ in available_engines() if usable))


def _wire_tools(tab: Tab) -> None:
    """Give the small buttons something to do."""
    gr, seed, tools = tab.gr, tab.controls["seed"], tab.tools
    tools["seed_own"].click(fn=lambda: -1, inputs=[], outputs=[seed], show_progress="hidden")
    # The page knows which image is looked at; the infotext of that image is what counts.
    tools["seed_reuse"].click(fn=None, _js=tab.script("reuseSeed"), inputs=[seed], outputs=[seed])
    live = [field for field in tab.controls if BY_FIELD[field].widget is Widget.LIVE]

    def look() -> list[Any]:
        found = {field: list(live_choices(tab.host, field)) for field in live}
        return [gr.update(choices=names, visible=_offers(field, names)) for field, names in found.items()]

    tools["refresh"].click(fn=look, inputs=[], outputs=[tab.controls[field] for field in live], show_progress="hidden")


def _offers(field: str, choices: Sequence[str]) -> bool:
    """Say whether a list leaves anything to choose: one engine besides “auto” does not."""
    return field != "engine" or len(choices) > 2


def _follow(tab: Tab) -> None:
    """Show a control only where its value counts: when another changes, and when the host fills in saved defaults."""
    add, form = BY_FIELD["add"].show, BY_FIELD["format"].show
    for field, visible in {
        "add": lambda chosen: {"tag_length": chosen != add("text"), "text_length": chosen != add("tags")},
        "creativity": lambda chosen: dict.fromkeys(_SLIDERS, (chosen or "").strip().lower() == CUSTOM),
        "format": lambda chosen: {"template": chosen == form(CUSTOM)},
    }.items():
        _follow_one(tab, field, visible)


def _follow_one(tab: Tab, field: str, visible: Callable[[Any], Mapping[str, bool]]) -> None:
    control = tab.controls[field]

    def change(chosen: Any) -> Any:
        updates = [tab.gr.update(visible=shown) for shown in visible(chosen).values()]
        return updates if len(updates) > 1 else updates[0]

    def init(saved: Any) -> None:
        for other, shown in visible(saved).items():
            tab.controls[other].visible = shown

    outputs = [tab.controls[other] for other in visible(None)]
    control.change(fn=change, inputs=[control], outputs=outputs, show_progress="hidden")
    control.init_field = init  # the hosts call it with what the user saved as this control's default
