"""The constraint of the metadata lines a TIPO model may add behind its last field.

    "\n" key ":" value ("," value)*       any of the keys that were asked for, each once, in the order the model chooses

The model chooses between another line and the end, then among the remaining keys; a line's values are a tag list with
the filter of its category.
"""
from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from kgen_ext.decoding.constraint import EndField, FieldResult, ForceTokens, Guess, Rollback, Step
from kgen_ext.decoding.drafter import Drafter, Repeats
from kgen_ext.decoding.sampler import Draw
from kgen_ext.decoding.tag_list import ItemFilter, TagListConstraint
from kgen_ext.decoding.vocabulary import TokenKind, TokenMask, TokenTable
from kgen_ext.protocol import Band
from kgen_ext.request import Category
from kgen_ext.tags.tag import Tag

# Danbooru posts rarely name more of any one category.
_VALUES = Band(1, 3)


class MetadataConstraint:
    """Constraint of all metadata lines of a row. keys: ids of each category's header, from behind the newline on."""

    __slots__ = ("_filters", "_header", "_keys", "_line", "_metadata", "_table")

    def __init__(
        self, table: TokenTable, keys: Mapping[Category, tuple[int, ...]], filters: Mapping[Category, ItemFilter]
    ) -> None:
        self._table = table
        self._keys = dict(keys)  # those not yet written
        self._filters = filters
        self._metadata: dict[Category, tuple[Tag, ...]] = {}
        # One of three states: a header is being written, a line's values are, or (both None) a line is over.
        self._header: tuple[int, ...] | None = None
        self._line: tuple[Category, TagListConstraint] | None = None

    @property
    def full(self) -> bool:
        """Return whether no key is left."""
        return not self._keys and self._line is None

    def fast_forward(self, length: int) -> tuple[int, ...]:
        """Return nothing: the model may as well end."""
        return ()

    def guess(self, drafter: Drafter, repeats: Repeats, ids: Sequence[int]) -> Guess | None:
        """Return the rest of a header that can go on in one way only."""
        if self._header is None:
            return None
        ways = {key[len(self._header) :] for key in self._keys.values() if key[: len(self._header)] == self._header}
        return Guess("header", ways.pop()) if len(ways) == 1 else None

    def token_mask(self) -> TokenMask:
        """Return the kinds of token that may be drawn next."""
        return self._line[1].token_mask() if self._line is not None else TokenMask.LINE_OR_END

    def allowed_tokens(self) -> Collection[int] | None:
        """Return the ids with which the header can go on, while one is being written."""
        if self._header is None:
            return None
        depth = len(self._header)
        return {key[depth] for key in self._keys.values() if key[:depth] == self._header}

    def blocked_tokens(self) -> Collection[int]:
        """Return nothing: too few values are written for duplicates to be worth blocking."""
        return ()

    def token_bias(self) -> tuple[()]:
        """Return nothing: nothing is known here that the model does not know better."""
        return ()

    def consume(self, drawn: Draw, length: int) -> Step | None:
        """Take in a drawn token: part of a value, part of a header, a newline or the end."""
        if self._line is not None:
            return self._consume_value(*self._line, drawn, length)
        if self._header is not None:
            self._consume_key(self._header, drawn.token, length)
            return None
        if self._table.kinds[drawn.token] == TokenKind.END:
            return EndField()
        self._header = ()
        return ForceTokens((self._table.line,))

    def on_dead_end(self, length: int) -> Step:
        """Do what the line's values do, or end."""
        step = self._line[1].on_dead_end(length) if self._line is not None else None
        return step if isinstance(step, Rollback) else self.finish_early()

    def finish_early(self) -> EndField:
        """End before the value being written; nothing is read of half a header."""
        if self._line is None:
            return EndField()
        category, values = self._line
        self._close_line(category, values)
        return values.finish_early()

    def result(self) -> FieldResult:
        """Return the accepted values of each line."""
        return FieldResult(metadata=self._metadata)

    def _consume_key(self, header: tuple[int, ...], token: int, length: int) -> None:
        self._header = header = (*header, token)
        for category, key in self._keys.items():
            if key == header:
                del self._keys[category]
                tag_filter = self._filters[category]
                values = TagListConstraint(self._table, _VALUES, tag_filter, given=0, fresh=True, start=length + 1)
                self._header, self._line = None, (category, values)
                return

    def _consume_value(self, category: Category, values: TagListConstraint, drawn: Draw, length: int) -> Step | None:
        step = values.consume(drawn, length)
        if not isinstance(step, EndField):
            return step
        self._close_line(category, values)
        if self._table.kinds[drawn.token] != TokenKind.LINE or step.cut is not None or not self._keys:
            return step
        # The model went on to another line.
        self._header = ()
        return ForceTokens((*step.ids, self._table.line), accepted=step.accepted)

    def _close_line(self, category: Category, values: TagListConstraint) -> None:
        self._metadata[category] = values.result().tags
        self._line = None
