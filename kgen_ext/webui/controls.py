"""The one table of the controls: field, widget, label, infotext key, default and bounds of each.

The page, the infotext, pasting, the API's arguments, the X/Y/Z axes and the README's table are made from it. Refuses to
know gradio, the host, and what becomes of a value.

What the controls are set to: read from the host's positional arguments or from names, written back as either.

Knows the table and the request a prompt becomes; refuses to know gradio and the host.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any

from kgen_ext.errors import BadValue
from kgen_ext.output.formats import NAMED_FORMATS

DEFAULT = "default"
CUSTOM = "custom"


class Widget(str, Enum):
    """What a control looks like; CHOICE and CHOICES hand over labels, LIVE a list filled while the host runs."""

    CHECKBOX = "checkbox"
    CHOICE = "choice"
    CHOICES = "choices"
    LIVE = "live"
    TEXT = "text"
    SLIDER = "slider"
    NUMBER = "number"


class ControlGroup(str, Enum):
    """Where a control stands: on the accordion's label, in plain sight, or in a folded part."""

    LABEL = "label"
    MAIN = "main"
    RULES = "rules"
    ADVANCED = "advanced"


@dataclass(frozen=True, slots=True)
class Control:
    """A control. `key` is its name in the infotext; `choices` are (value, label) pairs, both of which are understood.

    `low`, `high` and `step` bound a SLIDER or NUMBER; a NUMBER and a SLIDER with step 1 are whole.
    """

    field: str
    widget: Widget
    group: ControlGroup
    label: str
    key: str
    default: Any
    info: str
    choices: tuple[tuple[str, str], ...] = ()
    low: float = 0
    high: float = 0
    step: float = 1

    @property
    def shown_default(self) -> Any:
        """Return the default as the widget shows it."""
        return self.show(self.default)

    def show(self, value: Any) -> Any:
        """Return a value as the widget shows it: labels in place of the values of a closed set."""
        labels = dict(self.choices)
        if self.widget is Widget.CHOICE:
            return labels[value]
        return [labels[one] for one in value] if self.widget is Widget.CHOICES else value


_LENGTHS = (("very_short", "very short"), ("short", "short"), ("long", "long"), ("very_long", "very long"))

CONTROLS: tuple[Control, ...] = (
    Control("enabled", Widget.CHECKBOX, ControlGroup.LABEL, "Prompt expansion (KGen)", "KGen", False,
          "Expand every prompt before the image is made. Your own words are kept as they are."),
    Control("model", Widget.LIVE, ControlGroup.MAIN, "Model", "KGen model", DEFAULT,
          "Who writes. “default” is the one chosen in Settings; the starter works at once and offline."),
    Control("add", Widget.CHOICE, ControlGroup.MAIN, "What to add", "KGen add", "tags",
          "Tags suit anime models, sentences suit models that read natural language.",
          (("tags", "tags"), ("text", "sentences"), ("both", "tags and sentences"))),
    Control("tag_length", Widget.CHOICE, ControlGroup.MAIN, "Tag length", "KGen tag length", "long",
          "How many tags the prompt has in the end, yours included: up to 18, 36, 54 or 72.", _LENGTHS),
    Control("text_length", Widget.CHOICE, ControlGroup.MAIN, "Text length", "KGen text length", "short",
          "How many sentences are written: up to 2, 4, 8 or 18.", _LENGTHS),
    Control("text", Widget.TEXT, ControlGroup.MAIN, "Description (optional)", "KGen text", "",
          "Say in sentences what you want to see; it goes into the prompt and leads the tags."),
    Control("creativity", Widget.LIVE, ControlGroup.MAIN, "Creativity", "KGen creativity", DEFAULT,
          "How daring the choice of words is. “default” is what suits the model; “custom” uses the sliders below."),
    Control("seed", Widget.NUMBER, ControlGroup.MAIN, "Expansion seed", "KGen seed", -1,
          "-1: each image's own seed. A fixed seed writes the same words around every image.",
          low=-1, high=2**53),
    Control("ban", Widget.TEXT, ControlGroup.RULES, "Never write", "KGen ban", "",
          "Tags or patterns, with commas: hat, *_hair, /blue .*/, category:artist. Holds in sentences too."),
    Control("require", Widget.TEXT, ControlGroup.RULES, "Always write", "KGen require", "",
          "Tags the result must have, with commas."),
    Control("rules", Widget.TEXT, ControlGroup.RULES, "Conditional rules", "KGen rules", "",
          "One a line: if twintails ban long hair"),
    Control("protect", Widget.TEXT, ControlGroup.RULES, "Hide from the model", "KGen protect", "",
          "Trigger words and names of yours that should not influence what is written. They stay in the prompt."),
    Control("allow", Widget.CHOICES, ControlGroup.RULES, "May also add", "KGen allow", (),
          "Kinds of tag that are left alone unless you tick them.",
          (("artist", "new artists"), ("characters", "new characters"), ("copyrights", "new series"),
           ("quality", "quality tags"), ("rating", "rating"), ("meta", "meta tags"))),
    Control("allow_contradictions", Widget.CHECKBOX, ControlGroup.RULES, "Allow contradictions", "KGen contradictions",
          False, "Let a second hair colour, another number of people and the like stand."),
    Control("known_only", Widget.CHECKBOX, ControlGroup.RULES, "Only tags that exist", "KGen known tags", False,
          "Write only tags of the tag file (found in the tag autocomplete extension, or chosen in Settings)."),
    Control("format", Widget.CHOICE, ControlGroup.ADVANCED, "Format", "KGen format", "append",
          "How the result is put together. All but “Text only” keep your prompt whole.",
          (*((name, named.label) for name, named in NAMED_FORMATS.items()), (CUSTOM, "Custom template"))),
    Control("template", Widget.TEXT, ControlGroup.ADVANCED, "Template", "KGen template", "",
          "For the custom format, such as: <|quality|>, <|prompt|>, <|general|>, <|extended|>"),
    Control("timing", Widget.CHOICE, ControlGroup.ADVANCED, "When", "KGen timing", DEFAULT,
          "After wildcards and styles every image gets words of its own; before them, all share one expansion.",
          ((DEFAULT, "as in Settings"), ("after", "after wildcards and styles"), ("before", "before them, once"))),
    Control("hires", Widget.CHOICE, ControlGroup.ADVANCED, "Hires prompt", "KGen hires", "follow",
          "What becomes of the hires fix prompt; an empty one is the image's prompt.",
          (("follow", "gets the same additions"), ("separate", "is expanded by itself"), ("leave", "is left alone"))),
    Control("engine", Widget.LIVE, ControlGroup.ADVANCED, "Engine", "KGen engine", "auto",
          "What runs the model. “auto” takes the best one installed."),
    Control("temperature", Widget.SLIDER, ControlGroup.ADVANCED, "Temperature", "KGen temperature", 1.0,
          "0 always takes the likeliest word. This and the next three count when Creativity is “custom”.",
          low=0, high=2, step=0.05),
    Control("top_k", Widget.SLIDER, ControlGroup.ADVANCED, "Top-k", "KGen top-k", 0,
          "Choose among the k likeliest only; 0 is off.", low=0, high=200),
    Control("top_p", Widget.SLIDER, ControlGroup.ADVANCED, "Top-p", "KGen top-p", 1.0,
          "Choose among the likeliest that together have this share; 1 is off.", low=0, high=1, step=0.01),
    Control("min_p", Widget.SLIDER, ControlGroup.ADVANCED, "Min-p", "KGen min-p", 0.1,
          "Drop what is less likely than this share of the likeliest; 0 is off.", low=0, high=1, step=0.01),
)  # fmt: skip

