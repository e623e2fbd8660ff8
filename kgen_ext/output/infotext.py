"""Texts as values of an A1111 infotext: written so that every host reads them back exactly.

The hosts quote a value as JSON only if it has a comma, a colon or a newline, split `512x768` in two, drop the colon of
a value equal to its key, fail on an empty one and strip spaces. Text that such handling would alter is written as
`json: "..."`.
"""
from __future__ import annotations

import json
import re
from collections.abc import Iterator

_MARK = "json: "
# The hosts' grammar of the last line: a key, a colon, then a JSON string or the text up to the next comma.
_ENTRY = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')


def encode(key: str, text: str) -> str:
    """Return a text in the form that survives a host's writing and reading; `decode` restores it."""
    safe = (
        text
        and text == text.strip()
        and re.search("[\x00-\x09\x0b-\x1f\x7f\ud800-\udfff]", text) is None
        and text != key
        and not text.startswith(('"', _MARK))
        and re.fullmatch(r"\d+x\d+", text) is None
        and "Civitai" not in text  # if FLUX follows, Forge takes the image for one of that site
    )
    if safe:
        return text
    # Letters stay readable; a lone surrogate cannot be written to a file.
    ascii_only = any(0xD800 <= ord(char) < 0xE000 for char in text)
    return _MARK + json.dumps(text, ensure_ascii=ascii_only).replace("Civitai", "\\u0043ivitai")


def decode(text: str) -> str:
    """Return what `encode` was given."""
    if not text.startswith(_MARK):
        return text
    try:
        decoded = json.loads(text[len(_MARK) :])
    except (ValueError, RecursionError):
        return text  # edited by hand
    return decoded if isinstance(decoded, str) else text


def quote(value: object) -> str:
    """Return a value as the hosts write it into the infotext's last line.

    >>> quote("hat, dress"), quote(7)
    ('"hat, dress"', '7')
    """
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(sign in text for sign in ",:\n") else text


def carried(prompt: str) -> bool:
    """Return whether the prompt line of an infotext restores this prompt: spaces at line ends are lost, for example.

    SD.Next's reader of EXIF takes out tabs and what is before them in ASCII.
    """
    lines = prompt.split("\n")
    if re.search("[\x00-\x09]", prompt):
        return False
    if any(line != line.strip() or line.startswith("Negative prompt:") for line in lines):
        return False
    return not prompt or bool(lines[0] and lines[-1])


def parse_infotext(text: str) -> dict[str, str]:
    """Read an image's infotext without the host: its entries as text, the prompt as `Prompt`."""
    *lines, last = text.strip().split("\n")
    entries = list(_entries_in(last))
    if len(entries) < 3:
        lines, entries = [*lines, last], []
    end = next((i for i, line in enumerate(lines) if line.strip().startswith("Negative prompt:")), len(lines))
    params = {key: _unquoted(value) for key, value in entries}
    params["Prompt"] = "\n".join(line.strip() for line in lines[:end])
    return params


def _entries_in(line: str) -> Iterator[tuple[str, str]]:
    """Yield the keys and values of an infotext's last line, in linear time: what is no entry is skipped."""
    position = 0
    while position < len(line):
        found = _ENTRY.match(line, position)
        if found:
            yield found[1], found[2]
        end = found.end() if found else line.find(",", position) + 1
        position = end if end > position else len(line)


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == '"':
        try:
            return str(json.loads(value))
        except ValueError:
            return value
    return value
