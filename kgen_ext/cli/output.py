"""Turns expansions into what is printed for people: the prompt with the additions in colour.

Refuses to know streams and terminals beyond the one question whether colour is welcome; JSON is `as_json`'s business.
"""
from __future__ import annotations

import os
import sys
from typing import TextIO

from kgen_ext.events import By, Expansion

ADDED, PLAIN = "\x1b[32m", "\x1b[0m"


def prompt_text(expansion: Expansion, *, colour: bool) -> str:
    """Return the prompt, the model's pieces green if `colour`."""
    if not colour:
        return expansion.prompt
    return "".join(f"{ADDED}{one.text}{PLAIN}" if one.by is By.MODEL else one.text for one in expansion.pieces)


def wants_colour(stream: TextIO) -> bool:
    """Tell whether `stream` is a terminal that shows colours and nobody said NO_COLOR (https://no-color.org)."""
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    # An old Windows console prints the codes; the newer ones name themselves.
    return sys.platform != "win32" or any(os.environ.get(name) for name in ("WT_SESSION", "TERM", "ANSICON"))
