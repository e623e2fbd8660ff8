"""What lives as long as the WebUI's process: the pool of loaded models, and what was expanded lately.

Survives a UI reload, as `kgen_ext` stays in sys.modules. Safe for several threads. Refuses to know jobs and pages; of
the host it knows only where models lie.
"""
from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from kgen_ext.once import once
from kgen_ext.webui.host import current_host
from kgen_ext.webui.settings import read_settings, webui_places

if TYPE_CHECKING:
    from kgen_ext.models import Locations, ModelFiles
    from kgen_ext.service.expander import Expander
    from kgen_ext.service.pool import Pool

# Results kept in mind so that none is expanded again: 32 bytes each, a long day's work.
_REMEMBERED = 20_000


class Session:
    """The state all jobs share. `close` gives the models' memory back; the session can be used on after it."""

    def __init__(
        self, *, places: Callable[[], Locations], pool: Pool | None = None, remembered: int = _REMEMBERED
    ) -> None:
        """places: says where models lie, asked each time, as a download may have added one."""
        self._lock = threading.Lock()
        self._places = places
        self._pool = pool
        self._size = remembered
        self._results: OrderedDict[bytes, None] = OrderedDict()

    @property
    def pool(self) -> Pool:
        """Return the pool of loaded models, made on first use."""
        with self._lock:
            if self._pool is None:
                from kgen_ext.service.pool import Pool

                self._pool = Pool(open=self._open, find=self.find)
            return self._pool

    def find(self, model: str) -> ModelFiles:
        """Return a model's files by its name. A path is no name: names come from pages, APIs and infotexts."""
        from kgen_ext.models import resolve

        return resolve(model, locations=self._places(), paths=False)

    def _open(self, *, model: str, engine: str, device: str, threads: int | None) -> Expander:
        from kgen_ext.service.engines import open_files

        return open_files(self.find(model), engine=engine, device=device, threads=threads)

    def lease(
        self, *, model: str, engine: str = "auto", device: str = "auto", threads: int | None = None
    ) -> AbstractContextManager[Expander]:
        """Return a context manager that yields an expander, loading the model where it is not resident."""
        return self.pool.lease(model=model, engine=engine, device=device, threads=threads)

    def remember(self, prompt: str, *, source: str) -> None:
        """Keep in mind that this prompt is a result; one that is its own source is not (nothing was added)."""
        if prompt == source:
            return
        key = _hash(prompt)
        with self._lock:
            self._results[key] = None
            self._results.move_to_end(key)
            while len(self._results) > self._size:
                self._results.popitem(last=False)

    def wrote(self, prompt: str) -> bool:
        """Say whether a prompt is one of the results lately given."""
        key = _hash(prompt)
        with self._lock:
            return key in self._results

    def unload(self) -> int:
        """Give the memory of all models back; return how many went at once (those in use go when given back)."""
        with self._lock:
            pool = self._pool
        return 0 if pool is None else pool.unload()

    def close(self) -> None:
        """Give everything back and forget."""
        with self._lock:
            pool, self._pool = self._pool, None
            self._results.clear()
        if pool is not None:
            pool.close()


def _hash(prompt: str) -> bytes:
    # White space at the ends and line ends differ after a copy and paste; they are no other prompt.
    text = "\n".join(line.strip() for line in prompt.strip().splitlines())
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


@once
def current() -> Session:
    """Return this process's session."""
    host = current_host()
    return Session(places=lambda: webui_places(host, read_settings(host)))
