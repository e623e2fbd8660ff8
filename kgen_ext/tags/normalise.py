r"""The one form of a tag in which two spellings of it are equal, and in which the models were trained to see it.

Knows nothing of prompts: weights and brackets that are syntax are taken off before a tag comes here.

The form, in this order:

* full-width ASCII and the ideographic space become ASCII; lower case; outer and repeated white space goes;
* a backslash before a bracket is an escape and goes (`saber \(fate\)`); other runs of backslashes become one (`\o/`);
* a leading `artist:` goes, as NovelAI users write it: the models' lists hold the bare name;
* underscores become spaces when the tag has four or more characters, so `^_^`, `o_o` and `>_<` stay, as in training
  (the models' author's data code; a longer face such as `(o)_(o)` was trained as `(o) (o)`);
* the closed set of score and source tags keeps its underscores (`score_9_up`), again as trained.
"""
from __future__ import annotations

import re

# U+FF01..FF5E are ASCII 0x21..0x7E set wide; U+3000 is the space that goes with them.
_WIDE = {0xFF01 + i: 0x21 + i for i in range(94)} | {0x3000: 0x20}
_ESCAPE = re.compile(r"\\+(?=[()\[\]{}])")
_BACKSLASHES = re.compile(r"\\\\+")
_PREFIX = re.compile(r"(?:[\s_]*artist:\s*)+(?=\S)")

SCORES = ("score_9", "score_9_up", "score_8_up", "score_7_up", "score_6_up", "score_5_up", "score_4_up")
SOURCES = ("source_anime", "source_cartoon", "source_furry", "source_pony")
_KEPT = {name.replace("_", " "): name for name in SCORES + SOURCES}


def normalise(tag: str) -> str:
    r"""Return the form in which equal tags are equal; applying it twice changes nothing.

    >>> normalise(" Looking_At  Viewer"), normalise("^_^"), normalise(r"saber_\(fate\)"), normalise("Score 9")
    ('looking at viewer', '^_^', 'saber (fate)', 'score_9')
    """
    if not tag.isascii():
        tag = tag.translate(_WIDE)
    tag = tag.lower()
    if "\\" in tag:
        tag = _BACKSLASHES.sub(r"\\", _ESCAPE.sub("", tag))
    tag = " ".join(tag.split())
    if "artist:" in tag:
        tag = _PREFIX.sub("", tag, count=1) if _PREFIX.match(tag) else tag
    if "_" in tag and len(tag) >= 4:
        tag = " ".join(tag.replace("_", " ").split()) or tag
    return _KEPT.get(tag, tag)
