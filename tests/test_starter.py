"""The shipped starter model: its files agree with one another and stay small."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

import kgen_ext
from kgen_ext.engines import load_engine
from kgen_ext.request import ExpandRequest
from kgen_ext.service import open_expander
from tools.training.render import SPECIAL_TOKENS
from tools.training.vocabulary import FIRST_PIECE, SPACE

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


def test_the_weights_are_at_most_16_megabytes() -> None:
    files = [path for path in STARTER.iterdir() if path.suffix in (".safetensors", ".gguf")]
    assert len(files) == 2 and sum(path.stat().st_size for path in files) <= 16e6
    assert sum(path.stat().st_size for path in STARTER.iterdir()) <= 16 * 2**20


def test_the_shipped_gguf_says_what_the_safetensors_say() -> None:
    for package in ("tokenizers", "llama_cpp"):
        pytest.importorskip(package)
    gguf = STARTER / "starter-Q8_0.gguf"
    one, other = (load_engine(name, folder=STARTER, gguf=gguf, threads=1) for name in ("reference", "llama_cpp"))
    text = "rating: safe\ntarget: <|short|> <|tag_to_long|>\ntag: 1girl, fox ears, shrine, tree"
    ids = one.tokenize(text)
    assert list(other.tokenize(text)) == list(ids)
    exact, rounded = one.open_cache(1, 64), other.open_cache(1, 64)
    for token in ids:
        wanted, found = exact.forward([(0, [token])])[0], rounded.forward([(0, [token])])[0]
        # Q8_0 rounds weights and activations to 127 steps: a tenth of the spread on a few of 6144 logits is usual.
        assert np.abs(found - wanted).max() <= 0.25 * wanted.std()
        assert np.corrcoef(found, wanted)[0, 1] > 0.999
    for cache, engine in ((exact, one), (rounded, other)):
        cache.close()
        engine.close()


def test_its_text_for_a_seed_changes_only_with_its_weights() -> None:
    request = ExpandRequest("1girl, fox ears, shrine", tag_length="short", text_length="short", seed=7,
                            temperature=1.0, min_p=0.1)  # fmt: skip
    with open_expander(model="starter", engine="reference") as starter:
        (done,) = starter.expand([request])
    assert done.prompt == (
        "1girl, fox ears, shrine, solo, looking at viewer, long hair, japanese clothes, black hair, animal ears, tail, "
        "fox tail, kimono, red eyes, smile, fox girl, hair between eyes, open mouth, outdoors, wide sleeves, very long "
        "hair, hair ornament, torii, hair flower, sitting, full body, skirt, lantern, whisker markings, blush, "
        "thighhighs, leaf, dress, nontraditional miko, At a shrine, a girl with fox ears and black hair is looking at "
        "the viewer. There are a hair flower and japanese clothes nearby. She has red eyes and a fox tail. She is "
        "dressed in thighhighs and a hair ornament."
    )


@pytest.mark.parametrize("text", ["target: <|long|> <|tag_to_long|>\ntag: 1girl", "caf\u00e9 \U0001f98a,  two  spaces"])
def test_text_survives_the_tokenizer(text: str) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    engine = tokenizers.Tokenizer.from_file(str(STARTER / "tokenizer.json"))
    assert engine.decode(engine.encode(text).ids, skip_special_tokens=False) == text
