"""Controls of an expansion: the one table of labels, tooltips, infotext keys, choices and bounds, for every page.

`SHARED` holds the controls that stand for the fields of a request, by name. A front end shows those it needs in its own
order, beside its own: the WebUI's panel (`webui/controls.py`), the inputs of ComfyUI's nodes (`comfy/inputs.py`).
Bounds, choices and defaults that are those of a request come from `kgen_ext.request.FIELDS`.
"""
from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

from kgen_ext.errors import BadValue
from kgen_ext.output.formats import NAMED_FORMATS
from kgen_ext.request import FIELDS, NO_PRIOR, TagLength

DEFAULT = "default"
CUSTOM = "custom"
BY_MODEL = -1  # of a number: what the model recommends


class Widget(str, Enum):
    """The look of a control: CHOICE and CHOICES return labels, LIVE is a list filled while the host runs."""

    CHECKBOX = "checkbox"
    CHOICE = "choice"
    CHOICES = "choices"
    LIVE = "live"
    TEXT = "text"
    SLIDER = "slider"
    NUMBER = "number"


class Control(NamedTuple):
    """A row of the table.

    `key` is the control's name in the infotext, `info` its tooltip, `example` what an empty TEXT shows. `choices` are
    (value, label) pairs; both are understood. `low`, `high` and `step` bound a SLIDER or NUMBER; a step of 1 means
    whole numbers.
    """

    field: str
    widget: Widget
    label: str
    key: str
    default: Any
    info: str
    choices: tuple[tuple[str, str], ...] = ()
    low: float = 0
    high: float = 0
    step: float = 1
    example: str = ""

    @property
    def shown_default(self) -> Any:
        """Return the default as the widget shows it."""
        return self.show(self.default)

    def show(self, value: Any) -> Any:
        """Return a value as the widget shows it: labels in place of the values of a closed set."""
        labels = dict(self.choices)
        if self.widget is Widget.CHOICE:
            return labels[value]
        return [labels[choice] for choice in value] if self.widget is Widget.CHOICES else value


def sentence(help: str) -> str:
    """Return a field's help as a tooltip.

    >>> sentence("random seed; the same seed gives the same text")
    'Random seed; the same seed gives the same text.'
    """
    return f"{help[0].upper()}{help[1:]}."


def _slider(field: str, label: str, key: str, *, high: float | None = None, step: float = 1) -> Control:
    """Return the slider of a sampling option. high: where a page offers less than a request accepts."""
    row = FIELDS[field]
    return Control(field, Widget.SLIDER, label, key, row.default, sentence(row.help),
                   low=row.low, high=row.high if high is None else high, step=step)  # fmt: skip


_BY_MODEL = (DEFAULT, "recommended"), (TagLength.AUTO.value, "auto")
_LENGTHS = tuple((length.value, length.value.replace("_", " ")) for length in TagLength if length is not TagLength.AUTO)
# Of `kgen_ext.tags.groups`, which a start of the host does not import.
_GROUPS = (*((name, name) for name in ("hair", "eyes", "clothing", "background", "pose", "expression", "body")),
           ("accessory", "accessories"), ("creature", "creatures"), ("camera", "camera"))  # fmt: skip

