"""Says an error's hint in the page's words: what a command line does, a page does by its own buttons.

Knows how the lower storeys name commands and their options; refuses to know what went wrong.
"""
from __future__ import annotations

import re

# What hints say for the command line, and what is to be said of the page; a test raises the real errors.
_PAGE = (
    (re.compile(r"kgen models download \S+; in the WebUI "), ""),
    (re.compile(r"kgen models list shows"), "the panel “Models” shows"),
    (re.compile(r"leave out --offline or --kgen-offline"),
     "switch off Offline in Settings, KGen, leave out --kgen-offline"),
)  # fmt: skip


def ui_message(error: BaseException | str) -> str:
    """Return an error's line, or a part of one, as the page tells it.

    >>> on_page("model: 'x' is not installed (kgen models list shows what is)")
    "model: 'x' is not installed (the panel “Models” shows what is)"
    """
    text = str(error)
    for words, instead in _PAGE:
        text = words.sub(instead, text)
    return text
