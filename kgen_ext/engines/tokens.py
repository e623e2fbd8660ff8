"""A tokenizer.json as the two things an engine needs: text to ids, and the bytes each id adds to running text.

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
from kgen_ext.engines.checkpoint import AGAIN
from kgen_ext.errors import EngineUnavailable, ModelFileError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PRINTABLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
BYTE = re.compile(r"<0x([0-9A-F]{2})>")
EOS_NAMES = ("</s>", "<|eos|>", "<|end_of_text|>", "<|endoftext|>")
BOS_NAMES = ("<s>", "<|bos|>", "<|begin_of_text|>")


class TextTokens:
    """A loaded tokenizer.json."""

    def __init__(self, folder: Path, *, n_vocab: int, bos: int | None, eos: int | None) -> None:
        path = folder / "tokenizer.json"
        try:
            text = path.read_text("utf-8")
            self._tokenizer = _build(text)
            layout = json.loads(text)
            self.vocab = _vocab(layout, n_vocab, bos, eos)
        except FileNotFoundError as error:
            raise ModelFileError(f"{path}: no such file", hint="the folder needs one") from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelFileError(f"{path}: {error}", hint=AGAIN) from error

    def tokenize(self, text: str) -> list[int]:
        """Return the ids of text, special tokens recognised, none added."""
        ids: list[int] = self._tokenizer.encode(whole(text), add_special_tokens=False).ids if text else []
        return ids


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
