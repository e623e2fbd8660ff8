"""What an image says about its expansion: keys and values for the host's infotext, and back from them, exactly.

Knows the table and the host's way of writing; refuses to know jobs, pages and what pasting does with it.

    KGen: 0.5.0                  the version; there if the prompt was to be expanded
    KGen prompt: 1girl           the user's own prompt          KGen hires prompt: ...   where it was another
    KGen model: starter, KGen seed: 7, KGen ban: hat, ...       the table's keys; what is at its default is left out
    KGen note: ...               KGen error: ...                what could not be done
    KGen result: ...             the expanded prompt, only where the infotext's own prompt line cannot hold it

The host quotes a value as JSON only if it holds a comma, a colon or a newline, splits `512x768` in two, drops the
colon of a value equal to its key, trips over an empty one and trims blanks. Text that would not come back from that is
written as `json: "..."`, which always does.

What becomes of an image's infotext when it is pasted: two roads, the original prompt or the expanded one.

Original: the user's own prompt, expansion on, the same words again. Expanded: the text the image was drawn from,
expansion off. An image without expansion switches the checkbox off and leaves the rest. Refuses to know how infotexts
are written.
"""
from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from kgen_ext.errors import BadValue
from kgen_ext.sampling import SAMPLING_NAMES
from kgen_ext.webui import infotext
from kgen_ext.webui.controls import BY_FIELD, CONTROLS, CUSTOM, DEFAULT, Control, Values, Widget, check_value
from kgen_ext.webui.host import Host

VERSION, PROMPT, HIRES, RESULT = BY_FIELD["enabled"].key, "KGen prompt", "KGen hires prompt", "KGen result"
NOTE, ERROR, SEED = "KGen note", "KGen error", BY_FIELD["seed"].key
PREFIX = "KGen"
_MARK = "json: "
_TIMING = "after"  # what an image is made with whose infotext names no timing


def encode(key: str, text: str) -> str:
    """Return a text as the host is to be given it: `decode` of what the host reads back is the text."""
    safe = (
        text
        and text == text.strip()
        and re.search("[\x00-\x09\x0b-\x1f\x7f\ud800-\udfff]", text) is None
        and text != key
        and not text.startswith(('"', _MARK))
        and re.fullmatch(r"\d+x\d+", text) is None
        and "Civitai" not in text  # with FLUX beside it, Forge rewrites the line as an image of that site
    )
    if safe:
        return text
    # Plain letters stay readable; a lone surrogate must not reach a file as itself.
    ascii_only = any(0xD800 <= ord(char) < 0xE000 for char in text)
    return _MARK + json.dumps(text, ensure_ascii=ascii_only).replace("Civitai", "\\u0043ivitai")


def decode(text: str) -> str:
    """Return what `encode` was given."""
    if not text.startswith(_MARK):
        return text
    try:
        decoded = json.loads(text[len(_MARK) :])
    except ValueError:
        return text  # written by hand
    return decoded if isinstance(decoded, str) else text


