"""TIPO v2: a mixture of experts that llama.cpp and transformers run, from a GGUF of architecture dots1."""
from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from engine_fixtures import PACKAGES
from model_shapes import write_dots1
from scripted_engine import ScriptedEngine

from kgen_ext.engine import Engine
from kgen_ext.engines import load_engine
from kgen_ext.engines.gguf import KNOWN, check_gguf
from kgen_ext.errors import BadCatalogue, EngineUnavailable, ModelFileError
from kgen_ext.models import find_entry, load_catalogue
from kgen_ext.protocol import Protocol, tipo
from kgen_ext.protocol.plan import TIPO_TAGS
from kgen_ext.request import ExpandRequest, TagLength
from kgen_ext.rules.known import TagFiles
from kgen_ext.service import open_expander
from kgen_ext.service.plan import ModelContext, make_jobs, plan_expansion


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("gguf")
    pytest.importorskip("llama_cpp")
    return write_dots1(tmp_path_factory.mktemp("v2") / "TIPO-v2.1-1B-A200M_tiny.gguf")


def test_its_vocabulary_has_the_published_size_and_tipo_s_special_tokens(gguf: Path) -> None:
    engine = load_engine("llama_cpp", folder=None, gguf=gguf, device="cpu", threads=1)
    assert (len(engine.vocab), engine.n_ctx) == (65_536, 4096)
    for text in tipo.SPECIAL_TOKENS:
        assert engine.tokenize(text) == [engine.vocab.special[text]]
    assert engine.vocab.bos == engine.vocab.special["<|bos|>"] and engine.vocab.eos == engine.vocab.special["<|eos|>"]
    assert engine.vocab.pieces[-1] == b"", "unused places stand for no text"
    text = "rating: safe\ntarget: <|long|> <|tag_to_long|>\ntag: 1girl, 猫耳, f1.8 lens"
    names = {index: name.encode() for name, index in engine.vocab.special.items()}
    assert b"".join(names.get(token, engine.vocab.pieces[token]) for token in engine.tokenize(text)) == text.encode()
    engine.close()


def test_it_expands_by_itself_with_all_guarantees(gguf: Path) -> None:
    request = ExpandRequest("1girl, (long hair:1.2)", ban="hat, *tree*", seed=3, tag_length="short", count=2)
    with open_expander(model=str(gguf), threads=1) as expander:
        assert expander.engine == "llama_cpp"
        found = expander.expand([request])
        again = expander.expand([request])
        assert [expansion.prompt for expansion in again] == [expansion.prompt for expansion in found]
        text = expander.expand([ExpandRequest("1girl, dog", tag_length="short", text_length="short", seed=1)])[0]
    for expansion in found:
        assert expansion.prompt.startswith("1girl, (long hair:1.2), ")
        assert len(expansion.added_tags) + 2 in TIPO_TAGS[TagLength.SHORT]
        assert not [tag for tag in expansion.added_tags if "tree" in tag or tag == "hat"]
    assert text.added_text


def test_the_reference_engine_says_who_runs_it(gguf: Path) -> None:
    for package in PACKAGES["reference"]:
        pytest.importorskip(package)
    with pytest.raises(ModelFileError, match=r"no experts \(dots1\).*llama_cpp or transformers"):
        load_engine("reference", folder=None, gguf=gguf)


@pytest.fixture(scope="module")
def both(gguf: Path) -> Iterator[tuple[Engine, Engine]]:
    """The file in llama.cpp and in transformers."""
    for package in PACKAGES["transformers"]:
        pytest.importorskip(package)
    try:
        found = load_engine("transformers", folder=None, gguf=gguf, device="cpu", threads=1)
    except EngineUnavailable as error:
        pytest.skip(error.message)  # a release before 4.53
    wanted = load_engine("llama_cpp", folder=None, gguf=gguf, device="cpu", threads=1)
    yield wanted, found
    wanted.close()
    found.close()


