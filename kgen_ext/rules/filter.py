"""Filters of one row: which tags, metadata values and phrases may be added to it.

A candidate is checked in this order, and rejected for the first reason that applies:

    unknown          not in the tag file, or not in the built-in list, if the request has either
    garbled          not a tag: a lone sign, several tags in one, or (a few times) a tag with signs around it or a
                     scrap of a sentence
    repeat           the row has it
    banned           by a pattern of the request; `blocklist`: by the model's own list
    category         of a kind the request does not allow, or another than the metadata line's
    contradiction    with a tag or the given text of the row
    rule             by a conditional ban

The filters of a row share its `RowTags`. Tags of the user are added to them without a check.
"""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from kgen_ext.request import Category
from kgen_ext.rules import Rejection
from kgen_ext.rules.blocklist import Blocklist
from kgen_ext.rules.conditional import RowRule, Rule
from kgen_ext.rules.contradictions import Scene
from kgen_ext.rules.patterns import PatternKind, PatternSet
from kgen_ext.tags.tag import Tag, read_tag

if TYPE_CHECKING:
    from kgen_ext.rules.known import DanbooruTags, KnownTags

# Tag lists consist of these; other categories need the request's leave.
_ALWAYS = frozenset({Category.GENERAL, Category.SPECIAL})
_NAMES = frozenset({Category.CHARACTERS, Category.COPYRIGHTS})
# What users' tag files list besides general tags.
_LISTED = frozenset({Category.ARTIST, Category.CHARACTERS, Category.COPYRIGHTS, Category.META})
# Decorated tags and scraps in a row that are drawn again; a model that writes nothing else keeps its length.
_MAX_RETRIES = 8
# A tag that nobody knows has at most so many words and letters: longer ones are sentences.
_MAX_WORDS, _MAX_LETTERS = 6, 40
# And it neither begins or ends so nor says that something is: `and the trees`, `a flower in the`, `sky is blue`.
_OPENERS = frozenset(
    "a an and as at because but by for from her his if in into its my nor of on onto or our so than that the their"
    " these this those to upon when where which while who whose with within without your".split()
)
_ENDERS = _OPENERS - {"in", "on", "by"} | {"some", "very"}
_BEING = frozenset({"am", "are", "be", "been", "is", "was", "were"})


@dataclass(frozen=True, slots=True)
class TagRules:
    """What may not be added, the same for all rows of a request.

    `allow`: categories that may be added besides general tags and people counts. `known`: only these tags.
    `blocklist`: what this model never adds.
    """

    bans: PatternSet
    rules: tuple[Rule, ...] = ()
    allow: frozenset[Category] = frozenset()
    contradictions: bool = True
    known: KnownTags | DanbooruTags | None = None
    blocklist: Blocklist | None = None

    @property
    def apply_to_text(self) -> bool:
        """Whether any of them concerns running text."""
        return bool(len(self.bans) or self.rules or self.blocklist)

    def reject(self, tag: Tag) -> Rejection | None:
        """Return why a tag may not be added to any row, or None."""
        if (banned := self.bans.match(tag)) is not None:
            return Rejection("banned", banned)
        if self.blocklist is not None and self.blocklist.match(tag) is not None:
            return Rejection("blocklist", self.blocklist.name)
        return None


class RowTags:
    """The tags of a row, which only grow, and what follows from them.

    given, text: tags and sentences the row starts with. `taken`: names that may not be added again, those of the given
    tags and, by the tag file, their true ones.
    """

    __slots__ = ("conditional", "rules", "tags", "taken", "text")

    def __init__(self, rules: TagRules, given: Iterable[str | Tag] = (), text: str = "") -> None:
        self.rules = rules
        self.text = text
        self.tags = [read_tag(tag) for tag in given]
        self.taken = {tag.name for tag in self.tags}
        self.taken.update(chain(*(tag.trained_values for tag in self.tags)))
        if rules.known is not None:
            self.taken.update(filter(None, [rules.known.find(tag.name) for tag in self.tags]))
        self.conditional = tuple(map(RowRule, rules.rules))

    def add(self, tag: Tag) -> None:
        """Add a tag; one that the row has changes nothing."""
        if tag.name not in self.taken:
            self.taken.add(tag.name)
            self.tags.append(tag)


class _ItemFilter(ABC):
    """What tag lists and metadata lines have in common. listed: tag files list such tags."""

    def __init__(self, row: RowTags, *, listed: bool) -> None:
        self._row = row
        self._listed = listed
        self._budget = _RetryBudget()

    def judge(self, spelling: str) -> Tag | Rejection:
        """Return the tag as it is to be added, or why it may not."""
        rules, tag = self._row.rules, read_tag(spelling)
        known = rules.known if self._listed else None
        if known is not None:
            name = known.find(tag.written)
            if name is None:
                return Rejection("unknown")
            tag = tag if name == spelling else read_tag(name)
        if _is_garbled(tag.written) or _is_garbled(tag.name):
            return Rejection("garbled")
        if tag.name in self._row.taken:
            return Rejection("repeat", tag.name)
        if (rejection := rules.reject(tag) or self._reject(tag)) is not None:
            return rejection
        for rule in self._row.conditional:
            if rule.refuses(tag, self._row.tags):
                return Rejection("rule", rule.rule.source)
        if known is None and (tag.is_decorated or _is_scrap(tag)) and self._budget.spend():
            return Rejection("garbled")
        return tag

    def accept(self, tag: str | Tag) -> None:
        """Add a tag to the row."""
        self._row.add(read_tag(tag))
        self._budget = _RetryBudget()

    @abstractmethod
    def _reject(self, tag: Tag) -> Rejection | None:
        """Return why a tag is out of place in this list, or None."""


