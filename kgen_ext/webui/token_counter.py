"""How many CLIP tokens a prompt has, by the host's own counter.

Refuses to load anything for it: while the host has no checkpoint in memory there is no number.
"""
from __future__ import annotations

import functools
import re
from typing import Protocol

from kgen_ext.webui.host import Host

_COUNT = re.compile(r"(\d{1,9})/(\d{1,9})")
_STEPS = 20  # prompt editing is counted at its longest, whatever the number of steps


class Counter(Protocol):
    """Tells (tokens, end of their block of 75) of a prompt, or None where nobody can tell."""

    def __call__(self, prompt: str, /) -> tuple[int, int] | None: ...


def count_tokens(host: Host, prompt: str) -> tuple[int, int] | None:
    """Ask the host."""
    count = host.part("modules.ui.update_token_counter")
    if count is None or getattr(host.part("modules.sd_models.model_data"), "sd_model", None) is None:
        return None
    try:
        found = _COUNT.search(str(count(prompt, _STEPS, [])))
    except Exception as error:  # foreign code about to change: a number is not worth a preview
        host.log.debug("tokens cannot be counted: %s", error)
        return None
    return (int(found[1]), int(found[2])) if found else None


def counter(host: Host) -> Counter:
    """Return a host's counter."""
    return functools.partial(count_tokens, host)
