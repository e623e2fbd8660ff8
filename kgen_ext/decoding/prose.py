"""Writes sentences: counts them as they end, takes back banned phrases, and never leaves half a sentence.

A sentence is over when its stop is followed by a space, a new line or the end; the token that shows it belongs to
the next sentence and is not fed when no next one may come. A token of one space shows nothing yet: the one behind it
decides. However the field ends, what stands then is whole and free of banned phrases. Knows the tokens' kinds, not
the engine.
"""
from __future__ import annotations

from collections.abc import Callable

from kgen_ext.decoding.constraint import EndField, ForceTokens, Rollback, Step
from kgen_ext.decoding.sampler import Draw
from kgen_ext.decoding.vocabulary import TokenKind, TokenMask, TokenTable, utf8_rest
from kgen_ext.prompt.sentences import CLOSING, ends_sentence, is_finished
from kgen_ext.protocol import TextBand
from kgen_ext.rules import Rejection

# A sentence that has no stop by then is cut off (inside the band) or given one (below it).
MAX_SENTENCE_TOKENS = 96
# Phrases taken back in one sentence before the text ends in front of it.
MAX_TRIES = 48
# Tokens that may cost in one sentence.
MAX_WASTE = 384

# Finds a forbidden phrase in a text: its span and why.
PhraseFilter = Callable[[str], "tuple[int, int, Rejection] | None"]


