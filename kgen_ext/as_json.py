"""Expansions and events as JSON, the same for the command and the WebUI's API: equal work gives equal bytes.

Refuses to know who sends it. The keys are the field names of `kgen_ext.events`; an event is
`{"event": "tag_accepted", ...its fields}`.
"""
from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

from kgen_ext.events import Event, Expansion


def expansion_json(expansion: Expansion, *, timings: bool) -> str:
    """Return one line of JSON; without `timings`, `seconds` is null, so that equal work gives equal bytes."""
    return json_line(_plain(expansion, timings))


def event_json(event: Event, *, timings: bool) -> str:
    """Return one line of JSON for an event; a finished one holds the expansion."""
    kind = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
    return json_line({"event": kind, **_plain(event, timings)})


def json_line(value: object) -> str:
    """Return JSON that is one line to everybody: Unicode's other line ends, where some readers split, are escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return text.replace("\x85", "\\u0085").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _plain(value: Expansion | Event, timings: bool) -> dict[str, Any]:
    result = dataclasses.asdict(value)
    for holder in (result, result.get("expansion")):
        if holder and "seconds" in holder:
            holder["seconds"] = round(holder["seconds"], 4) if timings else None
    return result
