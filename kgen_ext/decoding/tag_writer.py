"""Writes one list of tags: counts them, has each judged when it is whole, and ends the list inside its band.

A tag is whole when the model draws a separator or the end; which of those follows is decided here, by the count, so
that the chance of a tag being over stays the model's own. Knows the tokens' kinds, not the engine.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from kgen_ext.decoding.dead_ends import DeadEnds
from kgen_ext.decoding.sampler import Draw
from kgen_ext.decoding.tokens import Allow, Kind, TokenTable, utf8_rest
from kgen_ext.decoding.verdict import Back, Close, Feed, Rejection, Verdict
from kgen_ext.protocol import Band

# No tag of the lists has more tokens under any of the models' vocabularies; longer ones are cut there.
MAX_TAG_TOKENS = 24
# Draws at one place: inside the band the list may simply end, below it there is reason to insist.
TRIES_INSIDE, TRIES_BELOW = 12, 96
# Tokens taken back at one place: a model that only writes long tags nobody wants is not listened to for minutes.
MAX_WASTE = 384


class Judge(Protocol):
    """Decides whether a whole tag may stand, and remembers those that do."""

    def judge(self, tag: str) -> str | Rejection:
        """Return the tag's accepted spelling, or why it may not stand."""
        ...

    def accept(self, tag: str) -> None:
        """Remember an accepted tag."""
        ...


class TagWriter:
    """One tag list in the making; `tags` are the accepted ones, the given ones not included."""

    __slots__ = (
        "_band", "_buffer", "_comma", "_count", "_dead", "_fresh", "_judge", "_pending", "_start", "_table", "_tries",
        "_waste", "short", "tags",
    )  # fmt: skip

    def __init__(
        self,
        table: TokenTable,
        band: Band,
        judge: Judge,
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
        self._dead = DeadEnds(dead_ends)
        self._fresh = fresh  # no tag of the user's stands right before
        self.tags = list[str]()
        self.short = False  # ended below the band

    @property
    def full(self) -> bool:
        """Nothing more may be written."""
        return self._count >= self._band.maximum

    def allow(self) -> Allow:
        """Return what the next draw may give."""
        if self._pending:
            return Allow.BYTES
        if self._buffer.strip():
            return Allow.TAG
        return Allow.TAG_WORD if self._buffer else Allow.TAG_START

    def forbidden(self) -> set[int]:
        """Return the ids that would only repeat a tag that stands or was refused."""
        return self._dead.forbidden()

    def forced(self, length: int) -> tuple[int, ...]:
        """Return ids that come first whatever the model wants: the comma behind the user's last tag.

        In training a given part of the list was always followed by more of it; and an expansion that adds nothing
        where there is room would be none.
        """
        return () if self._fresh else self._separate((), length)

    def take(self, drawn: Draw, length: int) -> Verdict:
        """Judge a drawn token; `length` is the number of tokens the row holds."""
        token = drawn.token
        kind = self._table.kinds[token]
        if kind == Kind.PLAIN:
            piece = self._table.pieces[token]
            if self._pending or not piece.isascii():
                pending = utf8_rest(self._pending, piece)
                if pending is None:
                    return Back(length, "", "garbled", "")
                self._pending = pending
            self._buffer += piece
            self._dead.push(token, drawn.share)
            if length + 1 - self._start < MAX_TAG_TOKENS:
                return None
            return self._finish(self._buffer, (token,), length, more=True)
        if self._pending:
            return Back(length, "", "garbled", "")
        rest = self._table.before_comma(token) if kind == Kind.COMMA else ()
        if rest:
            self._dead.push(token, drawn.share)
        whole = self._buffer + b"".join(self._table.pieces[one] for one in rest)
        return self._finish(whole, rest, length, more=kind == Kind.COMMA)

    def _finish(self, whole: bytes, last: tuple[int, ...], length: int, *, more: bool) -> Feed | Back | Close:
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
            return Close(last)
        return Feed(self._separate(last, length))

    def _separate(self, last: tuple[int, ...], length: int) -> tuple[int, ...]:
        """Begin a new tag behind `last` and a comma."""
        self._buffer = self._pending = b""
        self._dead.restart()
        self._comma = True
        self._start = length + len(last) + 1
        return (*last, self._table.comma)

    def _reject(self, tag: str, why: Rejection, length: int) -> Back | Close:
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
        return Back(index, tag, why.rule, why.detail)

    def _spelled(self) -> bytes:
        return b"".join(self._table.pieces[token] for token in self._dead.path())

    def stuck(self, length: int) -> Back | Close:
        """Go on where nothing may be drawn: what led here is closed, and an earlier choice drawn again."""
        return self._reject("", Rejection("garbled"), length) if length > self._start else self.give_up()

    def give_up(self) -> Close:
        """End the list before the tag in hand, its separator taken back with it."""
        self.short = self._count < self._band.minimum
        return Close(cut=self._start - 1 if self._comma else self._start)
