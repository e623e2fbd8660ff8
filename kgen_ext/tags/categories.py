"""Tag categories: people count, artist, character, series, meta, quality, rating, or general.

A category belongs to a whole tag, so `old` is a quality and `old man` is not. All functions take comparison forms
(`Tag.name`).

The closed sets come from the output slots of the models' author (protocol: people counts, quality, rating); artists,
characters, series and meta tags from the lists of PyPI tipo-kgen 0.3.1 (`data/NOTICE.md`); all else is general, whether
or not it is a tag that exists (`is_known`).
"""
from __future__ import annotations

import re

from kgen_ext.request import Category
from kgen_ext.tags.canonical import SCORES, SOURCES
from kgen_ext.tags.names import key_of, load_names

_COUNT = re.compile(r"(?:[1-9][0-9]?)\+?(?:girl|boy|other)s?|multiple (?:girls|boys|others)|no humans")
_QUALITIES = (
    "masterpiece", "best quality", "great quality", "good quality", "normal quality", "low quality", "worst quality",
    "worse quality", "very aesthetic", "aesthetic", "displeasing", "very displeasing",
    "newest", "recent", "mid", "early", "old", *SCORES, *SOURCES,
)  # fmt: skip
_RATINGS = ("safe", "general", "sfw", "sensitive", "nsfw", "questionable", "explicit")
# `male focus` is not a count, but training put it with the counts, before all other tags.
_CLOSED = (
    {"male focus": Category.SPECIAL}
    | dict.fromkeys(_QUALITIES, Category.QUALITY)
    | dict.fromkeys(_RATINGS, Category.RATING)
)


def is_people_count(name: str) -> bool:
    """Return whether a tag says how many people there are: `1girl`, `6+boys`, `multiple others`, `no humans`."""
    return _COUNT.fullmatch(name) is not None


def category_of(name: str) -> Category:
    """Return the category of a whole tag.

    >>> [category_of(name).value for name in ("2girls", "hatsune miku", "old", "old man")]
    ['special', 'characters', 'quality', 'general']
    """
    if (closed := _CLOSED.get(name)) is not None:
        return closed
    if is_people_count(name):
        return Category.SPECIAL
    return load_names().category(key_of(name)) or Category.GENERAL


def is_known(name: str) -> bool:
    """Return whether a tag exists: on Danbooru, in the models' lists, or in a closed set. An alias does not.

    >>> [is_known(name) for name in ("fox ears", "1girl", "masterpiece", "hatsune miku", "ears of a fox")]
    [True, True, True, True, False]
    """
    return name in _CLOSED or is_people_count(name) or load_names().category(key_of(name)) is not None


def series_of(name: str) -> str | None:
    """Return the series that a tag names in brackets behind its own name, as general tags do, too.

    >>> series_of("vision (genshin impact)"), series_of("star (symbol)")
    ('genshin impact', None)
    """
    own, opening, series = name.rpartition("(")
    if not own or not opening or not series.endswith(")"):
        return None
    series = series[:-1]
    return series if load_names().category(key_of(series)) is Category.COPYRIGHTS else None
