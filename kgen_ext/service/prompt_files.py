"""Prompts in files of images and texts. What is damaged or too large raises ValueError; no image is decoded."""
from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator

from kgen_ext.output.infotext import decode, parse_infotext

_PNG = b"\x89PNG\r\n\x1a\n"
_USER_COMMENT = 0x9286
_EXIF_IFD = 0x8769
_MAX_TEXT = 1 << 20  # bytes of a text file or chunk; an infotext has a few thousand
_MAX_CHUNKS = 1 << 16
_TYPED = "KGen prompt"  # the infotext's key of the prompt before its expansion
_NODES = "kgen"  # a PNG's key of what our nodes of ComfyUI wrote: {NODE: [{"source": prompt as given, ...}]}


def read_text(path: str, *, caption: bool) -> list[str]:
    """Return the prompts of a text file: of an infotext, of a `caption`, or one a line."""
    with open(path, "rb") as file:
        data = file.read(_MAX_TEXT + 1)
    if len(data) > _MAX_TEXT:
        raise ValueError(f"larger than {_MAX_TEXT} bytes")
    if b"\0" in data:
        raise ValueError("no text")
    text = data.decode("utf-8-sig")
    if "\nNegative prompt:" in text or "\nSteps: " in text:
        return [_typed(text)]
    return [text] if caption else text.splitlines()


def read_image(path: str) -> list[str]:
    """Return the prompt of an image, as it was typed; none where it holds none."""
    with open(path, "rb") as file:
        if file.read(len(_PNG)) == _PNG:
            for key, text in _png_texts(file.read):
                if text and key in ("parameters", _NODES):
                    return [_typed(text)] if key == "parameters" else _given(text)
            return []
    return [_typed(text)] if (text := _exif_text(path)) else []


def _png_texts(read: Callable[[int], bytes]) -> Iterator[tuple[str, str]]:
    """Yield the keys and values of a PNG's text chunks up to its end. Raises ValueError for one that is damaged."""
    for _ in range(_MAX_CHUNKS):
        head = read(8)
        if len(head) < 8:
            raise ValueError("cut short")
        size, kind = struct.unpack(">I4s", head)
        if kind == b"IEND":
            return
        if kind in (b"tEXt", b"iTXt", b"zTXt") and size <= _MAX_TEXT:
            data = read(size)
            if len(data) < size:
                raise ValueError("cut short")
            yield _text_chunk(kind, data)
            read(4)
        else:
            left = size + 4
            while left > 0 and (part := read(min(left, _MAX_TEXT))):
                left -= len(part)
            if left:
                raise ValueError("cut short")
    raise ValueError("too many chunks")


def _given(text: str) -> list[str]:
    """Return the prompt that our nodes were given; none where there were several, as the image is of one of them."""
    try:
        nodes = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    lists = nodes.values() if isinstance(nodes, dict) else ()
    written = [entry for entries in lists if isinstance(entries, list) for entry in entries]
    given = {prompt for entry in written if isinstance(entry, dict) and isinstance(prompt := entry.get("source"), str)}
    return list(given) if len(given) == 1 else []


def _text_chunk(kind: bytes, data: bytes) -> tuple[str, str]:
    key, _, value = data.partition(b"\0")
    if kind == b"iTXt":
        packed, rest = value[:1] == b"\1", value[2:]
        value = rest.split(b"\0", 2)[2] if rest.count(b"\0") >= 2 else b""
    else:
        packed, value = kind == b"zTXt", value[1:] if kind == b"zTXt" else value
    if packed:
        unpack = zlib.decompressobj()
        try:
            value = unpack.decompress(value, _MAX_TEXT)
        except zlib.error as error:
            raise ValueError(str(error)) from None
    text = value.decode("utf-8" if kind == b"iTXt" else "latin-1")
    if kind == b"tEXt":  # many programs write UTF-8 here
        try:
            text = value.decode("utf-8")
        except UnicodeDecodeError:
            pass
    return key.decode("latin-1"), text


def _exif_text(path: str) -> str:
    """Return the user comment of an image's Exif; "" without one, and without Pillow."""
    try:
        from PIL import Image
    except ImportError:
        raise ValueError("reading this format takes Pillow: pip install pillow") from None
    try:
        with Image.open(path) as image:  # reads the header only
            comment = image.getexif().get_ifd(_EXIF_IFD).get(_USER_COMMENT, b"")
    except Exception as error:  # its readers raise errors of many kinds for a file that is damaged
        raise ValueError(f"no image that can be read: {type(error).__name__}") from None
    if not isinstance(comment, bytes):
        return str(comment)[:_MAX_TEXT]
    head, body = comment[:8], comment[8:_MAX_TEXT]
    if head == b"UNICODE\0":
        return body.decode("utf-16-be" if body[:1] == b"\0" else "utf-16-le", "replace")
    return body.decode("utf-8", "replace") if head in (b"ASCII\0\0\0", bytes(8)) else ""


def _typed(infotext: str) -> str:
    """Return the prompt of an infotext, as it was typed where KGen expanded it."""
    entries = parse_infotext(infotext)
    return decode(entries[_TYPED]) if _TYPED in entries else entries["Prompt"]
