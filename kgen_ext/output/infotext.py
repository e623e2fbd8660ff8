"""Texts as values of an A1111 infotext: written so that every host reads them back exactly.

The hosts quote a value as JSON only if it has a comma, a colon or a newline, split `512x768` in two, drop the colon of
a value equal to its key, fail on an empty one and strip spaces. Text that such handling would alter is written as
`json: "..."`.
"""
from __future__ import annotations

import json
import re

_MARK = "json: "


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
    except ValueError:
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
