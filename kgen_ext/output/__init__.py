"""Output formats: how the parts of an expansion become the final prompt."""
from __future__ import annotations