SHARED: Mapping[str, Control] = {control.field: control for control in (
    Control("add", Widget.CHOICE, "What to add", "KGen add", DEFAULT,
            "Tags suit anime models, sentences those trained on natural language. “recommended”: what the model's "
            "author recommends.",
            ((DEFAULT, "recommended"), ("tags", "tags"), ("text", "sentences"), ("both", "both"))),
    Control("tag_length", Widget.CHOICE, "Tag length", "KGen tag length", DEFAULT,
            "People counts and general tags in each segment, yours included: up to 18, 36, 54 or 72. “auto” ends where "
            "the model would.", (*_BY_MODEL, *_LENGTHS)),
    Control("text_length", Widget.CHOICE, "Text length", "KGen text length", "short",
            "Number of sentences to write: up to 2, 4, 8 or 18.", _LENGTHS),
    Control("text", Widget.TEXT, "Description", "KGen text", FIELDS["text"].default,
            "What the image shows, in sentences. It becomes part of the prompt and guides the choice of tags.",
            example="A girl reads under an old tree."),
    Control("ban", Widget.TEXT, "Banned tags", "KGen ban", "",
            "Tags or patterns, comma-separated: hat, *_hair, /blue .*/, category:hair; or a negative prompt. "
            "Applies to sentences too.", example="hat, *_hair, /blue .*/"),
    Control("require", Widget.TEXT, "Required tags", "KGen require", "",
            "Tags that the result must contain, comma-separated; weights and networks are kept: (smile:1.2), "
            "<lora:ink:0.8>.", example="smile, <lora:ink:0.8>"),
    Control("rules", Widget.TEXT, "Conditional rules", "KGen rules", "",
            "One rule per line: if twintails ban long hair", example="if twintails ban long hair"),
    Control("protect", Widget.TEXT, "Hide from the model", "KGen protect", "",
            "Trigger words and names that should not influence the expansion. They stay in the prompt.",
            example="my_trigger_word"),
    Control("allow", Widget.CHOICES, "May also add", "KGen allow", FIELDS["allow"].default,
            "Categories of tags that are added only if ticked.",
            (("artist", "new artists"), ("characters", "new characters"), ("copyrights", "new series"),
             ("quality", "quality tags"), ("rating", "rating"), ("meta", "meta tags"))),
    Control("allow_contradictions", Widget.CHECKBOX, "Allow contradictions", "KGen contradictions",
            FIELDS["allow_contradictions"].default,
            "Allow conflicting tags, such as a second hair colour or another number of people."),
    Control("format", Widget.CHOICE, "Format", "KGen format", FIELDS["format"].default,
            "Layout of the result. Every format but “Text only” keeps your whole prompt.",
            (*((name, named.label) for name, named in NAMED_FORMATS.items()), (CUSTOM, "Custom template"))),
    Control("template", Widget.TEXT, "Template", "KGen template", "",
            "For the custom format, such as: <|quality|>, <|prompt|>, <|general|>, <|extended|>",
            example="<|quality|>, <|prompt|>, <|general|>, <|extended|>"),
    Control("engine", Widget.LIVE, "Engine", "KGen engine", "auto",
            "Library that runs the model. “auto” chooses the best one installed."),
    _slider("temperature", "Temperature", "KGen temperature", high=2, step=0.05),
    _slider("top_k", "Top-k", "KGen top-k", high=200),
    _slider("top_p", "Top-p", "KGen top-p", step=0.01),
    _slider("min_p", "Min-p", "KGen min-p", step=0.01),
    Control("lock", Widget.CHOICES, "Locked", "KGen locks", (),
            "Nothing is added to what you tick, in tags or in sentences: it stays as you wrote it.", _GROUPS),
    Control("any_tag", Widget.CHECKBOX, "Any tag, known or not", "KGen any tag", False,
            "Add tags that are in no list, too. Without it, a model trained on Danbooru's tags adds no others."),
    Control("yours", Widget.LIVE, "Your tags", "KGen yours", NO_PRIOR,
            "Tags of your own images come more often: choose a table that “kgen prior build FOLDER” counted."),
    Control("prior", Widget.SLIDER, "Prior", "KGen prior", BY_MODEL,
            "Weight of what is known of which tags go together, beside the model. 0: the model alone; -1: what the "
            "model recommends.", low=BY_MODEL, high=FIELDS["prior"].high, step=0.1),
)}  # fmt: skip


def check_value(control: Control, value: Any) -> Any:
    """Return a control's value as the code uses it: labels become values, a list a tuple, and 3.0 a 3.

    Raises BadValue that names the label, the value and what is allowed.
    """
    if control.widget is Widget.CHECKBOX:
        if not isinstance(value, bool):
            raise BadValue(control.label, value, "true or false")
        return value
    if control.widget is Widget.CHOICE:
        return _choice(control, value)
    if control.widget is Widget.CHOICES:
        listed = value.split(",") if isinstance(value, str) else value
        if not isinstance(listed, (list, tuple)):
            raise BadValue(control.label, value, f"a list of {', '.join(choice for choice, _ in control.choices)}")
        return tuple(dict.fromkeys(_choice(control, item) for item in listed if item != ""))
    if control.widget in (Widget.SLIDER, Widget.NUMBER):
        return _number(control, value)
    if value is None and control.widget is Widget.TEXT:
        return ""  # gradio's value of a box that was never filled
    if not isinstance(value, str):
        raise BadValue(control.label, value, "a text")
    return value if control.widget is Widget.TEXT else (value.strip() or control.default)


def _choice(control: Control, value: Any) -> str:
    for known, label in control.choices:
        if isinstance(value, str) and value.strip().lower() in (known, label.lower()):
            return known
    raise BadValue(control.label, value, [label for _, label in control.choices])


def _number(control: Control, value: Any) -> float:
    allowed = f"{'a whole number' if control.step == 1 else 'a number'} from {control.low:g} to {control.high:.16g}"
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not control.low <= value <= control.high:
        raise BadValue(control.label, value, allowed)
    if control.step != 1:
        return float(value)
    if value != int(value):
        raise BadValue(control.label, value, allowed)
    return int(value)
