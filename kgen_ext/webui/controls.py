"""Controls of the WebUI's page: the table of widgets in their order, and the values set.

The page, the infotext, pasting, the API's script arguments, the X/Y/Z axes and the README's table derive from
`CONTROLS`, which takes what other front ends show, too, from `kgen_ext.controls`. `Values` holds one checked value for
each control, read from the host's positional arguments or from names.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from kgen_ext.controls import CUSTOM, DEFAULT, SHARED, Control, Widget, check_value
from kgen_ext.errors import BadValue
from kgen_ext.sampling import SAMPLING_NAMES, Sampling
from kgen_ext.webui.profiles import PROFILES

__all__ = [
    "AUTO", "BY_FIELD", "CONTROLS", "CUSTOM", "DEFAULT", "NO_PROFILE", "Control", "Values", "Widget", "check_value",
    "read_named", "read_values",
]  # fmt: skip

AUTO, NO_PROFILE = "auto", "none"

# The order is that of the arguments of a script: new controls come last. `ui` says where each is on the page.
CONTROLS: tuple[Control, ...] = (
    Control("enabled", Widget.CHECKBOX, "Prompt expansion (KGen)", "KGen", False,
            "Expand every prompt before its image is generated. Your own text is kept as it is."),
    Control("model", Widget.LIVE, "Model", "KGen model", DEFAULT,
            "Model that expands the prompt. “default” is the one chosen in Settings; the starter needs no download."),
    SHARED["add"]._replace(
        info="Tags suit anime models, sentences those trained on natural language. “recommended”: tags, or what the "
             "checkpoint profile says."),
    SHARED["tag_length"],
    SHARED["text_length"],
    SHARED["text"],
    Control("creativity", Widget.LIVE, "Sampling preset", "KGen creativity", DEFAULT,
            "Sets the four sliders. “default” is what the model recommends; moving a slider makes it “custom”."),
    Control("seed", Widget.NUMBER, "Expansion seed", "KGen seed", -1,
            "-1 uses each image's own seed. A fixed seed adds the same text to every image.",
            low=-1, high=2**53),
    *(SHARED[field] for field in ("ban", "require", "rules", "protect", "allow", "allow_contradictions")),
    Control("known_only", Widget.CHECKBOX, "Only tags that exist", "KGen known tags", False,
            "Add only tags listed in the tag file (from the tag autocomplete extension, or chosen in Settings)."),
    SHARED["format"],
    SHARED["template"],
    Control("timing", Widget.CHOICE, "Expansion timing", "KGen timing", DEFAULT,
            "After wildcards and styles, each image gets its own expansion; before them, all images share one.",
            ((DEFAULT, "as in Settings"), ("after", "after wildcards and styles"), ("before", "before them, once"))),
    Control("hires", Widget.CHOICE, "Hires prompt", "KGen hires", "follow",
            "What happens to the prompt of hires fix; where it is empty, the image's prompt is used.",
            (("follow", "gets the same additions"), ("separate", "is expanded by itself"), ("leave", "is left alone"))),
    *(SHARED[field] for field in ("engine", *SAMPLING_NAMES, "lock", "any_tag")),
    Control("profile", Widget.CHOICE, "Checkpoint profile", "KGen profile", NO_PROFILE,
            "Adds the quality words of a family of checkpoints, unless your prompt has some, and what the family was "
            "trained on: tags or sentences.",
            ((NO_PROFILE, "none"), (AUTO, "by the checkpoint's name"),
             *((family, profile.label) for family, profile in PROFILES.items()))),
    SHARED["yours"],
    SHARED["prior"],
)  # fmt: skip

BY_FIELD: Mapping[str, Control] = {control.field: control for control in CONTROLS}


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
    yours: str
    prior: float

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
