"""Known tags: Danbooru's, as the built-in table has them, or those of a tag file as of a1111-sd-webui-tagcomplete.

    name,category,posts,"alias,alias"      1girl,0,6008644,"1girls,sole_female"

UTF-8 or UTF-16. Tabs or semicolons may separate the columns; all but the first may be missing; a category is a number
or a word; of the posts nothing is read. A header, blank lines and comments (#) are skipped. The most used tags come
first. Aliases that begin with a slash are shortcuts for typing and are left out. In any other file, the error names the
first wrong line.
"""
from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from kgen_ext.errors import BadValue, UserError
from kgen_ext.tags.canonical import normalise
from kgen_ext.tags.categories import is_known

# What a request says instead of a path: every tag, and the tags of the built-in list.
ANY, DANBOORU = "any", "danbooru"
MAX_BYTES = 200_000_000
# Lines that show how the columns are separated.
_SAMPLE = 200
# What the columns of tag files call a category, besides its number.
_CATEGORIES = frozenset(
    "artist artists character characters contributor copyright copyrights deprecated general invalid lore meta quality"
    " rating series species style".split()
)
# HTML, XML and JSON; no tag begins so.
_NO_TAGS = ("<!doctype", "<html", "<?xml", "<head", "<svg", "{\n", "{\r", '{"', "[{", '["', "[\n", "[\r", "pk\x03\x04")
_HINT = 'each line is name,category,posts,"aliases" or a name alone, as in the tag files of a1111-sd-webui-tagcomplete'
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


class DanbooruTags:
    """The tags of the built-in table of names, and the closed sets; aliases are not among them."""

    version = DANBOORU

    def find(self, written: str) -> str | None:
        """Return a tag's name in written form; None when there is no such tag."""
        return written if is_known(written) else None


def load_tag_file(path: str | os.PathLike[str]) -> KnownTags:
    """Read a tag file; raises BadValue when there is none, UserError when it is not one.

    A name goes before an alias of the same spelling, and an alias of two tags stands for the more used one.
    """
    version = file_version(os.fspath(path))  # before reading, so that a change in between is noticed next time
    names: dict[str, str] = {}
    aliases: list[tuple[str, str]] = []
    for tag, others in _rows(os.fspath(path)):
        name = _written(tag)
        name = names.setdefault(name, name)
        if others:
            aliases.append((others, name))
    for together, name in aliases:
        for alias in together.split(","):
            if (alias := alias.strip()) and alias[0] != "/":
                names.setdefault(_written(alias), name)
    if not names:
        raise UserError(f"tag_file: {path} holds no tags", hint=_HINT)
    return KnownTags(str(path), version, names)


class TagFiles:
    """Cache of the last tag file, until it changes on disk. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: KnownTags | None = None

    def open(self, source: str) -> KnownTags | DanbooruTags | None:
        """Return the tags of a file or of the built-in list, None for any; raises like `load_tag_file`."""
        if source == DANBOORU:
            return DanbooruTags()
        return None if source == ANY else self.load(source)

    def load(self, path: str) -> KnownTags:
        """Return the file's tags; raises like `load_tag_file`."""
        with self._lock:
            if self._last is None or (self._last.path, self._last.version) != (path, file_version(path)):
                self._last = load_tag_file(path)
            return self._last


def file_version(path: str | os.PathLike[str]) -> str:
    """Return what changes when a file does, "" where there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ""  # reading it raises the error
    return f"{found.st_size}:{found.st_mtime_ns}"


def _rows(path: str) -> Iterator[tuple[str, str]]:
    """Yield name and aliases of each line that has a tag."""
    import csv

    text = _read(path)
    begin = text[:200].lstrip().lower()
    if "\0" in text or begin.startswith(_NO_TAGS):
        raise UserError(f"tag_file: {path} is not a tag file: line 1", hint=_HINT)
    lines = text.splitlines(keepends=True)
    reader = csv.reader(lines, delimiter=_separator(lines[:_SAMPLE]))
    found = False
    try:
        for row in reader:
            name = row[0].strip() if row else ""
            listed = len(row) > 1 and _is_category(row[1])
            if not name or (name.startswith("#") and not listed):
                continue
            if not listed and (len(row) > 1 or _is_sentence(name)):
                if not found and len(row) > 1 and not any(_is_category(title) or title.count(" ") > 1 for title in row):
                    found = True  # a header
                    continue
                raise UserError(f"tag_file: {path} is not a tag file: line {reader.line_num}", hint=_HINT)
            found = True
            yield name, ",".join(row[3:])
    except csv.Error as error:
        raise UserError(f"tag_file: {path} is not a tag file: {error}", hint=_HINT) from error


def _read(path: str) -> str:
    try:
        if os.stat(path).st_size > MAX_BYTES:
            raise UserError(f"tag_file: {path} is larger than {MAX_BYTES // 1_000_000} MB", hint=_HINT)
        with open(path, "rb") as file:
            data = file.read()
        return data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except FileNotFoundError:
        raise BadValue("tag_file", path, "the path of a file that exists") from None
    except IsADirectoryError:
        raise BadValue("tag_file", path, "the path of a file, not of a folder") from None
    except UnicodeDecodeError as error:
        raise UserError(f"tag_file: {path} is not UTF-8: byte {error.start}", hint=_HINT) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise UserError(f"tag_file: {path} cannot be read: {error}", hint="check the path and permissions") from error


def _separator(lines: Sequence[str]) -> str:
    """Return the separator by which most lines have a category behind the name."""
    fits = {sign: sum(_is_category(f"{line.rstrip()}{sign}".split(sign)[1]) for line in lines) for sign in ",\t;"}
    return max(fits, key=lambda sign: fits[sign])


def _is_category(text: str) -> bool:
    text = text.strip().lower()
    return text in _CATEGORIES or text.lstrip("-").isdecimal()


def _is_sentence(line: str) -> bool:
    """Return whether a line without a separator is prose."""
    return len(line) > 100 or len(line.split()) > 8 or (line.endswith(".") and line.count(" ") > 2)


def _written(name: str) -> str:
    if len(name) >= 4 and _PLAIN.fullmatch(name):
        return name.replace("_", " ")
    return normalise(name)
