"""Engines: models loaded into an ML library, behind one contract. Only this package imports such libraries."""
from __future__ import annotations

from kgen_ext.engines.registry import ENGINES, available_engines, load_engine

__all__ = ["ENGINES", "available_engines", "load_engine"]