BY_FIELD: Mapping[str, Control] = {param.field: param for param in CONTROLS}


def check_value(param: Control, value: Any) -> Any:
    """Return a value of this control as the code uses it; labels become values, a list a tuple, 3.0 becomes 3.

    Raises BadValue that names the label, the value and what is allowed.
    """
    if param.widget is Widget.CHECKBOX:
        if not isinstance(value, bool):
            raise BadValue(param.label, value, "true or false")
        return value
    if param.widget is Widget.CHOICE:
        return _choice(param, value)
    if param.widget is Widget.CHOICES:
        listed = value.split(",") if isinstance(value, str) else value
        if not isinstance(listed, (list, tuple)):
            raise BadValue(param.label, value, f"a list of {', '.join(one for one, _ in param.choices)}")
        return tuple(dict.fromkeys(_choice(param, one.strip() if isinstance(one, str) else one)
                                   for one in listed if one != ""))  # fmt: skip
    if param.widget in (Widget.SLIDER, Widget.NUMBER):
        return _number(param, value)
    if value is None and param.widget is Widget.TEXT:
        return ""  # what gradio hands over for a box that was never filled
    if not isinstance(value, str):
        raise BadValue(param.label, value, "a text")
    return value if param.widget is Widget.TEXT else (value.strip() or param.default)


def _choice(param: Control, value: Any) -> str:
    for known, label in param.choices:
        if isinstance(value, str) and value.strip().lower() in (known, label.lower()):
            return known
    raise BadValue(param.label, value, [label for _, label in param.choices])


def _number(param: Control, value: Any) -> float:
    allowed = f"{'a whole number' if param.step == 1 else 'a number'} from {param.low:g} to {param.high:.16g}"
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not param.low <= value <= param.high:
        raise BadValue(param.label, value, allowed)
    if param.step != 1:
        return float(value)
    if value != int(value):
        raise BadValue(param.label, value, allowed)
    return int(value)


@dataclass(frozen=True, slots=True)
class Values:
    """One checked value for each row of the table, in its order; built by `read_values` or `read_named`."""

    enabled: bool
    model: str
    add: str
    tag_length: str
    text_length: str
    text: str
    creativity: str
    seed: int
    ban: str
    require: str
    rules: str
    protect: str
    allow: tuple[str, ...]
    allow_contradictions: bool
    known_only: bool
    format: str
    template: str
    timing: str
    hires: str
    engine: str
    temperature: float
    top_k: int
    top_p: float
    min_p: float

    @property
    def format_text(self) -> str:
        """Return what `ExpandRequest.format` takes: a name or a template."""
        return self.template if self.format == CUSTOM else self.format

    def named(self) -> dict[str, Any]:
        """Return the values by field."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def read_values(arguments: Sequence[Any]) -> Values:
    """Read a script's positional arguments: in the table's order, or one mapping of names; what is missing is default.

    Raises BadValue that names the control, the value and what is allowed.
    """
    if arguments and isinstance(arguments[0], Mapping):
        return read_named(arguments[0])
    if len(arguments) > len(CONTROLS):
        raise BadValue("args", f"{len(arguments)} values", f"at most {len(CONTROLS)}, or one object of names")
    return _checked({param.field: value for param, value in zip(CONTROLS, arguments, strict=False)})


def read_named(values: Mapping[str, Any]) -> Values:
    """Read values by field; what is missing or None is default. Raises BadValue, for an unknown name too."""
    for name in values:
        if name not in BY_FIELD:
            raise BadValue("args", name, f"the names {', '.join(BY_FIELD)}")
    return _checked({name: value for name, value in values.items() if value is not None})


def _checked(given: Mapping[str, Any]) -> Values:
    return Values(**{
        param.field: check_value(param, given[param.field]) if param.field in given else param.default
        for param in CONTROLS
    })  # fmt: skip
