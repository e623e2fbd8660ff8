"""Whether an installed model is whole: its checksum against the catalogue's, the cache's or the hub's, and its head.

Refuses to repair. Where no checksum is known (a file of the user's own, one quantised here, offline) only the head is
read, and the verdict says so.

Checksums as the hub gives them: SHA-256 of a large file, git's own SHA-1 of a small one.

Refuses to trust a size alone where a checksum is known. Git's is the SHA-1 of "blob SIZE", a zero byte, and the file.

What is done to our own folder besides downloads: removing a model, and putting a quantised one beside it.

Refuses to touch a file outside of it: other extensions' folders and the hub's cache are theirs.
"""
from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

from kgen_ext.engines.checkpoint import find_tensors, read_shape
from kgen_ext.errors import Cancelled, DownloadError, ModelFileError, UserError
from kgen_ext.models.download import PARTIAL_DIR, Checksum, disk_errors, require_space
from kgen_ext.models.hub import Hub, Remote, is_offline
from kgen_ext.models.locations import Locations
from kgen_ext.models.lock import FileLock
from kgen_ext.models.progress import DownloadProgress, Meter
from kgen_ext.models.scan import STARTER, FoundModel, read_gguf_head
from kgen_ext.models.schema import COMPANIONS, ModelFile


def remove_model(found: FoundModel, places: Locations) -> int:
    """Delete an installed model from our own folder and return the bytes that were freed; raises UserError.

    Of a folder only the model's own files go, and the folder if nothing else is in it.
    """
    inside = found.path.parent.resolve().is_relative_to(places.own.resolve())
    if not found.ours or not inside or found.path.resolve() == places.own.resolve():
        raise UserError(f"{found.path}: not in our own folder {places.own}, so it stays", hint="remove it by hand")
    names = sorted({*COMPANIONS, "model.safetensors.index.json"})
    files = [*found.path.glob("*.safetensors"), *(found.path / name for name in names)] if found.is_folder else []
    freed = 0
    with disk_errors(places.own):
        for path in [path for path in files if path.is_file() or path.is_symlink()] or [found.path]:
            freed += path.lstat().st_size
            path.unlink()
        if found.is_folder and not any(found.path.iterdir()):
            found.path.rmdir()
    return freed


def remove_parts(name: str, places: Locations) -> int:
    """Delete what unfinished downloads of a model have left and return the bytes that were freed."""
    freed = 0
    workshop = places.own / PARTIAL_DIR
    with disk_errors(places.own):
        for path in sorted(workshop.glob("*.part")) if workshop.is_dir() else ():
            if path.name.startswith(f"{name}_"):
                freed += path.stat().st_size
                path.unlink()
    return freed


def quantised_path(found: FoundModel, places: Locations) -> Path:
    """Return where the Q8_0 form of a model is kept: beside our own files, whosever folder the model is in."""
    return places.own / f"{found.id}_{found.id}-Q8_0.gguf"


