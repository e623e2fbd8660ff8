"""A tag as a value: its spelling, and everything it is compared by, computed once.

    spelling    as it was given                        Hatsune_Miku!     ｈａｔ..
    written     the form the models were trained on    hatsune miku!     hat..
    folded      the same in plain letters              hatsune miku!     hat..
    name        the comparison form: no decoration     hatsune miku      hat
    category    of the name                            characters        general

The forms are defined in `canonical`, the categories in `categories`.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from kgen_ext.request import Category
from kgen_ext.tags.canonical import fold, is_invisible, normalise, strip_signs
from kgen_ext.tags.categories import category_of, is_known, named_category, trained_values


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag with its forms; build it with `read_tag`."""

    spelling: str
    written: str
    folded: str
    name: str
    category: Category

    @property
    def is_decorated(self) -> bool:
        """Whether signs or invisible characters surround or interrupt the name."""
        if self.name != self.folded:
            return True
        return not self.written.isascii() and any(map(is_invisible, self.written))

    @property
    def shown(self) -> str:
        """The form for a model: the comparison form, or the written form of a name in other letters or of signs."""
        return self.name if self.name.isascii() and any(map(str.isalnum, self.name)) else self.written

    @property
    def is_known(self) -> bool:
        """Whether the tag exists (`categories.is_known`)."""
        return is_known(self.name)

    @property
    def trained_values(self) -> tuple[str, ...]:
        """What a metadata line of the models says for the tag, () where training had nothing like it."""
        values = trained_values(self.name, self.category)
        return (self.written,) if values == (self.name,) and not self.is_decorated else values

    @property
    def named_category(self) -> Category | None:
        """The category of the artist, character or series that a general tag names, if any."""
        return named_category(self.name) if self.category is Category.GENERAL else None


# Longer spellings are read anew each time rather than remembered.
_LONGEST = 64


def read_tag(tag: str | Tag) -> Tag:
    """Return the tag of a spelling; a Tag is returned as it is.

    >>> tag = read_tag("Hatsune_Miku!")
    >>> tag.written, tag.name, tag.category
    ('hatsune miku!', 'hatsune miku', <Category.CHARACTERS: 'characters'>)
    """
    if isinstance(tag, Tag):
        return tag
    return _read(tag) if len(tag) <= _LONGEST else _read.__wrapped__(tag)


@lru_cache(maxsize=4096)
def _read(tag: str) -> Tag:
    written = normalise(tag)
    folded = fold(written)
    name = strip_signs(folded)
    category = category_of(name)
    if category is Category.GENERAL and _is_called_artist(tag, written):
        category = Category.ARTIST
    return Tag(tag, written, folded, name, category)


def _is_called_artist(spelling: str, written: str) -> bool:
    """Return whether a user says that it is an artist: `artist:somebody new`, `@somebody new`."""
    if written.startswith("@"):
        return written[1:2].isalnum()
    return written != "artist:" and spelling.lstrip().lower().startswith("artist:")


def split_by_category(tags: Iterable[str | Tag]) -> dict[Category, tuple[str, ...]]:
    """Sort tags into all eight categories, as spelled and in the order given within each."""
    lists: dict[Category, list[str]] = {category: [] for category in Category}
    for tag in map(read_tag, tags):
        lists[tag.category].append(tag.spelling)
    return {category: tuple(spellings) for category, spellings in lists.items()}
