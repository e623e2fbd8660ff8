"""Infotext of an expanded image: written for the host, read back exactly, and pasted into the page.

    KGen: 0.2.0                  version; present if the prompt was to be expanded
    KGen prompt: 1girl           the user's own prompt          KGen hires prompt: ...   where that is another
    KGen model: starter, KGen seed: 7, KGen ban: hat, ...       keys of the controls; defaults are left out
    KGen note: ...               KGen error: ...                what could not be done
    KGen result: ...             the expanded prompt, only where the infotext's own prompt line cannot hold it

`kgen_ext.output.infotext` says how a text becomes a value that the hosts read back. SD.Next's reader alters even those:
commas at an end, `007`, keys with a hyphen, words that are in the prompt, too. So our entries of a pasted infotext are
read here, not by the host.

Pasting restores the user's own prompt with expansion on, which gives the same result again, or the expanded prompt with
expansion off (`PasteMode`). An image without expansion unticks the checkbox and changes nothing else.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from kgen_ext.errors import BadValue
from kgen_ext.output.infotext import carried, decode, encode, parse_infotext
from kgen_ext.sampling import SAMPLING_NAMES
from kgen_ext.webui.controls import BY_FIELD, CONTROLS, CUSTOM, DEFAULT, Control, Values, Widget, check_value
from kgen_ext.webui.host import Host, HostJob

VERSION, PROMPT, HIRES, RESULT = BY_FIELD["enabled"].key, "KGen prompt", "KGen hires prompt", "KGen result"
NOTE, ERROR, SEED = "KGen note", "KGen error", BY_FIELD["seed"].key
PREFIX = "KGen"
_TIMING = "after"  # of an image whose infotext names no timing


class Record(NamedTuple):
    """Facts about one image. seed: of the expansion, None where it is the image's own.

    With `expanded` False only the note is written.
    """

    prompt: str
    result: str
    hires: str | None = None
    seed: int | None = None
    note: str = ""
    error: str = ""
    expanded: bool = True


@dataclass(frozen=True, slots=True)
class PerImage:
    """Values of an entry by image, as a callable that the host calls for saved images, grids and params.txt.

    The index of a saved image counts within its batch; if `all_prompts` is the whole job's list, it counts from the
    job's start.
    """

    values: tuple[str | int | None, ...]

    def __call__(
        self, p: HostJob | None = None, index: int = 0, all_prompts: Sequence[str] = (), use_main_prompt: bool = False,
        **_: Any,
    ) -> str | int | None:  # fmt: skip
        if not use_main_prompt and len(all_prompts) < len(getattr(p, "all_prompts", None) or ()):
            index += getattr(p, "iteration", 0) * getattr(p, "batch_size", 1)
        return self.of(index)

    def of(self, index: int) -> str | int | None:
        """Return the value of an image, None where it has none. index: counts from the job's start."""
        return self.values[index] if 0 <= index < len(self.values) else None


def write_infotext(values: Values, records: Sequence[Record], *, version: str, model: str) -> dict[str, Any]:
    """Return a job's entries for `extra_generation_params`, a `PerImage` where images differ.

    values: with the timing resolved. model: the id of the model that was used.
    """
    settings: dict[str, Any] = {}
    for param in CONTROLS[1:]:
        if param.field == "seed":
            continue  # each record has its own
        value = model if param.field == "model" else getattr(values, param.field)
        if _has_effect(param, values) and value != (_TIMING if param.field == "timing" else param.default):
            settings[param.key] = _shown(param, value)
    by_image = [_entries(record, settings, version) for record in records]
    keys = dict.fromkeys(key for entries in by_image for key in entries)
    return {key: _merged([entries.get(key) for entries in by_image]) for key in keys}


def _has_effect(param: Control, values: Values) -> bool:
    """Return whether a control has an effect with the others' values: text length has none without text."""
    if param.field in SAMPLING_NAMES:
        return values.creativity == CUSTOM
    if param.field == "template":
        return values.format == CUSTOM
    unwritten = {"tag_length": "text", "text_length": "tags"}
    return values.adds != unwritten.get(param.field)


def _entries(record: Record, settings: Mapping[str, Any], version: str) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    if record.expanded:
        entries |= {VERSION: version, PROMPT: encode(PROMPT, record.prompt)}
        if record.hires is not None:
            entries[HIRES] = encode(HIRES, record.hires)
        entries |= settings
        if record.seed is not None:
            entries[SEED] = record.seed
        if not carried(record.result):
            entries[RESULT] = encode(RESULT, record.result)
    notes = ((NOTE, record.note), (ERROR, record.error))
    return entries | {key: encode(key, text) for key, text in notes if text}


def _merged(values: Sequence[Any]) -> Any:
    """Return the value if all images have the same one, else a callable."""
    return values[0] if all(value == values[0] for value in values) else PerImage(tuple(values))


