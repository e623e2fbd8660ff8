"""Inputs of the demo page: the one table of them, the values set, and the request that these stand for.

Labels, tooltips, choices and bounds of what other front ends have, too, are theirs (`kgen_ext.controls`). The page's
own are the pickers: people, names and rating become tags around the prompt, as if they had been written there.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from kgen_ext.controls import CUSTOM, DEFAULT, SHARED, Control, Widget, check_value
from kgen_ext.errors import BadValue
from kgen_ext.prompt.append import escape
from kgen_ext.request import FIELDS, MAX_SEED, ExpandRequest, TextLength, split_list
from kgen_ext.rules.known import ANY
from kgen_ext.sampling import SAMPLING_NAMES

_COUNTS = [f"{number}{who}" for who in ("girl", "boy", "other") for number in ("1", "2", "3", "4", "5", "6+")]
PEOPLE = (
    *(count if count[0] == "1" else f"{count}s" for count in _COUNTS),
    "multiple girls", "multiple boys", "multiple others", "male focus", "no humans", "solo",
)  # fmt: skip
RATINGS = ("safe", "sensitive", "nsfw", "explicit")
NO_RATING = "none"
# The inputs that only a DanTagGen model gets: its request has a line for each.
DTG_FIELDS = ("characters", "copyrights", "artist")
# The inputs that a model without sentences does not get.
TEXT_FIELDS = ("add", "text_length")


def _side(field: str) -> Control:
    row = FIELDS[field]
    return Control(field, Widget.NUMBER, field.capitalize(), "", row.default,
                   "In pixels. The model is told the shape of the picture; the pictures below are of this size.",
                   low=row.low, high=row.high)  # fmt: skip


INPUTS: tuple[Control, ...] = (
    Control("prompt", Widget.TEXT, "Prompt", "", "",
            "Tags, a description, or both. Every character of it stays as it is.", example="1girl, fox ears, shrine"),
    SHARED["text"],
    Control("model", Widget.LIVE, "Model", "", "", "All visitors share one copy of it in memory."),
    SHARED["tag_length"],
    SHARED["add"],
    SHARED["text_length"],
    Control("count", Widget.SLIDER, "Candidates", "", 1, "Expansions to write side by side.", low=1, high=8),
    Control("people", Widget.CHOICES, "People", "", (), "Tags put before your prompt: who is in the picture.",
            tuple((tag, tag) for tag in PEOPLE)),
    Control("rating", Widget.CHOICE, "Rating", "", NO_RATING, "A tag put behind your prompt.",
            ((NO_RATING, "none"), *((word, word) for word in RATINGS))),
    Control("characters", Widget.TEXT, "Characters", "", "", "Names, comma-separated. Brackets are part of the name."),
    Control("copyrights", Widget.TEXT, "Series", "", "", "Names, comma-separated. Brackets are part of the name."),
    Control("artist", Widget.TEXT, "Artist", "", "", "Names, comma-separated. Brackets are part of the name."),
    SHARED["ban"],
    SHARED["require"],
    SHARED["rules"],
    SHARED["protect"],
    SHARED["lock"],
    SHARED["allow"],
    SHARED["allow_contradictions"],
    SHARED["any_tag"],
    *(SHARED[name] for name in SAMPLING_NAMES),
    SHARED["format"],
    SHARED["template"],
    Control("seed", Widget.NUMBER, "Seed", "", -1, "-1 draws a new one for each run.", low=-1, high=2**53),
    _side("width"),
    _side("height"),
)  # fmt: skip

BY_FIELD: Mapping[str, Control] = {control.field: control for control in INPUTS}


@dataclass(frozen=True, slots=True)
class Inputs:
    """A checked value for each row of the table, in its order; made by `read_inputs`."""

    prompt: str
    text: str
    model: str
    tag_length: str
    add: str
    text_length: str
    count: int
    people: tuple[str, ...]
    rating: str
    characters: str
    copyrights: str
    artist: str
    ban: str
    require: str
    rules: str
    protect: str
    lock: tuple[str, ...]
    allow: tuple[str, ...]
    allow_contradictions: bool
    any_tag: bool
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    format: str
    template: str
    seed: int
    width: int
    height: int

    def named(self) -> dict[str, Any]:
        """Return the values by field."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def texts(self) -> tuple[str, ...]:
        """Return all that a visitor wrote."""
        return tuple(getattr(self, control.field) for control in INPUTS if control.widget is Widget.TEXT)


def read_inputs(values: Mapping[str, Any]) -> Inputs:
    """Check values by field; a missing one has its default. Raises BadValue that names the input."""
    return Inputs(**{
        control.field: check_value(control, values.get(control.field, control.default)) for control in INPUTS
    })  # fmt: skip


def compose_prompt(inputs: Inputs, *, tags_only: bool) -> str:
    """Return the prompt to expand: the visitor's own, between the people, the names and the rating that were picked.

    What the prompt has already is not put beside it again. tags_only: whether the model has fields for names.

    >>> compose_prompt(read_inputs({"prompt": "fox ears", "people": ["1girl"], "rating": "safe"}), tags_only=False)
    '1girl, fox ears, safe'
    """
    written = {tag.strip().lower() for tag in inputs.prompt.split(",")}
    before = [tag for tag in inputs.people if tag not in written]
    if tags_only:
        for field in DTG_FIELDS:
            before += [escape(name.strip()) for name in getattr(inputs, field).split(",") if name.strip()]
    rating = [inputs.rating] if inputs.rating != NO_RATING and inputs.rating not in written else []
    prompt = inputs.prompt
    for tag in reversed(before):
        prompt = f"{tag}, {prompt}" if prompt.strip() else tag
    for tag in rating:
        prompt = f"{prompt}{_separator(prompt)}{tag}"
    return prompt


def _separator(text: str) -> str:
    stripped = text.rstrip()
    if not stripped:
        return ""
    return ", " if not stripped.endswith(",") else "" if text[-1].isspace() else " "


def make_request(inputs: Inputs, *, seed: int, tags_only: bool) -> ExpandRequest:
    """Build the request of a run. Raises BadValue that names the input."""
    if inputs.format == CUSTOM and not inputs.template.strip():
        raise BadValue(BY_FIELD["template"].label, "", "one such as <|prompt|>, <|general|>; or choose another Format")
    return ExpandRequest(
        prompt=compose_prompt(inputs, tags_only=tags_only),
        text=inputs.text,
        tag_length=None if inputs.tag_length == DEFAULT else inputs.tag_length,
        text_length=_text_length(inputs, tags_only=tags_only),
        no_tags=inputs.add == "text" and not tags_only,
        format=inputs.template if inputs.format == CUSTOM else inputs.format,
        ban=(*split_list("ban", inputs.ban), *(f"category:{group}" for group in inputs.lock)),
        require=inputs.require,
        rules=inputs.rules,
        protect=inputs.protect,
        allow=inputs.allow,
        allow_contradictions=inputs.allow_contradictions,
        tag_file=ANY if inputs.any_tag else "",
        seed=seed & MAX_SEED,
        count=inputs.count,
        width=inputs.width,
        height=inputs.height,
        **{name: getattr(inputs, name) for name in SAMPLING_NAMES},
    )


def _text_length(inputs: Inputs, *, tags_only: bool) -> str | None:
    if inputs.add == "tags" or tags_only:
        return TextLength.NONE.value
    return None if inputs.add == DEFAULT else inputs.text_length


def field_values(values: Sequence[Any]) -> dict[str, Any]:
    """Return values by field, from the page's components in the table's order."""
    return {control.field: value for control, value in zip(INPUTS, values, strict=True)}
