"""KGen for WebUI: expands Stable Diffusion prompts with TIPO and DanTagGen, and never alters the user's own text.

`open_expander` is loaded on first use, so that importing the package costs nothing.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from kgen_ext.events import Expansion
from kgen_ext.request import ExpandRequest

if TYPE_CHECKING:
    from kgen_ext.service import open_expander

__version__ = "0.2.0"
__all__ = ["ExpandRequest", "Expansion", "open_expander", "__version__"]


def __getattr__(name: str) -> object:
    if name == "open_expander":
        from kgen_ext.service import open_expander

        return open_expander
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
