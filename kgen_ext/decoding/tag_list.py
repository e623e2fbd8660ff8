"""The constraint of a tag list: counts tags, filters each when it is complete, ends the list inside its band.

A tag is complete when the model draws a separator or the end of its text. Which of the two follows is decided here, by
the count, so the probability that a tag is over stays the model's own.

Prefixes are blocked where they would complete a duplicate or a rejected tag. A tag's path of tokens is blocked at its
last open choice, the last token whose probability was below `_FORCED`: `kirisame marisa` at ` kirisame`, since
nothing else follows that; `holding sword` at ` sword`, so that `holding book` stays possible. No duplicate is decoded
twice; the price is that a longer tag which begins with the same tokens is blocked too. A beginning from which the model
goes on writing no tags (` and`, in the middle of a sentence of its own) is blocked after a few tries.
"""
from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from kgen_ext.decoding.constraint import GARBLED, EndField, FieldResult, ForceTokens, Guess, Rollback, Step
from kgen_ext.decoding.drafter import Drafter, Repeats
from kgen_ext.decoding.prior import TokenPrior
from kgen_ext.decoding.sampler import Bias, Draw
from kgen_ext.decoding.vocabulary import TokenKind, TokenMask, TokenTable, utf8_rest
from kgen_ext.protocol import Band
from kgen_ext.rules import Rejection
from kgen_ext.tags.tag import Tag

# No tag of the tag lists has more tokens in any of the models' vocabularies; a longer one is ended there.
MAX_TAG_TOKENS = 24
# Rejections in a row. Inside the band the list can simply end; below its minimum it is worth insisting.
TRIES_INSIDE, TRIES_BELOW = 12, 96
# Rejections in a row after which what is no tag is blocked at its first token.
TRIES_BEGINNING = 3
_NO_TAG = frozenset({"unknown", GARBLED.rule})
# Tokens rolled back in a row: a model that writes only long tags nobody wants must not take minutes.
MAX_WASTE = 384
# A token drawn with at least this probability was no choice.
_FORCED = 0.9


class ItemFilter(Protocol):
    """Decides which complete tags are accepted, and remembers those that were."""

    def judge(self, spelling: str) -> Tag | Rejection:
        """Return the tag as it is to be added, or why it is rejected."""
        ...

    def accept(self, tag: Tag) -> None:
        """Add an accepted tag to the row."""
        ...


