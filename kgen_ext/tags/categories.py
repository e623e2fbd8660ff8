"""Tag categories: people count, artist, character, series, meta, quality, rating, or general.

A category belongs to a whole tag, so `old` is a quality and `old man` is not. All functions take comparison forms
(`Tag.name`).

The closed sets come from the output slots of the models' author (protocol: people counts, quality, rating) and from
what people write for checkpoints (`checkpoint`); artists, characters, series and meta tags from the lists of PyPI
tipo-kgen 0.3.1 (`data/NOTICE.md`); all else is general, whether or not it is a tag that exists (`is_known`).
"""
from __future__ import annotations

import re

from kgen_ext.request import Category
from kgen_ext.tags.canonical import SCORES, SOURCES
from kgen_ext.tags.checkpoint import ALONE, RATINGS, artists_of, checkpoint_category, rating_of
from kgen_ext.tags.names import key_of, load_names

_COUNT = re.compile(r"(?:[1-9][0-9]?)\+?(?:girl|boy|other)s?|multiple (?:girls|boys|others)|no humans")
# The quality tags that the models were trained with.
QUALITIES = (
    "masterpiece", "best quality", "great quality", "good quality", "normal quality", "low quality", "worst quality",
    "worse quality", "very aesthetic", "aesthetic", "displeasing", "very displeasing",
    "newest", "recent", "mid", "early", "old", *SCORES, *SOURCES,
)  # fmt: skip
# `male focus` is not a count, but training put it with the counts, before all other tags.
_CLOSED = (
    {"male focus": Category.SPECIAL}
    | ALONE
    | dict.fromkeys(QUALITIES, Category.QUALITY)
    | dict.fromkeys(RATINGS, Category.RATING)
)


_CHARACTERS, _SERIES = Category.CHARACTERS, Category.COPYRIGHTS
# In brackets: the categories whose name before them is the artist, character or series itself. Another kind of name is
# a word of the same spelling: `jian (weapon)`, `matcha (food)`.
_NAMED_BEFORE: dict[str, tuple[Category, ...]] = {
    "style": (Category.ARTIST, _CHARACTERS, _SERIES), "parody": (Category.ARTIST, _CHARACTERS, _SERIES),
    **dict.fromkeys(
        ("armor", "bankai", "cosplay", "costume", "gun", "shikai", "sword", "symbol", "weapon"), (_CHARACTERS, _SERIES)
    ),
    **dict.fromkeys(
        ("brand", "card", "creature", "e.g.o", "emblem", "logo", "object", "summon", "virtual pet"), (_SERIES,)
    ),
}  # fmt: skip
# First words of general tags that are known for one series only: `pikachu tail`, `hololive idol uniform`.
_LEADING = frozenset(
    "blazblue cirno digimon eevee frieren gantz helltaker hololive holostars kirby mario metroid minecraft naruto"
    " nijisanji pikachu pokemon poptepipic precure togepi touhou ultraman umamusume utawarerumono vocaloid yotsubato!"
    .split()
)  # fmt: skip


def is_people_count(name: str) -> bool:
    """Return whether a tag says how many people there are: `1girl`, `6+boys`, `multiple others`, `no humans`."""
    return _COUNT.fullmatch(name) is not None


def category_of(name: str) -> Category:
    """Return the category of a whole tag.

    >>> [category_of(name).value for name in ("2girls", "hatsune miku", "old", "old man", "8k", "raw photo")]
    ['special', 'characters', 'quality', 'general', 'quality', 'meta']
    """
    if (closed := _CLOSED.get(name)) is not None:
        return closed
    if is_people_count(name):
        return Category.SPECIAL
    if rating_of(name) is not None:
        return Category.RATING
    if len(name) == 4 and name.isdecimal():
        return Category.META  # a year, as for checkpoints; training dropped such tags
    return load_names().category(key_of(name)) or checkpoint_category(name) or Category.GENERAL


def is_known(name: str) -> bool:
    """Return whether a tag exists: on Danbooru, in the models' lists, or in a closed set. An alias does not.

    >>> [is_known(name) for name in ("fox ears", "1girl", "masterpiece", "hatsune miku", "ears of a fox")]
    [True, True, True, True, False]
    """
    return name in _CLOSED or is_people_count(name) or load_names().category(key_of(name)) is not None


def trained_values(name: str, category: Category) -> tuple[str, ...]:
    """Return what the metadata lines of the models' training hold for a tag of a metadata category, () for nothing.

    >>> trained_values("art by wlop and loish", Category.ARTIST), trained_values("8k", Category.QUALITY)
    (('wlop', 'loish'), ())
    """
    if category is Category.QUALITY:
        return (name,) if name in QUALITIES else ()
    if category is Category.RATING:
        return (rating_of(name) or name,)
    if category is Category.META:
        return (name,) if load_names().category(key_of(name)) is category else ()
    if category is Category.ARTIST and (artists := artists_of(name)):
        return tuple(artist for artist in artists if load_names().category(key_of(artist)) in (category, None))
    return (name,)


def named_category(name: str) -> Category | None:
    """Return artist, characters or copyrights for a general tag that names one: in its brackets or before them.

    >>> [named_category(name) for name in ("vision (genshin impact)", "pokemon (creature)", "star (symbol)")]
    [<Category.COPYRIGHTS: 'copyrights'>, <Category.COPYRIGHTS: 'copyrights'>, None]
    """
    own, opening, kind = name.rpartition("(")
    if own and opening and kind.endswith(")"):
        table, own, kind = load_names(), own.rstrip(), kind[:-1]
        if (inside := table.category(key_of(kind))) in (Category.COPYRIGHTS, Category.CHARACTERS):
            return inside
        if kind in _NAMED_BEFORE and (before := table.category(key_of(own))) in _NAMED_BEFORE[kind]:
            return before
    words = name.split(maxsplit=2)
    return Category.COPYRIGHTS if len(words) > 1 and words[0] in _LEADING else None
