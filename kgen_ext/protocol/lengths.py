"""The length bands the models were trained on, in tags and in sentences.

Numbers only; who counts and who enforces them is not known here.
"""
from __future__ import annotations

from dataclasses import dataclass

from kgen_ext.request import TagLength, TextLength


@dataclass(frozen=True, slots=True)
class Band:
    """An inclusive range of items."""

    minimum: int
    maximum: int

    def __contains__(self, count: int) -> bool:
        return self.minimum <= count <= self.maximum


# Tags of a TIPO text, all of the `tag:` line counted. Training (UwULLM src/dataset/tipo) cuts `long` at 48; the
# reference runtime lets it run to 54 and starts `very_long` there, and users know those bands.
TIPO_TAGS: dict[TagLength, Band] = {
    TagLength.VERY_SHORT: Band(0, 18),
    TagLength.SHORT: Band(18, 36),
    TagLength.LONG: Band(36, 54),
    TagLength.VERY_LONG: Band(54, 72),
}

# General tags of a DanTagGen text: the trained number is the lower end, the next one's the upper (HakuPhi).
DTG_TAGS: dict[TagLength, Band] = {
    TagLength.VERY_SHORT: Band(8, 16),
    TagLength.SHORT: Band(16, 32),
    TagLength.LONG: Band(32, 48),
    TagLength.VERY_LONG: Band(48, 64),
}


@dataclass(frozen=True, slots=True)
class TextBand:
    """Sentences of a text field (`sentences`), at most `paragraphs` lines of at most `per_paragraph` each."""

    sentences: Band
    paragraphs: int
    per_paragraph: int


# UwULLM src/dataset/tipo: max_length_map_nl is paragraphs x sentences, min_length_map_nl the lower end.
TIPO_LONG_TEXT: dict[TextLength, TextBand] = {
    TextLength.VERY_SHORT: TextBand(Band(1, 2), 1, 2),
    TextLength.SHORT: TextBand(Band(2, 4), 1, 4),
    TextLength.LONG: TextBand(Band(4, 8), 2, 4),
    TextLength.VERY_LONG: TextBand(Band(6, 18), 3, 6),
}


def short_text_band(length: TextLength) -> TextBand:
    """Return the band of a `short:` field: one paragraph, cut in training at the same number of sentences."""
    per = TIPO_LONG_TEXT[length].per_paragraph
    return TextBand(Band(1, per), 1, per)
