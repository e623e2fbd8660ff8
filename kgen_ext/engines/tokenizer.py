"""Tokenizers: text to ids, and the bytes that each id adds to running text.

Texts are split by the `tokenizers` package. It reads tokenizer.json; a SentencePiece vocabulary, from tokenizer.model
or a GGUF file, is turned into one. SentencePiece joins the two neighbours whose joined piece has the highest score, the
package by rank in a list of pairs: so each piece gives the pairs that make it, ranked by its score.

    tokenizer.model   a protocol buffer; a field is a varint (number << 3 | type), then a varint (type 0), 8 bytes (1),
                      4 bytes (5), or a varint length and that many bytes (2)
        1 piece       1 its text, 2 its score (float), 3 its kind; a space is written as U+2581
        2 training    3 the algorithm (2 is BPE)
        3 normaliser  3 whether a space goes before a text (true where absent)
    added_tokens.json, tokenizer_config.json   the tokens that were added later, by id

Bytes are written into pieces in two ways:

    SentencePiece   a space is written as U+2581, a byte that has no piece as <0x0A>
    byte level      each byte is a printable character: itself, or chr(256 + n) for the n-th that is not printable
"""
from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgen_ext.engine import Vocab
from kgen_ext.engines.checkpoint import read_json
from kgen_ext.errors import AGAIN, EngineUnavailable, Install, ModelFileError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPACE = "\u2581"
# Kinds of pieces, in tokenizer.model and GGUF files alike.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
PRINTABLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
BYTE_NAME = re.compile(r"<0x([0-9A-F]{2})>")
EOS_NAMES = ("</s>", "<|eos|>", "<|end_of_text|>", "<|endoftext|>")
BOS_NAMES = ("<s>", "<|bos|>", "<|begin_of_text|>")
_BPE = 2
# How texts are cut before pairs are joined, one expression after the other, by llama.cpp's name of it
# (tokenizer.ggml.pre, llama-vocab.cpp).
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_LATER_WORDS = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,%d}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLITS = {
    "default": (r"[\p{P}\$\+<=>\^~\|]+", _WORDS, r"\p{N}+", "[0-9][0-9][0-9]"),
    "gpt-2": (_WORDS,),
    "llama-bpe": (_LATER_WORDS % 3,),
    "qwen2": (_LATER_WORDS % 1,),
}


