"""A record of the paths that a test touches on the disk: opened, listed, or checked for existence."""
from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# What the interpreter itself tells of, whoever calls it. Asking for a file's state is not among it.
_EVENTS = ("open", "os.listdir", "os.scandir", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.truncate")
_ASKING = ("stat", "lstat", "access", "readlink", "path.exists", "path.lexists", "path.isfile", "path.isdir")
_seen: list[set[str]] = []


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if _seen and event in _EVENTS:
        _note(arguments[0])


def _note(path: Any) -> None:
    if isinstance(path, (str, bytes, os.PathLike)):
        name = os.fsdecode(path)
        if not name.endswith((".py", ".pyc", ".so")):  # the program's own parts come when they are needed
            for paths in _seen:
                paths.add(name)


sys.addaudithook(_hear)


@contextmanager
def watched() -> Iterator[set[str]]:
    """Yield the paths that are touched within; it fills as it goes."""
    paths = set[str]()
    undo: list[tuple[Any, str, Any]] = []
    holders: list[Any] = [os, getattr(pathlib, "_normal_accessor", None)]  # Python 3.10 keeps what it calls by itself
    for holder in holders:
        for name in _ASKING:
            owner, _, last = name.rpartition(".")
            place = getattr(holder, owner, None) if owner else holder
            own = getattr(place, last, None)
            if own is not None:
                undo.append((place, last, own))
                setattr(place, last, _noting(own))
    _seen.append(paths)
    try:
        yield paths
    finally:
        _seen.pop()
        for place, name, own in reversed(undo):
            setattr(place, name, own)


def _noting(own: Callable[..., Any]) -> Callable[..., Any]:
    def call(path: Any, *args: Any, **given: Any) -> Any:
        _note(path)
        return own(path, *args, **given)

    return call
