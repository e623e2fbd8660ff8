"""Writes the metadata lines a TIPO model may add behind its last field: any of the missing keys, or none.

The model chooses between the end and a next line, then among the keys not yet written; each value is judged as a tag
of that key's category. Knows the tokens' kinds, not the engine.
"""
from __future__ import annotations

from collections.abc import Mapping

from kgen_ext.decoding.constraint import EndField, ForceTokens, Rollback, Step
from kgen_ext.decoding.sampler import Draw
from kgen_ext.decoding.tag_list import ItemFilter, TagListConstraint
from kgen_ext.decoding.vocabulary import TokenKind, TokenMask, TokenTable
from kgen_ext.protocol import Band
from kgen_ext.request import Category
from kgen_ext.tags.tag import Tag

# Danbooru posts rarely name more of any one kind.
_VALUES = Band(1, 3)


class MetadataConstraint:
    """Metadata lines in the making; `values` are the accepted ones, `tags` the same in the order they came."""

    __slots__ = ("_depth", "_judges", "_key", "_keys", "_list", "_table", "short", "tags", "values")

    def __init__(
        self, table: TokenTable, keys: Mapping[Category, tuple[int, ...]], judges: Mapping[Category, ItemFilter]
    ) -> None:
        self._table = table
        self._keys = dict(keys)  # header tokens behind the newline, colon included
        self._judges = judges
        self._depth = -1  # tokens of a key written; -1: no line begun
        self._key: tuple[int, ...] = ()
        self._list: tuple[Category, TagListConstraint] | None = None
        self.values: dict[Category, tuple[Tag, ...]] = {}
        self.tags = list[Tag]()
        self.short = False

    @property
    def full(self) -> bool:
        """Nothing more may be written."""
        return not self._keys and self._list is None

    def only(self) -> frozenset[int] | None:
        """Return the ids the next draw is confined to, or None where `allow` says it."""
        if self._list is not None or self._depth < 0:
            return None
        return frozenset(key[self._depth] for key in self._candidates())

    def allow(self) -> TokenMask:
        """Return what the next draw may give."""
        return self._list[1].allow() if self._list is not None else TokenMask.LINE_OR_END

    def take(self, drawn: Draw, length: int) -> Step:
        """Judge a drawn token; `length` is the number of tokens the row holds."""
        token = drawn.token
        kind = self._table.kinds[token]
        if self._list is not None:
            category, values = self._list
            before = len(values.tags)
            verdict = values.take(drawn, length)
            self.tags += values.tags[before:]
            if not isinstance(verdict, EndField):
                return verdict
            self.values[category] = tuple(values.tags)
            self._list = None
            if kind != TokenKind.LINE or verdict.cut is not None or not self._keys:
                return verdict
            self._depth, self._key = 0, ()
            return ForceTokens((*verdict.ids, self._table.line))
        if self._depth < 0:
            if kind == TokenKind.END:
                return EndField()
            self._depth, self._key = 0, ()
            return ForceTokens((self._table.line,))
        self._key += (token,)
        self._depth += 1
        for category, key in self._keys.items():
            if key == self._key:
                del self._keys[category]
                self._depth = -1
                judge = self._judges[category]
                values = TagListConstraint(self._table, _VALUES, judge, given=0, fresh=True, start=length + 1)
                self._list = (category, values)
                break
        return None

    def stuck(self, length: int) -> Rollback | EndField:
        """Go on where nothing may be drawn."""
        verdict = self._list[1].stuck(length) if self._list is not None else None
        return verdict if isinstance(verdict, Rollback) else self.give_up()

    def give_up(self) -> EndField:
        """End before the value in hand; half a key is dropped by ending the row."""
        if self._list is None:
            return EndField()
        category, values = self._list
        self.values[category] = tuple(values.tags)
        self._list = None
        return values.give_up()

    def _candidates(self) -> list[tuple[int, ...]]:
        return [key for key in self._keys.values() if key[: self._depth] == self._key]