class TagListConstraint:
    """Constraint of one tag list.

    given: how many tags of the list the user wrote. fresh: no tag of the user's comes right before. start: the length
    of the row when the field opens. blocked: token paths of tags that are there already. prior: of the row, if any.
    """

    __slots__ = (
        "_after_comma", "_band", "_blocked", "_buffer", "_count", "_filter", "_fresh", "_names", "_pending", "_prior",
        "_short", "_start", "_table", "_tags", "_tries", "_waste",
    )  # fmt: skip

    def __init__(
        self,
        table: TokenTable,
        band: Band,
        tag_filter: ItemFilter,
        *,
        given: int,
        fresh: bool,
        start: int,
        blocked: Iterable[Sequence[int]] = (),
        prior: TokenPrior | None = None,
    ) -> None:
        self._table = table
        self._prior = prior
        self._band = band
        self._filter = tag_filter
        self._fresh = fresh
        self._blocked = BlockedPrefixes(blocked)
        self._tags = list[Tag]()
        self._names = set[str]()  # of these tags, as the model wrote them
        self._count = given
        self._short = False
        # The tag being written:
        self._start = start  # position of its first token in the row
        self._after_comma = False  # whether a forced comma precedes it
        self._buffer = b""
        self._pending = b""  # bytes of an incomplete character at the end of the buffer
        self._tries = self._waste = 0

    @property
    def full(self) -> bool:
        """Return whether the list has its maximum of tags."""
        return self._count >= self._band.maximum

    def fast_forward(self, length: int) -> tuple[int, ...]:
        """Return the comma behind the user's last tag.

        In training, given tags were always followed by more; and an expansion that adds nothing where there is room
        would be none.
        """
        return () if self._fresh else self._next_tag((), length)

    def guess(self, drafter: Drafter, repeats: Repeats, ids: Sequence[int]) -> Guess:
        """Return the rest of the tag that most likely was begun, and the comma behind it."""
        path = self._blocked.path()
        likely = () if self._prior is None else self._prior.guess(path)
        guess = (*likely, self._table.comma) if likely else drafter.tag(path, self._names)
        return Guess("tag" if path else "first", guess)

    def token_mask(self) -> TokenMask:
        """Return the kinds of token that may be drawn next."""
        if self._pending:
            return TokenMask.BYTES
        if self._buffer.strip():
            return TokenMask.TAG
        return TokenMask.TAG_WORD if self._buffer else TokenMask.TAG_START

    def allowed_tokens(self) -> None:
        """Return None: the mask is enough."""

    def blocked_tokens(self) -> Collection[int]:
        """Return the ids that would complete a duplicate or a tag that was rejected."""
        return self._blocked.blocked_next()

    def token_bias(self) -> Collection[Bias]:
        """Return what the prior says of the next token."""
        return () if self._prior is None else self._prior.bias(self._blocked.path())

    def consume(self, drawn: Draw, length: int) -> Step | None:
        """Take in a drawn token: part of a tag, a comma, or an end."""
        token = drawn.token
        kind = self._table.kinds[token]
        if kind == TokenKind.PLAIN:
            piece = self._table.pieces[token]
            if self._pending or not piece.isascii():
                pending = utf8_rest(self._pending, piece)
                if pending is None:
                    return Rollback(length, GARBLED)
                self._pending = pending
            self._buffer += piece
            self._blocked.push(token, drawn.share)
            if length + 1 - self._start < MAX_TAG_TOKENS:
                return None
            return self._complete(self._buffer, (token,), length, more=True)
        if self._pending:
            return Rollback(length, GARBLED)
        rest = self._table.before_comma(token) if kind == TokenKind.COMMA else ()
        if rest:
            self._blocked.push(token, drawn.share)
        whole = self._buffer + b"".join(self._table.pieces[rest_token] for rest_token in rest)
        return self._complete(whole, rest, length, more=kind == TokenKind.COMMA)

    def on_dead_end(self, length: int) -> Step:
        """Reject the tag so far, which leads nowhere; end the list where a tag cannot even begin."""
        return self._reject("", GARBLED, length) if length > self._start else self.finish_early()

    def finish_early(self) -> EndField:
        """End the list before the tag being written, and take back the comma before it."""
        self._short = self._count < self._band.minimum
        return EndField(cut=self._start - 1 if self._after_comma else self._start)

    def result(self) -> FieldResult:
        """Return the accepted tags, without the given ones."""
        return FieldResult(tags=tuple(self._tags), short=self._short)

    def _complete(self, whole: bytes, last: tuple[int, ...], length: int, *, more: bool) -> Step:
        """Filter a complete tag; `last` are the ids of it that the row does not hold yet."""
        tag = " ".join(whole.decode("utf-8", "replace").split())
        judged = self._filter.judge(tag) if utf8_rest(b"", whole) == b"" else GARBLED
        if isinstance(judged, Rejection):
            if self._prior is not None:
                self._prior.refuse(tag)
            return self._reject(tag, judged, length)
        if self._prior is not None and self._count >= self._band.minimum and self._prior.ends_before(judged.written):
            return self.finish_early()
        self._filter.accept(judged)
        self._tags.append(judged)
        self._names.add(tag)
        if self._prior is not None:
            self._prior.add(judged.written)
        self._count += 1
        self._tries = self._waste = 0
        # What was as good as certain is it no more where a prior knows that the tag is there.
        self._blocked.close(last=self._prior is not None)
        if self.full or (not more and self._count >= self._band.minimum):
            return EndField(last, accepted=judged)
        return ForceTokens(self._next_tag(last, length), accepted=judged)

    def _next_tag(self, last: tuple[int, ...], length: int) -> tuple[int, ...]:
        """Begin a new tag and return the ids before it: `last`, then a comma."""
        self._buffer = self._pending = b""
        self._blocked.restart()
        self._after_comma = True
        self._start = length + len(last) + 1
        return (*last, self._table.comma)

    def _reject(self, tag: str, reason: Rejection, length: int) -> Step:
        """Roll back to the tag's last open choice, which is blocked from now on; give up where that costs too much."""
        self._blocked.close(whole=reason.rule in _NO_TAG and self._tries >= TRIES_BEGINNING)
        self._pending = b""
        while utf8_rest(b"", self._spelled()):
            self._blocked.pop()  # never into the middle of a character
        self._buffer = self._spelled()
        index = self._start + len(self._blocked.path())
        self._tries += 1
        self._waste += length - index
        inside = self._count >= self._band.minimum
        if self._tries > (TRIES_INSIDE if inside else TRIES_BELOW) or self._waste > MAX_WASTE:
            return self.finish_early()
        return Rollback(index, reason, tag)

    def _spelled(self) -> bytes:
        return b"".join(self._table.pieces[token] for token in self._blocked.path())


class BlockedPrefixes:
    """Token paths a list must not take again, and the path of the tag being written."""

    __slots__ = ("_blocked", "_path", "_shares")

    def __init__(self, paths: Iterable[Sequence[int]]) -> None:
        self._blocked: dict[tuple[int, ...], set[int]] = {}  # ids by the path before them
        self._path: list[int] = []
        self._shares: list[float] = []
        for path in paths:
            # The probabilities in a tag that was given are not known: only those of one token are blocked beforehand.
            if len(path) == 1:
                self._blocked.setdefault((), set()).add(path[0])

    def blocked_next(self) -> set[int]:
        """Return the ids that are blocked behind the current path."""
        return self._blocked.get(tuple(self._path), set())

    def push(self, token: int, share: float) -> None:
        """Extend the path by a token, drawn with this probability."""
        self._path.append(token)
        self._shares.append(share)

    def pop(self) -> None:
        """Take the last token off the path."""
        del self._path[-1:], self._shares[-1:]

    def close(self, *, whole: bool = False, last: bool = False) -> None:
        """Block the path at its last open choice, its first token if `whole`, its `last`; go back to before that."""
        open_choices = (place for place, share in enumerate(self._shares) if share < _FORCED or last)
        index = 0 if whole else max(open_choices, default=0)
        if self._path:
            self._blocked.setdefault(tuple(self._path[:index]), set()).add(self._path[index])
        del self._path[index:], self._shares[index:]

    def restart(self) -> None:
        """Begin the path of the next tag."""
        self._path, self._shares = [], []

    def path(self) -> tuple[int, ...]:
        """Return the tokens of the tag being written."""
        return tuple(self._path)
