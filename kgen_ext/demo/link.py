"""A run as the query of an address, which opens the page with the same inputs and runs it again.

    ?prompt=1girl%2C+shrine&tag_length=long&people=1girl%2Csolo&seed=3

Only what differs from the page's defaults is in it, and always the seed. A query comes from anywhere: each value is
checked as an input is, a model by the names that are offered, and no key stands for a path.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from kgen_ext.controls import Widget
from kgen_ext.demo.inputs import INPUTS, Inputs, read_inputs
from kgen_ext.demo.offers import Offer
from kgen_ext.errors import BadValue
from kgen_ext.sampling import SAMPLING_NAMES

# Servers and browsers cut longer addresses.
_MAX_LENGTH = 8000
_ON, _OFF = "1", "0"


def run_query(inputs: Inputs, offer: Offer, default: str) -> str:
    """Return the query of a run with its seed, "" where it would be too long. default: the model that is preset."""
    usual = page_defaults(offer)
    found: dict[str, str] = {}
    for control in INPUTS:
        value = getattr(inputs, control.field)
        preset = default if control.field == "model" else usual[control.field]
        if control.field == "seed" or value != preset:
            found[control.field] = _as_text(value)
    query = urlencode({name: value.encode("utf-8", "replace") for name, value in found.items()})
    return f"?{query}" if len(query) <= _MAX_LENGTH else ""


def page_defaults(offer: Offer) -> dict[str, Any]:
    """Return the values of a page that was just opened, with the numbers that the model recommends."""
    values = {control.field: control.default for control in INPUTS}
    return {**values, "model": offer.name, **{name: getattr(offer.sampling, name) for name in SAMPLING_NAMES}}


def is_run(query: Mapping[str, str]) -> bool:
    """Return whether an address is that of a run."""
    return any(control.field in query for control in INPUTS)


def read_query(query: Mapping[str, str], offer: Offer) -> Inputs:
    """Return the inputs that an address stands for; keys that are none of ours are the page's own. Raises BadValue."""
    values = page_defaults(offer)
    for control in INPUTS:
        text = query.get(control.field)
        if text is None or control.field == "model":
            continue
        if control.widget in (Widget.SLIDER, Widget.NUMBER):
            values[control.field] = _number(control.label, text)
        elif control.widget is Widget.CHECKBOX:
            if text not in (_ON, _OFF):
                raise BadValue(control.label, text, f"{_ON} or {_OFF}")
            values[control.field] = text == _ON
        else:
            values[control.field] = text
    return replace(read_inputs(values), model=offer.name)


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return _ON if value else _OFF
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value)


def _number(label: str, text: str) -> float:
    try:
        if len(text) <= 40:
            return float(text) if any(sign in text for sign in ".eE") else int(text)
    except ValueError:
        pass
    raise BadValue(label, text, "a number")