def test_transformers_reads_the_same_vocabulary(both: tuple[Engine, Engine]) -> None:
    wanted, found = both
    assert found.vocab == wanted.vocab and found.n_ctx == wanted.n_ctx


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rating: safe\ntarget: <|long|> <|tag_to_long|>\ntag: 1girl, 猫耳, f1.8 lens",
        "  lead and trail  ",
        "12345 girls, 2girls",
        "a girl's hats, he'll wait",
        "x_x ^_^ :d $5.30 (a) <b> [c] | ~",
        "Two\n\nlines  two  spaces",
        "кошка, ネコ, é, e\u0301, \U0001f469\u200d\U0001f469\u200d\U0001f467",
        "<|eos|>x<|bos|> <|short|>",
        "blue sky, " * 50,
    ],
)
def test_transformers_cuts_a_text_into_the_same_tokens(both: tuple[Engine, Engine], text: str) -> None:
    wanted, found = both
    assert found.tokenize(text) == wanted.tokenize(text)


def test_transformers_computes_the_same_logits(both: tuple[Engine, Engine]) -> None:
    ids = both[0].tokenize("rating: safe\ntarget: <|long|> <|tag_to_long|>\ntag: 1girl, 猫耳, f1.8 lens, red ribbon")
    chunks = [(0, ids[:-3]), (1, ids[5:20])]
    logits = []
    for engine in both:
        cache = engine.open_cache(2, 128)
        first = cache.forward(chunks).copy()
        logits.append(np.concatenate((first, cache.forward([(0, ids[-3:]), (1, ids[:1])]))))
        cache.close()
    wanted, found = logits
    assert np.abs(found - wanted).max() <= 0.03 * wanted.std()  # llama.cpp rounds its cache to float16


def test_a_llama_cpp_python_that_is_too_old_is_told_which_one_is_not(
    gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import kgen_ext.engines.llama_cpp as module
    from kgen_ext.engines.llama_cpp_bindings import open_library

    real = open_library()
    old: Any = SimpleNamespace(
        api=real.api, version=" 0.3.9", load_model=lambda *_: None,
        log=SimpleNamespace(clear=lambda: None, reason=lambda: ": error: unknown model architecture: 'dots1'"),
    )  # fmt: skip
    monkeypatch.setattr(module, "open_library", lambda: old)
    with pytest.raises(EngineUnavailable, match=r"llama-cpp-python 0\.3\.9 is too old .* dots1 .*0\.3\.10 or later"):
        load_engine("llama_cpp", folder=None, gguf=gguf)


def test_the_version_it_needs_is_the_catalogue_s() -> None:
    needs = {model.needs["llama_cpp"] for model in load_catalogue() if "transformers" in model.needs}
    assert needs == {KNOWN["dots1"]}


def test_its_architecture_is_known_by_its_head(gguf: Path) -> None:
    assert check_gguf(gguf) == "dots1"


@pytest.mark.parametrize(
    ("model", "typed", "shown"),
    [
        ("TIPO-v2.1-1B-A200M", "general", "safe"), ("TIPO-v2.1-1B-A200M", "rating:questionable", "nsfw"),
        ("TIPO-v2.1-1B-A200M", "explicit", "nsfw, explicit"), ("TIPO-v2.1-1B-A200M", "sensitive", "sensitive"),
        ("TIPOv2-1B-A200M", "safe", "general"), ("TIPOv2-1B-A200M", "questionable", "questionable"),
        ("TIPO-500M-ft", "safe", "safe"),
    ],
)  # fmt: skip
def test_a_rating_is_shown_by_the_word_that_the_model_was_trained_with(model: str, typed: str, shown: str) -> None:
    engine = ScriptedEngine.forcing(["</s>"])
    ratings = find_entry(model, load_catalogue()).ratings
    context = ModelContext(engine=engine, protocol=Protocol.TIPO, quality_line=False, n_ctx=512, ratings=ratings)
    (job,), _ = make_jobs(plan_expansion(ExpandRequest(f"fox, {typed}"), TagFiles()), context, row=0, seed=1)
    assert job is not None
    text = b"".join(engine.vocab.pieces[token] for token in job.request).decode()
    assert f"rating: {shown}\n" in text


def test_a_rating_of_the_catalogue_that_nobody_writes_is_refused(tmp_path: Path) -> None:
    entry: dict[str, Any] = {"id": "own", "protocol": "tipo", "files": [{"path": "own.gguf", "kind": "gguf"}]}
    entry["ratings"] = {"fine": "safe"}
    (tmp_path / "kgen-models.json").write_text(json.dumps({"schema": 1, "models": [entry]}))
    with pytest.raises(BadCatalogue, match=r"ratings.*safe, general"):
        load_catalogue(tmp_path / "kgen-models.json")
