"""What is done to our own folder besides downloads: removing a model, and putting a quantised one beside it.

Refuses to touch a file outside of it: other extensions' folders and the hub's cache are theirs.
"""
from __future__ import annotations

import os
from pathlib import Path

from kgen_ext.catalogue.disk import disk_errors, require_space
from kgen_ext.catalogue.download import WORKSHOP
from kgen_ext.catalogue.entries import COMPANIONS
from kgen_ext.catalogue.found import Found
from kgen_ext.catalogue.gguf_head import read_gguf_head
from kgen_ext.catalogue.lock import FileLock
from kgen_ext.catalogue.places import Places
from kgen_ext.errors import ModelFileError, UserError


def remove(found: Found, places: Places) -> int:
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


def remove_parts(name: str, places: Places) -> int:
    """Delete what unfinished downloads of a model have left and return the bytes that were freed."""
    freed = 0
    workshop = places.own / WORKSHOP
    with disk_errors(places.own):
        for path in sorted(workshop.glob("*.part")) if workshop.is_dir() else ():
            if path.name.startswith(f"{name}_"):
                freed += path.stat().st_size
                path.unlink()
    return freed


def quantised_path(found: Found, places: Places) -> Path:
    """Return where the Q8_0 form of a model is kept: beside our own files, whosever folder the model is in."""
    return places.own / f"{found.id}_{found.id}-Q8_0.gguf"


def quantise_model(found: Found, places: Places, *, threads: int | None = None) -> Path:
    """Write the Q8_0 form of an installed F16 GGUF and return its path; the final name appears when it is whole."""
    from kgen_ext.engines.quantise import quantise

    if found.is_folder or found.variant not in ("F16", "BF16", "F32"):
        raise UserError(f"{found.name}: only an F16 GGUF can be quantised", hint="download the F16 file first")
    target = quantised_path(found, places)
    if target.exists():
        raise UserError(f"{target}: is there already", hint=f"use the model {found.id}:Q8_0")
    workshop = places.own / WORKSHOP
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
