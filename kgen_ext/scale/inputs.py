"""Files of prompts as numbered rows.

    text       a line is a prompt; every line counts, even an empty one
    csv        the first record names the columns, blank lines are no rows; a file named .tsv is separated by tabs
    jsonl      a line is an object, blank lines are no rows
    parquet    needs pyarrow

The rows of all files, ordered by name, are numbered from 0. Text is UTF-8, with or without a byte order mark, and a
line ends in LF, CR LF or CR. Files are read as a stream, from any row on: a position is the byte at which a row begins,
or in Parquet its number in the file.
"""
from __future__ import annotations

import csv
import glob
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from kgen_ext.errors import UserError

_MARK = b"\xef\xbb\xbf"  # byte order mark


class Format(str, Enum):
    """Format of a data set."""

    TEXT = "text"
    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


SUFFIXES = {
    ".txt": Format.TEXT, ".csv": Format.CSV, ".tsv": Format.CSV, ".jsonl": Format.JSONL, ".ndjson": Format.JSONL,
    ".parquet": Format.PARQUET,
}  # fmt: skip


class BadRow(Exception):
    """A row that cannot be expanded; its text says why."""


class Row(NamedTuple):
    """A row of the input: its number, its file, and its values by column, or why it has none."""

    number: int
    file: str
    values: dict[str, Any] | BadRow


@dataclass(frozen=True, slots=True)
class Part:
    """A run of rows: its number, its first row and how many it has, and where the first one is."""

    number: int
    first: int
    rows: int
    file: int
    position: int


