"""The rules a finished tag must pass: not a repeat, not banned, wanted, no contradiction, known.

One judge belongs to one row and remembers what stands there; it has never heard of tokens. The user's own tags are
remembered, never judged.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kgen_ext.decoding.verdict import Rejection
from kgen_ext.request import Category
from kgen_ext.tags.categories import category_of
from kgen_ext.tags.contradictions import Scene
from kgen_ext.tags.normalise import normalise
from kgen_ext.tags.patterns import PatternSet
from kgen_ext.tags.rules import Rule

if TYPE_CHECKING:
    from kgen_ext.tags.known import KnownTags

# What a tag list is made of; everything else needs to be allowed.
_ALWAYS = frozenset({Category.GENERAL, Category.SPECIAL})


@dataclass(frozen=True, slots=True)
class TagRules:
    """What may not be written, the same for all rows of a request.

    `allow`: categories that may be written besides general tags and people counts. `known`: only tags of this file.
    """

    bans: PatternSet
    rules: tuple[Rule, ...] = ()
    allow: frozenset[Category] = frozenset()
    contradictions: bool = True
    known: KnownTags | None = None


class TagJudge:
    """Judges the tags of one row; `given` are those that stand before it writes."""

    def __init__(self, rules: TagRules, *, given: Iterable[str]) -> None:
        self._rules = rules
        self._all = [normalise(tag) for tag in given]
        self._seen = set(self._all)
        self._scene = Scene(user=self._all)

    def judge(self, tag: str) -> str | Rejection:
        """Return the tag as it may stand, or why it may not."""
        rules = self._rules
        if rules.known is not None:
            found = rules.known.resolve(tag)
            if found is None:
                return Rejection("unknown")
            tag = found
        name = normalise(tag)
        if not any(char.isalnum() for char in name) and len(name) < 2:
            return Rejection("garbled")
        if name in self._seen:
            return Rejection("repeat", name)
        banned = rules.bans.match(tag)
        if banned is not None:
            return Rejection("banned", banned)
        category = category_of(tag)
        if category not in _ALWAYS and category not in rules.allow:
            return Rejection("category", category.value)
        if rules.contradictions:
            other = self._scene.conflict(name)
            if other is not None:
                return Rejection("contradiction", other)
        for rule in rules.rules:
            if self._breaks(rule, name):
                return Rejection("rule", rule.source)
        return tag

    def accept(self, tag: str) -> None:
        """Remember a tag that stands."""
        name = normalise(tag)
        self._seen.add(name)
        self._all.append(name)
        self._scene.add(name)

    def _breaks(self, rule: Rule, name: str) -> bool:
        """Tell whether a tag is banned by a rule, or would make it hold against a tag that stands already."""
        if rule.holds(self._all):
            return rule.ban.match(name) is not None
        return rule.holds((*self._all, name)) and any(rule.ban.match(one) for one in (*self._all, name))


class ValueJudge:
    """Judges metadata values of one category: not banned, not there already, not known to be of another kind."""

    def __init__(self, rules: TagRules, category: Category, *, given: Iterable[str]) -> None:
        self._rules = rules
        self._category = category
        self._seen = {normalise(tag) for tag in given}

    def judge(self, tag: str) -> str | Rejection:
        """Return the value as it may stand, or why it may not."""
        name = normalise(tag)
        if not name:
            return Rejection("garbled")
        if name in self._seen:
            return Rejection("repeat", name)
        banned = self._rules.bans.match(tag)
        if banned is not None:
            return Rejection("banned", banned)
        category = category_of(tag)
        if category not in (self._category, Category.GENERAL):
            return Rejection("category", category.value)
        return tag

    def accept(self, tag: str) -> None:
        """Remember a value that stands."""
        self._seen.add(normalise(tag))
