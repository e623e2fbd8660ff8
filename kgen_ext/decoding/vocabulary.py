"""Token classes of a vocabulary: what each token can do to a field, and the masks that follow.

Computed once a model, from the bytes its tokens stand for. The ids of forced separators and headers come from the
engine's own tokenizer, in the context of running text.
"""
from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kgen_ext.prompt.sentences import may_end_within
from kgen_ext.protocol.tipo import HEADERS

if TYPE_CHECKING:
    from kgen_ext.engine import Engine


class TokenKind(IntEnum):
    """What a token does to a field."""

    PLAIN = 0
    COMMA = 1  # ends with a comma, which ends a tag; what precedes the comma belongs to the tag
    LINE = 2  # a newline, with nothing but spaces around it
    END = 3  # end of text
    FORBIDDEN = 4  # control tokens, and tokens that mix a separator with what follows it


class TokenMask(IntEnum):
    """Sets of tokens that the next draw may give; only BYTES has tokens that go on within a character."""

    TAG_START = 0  # the beginning of a tag, or a single space
    TAG = 1  # more of a tag, or its end
    TEXT_START = 2  # the beginning of a sentence, or a single space
    TEXT = 3  # the field may not end: no newline, no end of text
    TEXT_END = 4  # it may
    SPACE = 5  # a sentence is over and another must follow: a token that starts with a space
    LINE_OR_END = 6
    TAG_WORD = 7  # as TAG_START, behind that space
    TEXT_WORD = 8  # as TEXT_START, behind that space
    BYTES = 9  # inside a character
    SENTENCE = 10  # behind a stop, where the field may not end: a space and what a sentence begins with


@dataclass(frozen=True, slots=True)
class TokenTable:
    """Kinds and masks of a vocabulary.

    kinds: a TokenKind for each id. bias: float32 (len(TokenMask), vocabulary), 0 or -inf, to be added to logits.
    headers: tokens that begin a field at the start of a line. ids: by the bytes a token stands for.
    """

    pieces: tuple[bytes, ...]
    kinds: bytes
    bias: NDArray[np.float32]
    end: int
    comma: int
    line: int
    period: int
    headers: frozenset[int]
    ids: dict[bytes, int]

    def before_comma(self, token: int) -> tuple[int, ...]:
        """Return the token for what a COMMA token has before its comma; () for a bare comma."""
        rest = _left_of_comma(self.pieces[token])
        return (self.ids[rest],) if rest else ()


def token_table(engine: Engine) -> TokenTable:
    """Build the table of an engine's vocabulary."""
    vocab = engine.vocab
    special = set(vocab.special.values())
    kinds = bytearray(_kind(piece, index, vocab.eos, special) for index, piece in enumerate(vocab.pieces))
    ids: dict[bytes, int] = {}
    for index, piece in enumerate(vocab.pieces):
        if index not in special and piece:
            # Byte-fallback pieces repeat those of ordinary tokens; the higher id is the ordinary one.
            ids[piece] = index
    for index, piece in enumerate(vocab.pieces):
        # A tag that ends inside a token is appended as the token for that part, so there must be one.
        if kinds[index] == TokenKind.COMMA and (rest := _left_of_comma(piece)) and rest not in ids:
            kinds[index] = TokenKind.FORBIDDEN
    kind = np.frombuffer(bytes(kinds), np.uint8)
    solid = np.array([bool(piece.strip()) for piece in vocab.pieces])
    word = np.array([piece.strip() not in (b"", b".", b"!", b"?") for piece in vocab.pieces])
    spaced = np.array([piece[:1] == b" " for piece in vocab.pieces])
    gap = np.array([piece == b" " for piece in vocab.pieces])
    begins = np.array([piece[:1] == b" " and _begins_sentence(piece[1:]) for piece in vocab.pieces])
    inside = np.array([0x80 <= piece[0] < 0xC0 if piece else False for piece in vocab.pieces])
    plain, comma = kind == TokenKind.PLAIN, kind == TokenKind.COMMA
    line, end = kind == TokenKind.LINE, kind == TokenKind.END
    middle = plain & inside
    plain, comma = plain & ~inside, comma & ~inside
    allowed = {
        TokenMask.TAG_START: plain & (solid | gap),
        TokenMask.TAG: plain | comma | line | end,
        TokenMask.TEXT_START: plain & (word | gap),
        TokenMask.TEXT: plain | comma,
        TokenMask.TEXT_END: plain | comma | line | end,
        TokenMask.SPACE: plain & word & spaced,
        TokenMask.LINE_OR_END: line | end,
        TokenMask.TAG_WORD: plain & solid & ~spaced,
        TokenMask.TEXT_WORD: plain & word & ~spaced,
        TokenMask.BYTES: middle,
    }
    sentence = plain & begins if (plain & begins).any() else allowed[TokenMask.SPACE]
    allowed[TokenMask.SENTENCE] = sentence | (plain & gap)
    bias = np.full((len(TokenMask), len(vocab)), -np.inf, np.float32)
    for mask, tokens in allowed.items():
        bias[mask, tokens] = 0
    return TokenTable(
        pieces=vocab.pieces,
        kinds=bytes(kinds),
        bias=bias,
        end=vocab.eos,
        comma=_single(engine, "a", ",", ids),
        line=_single(engine, "a", "\n", ids),
        period=_single(engine, "a", ".", ids),
        headers=frozenset(in_context(engine, f"{name}:", left="a\n")[0] for name in HEADERS),
        ids=ids,
    )


