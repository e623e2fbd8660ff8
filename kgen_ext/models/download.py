"""Downloads of models: sizes and checksums are asked for first, then each file is resumed, checked and renamed.

Nothing is downloaded without being asked for, and offline the network is not used. Finished files are named as
z-tipo-extension names its own, `<id>_<file>`; a folder of safetensors is `<id>/`, its weights written last. Unfinished
ones are in the folder `.downloads` beside them:

    <name>.<first 16 digits of the checksum>.part    what has come so far; a later download resumes it
    <name>.lock, <name>.pid                          held while it is being downloaded, and by which process

Checksums are the hub's: SHA-256 of a large file; of a small one git's own, the SHA-1 of "blob SIZE", a zero byte and
the file.
"""
from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from kgen_ext.errors import Cancelled, DownloadError, UserError
from kgen_ext.models.hub import ConnectionFailed, Hub, NotOnHub, RemoteFile, offline_error, offline_switches
from kgen_ext.models.locations import Locations
from kgen_ext.models.progress import DownloadProgress, Meter, size_text
from kgen_ext.models.resolve import find_entry
from kgen_ext.models.scan import find_models
from kgen_ext.models.schema import Model, ModelFile, load_catalogue, relative_path

PARTIAL_DIR = ".downloads"
_REQUIRED = ("config.json",)
_TOKENIZERS = ("tokenizer.json", "tokenizer.model")
_TRIES = 4  # in a row without a new byte
_BLOCK = 1 << 20
_PERIOD = 0.1  # seconds between two reports
_RESERVE = 64_000_000  # bytes that stay free: a full system disk hurts more than a missing model


@dataclass(frozen=True, slots=True)
class DownloadPlan:
    """Files that a download would write, with their sizes: shown before the user agrees."""

    model: Model
    file: ModelFile
    target: Path
    parts: tuple[tuple[RemoteFile, Path], ...]

    @property
    def size(self) -> int:
        """Return the total size in bytes."""
        return sum(remote.size for remote, _ in self.parts)


def plan_download(
    model: Model, file: ModelFile, *, to: Path, hub: Hub | None = None, offline: Sequence[str] | None = None
) -> DownloadPlan:
    """Ask the hub for sizes and checksums; nothing is written. Raises DownloadError, UserError.

    to: our own folder. offline: the switches that are on and forbid it; None for those of the environment.
    """
    if not model.repo:
        raise UserError(f"model: {model.id} has no repository to download from", hint="put its file into the folder")
    if switches := offline_switches() if offline is None else offline:
        raise offline_error(model.id, switches)
    hub = hub or Hub()
    target = target_of(model, file, to)
    if file.kind == "gguf":
        remote = _pinned(hub.look_up(model.repo, file.path, model.revision), file)
        return DownloadPlan(model, file, target, ((remote, target),))
    parts = []
    for name in file.companions:
        try:
            parts.append((hub.look_up(model.repo, _sibling(file.path, name), model.revision), target / name))
        except NotOnHub:
            if name in _REQUIRED:
                raise
    if not any(path.name in _TOKENIZERS for _, path in parts):
        raise DownloadError(f"{model.repo}: holds no tokenizer", hint="download its GGUF instead")
    weights = _pinned(hub.look_up(model.repo, file.path, model.revision), file)
    return DownloadPlan(model, file, target, (*parts, (weights, target / file.name)))


def run_download(
    plan: DownloadPlan, *, to: Path, hub: Hub | None = None, cancelled: Callable[[], bool] = lambda: False,
    sleep: Callable[[float], None] = time.sleep,
) -> Generator[DownloadProgress, None, None]:  # fmt: skip
    """Download the planned files and yield the progress; the last step has the path. Raises DownloadError, Cancelled.

    All steps must be taken in one thread: a lock belongs to the thread that acquired it.
    """
    hub = hub or Hub()
    downloads = [
        FileDownload(
            hub, remote, path, folder=to / PARTIAL_DIR, key="_".join(path.relative_to(to).parts),
            cancelled=cancelled, sleep=sleep,
        )
        for remote, path in plan.parts
    ]  # fmt: skip
    with disk_errors(to):
        to.mkdir(parents=True, exist_ok=True)
        require_space(to, sum(download.missing() for download in downloads))
    before = 0
    for download, (remote, _) in zip(downloads, plan.parts, strict=True):
        for step in download.steps():
            left = step.left and step.left + (plan.size - before - remote.size) / (step.speed or 1.0)
            yield replace(step, done=before + step.done, total=plan.size, left=left)
        before += remote.size
    yield DownloadProgress("done", plan.target.name, plan.size, plan.size, path=plan.target)


