"""Infotexts as the hosts write and read them: which values are quoted, and what happens to an empty one."""
from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

# A key, a colon, then a JSON string or all up to the next comma.
PARAMETER = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
SIZE = re.compile(r"^(\d+)x(\d+)$")


def quote(value: Any) -> Any:
    """Quote as the host does: only what holds a comma, a colon or a newline."""
    return json.dumps(value, ensure_ascii=False) if re.search("[,:\n]", str(value)) else value


def unquote(text: str) -> str:
    """Unquote as the host does; what looks quoted and is no JSON stays as it is."""
    if not (text.startswith('"') and text.endswith('"')):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def write_parameters(parameters: Mapping[str, Any]) -> str:
    """Join the last line of an infotext; None is left out, a value equal to its key loses its colon."""
    shown = ((key, value) for key, value in parameters.items() if value is not None)
    return ", ".join(key if key == value else f"{key}: {quote(value)}" for key, value in shown)


def parse_infotext(infotext: str, *, civitai_fix: bool = False) -> dict[str, Any]:
    """Read an infotext as the host does, without styles: `Prompt`, `Negative prompt`, and the last line's values."""
    *lines, last = infotext.strip().split("\n")
    if len(PARAMETER.findall(last)) < 3:
        lines.append(last)
        last = ""
    if civitai_fix and "Civitai" in last and "FLUX" in last:
        last = last.replace("CFG scale: ", "CFG scale: 1, Distilled CFG Scale: ")
    texts: tuple[list[str], list[str]] = ([], [])
    negative = False
    for line in map(str.strip, lines):
        if line.startswith("Negative prompt:"):
            negative, line = True, line[len("Negative prompt:") :].strip()
        if line or texts[negative]:
            texts[negative].append(line)
    found: dict[str, Any] = {}
    for key, value in PARAMETER.findall(last):
        if not value:
            continue  # the host trips over an empty value and drops it
        value = unquote(value) if value[0] == value[-1] == '"' else value
        if size := SIZE.match(value):
            found[f"{key}-1"], found[f"{key}-2"] = size.groups()
        else:
            found[key] = value
    found["Prompt"], found["Negative prompt"] = ("\n".join(part) for part in texts)
    found.setdefault("Hires prompt", "")
    found.setdefault("Hires negative prompt", "")
    return found