def _begins_sentence(word: bytes) -> bool:
    return word[:1].isupper() or word[:1].isdigit() or (word[:1] == b'"' and len(word) > 1) or word[:1] >= b"\x80"


def _kind(piece: bytes, index: int, eos: int, special: set[int]) -> TokenKind:
    if index == eos:
        return TokenKind.END
    if index in special or not piece:
        return TokenKind.FORBIDDEN
    if piece.replace(b" ", b"").isalnum() and b"  " not in piece:
        return TokenKind.PLAIN  # nearly all of a vocabulary
    if b"\n" in piece or b"\r" in piece:
        return TokenKind.LINE if piece.strip(b" ") == b"\n" else TokenKind.FORBIDDEN
    if any(byte < 0x20 or byte == 0x7F for byte in piece):
        return TokenKind.FORBIDDEN
    # Two spaces, or a sentence and the beginning of the next.
    if b"  " in piece or may_end_within(piece.decode("utf-8", "ignore")):
        return TokenKind.FORBIDDEN
    if b"," in piece:
        return TokenKind.COMMA if piece.index(b",") == len(piece.rstrip(b" ")) - 1 else TokenKind.FORBIDDEN
    return TokenKind.PLAIN


def _left_of_comma(piece: bytes) -> bytes:
    return piece.rstrip(b" ")[:-1].rstrip(b" ")


def utf8_rest(pending: bytes, piece: bytes) -> bytes | None:
    """Return the bytes of an unfinished character after `piece`.

    None where they can no longer become one, and where a character is unprintable (a plain space is printable).
    """
    data, rest = pending + piece, b""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        if error.end != len(data) or error.reason != "unexpected end of data":
            return None
        text, rest = data[: error.start].decode(), data[error.start :]
    # The replacement character is as unwanted as the rubbish it stands for.
    return rest if text.isprintable() and "\ufffd" not in text else None


def in_context(engine: Engine, text: str, *, left: str = "a") -> tuple[int, ...]:
    """Return the ids of `text` as part of a running text, behind `left`.

    Models were trained on complete texts, so a forced header must have the tokens it has within one.
    """
    if not text:
        return ()
    before, whole = engine.tokenize(left), engine.tokenize(left + text)
    if whole[: len(before)] == before:
        return tuple(whole[len(before) :])
    return tuple(engine.tokenize(text))


def _single(engine: Engine, left: str, text: str, ids: dict[bytes, int]) -> int:
    found = in_context(engine, text, left=left)
    return found[0] if len(found) == 1 else ids[text.encode()]
