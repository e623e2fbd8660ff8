"""A lock on a file, held against other threads and processes of this machine, that ends with its holder.

Refuses to decide anything by the age of a file: the system itself drops the lock of a process that dies, so none is
ever stale. The file's text says who holds it. On a file system without locks every caller gets one.
"""
from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import BinaryIO

# Windows locks bytes against reading too: lock one that no text reaches.
_BYTE = 1 << 30
_HELD = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
_UNABLE = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)


class FileLock:
    """Take it with `take`, give it back with `release`; as a context manager it gives back what was taken."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def __enter__(self) -> FileLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def take(self) -> bool:
        """Try to take it and tell whether that worked; raises OSError if the file cannot be made."""
        while True:
            file = self._path.open("a+b")
            try:
                if not _lock(file):
                    file.close()
                    return False
                if self._same(file):
                    break
            except BaseException:
                file.close()
                raise
            file.close()  # the last holder removed it between our opening and locking
        file.truncate(0)
        file.write(f"{os.getpid()}\n".encode())
        file.flush()
        self._file = file
        return True

    def holder(self) -> str:
        """Return the number of the process that holds it, or "" if that cannot be read."""
        try:
            return self._path.read_text("ascii", "replace").strip()[:20]
        except OSError:
            return ""

    def release(self) -> None:
        """Give it back, and remove its file."""
        if self._file is None:
            return
        file, self._file = self._file, None
        if sys.platform != "win32":  # while it is held, so that nobody can hold the name we remove
            self._path.unlink(missing_ok=True)
        file.close()

    def _same(self, file: BinaryIO) -> bool:
        if sys.platform == "win32":
            return True  # a file that is open cannot be removed there
        try:
            return os.path.samestat(os.fstat(file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False


def _lock(file: BinaryIO) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(_BYTE)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _UNABLE:
            return True
        if error.errno in _HELD:
            return False
        raise
    return True
