"""What the page's script sends along with a preview, and the previews that run for pages now.

    {"id": "k3x-txt2img", "tab": "txt2img", "prompt": "...", "width": "512", "height": "768", "seed": "-1"}

Comes from a browser: every part is checked. Refuses to know what a preview does.
"""
from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kgen_ext.errors import BadValue
from kgen_ext.once import once

TABS = ("txt2img", "img2img")
_LONGEST = 4_000_000


@dataclass(frozen=True, slots=True)
class Page:
    """What the page says besides the controls: the id of its preview, the prompt box, the size and the image's seed."""

    id: str
    tab: str
    prompt: str
    width: int
    height: int
    seed: int


def read_page(text: str) -> Page:
    """Read what the page's script sent; a part that is missing or no number falls to its default.

    Raises BadValue when it is not an object at all.
    """
    try:
        found = json.loads((text or "")[:_LONGEST])
    except ValueError:
        found = None
    if not isinstance(found, Mapping):
        raise BadValue("page", text, "the page's own button; reload the page, and allow its scripts")
    tab = found.get("tab")
    return Page(
        id=str(found.get("id", "")), tab=tab if tab in TABS else TABS[0], prompt=str(found.get("prompt", "")),
        width=whole(found.get("width"), 1024), height=whole(found.get("height"), 1024),
        seed=whole(found.get("seed"), -1),
    )  # fmt: skip


def whole(value: Any, default: int) -> int:
    """Return a number of the page as a whole one."""
    try:
        return int(float(value))
    except (TypeError, ValueError, OverflowError):
        return default


class Previews:
    """The previews that run now, by the page's id, so that a page can cancel its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, threading.Event] = {}

    def start(self, name: str) -> threading.Event:
        """Return the flag that cancels this preview; an earlier one of the same page is cancelled."""
        flag = threading.Event()
        with self._lock:
            before = self._running.get(name)
            self._running[name] = flag
        if before is not None:
            before.set()
        return flag

    def end(self, name: str, flag: threading.Event) -> bool:
        """Forget a preview; says whether it was the page's latest."""
        with self._lock:
            latest = self._running.get(name) is flag
            if latest:
                del self._running[name]
        return latest

    def cancel(self, name: str) -> bool:
        """Stop a page's preview within a token; says whether there was one."""
        with self._lock:
            flag = self._running.get(name)
        if flag is not None:
            flag.set()
        return flag is not None


@once
def shared_previews() -> Previews:
    """Return this process's previews."""
    return Previews()