class TextTokens:
    """A loaded tokenizer.

    layout: the content of a tokenizer.json. path: for messages. first: one space goes before a text.
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
        ids: list[int] = self._tokenizer.encode(whole_text(text), add_special_tokens=False).ids if text else []
        return ids


def folder_tokens(folder: Path, *, n_vocab: int, bos: int | None, eos: int | None) -> TextTokens:
    """Return the tokenizer of a folder: its tokenizer.json, or else its tokenizer.model with the added tokens."""
    path, model = folder / "tokenizer.json", folder / "tokenizer.model"
    if path.is_file() or not model.is_file():
        return TextTokens(read_json(path), path=path, n_vocab=n_vocab, bos=bos, eos=eos)
    pieces, prefix = read_sentencepiece(folder)
    config = folder / "tokenizer_config.json"
    # "legacy": false means one space at the start of a text, and none behind special tokens.
    first = prefix and config.is_file() and read_json(config).get("legacy", True) is False
    return piece_tokens(pieces, path=model, prefix=prefix and not first, n_vocab=n_vocab, bos=bos, eos=eos, first=first)


def piece_tokens(
    pieces: list[VocabPiece], *, path: Path, prefix: bool, first: bool = False, n_vocab: int, bos: int | None,
    eos: int | None,
) -> TextTokens:  # fmt: skip
    """Return the tokenizer of a SentencePiece vocabulary; `prefix` as in `tokenizer_layout`."""
    try:
        layout = tokenizer_layout(pieces, prefix=prefix)
    except ValueError as error:
        raise ModelFileError(f"{path}: {error}", hint=AGAIN) from error
    return TextTokens(layout, path=path, n_vocab=n_vocab, bos=bos, eos=eos, first=first)


def byte_level_tokens(
    pieces: list[VocabPiece], merges: list[str], *, split: str, path: Path, n_vocab: int, bos: int | None,
    eos: int | None,
) -> TextTokens:  # fmt: skip
    """Return the tokenizer of a byte-level vocabulary. split: a key of SPLITS."""
    cuts: list[dict[str, Any]] = [
        {"type": "Split", "pattern": {"Regex": cut}, "behavior": "Isolated", "invert": False} for cut in SPLITS[split]
    ]
    flags = {"add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    layout = {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "post_processor": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*cuts, {"type": "ByteLevel", **flags}]},
        "decoder": {"type": "ByteLevel", **flags}, "added_tokens": _added(pieces),
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "merges": merges,
            "vocab": {piece.text: index for index, piece in enumerate(pieces) if piece.kind != UNUSED},
        },
    }  # fmt: skip
    return TextTokens(layout, path=path, n_vocab=n_vocab, bos=bos, eos=eos)


def whole_text(text: str) -> str:
    """Return a text with question marks for lone surrogates, which cannot be encoded."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _build(text: str) -> Tokenizer:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise EngineUnavailable("the package tokenizers is missing", action=Install("tokenizers")) from error
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
    by_text: dict[str, int] = listed if isinstance(listed, dict) else {text: i for i, (text, *_) in enumerate(listed)}
    if "'ByteLevel'" in repr((layout.get("pre_tokenizer"), layout.get("decoder"))):
        rest = [value for value in range(256) if value not in PRINTABLE]
        table = {chr(v): v for v in PRINTABLE} | {chr(256 + n): v for n, v in enumerate(rest)}
        pieces = {index: bytes(table[c] for c in text if c in table) for text, index in by_text.items()}
    else:
        pieces = {index: text.replace("\u2581", " ").encode() for text, index in by_text.items()}
        if model.get("byte_fallback"):
            pieces |= {by_text[m[0]]: bytes([int(m[1], 16)]) for m in map(BYTE_NAME.fullmatch, by_text) if m}
    special = {}
    for token in layout.get("added_tokens") or ():
        pieces[token["id"]] = b"" if token["special"] else token["content"].encode()
        if token["special"]:
            special[token["content"]] = token["id"]
    if max(pieces) >= n_vocab:
        raise ValueError(f"it has token id {max(pieces)}, the model {n_vocab} tokens")
    bos = bos if bos is not None else next((special[name] for name in BOS_NAMES if name in special), None)
    eos = eos if eos is not None else next((special[name] for name in EOS_NAMES if name in special), None)
    if eos is None or not 0 <= eos < n_vocab:
        raise ValueError(f"no token ends a text (eos_token_id is {eos})")
    return Vocab(tuple(pieces.get(index, b"") for index in range(n_vocab)), special, bos, eos)


@dataclass(frozen=True, slots=True)
class VocabPiece:
    """An entry of a SentencePiece vocabulary; its id is its index."""

    text: str
    score: float
    kind: int

    @property
    def special(self) -> bool:
        """Return whether it is a special token."""
        marked = self.text.startswith("<|") and self.text.endswith("|>")
        return self.kind in (UNKNOWN, CONTROL) or (self.kind == USER_DEFINED and marked)


def tokenizer_layout(pieces: Sequence[VocabPiece], *, prefix: bool) -> dict[str, Any]:
    """Return the tokenizer.json of a vocabulary. prefix: a space goes before every stretch of ordinary text."""
    vocab = {piece.text: index for index, piece in enumerate(pieces)}
    if len(vocab) < len(pieces):
        raise ValueError("a piece comes twice")
    unknown = next((piece.text for piece in pieces if piece.kind == UNKNOWN), None)
    space: dict[str, Any] = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    both = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": SPACE}, space]}
    return {
        "version": "1.0", "truncation": None, "padding": None, "pre_tokenizer": None, "post_processor": None,
        "normalizer": both if prefix else space, "decoder": {"type": "ByteFallback"},
        "added_tokens": _added(pieces),
        "model": {
            "type": "BPE", "dropout": None, "unk_token": unknown, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": True, "vocab": vocab, "merges": _pairs(pieces),
            "byte_fallback": any(piece.kind == BYTE for piece in pieces),
        },
    }  # fmt: skip


