"""The constraint of a text: counts sentences as they end, rolls back what may not stand, never leaves half a sentence.

A sentence is over when its stop is followed by a space, a new line or the end. The token that shows this belongs to the
next sentence, and is not appended where no other sentence may come. A token of a single space shows nothing yet: the
one behind it decides. However the field ends, what is left is complete sentences without banned phrases.

Words are judged when white space or the end of their sentence shows that they are complete (`rules.repeats`). Of four
words that come again only the last is drawn again. Where a sentence cannot go on and is needed, it gets its stop behind
its last good word.
"""
from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence

from kgen_ext.decoding.constraint import GARBLED, EndField, FieldResult, ForceTokens, Guess, Rollback, Step
from kgen_ext.decoding.drafter import Drafter, Repeats
from kgen_ext.decoding.sampler import Draw
from kgen_ext.decoding.vocabulary import TokenKind, TokenMask, TokenTable, utf8_rest
from kgen_ext.prompt.sentences import CLOSING, ends_sentence, is_finished
from kgen_ext.protocol import TextBand
from kgen_ext.rules import Rejection
from kgen_ext.rules.repeats import Flaw, TextHistory

# A sentence without a stop by then is dropped (inside the band), or given one (below its minimum).
MAX_SENTENCE_TOKENS = 96
# Phrases and words rolled back in one sentence before it is given up.
MAX_TRIES = 48
# Tokens rolled back in one sentence before it is.
MAX_WASTE = 384
# Times that a word goes on otherwise, when its letters make none, before it begins otherwise.
_MAX_SPELLINGS = 8

# Finds a banned phrase in a text: its span, and why it is banned.
PhraseSearch = Callable[[str], "tuple[int, int, Rejection] | None"]

_CLOSING_BYTES = tuple(char.encode() for char in CLOSING if char.isascii())
_CONTINUATION = bytes(range(0x80, 0xC0))  # bytes that continue a character
# The letters of a word that goes on; other words are judged when they are complete.
_PLAIN_WORD = re.compile(rb"(?<![^\W\d_])(?<![\x80-\xff\d'])[a-zA-Z]+\Z")
_LONGEST_WORD = 40
# A sign the fifth time running: a model that begins `...` again and again never ends its sentence.
_RUN = re.compile(rb"([!-/:-@\[-`{-~])\1{4}")
# A whole word, most likely; a single letter may begin any.
_WHOLE_WORD = re.compile(rb" ?[a-zA-Z]{2,}")


