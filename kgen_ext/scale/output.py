"""Output folder of a batch.

    manifest.json          what the parts depend on: another run may add to them only if all of it is the same
    part-00000042.jsonl    the rows of part 42 (or .parquet), in order; it appears when it is complete
    errors.jsonl           the bad rows of all finished parts, {"row", "file", "error"}, in order
    .errors/               the bad rows of each part, from which errors.jsonl is put together
    .part-...tmp           a part that is being written

A file gets its name when all of it is on the disk, and a part's name is given once: whoever comes second discards the
copy.
"""
from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kgen_ext.errors import Failure, UserError
from kgen_ext.events import json_line

MANIFEST, ERRORS = "manifest.json", "errors.jsonl"
_BY_PART = ".errors"
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", None))
_PART = re.compile(r"part-(\d{8,})\.(?:jsonl|parquet)")
_UNFINISHED = re.compile(r"\.part-(\d{8,})\..*\.tmp")


class OutputFolder:
    """A folder of parts. suffix: of their names, such as "jsonl"."""

    def __init__(self, path: str, suffix: str) -> None:
        self._path, self._suffix = Path(path), suffix

    def claim(self, manifest: Mapping[str, Any]) -> None:
        """Make the folder and write the manifest, or check that the one in it is the same. Raises KGenError."""
        with _disk_errors(self._path):
            if self._path.exists() and not self._path.is_dir():
                raise UserError(f"OUTPUT: {self._path} is a file", hint="name a folder")
            self._path.mkdir(parents=True, exist_ok=True)
            file = self._path / MANIFEST
            if not file.exists():
                others = sorted(name for name in os.listdir(self._path) if not name.startswith("."))
                if others:
                    problem = f"OUTPUT: {self._path} holds other files, such as {others[0]}"
                    raise UserError(problem, hint="name a new or empty folder")
                text = json.dumps(manifest, ensure_ascii=False, indent=2) + "\n"
                self._write(MANIFEST, text.encode(), once=True)
            before = _read_manifest(file)
        changed = list(_differences(before, json.loads(json.dumps(manifest))))
        if changed:
            raise UserError(
                f"OUTPUT: {self._path} was begun with {'; '.join(changed)}",
                hint="give the same options to go on, or another folder",
            )

    def finished(self) -> set[int]:
        """Return the numbers of the parts that are there."""
        return {int(found[1]) for found in map(_PART.fullmatch, os.listdir(self._path)) if found}

    def has(self, part: int) -> bool:
        """Return whether a part is there."""
        return (self._path / self._name(part)).exists()

    def write_part(self, part: int, data: bytes, bad: Collection[Mapping[str, Any]]) -> None:
        """Write a part and its bad rows; nothing is changed if it is there. Raises Failure."""
        with _disk_errors(self._path):
            if bad:
                (self._path / _BY_PART).mkdir(exist_ok=True)
                lines = "".join(f"{json_line(row)}\n" for row in bad)
                self._write(f"{_BY_PART}/{_bad_rows(part)}", lines.encode())
            self._write(self._name(part), data, once=True)

    def collect_errors(self) -> None:
        """Write errors.jsonl from the bad rows of the finished parts. Raises Failure."""
        with _disk_errors(self._path):
            folder = self._path / _BY_PART
            seen = None
            while folder.is_dir() and (found := sorted(self._by_part())) != seen:  # another shard may finish meanwhile
                self._write(ERRORS, b"".join((folder / _bad_rows(part)).read_bytes() for part in found))
                seen = found

    def count_errors(self, parts: Collection[int]) -> int:
        """Return how many rows of these parts are bad."""
        folder = self._path / _BY_PART
        if not folder.is_dir():
            return 0
        return sum((folder / _bad_rows(part)).read_bytes().count(b"\n") for part in self._by_part() & set(parts))

    def clear(self, parts: Collection[int]) -> None:
        """Remove what was left behind of parts that were being written when a run was killed."""
        for name in os.listdir(self._path):
            found = _UNFINISHED.fullmatch(name)
            if found and int(found[1]) in parts:
                (self._path / name).unlink(missing_ok=True)

    def _name(self, part: int) -> str:
        return f"part-{part:08d}.{self._suffix}"

    def _by_part(self) -> set[int]:
        found = map(_PART.fullmatch, os.listdir(self._path / _BY_PART))
        return {int(name[1]) for name in found if name} & self.finished()

    def _write(self, name: str, data: bytes, *, once: bool = False) -> None:
        """Write a file under its name when it is complete. once: leave one alone that is there."""
        target = self._path / name
        temporary = self._path / f".{target.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp"
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if not once:
                os.replace(temporary, target)
                return
            try:
                os.link(temporary, target)
            except FileExistsError:
                return  # of the same bytes: a run that was thought dead has written it
            except OSError:  # a file system without hard links
                os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)


def _bad_rows(part: int) -> str:
    return f"part-{part:08d}.jsonl"


def _read_manifest(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text("utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(f"OUTPUT: {file} is not a manifest: {error}", hint="name a new or empty folder") from error


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Yield what differs between two manifests, in words."""
    for name in dict.fromkeys((*before, *now)):
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{path}{name}.")
        elif old != new:
            yield f"{path}{name} {_shown(old)}, not {_shown(new)}"


def _shown(value: Any) -> str:
    return "unset" if value is None else f"{json.dumps(value, ensure_ascii=False):.80}"


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Raise Failure for an OSError met while writing."""
    try:
        yield
    except OSError as error:
        full = error.errno in _FULL
        raise Failure(
            f"{folder}: {'the disk is full' if full else error.strerror or error}",
            hint=f"{'free some room' if full else 'mend it'} and give the command again: it goes on where it was",
        ) from error
