"""What a GGUF file says of itself in its head: its quantisation, and the special tokens.

Refuses to load weights or the ML library, and to know the file's layout (`engines.gguf_file`); a head of 32,000 tokens
takes some ten milliseconds.
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# llama.h, enum llama_ftype.
_QUANTS = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
           12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
           32: "BF16"}  # fmt: skip
_CONTROL, _USER_DEFINED = 3, 4  # tokenizer.ggml.token_type


@dataclass(frozen=True, slots=True)
class GgufHead:
    """The quantisation, "" where none is named, and the tokens that are no ordinary text."""

    quant: str
    special: frozenset[str]


def read_gguf_head(path: Path) -> GgufHead:
    """Return the head of a GGUF file; raises ModelFileError for a file that is none, or is cut off in it."""
    from kgen_ext.engines.gguf_file import read_head  # a host that starts up loads no engine

    pairs = read_head(path).pairs
    tokens, kinds = pairs.get("tokenizer.ggml.tokens", []), pairs.get("tokenizer.ggml.token_type", [])
    marked = {text for text, kind in zip(tokens, kinds, strict=False) if kind in (_CONTROL, _USER_DEFINED)}
    return GgufHead(
        quant=_QUANTS.get(pairs.get("general.file_type", -1), ""),
        special=frozenset(marked | {text for text in tokens[-64:] if text.startswith("<|")}),
    )
