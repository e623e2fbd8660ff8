"""Tiny models in the shape of every published family: the same ids, the same logits, and expansion end to end."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_fixtures import PACKAGES
from model_shapes import CONTROL, DTG, TIPO_V1, USER_DEFINED, Shape, config, pieces, write_folder, write_gguf
from test_engine_contract import TEXTS

from kgen_ext.engine import Engine
from kgen_ext.engines import load_engine
from kgen_ext.engines.gguf import TYPES, _decode
from kgen_ext.errors import BadValue
from kgen_ext.events import Expansion
from kgen_ext.protocol.plan import DTG_TAGS, TIPO_TAGS
from kgen_ext.request import ExpandRequest, TagLength
from kgen_ext.service import open_expander
from kgen_ext.tags.canonical import normalise

REQUEST = "rating: safe\naspect ratio: 0.7\ntarget: <|long|> <|tag_to_long|>\ntag: 1girl, long hair, 猫"
FAMILIES = {"TIPO v1": TIPO_V1, "DanTagGen": DTG}
Model = Callable[[str, str], Path]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Return a function that writes a family's folder or one of its GGUFs, once."""
    home, written = tmp_path_factory.mktemp("shapes"), dict[tuple[str, str], Path]()

    def get(family: str, file: str) -> Path:
        shape, at = FAMILIES[family], home / f"{family} {file}".replace(" ", "-")
        if (family, file) not in written:
            if file == "folder":
                written[family, file] = write_folder(at, shape)
            else:
                pytest.importorskip("gguf")
                quant = file.removeprefix("gguf ")
                added, quant = (USER_DEFINED, "F16") if quant == "USER" else (CONTROL, quant)
                written[family, file] = write_gguf(at.with_suffix(".gguf"), shape, quant=quant, added=added)
        return written[family, file]

    return get


def engine_on(name: str, path: Path) -> Engine:
    for package in PACKAGES[name]:
        pytest.importorskip(package)
    folder, gguf = (path, None) if path.is_dir() else (None, path)
    return load_engine(name, folder=folder, gguf=gguf, device="cpu", threads=1)


WAYS = [("reference", "gguf F16"), ("transformers", "gguf F16"), ("llama_cpp", "gguf F16"),
        ("llama_cpp", "gguf USER"), ("transformers", "folder")]  # fmt: skip


@pytest.fixture(params=WAYS, ids=" ".join)
def way(request: pytest.FixtureRequest) -> tuple[str, str]:
    return request.param


@pytest.mark.parametrize("family", FAMILIES)
def test_every_engine_and_file_has_the_same_vocabulary_ids_and_logits(
    model: Model, family: str, way: tuple[str, str]
) -> None:
    reference, engine = engine_on("reference", model(family, "folder")), engine_on(way[0], model(family, way[1]))
    assert len(engine.vocab) == len(pieces(FAMILIES[family]))
    assert engine.vocab == reference.vocab
    assert engine.n_ctx == FAMILIES[family].context
    for text in (*TEXTS.values(), REQUEST, "\nlong: Two  spaces, then 100 words.", "<|empty|>"):
        assert engine.tokenize(text) == reference.tokenize(text), text
    ids = reference.tokenize(REQUEST)
    found, wanted = (runtime.open_cache(1, 64).forward([(0, ids)])[0] for runtime in (engine, reference))
    # The files round weights to F16, llama.cpp its activations as well.
    assert np.abs(found - wanted).max() < 0.05 * wanted.std()
    engine.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_special_tokens_are_single_ids_behind_the_thirty_two_thousand_pieces(model: Model, family: str) -> None:
    engine = engine_on("reference", model(family, "folder"))
    for at, text in enumerate(FAMILIES[family].special):
        assert engine.tokenize(text) == [32_000 + at]
        assert engine.vocab.special[text] == 32_000 + at
        assert engine.vocab.pieces[32_000 + at] == b""
    assert (engine.vocab.bos, engine.vocab.eos) == (1, 2)


@pytest.mark.parametrize("quant", ["Q8_0", "Q6_K", "BF16", "F16"])
def test_blocks_are_decoded_to_the_numbers_the_format_s_own_package_gives(quant: str) -> None:
    gguf = pytest.importorskip("gguf")
    width = {name: size for name, _, size in TYPES.values()}[quant]
    raw = np.random.default_rng(5).integers(0, 256, (40, width * (1 if width > 2 else 64)), dtype=np.uint8)
    scale = {"Q8_0": slice(0, 2), "Q6_K": slice(208, 210)}.get(quant, slice(0))
    raw[:, scale] = np.frombuffer(np.float16(0.01).tobytes(), np.uint8)[: raw[:, scale].shape[1]]
    wanted = gguf.quants.dequantize(raw, gguf.GGMLQuantizationType[quant])
    assert np.array_equal(_decode(raw.ravel(), quant), wanted.ravel(), equal_nan=True)


