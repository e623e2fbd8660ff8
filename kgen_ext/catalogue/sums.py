"""Checksums as the hub gives them: SHA-256 of a large file, git's own SHA-1 of a small one.

Refuses to trust a size alone where a checksum is known. Git's is the SHA-1 of "blob SIZE", a zero byte, and the file.
"""
from __future__ import annotations

import hashlib

from kgen_ext.catalogue.hub import Remote


class Sum:
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