def _shown(param: Control, value: Any) -> str | int | float:
    if param.widget is Widget.CHOICES:
        return ", ".join(value)
    if param.widget in (Widget.TEXT, Widget.LIVE):
        return encode(param.key, value)
    return str(value) if isinstance(value, bool) else value


def read_infotext_values(params: Mapping[str, Any], *, timing: str = _TIMING) -> dict[str, Any] | None:
    """Return the controls' values by field from a pasted infotext, None where it has no expansion.

    A missing value is its default, and so is one that is not allowed (edited by hand). Sampling options are there only
    where they are custom. timing: the setting; where it differs from the image's, the image's is selected explicitly.
    """
    if VERSION not in params:
        return None
    values = {param.field: _read(param, params.get(param.key)) for param in CONTROLS}
    values["enabled"] = True
    if values["creativity"] != CUSTOM:
        for name in SAMPLING_NAMES:
            del values[name]  # the page shows those of the model and the preset
    if values["timing"] == DEFAULT and timing != _TIMING:
        values["timing"] = _TIMING
    return values


def _read(param: Control, text: Any) -> Any:
    if text is None or param.field == "enabled":
        return param.default
    value: Any = decode(str(text))
    try:
        if param.widget is Widget.CHECKBOX:
            value = {"True": True, "False": False}.get(value, value)
        elif param.widget in (Widget.SLIDER, Widget.NUMBER):
            value = float(value) if param.step != 1 else int(value)
        return check_value(param, value)
    except (BadValue, ValueError):
        return param.default


def result_of(params: Mapping[str, Any]) -> str:
    """Return the prompt that an image was drawn from."""
    return decode(str(params[RESULT])) if RESULT in params else str(params.get("Prompt", ""))


def seed_of(params: Mapping[str, Any]) -> int | None:
    """Return the seed of an image's expansion: the recorded one, else the image's own; None where there is neither."""
    for key in (SEED, "Seed"):
        try:
            return int(str(params[key]))
        except (KeyError, ValueError):
            continue
    return None


# Key of the callback's values in the host's dict, which it passes on to the functions of the fields.
_PASTED = "KGen paste"


class PasteMode(str, Enum):
    """Choices of the setting `kgen_paste`: the user's own prompt, or the expanded one."""

    ORIGINAL = "original"
    EXPANDED = "expanded"


def on_pasted(infotext: str, params: dict[str, Any], *, host: Host, mode: PasteMode, timing: str) -> None:
    """Edit a pasted infotext's entries before the host fills the page from them.

    params: what the host read. timing: the setting.
    """
    own = {key: value for key, value in parse_infotext(infotext).items() if key.startswith(PREFIX)}
    params.update(own)
    values = read_infotext_values(params, timing=timing)
    if values is None:
        return
    if mode is PasteMode.EXPANDED:
        if RESULT in params:
            params["Prompt"] = result_of(params)
        params[_PASTED] = {"enabled": False}
        return
    params[_PASTED] = values
    if PROMPT not in params:
        return
    prompt = decode(str(params[PROMPT]))
    hires = decode(str(params.get(HIRES, "")))
    # Styles at the prompt's end are found only now: in the expanded prompt the additions come after them.
    pasted_negative = str(params.get("Negative prompt", ""))
    styles, prompt, negative = host.extract_styles(prompt, pasted_negative)
    if styles:
        before = params.get("Styles array")
        params["Styles array"] = [*(before if isinstance(before, list) else []), *styles]
        params["Negative prompt"] = negative
        hires = host.extract_styles(hires, pasted_negative)[1]
    params["Prompt"] = prompt
    if "Hires prompt" in params:
        params["Hires prompt"] = hires


class PasteKey(str):
    """A control's key in `infotext_fields`: a text and a function, as hosts use the entries in two ways.

    A paste calls it with the infotext's entries and shows what it returns, None for no change. “Send to img2img” copies
    the controls between tabs whose keys are equal to a name in `paste_field_names`. SD.Next needs both in one paste.
    """

    control: Control

    def __new__(cls, control: Control) -> PasteKey:
        key = super().__new__(cls, control.key)
        key.control = control
        return key

    def __call__(self, params: Mapping[str, Any]) -> Any:
        values = params.get(_PASTED)
        if values is None:
            # A host without the callback, or an image without expansion.
            values = read_infotext_values(params) or {"enabled": False}
        return self.control.show(values[self.control.field]) if self.control.field in values else None


def paste_fields(components: Mapping[str, Any]) -> list[tuple[Any, PasteKey]]:
    """Return `infotext_fields`. components: by field."""
    return [(components[param.field], PasteKey(param)) for param in CONTROLS if param.field in components]
