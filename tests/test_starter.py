"""The shipped starter model: its files agree with one another and stay small."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

import kgen_ext
from kgen_ext.training.render import SPECIAL_TOKENS
from kgen_ext.training.vocabulary import FIRST_PIECE, SPACE

STARTER = Path(kgen_ext.__file__).parent / "starter"


def load_json(name: str) -> dict:  # type: ignore[type-arg]
    return json.loads((STARTER / name).read_text(encoding="utf-8"))


def test_tensors_have_the_shapes_of_the_config() -> None:
    config = load_json("config.json")
    data = (STARTER / "model.safetensors").read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__")
    hidden, gated = config["hidden_size"], config["intermediate_size"]
    assert header["model.embed_tokens.weight"]["shape"] == [config["vocab_size"], hidden]
    for layer in range(config["num_hidden_layers"]):
        assert header[f"model.layers.{layer}.self_attn.q_proj.weight"]["shape"] == [hidden, hidden]
        assert header[f"model.layers.{layer}.mlp.down_proj.weight"]["shape"] == [hidden, gated]
    assert len(header) == 2 + 9 * config["num_hidden_layers"]
    assert {entry["dtype"] for entry in header.values()} == {"F16"}
    assert config["tie_word_embeddings"] and config["num_key_value_heads"] == config["num_attention_heads"]


def test_special_tokens_are_the_last_ids() -> None:
    size = load_json("config.json")["vocab_size"]
    added = {entry["content"]: entry["id"] for entry in load_json("tokenizer.json")["added_tokens"]}
    assert [added[name] for name in SPECIAL_TOKENS] == list(range(size - len(SPECIAL_TOKENS), size))
    assert (added["<unk>"], added["<s>"], added["</s>"]) == (0, 1, 2)


def test_commas_and_line_breaks_stand_alone() -> None:
    pieces = load_json("tokenizer.json")["model"]["vocab"]
    assert [piece for piece in pieces if "," in piece] == [","]
    assert not [piece for piece in pieces if "\n" in piece or " " in piece]
    assert not [piece for piece in pieces if ":" in piece and len(piece) > 1]


def test_every_piece_of_the_vocabulary_is_reachable() -> None:
    tokenizers = pytest.importorskip("tokenizers")
    engine = tokenizers.Tokenizer.from_file(str(STARTER / "tokenizer.json"))
    pieces = {piece: at for piece, at in load_json("tokenizer.json")["model"]["vocab"].items() if at >= FIRST_PIECE}
    assert [piece for piece, at in pieces.items() if engine.encode(piece.replace(SPACE, " ")).ids != [at]] == []


def test_frequent_tags_are_one_token() -> None:
    tokenizers = pytest.importorskip("tokenizers")
    engine = tokenizers.Tokenizer.from_file(str(STARTER / "tokenizer.json"))
    assert engine.encode(" 1girl, long hair, looking at viewer").tokens == [
        f"{SPACE}1girl", ",", f"{SPACE}long{SPACE}hair", ",", f"{SPACE}looking{SPACE}at{SPACE}viewer",
    ]  # fmt: skip


def test_the_folder_is_at_most_25_megabytes() -> None:
    assert sum(path.stat().st_size for path in STARTER.iterdir()) <= 25e6


@pytest.mark.parametrize("text", ["target: <|long|> <|tag_to_long|>\ntag: 1girl", "caf\u00e9 \U0001f98a,  two  spaces"])
def test_text_survives_the_tokenizer(text: str) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    engine = tokenizers.Tokenizer.from_file(str(STARTER / "tokenizer.json"))
    assert engine.decode(engine.encode(text).ids, skip_special_tokens=False) == text
