"""Number of CLIP tokens in a prompt, counted by the host.

While the host has no checkpoint in memory there is no number, as counting would load one.
"""
from __future__ import annotations

import functools
import re
from typing import Protocol

from kgen_ext.webui.host import Host

_COUNT = re.compile(r"(\d{1,9})/(\d{1,9})")


class TokenCounter(Protocol):
    """Counts the tokens of a prompt: (tokens, end of their block of 75), or None if unknown."""

    def __call__(self, prompt: str, /) -> tuple[int, int] | None: ...


def count_tokens(host: Host, prompt: str) -> tuple[int, int] | None:
    """Count the tokens of a prompt as `TokenCounter` says."""
    count = host.token_counter()
    if count is None or getattr(host.part("modules.sd_models.model_data"), "sd_model", None) is None:
        return None
    try:
        found = _COUNT.search(str(count(prompt)))
    except Exception as error:  # the host's code changes from version to version; a preview works without the number
        host.log.debug("cannot count tokens: %s", error)
        return None
    if found is None:
        return None
    tokens, block = int(found[1]), int(found[2])
    return tokens, -(-tokens // block) * block if tokens > block > 0 else block  # SD.Next names the first block's end


def token_counter(host: Host) -> TokenCounter:
    """Return the counter of a host."""
    return functools.partial(count_tokens, host)
