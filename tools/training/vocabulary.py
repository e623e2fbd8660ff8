"""The vocabulary: learnt pieces in one order that every tokenizer engine reads the same way.

llama.cpp merges the neighbours whose RESULT has the best score; Hugging Face BPE merges the pair of the lowest rank.
Both give the same ids when the merges are written out as SentencePiece's converter does: for each piece in order of
id, every split of it into two pieces of the vocabulary. Scores are minus the rank of the piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tools.training.render import SPECIAL_TOKENS

SPACE = "\u2581"
CONTROL = ("<unk>", "<s>", "</s>")
BYTES = tuple(f"<0x{value:02X}>" for value in range(256))
_PLAIN = ("single_word", "lstrip", "rstrip", "normalized")  # switches of an added token, all off
BOS, EOS = 1, 2  # ids of `<s>` and `</s>`
FIRST_PIECE = len(CONTROL) + len(BYTES)


def merges_of(pieces: Sequence[str]) -> list[tuple[str, str]]:
    """Write out all merges of `pieces`: by rank of the result, then by rank of the left and of the right part."""
    rank = {piece: position for position, piece in enumerate(pieces)}
    merges = []
    for piece in pieces:
        splits = [(piece[:at], piece[at:]) for at in range(1, len(piece)) if piece[:at] in rank and piece[at:] in rank]
        merges.extend(sorted(splits, key=lambda split: (rank[split[0]], rank[split[1]])))
    return merges


def tokenizer_json(pieces: Sequence[str]) -> dict[str, Any]:
    """Build a tokenizer.json (read by tokenizers 0.13.3 and later) over learnt `pieces`, single characters last."""
    names = [*CONTROL, *BYTES, *pieces]
    first_special = len(names)
    added = [(position, name) for position, name in enumerate(CONTROL)]
    added += [(first_special + position, name) for position, name in enumerate(SPECIAL_TOKENS)]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": position, "content": name, **dict.fromkeys(_PLAIN, False), "special": True}
            for position, name in added
        ],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": {name: position for position, name in enumerate(names)},
            "merges": [f"{left} {right}" for left, right in merges_of(pieces)],
        },
    }  # fmt: skip


def reachable(pieces: Sequence[str]) -> list[str]:
    """Drop, until none is left, pieces that do not come back as themselves, or that overlap themselves (ties)."""
    from tokenizers import Tokenizer

    kept = [piece for piece in pieces if len(piece) == 1 or not _overlaps_itself(piece)]
    while True:
        document = tokenizer_json(kept)
        engine = Tokenizer.from_str(_dump(document))
        names = {piece: FIRST_PIECE + position for position, piece in enumerate(kept)}
        good = [piece for piece in kept if engine.encode(piece.replace(SPACE, " ")).ids == [names[piece]]]
        if len(good) == len(kept):
            return kept
        kept = good


def _overlaps_itself(piece: str) -> bool:
    # `..` in `...` can be merged at two places of equal score; engines may differ in which they take.
    return any(piece[:size] == piece[-size:] for size in range(1, len(piece))) and len(set(piece)) == 1


def _dump(document: dict[str, Any]) -> str:
    import json

    return json.dumps(document, ensure_ascii=False)
