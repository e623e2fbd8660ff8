"""A cache of finished rows: a request repeated to the same weights is answered without decoding.

The key holds everything that a row's text depends on. Cancelled rows are not kept.
"""
from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace

from kgen_ext.events import Expansion, Finish
from kgen_ext.service.plan import ResolvedRequest


@dataclass(frozen=True, slots=True)
class Key:
    """Everything a row depends on. request: of this row alone, with count 1 and its own seed."""

    request: ResolvedRequest
    tag_file: str
    checksum: str
    engine: str
    version: str


class ResultCache:
    """The `size` rows used most recently. Thread-safe."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rows: OrderedDict[Key, Expansion] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key, *, row: int) -> Expansion | None:
        """Return the remembered expansion with its row number replaced, or None."""
        with self._lock:
            found = self._rows.get(key)
            if found is None:
                return None
            self._rows.move_to_end(key)
        return replace(found, row=row)

    def put(self, key: Key, expansion: Expansion) -> None:
        """Remember a finished row, and forget the least recently used one where there are too many."""
        if expansion.finish is Finish.CANCELLED:
            return
        with self._lock:
            self._rows[key] = expansion
            self._rows.move_to_end(key)
            while len(self._rows) > self._size:
                self._rows.popitem(last=False)
