"""DanTagGen's text format: metadata lines, a target line, general tags up to `<|input_end|>`, then more of them.

    quality: masterpiece
    rating: safe
    artist: <|empty|>
    characters: hatsune miku
    copyrights: vocaloid
    aspect ratio: 0.7
    target: <|long|>
    general: 1girl, solo, smile<|input_end|>

Absent values are `<|empty|>`; only delta and delta-rev2 have the quality line. Source: HakuPhi data/dan_prompt.
"""
from __future__ import annotations

from kgen_ext.protocol.plan import DTG_TAGS, Plan, Subject, TagField, ask_length, aspect_ratio, join_tags, plain
from kgen_ext.request import Category, TagLength

EMPTY = "<|empty|>"
INPUT_END = "<|input_end|>"

_WORDS = 12  # of a text, at most
_META: tuple[Category, ...] = (Category.RATING, Category.ARTIST, Category.CHARACTERS, Category.COPYRIGHTS)


def plan(subject: Subject, *, tag_length: TagLength, quality_line: bool) -> Plan:
    """Return the request for a subject and its only field, general tags.

    The format has no text; the first words of the subject's are shown as a tag, since they may be all there is.
    quality_line: the model was trained with it.
    """
    given, count = dict(subject.meta), len(subject.tags)
    asked, band = ask_length(tag_length, given=count, bands=DTG_TAGS)
    keys = (Category.QUALITY, *_META) if quality_line else _META
    lines = [f"{key.value}: {plain(join_tags(given.get(key, ()))) or EMPTY}\n" for key in keys]
    lines.append(f"aspect ratio: {aspect_ratio(subject.width, subject.height)}\n")
    lines.append(f"target: <|{asked.value}|>\n")
    phrase = " ".join(subject.text.lower().split()[:_WORDS]).rstrip(".,;")
    shown = join_tags(tag for tag in map(plain, (*subject.visible_tags, phrase)) if tag)
    lines.append(f"general: {shown}{INPUT_END}")
    return Plan("".join(lines), (TagField("general", "", count, band, fresh=True),))
