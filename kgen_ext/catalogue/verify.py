"""Whether an installed model is whole: its checksum against the catalogue's, the cache's or the hub's, and its head.

Refuses to repair. Where no checksum is known (a file of the user's own, one quantised here, offline) only the head is
read, and the verdict says so.
"""
from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

from kgen_ext.catalogue.entries import ModelFile
from kgen_ext.catalogue.found import STARTER, Found
from kgen_ext.catalogue.gguf_head import read_gguf_head
from kgen_ext.catalogue.hub import Hub, Remote, is_offline
from kgen_ext.catalogue.progress import Meter, Progress
from kgen_ext.catalogue.sums import Sum
from kgen_ext.engines.checkpoint import find_tensors, read_shape
from kgen_ext.errors import Cancelled, DownloadError, ModelFileError

_BLOCK = 1 << 20
_PERIOD = 0.1


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found out: `whole`, and in `reason` against what."""

    whole: bool
    reason: str


def verify_steps(
    found: Found, *, hub: Hub | None = None, offline: bool | None = None, cancelled: Callable[[], bool] = lambda: False
) -> Generator[Progress, None, Verdict]:
    """Check an installed model, as steps that return a Verdict; raises Cancelled.

    hub: None to ask the client's own, where a checksum is not known here. offline: None for what the environment says.
    """
    if found.problem:
        return Verdict(False, found.problem)
    try:
        if found.is_folder:
            find_tensors(found.path, read_shape(found.path))
        else:
            read_gguf_head(found.path)
    except ModelFileError as error:
        return Verdict(False, error.message)
    weights = found.path / "model.safetensors" if found.is_folder else found.path
    remote, source = _reference(found, weights, hub, is_offline() if offline is None else offline)
    if remote is None:
        if problem := "" if found.is_folder else _damage(weights):
            return Verdict(False, problem)
        return Verdict(True, f"its head reads well; no checksum is known to compare with ({source})")
    if weights.stat().st_size != remote.size:
        return Verdict(False, f"{weights}: {weights.stat().st_size} bytes, {source} says {remote.size}")
    if not (yield from _compare(weights, remote, cancelled)):
        return Verdict(False, f"{weights}: its checksum is not the one {source} says")
    return Verdict(True, f"SHA-256 {remote.sha256[:16]}... as {source} says")


def _reference(found: Found, weights: Path, hub: Hub | None, offline: bool) -> tuple[Remote | None, str]:
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
    from kgen_ext.engines.gguf_weights import check_tensors

    try:
        check_tensors(path)
    except ModelFileError as error:
        return error.message
    return ""


def _catalogued(found: Found, weights: Path) -> ModelFile | None:
    """Return the catalogue's file that this one is a copy of, going by its name; what we quantised has another."""
    files = found.model.files if found.model else ()
    names = {file: {file.name, f"{found.id}_{file.name}"} for file in files if file.variant == found.variant}
    return next((file for file, known in names.items() if weights.name in known), None)


def _compare(path: Path, remote: Remote, cancelled: Callable[[], bool]) -> Generator[Progress, None, bool]:
    total, meter, done, due = Sum(remote), Meter(path.name, remote.size), 0, 0.0
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
