"""The tags of a user's own images, counted into a table of tag pairs (`tags/pair_table.py`).

What a folder and its subfolders hold counts as

    image            the prompt of its infotext, in PNG text chunks, or in Exif, which is read with Pillow; of a
                     PNG of ComfyUI the prompt that our node was given
    image's .txt     the prompt beside an image that has none itself: a caption of tags, or an infotext
    other .txt       an infotext, or prompts, one a line

What the user wrote counts: of an image that KGen expanded a prompt for, the prompt as typed. Negative prompts do not.
Only general tags and people counts that exist are counted. Links are not followed, and no image is decoded.
"""
from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kgen_ext.errors import UserError
from kgen_ext.prompt import parse, subjects
from kgen_ext.request import Category
from kgen_ext.service.prompt_files import read_image, read_text
from kgen_ext.tags.tag import read_tag

if TYPE_CHECKING:
    from kgen_ext.tags.pair_table import PairTable

_IMAGES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".avif"))
_MAX_PROMPT = 1 << 13  # characters that are read: nested brackets without end would take minutes
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
                prompts = read_image(path) if ending in _IMAGES else read_text(path, caption=stem in stems)
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
