"""Service: `open_expander` returns an `Expander`, which expands prompts with a model on an engine and a device.

Importing this loads neither an ML library nor the decoder; opening an expander loads what its engine needs.
"""
from __future__ import annotations

from kgen_ext.service.engines import ROWS, open_expander

__all__ = ["ROWS", "open_expander"]
