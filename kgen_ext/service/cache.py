"""Remembers finished rows: the same request to the same weights is answered at once.

Knows nothing of decoding; the key says all that a row's text depends on. Cancelled rows are never kept.
"""
from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace

from kgen_ext.events import Expansion, Finish
from kgen_ext.service.plan import ResolvedRequest


@dataclass(frozen=True, slots=True)
class Key:
    """A row by all it depends on; `request` asks for this row alone (count 1, its own seed)."""

    request: ResolvedRequest
    tag_file: str
    checksum: str
    engine: str
    version: str


class ResultCache:
    """The `size` rows used last. Safe for several threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rows: OrderedDict[Key, Expansion] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key, *, row: int) -> Expansion | None:
        """Return the expansion under this row's number, or None."""
        with self._lock:
            found = self._rows.get(key)
            if found is None:
                return None
            self._rows.move_to_end(key)
        return replace(found, row=row)

    def put(self, key: Key, expansion: Expansion) -> None:
        """Remember a finished row, forgetting the one not asked for longest."""
        if expansion.finish is Finish.CANCELLED:
            return
        with self._lock:
            self._rows[key] = expansion
            self._rows.move_to_end(key)
            while len(self._rows) > self._size:
                self._rows.popitem(last=False)
