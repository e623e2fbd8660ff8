"""Text from the user: lines of a file or of standard input, and strings from the command line.

A file is UTF-8, with or without a byte order mark; a line ends in LF, CR LF or CR; `-` is standard input. Empty lines
count, so that line n of the output belongs to line n of the file.
"""
from __future__ import annotations

import sys

from kgen_ext.errors import UserError


def read_lines(path: str, *, option: str) -> list[str]:
    """Return the lines of the file at `path`, or of standard input for `-`. Raises UserError that names `option`."""
    name = "standard input" if path == "-" else path
    try:
        if path == "-":
            data = sys.stdin.buffer.read()
        else:
            with open(path, "rb") as file:
                data = file.read()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{option}: cannot read {name}: {reason}", hint="give a text file, or - for stdin") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # With a byte order mark, positions are counted after it.
        offset = error.start + (3 if data.startswith(b"\xef\xbb\xbf") else 0)
        line = data[:offset].count(b"\n") + 1
        where = f"byte {offset} (line {line}) is 0x{data[offset]:02x}"
        raise UserError(f"{option}: {name} is not UTF-8: {where}", hint="save it as UTF-8") from None
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def require_text(name: str, value: str) -> None:
    """Raise UserError for bytes of the command line that could not be decoded: they cannot be printed either."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        hint = "use a UTF-8 terminal, or --file with a UTF-8 file"
        raise UserError(f"{name}: character {error.start} is not valid text", hint=hint) from None
