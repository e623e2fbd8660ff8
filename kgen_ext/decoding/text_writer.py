"""Writes sentences: counts them as they end, takes back banned phrases, and never leaves half a sentence.

A sentence is over when its stop is followed by a space, a new line or the end; the token that shows it belongs to
the next sentence and is not fed when no next one may come. Knows the tokens' kinds, not the engine.
"""
from __future__ import annotations

from collections.abc import Callable

from kgen_ext.decoding.sentences import ends_sentence
from kgen_ext.decoding.tokens import Allow, Kind, TokenTable, utf8_rest
from kgen_ext.decoding.verdict import Back, Close, Feed, Rejection, Verdict
from kgen_ext.protocol import TextBand

# A sentence that has no stop by then is cut off (inside the band) or given one (below it).
MAX_SENTENCE_TOKENS = 96
MAX_TRIES = 48

# Finds a forbidden phrase in a text: its span and why.
Censor = Callable[[str], "tuple[int, int, Rejection] | None"]


class TextWriter:
    """One text in the making; `text` is what stands of it."""

    __slots__ = (
        "_band", "_begin", "_censor", "_count", "_ends", "_headers", "_lines", "_over", "_paragraph", "_pending",
        "_raw", "_sentence", "_table", "_tries", "short",
    )  # fmt: skip

    def __init__(
        self, table: TokenTable, band: TextBand, censor: Censor | None, *, start: int, headers: frozenset[int]
    ) -> None:
        self._table = table
        self._headers = headers  # tokens with which, at the start of a line, the next field begins
        self._band = band
        self._censor = censor
        self._begin = start  # index of the field's first token in the row
        self._ends = list[int]()  # bytes written up to each of its tokens
        self._raw = b""
        self._sentence = 0  # index (in _ends) of the current sentence's first token
        self._count = 0  # whole sentences
        self._lines = 1
        self._paragraph = 0  # whole sentences in this paragraph
        self._over = False  # the sentence was given its stop: it is over whatever comes
        self._pending = b""
        self._tries = 0
        self.short = False

    @property
    def text(self) -> str:
        """Return the whole sentences and what follows them, without outer white space."""
        return self._raw.decode("utf-8", "ignore").strip()

    @property
    def full(self) -> bool:
        """Nothing more may be written."""
        return self._count >= self._band.sentences.maximum

    @property
    def _enough(self) -> bool:
        return self._count >= self._band.sentences.minimum

    def allow(self) -> Allow:
        """Return what the next draw may give."""
        if self._over:
            return Allow.SPACE
        tail = self._current()
        if not tail.strip():
            return Allow.TEXT_START
        if self._pending or not _whole(tail):
            return Allow.TEXT
        if self._count + 1 >= self._band.sentences.minimum:
            return Allow.TEXT_END
        return Allow.TEXT_LINE if self._lines < self._band.paragraphs else Allow.TEXT_PAUSE

    def take(self, token: int, length: int) -> Verdict:
        """Judge a drawn token; `length` is the number of tokens the row holds."""
        kind = self._table.kinds[token]
        piece = self._table.pieces[token] if kind != Kind.END else b""
        if self._pending or not piece.isascii():
            pending = utf8_rest(self._pending, piece)
            if pending is None:
                return Back(length, "", "garbled", "")
            self._pending = pending
        if token in self._headers and self._raw[-1:] == b"\n" and self._enough:
            return self.give_up()
        if kind in (Kind.LINE, Kind.END) or piece[:1] in (b" ", b"\n"):
            banned = self._banned()
            if banned is not None:
                return banned
            following = piece.decode("utf-8", "ignore")
            if self._over or _whole(self._current(), following):
                return self._next_sentence(token, kind)
        self._put(piece)
        if len(self._ends) - self._sentence >= MAX_SENTENCE_TOKENS:
            return self._cut_off(token)
        return None

    def _next_sentence(self, token: int, kind: int) -> Verdict:
        self._count += 1
        self._paragraph += 1
        self._over = False
        self._sentence = len(self._ends)
        if self.full or kind == Kind.END:
            self.short = not self._enough
            return Close()
        if kind == Kind.LINE or self._paragraph >= self._band.per_paragraph:
            if self._lines >= self._band.paragraphs:
                self.short = not self._enough
                return Close()
            self._lines += 1
            self._paragraph = 0
            self._put(b"\n")
            return Feed((self._table.line,))
        self._put(self._table.pieces[token])
        return None

    def _banned(self) -> Back | Close | None:
        """Look for a forbidden phrase in the current sentence, whose last word is whole now."""
        if self._censor is None:
            return None
        sentence = self._current()
        found = self._censor(sentence)
        if found is None:
            return None
        first, last, why = found
        self._tries += 1
        if self._tries > MAX_TRIES:
            return self.give_up()
        at = self._written(self._sentence) + len(sentence[:first].encode())
        index = next(one for one in range(self._sentence, len(self._ends)) if self._ends[one] > at)
        self._forget(index)
        return Back(self._begin + index, sentence[first:last], why.rule, why.detail)

    def _cut_off(self, token: int) -> Verdict:
        """End a sentence that does not end: before it, or below the band with a stop of our own."""
        if self._enough:
            return self.give_up()
        if self._pending:
            self._forget(len(self._ends) - 1)
            return Back(self._begin + len(self._ends), "", "garbled", "")
        self._put(b".")
        self._over = True
        if self._count + 1 < self._band.sentences.minimum:
            return Feed((token, self._table.period))
        self._count += 1
        return Close((token, self._table.period))

    def give_up(self) -> Close:
        """End the text behind its last whole sentence."""
        if self._over or _whole(self._current()):
            self._count += 1
            self._sentence = len(self._ends)
        self._over = False
        self._forget(self._sentence)
        self.short = not self._enough
        return Close(cut=self._begin + self._sentence)

    def _current(self) -> str:
        return self._raw[self._written(self._sentence) :].decode("utf-8", "ignore")

    def _written(self, index: int) -> int:
        return self._ends[index - 1] if index else 0

    def _put(self, piece: bytes) -> None:
        self._raw += piece
        self._ends.append(len(self._raw))

    def _forget(self, index: int) -> None:
        self._raw = self._raw[: self._written(index)]
        del self._ends[index:]
        self._pending = b""


def _whole(sentence: str, following: str = "") -> bool:
    return ends_sentence(sentence, following) and any(char.isalnum() for char in sentence)
