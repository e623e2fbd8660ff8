"""The extension's part of a tab: an accordion whose label is the enable checkbox, built from the table of controls.

Works with gradio 3.41 and 4.40. Hosts build a page several times per start, so building has no side effect, loads no
ML library and reads no more of the disk than the names of the models.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

from kgen_ext.errors import KGenError
from kgen_ext.once import once
from kgen_ext.request import NO_PRIOR
from kgen_ext.sampling import SAMPLING_NAMES, Sampling
from kgen_ext.webui import history_panel, models_panel, preview_panel, profile_panel
from kgen_ext.webui.controls import BY_FIELD, CONTROLS, CUSTOM, DEFAULT, Control, Widget
from kgen_ext.webui.host import Host, current_host
from kgen_ext.webui.infotext import paste_fields
from kgen_ext.webui.presets import preset_names, resolve_sampling
from kgen_ext.webui.settings import installed_models, own_priors, read_settings, webui_locations


class Fold(NamedTuple):
    """A folded part of the accordion: the end of its element id, its title, and the fields of each row."""

    name: str
    title: str
    rows: tuple[tuple[str, ...], ...]


# The fields of the first row, those before the preview's buttons in the second, and the folds under the preview.
FIRST = ("model", "tag_length", "temperature")
SECOND = ("add", "text_length", "yours")
FOLDS = (
    Fold("fold_description", "Description and seed", (("text",), ("seed",))),
    Fold("fold_rules", "Banned, required, rules, locks",
         (("ban", "require"), ("rules", "protect"), ("lock",), ("allow",),
          ("allow_contradictions", "known_only", "any_tag"))),
    Fold("fold_sampling", "Sampling", (("creativity", "engine"), ("top_k", "top_p", "min_p", "prior"))),
    Fold("fold_format", "Profile, format and timing",
         (("format",), ("template",), ("timing", "hires"), ("profile",))),
)  # fmt: skip
_BOXES = (Widget.TEXT, Widget.CHOICE, Widget.LIVE)
_LINES = {"rules": 2, "protect": 2, "text": 2}
# Not shown at first: their effect depends on the value of another control.
_HIDDEN = frozenset(("text_length", "template"))
# Small buttons beside a control: its field, the sign on the button (as the host uses it), the tooltip.
_TOOLS = {
    "refresh": ("model", "🔄", "Refresh the lists of models, your tags, presets and engines."),
    "reset": ("temperature", "↺", "Set the four sliders back to what the model recommends."),
    "seed_own": ("seed", "🎲️", "Set to -1, which uses each image's own seed."),
    "seed_reuse": ("seed", "♻️", "Reuse the expansion seed of the selected image."),
}


@dataclass(frozen=True, slots=True)
class Tab:
    """What the parts of a tab share: gradio, the host, the tab's name, the controls by field, the small buttons."""

    gr: Any
    host: Host
    name: str
    controls: dict[str, Any]
    tools: dict[str, Any]

    def id(self, name: str) -> str:
        """Return an element id that no other tab has."""
        return f"kgen_{self.name}_{name}"

    def script(self, function: str, of: str = "kgen") -> str:
        """Return an event's JavaScript: calls a function of ours with this tab and the inputs.

        of: the object that has it, `kgen` of `javascript/kgen.js` or `kgenTools` of `javascript/kgen_tools.js`.
        """
        return f"(...inputs) => window.{of} ? window.{of}.{function}({self.name!r}, inputs) : inputs"

    def tool(self, name: str, sign: str, tooltip: str, *classes: str) -> Any:
        """Return a small button in the style of the host's own."""
        button_class = self.host.part("modules.ui_components.ToolButton") or self.gr.Button
        button = button_class(value=sign, elem_id=self.id(name), elem_classes=list(classes))
        button.webui_tooltip = tooltip
        self.keep_unsaved(button)
        return button

    def pressed_by_script(self, name: str) -> Any:
        """Return a button that nobody sees and the page's script presses; an invisible one would not be on the page."""
        button = self.gr.Button("", elem_id=self.id(name), elem_classes=["kgen-pressed-by-script"])
        self.keep_unsaved(button)
        return button

    def keep_unsaved(self, *components: Any) -> None:
        """Keep components out of ui-config.json, where the host saves the defaults of all others."""
        for component in components:
            component.do_not_save_to_config = True


