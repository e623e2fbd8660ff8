"""The rules a finished tag must pass: not a repeat, not banned, wanted, no contradiction, known.

One judge belongs to one row and remembers what stands there; it has never heard of tokens. The user's own tags are
remembered, never judged.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kgen_ext.request import Category
from kgen_ext.rules import Rejection
from kgen_ext.rules.blocklist import Blocklist
from kgen_ext.rules.conditional import Rule
from kgen_ext.rules.contradictions import Scene
from kgen_ext.rules.patterns import PatternKind, PatternSet
from kgen_ext.tags.canonical import canonical_name, is_decorated, normalise
from kgen_ext.tags.categories import category_of, series_of

if TYPE_CHECKING:
    from kgen_ext.rules.known import KnownTags

# What a tag list is made of; everything else needs to be allowed.
_ALWAYS = frozenset({Category.GENERAL, Category.SPECIAL})
_NAMES = frozenset({Category.CHARACTERS, Category.COPYRIGHTS})
# What the tag files that users have list besides general tags.
_LISTED = frozenset({Category.ARTIST, Category.CHARACTERS, Category.COPYRIGHTS, Category.META})
# Tags in a row that are drawn again for the signs about them; a model that writes nothing else keeps its length.
_DRESSED = 8


@dataclass(frozen=True, slots=True)
class TagRules:
    """What may not be written, the same for all rows of a request.

    `allow`: categories that may be written besides general tags and people counts. `known`: only tags of this file.
    `blocklist`: what this model never writes.
    """

    bans: PatternSet
    rules: tuple[Rule, ...] = ()
    allow: frozenset[Category] = frozenset()
    contradictions: bool = True
    known: KnownTags | None = None
    blocklist: Blocklist | None = None

    @property
    def censors(self) -> bool:
        """Tell whether any of it holds for running text too."""
        return bool(len(self.bans) or self.rules or self.blocklist)

    def refused(self, tag: str) -> Rejection | None:
        """Return why a tag may not stand whatever stands beside it, or None."""
        if (banned := self.bans.match(tag)) is not None:
            return Rejection("banned", banned)
        if self.blocklist is not None and self.blocklist.match(tag) is not None:
            return Rejection("blocklist", self.blocklist.name)
        return None


class TagFilter:
    """Judges the tags of one row; `given` are those that stand before it writes."""

    def __init__(self, rules: TagRules, *, given: Iterable[str]) -> None:
        self._rules = rules
        self._all = [canonical_name(normalise(tag)) for tag in given]
        self._seen = _names(rules, self._all)
        self._scene = Scene(user=self._all)
        self._patience = _RetryBudget()
        # Costumes and emblems of a series are general tags, out of place where nobody and no series is named.
        self._named = Category.COPYRIGHTS in rules.allow or any(map(_names_series, self._all))

    @property
    def tags(self) -> list[str]:
        """The tags that stand by now, in normal form."""
        return self._all

    def judge(self, tag: str) -> str | Rejection:
        """Return the tag as it may stand, or why it may not."""
        rules = self._rules
        if rules.known is not None:
            found = rules.known.resolve(tag)
            if found is None:
                return Rejection("unknown")
            tag = found
        written = normalise(tag)
        name = canonical_name(written)
        if _is_garbled(written) or _is_garbled(name):
            return Rejection("garbled")
        if name in self._seen:
            return Rejection("repeat", name)
        refused = rules.refused(tag)
        if refused is not None:
            return refused
        category = category_of(tag)
        if category not in _ALWAYS and category not in rules.allow:
            return Rejection("category", category.value)
        if category is Category.GENERAL and not self._named and series_of(name) is not None:
            return Rejection("category", Category.COPYRIGHTS.value)
        if rules.contradictions:
            other = self._scene.conflict(name)
            if other is not None:
                return Rejection("contradiction", other)
        broken = _broken(rules.rules, name, self._all)
        if broken is not None:
            return Rejection("rule", broken)
        return self._patience.judge(tag, written, known=rules.known is not None)

    def accept(self, tag: str) -> None:
        """Remember a tag that stands."""
        name = canonical_name(normalise(tag))
        self._patience = _RetryBudget()
        self._seen.add(name)
        self._all.append(name)
        self._scene.add(name)
        self._named = self._named or _names_series(name)


def _names_series(tag: str) -> bool:
    return category_of(tag) in _NAMES or series_of(tag) is not None


class MetadataFilter:
    """Judges metadata values of one category as tags are, except that what no list knows is taken for its category."""

    def __init__(self, rules: TagRules, category: Category, *, given: Iterable[str]) -> None:
        self._rules = rules
        self._category = category
        self._all = [canonical_name(normalise(tag)) for tag in given]
        self._patience = _RetryBudget()
        self._seen = _names(rules, self._all)
        kinds = (one for one in rules.bans.patterns if one.kind is PatternKind.CATEGORY and one.key == category.value)
        self._banned_kind = next((one.source for one in kinds), None)  # whatever the value, here it is of that kind

    def judge(self, tag: str) -> str | Rejection:
        """Return the value as it may stand, or why it may not."""
        rules = self._rules
        if rules.known is not None and self._category in _LISTED:
            found = rules.known.resolve(tag)
            if found is None:
                return Rejection("unknown")
            tag = found
        written = normalise(tag)
        name = canonical_name(written)
        if _is_garbled(written) or _is_garbled(name):
            return Rejection("garbled")
        if name in self._seen:
            return Rejection("repeat", name)
        refused = rules.refused(tag)
        if refused is not None:
            return refused
        if self._banned_kind is not None:
            return Rejection("banned", self._banned_kind)
        category = category_of(tag)
        if category not in (self._category, Category.GENERAL):
            return Rejection("category", category.value)
        broken = _broken(rules.rules, name, self._all)
        if broken is not None:
            return Rejection("rule", broken)
        return self._patience.judge(tag, written, known=rules.known is not None)

    def accept(self, tag: str) -> None:
        """Remember a value, or a tag of another list, that stands."""
        name = canonical_name(normalise(tag))
        self._seen.add(name)
        self._all.append(name)


class _RetryBudget:
    """Draws a tag again for the signs about it, a few times in a row: one that breaks no rule, and yet is none."""

    def __init__(self) -> None:
        self._left = _DRESSED

    def judge(self, tag: str, written: str, *, known: bool) -> str | Rejection:
        """Return the tag, or why not. known: the tag file has it as it is."""
        if known or not self._left or not is_decorated(written):
            return tag
        self._left -= 1
        return Rejection("garbled")


def _names(rules: TagRules, given: Iterable[str]) -> set[str]:
    """Return the names under which given tags must not come again: their own and, by the tag file, the true one."""
    known = rules.known
    return {name for tag in given for name in (tag, known.resolve(tag) if known is not None else None) if name}


def _is_garbled(name: str) -> bool:
    """Tell whether a normalised name is no tag: a lone sign, or several tags between wide commas."""
    return "," in name or "\u3001" in name or (len(name) < 2 and not name.isalnum())


def _broken(rules: Iterable[Rule], name: str, present: list[str]) -> str | None:
    """Return the rule that bans a tag, or that it would make hold against a tag that stands already."""
    for rule in rules:
        if rule.holds(present):
            if rule.ban.match(name) is not None:
                return rule.source
        elif rule.holds((*present, name)) and any(rule.ban.match(one) for one in (*present, name)):
            return rule.source
    return None
