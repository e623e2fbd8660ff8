"""Known tags: a tag file in the CSV format that a1111-sd-webui-tagcomplete ships and users have on disk.

    name,category,posts,"alias,alias"      1girl,0,6008644,"1girls,sole_female"

UTF-8; a header is optional and skipped; posts and aliases may be missing; the most used tags come first. Aliases that
begin with a slash are shortcuts for typing and are left out. In any other file, the error names the first wrong line.
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
# Of nearly all names in these files normalising only turns underscores into spaces; the rest take the long way.
_PLAIN = re.compile(r"(?!score|source)[!-9;-@\[\]^`-~]+(?:_[!-9;-@\[\]^`-~]+)*")


@dataclass(frozen=True, slots=True)
class KnownTags:
    """Every name and alias of the file, with the tag it stands for, all in written form.

    `version` changes when the file on disk does.
    """

    path: str
    version: str
    _canonical: dict[str, str] = field(repr=False)

    def __len__(self) -> int:
        """Return the number of names, aliases included."""
        return len(self._canonical)

    def __contains__(self, tag: str) -> bool:
        """Return whether the tag exists, by its own name or by an alias."""
        return normalise(tag) in self._canonical

    def resolve(self, tag: str) -> str | None:
        """Return the tag's own name in written form, an alias resolved; None when there is no such tag."""
        return self.find(normalise(tag))

    def find(self, written: str) -> str | None:
        """Do the same for a written form."""
        return self._canonical.get(written)


def load_tag_file(path: str | os.PathLike[str]) -> KnownTags:
    """Read a tag file; raises BadValue when there is none, UserError when it is not one.

    A name goes before an alias of the same spelling, and an alias of two tags stands for the more used one.
    """
    version = _version(os.fspath(path))  # before reading, so that a change in between is noticed next time
    names: dict[str, str] = {}
    aliases: list[tuple[str, str]] = []
    for row in _rows(os.fspath(path)):
        name = _written(row[0])
        name = names.setdefault(name, name)
        if len(row) > 3 and row[3]:
            aliases.append((row[3], name))
    for together, name in aliases:
        for alias in together.split(","):
            if alias and alias[0] != "/":
                names.setdefault(_written(alias), name)
    return KnownTags(str(path), version, names)


class TagFiles:
    """Cache of the last tag file, until it changes on disk. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: KnownTags | None = None

    def load(self, path: str) -> KnownTags:
        """Return the file's tags; raises like `load_tag_file`."""
        with self._lock:
            if self._last is None or (self._last.path, self._last.version) != (path, _version(path)):
                self._last = load_tag_file(path)
            return self._last


def _version(path: str) -> str:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ""  # reading it raises the error
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


def _written(name: str) -> str:
    if len(name) >= 4 and _PLAIN.fullmatch(name):
        return name.replace("_", " ")
    return normalise(name)
