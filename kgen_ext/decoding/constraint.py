"""What a field says of a drawn token: feed these ids instead, take some back, or close.

`None` stands for "feed it as it is", the common case. Plain values, shared by all fields and the row.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Union


@dataclass(frozen=True, slots=True)
class ForceTokens:
    """Feed these ids in place of the drawn one, having forgotten the row's tokens from `cut` on (when given)."""

    ids: tuple[int, ...]
    cut: int | None = None


@dataclass(frozen=True, slots=True)
class Rollback:
    """Forget the row's tokens from `index` on and draw that position again without its first choice."""

    index: int
    what: str
    rule: str
    detail: str


@dataclass(frozen=True, slots=True)
class EndField:
    """The field is over: forget tokens from `cut` on (when given), feed `ids`, go on with the next field."""

    ids: tuple[int, ...] = ()
    cut: int | None = None


Step = Union[ForceTokens, Rollback, EndField, None]
