"""Devices: every kind that torch or llama.cpp may have, reported by fakes of the libraries; none is assumed."""
from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kgen_ext.engines.devices import (
    DEVICES,
    free_bytes,
    free_memory,
    llama_placement,
    parse_device,
    pick_torch,
    title,
    torch_devices,
)
from kgen_ext.errors import BadValue


def part(count: int, **more: Any) -> Any:
    return SimpleNamespace(is_available=lambda: count > 0, device_count=lambda: count, **more)


def fake_torch(*, cuda: int = 0, xpu: int | None = 0, mps: bool | None = False, hip: str | None = None) -> Any:
    """Return what is asked of torch; None: a build so old that it has no such part."""
    torch = SimpleNamespace(
        cuda=part(cuda, get_device_name=lambda number: f"Card {number}", empty_cache=lambda: freed.append("cuda")),
        backends=SimpleNamespace(), version=SimpleNamespace(hip=hip), device=lambda name: f"device:{name}",
    )  # fmt: skip
    freed = torch.freed = list[str]()
    if xpu is not None:
        torch.xpu = part(xpu, get_device_name=lambda number: "Arc")
    if mps is not None:
        torch.backends.mps = SimpleNamespace(is_available=lambda: mps)
    return torch


def absent() -> Any:
    return None


DIRECTML = SimpleNamespace(is_available=lambda: True, device_count=lambda: 2, device=lambda number: f"dml:{number}")


@pytest.mark.parametrize(
    ("torch", "names"),
    [
        (fake_torch(), ("cpu",)),
        (fake_torch(cuda=2), ("cuda", "cuda:1", "cpu")),
        (fake_torch(hip="6.1", cuda=1), ("cuda", "cpu")),
        (fake_torch(mps=True), ("mps", "cpu")),
        (fake_torch(xpu=1), ("xpu", "cpu")),
        (fake_torch(xpu=None, mps=None), ("cpu",)),
    ],
    ids=["CPU only", "two NVIDIA cards", "ROCm", "Apple", "Intel", "a torch that knows neither Apple nor Intel"],
)
def test_the_devices_are_those_that_torch_has_the_best_first(torch: Any, names: tuple[str, ...]) -> None:
    assert torch_devices(torch, directml=absent) == names
    assert pick_torch(torch, "auto", directml=absent).name == names[0]


def test_directml_is_a_device_where_its_package_is_installed_and_computes_in_float32() -> None:
    found = torch_devices(fake_torch(), directml=lambda: DIRECTML)
    assert found == ("directml", "directml:1", "cpu")
    place = pick_torch(fake_torch(), "directml:1", directml=lambda: DIRECTML)
    assert (place.name, place.kind, place.device, place.half) == ("directml:1", "directml", "dml:1", False)


@pytest.mark.parametrize(("device", "half"), [("cuda", True), ("xpu", True), ("mps", True), ("cpu", False)])
def test_graphics_cards_compute_in_float16_and_processors_in_float32(device: str, half: bool) -> None:
    torch = fake_torch(cuda=1, xpu=1, mps=True)
    place = pick_torch(torch, device, directml=absent)
    assert place.half is half
    assert place.device == f"device:{device}"


def test_a_device_with_a_number_is_that_one() -> None:
    assert pick_torch(fake_torch(cuda=2), "cuda:1", directml=absent).device == "device:cuda:1"
    assert pick_torch(fake_torch(cuda=2), "cuda:0", directml=absent).name == "cuda"


@pytest.mark.parametrize("device", ["cuda:2", "mps", "xpu", "directml"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(device: str) -> None:
    with pytest.raises(BadValue, match="use auto, cuda, cuda:1, cpu"):
        pick_torch(fake_torch(cuda=2), device, directml=absent)


@pytest.mark.parametrize("device", ["", "tpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "auto:1", "CUDA", "cuda:1 "])
def test_what_is_no_device_is_refused(device: str) -> None:
    with pytest.raises(BadValue, match="use auto, cpu, cuda"):
        parse_device(device)


def test_every_kind_can_be_named() -> None:
    assert [parse_device(kind) for kind in DEVICES] == [(kind, None) for kind in DEVICES]


def test_a_driver_that_fails_when_asked_is_no_device() -> None:
    def fail() -> bool:
        raise RuntimeError("the driver is older than the build")

    torch = fake_torch()
    torch.cuda = SimpleNamespace(is_available=fail)
    assert torch_devices(torch, directml=absent) == ("cpu",)


def test_llama_cpp_runs_on_what_it_was_built_for() -> None:
    assert llama_placement("auto", offload=True) == (999, None)
    assert llama_placement("auto", offload=False) == (0, None)
    assert llama_placement("cpu", offload=True) == (0, None)
    assert llama_placement("cuda:1", offload=True) == (999, 1)
    assert llama_placement("mps", offload=True) == (999, None)
    assert llama_placement("cuda", offload=False) is None


def test_a_device_is_shown_with_its_maker_and_name() -> None:
    assert title("cuda:1", fake_torch(cuda=2)) == "cuda:1 (CUDA: Card 1)"
    assert title("cuda", fake_torch(cuda=1, hip="6.1")) == "cuda (ROCm: Card 0)"
    assert title("xpu", fake_torch(xpu=1)) == "xpu (Intel: Arc)"
    assert title("cpu", fake_torch()) == "cpu"


def test_memory_is_given_back_by_the_device_s_own_means_where_it_has_any() -> None:
    torch = fake_torch(cuda=1)
    free_memory(torch, pick_torch(torch, "cuda", directml=absent))
    free_memory(torch, pick_torch(torch, "cpu", directml=absent))
    assert torch.freed == ["cuda"]


def test_the_transformers_engine_runs_where_it_is_told_and_says_what_it_has() -> None:
    pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    from engine_fixtures import GGUF

    from kgen_ext.engines import load_engine

    engine: Any = load_engine("transformers", folder=None, gguf=GGUF, device="cpu", threads=1)
    assert (engine.place.name, engine.dtype) == ("cpu", torch.float32)
    engine.close()


@pytest.mark.parametrize("layer", ["engines", "decoding", "service", "models"])
def test_no_module_assumes_cuda(layer: str) -> None:
    folder = Path(__file__).parents[1] / "kgen_ext" / layer
    assert [file.name for file in folder.rglob("*.py") if ".cuda" in file.read_text("utf-8")] == []


def test_free_memory_is_asked_of_the_best_device_whatever_its_maker() -> None:
    rocm, intel, apple = fake_torch(cuda=1, hip="6.2"), fake_torch(xpu=1), fake_torch(mps=True)
    rocm.cuda.mem_get_info = lambda: (5, 9)
    intel.xpu.mem_get_info = lambda: (6, 9)
    apple.mps = SimpleNamespace(recommended_max_memory=lambda: 9, driver_allocated_memory=lambda: 2)
    assert [free_bytes(torch) for torch in (rocm, intel, apple)] == [5, 6, 7]


def test_where_torch_does_not_tell_nothing_is_made_up() -> None:
    def refuses() -> tuple[int, int]:
        raise RuntimeError("this driver has no such query")

    broken = fake_torch(xpu=1)
    broken.xpu.mem_get_info = refuses
    fakes = (fake_torch(), fake_torch(xpu=1), broken, fake_torch(mps=True))
    assert [free_bytes(torch) for torch in fakes] == [None] * 4
