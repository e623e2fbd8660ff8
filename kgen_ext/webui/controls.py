"""Controls of the page: the one table of widgets, labels, infotext keys, defaults and bounds, and the values set.

The page, the infotext, pasting, the API's script arguments, the X/Y/Z axes and the README's table derive from
`CONTROLS`. `Values` holds one checked value for each control, read from the host's positional arguments or from names.
Bounds, choices and defaults that are those of a request come from `kgen_ext.request.FIELDS`.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, NamedTuple

from kgen_ext.errors import BadValue
from kgen_ext.output.formats import NAMED_FORMATS
from kgen_ext.request import FIELDS, TagLength
from kgen_ext.sampling import SAMPLING_NAMES, Sampling
from kgen_ext.webui.profiles import PROFILES

DEFAULT = "default"
CUSTOM = "custom"
AUTO, NO_PROFILE = "auto", "none"


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


def _slider(field: str, label: str, key: str, *, high: float | None = None, step: float = 1) -> Control:
    """Return the slider of a sampling option. high: where the page offers less than a request accepts."""
    row = FIELDS[field]
    info = f"{row.help[0].upper()}{row.help[1:]}."
    return Control(field, Widget.SLIDER, label, key, row.default, info,
                   low=row.low, high=row.high if high is None else high, step=step)  # fmt: skip


_BY_MODEL = (DEFAULT, "recommended"), (TagLength.AUTO.value, "auto")
_LENGTHS = tuple((length.value, length.value.replace("_", " ")) for length in TagLength if length is not TagLength.AUTO)
# Of `kgen_ext.tags.groups`, which a start of the host does not import.
_GROUPS = (*((name, name) for name in ("hair", "eyes", "clothing", "background", "pose", "expression", "body")),
           ("accessory", "accessories"), ("creature", "creatures"), ("camera", "camera"))  # fmt: skip

# The order is that of the arguments of a script: new controls come last. `ui` says where each is on the page.
CONTROLS: tuple[Control, ...] = (
    Control("enabled", Widget.CHECKBOX, "Prompt expansion (KGen)", "KGen", False,
            "Expand every prompt before its image is generated. Your own text is kept as it is."),
    Control("model", Widget.LIVE, "Model", "KGen model", DEFAULT,
            "Model that expands the prompt. “default” is the one chosen in Settings; the starter needs no download."),
    Control("add", Widget.CHOICE, "What to add", "KGen add", DEFAULT,
            "Tags suit anime models, sentences those trained on natural language. “recommended”: tags, or what the "
            "checkpoint profile says.",
            ((DEFAULT, "recommended"), ("tags", "tags"), ("text", "sentences"), ("both", "both"))),
    Control("tag_length", Widget.CHOICE, "Tag length", "KGen tag length", DEFAULT,
            "People counts and general tags in each segment, yours included: up to 18, 36, 54 or 72. “auto” ends where "
            "the model would.", (*_BY_MODEL, *_LENGTHS)),
    Control("text_length", Widget.CHOICE, "Text length", "KGen text length", "short",
            "Number of sentences to write: up to 2, 4, 8 or 18.", _LENGTHS),
    Control("text", Widget.TEXT, "Description", "KGen text", FIELDS["text"].default,
            "What the image shows, in sentences. It becomes part of the prompt and guides the choice of tags.",
            example="A girl reads under an old tree."),
    Control("creativity", Widget.LIVE, "Sampling preset", "KGen creativity", DEFAULT,
            "Sets the four sliders. “default” is what the model recommends; moving a slider makes it “custom”."),
    Control("seed", Widget.NUMBER, "Expansion seed", "KGen seed", -1,
            "-1 uses each image's own seed. A fixed seed adds the same text to every image.",
            low=-1, high=2**53),
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
    Control("known_only", Widget.CHECKBOX, "Only tags that exist", "KGen known tags", False,
            "Add only tags listed in the tag file (from the tag autocomplete extension, or chosen in Settings)."),
    Control("format", Widget.CHOICE, "Format", "KGen format", FIELDS["format"].default,
            "Layout of the result. Every format but “Text only” keeps your whole prompt.",
            (*((name, named.label) for name, named in NAMED_FORMATS.items()), (CUSTOM, "Custom template"))),
    Control("template", Widget.TEXT, "Template", "KGen template", "",
            "For the custom format, such as: <|quality|>, <|prompt|>, <|general|>, <|extended|>",
            example="<|quality|>, <|prompt|>, <|general|>, <|extended|>"),
    Control("timing", Widget.CHOICE, "Expansion timing", "KGen timing", DEFAULT,
            "After wildcards and styles, each image gets its own expansion; before them, all images share one.",
            ((DEFAULT, "as in Settings"), ("after", "after wildcards and styles"), ("before", "before them, once"))),
    Control("hires", Widget.CHOICE, "Hires prompt", "KGen hires", "follow",
            "What happens to the prompt of hires fix; where it is empty, the image's prompt is used.",
            (("follow", "gets the same additions"), ("separate", "is expanded by itself"), ("leave", "is left alone"))),
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
    Control("profile", Widget.CHOICE, "Checkpoint profile", "KGen profile", NO_PROFILE,
            "Adds the quality words of a family of checkpoints, unless your prompt has some, and what the family was "
            "trained on: tags or sentences.",
            ((NO_PROFILE, "none"), (AUTO, "by the checkpoint's name"),
             *((family, profile.label) for family, profile in PROFILES.items()))),
)  # fmt: skip

BY_FIELD: Mapping[str, Control] = {control.field: control for control in CONTROLS}


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


@dataclass(frozen=True, slots=True)
class Values:
    """A checked value for each row of the table, in its order; made by `read_values` and `read_named`."""

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
    lock: tuple[str, ...]
    any_tag: bool
    profile: str

    @property
    def adds(self) -> str:
        """Return what is added, where nothing was chosen without a profile: tags, text or both."""
        return "tags" if self.add == DEFAULT else self.add

    @property
    def format_text(self) -> str:
        """Return what `ExpandRequest.format` takes: a name or a template."""
        return self.template if self.format == CUSTOM else self.format

    @property
    def sampling(self) -> Sampling:
        """Return the sampling sliders' numbers, which apply only where `creativity` is "custom"."""
        return Sampling(**{name: getattr(self, name) for name in SAMPLING_NAMES})

    def named(self) -> dict[str, Any]:
        """Return the values by field."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def read_values(arguments: Sequence[Any]) -> Values:
    """Read a script's arguments: values in the table's order, or one mapping of names. What is missing has its default.

    Raises BadValue that names the control, the value and what is allowed.
    """
    if arguments and isinstance(arguments[0], Mapping):
        return read_named(arguments[0])
    if len(arguments) > len(CONTROLS):
        raise BadValue("args", f"{len(arguments)} values", f"at most {len(CONTROLS)}, or one object of names")
    return _checked({control.field: value for control, value in zip(CONTROLS, arguments, strict=False)})


def read_named(values: Mapping[str, Any]) -> Values:
    """Read values by field; what is missing or None has its default. Raises BadValue, for an unknown name too."""
    for name in values:
        if name not in BY_FIELD:
            raise BadValue("args", name, f"the names {', '.join(BY_FIELD)}")
    return _checked({name: value for name, value in values.items() if value is not None})


def _checked(given: Mapping[str, Any]) -> Values:
    return Values(**{
        control.field: check_value(control, given[control.field]) if control.field in given else control.default
        for control in CONTROLS
    })  # fmt: skip