class TagFilter(_ItemFilter):
    """Decides which tags may be added to a row's tag lists."""

    def __init__(self, row: RowTags, *, refuses: Callable[[Tag], bool] | None = None) -> None:
        """refuses: whether a tag is out of place in this part of the picture."""
        super().__init__(row, listed=True)
        self._refuses = refuses
        self._scene = Scene(user=row.tags, text=row.text)
        # Costumes and emblems of a series are general tags, out of place where no character and no series is named; and
        # so is the style of an artist where no artist is.
        self._names_series = Category.COPYRIGHTS in row.rules.allow or any(map(_names_series, row.tags))
        self._names_artist = Category.ARTIST in row.rules.allow or any(map(_names_artist, row.tags))

    def accept(self, tag: str | Tag) -> None:
        """Add a tag to the row."""
        tag = read_tag(tag)
        super().accept(tag)
        self._scene.add(tag)
        self._names_series = self._names_series or _names_series(tag)
        self._names_artist = self._names_artist or _names_artist(tag)

    def _reject(self, tag: Tag) -> Rejection | None:
        rules = self._row.rules
        if tag.category not in _ALWAYS and tag.category not in rules.allow:
            return Rejection("category", tag.category.value)
        if self._refuses is not None and self._refuses(tag):
            return Rejection("category", "part")
        if (named := tag.named_category) is not None and not (
            self._names_artist if named is Category.ARTIST else self._names_series
        ):
            return Rejection("category", named.value)
        if rules.contradictions and (other := self._scene.conflict(tag)) is not None:
            return Rejection("contradiction", other)
        return None


class MetadataFilter(_ItemFilter):
    """Decides which values may be added to a metadata line; a value that no list knows counts as of its category."""

    def __init__(self, row: RowTags, category: Category) -> None:
        super().__init__(row, listed=category in _LISTED)
        self._category = category
        # A ban on the category concerns every value of this line, listed or not.
        bans = (ban for ban in row.rules.bans.patterns if ban.kind is PatternKind.CATEGORY)
        self._ban = next((ban.source for ban in bans if ban.key == category.value), None)

    def _reject(self, tag: Tag) -> Rejection | None:
        if self._ban is not None:
            return Rejection("banned", self._ban)
        if tag.category not in (self._category, Category.GENERAL):
            return Rejection("category", tag.category.value)
        return None


class PhraseFilter:
    """Finds phrases that may not be added to a row's text."""

    def __init__(self, row: RowTags) -> None:
        self._row = row

    def search(self, text: str) -> tuple[int, int, Rejection] | None:
        """Return start, end and reason of the first such phrase: by a ban, the blocklist, or a rule that holds now."""
        rules, hits = self._row.rules, list[tuple[int, int, Rejection]]()
        if (hit := rules.bans.search_text(text)) is not None:
            hits.append((*hit[:2], Rejection("banned", hit[2])))
        if rules.blocklist is not None and (hit := rules.blocklist.search_text(text)) is not None:
            hits.append((*hit[:2], Rejection("blocklist", rules.blocklist.name)))
        for rule in self._row.conditional:
            hit = rule.rule.ban.search_text(text)
            if hit is not None and rule.holds(self._row.tags):
                hits.append((*hit[:2], Rejection("rule", rule.rule.source)))
        return min(hits, key=lambda hit: hit[0], default=None)


class _RetryBudget:
    """How often in a row a decorated tag or a scrap is drawn again."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = _MAX_RETRIES

    def spend(self) -> bool:
        """Take one retry; return False where none is left."""
        self._left -= 1
        return self._left >= 0


def _names_series(tag: Tag) -> bool:
    return tag.category in _NAMES or tag.named_category in _NAMES


def _names_artist(tag: Tag) -> bool:
    return Category.ARTIST in (tag.category, tag.named_category)


def _is_scrap(tag: Tag) -> bool:
    """Return whether a tag that nobody knows reads like a piece of a sentence."""
    words = tag.name.split()
    if len(words) <= _MAX_WORDS and len(tag.name) <= _MAX_LETTERS:
        scrap = words and (words[0] in _OPENERS or words[-1] in _ENDERS or not _BEING.isdisjoint(words))
        if not scrap:
            return False
    return not tag.is_known


def _is_garbled(name: str) -> bool:
    """Return whether a form is no tag: a lone sign, or several tags between wide commas."""
    return "," in name or "\u3001" in name or (len(name) < 2 and not name.isalnum())
