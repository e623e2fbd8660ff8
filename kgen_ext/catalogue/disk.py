"""The disk that models are kept on: room for them, and what its errors mean for the user.

Refuses to know what is written.
"""
from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kgen_ext.catalogue.progress import size_text
from kgen_ext.errors import DownloadError

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
