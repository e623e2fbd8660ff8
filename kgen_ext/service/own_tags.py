"""The tags of a user's own images, counted into a table of tag pairs (`tags/pair_table.py`).

What a folder and its subfolders hold counts as

    image            the prompt of its infotext: PNG text chunks, read here; of other formats Exif, read with Pillow;
                     of a PNG of ComfyUI the prompt that our node was given
    image's .txt     the prompt beside an image that has none itself: a caption of tags, or an infotext
    other .txt       an infotext, or prompts, one a line

What the user wrote counts: of an image that KGen expanded a prompt for, the prompt as typed. Negative prompts do not.
Only general tags and people counts that exist are counted. Links are not followed, and no image is decoded.
"""
from __future__ import annotations

import json
import os
import stat
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kgen_ext.errors import UserError
from kgen_ext.output.infotext import decode, parse_infotext
from kgen_ext.prompt import parse, subjects
from kgen_ext.request import Category
from kgen_ext.tags.tag import read_tag

if TYPE_CHECKING:
    from kgen_ext.tags.pair_table import PairTable

_PNG = b"\x89PNG\r\n\x1a\n"
_IMAGES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".avif"))
_USER_COMMENT = 0x9286
_EXIF_IFD = 0x8769
MAX_TEXT = 1 << 20  # bytes of a text file or chunk; an infotext has a few thousand
_MAX_CHUNKS = 1 << 16
_MAX_PROMPT = 1 << 13  # characters that are read: nested brackets without end would take minutes
_TYPED = "KGen prompt"  # the infotext's key of the prompt before its expansion
_NODES = "kgen"  # a PNG's key of what our nodes of ComfyUI wrote: {NODE: [{"source": prompt as given, ...}]}
# A table: its tags at most, how often a tag was used at least, and the entries of a row.
_TAGS, _LEAST_USED, _KEEP = 4000, 2, 48
_RIDGE = 10.0  # images for which a pair must speak before it counts half
_DOUBT = 20.0  # images without any tag that are counted beside the user's: few images say little


@dataclass(frozen=True, slots=True)
class Found:
    """What a folder holds: a list of tags for each prompt, and what could not be read, each a line."""

    lists: tuple[tuple[str, ...], ...]
    skipped: tuple[str, ...]


def read_folder(folder: Path, *, on_file: Callable[[int], None] = lambda count: None) -> Found:
    """Read the tags of a folder's images and prompts. on_file: called with the number of files read so far.

    Raises UserError where it is no folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no folder", hint="name the folder of your images")
    lists, skipped = list[tuple[str, ...]](), list[str]()
    seen = 0
    for parent, names in _folders(folder, skipped):
        stems = {os.path.splitext(name)[0] for name in names if _ending(name) in _IMAGES}
        told = set[str]()  # images whose own infotext counted
        for name in sorted(names, key=lambda name: (_ending(name) == ".txt", name)):
            ending, path = _ending(name), os.path.join(parent, name)
            stem = os.path.splitext(name)[0]
            if ending not in (*_IMAGES, ".txt") or (ending == ".txt" and stem in told):
                continue
            seen += 1
            on_file(seen)
            try:
                prompts = _read_image(path) if ending in _IMAGES else _read_text(path, caption=stem in stems)
                found = [tags for prompt in prompts if (tags := tags_of(prompt[:_MAX_PROMPT]))]
            except (OSError, ValueError) as error:
                skipped.append(f"{path}: {error}")
                continue
            lists += found
            if found and ending in _IMAGES:
                told.add(stem)
    return Found(tuple(lists), tuple(skipped))


def tags_of(prompt: str) -> tuple[str, ...]:
    """Return the general tags and people counts of a prompt that exist, each once, in written form.

    >>> tags_of("masterpiece, (fox ears:1.2), hatsune miku, <lora:x:1>, 1girl, Fox Ears")
    ('fox ears', '1girl')
    """
    typed = (tag for segment in subjects(parse(prompt)) for tag in segment.tags)
    tags = (tag for tag in map(read_tag, typed) if tag.category in (Category.GENERAL, Category.SPECIAL))
    return tuple(dict.fromkeys(tag.name for tag in tags if tag.is_known))


def build_table(lists: Sequence[Sequence[str]]) -> PairTable:
    """Count lists of tags into a table; raises UserError where they are too few."""
    import numpy as np

    from kgen_ext.tags.pair_table import make_pair_table

    counts = Counter(tag for tags in lists for tag in tags)
    tags = [tag for tag, count in counts.most_common(_TAGS) if count >= _LEAST_USED]
    if not tags:
        raise UserError("no tag is in two prompts: too little to count", hint="name a folder with more images")
    index = {tag: place for place, tag in enumerate(tags)}
    together = np.zeros((len(tags), len(tags)))
    for listed in lists:
        places = np.array([index[tag] for tag in dict.fromkeys(listed) if tag in index], np.int64)
        together[places[:, None], places] += 1
    used = np.diag(together).copy()
    shares = used / (len(lists) + _DOUBT)
    # What a tag says of another beyond its share: a ridge regression, as two tags that always meet say one thing.
    beyond = together - np.outer(used, shares)
    np.fill_diagonal(beyond, used * (1 - shares) + _RIDGE)
    inverse = np.linalg.inv(beyond)
    weights = np.clip(-inverse / np.diag(inverse), -1, 1).astype(np.float32)
    np.fill_diagonal(weights, 0)
    return make_pair_table(tags, shares.astype(np.float32), weights, keep=_KEEP, least=0.02)


def _folders(folder: Path, skipped: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each folder and the names of its plain files: no links, no devices."""

    def note(error: OSError) -> None:
        skipped.append(f"{error.filename}: {error.strerror}")

    for parent, inner, names in os.walk(folder, onerror=note):
        inner.sort()
        yield parent, [name for name in names if _is_plain(os.path.join(parent, name))]


def _is_plain(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _read_text(path: str, *, caption: bool) -> list[str]:
    with open(path, "rb") as file:
        data = file.read(MAX_TEXT + 1)
    if len(data) > MAX_TEXT:
        raise ValueError(f"larger than {MAX_TEXT} bytes")
    if b"\0" in data:
        raise ValueError("no text")
    text = data.decode("utf-8-sig")
    if "\nNegative prompt:" in text or "\nSteps: " in text:
        return [_typed(text)]
    return [text] if caption else text.splitlines()


def _read_image(path: str) -> list[str]:
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
        if kind in (b"tEXt", b"iTXt", b"zTXt") and size <= MAX_TEXT:
            data = read(size)
            if len(data) < size:
                raise ValueError("cut short")
            yield _text_chunk(kind, data)
            read(4)
        else:
            left = size + 4
            while left > 0 and (part := read(min(left, MAX_TEXT))):
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
            value = unpack.decompress(value, MAX_TEXT)
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
        return str(comment)[:MAX_TEXT]
    head, body = comment[:8], comment[8:MAX_TEXT]
    if head == b"UNICODE\0":
        return body.decode("utf-16-be" if body[:1] == b"\0" else "utf-16-le", "replace")
    return body.decode("utf-8", "replace") if head in (b"ASCII\0\0\0", bytes(8)) else ""


def _typed(infotext: str) -> str:
    """Return the prompt of an infotext, as it was typed where KGen expanded it."""
    entries = parse_infotext(infotext)
    return decode(entries[_TYPED]) if _TYPED in entries else entries["Prompt"]
