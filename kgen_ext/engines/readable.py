"""Readable text: whether a model's vocabulary spells it in characters, or only byte by byte.

A vocabulary with few words of a script falls back to bytes there: a SentencePiece vocabulary to its byte tokens, a
byte-level one to parts of characters. In both a character then takes several tokens, none of which is a character; or
it is lost as an unknown token. Such text says next to nothing to a small model.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kgen_ext.engine import Engine

# The starter reads no letter beyond ASCII (share 0), a 32,000-piece LLaMA vocabulary most Cyrillic and common kana and
# kanji (1), rare kanji not (0): anything between is a word with a rare sign or two, such as `café` (0.75 for the
# starter), which is read well enough.
_READABLE = 0.5


def is_readable(engine: Engine, text: str) -> bool:
    """Return whether at least half of a text's characters are whole in the model's tokens; ASCII always is."""
    return text.isascii() or readable_share(engine, text) >= _READABLE


def readable_share(engine: Engine, text: str) -> float:
    """Return the share of a text's characters, spaces aside, that are whole in one token."""
    wanted = sum(not letter.isspace() for letter in text)
    whole = 0
    for token in engine.tokenize(text):
        try:
            whole += sum(not letter.isspace() for letter in engine.vocab.pieces[token].decode())
        except UnicodeDecodeError:
            continue
    return whole / wanted if wanted else 1.0