def test_a_q8_0_file_is_read_whole(model: Model) -> None:
    path = model("TIPO v1", "gguf Q8_0")
    ids = engine_on("reference", path).tokenize(REQUEST)
    engines = (engine_on(name, path) for name in ("reference", "llama_cpp"))
    found, wanted = (engine.open_cache(1, 64).forward([(0, ids)])[0].copy() for engine in engines)
    # llama.cpp rounds activations to 8 bits as well, which a vector with one large number feels.
    assert np.corrcoef(found, wanted)[0, 1] > 0.99


def expansions(model: Model, family: str, way: tuple[str, str], **options: Any) -> list[Expansion]:
    for package in PACKAGES[way[0]]:
        pytest.importorskip(package)
    request = ExpandRequest("1girl, (long hair:1.2), <lora:ink:0.8>", ban="hat, *tree*", seed=7, count=3, **options)
    with open_expander(model=str(model(family, way[1])), engine=way[0], device="cpu", threads=1) as expander:
        found = expander.expand([request])
        again = expander.expand([request])
        assert [expansion.prompt for expansion in again] == [expansion.prompt for expansion in found]
    return found


def check_tags(found: list[Expansion], low: int, high: int) -> None:
    for expansion in found:
        assert expansion.source == "1girl, (long hair:1.2), <lora:ink:0.8>"
        assert expansion.source in expansion.prompt
        names = [normalise(tag) for tag in (*expansion.added_tags, "1girl", "long hair")]
        assert len(set(names)) == len(names), "no tag twice"
        assert low <= len(names) <= high
        assert not [tag for tag in expansion.added_tags if "tree" in tag or tag == "hat"]
    assert len({expansion.prompt for expansion in found}) == 3, "every variant is its own"


@pytest.mark.parametrize("way", WAYS[:3], ids=" ".join)
def test_dantaggen_writes_its_number_of_tags_and_keeps_the_guarantees(model: Model, way: tuple[str, str]) -> None:
    band = DTG_TAGS[TagLength.SHORT]
    check_tags(expansions(model, "DanTagGen", way, tag_length="short"), band.minimum, band.maximum)


@pytest.mark.parametrize("way", WAYS[:3], ids=" ".join)
def test_tipo_v1_writes_tags_and_text_in_one_go_and_keeps_the_guarantees(model: Model, way: tuple[str, str]) -> None:
    found = expansions(model, "TIPO v1", way, tag_length="short", text_length="short")
    band = TIPO_TAGS[TagLength.SHORT]
    check_tags(found, band.minimum, band.maximum)
    assert all(expansion.added_text for expansion in found)


def test_dantaggen_says_that_it_writes_no_text(model: Model) -> None:
    found = expansions(model, "DanTagGen", ("reference", "folder"), tag_length="very_short", text_length="short")
    assert not any(expansion.added_text for expansion in found)
    assert all(any("writes tags only" in note for note in expansion.notes) for expansion in found)
    with pytest.raises(BadValue, match="this model writes tags only"):
        expansions(model, "DanTagGen", ("reference", "folder"), text_length="short", no_tags=True)


@pytest.fixture
def variants(tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    made = list[Engine]()

    def make(shape: Shape, name: str, **options: Any) -> Engine:
        made.append(engine_on("reference", write_folder(tmp_path / name, shape, **options)))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


def test_added_tokens_are_found_in_either_of_their_two_files(variants: Callable[..., Engine]) -> None:
    old, new = variants(DTG, "old", listed="added_tokens.json"), variants(DTG, "new")
    assert old.vocab == new.vocab and old.tokenize(REQUEST) == new.tokenize(REQUEST)


def test_a_tokenizer_that_is_not_legacy_has_one_space_at_the_start_and_none_behind_special_tokens(
    variants: Callable[..., Engine]
) -> None:
    legacy, modern = variants(TIPO_V1, "legacy"), variants(TIPO_V1, "modern", legacy=False)
    space, line = legacy.tokenize(" ")[:1], legacy.tokenize("a\n")[-1:]
    long = 32_000 + TIPO_V1.special.index("<|long|>")
    assert legacy.tokenize("<|long|>\n") == [long, *space, *line]
    assert modern.tokenize("<|long|>\n") == [long, *line]
    assert modern.tokenize("long hair") == legacy.tokenize("long hair")


def test_the_shape_of_the_test_models_is_that_of_the_published_ones() -> None:
    assert (config(TIPO_V1)["vocab_size"], config(DTG)["vocab_size"]) == (32_013, 32_006)
    assert TIPO_V1.special[0] == "<|empty|>" and len(TIPO_V1.special) == 13 and len(DTG.special) == 6
