"""Values that a process makes once: on first use, by one thread, while the others wait for it.

Refuses to know what they are. `functools.cache` does not wait: of threads that come at once each makes one.
"""
from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class once(Generic[T]):
    """Decorate a function without arguments to return what its first call returned.

    It may call others of its kind. One that raises has made nothing: whoever asks next calls it anew.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        functools.update_wrapper(self, make)
        self._make = make
        self._made: tuple[T, ...] = ()
        # Of this value alone, so that a slow one delays nobody who wants another.
        self._lock = threading.RLock()

    def __call__(self) -> T:
        made = self._made
        if not made:
            with self._lock:
                made = self._made = self._made or (self._make(),)
        return made[0]

    def cache_clear(self) -> None:
        """Forget the value; the next call makes another."""
        with self._lock:
            self._made = ()
