"""Expands prompts: `open_expander` gives an `Expander` for a model, an engine and a device.

Importing this loads no ML library; opening an expander loads the one its engine needs.
"""
from __future__ import annotations

from kgen_ext.service.expander import Expander
from kgen_ext.service.opening import open_expander

__all__ = ["Expander", "open_expander"]
