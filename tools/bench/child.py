"""A runtime in a process of its own: memory measured separately, output discarded, no shared globals.

Method calls go through a pipe, one at a time.
"""
from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

from kgen_ext.errors import Failure

PEAK = "peak"


class Child:
    """A long-lived child process that holds what `make` returns; `make` must be importable by name.

    first: a folder from which it imports before all others.
    """

    def __init__(self, make: Callable[..., Any], *arguments: Any, first: Path | None = None) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, arguments), daemon=True)
        path = list(sys.path)
        sys.path[:0] = () if first is None else (str(first),)  # a spawned process begins with this path
        try:
            self._process.start()
        finally:
            sys.path[:] = path
        theirs.close()
        self._receive()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method in the child and return its result. Raises Failure with the child's error."""
        self._pipe.send((method, arguments))
        return self._receive()

    def peak(self) -> int | None:
        """Return the child's peak memory in bytes; None where the system does not report it."""
        found: int | None = self.call(PEAK)
        return found

    def close(self) -> None:
        """End the process. May be called twice."""
        if self._process.is_alive():
            self._pipe.send(None)
            self._process.join(20)
            if self._process.is_alive():
                self._process.terminate()
        self._pipe.close()

    def _receive(self) -> Any:
        try:
            fine, value = self._pipe.recv()
        except EOFError:
            raise Failure("a process of the benchmark ended early", hint="out of memory?") from None
        if not fine:
            raise Failure(f"a process of the benchmark failed: {value}")
        return value


def peak_memory() -> int | None:
    """Return this process's peak resident memory in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux: getrusage would count what the parent held before this process began
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="ascii", errors="replace").splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _serve(pipe: Connection, make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    # The reference and llama.cpp write to both streams from C and Python; results travel by the pipe alone.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    try:
        runtime = make(*arguments)
    except Exception as error:
        pipe.send((False, f"{type(error).__name__}: {error}"))
        return
    pipe.send((True, None))
    while (order := pipe.recv()) is not None:
        method, given = order
        try:
            value = peak_memory() if method == PEAK else getattr(runtime, method)(*given)
            pipe.send((True, value))
        except Exception as error:
            pipe.send((False, f"{type(error).__name__}: {error}"))
