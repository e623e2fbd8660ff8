"""Turns expansions and events into what is printed: JSON lines, or the prompt with the additions in colour.

Refuses to know streams and terminals beyond the one question whether colour is welcome. The JSON keys are the field
names of `kgen_ext.events`; an event is `{"event": "tag_accepted", ...its fields}`.
"""
from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
from typing import Any, TextIO

from kgen_ext.events import By, Event, Expansion

ADDED, PLAIN = "\x1b[32m", "\x1b[0m"


def expansion_json(expansion: Expansion, *, timings: bool) -> str:
    """Return one line of JSON; without `timings`, `seconds` is null, so that equal work gives equal bytes."""
    return json_line(_plain(expansion, timings))


def event_json(event: Event, *, timings: bool) -> str:
    """Return one line of JSON for an event; a finished one holds the expansion."""
    kind = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
    return json_line({"event": kind, **_plain(event, timings)})


def prompt_text(expansion: Expansion, *, colour: bool) -> str:
    """Return the prompt, the model's pieces green if `colour`."""
    if not colour:
        return expansion.prompt
    return "".join(f"{ADDED}{one.text}{PLAIN}" if one.by is By.MODEL else one.text for one in expansion.pieces)


def json_line(value: object) -> str:
    """Return JSON that is one line to everybody: Unicode's other line ends, where some readers split, are escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return text.replace("\x85", "\\u0085").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def wants_colour(stream: TextIO) -> bool:
    """Tell whether `stream` is a terminal that shows colours and nobody said NO_COLOR (https://no-color.org)."""
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    # An old Windows console prints the codes; the newer ones name themselves.
    return sys.platform != "win32" or any(os.environ.get(name) for name in ("WT_SESSION", "TERM", "ANSICON"))


def _plain(value: Expansion | Event, timings: bool) -> dict[str, Any]:
    result = dataclasses.asdict(value)
    for holder in (result, result.get("expansion")):
        if holder and "seconds" in holder:
            holder["seconds"] = round(holder["seconds"], 4) if timings else None
    return result
