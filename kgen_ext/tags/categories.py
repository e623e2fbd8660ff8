"""Which kind of tag a tag is: people count, artist, character, series, meta, quality, rating, or general.

Refuses to look inside text: it is given whole tags, so `old` is a quality and `old man` never is.

The closed sets come from the output slots of the models' author (protocol: people counts, quality, rating); artists,
characters, series and meta tags from the lists of PyPI tipo-kgen 0.3.1 (`data/NOTICE.md`); all else is general.
"""
from __future__ import annotations

import re
from collections.abc import Iterable

from kgen_ext.request import Category
from kgen_ext.tags.canonical import SCORES, SOURCES, canonical_name, normalise
from kgen_ext.tags.names import key_of, load_names

_COUNT = re.compile(r"(?:[1-9][0-9]?)\+?(?:girl|boy|other)s?|multiple (?:girls|boys|others)|no humans")
_QUALITIES = (
    "masterpiece", "best quality", "great quality", "good quality", "normal quality", "low quality", "worst quality",
    "worse quality", "very aesthetic", "aesthetic", "displeasing", "very displeasing",
    "newest", "recent", "mid", "early", "old", *SCORES, *SOURCES,
)  # fmt: skip
_RATINGS = ("safe", "general", "sfw", "sensitive", "nsfw", "questionable", "explicit")
# `male focus` is no count, but it was put among the counts, before all others, in training.
_CLOSED = (
    {"male focus": Category.SPECIAL}
    | dict.fromkeys(_QUALITIES, Category.QUALITY)
    | dict.fromkeys(_RATINGS, Category.RATING)
)


def is_people_count(tag: str) -> bool:
    """Tell whether a tag says how many people there are: `1girl`, `6+boys`, `multiple others`, `no humans`."""
    return _COUNT.fullmatch(canonical_name(normalise(tag))) is not None


def category_of(tag: str) -> Category:
    """Return the category of a whole tag, however it is spelled or dressed up.

    >>> category_of("2girls"), category_of("Hatsune_Miku"), category_of("old"), category_of("old man")
    (<Category.SPECIAL: 'special'>, <Category.CHARACTERS: 'characters'>, <Category.QUALITY: 'quality'>, \
<Category.GENERAL: 'general'>)
    """
    written = normalise(tag)
    normalised = canonical_name(written)
    if (closed := _CLOSED.get(normalised)) is not None:
        return closed
    if _COUNT.fullmatch(normalised):
        return Category.SPECIAL
    return load_names().category(key_of(normalised)) or (
        Category.ARTIST if _claims_artist(tag, written) else Category.GENERAL
    )


def series_of(tag: str) -> str | None:
    """Return the series that a tag names behind its own name, as general tags do too: `vision (genshin impact)`.

    >>> series_of("Vision_(Genshin_Impact)"), series_of("star (symbol)")
    ('genshin impact', None)
    """
    name, opening, series = canonical_name(normalise(tag)).rpartition("(")
    if not name or not opening or not series.endswith(")"):
        return None
    series = series[:-1]
    return series if load_names().category(key_of(series)) is Category.COPYRIGHTS else None


def split_by_category(tags: Iterable[str]) -> dict[Category, tuple[str, ...]]:
    """Sort tags into all eight categories, as given and in the order given within each."""
    lists: dict[Category, list[str]] = {category: [] for category in Category}
    for tag in tags:
        lists[category_of(tag)].append(tag)
    return {category: tuple(found) for category, found in lists.items()}


def _claims_artist(tag: str, normalised: str) -> bool:
    """Tell whether the user said so: `artist:somebody new`."""
    return tag.strip().lower().startswith("artist:") and normalised != "artist:"
