"""Lazily computed values, shared by all threads: the first caller computes, the others wait for the result.

`functools.cache` does not wait: threads that call at the same time each compute a value.
"""
from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class once(Generic[T]):
    """Decorate a function without arguments so that every call returns what the first one did.

    The function may call others decorated so. After an exception the next call runs it again.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        functools.update_wrapper(self, make)
        self._make = make
        self._made: tuple[T, ...] = ()
        # One lock per value, so that a slow value does not delay another.
        self._lock = threading.RLock()

    def __call__(self) -> T:
        made = self._made
        if not made:
            with self._lock:
                made = self._made = self._made or (self._make(),)
        return made[0]

    def cache_clear(self) -> None:
        """Forget the value; the next call computes it again."""
        with self._lock:
            self._made = ()