def build(script: Any, is_img2img: bool) -> list[Any]:
    """Build the accordion of a tab and return the controls in the table's order; set the script's paste fields.

    For its API the host asks a script that has its page already for the controls again, twice per tab, and only reads
    their defaults: then they come without a page around them.
    """
    import gradio

    host = current_host()
    if getattr(script, "controls", None):
        return list(_defaults())
    tab = Tab(gradio, host, "img2img" if is_img2img else "txt2img", {}, {})
    enabled = BY_FIELD["enabled"]
    accordion, label = host.part("modules.ui_components.InputAccordion"), host.switch_label(enabled.label)
    with accordion(enabled.default, label=label, elem_id=tab.id("enabled")) as tab.controls["enabled"]:
        _build_row(tab, FIRST)
        with gradio.Row(elem_classes=["kgen-row", "kgen-second"]):
            _build_fields(tab, SECOND)
            buttons = preview_panel.build_buttons(tab)
        connect_preview = preview_panel.build(tab, buttons)
        offer = models_panel.build_offer(tab)
        for fold in FOLDS:
            with folded(tab, fold.name, fold.title):
                for row in fold.rows:
                    _build_row(tab, row)
                if fold.name == "fold_format":
                    profile_panel.build(tab)
        with folded(tab, "fold_history", "History"):
            connect_history = history_panel.build(tab)
        with folded(tab, "fold_models", "Models"):
            models_panel.build(tab, offer)
        if (tool_row := getattr(script, "tool_row", None)) is not None:
            tool_row.build(tab)
    _connect_tools(tab)
    connect_preview()
    connect_history()
    _connect_visibility(tab)
    _connect_sampling(tab)
    script.infotext_fields = paste_fields(tab.controls)
    # “Send to img2img” copies these between the tabs; the seed is the sent image's, see `javascript/kgen_tools.js`.
    script.paste_field_names = [control.key for control in CONTROLS if control.field != "seed"]
    return [tab.controls[control.field] for control in CONTROLS]


@once
def _defaults() -> tuple[Any, ...]:
    """Build the controls for their defaults, once per start."""
    import gradio

    tab = Tab(gradio, current_host(), "api", {}, {})
    return tuple(_component(tab, control) for control in CONTROLS)


@contextmanager
def folded(tab: Tab, name: str, title: str) -> Iterator[None]:
    """Open a folded part of the accordion, to build its content in."""
    with tab.gr.Accordion(title, open=False, elem_id=tab.id(name), elem_classes=["kgen-folded"]):
        yield


def _build_row(tab: Tab, fields: Sequence[str]) -> None:
    # Boxes are wide enough for what is written in them, which takes a line each on a phone.
    wide = fields != FIRST and any(BY_FIELD[field].widget in _BOXES for field in fields)
    with tab.gr.Row(elem_classes=["kgen-row", "kgen-wide"] if wide else ["kgen-row"]):
        _build_fields(tab, fields)


def _build_fields(tab: Tab, fields: Sequence[str]) -> None:
    """Build controls, each with its small buttons, which stay on its line."""
    for field in fields:
        tools = [(name, sign, tooltip) for name, (beside, sign, tooltip) in _TOOLS.items() if beside == field]
        with tab.gr.Row(elem_classes=["kgen-tooled", f"kgen-tooled-{field}"]) if tools else nullcontext():
            tab.controls[field] = _component(tab, BY_FIELD[field])
            for name, sign, tooltip in tools:
                tab.tools[name] = tab.tool(name, sign, tooltip)


