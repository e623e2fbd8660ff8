"""TIPO v2: a mixture of experts that only llama.cpp runs, from a GGUF of architecture dots1."""
from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from engine_fixtures import PACKAGES
from model_shapes import write_dots1

from kgen_ext.engines import load_engine
from kgen_ext.engines.gguf import KNOWN, check_gguf
from kgen_ext.errors import EngineUnavailable, ModelFileError
from kgen_ext.protocol import tipo
from kgen_ext.protocol.plan import TIPO_TAGS
from kgen_ext.request import ExpandRequest, TagLength
from kgen_ext.service import open_expander


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


@pytest.mark.parametrize("engine", ["reference", "transformers"])
def test_other_engines_say_who_runs_it(gguf: Path, engine: str) -> None:
    for package in PACKAGES[engine]:
        pytest.importorskip(package)
    with pytest.raises(ModelFileError, match=r"only llama\.cpp runs its kind \(dots1\).*pip install llama-cpp-python"):
        load_engine(engine, folder=None, gguf=gguf)


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
    from kgen_ext.models import load_catalogue

    needs = {model.needs.get("llama_cpp") for model in load_catalogue() if model.engines == ("llama_cpp",)}
    assert needs == {KNOWN["dots1"]}


def test_its_architecture_is_known_by_its_head(gguf: Path) -> None:
    assert check_gguf(gguf) == "dots1"
