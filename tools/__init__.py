"""Maintainers' tools, run from a checkout: the benchmark, the training of the starter model, the tag lists."""
from __future__ import annotations