def quantise_model(found: FoundModel, places: Locations, *, threads: int | None = None) -> Path:
    """Write the Q8_0 form of an installed F16 GGUF and return its path; the final name appears when it is whole."""
    from kgen_ext.engines.weights import quantise

    if found.is_folder or found.variant not in ("F16", "BF16", "F32"):
        raise UserError(f"{found.name}: only an F16 GGUF can be quantised", hint="download the F16 file first")
    target = quantised_path(found, places)
    if target.exists():
        raise UserError(f"{target}: is there already", hint=f"use the model {found.id}:Q8_0")
    workshop = places.own / PARTIAL_DIR
    part = workshop / f"{target.name}.quantise.part"
    with disk_errors(places.own):
        workshop.mkdir(parents=True, exist_ok=True)
        with FileLock(workshop / f"{target.name}.lock") as lock:
            if not lock.take():
                raise UserError(f"{target.name}: process {lock.holder()} is making it", hint="wait for it")
            require_space(places.own, found.path.stat().st_size * 17 // 32)  # 34 bytes for 32 numbers of 2 bytes
            try:
                quantise(found.path, part, threads=threads)
                if read_gguf_head(part).quant != "Q8_0":
                    raise ModelFileError(f"{part}: llama.cpp wrote something else", hint="update llama-cpp-python")
                os.replace(part, target)
            finally:
                part.unlink(missing_ok=True)
    return target


_BLOCK = 1 << 20
_PERIOD = 0.1


@dataclass(frozen=True, slots=True)
class Integrity:
    """What was found out: `whole`, and in `reason` against what."""

    whole: bool
    reason: str


def verify_steps(
    found: FoundModel,
    *,
    hub: Hub | None = None,
    offline: bool | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Generator[DownloadProgress, None, Integrity]:
    """Check an installed model, as steps that return a Verdict; raises Cancelled.

    hub: None to ask the client's own, where a checksum is not known here. offline: None for what the environment says.
    """
    if found.problem:
        return Integrity(False, found.problem)
    try:
        if found.is_folder:
            find_tensors(found.path, read_shape(found.path))
        else:
            read_gguf_head(found.path)
    except ModelFileError as error:
        return Integrity(False, error.message)
    weights = found.path / "model.safetensors" if found.is_folder else found.path
    remote, source = _reference(found, weights, hub, is_offline() if offline is None else offline)
    if remote is None:
        if problem := "" if found.is_folder else _damage(weights):
            return Integrity(False, problem)
        return Integrity(True, f"its head reads well; no checksum is known to compare with ({source})")
    if weights.stat().st_size != remote.size:
        return Integrity(False, f"{weights}: {weights.stat().st_size} bytes, {source} says {remote.size}")
    if not (yield from _compare(weights, remote, cancelled)):
        return Integrity(False, f"{weights}: its checksum is not the one {source} says")
    return Integrity(True, f"SHA-256 {remote.sha256[:16]}... as {source} says")


def _reference(found: FoundModel, weights: Path, hub: Hub | None, offline: bool) -> tuple[Remote | None, str]:
    """Return what the file should be, and who says so; None and the reason if nobody does."""
    size = weights.stat().st_size
    blob = weights.resolve().name
    if "blobs" in weights.resolve().parts and re.fullmatch(r"[0-9a-f]{64}", blob):  # the cache names it by its sum
        return Remote("", size, blob, ""), "the cache"
    file = _catalogued(found, weights)
    if found.model is None or file is None:
        return None, "a file of your own"
    if file.sha256:
        return Remote("", file.size or size, file.sha256, ""), "the catalogue"
    if not found.model.repo:
        return None, "it ships with KGen" if found.id == STARTER else "a file of your own"
    if offline:
        return None, "offline"
    try:
        return (hub or Hub()).look_up(found.model.repo, file.path, found.model.revision), "the hub"
    except DownloadError as error:
        return None, f"the hub could not be asked: {error.message}"


def _damage(path: Path) -> str:
    """Return what the head of a GGUF file says that does not fit the file, or KGen; "" if nothing."""
    from kgen_ext.engines.gguf import check_tensors

    try:
        check_tensors(path)
    except ModelFileError as error:
        return error.message
    return ""


def _catalogued(found: FoundModel, weights: Path) -> ModelFile | None:
    """Return the catalogue's file that this one is a copy of, going by its name; what we quantised has another."""
    files = found.model.files if found.model else ()
    names = {file: {file.name, f"{found.id}_{file.name}"} for file in files if file.variant == found.variant}
    return next((file for file, known in names.items() if weights.name in known), None)


def _compare(path: Path, remote: Remote, cancelled: Callable[[], bool]) -> Generator[DownloadProgress, None, bool]:
    total, meter, done, due = Checksum(remote), Meter(path.name, remote.size), 0, 0.0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            if cancelled():
                raise Cancelled(f"{path.name}: stopped", hint="nothing was changed")
            total.add(block)
            done += len(block)
            if time.monotonic() >= due:
                yield meter.at(done, stage="checking")
                due = time.monotonic() + _PERIOD
    return total.agrees()
