"""A tokenizer as the two things an engine needs: text to ids, and the bytes each id adds to running text.

Refuses to know what the ids are for. Read by the `tokenizers` package; two families of pieces are understood:

    SentencePiece   a space is written as U+2581, a byte that has no piece as <0x0A>
    byte level      each byte is written as a printable character: itself, or chr(256 + n) for the n-th that is not
"""
from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgen_ext.engines.base import Vocab
from kgen_ext.engines.checkpoint import read_json
from kgen_ext.engines.pieces import Piece, read_sentencepiece, tokenizer_layout
from kgen_ext.errors import AGAIN, EngineUnavailable, ModelFileError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PRINTABLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
BYTE = re.compile(r"<0x([0-9A-F]{2})>")
EOS_NAMES = ("</s>", "<|eos|>", "<|end_of_text|>", "<|endoftext|>")
BOS_NAMES = ("<s>", "<|bos|>", "<|begin_of_text|>")


class TextTokens:
    """A loaded tokenizer.

    layout: a tokenizer.json as an object, `path` its file for messages. first: a space goes before a text, once.
    """

    def __init__(
        self, layout: dict[str, Any], *, path: Path, n_vocab: int, bos: int | None, eos: int | None, first: bool = False
    ) -> None:
        self._first = first
        try:
            self._tokenizer = _build(json.dumps(layout))
            self.vocab = _vocab(layout, n_vocab, bos, eos)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelFileError(f"{path}: {error}", hint=AGAIN) from error

    def tokenize(self, text: str) -> list[int]:
        """Return the ids of text, special tokens recognised, none added."""
        text = f" {text}" if self._first and text and not text.startswith(tuple(self.vocab.special)) else text
        ids: list[int] = self._tokenizer.encode(whole(text), add_special_tokens=False).ids if text else []
        return ids


def folder_tokens(folder: Path, *, n_vocab: int, bos: int | None, eos: int | None) -> TextTokens:
    """Return the tokenizer of a folder: its tokenizer.json, else its tokenizer.model with the added tokens."""
    path, model = folder / "tokenizer.json", folder / "tokenizer.model"
    if path.is_file() or not model.is_file():
        return TextTokens(read_json(path), path=path, n_vocab=n_vocab, bos=bos, eos=eos)
    pieces, prefix = read_sentencepiece(folder)
    config = folder / "tokenizer_config.json"
    # "legacy": false means one space at the start of a text, not one behind every special token as well.
    once = prefix and config.is_file() and read_json(config).get("legacy", True) is False
    return piece_tokens(pieces, path=model, prefix=prefix and not once, n_vocab=n_vocab, bos=bos, eos=eos, first=once)


def piece_tokens(
    pieces: list[Piece], *, path: Path, prefix: bool, first: bool = False, n_vocab: int, bos: int | None,
    eos: int | None,
) -> TextTokens:  # fmt: skip
    """Return the tokenizer of a SentencePiece vocabulary."""
    try:
        layout = tokenizer_layout(pieces, prefix=prefix)
    except ValueError as error:
        raise ModelFileError(f"{path}: {error}", hint=AGAIN) from error
    return TextTokens(layout, path=path, n_vocab=n_vocab, bos=bos, eos=eos, first=first)


def whole(text: str) -> str:
    """Return text with lone surrogates, which no encoding has, as question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _build(text: str) -> Tokenizer:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise EngineUnavailable("the package tokenizers is missing", hint="pip install tokenizers") from error
    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(f"not a tokenizer: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _vocab(layout: dict[str, Any], n_vocab: int, bos: int | None, eos: int | None) -> Vocab:
    model = layout["model"]
    listed = model["vocab"]
    by_text: dict[str, int] = listed if isinstance(listed, dict) else {one[0]: at for at, one in enumerate(listed)}
    if "'ByteLevel'" in repr((layout.get("pre_tokenizer"), layout.get("decoder"))):
        rest = [value for value in range(256) if value not in PRINTABLE]
        table = {chr(v): v for v in PRINTABLE} | {chr(256 + n): v for n, v in enumerate(rest)}
        pieces = {index: bytes(table[c] for c in text if c in table) for text, index in by_text.items()}
    else:
        pieces = {index: text.replace("\u2581", " ").encode() for text, index in by_text.items()}
        if model.get("byte_fallback"):
            pieces |= {by_text[m[0]]: bytes([int(m[1], 16)]) for m in map(BYTE.fullmatch, by_text) if m}
    special = {}
    for one in layout.get("added_tokens") or ():
        pieces[one["id"]] = b"" if one["special"] else one["content"].encode()
        if one["special"]:
            special[one["content"]] = one["id"]
    if max(pieces) >= n_vocab:
        raise ValueError(f"it has token id {max(pieces)}, the model {n_vocab} tokens")
    bos = bos if bos is not None else next((special[name] for name in BOS_NAMES if name in special), None)
    eos = eos if eos is not None else next((special[name] for name in EOS_NAMES if name in special), None)
    if eos is None or not 0 <= eos < n_vocab:
        raise ValueError(f"no token ends a text (eos_token_id is {eos})")
    return Vocab(tuple(pieces.get(index, b"") for index in range(n_vocab)), special, bos, eos)
