"""JSON values taken out of an object one by one, each checked by a function that says what would be allowed.

Refuses to know what the values are for. A check takes any value and returns it clean, or raises ValueError("a list").
"""
from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from kgen_ext.errors import BadCatalogue


class Reader:
    """A JSON object whose fields are taken one by one; what a field may be is a function that raises ValueError."""

    def __init__(self, where: str, value: Any, known: Sequence[str]) -> None:
        self._where = where
        if not isinstance(value, dict):
            raise BadCatalogue(f"{where}: not an object", hint="{...} with " + ", ".join(known))
        for name in value:
            if name not in known:
                raise BadCatalogue(f"{where}: {name!r:.60} is not a field", hint=f"fields are {', '.join(known)}")
        self._value = value

    def take(self, name: str, check: Callable[[Any], Any], default: Any = None) -> Any:
        if name not in self._value:
            if default is not None:
                return default
            raise BadCatalogue(f"{self._where}: {name} is missing", hint="see the README, Models")
        value = self._value[name]
        try:
            return check(value)
        except ValueError as error:
            raise BadCatalogue(f"{self._where}: {name}: {value!r:.80} is not allowed", hint=f"use {error}") from None


def relative_path(value: Any) -> str:
    """Return a path that stays below the folder it is relative to; ValueError for every other value."""
    parts = value.split("/") if isinstance(value, str) else [""]
    if any(part in ("", ".", "..") or re.search(r'[\x00-\x1f<>:"|?*\\]', part) for part in parts):
        raise ValueError("a relative path with / and without ..")
    return "/".join(parts)


def shape(pattern: re.Pattern[str], says: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError(says)
        return value

    return check


def one_of(*allowed: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in allowed:
            raise ValueError(", ".join(allowed))
        return str(value)

    return check


def number(low: float, high: float) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise ValueError(f"a number from {low} to {high}")
        return float(value)

    return check


def whole(low: int, high: int = 1 << 53) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return check


def several(check: Callable[[Any], str]) -> Callable[[Any], tuple[str, ...]]:
    return lambda value: tuple(check(one) for one in listed(value))


def text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 2000 or "\n" in value:
        raise ValueError("one line of text")
    return value


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("a list")
    return value


def record(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("an object")
    return value
