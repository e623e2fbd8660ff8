"""Sharing of the GPU, by the calls a host receives: VRAM freed before, everything restored afterwards."""
from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from fake_host import install

from kgen_ext.models import ModelFiles
from kgen_ext.service import engines as opening
from kgen_ext.webui.hosts import find_host
from kgen_ext.webui.settings import WebuiSettings, read_settings
from kgen_ext.webui.vram import acquire

GIB = 2**30


def module(name: str, **parts: Any) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(parts)
    return made


@dataclass
class Place:
    """A device as torch shows it."""

    type: str


class Weights:
    """A torch module: it knows where it is, and says when it is moved."""

    def __init__(self, calls: list[str], *, at: str = "cuda", name: str = "ours") -> None:
        self.calls, self.at, self.name = calls, at, name

    def to(self, device: Any) -> None:
        self.at = getattr(device, "type", device)
        self.calls.append(f"{self.name} to {self.at}")

    def parameters(self) -> Iterator[Any]:
        yield SimpleNamespace(device=self.at)

    @property
    def device(self) -> str:
        """As transformers' models have it: it cannot be set."""
        return self.at


class ModuleList(list[Weights]):
    """torch.nn.ModuleList with one module."""

    device: Any = None

    def to(self, device: Any) -> None:
        self[0].to(device)


@dataclass
class Model:
    """An expander: llama.cpp's, or torch's when it has a module."""

    module: Any = None
    module_device: Any = field(default_factory=lambda: Place("cuda"))
    calls: list[str] = field(default_factory=list)

    def release(self) -> None:
        self.calls.append("release")


class Session:
    """A session that lends one expander and records for which device."""

    def __init__(self, expander: Model, calls: list[str]) -> None:
        self.expander, self.calls = expander, calls

    @contextmanager
    def lease(self, files: ModelFiles, *, engine: str, device: str, threads: int | None) -> Iterator[Any]:
        self.calls.append(f"lend on {device}")
        yield self.expander
        self.calls.append("back")

    def unload(self) -> int:
        self.calls.append("unload")
        return 1