@dataclass(frozen=True, slots=True)
class Record:
    """What is said of one image.

    `seed` is the seed of its words where that is not the image's own, else None. An image that was not to be expanded
    has a note at the most.
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
    """A value of each image, in the form the host calls: right for saved images, grids and params.txt alike.

    The host counts a saved image within its batch, and one asked for through the job's whole list from its start.
    """

    values: tuple[str | int | None, ...]

    def __call__(
        self, p: Any = None, index: int = 0, all_prompts: Sequence[str] = (), use_main_prompt: bool = False, **_: Any
    ) -> str | int | None:
        if not use_main_prompt and len(all_prompts) < len(getattr(p, "all_prompts", None) or ()):
            index += getattr(p, "iteration", 0) * getattr(p, "batch_size", 1)
        return self.values[index] if 0 <= index < len(self.values) else None


def write_infotext(values: Values, records: Sequence[Record], *, version: str, model: str) -> dict[str, Any]:
    """Return the entries of a job for `extra_generation_params`; per image where images differ.

    values: with the timing resolved. model: the id of the model that wrote.
    """
    settings: dict[str, Any] = {}
    for param in CONTROLS[1:]:
        if param.field == "seed":
            continue  # an image's own affair
        value = model if param.field == "model" else getattr(values, param.field)
        if _counts(param, values) and value != (_TIMING if param.field == "timing" else param.default):
            settings[param.key] = _shown(param, value)
    each = [_entries(one, settings, version) for one in records]
    keys = dict.fromkeys(key for one in each for key in one)
    return {key: _shared([one.get(key) for one in each]) for key in keys}


def _counts(param: Control, values: Values) -> bool:
    """Say whether a control has any say beside the others: a length of what is not written has none."""
    if param.field in SAMPLING_NAMES:
        return values.creativity == CUSTOM
    if param.field == "template":
        return values.format == CUSTOM
    unwritten = {"tag_length": "text", "text_length": "tags"}
    return values.add != unwritten.get(param.field)


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


def _shared(values: Sequence[Any]) -> Any:
    """Return one value where all images share it, else the callable."""
    return values[0] if all(value == values[0] for value in values) else PerImage(tuple(values))


def _shown(param: Control, value: Any) -> str | int | float:
    if param.widget is Widget.CHOICES:
        return ", ".join(value)
    if param.widget in (Widget.TEXT, Widget.LIVE):
        return encode(param.key, value)
    return str(value) if isinstance(value, bool) else value


def read_infotext_values(params: Mapping[str, Any], *, timing: str = _TIMING) -> dict[str, Any] | None:
    """Return the controls' values by field from a pasted infotext, None where it has no expansion.

    What is absent, or written by hand and not allowed, is at its default. timing: what the settings page says, so that
    an image made the other way is not taken for one of today's.
    """
    if VERSION not in params:
        return None
    found = {param.field: _read(param, params.get(param.key)) for param in CONTROLS}
    found["enabled"] = True
    if found["timing"] == DEFAULT and timing != _TIMING:
        found["timing"] = _TIMING
    return found


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


def carried(prompt: str) -> bool:
    """Say whether the prompt line of an infotext brings this prompt back: blanks at line ends are lost, and more."""
    lines = prompt.split("\n")
    if any(line != line.strip() or line.startswith("Negative prompt:") for line in lines):
        return False
    return not prompt or bool(lines[0] and lines[-1])


# The host's grammar of the last line: a key, a colon, a JSON string or all up to the next comma.
_ENTRY = r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)'


def parse_infotext(infotext: str) -> dict[str, str]:
    """Read an image's infotext without the host: its own entries as text, the prompt as `Prompt`."""
    *lines, last = infotext.strip().split("\n")
    entries = re.findall(_ENTRY, last)
    if len(entries) < 3:
        lines, entries = [*lines, last], []
    end = next((i for i, line in enumerate(lines) if line.strip().startswith("Negative prompt:")), len(lines))
    found = {key: _unquoted(value) for key, value in entries}
    found["Prompt"] = "\n".join(line.strip() for line in lines[:end])
    return found


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == '"':
        try:
            return str(json.loads(value))
        except ValueError:
            return value
    return value


def result_of(params: Mapping[str, Any]) -> str:
    """Return the prompt an image was drawn from."""
    return decode(str(params[RESULT])) if RESULT in params else str(params.get("Prompt", ""))


def seed_of(params: Mapping[str, Any]) -> int | None:
    """Return the seed that wrote an image's words: the recorded one, else the image's own."""
    for key in (SEED, "Seed"):
        try:
            return int(str(params[key]))
        except (KeyError, ValueError):
            continue
    return None


# The host hands the same dict to the callback and to the fields; what the callback decided is kept in it under this.
_DECIDED = "KGen paste"


class PasteMode(str, Enum):
    """What the setting `kgen_paste` chooses between."""

    ORIGINAL = "original"
    EXPANDED = "expanded"


def on_pasted(params: dict[str, Any], *, host: Host, road: PasteMode, timing: str) -> None:
    """Edit a pasted infotext's entries before the host fills the page from them. timing: the settings page's."""
    values = infotext.read_infotext_values(params, timing=timing)
    if values is None:
        return
    if road is PasteMode.EXPANDED:
        if infotext.RESULT in params:
            params["Prompt"] = infotext.result_of(params)
        params[_DECIDED] = {"enabled": False}
        return
    params[_DECIDED] = values
    if infotext.PROMPT not in params:
        return
    prompt = infotext.decode(str(params[infotext.PROMPT]))
    hires = infotext.decode(str(params.get(infotext.HIRES, "")))
    # A style that the expansion's words stood behind is found only now, in the prompt without them.
    given = str(params.get("Negative prompt", ""))
    styles, prompt, negative = host.extract_styles(prompt, given)
    if styles:
        before = params.get("Styles array")
        params["Styles array"] = [*(before if isinstance(before, list) else []), *styles]
        params["Negative prompt"] = negative
        hires = host.extract_styles(hires, given)[1]
    params["Prompt"] = prompt
    if "Hires prompt" in params:
        params["Hires prompt"] = hires


def pasted(field: str) -> Callable[[Mapping[str, Any]], Any]:
    """Return the function of a control for `infotext_fields`: what the widget is to show, None to leave it alone."""
    param = BY_FIELD[field]

    def value(params: Mapping[str, Any]) -> Any:
        values = params.get(_DECIDED)
        if values is None:
            # No callback came first (a host that has none), or no expansion in this image.
            values = infotext.read_infotext_values(params) or {"enabled": False}
        return param.show(values[field]) if field in values else None

    value.__name__ = f"pasted_{field}"
    return value


def paste_fields(components: Mapping[str, Any]) -> list[tuple[Any, Callable[[Mapping[str, Any]], Any]]]:
    """Return `infotext_fields` for the components, by field."""
    return [(components[param.field], pasted(param.field)) for param in CONTROLS if param.field in components]
