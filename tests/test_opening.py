"""Which engine runs a model: the choice, the reason that is shown, and what happens when one fails on these weights."""
from __future__ import annotations

import logging
from pathlib import Path

import pytest

from kgen_ext import engines
from kgen_ext.catalogue import ModelFiles, Places, resolve
from kgen_ext.errors import EngineError, EngineUnavailable, Failure, UnknownModel
from kgen_ext.service import open_expander
from kgen_ext.service.opening import choose_engines

ALL = ("reference", "transformers", "llama_cpp")


def installed(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(engines, "available_engines", lambda: tuple((one, one in names, "") for one in ALL))


def failing(monkeypatch: pytest.MonkeyPatch, errors: dict[str, Failure]) -> list[str]:
    """Let engines fail at load; return the list that names those that were tried."""
    tried, real = list[str](), engines.load_engine

    def load(name: str, **options: object) -> object:
        tried.append(name)
        if name in errors:
            raise errors[name]
        return real(name, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(engines, "load_engine", load)
    return tried


def names(files: ModelFiles, wanted: str = "auto", *, resident: bool = False) -> list[str]:
    return [name for name, _ in choose_engines(files, wanted, resident=resident)]


def test_the_starter_starts_quickest_with_numpy_and_stays_with_llama_cpp(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, *ALL)
    assert names(resolve("starter"))[0] == "reference"
    assert names(resolve("starter"), resident=True) == ["llama_cpp", "reference", "transformers"]


def test_only_what_is_installed_and_on_disk_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "reference", "transformers")
    assert names(resolve("starter"), resident=True) == ["reference", "transformers"]
    folder, gguf = ModelFiles("m", Path("m"), None), ModelFiles("m", None, Path("m.gguf"))
    assert names(folder) == ["transformers", "reference"]
    assert names(gguf) == ["llama_cpp"], "named although it is missing: opening says what to install"
    assert names(folder, "reference") == ["reference"]


def test_a_gguf_without_its_library_says_what_would_run_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr("kgen_ext.engines.load.find_spec", lambda name: None if name == "llama_cpp" else object())
    with pytest.raises(EngineUnavailable, match="pip install llama-cpp-python"):
        open_expander(model=str(tmp_path / "m.gguf"))


def test_where_an_engine_fails_the_next_runs_the_same_weights_and_it_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    installed(monkeypatch, *ALL)
    tried = failing(monkeypatch, {"llama_cpp": EngineError("a shared library is missing")})
    with caplog.at_level(logging.WARNING, "kgen"), open_expander(resident=True) as expander:
        assert expander.engine == "reference" and expander.model == "starter"
        assert expander.reason == "llama_cpp failed: a shared library is missing"
    assert tried == ["llama_cpp", "reference"]
    assert len(caplog.messages) == 1 and "a shared library is missing" in caplog.text


def test_where_all_fail_the_first_failure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, *ALL)
    tried = failing(monkeypatch, {name: EngineError(f"{name} broke") for name in ALL})
    with pytest.raises(EngineError, match="reference broke"):
        open_expander()
    assert tried == ["reference", "llama_cpp", "transformers"]


def test_an_engine_that_was_asked_for_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = failing(monkeypatch, {"llama_cpp": EngineError("broke")})
    with pytest.raises(EngineError, match="broke"):
        open_expander(engine="llama_cpp")
    assert tried == ["llama_cpp"]


def test_the_reason_of_the_choice_is_kept() -> None:
    with open_expander(engine="reference") as expander:
        assert expander.reason == "as asked for"
    with open_expander() as expander:
        assert expander.reason == "the starter is small, and NumPy is the quickest to start"


def test_models_are_looked_for_in_the_places_given(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match="not installed"):
        open_expander(model="TIPO-200M", places=Places(own=tmp_path))