class Rig:
    """A host with a GPU, made of fakes that write down what is asked of them."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, *, kind: str, device: str = "cuda", free: float = 8,
        freeable: float = 8, engine: str = "transformers", vram_state: str = "NORMAL_VRAM", **flags: bool,
    ) -> None:  # fmt: skip
        self.calls: list[str] = []
        self.free = free * GIB
        self.inference = False
        for name in ("model.safetensors", "w.gguf"):
            (folder / name).write_bytes(b"")
        self.weights = Weights(self.calls)
        self.model = Model(self.weights if engine == "transformers" else None, calls=self.calls)
        self.session = Session(self.model, self.calls)
        self.files = ModelFiles("m", folder, folder / "w.gguf")
        fake = install(monkeypatch, folder, kind=kind)
        vars(fake.cmd_opts).update(flags)
        self.checkpoint = Weights(self.calls, name="checkpoint")
        put = lambda name, **parts: monkeypatch.setitem(sys.modules, name, module(name, **parts))  # noqa: E731
        put("modules.devices", device=Place(device), torch_gc=lambda: self.calls.append("collect"))
        put("modules.sd_models", model_data=SimpleNamespace(sd_model=self.checkpoint),
            send_model_to_cpu=self._to_cpu, send_model_to_device=lambda model: model.to("cuda"))  # fmt: skip
        put("torch", cuda=SimpleNamespace(is_available=lambda: device == "cuda", device_count=lambda: 1,
                                 mem_get_info=lambda: (self.free, 0)),
            backends=SimpleNamespace(), nn=SimpleNamespace(ModuleList=ModuleList), device=Place,
            is_inference_mode_enabled=lambda: self.inference, inference_mode=self._inference_mode)  # fmt: skip
        put("llama_cpp", llama_supports_gpu_offload=lambda: device == "cuda")
        self.loaded: list[Any] = []
        manager = {"free_memory": self._free(freeable), "get_free_memory": lambda device: self.free,
                   "load_model_gpu": self._load, "current_loaded_models": self.loaded,
                   "vram_state": SimpleNamespace(name=vram_state)}  # fmt: skip
        if kind == "forge":
            put("backend.memory_management", **manager)
            put("backend.patcher")
            put("backend.patcher.base", ModelPatcher=self._patcher)
        if kind == "reforge":
            put("ldm_patched")
            put("ldm_patched.modules")
            put("ldm_patched.modules.model_management", **manager)
        monkeypatch.setattr(opening, "choose_engines", lambda files, wanted, **_: [(engine, "")])
        self.settings = read_settings(find_host())

    def _to_cpu(self, model: Weights) -> None:
        self.free += 4 * GIB
        model.to("cpu")

    def _free(self, freeable: float) -> Callable[[int, Any], None]:
        def free_memory(needed: int, device: Any) -> None:
            self.calls.append(f"free on {device.type}")
            self.free = max(self.free, freeable * GIB)

        return free_memory

    def _patcher(self, model: Any, *, load_device: Any, offload_device: Any, current_device: Any) -> Any:
        return SimpleNamespace(model=model, load_device=load_device, offload_device=offload_device)

    def _load(self, patcher: Any) -> None:
        self.calls.append("load_model_gpu")
        patcher.model.to(patcher.load_device)
        self.loaded.insert(
            0, SimpleNamespace(model=patcher, model_unload=lambda: patcher.model.to(patcher.offload_device))
        )

    @contextmanager
    def _inference_mode(self, mode: bool) -> Iterator[None]:
        before, self.inference = self.inference, mode
        yield
        self.inference = before

    def use(self, settings: WebuiSettings | None = None, *, fail: bool = False) -> list[str]:
        """Lend once; return what the host and the session were asked, in order."""
        try:
            with acquire(find_host(), self.session, settings or self.settings, self.files, engine="auto") as expander:
                assert expander is self.model
                assert not self.inference
                assert self.model.module is None or not self.on_card or self.weights.at == "cuda"
                self.calls.append("expand")
                if fail:
                    raise MemoryError
        except MemoryError:
            assert fail
        return self.calls

    @property
    def on_card(self) -> bool:
        return "lend on cpu" not in self.calls


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Rig]:
    return lambda **options: Rig(monkeypatch, tmp_path, **options)


def kept(settings: WebuiSettings, keep: str, rig: Rig) -> WebuiSettings:
    import dataclasses

    return dataclasses.replace(settings, keep=keep == "keep")


@pytest.mark.parametrize("kind", ["a1111", "forge", "reforge"])
@pytest.mark.parametrize("engine", ["transformers", "llama_cpp", "reference"])
def test_on_the_processor_nothing_is_asked_of_the_host(kind: str, engine: str, rig: Callable[..., Rig]) -> None:
    assert rig(kind=kind, engine=engine, device="cpu").use() == ["lend on cpu", "expand", "back"]


@pytest.mark.parametrize("kind", ["a1111", "forge", "reforge"])
def test_numpy_beside_a_card_asks_nothing_either(kind: str, rig: Callable[..., Rig]) -> None:
    assert rig(kind=kind, engine="reference").use() == ["lend on auto", "expand", "back"]


def test_a_host_told_to_use_the_processor_is_not_overruled(
    rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = rig(kind="a1111")
    monkeypatch.setattr(sys.modules["modules.devices"], "device", Place("cpu"))
    assert made.use() == ["lend on cpu", "expand", "back"]


def test_forge_frees_and_loads_and_forgets_our_model_afterwards(rig: Callable[..., Rig]) -> None:
    made = rig(kind="forge", free=0)
    assert made.use() == ["free on cuda", "lend on auto", "load_model_gpu", "ours to cuda", "expand", "release",
                          "ours to cpu", "ours to cpu", "collect", "back"]  # fmt: skip
    assert made.loaded == []


def test_a_patcher_that_sets_the_models_device_takes_our_model(
    rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forge Neo's does, and the `device` of transformers' models is a read-only property."""

    class Patcher:
        def __init__(self, model: Any, load_device: Any, offload_device: Any, *, current_device: Any = None) -> None:
            model.device = current_device
            self.model, self.load_device, self.offload_device = model, load_device, offload_device

    made = rig(kind="forge")
    monkeypatch.setattr(sys.modules["backend.patcher.base"], "ModelPatcher", Patcher)
    assert "load_model_gpu" in made.use()


def test_a_patcher_is_given_only_what_it_takes(rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch) -> None:
    def patcher(model: Any, load_device: Any, offload_device: Any) -> Any:
        return SimpleNamespace(model=model, load_device=load_device, offload_device=offload_device)

    made = rig(kind="forge")
    monkeypatch.setattr(sys.modules["backend.patcher.base"], "ModelPatcher", patcher)
    assert "load_model_gpu" in made.use()


def test_entries_whose_model_is_gone_are_left_to_the_host(rig: Callable[..., Rig]) -> None:
    """Forge Neo's refer weakly to their models."""
    made = rig(kind="forge")
    dead = SimpleNamespace(model=None)
    made.loaded.append(dead)
    made.use()
    assert made.loaded == [dead]


def test_other_models_of_the_host_stay_loaded(rig: Callable[..., Rig]) -> None:
    made = rig(kind="forge")
    other = SimpleNamespace(model=SimpleNamespace(model=made.checkpoint))
    made.loaded.append(other)
    made.use()
    assert made.loaded == [other]


