"""Builds the tag lists of `kgen_ext/tags/data`.
"""
from __future__ import annotations
