"""KGen for WebUI: expand Stable Diffusion prompts with TIPO and DanTagGen, without altering the user's own text.

    from kgen_ext import ExpandRequest, open_expander

    with open_expander() as expander:
        [expansion] = expander.expand([ExpandRequest("1girl, shrine", seed=1)])
        print(expansion.prompt)

Names are imported on first use, so that importing the package costs nothing.
"""
from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kgen_ext.events import Expansion
    from kgen_ext.request import ExpandRequest
    from kgen_ext.service import open_expander

__version__ = "0.2.0"
__all__ = ["ExpandRequest", "Expansion", "open_expander", "__version__"]

_MODULES = {"ExpandRequest": "request", "Expansion": "events", "open_expander": "service"}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
