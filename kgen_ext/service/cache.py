"""A cache of decoded rows: a request repeated to the same weights is answered without decoding.

The key holds everything that a row's additions depend on. The format is not part of it, so that another layout of the
same additions decodes nothing either. Cancelled rows are not kept.
"""
from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kgen_ext.events import Finish
from kgen_ext.request import FIELDS

if TYPE_CHECKING:
    from kgen_ext.decoding.row import RowOutput
    from kgen_ext.service.plan import ResolvedRequest


@dataclass(frozen=True, slots=True)
class Key:
    """Everything a row's additions depend on.

    request: of this row alone, as `without_format` returns it. tag_file, own_prior: versions of these files.
    """

    request: ResolvedRequest
    tag_file: str
    own_prior: str
    checksum: str
    engine: str
    version: str


def without_format(request: ResolvedRequest) -> ResolvedRequest:
    """Return a request with the default format, which changes the layout of a result and nothing in it."""
    return replace(request, format=FIELDS["format"].default)


@dataclass(frozen=True, slots=True)
class DecodedRow:
    """What was decoded for a row: an output for each subject of its plan, None where there was none to expand.

    hidden: how many of the user's tags and words the model was not shown.
    """

    outputs: tuple[RowOutput | None, ...]
    hidden: int
    seconds: float

    @property
    def cancelled(self) -> bool:
        """Return whether the caller stopped it."""
        return any(output is not None and output.finish is Finish.CANCELLED for output in self.outputs)


class ResultCache:
    """The `size` rows used most recently. Thread-safe."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rows: OrderedDict[Key, DecodedRow] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> DecodedRow | None:
        """Return what was decoded for a request, or None."""
        with self._lock:
            found = self._rows.get(key)
            if found is not None:
                self._rows.move_to_end(key)
        return found

    def put(self, key: Key, row: DecodedRow) -> None:
        """Remember a row, and forget the least recently used one where there are too many."""
        if row.cancelled:
            return
        with self._lock:
            self._rows[key] = row
            self._rows.move_to_end(key)
            while len(self._rows) > self._size:
                self._rows.popitem(last=False)
