"""What a request leaves open, filled in: by what the catalogue recommends for the model, else by the request's table.

Refuses to overrule anything that the user set, and to know where a recommendation comes from.
"""
from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kgen_ext.events import Settings
from kgen_ext.request import UNSAID, ExpandRequest, Task, TextLength

if TYPE_CHECKING:
    from kgen_ext.catalogue import Recommended


def suiting(name: str, recommended: Recommended | None) -> Any:
    """Return what suits the model for a field of `UNSAID`. recommended: None where nothing is known of it."""
    said = getattr(recommended, name, None)
    return UNSAID[name] if said is None else said


def settle(request: ExpandRequest, recommended: Recommended | None) -> tuple[ExpandRequest, Settings]:
    """Return the request with nothing left open, and the numbers and lengths it has by now.

    A task that was asked for says by itself what is written: no text is added to it because the model could.
    """
    found = {name: getattr(request, name) for name in UNSAID}
    for name in (name for name, value in found.items() if value is None):
        found[name] = suiting(name, recommended)
        if name == "text_length" and request.task is not Task.AUTO:
            found[name] = TextLength.NONE
    whole = replace(request, **found)
    return whole, Settings(**{name: getattr(getattr(whole, name), "value", getattr(whole, name)) for name in found})
