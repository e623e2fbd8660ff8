"""Rules: every answer to "may this be added?", for tags and for phrases."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a tag or a phrase may not be added."""

    rule: str
    detail: str = ""
