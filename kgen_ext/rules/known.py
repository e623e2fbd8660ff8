"""The tags that exist, by a tag file: the CSV that a1111-sd-webui-tagcomplete ships and users have on disk.

Refuses to guess: a file that is not such a list is an error that says where it stops being one.

    name,category,posts,"alias,alias"      1girl,0,6008644,"1girls,sole_female"

UTF-8, no header needed (one is skipped), posts and aliases may be missing, most used tags first. Aliases that begin
with a slash are shortcuts for typing and are left out.
"""
from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from kgen_ext.errors import BadValue, UserError
from kgen_ext.tags.canonical import normalise

MAX_BYTES = 200_000_000
_HINT = 'each line is name,category,posts,"aliases", as in the tag files of a1111-sd-webui-tagcomplete'
# Nearly all names of these files need no more than their underscores made spaces; the rest go the long way.
_PLAIN = re.compile(r"(?!score|source)[!-9;-@\[\]^`-~]+(?:_[!-9;-@\[\]^`-~]+)*")


@dataclass(frozen=True, slots=True)
class KnownTags:
    """Every spelling that the file knows, with the tag it stands for; all in normal form.

    `version` differs when the file on disk was changed.
    """

    path: str
    version: str
    _canonical: dict[str, str] = field(repr=False)

    def __len__(self) -> int:
        """Return how many spellings there are, aliases included."""
        return len(self._canonical)

    def __contains__(self, tag: str) -> bool:
        """Tell whether the tag exists, by its own name or by an alias."""
        return normalise(tag) in self._canonical

    def resolve(self, tag: str) -> str | None:
        """Return the tag's own name in normal form, an alias resolved; None when there is no such tag."""
        return self._canonical.get(normalise(tag))


def load_tag_file(path: str | os.PathLike[str]) -> KnownTags:
    """Read a tag file; raises BadValue when there is none, UserError when it is not one.

    A name goes before an alias of the same spelling, and an alias of two tags is the more used one's.
    """
    version = _version(os.fspath(path))  # before reading: a change in between is then seen the next time
    names: dict[str, str] = {}
    aliases: list[tuple[str, str]] = []
    for row in _rows(os.fspath(path)):
        name = _normal(row[0])
        name = names.setdefault(name, name)
        if len(row) > 3 and row[3]:
            aliases.append((row[3], name))
    for together, name in aliases:
        for alias in together.split(","):
            if alias and alias[0] != "/":
                names.setdefault(_normal(alias), name)
    return KnownTags(str(path), version, names)


class TagFiles:
    """Keeps the tag file read last for as long as it stays the same on disk. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: KnownTags | None = None

    def load(self, path: str) -> KnownTags:
        """Return the file's tags; raises as `load_tag_file` does."""
        with self._lock:
            if self._last is None or (self._last.path, self._last.version) != (path, _version(path)):
                self._last = load_tag_file(path)
            return self._last


def _version(path: str) -> str:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ""  # reading it says what is wrong
    return f"{found.st_size}:{found.st_mtime_ns}"


def _rows(path: str) -> Iterator[list[str]]:
    import csv

    try:
        if os.stat(path).st_size > MAX_BYTES:
            raise UserError(f"tag_file: {path} is larger than {MAX_BYTES // 1_000_000} MB", hint=_HINT)
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            found = False
            for row in reader:
                if not row or not row[0].strip():
                    continue
                if len(row) < 2 or not _is_number(row[1]) or (len(row) > 2 and row[2] and not _is_number(row[2])):
                    if reader.line_num == 1 and len(row) > 1:
                        continue  # a header
                    raise UserError(f"tag_file: {path} is not a tag file: line {reader.line_num}", hint=_HINT)
                found = True
                yield row
            if not found:
                raise UserError(f"tag_file: {path} holds no tags", hint=_HINT)
    except FileNotFoundError:
        raise BadValue("tag_file", path, "the path of a file that exists") from None
    except IsADirectoryError:
        raise BadValue("tag_file", path, "the path of a file, not of a folder") from None
    except UnicodeDecodeError as error:
        raise UserError(f"tag_file: {path} is not UTF-8: byte {error.start} of a block", hint=_HINT) from error
    except csv.Error as error:
        raise UserError(f"tag_file: {path} is not a tag file: {error}", hint=_HINT) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise UserError(f"tag_file: {path} cannot be read: {error}", hint="check the path and permissions") from error


def _is_number(text: str) -> bool:
    return text.strip().lstrip("-").isdecimal()


def _normal(name: str) -> str:
    if len(name) >= 4 and _PLAIN.fullmatch(name):
        return name.replace("_", " ")
    return normalise(name)