def _component(tab: Tab, control: Control) -> Any:
    gr, value = tab.gr, control.shown_default
    common: dict[str, Any] = {"label": control.label, "elem_id": tab.id(control.field),
                              "visible": control.field not in _HIDDEN}  # fmt: skip
    component = _make(gr, control, value, common)
    component.webui_tooltip = control.info
    return component


def _make(gr: Any, control: Control, value: Any, common: Mapping[str, Any]) -> Any:
    labels = [label for _, label in control.choices]
    if control.widget is Widget.CHECKBOX:
        return gr.Checkbox(value=value, **common)
    if control.widget is Widget.CHOICE:
        return gr.Dropdown(choices=labels, value=value, **common)
    if control.widget is Widget.CHOICES:
        return gr.CheckboxGroup(choices=labels, value=value, **common)
    if control.widget is Widget.LIVE:
        choices = list(_choices()[control.field])
        # Custom values, so that an unknown name pasted from an image is shown and explained rather than dropped.
        return gr.Dropdown(choices=choices, value=value, allow_custom_value=True,
                           **{**common, "visible": _has_choice(control.field, choices)})  # fmt: skip
    if control.widget is Widget.SLIDER:
        return gr.Slider(minimum=control.low, maximum=control.high, step=control.step, value=value, **common)
    if control.widget is Widget.NUMBER:
        return gr.Number(value=value, precision=0, **common)
    lines = _LINES.get(control.field, 1)
    return gr.Textbox(value=value, lines=lines, max_lines=max(6, lines), placeholder=control.example, **common)


@once
def _choices() -> Mapping[str, tuple[str, ...]]:
    """Return the choices of each live list by field, looked up once for all pages of a start."""
    live = [control.field for control in CONTROLS if control.widget is Widget.LIVE]
    return {field: live_choices(current_host(), field) for field in live}


def refresh_choices() -> None:
    """Forget the choices found for earlier pages; call it before the pages of a start are built."""
    _choices.cache_clear()
    _defaults.cache_clear()


def live_choices(host: Host, field: str) -> tuple[str, ...]:
    """Return what a live list offers now: installed models, sampling presets or usable engines."""
    if field == "model":
        return (DEFAULT, *installed_models(host))
    if field == "yours":
        return (NO_PRIOR, *own_priors())
    if field == "creativity":
        return preset_names(read_settings(host).presets)
    from kgen_ext.engines import available_engines

    return ("auto", *(name for name, usable, _ in available_engines() if usable))


def _has_choice(field: str, choices: Sequence[str]) -> bool:
    """Return whether a list is worth showing: one engine besides “auto” leaves nothing to choose."""
    return len(choices) > {"engine": 2, "yours": 1}.get(field, 0)


def _is_named(yours: Any) -> bool:
    """Return whether a table is chosen, there or not."""
    return _name(yours) not in ("", NO_PRIOR)


def _connect_tools(tab: Tab) -> None:
    """Connect the small buttons."""
    gr, seed, tools = tab.gr, tab.controls["seed"], tab.tools
    tools["seed_own"].click(fn=lambda: -1, inputs=[], outputs=[seed], show_progress="hidden")
    # The browser knows which image is selected and has its infotext.
    tools["seed_reuse"].click(fn=None, _js=tab.script("reuseSeed"), inputs=[seed], outputs=[seed])
    live = [field for field in tab.controls if BY_FIELD[field].widget is Widget.LIVE]

    def refresh(yours: Any) -> list[Any]:
        choices = {field: list(live_choices(tab.host, field)) for field in live}
        shown = {field: _has_choice(field, names) for field, names in choices.items()}
        shown["yours"] = shown["yours"] or _is_named(yours)
        return [gr.update(choices=names, visible=shown[field]) for field, names in choices.items()]

    tools["refresh"].click(
        fn=refresh, inputs=[tab.controls["yours"]], outputs=[tab.controls[field] for field in live],
        show_progress="hidden",
    )