def find_files(source: str, given: Format | None = None) -> tuple[tuple[str, ...], Format]:
    """Return the files of a path, a folder or a glob in order of their names, and their format.

    given: the format, where the names do not tell. Of a folder the files with a known ending are taken, without hidden
    ones. Raises UserError.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        inside = [file for file in path.iterdir() if not file.name.startswith(".") and file.is_file()]
        found = [str(file) for file in inside if file.suffix.lower() in SUFFIXES]
    elif path.exists():
        found = [str(path)]
    else:
        found = [file for file in glob.glob(str(path), recursive=True) if os.path.isfile(file)]
    if not found:
        raise UserError(f"INPUT: no files in {source!r:.200}", hint=f"a file, a folder or a glob of {_known()}")
    formats = {SUFFIXES.get(Path(file).suffix.lower()) for file in found} if given is None else {given}
    if None in formats:
        odd = next(file for file in found if Path(file).suffix.lower() not in SUFFIXES)
        raise UserError(f"INPUT: the name of {odd} does not tell its format", hint="say it with --from")
    if len(formats) > 1:
        names = sorted(each.value for each in formats if each)
        raise UserError(f"INPUT: {source} has files of several formats: {', '.join(names)}", hint="use a glob")
    (kind,) = formats
    assert kind is not None
    return tuple(sorted(found)), kind


def divide(files: Sequence[str], kind: Format, size: int) -> list[Part]:
    """Return the parts of `size` rows, the last one shorter; reads everything once. Raises UserError."""
    starts = list[tuple[int, int]]()
    number = 0
    for index, file in enumerate(files):
        with _errors(file):
            for position in _POSITIONS[kind](file):
                if number % size == 0:
                    starts.append((index, position))
                number += 1
    return [
        Part(part, part * size, min(size, number - part * size), file, position)
        for part, (file, position) in enumerate(starts)
    ]


def read_rows(files: Sequence[str], kind: Format, part: Part) -> Iterator[Row]:
    """Yield the rows of a part. Raises UserError where a file cannot be read."""
    number, end, position = part.first, part.first + part.rows, part.position
    for file in files[part.file :]:
        with _errors(file):
            for values in islice(_READERS[kind](file, position), end - number):
                yield Row(number, file, values)
                number += 1
        if number == end:
            return
        position = 0
    raise UserError(f"INPUT: {files[-1]} ends before row {number}", hint="it must not change while it is read")


def _known() -> str:
    return ", ".join(SUFFIXES)


@contextmanager
def _errors(file: str) -> Iterator[None]:
    """Raise UserError for a file that cannot be read."""
    try:
        yield
    except OSError as error:
        raise UserError(f"INPUT: cannot read {file}: {error.strerror or error}", hint="check it") from error


# Lines of text


def _lines(file: BinaryIO, position: int) -> Iterator[tuple[int, bytes]]:
    """Yield each line from `position` on without its end, and where it begins."""
    if position == 0 and file.read(len(_MARK)) == _MARK:
        position = len(_MARK)
    file.seek(position)
    for block in file:  # ends in LF
        line = block.removesuffix(b"\n").removesuffix(b"\r")
        at = position
        for piece in line.split(b"\r"):
            yield at, piece
            at += len(piece) + 1
        position += len(block)


def _decoded(line: bytes) -> str | BadRow:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        return BadRow(f"not UTF-8: byte {error.start} is 0x{line[error.start]:02x}")


def _text_positions(path: str) -> Iterator[int]:
    with open(path, "rb") as file:
        for position, _ in _lines(file, 0):
            yield position


def _read_text(path: str, position: int) -> Iterator[dict[str, Any] | BadRow]:
    with open(path, "rb") as file:
        for _, line in _lines(file, position):
            text = _decoded(line)
            yield text if isinstance(text, BadRow) else {"prompt": text}


# Objects


def _jsonl_positions(path: str) -> Iterator[int]:
    with open(path, "rb") as file:
        for position, line in _lines(file, 0):
            if line.strip():
                yield position


def _read_jsonl(path: str, position: int) -> Iterator[dict[str, Any] | BadRow]:
    with open(path, "rb") as file:
        for _, line in _lines(file, position):
            if line.strip():
                yield _object(line)


def _object(line: bytes) -> dict[str, Any] | BadRow:
    text = _decoded(line)
    if isinstance(text, BadRow):
        return text
    try:
        value = json.loads(text)
        if "\\u" in text:  # half of a surrogate pair is no text
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return BadRow("not Unicode: half of a surrogate pair")
    except (ValueError, RecursionError) as error:
        return BadRow(f"not JSON: {error}")
    return value if isinstance(value, dict) else BadRow("not an object")


# Records of CSV


class _CsvLines:
    """Lines of a file for the csv module; what is not UTF-8 is found in the record. `position`: of the next line."""

    def __init__(self, file: BinaryIO, position: int) -> None:
        if position == 0 and file.read(len(_MARK)) == _MARK:
            position = len(_MARK)
        file.seek(position)
        self._file, self.position = file, position

    def __iter__(self) -> _CsvLines:
        return self

    def __next__(self) -> str:
        line = next(self._file)
        self.position += len(line)
        return line.decode("utf-8", "surrogateescape")


def _records(file: BinaryIO, path: str, position: int) -> Iterator[tuple[int, list[str] | BadRow]]:
    """Yield the records from `position` on, and where they begin."""
    lines = _CsvLines(file, position)
    reader = csv.reader(lines, delimiter="\t" if path.lower().endswith(".tsv") else ",")
    while True:
        begin = lines.position
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield begin, BadRow(f"not CSV: {error}")
            continue
        if record:
            try:
                "".join(record).encode()
            except UnicodeEncodeError:
                yield begin, BadRow("not UTF-8")
            else:
                yield begin, record


def _csv_positions(path: str) -> Iterator[int]:
    with open(path, "rb") as file:
        records = _records(file, path, 0)
        _header(records, path)
        for position, _ in records:
            yield position


def _header(records: Iterator[tuple[int, list[str] | BadRow]], path: str) -> list[str]:
    _, names = next(records, (0, list[str]()))
    if isinstance(names, BadRow):
        raise UserError(f"INPUT: the first line of {path} is {names}", hint="it names the columns")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"INPUT: {path} has two columns named {twice[0]!r}", hint="rename one")
    return names


def _read_csv(path: str, position: int) -> Iterator[dict[str, Any] | BadRow]:
    with open(path, "rb") as file:
        records = _records(file, path, 0)
        names = _header(records, path)
        if position:
            records = _records(file, path, position)
        for _, record in records:
            if isinstance(record, BadRow):
                yield record
            elif len(record) != len(names):
                yield BadRow(f"{len(record)} values, but the first line names {len(names)} columns")
            else:
                yield dict(zip(names, record, strict=True))


# Parquet


def _parquet_positions(path: str) -> Iterator[int]:
    from kgen_ext.scale.parquet import count_rows

    yield from range(count_rows(path))


def _read_parquet(path: str, position: int) -> Iterator[dict[str, Any] | BadRow]:
    from kgen_ext.scale.parquet import read_rows

    yield from read_rows(path, position)


_POSITIONS: dict[Format, Callable[[str], Iterator[int]]] = {
    Format.TEXT: _text_positions, Format.CSV: _csv_positions, Format.JSONL: _jsonl_positions,
    Format.PARQUET: _parquet_positions,
}  # fmt: skip
_READERS: dict[Format, Callable[[str, int], Iterator[dict[str, Any] | BadRow]]] = {
    Format.TEXT: _read_text, Format.CSV: _read_csv, Format.JSONL: _read_jsonl, Format.PARQUET: _read_parquet,
}  # fmt: skip
