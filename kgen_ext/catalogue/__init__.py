"""Which models there are and where their files lie.

Refuses to load anything: engines do that, from the paths found here.
"""
from __future__ import annotations

from kgen_ext.catalogue.models import STARTER, ModelFiles, resolve

__all__ = ["STARTER", "ModelFiles", "resolve"]
