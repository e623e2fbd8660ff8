"""The choice of an engine for a model: the reason shown, and what happens when an engine fails to load it."""
from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from engine_fixtures import GGUF as GGUF_FILE

from kgen_ext import engines
from kgen_ext.errors import EngineError, EngineUnavailable, Failure, UnknownModel
from kgen_ext.models import Locations, ModelFiles, find_entry, load_catalogue, resolve
from kgen_ext.service import open_expander
from kgen_ext.service.engines import Capabilities, rank_engines

ALL = ("reference", "transformers", "llama_cpp")


def installed(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(engines, "available_engines", lambda: tuple((name, name in names, "") for name in ALL))


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


def facts(*usable: str, offload: bool = False, gpu: str = "") -> Capabilities:
    return Capabilities(frozenset(usable), lambda: offload, lambda: gpu)


def plan(files: ModelFiles, have: Capabilities, *, engine: str = "auto", device: str = "auto") -> list[str]:
    found = rank_engines(files, engine=engine, device=device, capabilities=have)
    assert all(choice.reason for choice in found)
    return [f"{choice.engine} {choice.device}" for choice in found]


BOTH = ModelFiles("m", Path("m"), Path("m.gguf"))
FOLDER, GGUF = ModelFiles("m", Path("m"), None), ModelFiles("m", None, Path("m.gguf"))


def test_the_starter_starts_quickest_with_numpy() -> None:
    starter = resolve("starter")
    assert plan(starter, facts(*ALL)) == ["reference cpu", "llama_cpp cpu", "transformers cpu"]
    assert plan(starter, facts(*ALL, gpu="cuda"), device="cuda")[0] == "reference cpu", "too small to gain by one"


def test_where_nothing_runs_the_starter_numpy_is_tried_and_says_what_it_lacks() -> None:
    assert plan(resolve("starter"), facts()) == ["reference cpu"]


@pytest.mark.parametrize("files", [BOTH, GGUF], ids=["both", "GGUF"])
def test_a_gguf_is_llama_cpp_s_first_and_torch_and_numpy_read_it_too(files: ModelFiles) -> None:
    assert plan(files, facts(*ALL)) == ["llama_cpp auto", "transformers auto", "reference cpu"]
    assert plan(files, facts("reference", "transformers")) == ["transformers auto", "reference cpu"]
    assert plan(files, facts("reference")) == ["reference cpu"]


def test_safetensors_are_torch_s_then_numpy_s() -> None:
    assert plan(FOLDER, facts(*ALL)) == ["transformers auto", "reference cpu"]
    assert plan(FOLDER, facts("reference", "llama_cpp")) == ["reference cpu"]


def test_torch_s_gpu_goes_before_a_llama_cpp_without_one_and_the_cpu_is_what_is_left() -> None:
    on_gpu = ["transformers auto", "llama_cpp auto", "transformers cpu", "reference cpu"]
    assert plan(BOTH, facts(*ALL, gpu="cuda")) == on_gpu
    assert plan(BOTH, facts(*ALL, gpu="cuda", offload=True))[0] == "llama_cpp auto"
    assert plan(BOTH, facts(*ALL, gpu="cuda"), device="cpu")[0] == "llama_cpp cpu"
    named = plan(BOTH, facts(*ALL, gpu="cuda"), device="cuda:1")
    assert named == ["transformers cuda:1", "transformers cpu", "reference cpu"]


def test_a_gpu_is_asked_for_only_where_the_answer_decides() -> None:
    def no() -> str:
        raise AssertionError("importing torch takes seconds")

    have = Capabilities(frozenset(("reference", "llama_cpp")), lambda: False, no)
    assert plan(BOTH, have) == ["llama_cpp auto", "reference cpu"]
    assert plan(resolve("starter"), Capabilities(frozenset(ALL), lambda: False, no))
    assert plan(BOTH, Capabilities(frozenset(ALL), lambda: True, no))[0] == "llama_cpp auto"


def test_a_model_that_only_llama_cpp_runs_is_given_to_no_other() -> None:
    entry = replace(find_entry("TIPO-v2.1-1B-A200M", load_catalogue()), engines=("llama_cpp",))
    files = ModelFiles("TIPO-v2.1-1B-A200M", None, Path("v2.gguf"), entry)
    assert plan(files, facts(*ALL)) == ["llama_cpp auto"]
    assert plan(files, facts("reference")) == ["llama_cpp auto"], "named although it is missing: opening says the rest"


def test_without_llama_cpp_torch_runs_the_experts() -> None:
    entry = find_entry("TIPO-v2.1-1B-A200M", load_catalogue())
    files = ModelFiles("TIPO-v2.1-1B-A200M", None, Path("v2.gguf"), entry)
    assert plan(files, facts("transformers", "reference")) == ["transformers auto"]


def test_an_engine_that_was_asked_for_is_the_only_one() -> None:
    assert plan(BOTH, facts(), engine="reference", device="cpu") == ["reference cpu"]


def test_where_only_a_missing_library_runs_a_model_the_command_that_adds_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "TIPO-v2.1-1B-A200M_Q8_0.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr("kgen_ext.engines.registry.find_spec", lambda name: object() if name == "numpy" else None)
    with pytest.raises(EngineUnavailable, match="pip install llama-cpp-python"):
        open_expander(model="TIPO-v2.1-1B-A200M", locations=Locations(own=tmp_path))


def test_where_an_engine_fails_the_next_runs_the_same_weights_and_it_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    installed(monkeypatch, "llama_cpp", "reference")
    tried = failing(monkeypatch, {"llama_cpp": EngineError("a shared library is missing")})
    with caplog.at_level(logging.WARNING, "kgen"), open_expander(model=str(GGUF_FILE)) as expander:
        assert expander.engine == "reference" and expander.model == GGUF_FILE.stem
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


def test_an_engine_that_computes_no_numbers_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half precision overflows on some cards, and torch has no kernels for others: it shows in the first token."""
    installed(monkeypatch, "llama_cpp", "reference")
    closed = list[str]()

    class Broken:
        name, n_ctx, vocab, rows = "llama_cpp", 8, SimpleNamespace(eos=2), 1

        def open_cache(self, rows: int, n_ctx: int) -> Broken:
            return self

        def forward(self, chunks: object) -> np.ndarray:
            return np.array([[0.0, np.nan]], np.float32)

        def close(self) -> None:
            closed.append("closed")

    real = engines.load_engine
    monkeypatch.setattr(
        engines, "load_engine", lambda name, **options: Broken() if name == "llama_cpp" else real(name, **options)
    )
    with open_expander(model=str(GGUF_FILE)) as expander:
        assert expander.engine == "reference" and "computes no numbers" in expander.reason
    assert len(closed) == 2, "its cache, and itself"


def test_the_reason_of_the_choice_is_kept() -> None:
    with open_expander(engine="reference") as expander:
        assert expander.reason == "as asked for"
    with open_expander() as expander:
        assert expander.reason == "the starter is small, and NumPy is the quickest to start"


def test_models_are_looked_for_in_the_places_given(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match="not installed"):
        open_expander(model="TIPO-200M", locations=Locations(own=tmp_path))
