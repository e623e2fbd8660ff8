"""Results of a node: its outputs, what the page and the history get, and the infotext of an image.

The entry of an expansion, in `ui` and in the PNG's `kgen`, is a JSON object:

    prompt, source     the result, and the prompt as it was given      tags, text     what was added
    seed               repeats this row alone                          model, engine, settings, notes
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from kgen_ext import __version__
from kgen_ext.comfy.inputs import RECOMMENDED
from kgen_ext.comfy.messages import node_note
from kgen_ext.controls import BY_MODEL, CUSTOM, DEFAULT, SHARED, Widget, check_value
from kgen_ext.events import Expansion
from kgen_ext.models import ModelFiles
from kgen_ext.output.infotext import carried, encode, quote
from kgen_ext.request import ExpandRequest
from kgen_ext.sampling import SAMPLING_NAMES


@dataclass(frozen=True, slots=True)
class NodeExpansion:
    """An expansion on its way to a node “Format”: the request of this row alone, and the model that answers it."""

    request: ExpandRequest
    files: ModelFiles
    engine: str
    device: str


def entry(expansion: Expansion) -> dict[str, Any]:
    """Return an expansion's entry for the page and the PNG."""
    return {
        "prompt": expansion.prompt,
        "source": expansion.source,
        "tags": list(expansion.added_tags),
        "text": expansion.added_text,
        "seed": expansion.seed,
        "model": expansion.model,
        "engine": expansion.engine,
        "settings": asdict(expansion.settings),
        "notes": [node_note(note) for note in expansion.notes],
    }


def infotext(values: Mapping[str, Any], expansion: Expansion) -> str:
    """Return the infotext of an image of this prompt, from which the WebUI restores the prompt and the controls.

    values: of the node's inputs by name.
    """
    entries = {key: quote(value) for key, value in _entries(values, expansion)}
    return f"{expansion.prompt}\n{', '.join(f'{key}: {value}' for key, value in entries.items())}"


def _entries(values: Mapping[str, Any], expansion: Expansion) -> Iterator[tuple[str, Any]]:
    yield "Size", f"{values.get('width', 1024)}x{values.get('height', 1024)}"
    yield "KGen", __version__
    yield "KGen prompt", encode("KGen prompt", expansion.source)
    yield "KGen model", encode("KGen model", expansion.model)
    yield "KGen seed", expansion.seed
    if "task" in values:
        yield "KGen task", values["task"]
    writes_text = expansion.settings.text_length != "none"
    set_here = dict(values)
    if set_here.get("add", RECOMMENDED) == RECOMMENDED:
        set_here["add"] = "both" if writes_text else DEFAULT
    if not writes_text:
        set_here.pop("text_length", None)
    if set_here.get("format") != CUSTOM:
        set_here.pop("template", None)
    for field, control in SHARED.items():
        if field in set_here and field not in SAMPLING_NAMES:
            value = set_here[field]
            value = DEFAULT if value == RECOMMENDED else value
            if control.widget is Widget.CHOICES:
                value = check_value(control, value)
            if value != control.default:
                yield control.key, _shown(control.key, value)
    if values.get("sampling") is not None or any(values.get(name, BY_MODEL) != BY_MODEL for name in SAMPLING_NAMES):
        yield "KGen creativity", CUSTOM
        for name in SAMPLING_NAMES:
            yield SHARED[name].key, getattr(expansion.settings, name)
    if not carried(expansion.prompt):
        yield "KGen result", encode("KGen result", expansion.prompt)


def _shown(key: str, value: Any) -> Any:
    if isinstance(value, tuple):
        return ", ".join(value)
    return encode(key, value) if isinstance(value, str) else value
