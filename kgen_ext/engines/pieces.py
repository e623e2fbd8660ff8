"""A SentencePiece vocabulary, as tokenizer.model and GGUF files hold it, turned into what the tokenizers package reads.

Refuses to split text itself. SentencePiece joins the two neighbours whose joined piece has the highest score; the
`tokenizers` package joins by rank in a list of pairs. So each piece gives the pairs that make it, ranked by its score.

    tokenizer.model   a protocol buffer; a field is a varint (number << 3 | type), then a varint (type 0), 8 bytes (1),
                      4 bytes (5), or a varint length and that many bytes (2)
        1 piece       1 its text, 2 its score (float), 3 its kind; a space is written as U+2581
        2 training    3 the algorithm (2 is BPE)
        3 normaliser  3 whether a space goes before a text (true where absent)
    added_tokens.json, tokenizer_config.json   the tokens that were added later, by id
"""
from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kgen_ext.engines.checkpoint import read_json
from kgen_ext.errors import AGAIN, ModelFileError

SPACE = "\u2581"
# Kinds of both formats.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
_BPE = 2


@dataclass(frozen=True, slots=True)
class Piece:
    """One entry of a vocabulary; its id is its place."""

    text: str
    score: float
    kind: int

    @property
    def special(self) -> bool:
        """Tell whether it is no ordinary text."""
        looks = self.text.startswith("<|") and self.text.endswith("|>")
        return self.kind in (UNKNOWN, CONTROL) or (self.kind == USER_DEFINED and looks)


def tokenizer_layout(pieces: Sequence[Piece], *, prefix: bool) -> dict[str, Any]:
    """Return the tokenizer.json of a vocabulary. prefix: a space goes before every stretch of ordinary text."""
    vocab = {one.text: at for at, one in enumerate(pieces)}
    if len(vocab) < len(pieces):
        raise ValueError("a piece comes twice")
    added = [(at, one) for at, one in enumerate(pieces) if one.kind in (UNKNOWN, CONTROL, USER_DEFINED)]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    unknown = next((one.text for one in pieces if one.kind == UNKNOWN), None)
    space: dict[str, Any] = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    both = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": SPACE}, space]}
    return {
        "version": "1.0", "truncation": None, "padding": None, "pre_tokenizer": None, "post_processor": None,
        "normalizer": both if prefix else space, "decoder": {"type": "ByteFallback"},
        "added_tokens": [{"id": at, "content": one.text, **flags, "special": one.special} for at, one in added],
        "model": {
            "type": "BPE", "dropout": None, "unk_token": unknown, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": True, "vocab": vocab, "merges": _pairs(pieces),
            "byte_fallback": any(one.kind == BYTE for one in pieces),
        },
    }  # fmt: skip


def _pairs(pieces: Sequence[Piece]) -> list[str]:
    ids = {one.text: at for at, one in enumerate(pieces) if one.kind == NORMAL}
    found = list[tuple[float, int, int, str]]()
    for text, at in ids.items():
        for cut in range(1, len(text)):
            left, right = text[:cut], text[cut:]
            if left in ids and right in ids:
                found.append((-pieces[at].score, ids[left], ids[right], f"{left} {right}"))
    return [pair for *_, pair in sorted(found)]


def read_sentencepiece(folder: Path) -> tuple[list[Piece], bool]:
    """Return the vocabulary of a folder's tokenizer.model with its added tokens, and whether a space goes before."""
    path = folder / "tokenizer.model"
    try:
        pieces, prefix = _read_model(path.read_bytes())
    except (OSError, ValueError, IndexError, struct.error) as error:
        raise ModelFileError(f"{path}: not a SentencePiece model: {error}", hint=AGAIN) from error
    for at, (text, special) in sorted(_added(folder).items()):
        kind = CONTROL if special else USER_DEFINED
        if at < len(pieces):
            pieces[at] = Piece(text, pieces[at].score, kind if pieces[at].kind == NORMAL else pieces[at].kind)
        elif at == len(pieces):
            pieces.append(Piece(text, 0.0, kind))
        else:
            raise ModelFileError(f"{folder}: the added token {text!r:.40} leaves ids out", hint=AGAIN)
    return pieces, prefix


def _added(folder: Path) -> dict[int, tuple[str, bool]]:
    config, listed = folder / "tokenizer_config.json", folder / "added_tokens.json"
    try:
        if config.is_file() and (decoder := read_json(config).get("added_tokens_decoder")):
            return {int(at): (str(one["content"]), bool(one.get("special"))) for at, one in decoder.items()}
        if listed.is_file():
            return {int(at): (str(text), str(text).startswith("<")) for text, at in read_json(listed).items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelFileError(f"{folder}: the list of added tokens is damaged: {error!r}", hint=AGAIN) from error
    return {}


def _read_model(data: bytes) -> tuple[list[Piece], bool]:
    pieces, prefix, algorithm = list[Piece](), True, _BPE
    for number, value in _fields(data):
        if number == 1:
            one: Mapping[int, Any] = dict(_fields(value))
            score = struct.unpack("<f", one[2])[0] if 2 in one else 0.0
            pieces.append(Piece(one.get(1, b"").decode(), score, int(one.get(3, NORMAL))))
        elif number == 2:
            algorithm = dict(_fields(value)).get(3, 1)
        elif number == 3:
            prefix = bool(dict(_fields(value)).get(3, 1))
    if not pieces or algorithm != _BPE:
        raise ValueError("it holds no pieces" if not pieces else f"its algorithm is {algorithm}, known is {_BPE} (BPE)")
    return pieces, prefix


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
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