class ProseConstraint:
    """Constraint of one text field. start: the length of the row when the field opens.

    history: the words of the row's texts, which this one adds to.
    """

    __slots__ = (
        "_band", "_cut_short", "_ends", "_history", "_lines", "_paragraph", "_pending", "_phrases", "_raw", "_read",
        "_sentence", "_short", "_spellings", "_start", "_starts", "_stopped", "_stretches", "_table", "_tries",
        "_waste",
    )  # fmt: skip

    def __init__(
        self, table: TokenTable, band: TextBand, phrases: PhraseSearch | None, history: TextHistory, *, start: int
    ) -> None:
        self._table = table
        self._band = band
        self._phrases = phrases
        self._history = history
        history.begin_field()
        self._start = start  # position of the field's first token in the row
        self._raw = b""
        self._ends = list[int]()  # for each token of the field, the length of `_raw` behind it
        self._starts = list[int]()  # index (in _ends) of the first token of each complete sentence
        self._sentence = 0  # the same of the current sentence
        self._stopped = False  # the current sentence was given its stop, and is over whatever comes
        self._lines = 1
        self._paragraph = 0  # complete sentences in the current line
        self._pending = b""  # bytes of an incomplete character at the end of `_raw`
        self._tries = self._waste = 0
        self._cut_short = False  # the current sentence was given its stop once
        self._spellings = 0  # tokens refused in the current word, as no word goes on so
        self._read = 0  # length of `_raw` up to which the history has its words
        self._stretches = list[tuple[int, int, int]]()  # of `_raw`, each begun and ended; words before it
        self._short = False

    @property
    def full(self) -> bool:
        """Return whether the text has its maximum of sentences."""
        return len(self._starts) >= self._band.sentences.maximum

    @property
    def text(self) -> str:
        """Return the text so far, each line without outer white space."""
        return "\n".join(line.strip() for line in self._raw.decode("utf-8", "ignore").strip().split("\n"))

    @property
    def _enough(self) -> bool:
        return len(self._starts) >= self._band.sentences.minimum

    def fast_forward(self, length: int) -> tuple[int, ...]:
        """Return nothing: the header is all a text begins with."""
        return ()

    def guess(self, drafter: Drafter, repeats: Repeats, ids: Sequence[int]) -> Guess:
        """Return what followed the last words where they stood before."""
        return Guess("text", drafter.text(ids, repeats, width=6))

    def token_mask(self) -> TokenMask:
        """Return the kinds of token that may be drawn next."""
        if self._pending:
            return TokenMask.BYTES
        if self._stopped:
            return TokenMask.SPACE
        tail = self._current()
        if not tail.strip():
            if self._raw[-1:] == b" ":
                return TokenMask.TEXT_WORD
            if self._tries and not self._raw:
                return TokenMask.SENTENCE  # where ` A` was refused, ` a` is no better
            # Where the first word of a sentence was rolled back, the next must not grow onto the stop before it.
            return TokenMask.SENTENCE if self._follows() and self._raw[-1] < 0x80 else TokenMask.TEXT_START
        # Below the minimum not even a new line: it would begin a paragraph or, as the model sees it, the next field.
        if not ends_sentence(tail):
            return TokenMask.TEXT
        if len(self._starts) + 1 < self._band.sentences.minimum:
            # A model that would rather end here goes on with a comma and lists tags: demand a sentence.
            stopped = tail[-1].isascii() and tail[-1] != " " and is_finished(tail) and ends_sentence(tail, " 0")
            return TokenMask.SENTENCE if stopped else TokenMask.TEXT
        return TokenMask.TEXT_END

    def allowed_tokens(self) -> None:
        """Return None: the mask is enough."""

    def blocked_tokens(self) -> tuple[int, ...]:
        """Return nothing: a phrase is rejected when it is complete."""
        return ()

    def token_bias(self) -> tuple[()]:
        """Return nothing: nothing is known here that the model does not know better."""
        return ()

    def consume(self, drawn: Draw, length: int) -> Step | None:
        """Take in a drawn token: part of the current sentence, or what shows that it is over."""
        token = drawn.token
        kind = self._table.kinds[token]
        piece = self._table.pieces[token] if kind != TokenKind.END else b""
        if token in self._table.headers and self._raw[-1:] == b"\n":
            return self.finish_early()  # the line that was begun is another field's
        pending = b""
        if self._pending or not piece.isascii():
            rest = utf8_rest(self._pending, piece)
            if rest is None:
                return Rollback(length, GARBLED)
            pending = rest
            ended = (self._pending + piece)[: len(self._pending + piece) - len(rest)].decode() if self._pending else ""
            if ended[1:] and ends_sentence(self._current() + ended[0], ended[1:]):
                return Rollback(length, GARBLED)  # as below, behind a stop that the token completes
        last = self._raw[-1:]
        if (last == b" " and piece[:1] == b" ") or not self._separates(piece) or _RUN.search(self._raw[-4:] + piece):
            return Rollback(length, GARBLED)
        spaced = kind in (TokenKind.LINE, TokenKind.END) or b" " in (piece[:1], last)
        # A full-width stop, whose last byte is not ASCII, needs no space behind it, nor behind what it closes.
        if spaced or ((last >= b"\x80" or last in _CLOSING_BYTES) and not self._pending):
            sentence = self._current()
            following = (" " if last == b" " else "") + piece.decode("utf-8", "ignore")
            behind = following.lstrip(CLOSING)
            if behind and behind != following and ends_sentence(sentence + following[: -len(behind)], behind):
                return Rollback(length, GARBLED)  # the next sentence would begin within the token
            if pending and not following.strip():
                following += "x"  # half a character: a letter, and where the kind of letter decides, draw another
                if ends_sentence(sentence, following) != ends_sentence(sentence, following.upper()):
                    return Rollback(length, GARBLED)
            undecided = not piece.strip(b" ") and kind != TokenKind.END
            ended_here = not undecided and ends_sentence(sentence, following)
            if self._stopped and not undecided and not ended_here:
                return Rollback(length, GARBLED)  # dots, for instance, would go on with the sentence
            over = self._stopped or ended_here
            banned = self._reject_phrase(sentence, self._sentence) if spaced or over else None
            if banned is not None:
                return banned
            flaw = self._read_words() if spaced or over else None
            if flaw is not None:
                return self._reject_word(flaw)
            if over:
                return self._next_sentence(token, kind, length)
        if not spaced:
            self._unread(len(self._raw))  # a token that ended the last word may have been refused
        if self._misspells(piece):
            return self._respell(piece, length)
        if spaced and _WHOLE_WORD.fullmatch(piece):
            flaw = self._history.foresee(piece.decode().strip())
            if flaw is not None:  # refused now rather than behind the next token, for which there is a forward pass
                index = self._sentence if flaw.opening else len(self._ends)
                return self._take_back(index, flaw.reason)
        if len(self._ends) - self._sentence + 1 >= MAX_SENTENCE_TOKENS:
            return self._break_off()
        self._append(piece)
        self._pending = pending
        return None

    def on_dead_end(self, length: int) -> Step:
        """Roll back half a character that nothing completes; otherwise end."""
        self._tries += 1
        if not self._pending:
            return self._break_off()
        if self._tries > MAX_TRIES:
            return self.finish_early()
        return Rollback(self._start + self._truncate(length - self._start), GARBLED)

    def finish_early(self) -> EndField:
        """End the text behind its last complete sentence."""
        stopped = self._stopped
        self._truncate(len(self._ends))
        if (stopped or ends_sentence(self._current())) and self._may_end():
            self._end_sentence()
        return self._keep_sentences()

    def result(self) -> FieldResult:
        """Return the text."""
        return FieldResult(text=self.text, short=self._short)

    def _next_sentence(self, token: int, kind: int, length: int) -> Step | None:
        """End the current sentence in front of the drawn token."""
        banned = self._reject_phrase(self._raw.decode("utf-8", "ignore"), 0)  # a phrase may span sentences
        if banned is not None:
            return banned
        repeated = self._history.repeats_sentence()
        if repeated is not None:
            return self._take_back(self._stop(), repeated)
        self._end_sentence()
        self._paragraph += 1
        self._stopped = self._cut_short = False
        self._tries = self._waste = self._spellings = 0
        ends_line = kind == TokenKind.LINE or self._paragraph >= self._band.per_paragraph
        ends_field = self.full or kind == TokenKind.END or (ends_line and self._lines >= self._band.paragraphs)
        cut: int | None = None
        last = self._raw[self._bytes_before(len(self._ends) - 1) :] if self._ends else b""
        if (ends_field or ends_line) and last == b" ":
            # A token of a single space belonged to the next sentence, which does not come here.
            self._sentence -= 1
            self._truncate(self._sentence)
            cut = length - 1
        if ends_field:
            self._short = not self._enough
            return EndField(cut=cut)
        if ends_line:
            self._lines += 1
            self._paragraph = 0
            self._append(b"\n")
            return ForceTokens((self._table.line,), cut=cut)
        piece = self._table.pieces[token]
        self._append(piece)
        if not piece.isascii():
            self._pending = utf8_rest(b"", piece) or b""
        return None

    def _reject_phrase(self, text: str, begin: int) -> Step | None:
        """Find a banned phrase in `text`, which is that of the tokens from `begin` on; roll back to its first token."""
        if self._phrases is None:
            return None
        found = _search(self._phrases, text)
        if found is None:
            return None
        first, last, reason = found
        return self._take_back(self._token_at(self._bytes_before(begin) + len(text[:first].encode())), reason,
                               text[first:last])  # fmt: skip

    def _read_words(self) -> Flaw | None:
        """Give the history the words since it was last given any; they are complete."""
        text = self._raw[self._read :].decode("utf-8", "ignore")
        count = len(self._history)
        flaw = self._history.read(text) if text.strip() else None
        if flaw is None:
            if len(self._history) > count:
                self._stretches.append((self._read, len(self._raw), count))
            self._read = len(self._raw)
            self._spellings = 0
        return flaw

    def _unread(self, size: int) -> None:
        """Take the words of the current sentence that end at `size` bytes or behind them back from the history."""
        floor = self._bytes_before(self._sentence)
        while self._stretches and self._stretches[-1][1] >= size and self._stretches[-1][1] > floor:
            self._read, _, count = self._stretches.pop()
            self._history.truncate(count)
        self._read = min(self._read, size)

    def _reject_word(self, flaw: Flaw) -> Step:
        """Roll back to the last token of a word that does not exist, or to the first of one that may not stand here."""
        text = self._raw[self._read :].decode("utf-8", "ignore")
        begin, end = (self._read + len(text[:at].encode()) for at in (flaw.begin, flaw.end))
        index = self._sentence if flaw.opening else self._token_at(begin)
        if flaw.reason.rule == "unknown":
            self._spellings += 1
            if self._spellings <= _MAX_SPELLINGS:
                index = self._token_at(end - 1)
        return self._take_back(index, flaw.reason)

    def _misspells(self, piece: bytes) -> bool:
        """Return whether no word goes on so."""
        if self._history.known is None or not piece[-1:].isalpha():
            return False
        part = _PLAIN_WORD.search(self._raw[-_LONGEST_WORD:] + piece)
        return part is not None and not self._history.begins_word(part[0].decode().lower())

    def _respell(self, piece: bytes, length: int) -> Step:
        """Refuse a token that no word goes on with; after some of them, roll back to the first token of the word."""
        self._spellings += 1
        if self._spellings <= _MAX_SPELLINGS:
            return Rollback(length, GARBLED)
        self._spellings = 0
        part = _PLAIN_WORD.search(self._raw[-_LONGEST_WORD:] + piece)
        assert part is not None
        word = part[0].decode()
        begin = len(self._raw) + len(piece) - len(word)
        index = self._token_at(begin) if begin < len(self._raw) else len(self._ends)
        return self._take_back(index, Rejection("unknown", word.lower()))

    def _take_back(self, index: int, reason: Rejection, text: str = "") -> Step:
        """Roll back to a token of the current sentence; give the sentence up where that was done too often.

        text: the rejected phrase, "" for all that is rolled back.
        The sentences before the current one are right by themselves: of a phrase that began there, only what the
        current sentence adds is rolled back.
        """
        # A new line stays: it is counted, and the model was made to write it.
        after_line = self._raw[self._bytes_before(self._sentence) :][:1] == b"\n"
        index = max(index, self._sentence + after_line)
        text = text or self._raw[self._bytes_before(index) :].decode("utf-8", "ignore").strip()
        self._tries += 1
        self._waste += len(self._ends) - index
        index = self._truncate(index)
        if self._tries > MAX_TRIES or self._waste > MAX_WASTE:
            return self._break_off()
        return Rollback(self._start + index, reason, text)

    def _stop(self) -> int:
        """Return the index of the token with the current sentence's stop, the first of several."""
        body = self._current().rstrip().rstrip(CLOSING)
        while body and not body[-1].isalnum() and body[-1] not in CLOSING:
            body = body[:-1]
        return self._token_at(self._bytes_before(self._sentence) + len(body.encode()))

    def _token_at(self, offset: int) -> int:
        """Return the index of the token that makes the byte at `offset`."""
        return bisect_right(self._ends, offset)

    def _break_off(self) -> Step:
        """End a sentence that cannot go on: before it, or below the minimum with a stop behind its last good word."""
        if self._enough or self._stopped or self._cut_short or not self._cut_to_word():
            return self.finish_early()
        cut = self._start + len(self._ends)
        self._append(b".")
        ids = (self._table.period,)
        if len(self._starts) + 1 < self._band.sentences.minimum:
            self._stopped = self._cut_short = True
            return ForceTokens(ids, cut=cut)
        self._end_sentence()
        end = self._keep_sentences()
        return end if end.cut is not None and end.cut <= cut else EndField(ids, cut=cut)

    def _cut_to_word(self) -> bool:
        """Truncate the current sentence to its last word that a stop would end; return False if there is none."""
        raw, ends = self._raw, tuple(self._ends)
        begin = self._bytes_before(self._sentence)
        for index in range(len(ends), self._sentence, -1):
            try:
                body = raw[begin : ends[index - 1]].decode()
            except UnicodeDecodeError:
                continue
            between = index == len(ends) or raw[ends[index - 1] :][:1] in (b" ", b",", b";", b":")
            # Whatever comes behind the stop: a small word or a number must not make it part of the sentence.
            if not (between and body[-1:].isalnum() and is_finished(body + ".") and ends_sentence(body + ".", " 0")):
                continue
            self._truncate(index)
            if self._may_end() and not self._history.ends_in_small_word:
                return True
        return False

    def _may_end(self) -> bool:
        """Return whether the current sentence may end here, as far as its words go."""
        return self._read_words() is None and self._history.repeats_sentence() is None

    def _end_sentence(self) -> None:
        """Count the current sentence."""
        self._starts.append(self._sentence)
        self._sentence = len(self._ends)
        self._history.end_sentence()

    def _keep_sentences(self) -> EndField:
        """End the field with complete sentences only, and none of them in which a banned phrase ends."""
        self._stopped = False
        self._truncate(self._sentence)
        while self._starts and self._phrases is not None:
            if _search(self._phrases, self._raw.decode("utf-8", "ignore")) is None:
                break
            self._sentence = self._starts.pop()
            self._truncate(self._sentence)
        self._short = not self._enough
        return EndField(cut=self._start + len(self._ends))

    def _follows(self) -> bool:
        """Return whether a complete sentence comes right before the current one, in the same line."""
        return bool(self._starts) and self._raw[self._bytes_before(self._sentence) :][:1] != b"\n"

    def _separates(self, piece: bytes) -> bool:
        """Return whether the sentence before is still over if the current one begins with this piece."""
        if not piece.strip() or not self._follows() or self._current().strip():
            return True
        begin, end = self._bytes_before(self._starts[-1]), self._bytes_before(self._sentence)
        before = self._raw[begin:end].decode("utf-8", "ignore")
        following = (" " if self._raw[-1:] == b" " else "") + piece.decode("utf-8", "ignore")
        return ends_sentence(before, following if following.strip() else following + "x")

    def _current(self) -> str:
        """Return the current sentence so far."""
        return self._raw[self._bytes_before(self._sentence) :].decode("utf-8", "ignore")

    def _bytes_before(self, index: int) -> int:
        """Return how many bytes the tokens before the `index`-th make."""
        return self._ends[index - 1] if index else 0

    def _append(self, piece: bytes) -> None:
        self._raw += piece
        self._ends.append(len(self._raw))

    def _truncate(self, index: int) -> int:
        """Drop the tokens from `index` on, and those before it that would be left with half a character."""
        while index > self._sentence:
            last = self._raw[: self._bytes_before(index)][-4:].lstrip(_CONTINUATION)
            if not utf8_rest(b"", last):
                break
            index -= 1
        self._raw = self._raw[: self._bytes_before(index)]
        del self._ends[index:]
        self._unread(len(self._raw))
        self._pending = b""
        self._stopped = False
        return index


def _search(phrases: PhraseSearch, text: str) -> tuple[int, int, Rejection] | None:
    """Search a text as it will be shown, on one line with single spaces; return the span in `text` itself."""
    line = " ".join(text.split())
    found = phrases(line)
    if found is None:
        return None
    solid = [index for index, char in enumerate(text) if not char.isspace()]
    before, upto = (sum(not char.isspace() for char in line[:end]) for end in found[:2])
    return solid[min(before, len(solid) - 1)], solid[max(upto - 1, 0)] + 1, found[2]
