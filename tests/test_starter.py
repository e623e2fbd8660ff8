"""The shipped starter model: one small file that every engine reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_fixtures import PACKAGES

import kgen_ext
from kgen_ext.engines import load_engine
from kgen_ext.engines.gguf import read_gguf
from kgen_ext.request import ExpandRequest
from kgen_ext.service import open_expander
from tools.training.gguf import open_tokenizer, read_tokenizer
from tools.training.render import SPECIAL_TOKENS
from tools.training.vocabulary import FIRST_PIECE, SPACE

GGUF = Path(kgen_ext.__file__).parent / "starter" / "starter-Q8_0.gguf"


@pytest.fixture(scope="module")
def layout() -> dict[str, Any]:
    return read_tokenizer(GGUF)


def test_it_is_one_file_of_at_most_16_megabytes() -> None:
    weights = [path for path in GGUF.parent.iterdir() if path.suffix in (".safetensors", ".gguf")]
    assert weights == [GGUF] and GGUF.stat().st_size <= 16e6


def test_special_tokens_are_the_last_ids(layout: dict[str, Any]) -> None:
    size = read_gguf(GGUF).shape.vocab
    added = {entry["content"]: entry["id"] for entry in layout["added_tokens"]}
    assert [added[name] for name in SPECIAL_TOKENS] == list(range(size - len(SPECIAL_TOKENS), size))
    assert (added["<unk>"], added["<s>"], added["</s>"]) == (0, 1, 2)


def test_commas_and_line_breaks_stand_alone(layout: dict[str, Any]) -> None:
    pieces = layout["model"]["vocab"]
    assert [piece for piece in pieces if "," in piece] == [","]
    assert not [piece for piece in pieces if "\n" in piece or " " in piece]
    assert not [piece for piece in pieces if ":" in piece and len(piece) > 1]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    pytest.importorskip("tokenizers")
    return open_tokenizer(GGUF)


def test_every_piece_of_the_vocabulary_is_reachable(layout: dict[str, Any], tokenizer: Any) -> None:
    pieces = {piece: at for piece, at in layout["model"]["vocab"].items() if at >= FIRST_PIECE}
    assert [piece for piece, at in pieces.items() if tokenizer.encode(piece.replace(SPACE, " ")).ids != [at]] == []


def test_frequent_tags_are_one_token(tokenizer: Any) -> None:
    assert tokenizer.encode(" 1girl, long hair, looking at viewer").tokens == [
        f"{SPACE}1girl", ",", f"{SPACE}long{SPACE}hair", ",", f"{SPACE}looking{SPACE}at{SPACE}viewer",
    ]  # fmt: skip


def test_llama_cpp_says_what_numpy_says() -> None:
    for package in ("tokenizers", "llama_cpp"):
        pytest.importorskip(package)
    one, other = (load_engine(name, folder=None, gguf=GGUF, threads=1) for name in ("reference", "llama_cpp"))
    text = "rating: safe\ntarget: <|short|> <|tag_to_long|>\ntag: 1girl, fox ears, shrine, tree"
    ids = one.tokenize(text)
    assert list(other.tokenize(text)) == list(ids)
    exact, rounded = one.open_cache(1, 64), other.open_cache(1, 64)
    for token in ids:
        wanted, found = exact.forward([(0, [token])])[0], rounded.forward([(0, [token])])[0]
        # llama.cpp rounds what it multiplies with to 127 steps: a tenth of the spread on a few of 6144 logits is usual.
        assert np.abs(found - wanted).max() <= 0.25 * wanted.std()
        assert np.corrcoef(found, wanted)[0, 1] > 0.999
    for cache, engine in ((exact, one), (rounded, other)):
        cache.close()
        engine.close()


def test_its_text_for_a_seed_changes_only_with_its_weights() -> None:
    request = ExpandRequest("1girl, fox ears, shrine", tag_length="short", text_length="short", seed=7,
                            temperature=1.0, min_p=0.1, prior=0)  # fmt: skip
    with open_expander(model="starter", engine="reference") as starter:
        (done,) = starter.expand([request])
    assert done.prompt == (
        "1girl, fox ears, shrine, solo, fox tail, fox girl, smile, looking at viewer, animal ears, tail, animal ear "
        "fluff, long hair, blue eyes, outdoors, kimono, hair between eyes, hair ornament, black hair, blush, upper "
        "body, japanese clothes, lantern, hair flower, open mouth, thighhighs, cherry blossoms, standing, very long "
        "hair, :d, flower, holding, ribbon, obi, torii, At a shrine, a girl with fox ears and a fox tail smiles. She "
        "has long hair and a tail. She is wearing thighhighs. The frame ends at the waist."
    )


@pytest.mark.parametrize("engine", PACKAGES)
def test_with_its_prior_it_writes_the_same_on_every_engine(engine: str) -> None:
    for package in PACKAGES[engine]:
        pytest.importorskip(package)
    with open_expander(model="starter", engine=engine) as starter:
        (done,) = starter.expand([ExpandRequest("", text="A cat sits on a chair by the window.", seed=7)])
    assert done.added_tags == tuple(
        "no humans, cat, sitting, chair, window, on chair, table, animal".split(", ")
    )


@pytest.mark.parametrize("text", ["target: <|long|> <|tag_to_long|>\ntag: 1girl", "caf\u00e9 \U0001f98a,  two  spaces"])
def test_text_survives_the_tokenizer(text: str, tokenizer: Any) -> None:
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text
