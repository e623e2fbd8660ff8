"""Token ids in, logits out: the engines, and nothing else that touches an ML library."""
from __future__ import annotations

from kgen_ext.engines.registry import ENGINES, available_engines, load_engine

__all__ = ["ENGINES", "available_engines", "load_engine"]
