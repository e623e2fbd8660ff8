"""One file from the hub to its final name, whole or not at all: resumed, checked, then renamed.

Refuses to know models. While it comes it lies in a workshop on the same disk:

    <name>.<checksum's first 16>.part     what is there so far; a later try goes on from its end
    <name>.lock                           held while somebody downloads it
"""
from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from kgen_ext.catalogue.disk import disk_errors, require_space
from kgen_ext.catalogue.hub import Broken, Hub, Remote
from kgen_ext.catalogue.lock import FileLock
from kgen_ext.catalogue.progress import Meter, Progress
from kgen_ext.catalogue.sums import Sum
from kgen_ext.errors import Cancelled, DownloadError

_TRIES = 4  # in a row without a new byte
_BLOCK = 1 << 20
_PERIOD = 0.1  # seconds between two reports


class Fetch:
    """The downloading of one file; `steps` does it. `key` names it in the workshop."""

    def __init__(
        self, hub: Hub, remote: Remote, target: Path, *, workshop: Path, key: str,
        cancelled: Callable[[], bool] = lambda: False, sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self._hub, self._remote, self._target = hub, remote, target
        self._cancelled, self._sleep = cancelled, sleep
        self._workshop, self._key = workshop, key
        self._part = workshop / f"{key}.{(remote.sha256 or remote.sha1 or 'plain')[:16]}.part"
        self._meter = Meter(target.name, remote.size)

    def steps(self) -> Iterator[Progress]:
        """Download, check and rename; raises DownloadError, or Cancelled, which keeps what is there."""
        with disk_errors(self._target.parent):
            self._workshop.mkdir(parents=True, exist_ok=True)
            self._target.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self._workshop / f"{self._key}.lock") as lock:
                yield from self._wait(lock)
                if self._target.is_file() and (yield from self._check(self._target)):  # here already, or just now
                    yield self._meter.at(self._remote.size, stage="checking", note="already here")
                    return
                self._clear_others()
                require_space(self._target.parent, self._remote.size - self._have())
                yield from self._transfer()
                os.replace(self._part, self._target)

    def missing(self) -> int:
        """Return how many bytes are neither under the final name nor in the part."""
        there = self._target.stat().st_size if self._target.is_file() else self._have()
        return max(0, self._remote.size - there)

    def _wait(self, lock: FileLock) -> Iterator[Progress]:
        while not lock.take():
            self._stop_if_cancelled()
            holder = lock.holder()
            who = f"process {holder}" if holder and holder != str(os.getpid()) else "another download"
            yield self._meter.at(min(self._have(), self._remote.size), stage="waiting", note=f"{who} is fetching it")
            self._sleep(0.3)

    def _transfer(self) -> Iterator[Progress]:
        # A part from an earlier run may be what is wrong: then once more, from the start.
        for _ in range(2 if self._have() else 1):
            yield from self._receive()
            if (yield from self._check(self._part)):
                return
            self._part.unlink()
        raise DownloadError(
            f"{self._remote.url}: what came has another checksum than the hub says; it was deleted",
            hint="try again; if it stays so, a proxy alters downloads",
        )

    def _receive(self) -> Iterator[Progress]:
        failures = 0
        while (have := self._have()) < self._remote.size:
            try:
                yield from self._read_from(have)
                if self._have() < self._remote.size:
                    raise Broken(f"{self._remote.url}: the connection was cut", hint="try again; it goes on from there")
            except Broken as error:
                failures = 1 if self._have() > have else failures + 1
                if failures >= _TRIES:
                    raise
                yield self._meter.at(self._have(), stage="waiting", note=f"{error.message}; trying again")
                for _ in range(2**failures):
                    self._stop_if_cancelled()
                    self._sleep(0.5)

    def _read_from(self, have: int) -> Iterator[Progress]:
        with self._hub.read(self._remote, start=have) as body, self._part.open("r+b" if have else "wb") as file:
            if body.html:
                raise DownloadError(
                    f"{self._remote.url}: a web page came instead of the file: a proxy or login page stands between",
                    hint="open the address in a browser; HF_ENDPOINT names a mirror",
                )
            if body.start not in (0, have):
                raise Broken(f"{self._remote.url}: the server sent another part than asked", hint="try again")
            file.seek(body.start)
            file.truncate()
            done, due = body.start, 0.0
            for chunk in body.chunks:
                self._stop_if_cancelled()
                done += len(chunk)
                if done > self._remote.size:
                    file.truncate(0)
                    raise DownloadError(f"{self._remote.url}: more came than the hub says it has", hint="try again")
                file.write(chunk)
                if time.monotonic() >= due:
                    yield self._meter.at(done)
                    due = time.monotonic() + _PERIOD
            file.flush()
            os.fsync(file.fileno())

    def _check(self, path: Path) -> Generator[Progress, None, bool]:
        """Read a file and return whether it is the hub's."""
        if path.stat().st_size != self._remote.size:
            return False
        total, done, due = Sum(self._remote), 0, 0.0
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                self._stop_if_cancelled()
                total.add(block)
                done += len(block)
                if time.monotonic() >= due:
                    yield self._meter.at(done, stage="checking")
                    due = time.monotonic() + _PERIOD
        return total.agrees()

    def _have(self) -> int:
        try:
            return self._part.stat().st_size
        except FileNotFoundError:
            return 0

    def _clear_others(self) -> None:
        """Remove parts of other versions of the file, and one of ours that is longer than the file."""
        for path in self._workshop.iterdir():
            if path.suffix == ".part" and path.name.startswith(f"{self._key}.") and path != self._part:
                path.unlink()
        if self._have() > self._remote.size:
            self._part.unlink()

    def _stop_if_cancelled(self) -> None:
        if self._cancelled():
            raise Cancelled(f"{self._target.name}: stopped", hint="what is there is kept; the next download goes on")
