"""Builders of the tag lists in `kgen_ext/tags/data`."""
from __future__ import annotations