def _connect_visibility(tab: Tab) -> None:
    """Show each control only while it has an effect, which depends on the value of another."""
    add, form = BY_FIELD["add"].show, BY_FIELD["format"].show
    _connect_visible(tab, "add", lambda value: {
        "tag_length": value != add("text"), "text_length": value in (add("text"), add("both"))
    })  # fmt: skip
    _connect_visible(tab, "format", lambda value: {"template": value == form(CUSTOM)})
    # A name pasted from another's image is shown, so that it can be set back.
    _connect_visible(tab, "yours", lambda value: {
        "yours": _is_named(value) or _has_choice("yours", live_choices(tab.host, "yours"))
    })  # fmt: skip


def _connect_visible(tab: Tab, field: str, visible: Callable[[Any], Mapping[str, bool]]) -> None:
    """Connect a control to those it shows and hides: when it changes, and when the host loads its saved default."""
    control = tab.controls[field]

    def change(value: Any) -> Any:
        updates = [tab.gr.update(visible=shown) for shown in visible(value).values()]
        return updates if len(updates) > 1 else updates[0]

    def init(saved: Any) -> None:
        for dependent, shown in visible(saved).items():
            tab.controls[dependent].visible = shown

    outputs = [tab.controls[dependent] for dependent in visible(None)]
    control.change(fn=change, inputs=[control], outputs=outputs, show_progress="hidden")
    control.init_field = init  # hosts call it with the default that the user saved


def _connect_sampling(tab: Tab) -> None:
    """Show the numbers in force: the sliders follow the model and the preset until one of them is moved."""
    gr, reset = tab.gr, tab.tools["reset"]
    model, preset = tab.controls["model"], tab.controls["creativity"]
    sliders = [tab.controls[name] for name in SAMPLING_NAMES]

    def fill(model_name: Any, preset_name: Any) -> list[Any]:
        numbers = _numbers(tab.host, model_name, preset_name)
        updates = [gr.update() if numbers is None else gr.update(value=getattr(numbers, name))
                   for name in SAMPLING_NAMES]  # fmt: skip
        return [*updates, gr.update(visible=not _follows_model(preset_name))]

    def init(_: Any = None) -> None:
        reset.visible = not _follows_model(preset.value)
        numbers = _numbers(tab.host, model.value, preset.value)
        for name, slider in zip(SAMPLING_NAMES, sliders, strict=True):
            slider.value = slider.value if numbers is None else getattr(numbers, name)

    init()
    tab.keep_unsaved(*sliders)  # what a slider shows follows the model, and a preset of one's own keeps numbers
    for control in (model, preset):
        control.init_field = init
        control.change(fn=fill, inputs=[model, preset], outputs=[*sliders, reset], show_progress="hidden")
    for slider in sliders:
        slider.input(fn=None, _js=f"() => {CUSTOM!r}", inputs=[], outputs=[preset])
    reset.click(fn=None, _js=f"() => {DEFAULT!r}", inputs=[], outputs=[preset])


def _follows_model(preset: Any) -> bool:
    return _name(preset) in ("", DEFAULT)


def _numbers(host: Host, model: Any, preset: Any) -> Sampling | None:
    """Return the sampling options of a preset with a model; None if the sliders set them, or a name is unknown."""
    if _name(preset) == CUSTOM:
        return None
    from kgen_ext.models import find_entry, load_catalogue

    settings = read_settings(host)
    name = settings.model if _name(model) in ("", DEFAULT) else str(model)
    try:
        entry = find_entry(name.partition(":")[0], load_catalogue(webui_locations(host, settings).user_file))
        recommended = None if entry is None else entry.recommended
        return resolve_sampling(_name(preset), Sampling(), recommended, settings.presets)
    except (KGenError, OSError):
        return None  # the preview says why


def _name(value: Any) -> str:
    return value.strip().lower() if isinstance(value, str) else ""