class ProseConstraint:
    """One text in the making; `text` is what stands of it."""

    __slots__ = (
        "_band", "_begin", "_censor", "_ends", "_lines", "_over", "_paragraph", "_pending",
        "_raw", "_sentence", "_starts", "_table", "_tries", "_waste", "short",
    )  # fmt: skip

    def __init__(self, table: TokenTable, band: TextBand, censor: PhraseFilter | None, *, start: int) -> None:
        self._table = table
        self._band = band
        self._censor = censor
        self._begin = start  # index of the field's first token in the row
        self._ends = list[int]()  # bytes written up to each of its tokens
        self._raw = b""
        self._starts = list[int]()  # index (in _ends) of the first token of each whole sentence
        self._sentence = 0  # the same of the current one
        self._lines = 1
        self._paragraph = 0  # whole sentences in this paragraph
        self._over = False  # the sentence was given its stop: it is over whatever comes
        self._pending = b""
        self._tries = self._waste = 0
        self.short = False

    @property
    def text(self) -> str:
        """Return the whole sentences and what follows them, without outer white space."""
        return "\n".join(line.strip() for line in self._raw.decode("utf-8", "ignore").strip().split("\n"))

    @property
    def full(self) -> bool:
        """Nothing more may be written."""
        return len(self._starts) >= self._band.sentences.maximum

    @property
    def _enough(self) -> bool:
        return len(self._starts) >= self._band.sentences.minimum

    def allow(self) -> TokenMask:
        """Return what the next draw may give."""
        if self._pending:
            return TokenMask.BYTES
        if self._over:
            return TokenMask.SPACE
        tail = self._current()
        if not tail.strip():
            if self._raw[-1:] == b" ":
                return TokenMask.TEXT_WORD
            # Where the first word of a sentence was taken back, the next must not grow onto the stop before it.
            return TokenMask.SENTENCE if self._follows() and self._raw[-1] < 0x80 else TokenMask.TEXT_START
        # Below the minimum not even a new line: it would begin a paragraph, or, as the model sees it, the next field.
        if not ends_sentence(tail):
            return TokenMask.TEXT
        if len(self._starts) + 1 < self._band.sentences.minimum:
            # A model that would rather end here goes on with a comma, and lists tags: what comes is a sentence.
            stopped = tail[-1].isascii() and tail[-1] != " " and is_finished(tail) and ends_sentence(tail, " 0")
            return TokenMask.SENTENCE if stopped else TokenMask.TEXT
        return TokenMask.TEXT_END

    def take(self, drawn: Draw, length: int) -> Step:
        """Judge a drawn token; `length` is the number of tokens the row holds."""
        token = drawn.token
        kind = self._table.kinds[token]
        piece = self._table.pieces[token] if kind != TokenKind.END else b""
        if token in self._table.headers and self._raw[-1:] == b"\n":
            return self.give_up()  # the line that was begun is another field's
        pending = b""
        if self._pending or not piece.isascii():
            rest = utf8_rest(self._pending, piece)
            if rest is None:
                return Rollback(length, "", "garbled", "")
            pending = rest
            ended = (self._pending + piece)[: len(self._pending + piece) - len(rest)].decode() if self._pending else ""
            if ended[1:] and ends_sentence(self._current() + ended[0], ended[1:]):
                return Rollback(length, "", "garbled", "")  # as below, behind a stop that the token completes
        last = self._raw[-1:]
        if (last == b" " and piece[:1] == b" ") or not self._parts(piece):
            return Rollback(length, "", "garbled", "")
        spaced = kind in (TokenKind.LINE, TokenKind.END) or b" " in (piece[:1], last)
        # A stop of the wide kind, whose last byte is no ASCII, needs no space behind it, nor behind what it closes.
        if spaced or ((last >= b"\x80" or last in _CLOSERS) and not self._pending):
            sentence = self._current()
            following = (" " if last == b" " else "") + piece.decode("utf-8", "ignore")
            behind = following.lstrip(CLOSING)
            if behind and behind != following and ends_sentence(sentence + following[: -len(behind)], behind):
                return Rollback(length, "", "garbled", "")  # the next sentence would begin within the token
            if pending and not following.strip():
                following += "x"  # half a character: a letter, and where the kind of letter decides, another is drawn
                if ends_sentence(sentence, following) != ends_sentence(sentence, following.upper()):
                    return Rollback(length, "", "garbled", "")
            undecided = not piece.strip(b" ") and kind != TokenKind.END
            over = self._over or (not undecided and ends_sentence(sentence, following))
            banned = self._banned(sentence, self._sentence) if spaced or over else None
            if banned is not None:
                return banned
            if over:
                return self._next_sentence(token, kind, length)
        if len(self._ends) - self._sentence + 1 >= MAX_SENTENCE_TOKENS:
            return self._cut_off()
        self._put(piece)
        self._pending = pending
        return None

    def _follows(self) -> bool:
        """Return whether a whole sentence stands right before the current one, in its paragraph."""
        return bool(self._starts) and self._raw[self._written(self._sentence) :][:1] != b"\n"

    def _parts(self, piece: bytes) -> bool:
        """Return whether the sentence before is still over if the current one begins with the piece."""
        if not piece.strip() or not self._follows() or self._current().strip():
            return True
        before = self._raw[self._written(self._starts[-1]) : self._written(self._sentence)].decode("utf-8", "ignore")
        following = (" " if self._raw[-1:] == b" " else "") + piece.decode("utf-8", "ignore")
        return ends_sentence(before, following if following.strip() else following + "x")

    def _next_sentence(self, token: int, kind: int, length: int) -> Step:
        """End the current sentence in front of the drawn token."""
        banned = self._banned(self._raw.decode("utf-8", "ignore"), 0)  # a phrase may span sentences
        if banned is not None:
            return banned
        self._starts.append(self._sentence)
        self._paragraph += 1
        self._over = False
        self._tries = self._waste = 0
        ends_line = kind == TokenKind.LINE or self._paragraph >= self._band.per_paragraph
        closes = self.full or kind == TokenKind.END or (ends_line and self._lines >= self._band.paragraphs)
        cut: int | None = None
        last = self._raw[self._written(len(self._ends) - 1) :] if self._ends else b""
        if (closes or ends_line) and last == b" ":
            # A space of its own was the next sentence's, which does not come here.
            self._forget(len(self._ends) - 1)
            cut = length - 1
        self._sentence = len(self._ends)
        if closes:
            self.short = not self._enough
            return EndField(cut=cut)
        if ends_line:
            self._lines += 1
            self._paragraph = 0
            self._put(b"\n")
            return ForceTokens((self._table.line,), cut=cut)
        piece = self._table.pieces[token]
        self._put(piece)
        if not piece.isascii():
            self._pending = utf8_rest(b"", piece) or b""
        return None

    def _banned(self, text: str, start: int) -> Rollback | EndField | None:
        """Look for a forbidden phrase in what was written from token `start` on; take it back to its first token.

        Sentences before the current one are free of them by themselves: of a phrase that began there, only what the
        current sentence adds is taken back.
        """
        if self._censor is None:
            return None
        found = _search(self._censor, text)
        if found is None:
            return None
        first, last, why = found
        at = self._written(start) + len(text[:first].encode())
        index = next(one for one in range(len(self._ends)) if self._ends[one] > at)
        self._tries += 1
        self._waste += len(self._ends) - max(index, self._sentence)
        if self._tries > MAX_TRIES or self._waste > MAX_WASTE:
            return self.give_up()
        # A new line stays: it is counted, and the model was made to write it.
        ours = self._raw[self._written(self._sentence) :][:1] == b"\n"
        index = self._forget(max(index, self._sentence + ours))
        return Rollback(self._begin + index, text[first:last], why.rule, why.detail)

    def _cut_off(self) -> Step:
        """End a sentence that does not end: before it, or below the band behind its last whole word, with a stop."""
        if self._enough:
            return self.give_up()
        index = self._last_word()
        if index is None:
            return self.give_up()
        self._forget(index)
        self._put(b".")
        feed, cut = (self._table.period,), self._begin + index
        if len(self._starts) + 1 < self._band.sentences.minimum:
            self._over = True
            return ForceTokens(feed, cut=cut)
        self._starts.append(self._sentence)
        self._sentence = len(self._ends)
        closed = self._settle()
        return closed if closed.cut is not None and closed.cut <= cut else EndField(feed, cut=cut)

    def _last_word(self) -> int | None:
        """Return the index behind the current sentence's last word that a stop would end, None if there is none."""
        start = self._written(self._sentence)
        for index in range(len(self._ends), self._sentence, -1):
            try:
                body = self._raw[start : self._written(index)].decode()
            except UnicodeDecodeError:
                continue
            between = index == len(self._ends) or self._raw[self._written(index) :][:1] == b" "
            # Whatever comes behind the stop: a small word or a number must not make it part of the sentence.
            if between and body[-1:].isalnum() and is_finished(body + ".") and ends_sentence(body + ".", " 0"):
                return index
        return None

    def stuck(self, length: int) -> Rollback | EndField:
        """Go on where nothing may be drawn: half a character that none completes is taken back."""
        self._tries += 1
        if not self._pending or self._tries > MAX_TRIES:
            return self.give_up()
        return Rollback(self._begin + self._forget(length - self._begin), "", "garbled", "")

    def give_up(self) -> EndField:
        """End the text behind its last whole sentence."""
        over = self._over
        self._forget(len(self._ends))
        if over or ends_sentence(self._current()):
            self._starts.append(self._sentence)
            self._sentence = len(self._ends)
        return self._settle()

    def _settle(self) -> EndField:
        """Leave whole sentences only, and of these none in which a banned phrase ends."""
        self._over = False
        self._forget(self._sentence)
        while self._starts and self._censor is not None:
            if _search(self._censor, self._raw.decode("utf-8", "ignore")) is None:
                break
            self._sentence = self._starts.pop()
            self._forget(self._sentence)
        self.short = not self._enough
        return EndField(cut=self._begin + len(self._ends))

    def _current(self) -> str:
        return self._raw[self._written(self._sentence) :].decode("utf-8", "ignore")

    def _written(self, index: int) -> int:
        return self._ends[index - 1] if index else 0

    def _put(self, piece: bytes) -> None:
        self._raw += piece
        self._ends.append(len(self._raw))

    def _forget(self, index: int) -> int:
        """Forget the tokens from `index` on, and those before it that would be left with half a character."""
        while index > self._sentence and utf8_rest(b"", self._raw[: self._written(index)][-4:].lstrip(_INSIDE)):
            index -= 1
        self._raw = self._raw[: self._written(index)]
        del self._ends[index:]
        self._pending = b""
        self._over = False
        return index


_CLOSERS = tuple(char.encode() for char in CLOSING if char.isascii())
_INSIDE = bytes(range(0x80, 0xC0))  # bytes that continue a character


def _search(censor: PhraseFilter, text: str) -> tuple[int, int, Rejection] | None:
    """Search a text as it will stand, on one line with single spaces; the span is that of `text`."""
    line = " ".join(text.split())
    found = censor(line)
    if found is None:
        return None
    solid = [index for index, char in enumerate(text) if not char.isspace()]
    before, upto = (sum(not char.isspace() for char in line[:end]) for end in found[:2])
    return solid[min(before, len(solid) - 1)], solid[max(upto - 1, 0)] + 1, found[2]
