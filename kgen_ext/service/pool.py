"""Pool of loaded models: one stays resident, or more by a setting, and each is loaded only once.

The same weights under two names are one model. A model in use is never closed before its users have returned it.
"""
from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from kgen_ext.errors import BadValue
from kgen_ext.models import ModelFiles
from kgen_ext.service.engines import open_files

if TYPE_CHECKING:
    from kgen_ext.service.expander import Expander


class Opener(Protocol):
    """Function that opens an expander, such as `open_files`."""

    def __call__(self, files: ModelFiles, *, engine: str, device: str, threads: int | None) -> Expander: ...


@dataclass(frozen=True, slots=True)
class Resident:
    """A loaded model. checksum: of its weights. in_use: number of current users."""

    model: str
    engine: str
    device: str
    checksum: str
    in_use: int


_Key = tuple[str, str, str, "int | None"]


@dataclass(slots=True)
class _Entry:
    """A model that is loaded or being loaded (`expander` None). doomed: to be closed when its last user returns it."""

    key: _Key
    expander: Expander | None = None
    users: int = 0
    used_at: float = 0.0
    doomed: bool = False
    timer: threading.Timer | None = field(default=None, repr=False)

    @property
    def is_idle(self) -> bool:
        """Return whether it is loaded and has no user."""
        return self.expander is not None and not self.users


class Pool:
    """Lends expanders. Thread-safe; no model is opened or closed while the pool's lock is held."""

    def __init__(
        self,
        *,
        size: int = 1,
        idle_seconds: float | None = None,
        open: Opener = open_files,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """size: models kept loaded. idle_seconds: after which an unused one is closed; None for never."""
        if size < 1:
            raise BadValue("size", size, "a whole number from 1")
        self._size = size
        self._idle = idle_seconds
        self._open = open
        self._clock = clock
        self._changed = threading.Condition()
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()

    def configure(self, *, size: int, idle_seconds: float | None) -> None:
        """Change the settings; a surplus model is closed at once if it is idle, else when it is returned."""
        with self._changed:
            self._size, self._idle = size, idle_seconds
            gone = self._surplus()
        _close(gone)

    @contextmanager
    def lease(
        self, files: ModelFiles, *, engine: str = "auto", device: str = "auto", threads: int | None = None
    ) -> Iterator[Expander]:
        """Yield an expander, opened if it is not loaded; several users may hold it at once and take turns.

        An idle model beyond the pool's size is closed first, so that two need not fit in memory; one in use is closed
        when it is returned. Raises what opening raises; a failure leaves nothing behind.
        """
        key = (files.checksum(), engine, device, threads)
        entry = self._take(key, files)
        try:
            assert entry.expander is not None
            yield entry.expander
        finally:
            self._return(entry)

    def unload(self) -> int:
        """Close every model; return how many were closed at once (one in use is closed when it is returned)."""
        with self._changed:
            for entry in self._entries.values():
                entry.doomed = True
            gone = self._surplus()
        _close(gone)
        return len(gone)

    def resident(self) -> tuple[Resident, ...]:
        """Return the loaded models, the most recently used last."""
        with self._changed:
            return tuple(
                Resident(entry.expander.model, entry.expander.engine, entry.key[2], entry.key[0], entry.users)
                for entry in self._entries.values()
                if entry.expander is not None
            )

    def sweep(self) -> int:
        """Close the models idle for longer than `idle_seconds`; return how many."""
        with self._changed:
            late = self._clock() - (self._idle if self._idle is not None else float("inf"))
            for entry in self._entries.values():
                if entry.is_idle and entry.used_at <= late:
                    entry.doomed = True
            gone = self._surplus()
        _close(gone)
        return len(gone)

    def close(self) -> None:
        """Close every model; the pool can still be used afterwards."""
        self.unload()

    def _take(self, key: _Key, files: ModelFiles) -> _Entry:
        with self._changed:
            while (entry := self._entries.get(key)) is not None and (entry.expander is None or entry.doomed):
                if entry.doomed and entry.expander is not None:
                    entry.doomed = False  # wanted again before it was returned
                    break
                self._changed.wait()  # another thread is loading it
            if entry is not None:
                _lend(entry)
                self._entries.move_to_end(key)
                return entry
            entry = self._entries[key] = _Entry(key, users=1)
            gone = self._surplus()
        _close(gone)
        _, engine, device, threads = key
        try:
            expander = self._open(files, engine=engine, device=device, threads=threads)
        except BaseException:
            with self._changed:
                del self._entries[key]
                self._changed.notify_all()  # a waiting thread tries for itself
            raise
        with self._changed:
            entry.expander = expander
            self._changed.notify_all()
        return entry

    def _return(self, entry: _Entry) -> None:
        with self._changed:
            entry.users -= 1
            entry.used_at = self._clock()
            gone = self._surplus()
            if self._idle is not None and not entry.users and entry not in gone:
                entry.timer = threading.Timer(self._idle + 0.01, self.sweep)
                entry.timer.daemon = True
                entry.timer.start()
        _close(gone)

    def _surplus(self) -> list[_Entry]:
        """Take out the idle entries that are doomed or beyond the size: least recently used first, the newest never."""
        gone = [entry for entry in self._entries.values() if entry.doomed and entry.is_idle]
        for entry in gone:
            del self._entries[entry.key]
        for entry in list(self._entries.values())[:-1]:
            if len(self._entries) <= self._size:
                break
            if entry.is_idle:
                del self._entries[entry.key]
                gone.append(entry)
        return gone


def _lend(entry: _Entry) -> None:
    entry.users += 1
    if entry.timer is not None:
        entry.timer.cancel()
        entry.timer = None


def _close(entries: list[_Entry]) -> None:
    for entry in entries:
        if entry.timer is not None:
            entry.timer.cancel()
        if entry.expander is not None:
            entry.expander.close()
