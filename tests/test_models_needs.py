"""What a model needs, judged by what is installed, and which model suits a machine."""
from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from kgen_ext.models import load_catalogue, needs
from kgen_ext.models.needs import Fit, Machine, best_model, fit

GB = 10**9
NUMPY = {"reference": (2, 0)}
A1111 = {**NUMPY, "transformers": (4, 30, 2)}  # what the host pins
NEW = {**NUMPY, "transformers": (4, 53)}
LLAMA = {**A1111, "llama_cpp": (0, 3, 10)}


def machine(engines: dict[str, tuple[int, ...]], *, gpu: bool = False, memory: int | None = 32 * GB) -> Machine:
    return Machine(engines, gpu=gpu, memory=memory)


def judged(name: str, on: Machine) -> Fit:
    model_id, _, variant = name.partition(":")
    model = next(model for model in load_catalogue() if model.id == model_id)
    file = model.file(variant)
    assert file is not None
    return fit(model, file, on)


@pytest.mark.parametrize("engines, engine", [
    (A1111, ""), (NEW, "transformers"), (LLAMA, "llama_cpp"),
    ({**NEW, "transformers": (5, 0)}, "transformers"),
    ({**NEW, "transformers": (4, 52, 4)}, ""),
    ({"llama_cpp": (0, 3, 9)}, ""),
    ({"llama_cpp": (0, 4)}, "llama_cpp"),
    ({"llama_cpp": ()}, "llama_cpp"),  # installed under another name, so of unknown version
    ({**NEW, "llama_cpp": (0, 3, 9)}, "transformers"),
    (NUMPY, ""), ({}, ""),
])  # fmt: skip
def test_tipo_v2_1_runs_where_either_library_is_new_enough(engines: dict[str, tuple[int, ...]], engine: str) -> None:
    assert judged("TIPO-v2.1-1B-A200M", machine(engines)).engine == engine


def test_what_is_missing_is_named_with_its_version() -> None:
    told = judged("TIPO-v2.1-1B-A200M", machine(A1111)).needs
    assert told == "llama-cpp-python 0.3.10 or transformers 4.53"


@pytest.mark.parametrize("name, engine", [
    ("TIPO-500M-ft:F16", "reference"), ("TIPO-500M-ft:safetensors", "reference"),
    ("DanTagGen-delta-rev2:Q6_K", "reference"), ("starter", "reference"),
])  # fmt: skip
def test_numpy_alone_runs_the_llamas(name: str, engine: str) -> None:
    assert judged(name, machine(NUMPY)) == Fit(engine, "")


def test_llama_cpp_reads_no_folder() -> None:
    assert judged("TIPO-500M-ft:safetensors", machine({"llama_cpp": (1, 0)})).needs == "transformers or numpy"


def test_a_model_too_large_for_the_memory_does_not_run() -> None:
    assert judged("TIPO-500M-ft:F16", machine(A1111, memory=4 * GB)) == Fit("", "4.06 GB of memory")


def test_llama_cpp_needs_less_memory() -> None:
    assert judged("TIPO-500M-ft:F16", machine(LLAMA, memory=4 * GB)).engine == "llama_cpp"


def test_a_gpu_has_memory_of_its_own() -> None:
    assert judged("TIPO-500M-ft:F16", machine(A1111, gpu=True, memory=4 * GB)).engine == "transformers"


def test_unknown_memory_refuses_nothing() -> None:
    assert judged("TIPO-500M-ft:F16", machine(A1111, memory=None)).engine == "transformers"


@pytest.mark.parametrize("on, best", [
    (machine(LLAMA), "TIPO-v2.1-1B-A200M"),
    (machine(NEW), "TIPO-v2.1-1B-A200M"),
    (machine(A1111, gpu=True), "TIPO-500M-ft"),
    (machine(A1111), "TIPO-200M-ft2"),
    (machine(NUMPY), "TIPO-200M-ft2"),
    (machine(NEW, memory=6 * GB), "TIPO-200M-ft2"),
    (machine(A1111, memory=GB), "TIPO-100M"),
])  # fmt: skip
def test_the_best_model_of_a_machine(on: Machine, best: str) -> None:
    found = best_model(load_catalogue(), on)
    assert found is not None and found[0].id == best


def test_the_first_file_that_runs_is_the_one_to_download() -> None:
    found = best_model(load_catalogue(), machine(LLAMA))
    assert found is not None and found[1].variant == "Q8_0"


def test_where_nothing_runs_nothing_is_best() -> None:
    assert best_model(load_catalogue(), machine({})) is None


def test_torch_is_asked_for_a_gpu_only_where_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert not needs.this_machine().gpu
    assert "torch" not in sys.modules


def test_a_gpu_of_torchs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = SimpleNamespace(is_available=lambda: True, device_count=lambda: 1)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda, __spec__=object()))
    assert needs.this_machine().gpu


def test_this_machine_has_memory() -> None:
    assert (needs.this_machine().memory or 0) > GB // 4
