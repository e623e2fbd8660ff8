"""Which protocol a model file speaks, told by the special tokens of its vocabulary, without loading it.

Refuses to guess from a name. TIPO's requests need all its thirteen tokens; DanTagGen's are told by `<|input_end|>`.
"""
from __future__ import annotations

import json
from pathlib import Path

from kgen_ext.catalogue.gguf_head import read_gguf_head
from kgen_ext.errors import AGAIN, ModelFileError


def protocol_of_file(path: Path) -> str | None:
    """Return "tipo", "dtg" or None for a .gguf file or a folder with tokenizer.json; raises ModelFileError."""
    from kgen_ext.protocol import dtg, tipo

    special = _special_of_folder(path) if path.is_dir() else read_gguf_head(path).special
    if dtg.INPUT_END in special:
        return "dtg"
    return "tipo" if special.issuperset(tipo.SPECIAL_TOKENS) else None


def _special_of_folder(folder: Path) -> frozenset[str]:
    for name in ("tokenizer.json", "added_tokens.json"):
        path = folder / name
        if not path.is_file():
            continue
        try:
            value = json.loads(path.read_text("utf-8"))
            added = value if name == "added_tokens.json" else [one["content"] for one in value["added_tokens"]]
            return frozenset(str(text) for text in added)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise ModelFileError(f"{path}: no list of added tokens: {error!r}", hint=AGAIN) from error
    raise ModelFileError(f"{folder / 'tokenizer.json'}: no such file", hint="the folder needs one")