def test_a_forge_without_a_patcher_has_the_module_moved_by_hand(
    rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = rig(kind="forge")
    monkeypatch.delattr(sys.modules["backend.patcher.base"], "ModelPatcher")
    assert [call for call in made.use() if "ours" in call] == ["ours to cuda", "ours to cpu"]


def test_reforge_frees_and_the_module_is_moved_by_hand(rig: Callable[..., Rig]) -> None:
    assert rig(kind="reforge", free=0).use() == [
        "free on cuda", "lend on auto", "ours to cuda", "expand", "release", "ours to cpu", "collect", "back",
    ]  # fmt: skip


def test_a1111_with_room_moves_only_our_model(rig: Callable[..., Rig]) -> None:
    assert rig(kind="a1111", free=6).use() == [
        "lend on auto", "ours to cuda", "expand", "release", "ours to cpu", "collect", "back",
    ]  # fmt: skip


@pytest.mark.parametrize("cause", [{"free": 0.1}, {"lowvram": True}, {"medvram": True}, {"medvram_sdxl": True}])
def test_a1111_without_room_has_the_checkpoint_wait_in_main_memory(
    cause: dict[str, Any], rig: Callable[..., Rig]
) -> None:
    made = rig(kind="a1111", **cause)
    assert made.use() == ["checkpoint to cpu", "lend on auto", "ours to cuda", "expand", "release", "ours to cpu",
                          "collect", "back", "collect", "checkpoint to cuda"]  # fmt: skip


@pytest.mark.parametrize("kind", ["a1111", "forge", "reforge"])
def test_a_failure_leaves_the_card_as_it_was_too(kind: str, rig: Callable[..., Rig]) -> None:
    made = rig(kind=kind, free=0, lowvram=True)
    made.use(fail=True)
    assert (made.weights.at, made.checkpoint.at, made.loaded) == ("cpu", "cuda", [])


def test_a_card_that_cannot_be_freed_is_left_to_others(
    rig: Callable[..., Rig], caplog: pytest.LogCaptureFixture
) -> None:
    made = rig(kind="forge", free=0.2, freeable=0.3)
    assert made.use() == ["free on cuda", "lend on cpu", "expand", "back"]
    assert "not enough free VRAM" in caplog.text


def test_llama_cpp_on_a_card_is_kept_as_the_settings_say(rig: Callable[..., Rig]) -> None:
    made = rig(kind="forge", engine="llama_cpp", free=0)
    assert made.use() == ["free on cuda", "lend on auto", "expand", "back"]


@pytest.mark.parametrize("flag", ["lowvram", "medvram"])
def test_llama_cpp_never_stays_on_a_small_card(flag: str, rig: Callable[..., Rig]) -> None:
    made = rig(kind="a1111", engine="llama_cpp", **{flag: True})
    assert made.use() == ["checkpoint to cpu", "lend on auto", "expand", "back", "unload", "collect", "collect",
                          "checkpoint to cuda"]  # fmt: skip


@pytest.mark.parametrize("kind", ["forge", "reforge"])
@pytest.mark.parametrize(("state", "unloads"), [
    ("NO_VRAM", True), ("LOW_VRAM", True), ("NORMAL_VRAM", False), ("HIGH_VRAM", False),
])  # fmt: skip
def test_forges_own_state_of_vram_decides_whether_llama_cpp_stays(
    kind: str, state: str, unloads: bool, rig: Callable[..., Rig]
) -> None:
    made = rig(kind=kind, engine="llama_cpp", vram_state=state, lowvram=True)
    assert ("unload" in made.use()) is unloads


def test_a_model_that_is_not_to_stay_is_unloaded_after_use(rig: Callable[..., Rig]) -> None:
    made = rig(kind="a1111", device="cpu")
    assert made.use(kept(made.settings, "never", made)) == ["lend on cpu", "expand", "back", "unload"]


def test_no_model_is_made_in_torchs_inference_mode(rig: Callable[..., Rig]) -> None:
    made = rig(kind="forge")
    made.inference = True
    made.use()
    assert made.inference  # as it was


def test_without_a_host_a_model_is_lent_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rig: Callable[..., Rig]
) -> None:
    made = rig(kind="a1111", engine="reference")
    for name in [name for name in sys.modules if name == "modules" or name.startswith("modules.")]:
        monkeypatch.delitem(sys.modules, name)
    assert made.use() == ["lend on auto", "expand", "back"]


def test_the_real_torch_module_of_an_expander_can_be_moved_and_used_again() -> None:
    pytest.importorskip("torch")
    from kgen_ext import ExpandRequest, open_expander

    with open_expander(engine="transformers", device="cpu") as expander:
        request = [ExpandRequest("1girl, shrine", tag_length="very_short", seed=5)]
        first = expander.expand(request)[0].prompt
        expander.release()
        expander.module.to("cpu")
        other = [ExpandRequest("1girl, shrine", tag_length="very_short", seed=6)]
        assert expander.expand(other)[0].prompt != first
        assert expander.module_device.type == "cpu"


def test_only_torch_has_a_module() -> None:
    from kgen_ext import open_expander

    with open_expander(engine="reference") as expander:
        assert expander.module is None
