"""One file from the hub to its final name, whole or not at all: resumed, checked, then renamed.

Refuses to know models. While it comes it lies in a workshop on the same disk:

    <name>.<checksum's first 16>.part     what is there so far; a later try goes on from its end
    <name>.lock                           held while somebody downloads it

The disk that models are kept on: room for them, and what its errors mean for the user.

Refuses to know what is written.

Gets a model of the catalogue onto this machine: asks the hub, then fetches each file into our own folder.

Refuses to begin by itself: somebody clicked or typed a command. Offline it asks nothing of the network and says so.
Files are named as z-tipo-extension names its own, `<id>_<file>`; a folder of safetensors is `<id>/`, its weights last.
"""
from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from kgen_ext.errors import Cancelled, DownloadError, UserError
from kgen_ext.models.hub import Broken, Hub, NotThere, Remote, is_offline, offline_error
from kgen_ext.models.lock import FileLock
from kgen_ext.models.progress import DownloadProgress, Meter, size_text
from kgen_ext.models.schema import Model, ModelFile, relative_path

_RESERVE = 64_000_000  # bytes that stay free: a full system disk hurts more than a missing model


def require_space(folder: Path, need: int) -> None:
    """Raise DownloadError unless `need` more bytes fit on the folder's disk."""
    free = shutil.disk_usage(folder).free
    if need > 0 and free < need + _RESERVE:
        raise DownloadError(
            f"{folder}: not enough room: {size_text(need)} are needed, {size_text(free)} are free",
            hint="free some, or choose another disk with KGEN_MODELS_DIR",
        )


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Map what the system says of a folder it cannot write to DownloadError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None)):
            raise DownloadError(
                f"{folder}: the disk is full", hint="free some room; the download goes on where it stopped"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise DownloadError(
                f"{error.filename or folder}: cannot be written: {error.strerror}",
                hint="is it read-only, or in use? KGEN_MODELS_DIR names another folder",
            ) from error
        raise DownloadError(f"{error.filename or folder}: {error.strerror or error}", hint="check the disk") from error


_TRIES = 4  # in a row without a new byte
_BLOCK = 1 << 20
_PERIOD = 0.1  # seconds between two reports


class Checksum:
    """The checksum of bytes that are added bit by bit, against what the hub says."""

    def __init__(self, remote: Remote) -> None:
        self._wanted = remote.sha256 or remote.sha1
        self._size, self._left = remote.size, remote.size
        self._digest = hashlib.sha256() if remote.sha256 else hashlib.sha1(b"blob %d\0" % remote.size)

    def add(self, block: bytes) -> None:
        """Take the next bytes in."""
        self._left -= len(block)
        self._digest.update(block)

    def agrees(self) -> bool:
        """Tell whether size and checksum are the hub's."""
        return self._left == 0 and self._wanted in ("", self._digest.hexdigest())


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

    def steps(self) -> Iterator[DownloadProgress]:
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

    def _wait(self, lock: FileLock) -> Iterator[DownloadProgress]:
        while not lock.take():
            self._stop_if_cancelled()
            holder = lock.holder()
            who = f"process {holder}" if holder and holder != str(os.getpid()) else "another download"
            yield self._meter.at(min(self._have(), self._remote.size), stage="waiting", note=f"{who} is fetching it")
            self._sleep(0.3)

    def _transfer(self) -> Iterator[DownloadProgress]:
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

    def _receive(self) -> Iterator[DownloadProgress]:
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

    def _read_from(self, have: int) -> Iterator[DownloadProgress]:
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

    def _check(self, path: Path) -> Generator[DownloadProgress, None, bool]:
        """Read a file and return whether it is the hub's."""
        if path.stat().st_size != self._remote.size:
            return False
        total, done, due = Checksum(self._remote), 0, 0.0
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


PARTIAL_DIR = ".downloads"
_NEEDED = ("config.json",)
_TOKENIZERS = ("tokenizer.json", "tokenizer.model")


@dataclass(frozen=True, slots=True)
class DownloadPlan:
    """What a download would fetch: the facts to show before somebody says yes."""

    model: Model
    file: ModelFile
    target: Path
    parts: tuple[tuple[Remote, Path], ...]

    @property
    def size(self) -> int:
        """Return the bytes of all its files."""
        return sum(remote.size for remote, _ in self.parts)


def plan_download(
    model: Model, file: ModelFile, *, to: Path, hub: Hub | None = None, offline: bool | None = None
) -> DownloadPlan:
    """Ask the hub for sizes and checksums; nothing is written. Raises DownloadError, UserError.

    to: our own folder. offline: None for what the environment says.
    """
    if not model.repo:
        raise UserError(f"model: {model.id} has no repository to download from", hint="put its file into the folder")
    if is_offline() if offline is None else offline:
        raise offline_error(model.id)
    hub = hub or Hub()
    target = target_of(model, file, to)
    if file.kind == "gguf":
        remote = _pinned(hub.look_up(model.repo, file.path, model.revision), file)
        return DownloadPlan(model, file, target, ((remote, target),))
    parts = []
    for name in file.companions:
        try:
            parts.append((hub.look_up(model.repo, _beside(file.path, name), model.revision), target / name))
        except NotThere:
            if name in _NEEDED:
                raise
    if not any(path.name in _TOKENIZERS for _, path in parts):
        raise DownloadError(f"{model.repo}: holds no tokenizer", hint="download its GGUF instead")
    weights = _pinned(hub.look_up(model.repo, file.path, model.revision), file)
    return DownloadPlan(model, file, target, (*parts, (weights, target / file.name)))


def run_download(
    order: DownloadPlan, *, to: Path, hub: Hub | None = None, cancelled: Callable[[], bool] = lambda: False,
    sleep: Callable[[float], None] = time.sleep,
) -> Generator[DownloadProgress, None, None]:  # fmt: skip
    """Fetch what was ordered, as steps; the last one has the path. Raises DownloadError, Cancelled."""
    hub = hub or Hub()
    fetches = [
        Fetch(hub, remote, path, workshop=to / PARTIAL_DIR, key="_".join(path.relative_to(to).parts),
              cancelled=cancelled,
              sleep=sleep)
        for remote, path in order.parts
    ]  # fmt: skip
    with disk_errors(to):
        to.mkdir(parents=True, exist_ok=True)
        require_space(to, sum(fetch.missing() for fetch in fetches))
    before = 0
    for fetch, (remote, _) in zip(fetches, order.parts, strict=True):
        for step in fetch.steps():
            left = step.left and step.left + (order.size - before - remote.size) / (step.speed or 1.0)
            yield replace(step, done=before + step.done, total=order.size, left=left)
        before += remote.size
    yield DownloadProgress("done", order.target.name, order.size, order.size, path=order.target)


def target_of(model: Model, file: ModelFile, to: Path) -> Path:
    """Return the final path of a model's file below our own folder, which it never leaves."""
    name = model.id if file.kind == "safetensors" else f"{model.id}_{file.name}"
    return to / relative_path(name)


def _beside(path: str, name: str) -> str:
    folder, slash, _ = path.rpartition("/")
    return f"{folder}{slash}{name}"


def _pinned(remote: Remote, file: ModelFile) -> Remote:
    """Return what the hub says if it is what the catalogue knows; raises DownloadError."""
    told = (remote.sha256, remote.size)
    known = (file.sha256 or remote.sha256, file.size or remote.size)
    if told != known:
        raise DownloadError(
            f"{remote.url}: the hub has another file there than the catalogue knows", hint="update KGen, or tell us"
        )
    return remote
