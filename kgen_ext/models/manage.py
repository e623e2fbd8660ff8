"""Management of installed models: removing them, quantising them, and checking them for damage.

Only our own folder is ever changed; the folders of other extensions and the hub's cache are theirs.

A model is checked against the checksum of the catalogue, of the hub's cache or of the hub. Where none is known (the
user's own file, one that was quantised here, offline) only its head is read, and the result says so.
"""
from __future__ import annotations

import os
import re
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

from kgen_ext.engines.checkpoint import find_tensors, read_shape
from kgen_ext.errors import Cancelled, DownloadError, ModelFileError, UserError
from kgen_ext.models.download import PARTIAL_DIR, compare_checksum, disk_errors, require_space
from kgen_ext.models.hub import Hub, RemoteFile, is_offline
from kgen_ext.models.locations import Locations
from kgen_ext.models.progress import DownloadProgress, Meter
from kgen_ext.models.scan import STARTER, FoundModel, read_gguf_head
from kgen_ext.models.schema import COMPANIONS, ModelFile


def remove_model(found: FoundModel, locations: Locations) -> int:
    """Delete an installed model from our own folder and return the number of bytes freed; raises UserError.

    Of a folder only the model's own files are deleted, and the folder itself if it is empty then.
    """
    inside = found.path.parent.resolve().is_relative_to(locations.own.resolve())
    if not found.ours or not inside or found.path.resolve() == locations.own.resolve():
        raise UserError(f"{found.path}: not in our own folder {locations.own}, so it stays", hint="remove it by hand")
    names = sorted({*COMPANIONS, "model.safetensors.index.json"})
    files = [*found.path.glob("*.safetensors"), *(found.path / name for name in names)] if found.is_folder else []
    freed = 0
    with disk_errors(locations.own):
        for path in [path for path in files if path.is_file() or path.is_symlink()] or [found.path]:
            freed += path.lstat().st_size
            path.unlink()
        if found.is_folder and not any(found.path.iterdir()):
            found.path.rmdir()
    return freed


def remove_parts(name: str, locations: Locations) -> int:
    """Delete what unfinished downloads of a model left behind and return the number of bytes freed."""
    freed = 0
    folder = locations.own / PARTIAL_DIR
    with disk_errors(locations.own):
        for path in sorted(folder.glob("*.part")) if folder.is_dir() else ():
            if path.name.startswith(f"{name}_"):
                freed += path.stat().st_size
                path.unlink()
    return freed


def quantised_path(found: FoundModel, locations: Locations) -> Path:
    """Return the path of a model's Q8_0 form: in our own folder, wherever the model itself is."""
    return locations.own / f"{found.id}_{found.id}-Q8_0.gguf"


def quantise_model(found: FoundModel, locations: Locations, *, threads: int | None = None) -> Path:
    """Write the Q8_0 form of an installed F16 GGUF and return its path; a failure leaves no partial file."""
    from kgen_ext.engines.weights import quantise

    if found.is_folder or found.variant not in ("F16", "BF16", "F32"):
        raise UserError(f"{found.name}: only an F16 GGUF can be quantised", hint="download the F16 file first")
    target = quantised_path(found, locations)
    if target.exists():
        raise UserError(f"{target}: is there already", hint=f"use the model {found.id}:Q8_0")
    # One per process: two that quantise the same model write one each, and either is complete when it is renamed.
    # Named unlike the parts of downloads, which a download of the same file clears away.
    part = locations.own / PARTIAL_DIR / f"{target.stem}.{os.getpid()}.quantise.part"
    with disk_errors(locations.own):
        part.parent.mkdir(parents=True, exist_ok=True)
        require_space(locations.own, found.path.stat().st_size * 17 // 32)  # 34 bytes for 32 numbers of 2 bytes
        try:
            quantise(found.path, part, threads=threads)
            if read_gguf_head(part).quant != "Q8_0":
                raise ModelFileError(f"{part}: llama.cpp wrote something else", hint="update llama-cpp-python")
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
    return target


@dataclass(frozen=True, slots=True)
class Integrity:
    """Result of a check. reason: what the file was compared with, or what is wrong with it."""

    intact: bool
    reason: str


def verify_steps(
    found: FoundModel,
    *,
    hub: Hub | None = None,
    offline: bool | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Generator[DownloadProgress, None, Integrity]:
    """Check an installed model: yield the progress, return an Integrity. Raises Cancelled.

    hub: asked where no checksum is known here; None for the client's own. offline: None for what the environment says.
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

    def stop_if_cancelled() -> None:
        if cancelled():
            raise Cancelled(f"{weights.name}: stopped", hint="nothing was changed")

    meter = Meter(weights.name, remote.size)
    if not (yield from compare_checksum(weights, remote, meter=meter, on_block=stop_if_cancelled)):
        return Integrity(False, f"{weights}: its checksum is not the one {source} says")
    return Integrity(True, f"SHA-256 {remote.sha256[:16]}... as {source} says")


def _reference(found: FoundModel, weights: Path, hub: Hub | None, offline: bool) -> tuple[RemoteFile | None, str]:
    """Return what the file should be and the source of that; None and the reason if it is not known."""
    size = weights.stat().st_size
    blob = weights.resolve().name
    if "blobs" in weights.resolve().parts and re.fullmatch(r"[0-9a-f]{64}", blob):  # the cache names it by its checksum
        return RemoteFile("", size, blob, ""), "the cache"
    file = _catalogued(found, weights)
    if found.model is None or file is None:
        return None, "a file of your own"
    if file.sha256:
        return RemoteFile("", file.size or size, file.sha256, ""), "the catalogue"
    if not found.model.repo:
        return None, "it ships with KGen" if found.id == STARTER else "a file of your own"
    if offline:
        return None, "offline"
    try:
        return (hub or Hub()).look_up(found.model.repo, file.path, found.model.revision), "the hub"
    except DownloadError as error:
        return None, f"the hub could not be asked: {error.message}"


def _damage(path: Path) -> str:
    """Return what is wrong with a GGUF file by its head, or "" if nothing is."""
    from kgen_ext.engines.gguf import check_tensors

    try:
        check_tensors(path)
    except ModelFileError as error:
        return error.message
    return ""


def _catalogued(found: FoundModel, weights: Path) -> ModelFile | None:
    """Return the catalogue's file that this one is a copy of, by its name; a file quantised here has another name."""
    files = found.model.files if found.model else ()
    names = {file: {file.name, f"{found.id}_{file.name}"} for file in files if file.variant == found.variant}
    return next((file for file, known in names.items() if weights.name in known), None)
