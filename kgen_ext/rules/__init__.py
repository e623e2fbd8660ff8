"""Rules: every answer to "may this tag or phrase stand?"."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a tag or a phrase may not stand."""

    rule: str
    detail: str = ""