def _added(pieces: Sequence[VocabPiece]) -> list[dict[str, Any]]:
    """Return the entries of the tokens that are found in a text before it is split."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return [
        {"id": index, "content": piece.text, **flags, "special": piece.special}
        for index, piece in enumerate(pieces)
        if piece.kind in (UNKNOWN, CONTROL, USER_DEFINED)
    ]


def _pairs(pieces: Sequence[VocabPiece]) -> list[str]:
    """Return the pairs that make each piece, those of the highest score first."""
    ids = {piece.text: index for index, piece in enumerate(pieces) if piece.kind == NORMAL}
    ranked = list[tuple[float, int, int, str]]()
    for text, index in ids.items():
        for cut in range(1, len(text)):
            left, right = text[:cut], text[cut:]
            if left in ids and right in ids:
                ranked.append((-pieces[index].score, ids[left], ids[right], f"{left} {right}"))
    return [pair for *_, pair in sorted(ranked)]


def read_sentencepiece(folder: Path) -> tuple[list[VocabPiece], bool]:
    """Return a folder's tokenizer.model with the added tokens, and whether a space goes before a text."""
    path = folder / "tokenizer.model"
    try:
        pieces, prefix = _read_model(path.read_bytes())
    except (OSError, ValueError, IndexError, struct.error) as error:
        raise ModelFileError(f"{path}: not a SentencePiece model: {error}", hint=AGAIN) from error
    for token, (text, special) in sorted(_added_tokens(folder).items()):
        kind = CONTROL if special else USER_DEFINED
        if token < len(pieces):
            old = pieces[token]
            pieces[token] = VocabPiece(text, old.score, kind if old.kind == NORMAL else old.kind)
        elif token == len(pieces):
            pieces.append(VocabPiece(text, 0.0, kind))
        else:
            raise ModelFileError(f"{folder}: the added token {text!r:.40} leaves ids out", hint=AGAIN)
    return pieces, prefix


def _added_tokens(folder: Path) -> dict[int, tuple[str, bool]]:
    """Return text and whether it is special of each token added to the vocabulary, by id."""
    config, listed = folder / "tokenizer_config.json", folder / "added_tokens.json"
    try:
        if config.is_file() and (decoder := read_json(config).get("added_tokens_decoder")):
            return {int(id_): (str(token["content"]), bool(token.get("special"))) for id_, token in decoder.items()}
        if listed.is_file():
            return {int(id_): (str(text), str(text).startswith("<")) for text, id_ in read_json(listed).items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelFileError(f"{folder}: the list of added tokens is damaged: {error!r}", hint=AGAIN) from error
    return {}


def _read_model(data: bytes) -> tuple[list[VocabPiece], bool]:
    """Return the pieces of a tokenizer.model, and whether a space goes before a text."""
    pieces, prefix, algorithm = list[VocabPiece](), True, _BPE
    for number, value in _fields(data):
        if number == 1:
            entry: Mapping[int, Any] = dict(_fields(value))
            score = struct.unpack("<f", entry[2])[0] if 2 in entry else 0.0
            pieces.append(VocabPiece(entry.get(1, b"").decode(), score, int(entry.get(3, NORMAL))))
        elif number == 2:
            algorithm = dict(_fields(value)).get(3, 1)
        elif number == 3:
            prefix = bool(dict(_fields(value)).get(3, 1))
    if not pieces or algorithm != _BPE:
        raise ValueError("it holds no pieces" if not pieces else f"its algorithm is {algorithm}, known is {_BPE} (BPE)")
    return pieces, prefix


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Yield the fields of a protocol buffer: number and value."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind, end = key & 7, at
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == 2:
            length, at = _varint(data, at)
            end = at + length
        else:
            end = at + {1: 8, 5: 4}[kind] if kind in (1, 5) else len(data) + 1
        if end > len(data):
            raise ValueError("it is cut off, or no protocol buffer")
        yield key >> 3, data[at:end]
        at = end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 64:
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number without an end")
