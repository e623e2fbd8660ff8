"""Tools of the maintainers, run from a checkout: benchmark, training, tag lists.
"""
from __future__ import annotations
