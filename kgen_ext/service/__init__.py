"""Expands prompts: `open_expander` gives an `Expander` for a model, an engine and a device.

Importing this loads no ML library and not even the decoder; opening an expander loads what its engine needs.
"""
from __future__ import annotations

from kgen_ext.service.engines import ROWS, open_expander

__all__ = ["ROWS", "open_expander"]
