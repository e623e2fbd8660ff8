"""Writes one list of tags: counts them, has each judged when it is whole, and ends the list inside its band.

A tag is whole when the model draws a separator or the end; which of those follows is decided here, by the count, so
that the chance of a tag being over stays the model's own. Knows the tokens' kinds, not the engine.

Where a tag list must not go again: token paths that end in a tag which stands already or was refused.

A path is closed at its last open choice: the last of its tokens that the model was not nearly bound to draw. `kirisame
marisa` is closed at ` kirisame`, since nothing else follows that; `holding sword` at ` sword`, so that `holding book`
stays open. Nothing is decoded twice for a repeat; the price is that a longer tag which begins with a closed one, token
for token, is closed with it. Knows token ids, not what they spell.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from kgen_ext.decoding.constraint import EndField, ForceTokens, Rollback, Step
from kgen_ext.decoding.sampler import Draw
from kgen_ext.decoding.vocabulary import TokenKind, TokenMask, TokenTable, utf8_rest
from kgen_ext.protocol import Band
from kgen_ext.rules import Rejection
from kgen_ext.tags.tag import Tag

# A token with at least this share of the mass was no choice.
_BOUND = 0.9


class BlockedPrefixes:
    """The closed paths of one list, and the path of the tag in hand."""

    __slots__ = ("_closed", "_path", "_shares")

    def __init__(self, paths: Iterable[Sequence[int]]) -> None:
        self._closed: dict[tuple[int, ...], set[int]] = {}
        self._path: list[int] = []
        self._shares: list[float] = []
        for path in paths:
            # How likely the tokens of a given tag were is not known: only those of one token are closed beforehand.
            if len(path) == 1:
                self._closed.setdefault((), set()).add(path[0])

    def forbidden(self) -> set[int]:
        """Return the ids that must not come next."""
        return self._closed.get(tuple(self._path), set())

    def push(self, token: int, share: float) -> None:
        """Follow a drawn token."""
        self._path.append(token)
        self._shares.append(share)

    def close(self) -> None:
        """Close the path in hand and go back to before its last open choice."""
        index = max((at for at, share in enumerate(self._shares) if share < _BOUND), default=0)
        if self._path:
            self._closed.setdefault(tuple(self._path[:index]), set()).add(self._path[index])
        del self._path[index:], self._shares[index:]

    def back(self) -> None:
        """Step back one token without closing anything."""
        del self._path[-1:], self._shares[-1:]

    def restart(self) -> None:
        """Begin the next tag."""
        self._path, self._shares = [], []

    def path(self) -> tuple[int, ...]:
        """Return the tokens of the tag in hand."""
        return tuple(self._path)


# No tag of the lists has more tokens under any of the models' vocabularies; longer ones are cut there.
MAX_TAG_TOKENS = 24
# Draws at one place: inside the band the list may simply end, below it there is reason to insist.
TRIES_INSIDE, TRIES_BELOW = 12, 96
# Tokens taken back at one place: a model that only writes long tags nobody wants is not listened to for minutes.
MAX_WASTE = 384


class ItemFilter(Protocol):
    """Decides whether a whole tag may stand, and remembers those that do."""

    def judge(self, spelling: str) -> Tag | Rejection:
        """Return the tag as it is to be added, or why it may not."""
        ...

    def accept(self, tag: Tag) -> None:
        """Add an accepted tag to the row."""
        ...


class TagListConstraint:
    """One tag list in the making; `tags` are the accepted ones, the given ones not included."""

    __slots__ = (
        "_band", "_buffer", "_comma", "_count", "_dead", "_fresh", "_judge", "_pending", "_start", "_table", "_tries",
        "_waste", "short", "tags",
    )  # fmt: skip

    def __init__(
        self,
        table: TokenTable,
        band: Band,
        judge: ItemFilter,
        *,
        given: int,
        fresh: bool,
        start: int,
        dead_ends: Iterable[Sequence[int]] = (),
    ) -> None:
        self._table = table
        self._band = band
        self._judge = judge
        self._count = given
        self._start = start  # index of the current tag's first token in the row
        self._buffer = b""
        self._pending = b""  # bytes of an unfinished character at the buffer's end
        self._comma = False  # a separator of ours stands before the current tag
        self._tries = self._waste = 0
        self._dead = BlockedPrefixes(dead_ends)
        self._fresh = fresh  # no tag of the user's stands right before
        self.tags = list[Tag]()
        self.short = False  # ended below the band

    @property
    def full(self) -> bool:
        """Nothing more may be written."""
        return self._count >= self._band.maximum

    def allow(self) -> TokenMask:
        """Return what the next draw may give."""
        if self._pending:
            return TokenMask.BYTES
        if self._buffer.strip():
            return TokenMask.TAG
        return TokenMask.TAG_WORD if self._buffer else TokenMask.TAG_START

    def forbidden(self) -> set[int]:
        """Return the ids that would only repeat a tag that stands or was refused."""
        return self._dead.forbidden()

    def forced(self, length: int) -> tuple[int, ...]:
        """Return ids that come first whatever the model wants: the comma behind the user's last tag.

        In training a given part of the list was always followed by more of it; and an expansion that adds nothing
        where there is room would be none.
        """
        return () if self._fresh else self._separate((), length)

    def take(self, drawn: Draw, length: int) -> Step:
        """Judge a drawn token; `length` is the number of tokens the row holds."""
        token = drawn.token
        kind = self._table.kinds[token]
        if kind == TokenKind.PLAIN:
            piece = self._table.pieces[token]
            if self._pending or not piece.isascii():
                pending = utf8_rest(self._pending, piece)
                if pending is None:
                    return Rollback(length, "", "garbled", "")
                self._pending = pending
            self._buffer += piece
            self._dead.push(token, drawn.share)
            if length + 1 - self._start < MAX_TAG_TOKENS:
                return None
            return self._finish(self._buffer, (token,), length, more=True)
        if self._pending:
            return Rollback(length, "", "garbled", "")
        rest = self._table.before_comma(token) if kind == TokenKind.COMMA else ()
        if rest:
            self._dead.push(token, drawn.share)
        whole = self._buffer + b"".join(self._table.pieces[one] for one in rest)
        return self._finish(whole, rest, length, more=kind == TokenKind.COMMA)

    def _finish(
        self, whole: bytes, last: tuple[int, ...], length: int, *, more: bool
    ) -> ForceTokens | Rollback | EndField:
        """Have a whole tag judged; `last` are its tokens that the row does not hold yet."""
        tag = " ".join(whole.decode("utf-8", "replace").split())
        judged = self._judge.judge(tag) if utf8_rest(b"", whole) == b"" else Rejection("garbled")
        if isinstance(judged, Rejection):
            return self._reject(tag, judged, length)
        self._judge.accept(judged)
        self.tags.append(judged)
        self._count += 1
        self._tries = self._waste = 0
        self._dead.close()
        if self.full or (not more and self._count >= self._band.minimum):
            return EndField(last)
        return ForceTokens(self._separate(last, length))

    def _separate(self, last: tuple[int, ...], length: int) -> tuple[int, ...]:
        """Begin a new tag behind `last` and a comma."""
        self._buffer = self._pending = b""
        self._dead.restart()
        self._comma = True
        self._start = length + len(last) + 1
        return (*last, self._table.comma)

    def _reject(self, tag: str, why: Rejection, length: int) -> Rollback | EndField:
        """Go back to the tag's last open choice, which is closed from now on."""
        self._dead.close()
        self._pending = b""
        while utf8_rest(b"", self._spelled()):
            self._dead.back()  # never to the middle of a character
        self._buffer = self._spelled()
        index = self._start + len(self._dead.path())
        self._tries += 1
        self._waste += length - index
        inside = self._count >= self._band.minimum
        if self._tries > (TRIES_INSIDE if inside else TRIES_BELOW) or self._waste > MAX_WASTE:
            return self.give_up()
        return Rollback(index, tag, why.rule, why.detail)

    def _spelled(self) -> bytes:
        return b"".join(self._table.pieces[token] for token in self._dead.path())

    def stuck(self, length: int) -> Rollback | EndField:
        """Go on where nothing may be drawn: what led here is closed, and an earlier choice drawn again."""
        return self._reject("", Rejection("garbled"), length) if length > self._start else self.give_up()

    def give_up(self) -> EndField:
        """End the list before the tag in hand, its separator taken back with it."""
        self.short = self._count < self._band.minimum
        return EndField(cut=self._start - 1 if self._comma else self._start)