def download_steps(
    name: str, locations: Locations, *, offline: Sequence[str] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Generator[DownloadProgress, None, str]:  # fmt: skip
    """Download a model of the catalogue into our own folder; yield the progress, return where it is now.

    name: `ID` or `ID:VARIANT`. Raises UserError for another name, DownloadError, Cancelled.
    """
    known = load_catalogue(locations.user_file)
    model, file = find_download(name, known)
    full_name = f"{model.id}:{file.variant}"
    found = find_models(locations, models=known)
    installed = next((other for other in found if other.name == full_name and not other.problem), None)
    if installed is not None:
        return f"{installed.name} is installed: {installed.path}"
    plan = plan_download(model, file, to=locations.own, offline=offline)
    yield from run_download(plan, to=locations.own, cancelled=cancelled)
    return f"{name} is installed: {plan.target}"


def find_download(name: str, known: Sequence[Model]) -> tuple[Model, ModelFile]:
    """Return the catalogue's entry and file of `ID` or `ID:VARIANT`; raises UserError for what is no download."""
    model = find_entry(name, known)
    file = model.file(name.partition(":")[2]) if model else None
    if model is not None and model.repo and file is None:
        variants = ", ".join(f"{model.id}:{offered.variant}" for offered in model.files)
        raise UserError(f"{name} cannot be downloaded", hint=f"choose {variants}")
    if model is None or file is None or not model.repo:
        hint = "choose a model from the list; the starter and files of your own need no download"
        raise UserError(f"{name} cannot be downloaded", hint=hint)
    return model, file


def target_of(model: Model, file: ModelFile, to: Path) -> Path:
    """Return the final path of a model's file, which is always inside our own folder."""
    name = model.id if file.kind == "safetensors" else f"{model.id}_{file.name}"
    return to / relative_path(name)


def _sibling(path: str, name: str) -> str:
    folder, slash, _ = path.rpartition("/")
    return f"{folder}{slash}{name}"


def _pinned(remote: RemoteFile, file: ModelFile) -> RemoteFile:
    """Return the hub's facts if they are those of the catalogue; raises DownloadError."""
    reported = (remote.sha256, remote.size)
    known = (file.sha256 or remote.sha256, file.size or remote.size)
    if reported != known:
        raise DownloadError(
            f"{remote.url}: the hub has another file there than the catalogue knows", hint="update KGen, or tell us"
        )
    return remote


class FileDownload:
    """Download of one file. folder: where unfinished files are kept; key: the file's name in it."""

    def __init__(
        self, hub: Hub, remote: RemoteFile, target: Path, *, folder: Path, key: str,
        cancelled: Callable[[], bool] = lambda: False, sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self._hub, self._remote, self._target = hub, remote, target
        self._cancelled, self._sleep = cancelled, sleep
        self._folder, self._key = folder, key
        self._part = folder / f"{key}.{(remote.sha256 or remote.sha1 or 'plain')[:16]}.part"
        self._meter = Meter(target.name, remote.size)

    def steps(self) -> Iterator[DownloadProgress]:
        """Download, check and rename; raises DownloadError, or Cancelled, which keeps what has come so far."""
        with disk_errors(self._target.parent):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._target.parent.mkdir(parents=True, exist_ok=True)
            with DownloadLock(self._folder / f"{self._key}.lock") as lock:
                yield from self._wait(lock)
                if self._target.is_file() and (yield from self._check(self._target)):  # here already, or just now
                    yield self._meter.at(self._remote.size, stage="checking", note="already here")
                    return
                self._clear_others()
                require_space(self._target.parent, self._remote.size - self._have())
                yield from self._transfer()
                os.replace(self._part, self._target)

    def missing(self) -> int:
        """Return how many bytes are still to come."""
        there = self._target.stat().st_size if self._target.is_file() else self._have()
        return max(0, self._remote.size - there)

    def _wait(self, lock: DownloadLock) -> Iterator[DownloadProgress]:
        while not lock.acquire():
            self._stop_if_cancelled()
            holder = lock.holder()
            who = f"process {holder}" if holder and holder != str(os.getpid()) else "another download"
            yield self._meter.at(min(self._have(), self._remote.size), stage="waiting", note=f"{who} is fetching it")
            self._sleep(0.3)

    def _transfer(self) -> Iterator[DownloadProgress]:
        # The fault may be in the part of an earlier run: then once more, from the start.
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
                    raise ConnectionFailed(
                        f"{self._remote.url}: the connection was cut", hint="try again; it goes on from there"
                    )
            except ConnectionFailed as error:
                failures = 1 if self._have() > have else failures + 1
                if failures >= _TRIES:
                    raise
                yield self._meter.at(self._have(), stage="waiting", note=f"{error.message}; trying again")
                for _ in range(2**failures):
                    self._stop_if_cancelled()
                    self._sleep(0.5)

    def _read_from(self, have: int) -> Iterator[DownloadProgress]:
        with self._hub.read(self._remote, start=have) as body, self._part.open("r+b" if have else "wb") as file:
            # 1. What comes must be the file, from a place we can write it to.
            if body.html:
                raise DownloadError(
                    f"{self._remote.url}: a web page came instead of the file: a proxy or login page stands between",
                    hint="open the address in a browser; HF_ENDPOINT names a mirror",
                )
            if body.start not in (0, have):
                raise ConnectionFailed(f"{self._remote.url}: the server sent another part than asked", hint="try again")
            file.seek(body.start)
            file.truncate()
            # 2. Write it chunk by chunk, never beyond the size that the hub named.
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
            # 3. A part must survive a power cut as long as its length says.
            file.flush()
            os.fsync(file.fileno())

    def _check(self, path: Path) -> Generator[DownloadProgress, None, bool]:
        if path.stat().st_size != self._remote.size:
            return False
        return (yield from compare_checksum(path, self._remote, meter=self._meter, on_block=self._stop_if_cancelled))

    def _have(self) -> int:
        try:
            return self._part.stat().st_size
        except FileNotFoundError:
            return 0

    def _clear_others(self) -> None:
        """Remove the parts of other versions of the file, and our own if it is longer than the file."""
        for path in self._folder.iterdir():
            if path.suffix == ".part" and path.name.startswith(f"{self._key}.") and path != self._part:
                path.unlink()
        if self._have() > self._remote.size:
            self._part.unlink()

    def _stop_if_cancelled(self) -> None:
        if self._cancelled():
            raise Cancelled(f"{self._target.name}: stopped", hint="what is there is kept; the next download goes on")


class DownloadLock:
    """Lock on the download of one file, among threads and processes; the system releases that of a process that dies.

    Acquire and release it in one thread. Where the file system has no locks, every caller gets it.
    """

    def __init__(self, path: Path) -> None:
        from filelock import FileLock  # comes with huggingface_hub, without which nothing is downloaded

        self._lock = FileLock(str(path))
        # Not in the lock file: while it is locked Windows lets nobody read it, and older filelocks empty it.
        self._holder = path.with_suffix(".pid")

    def __enter__(self) -> DownloadLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self) -> bool:
        """Try to acquire it and return whether that worked; raises OSError if the file cannot be created."""
        from filelock import Timeout

        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return False
        except NotImplementedError:  # no flock on this file system
            return True
        self._holder.write_text(f"{os.getpid()}\n", "ascii")
        return True

    def holder(self) -> str:
        """Return the id of the process that holds it, or "" if that cannot be read."""
        try:
            return self._holder.read_text("ascii", "replace").strip()[:20]
        except OSError:
            return ""

    def release(self) -> None:
        """Release it if it was acquired."""
        if not self._lock.is_locked:
            return
        with suppress(PermissionError):  # Windows, while another process reads it; the next holder overwrites it
            self._holder.unlink(missing_ok=True)
        self._lock.release()


class Checksum:
    """Running checksum of a file's bytes, to compare with the hub's."""

    def __init__(self, remote: RemoteFile) -> None:
        self._wanted = remote.sha256 or remote.sha1
        self._left = remote.size
        self._digest = hashlib.sha256() if remote.sha256 else hashlib.sha1(b"blob %d\0" % remote.size)

    def add(self, block: bytes) -> None:
        """Add the next bytes."""
        self._left -= len(block)
        self._digest.update(block)

    def agrees(self) -> bool:
        """Return whether size and checksum are the hub's."""
        return self._left == 0 and self._wanted in ("", self._digest.hexdigest())


def compare_checksum(
    path: Path, remote: RemoteFile, *, meter: Meter, on_block: Callable[[], None]
) -> Generator[DownloadProgress, None, bool]:
    """Read a file, yield the progress and return whether it is the hub's; `on_block` may raise to stop it."""
    checksum, done, due = Checksum(remote), 0, 0.0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            on_block()
            checksum.add(block)
            done += len(block)
            if time.monotonic() >= due:
                yield meter.at(done, stage="checking")
                due = time.monotonic() + _PERIOD
    return checksum.agrees()


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
    """Raise DownloadError for an OSError met while writing to a folder."""
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
