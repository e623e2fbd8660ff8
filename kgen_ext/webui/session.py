"""State of the WebUI's process that all jobs share: the pool of loaded models, and the recent results.

It survives a UI reload, as `kgen_ext` stays in sys.modules. Thread-safe.
"""
from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from kgen_ext.once import once

if TYPE_CHECKING:
    from kgen_ext.models import ModelFiles
    from kgen_ext.service.expander import Expander
    from kgen_ext.service.pool import Pool

# Results remembered so that none is expanded again: 16 bytes each and their place in a dict, enough for a long day.
_REMEMBERED = 20_000


class Session:
    """Shared state of all jobs. `close` frees the models' memory; the session can still be used afterwards."""

    def __init__(self, *, pool: Pool | None = None, remembered: int = _REMEMBERED) -> None:
        """remembered: the number of results to remember."""
        self._lock = threading.Lock()
        self._pool = pool
        self._size = remembered
        self._results: OrderedDict[bytes, None] = OrderedDict()

    @property
    def pool(self) -> Pool:
        """Return the pool of loaded models, made on first use."""
        with self._lock:
            if self._pool is None:
                from kgen_ext.service.pool import Pool

                self._pool = Pool()
            return self._pool

    def lease(
        self, files: ModelFiles, *, engine: str = "auto", device: str = "auto", threads: int | None = None
    ) -> AbstractContextManager[Expander]:
        """Return a context manager that yields an expander, and loads the model if it is not resident."""
        return self.pool.lease(files, engine=engine, device=device, threads=threads)

    def remember(self, prompt: str, *, source: str) -> None:
        """Remember a prompt as a result, unless it equals its source (nothing was added)."""
        if prompt == source:
            return
        key = _hash(prompt)
        with self._lock:
            self._results[key] = None
            self._results.move_to_end(key)
            while len(self._results) > self._size:
                self._results.popitem(last=False)

    def wrote(self, prompt: str) -> bool:
        """Return whether a prompt is one of the remembered results."""
        key = _hash(prompt)
        with self._lock:
            return key in self._results

    def unload(self) -> int:
        """Free the memory of all models; return how many were closed at once (one in use is closed when returned)."""
        with self._lock:
            pool = self._pool
        return 0 if pool is None else pool.unload()

    def close(self) -> None:
        """Free all memory and forget the results."""
        with self._lock:
            pool, self._pool = self._pool, None
            self._results.clear()
        if pool is not None:
            pool.close()


def _hash(prompt: str) -> bytes:
    # Copying and pasting changes line ends and white space at the ends of lines; the prompt is still the same.
    text = "\n".join(line.strip() for line in prompt.strip().splitlines())
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


@once
def current() -> Session:
    """Return this process's session."""
    return Session()
