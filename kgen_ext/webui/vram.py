"""Manners on a graphics card: room before a model is loaded, and the card's memory as it was found afterwards.

    on the processor   nothing at all is done
    Forge              its memory management frees what is needed; a torch model is a ModelPatcher's for the time of use
    reForge            its memory management frees what is needed; a torch model is moved by hand
    AUTOMATIC1111      with --lowvram, --medvram or too little room the checkpoint waits in main memory, and is put back

A torch model moves to main memory after use. llama.cpp's cannot be moved: it stays as the settings say, and never with
--lowvram or --medvram. Refuses to know what is expanded; the caller holds the host's queue.
"""
from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from kgen_ext.webui.host import Host, HostKind
from kgen_ext.webui.settings import WebuiSettings

if TYPE_CHECKING:
    from kgen_ext.models import ModelFiles
    from kgen_ext.service.expander import Expander

# Beside the weights: keys and values of sixteen rows, and what a forward takes.
_EXTRA = 768 * 2**20
_MANAGERS = {HostKind.FORGE: "backend.memory_management", HostKind.REFORGE: "ldm_patched.modules.model_management"}
_SMALL_CARD = ("lowvram", "medvram", "medvram_sdxl")


class Lends(Protocol):
    """What is needed of a session."""

    def find(self, model: str) -> ModelFiles: ...
    def lease(
        self, *, model: str, engine: str, device: str, threads: int | None
    ) -> AbstractContextManager[Expander]: ...
    def unload(self) -> int: ...


@dataclass(frozen=True, slots=True)
class VramPlan:
    """Where a model will run: `card` says whether that is a graphics card, `needed` how many bytes it takes there."""

    engine: str
    device: str
    card: bool
    needed: int


@contextmanager
def acquire(host: Host, session: Lends, settings: WebuiSettings, *, model: str, engine: str) -> Iterator[Expander]:
    """Yield an expander that is ready to run, and leave the card and the settings' wishes about memory as they were."""
    plan = make_plan(host, session.find(model), engine=engine, device=settings.device)
    with ExitStack() as stack:
        # A model made in torch's inference mode could not be used outside it.
        stack.enter_context(_no_inference_mode())
        if plan.card and not stack.enter_context(reserve(host, plan)):
            host.log.warning("too little memory on the graphics card: the model runs on the processor")
            plan = VramPlan(plan.engine, "cpu", False, 0)
        expander: Expander | None = None

        def unload() -> None:
            stays_on_card = plan.card and (expander is None or expander.module is None)
            if not settings.keep or (stays_on_card and small_card(host)):
                session.unload()
                if plan.card:
                    collect(host)

        stack.callback(unload)  # after the model is given back, before what had to wait returns to the card
        expander = stack.enter_context(
            session.lease(model=model, engine=engine, device=plan.device, threads=settings.threads)
        )
        if plan.card and expander.module is not None:
            stack.enter_context(on_gpu(host, expander))
        yield expander


def make_plan(host: Host, files: ModelFiles, *, engine: str, device: str) -> VramPlan:
    """Tell where a model will run. A host told to use the processor is not overruled by “auto”."""
    from kgen_ext.service.engines import choose_engines

    engine = choose_engines(files, engine, device=device)[0][0]
    if device == "auto" and _type(host.part("modules.devices.device")) == "cpu":
        device = "cpu"
    card = device != "cpu" and engine != "reference" and _has_card(host, engine)
    folder = sorted(files.folder.glob("*.safetensors")) if files.folder else []
    weights = [files.gguf] if files.gguf and (engine == "llama_cpp" or not folder) else folder
    return VramPlan(engine, device, card, sum(path.stat().st_size for path in weights) + _EXTRA)


@contextmanager
def reserve(host: Host, plan: VramPlan) -> Iterator[bool]:
    """Make room on the card for the time of use; says whether there is enough now."""
    manager, device = _manager(host), _card(host)
    if manager is not None:
        manager.free_memory(plan.needed, device)
        yield manager.get_free_memory(device) >= plan.needed
        return
    free = free_vram(host)
    models = host.part("modules.sd_models.model_data")
    # Not shared.sd_model: asking that for a model loads one.
    checkpoint = getattr(models, "sd_model", None)
    if checkpoint is None or not (small_card(host) or (free is not None and free < plan.needed)):
        yield True
        return
    to_main_memory, back = (host.part(f"modules.sd_models.send_model_to_{where}") for where in ("cpu", "device"))
    if to_main_memory is None or back is None:
        yield True
        return
    to_main_memory(checkpoint)
    try:
        free = free_vram(host)
        yield free is None or free >= plan.needed
    finally:
        collect(host)
        back(checkpoint)


@contextmanager
def on_gpu(host: Host, expander: Expander) -> Iterator[None]:
    """Have the expander's torch module on the card for the time of use, in main memory afterwards."""
    module, device = expander.module, expander.module_device
    manager = _manager(host)
    patcher_class = host.part("backend.patcher.base.ModelPatcher") if host.kind is HostKind.FORGE else None
    try:
        if manager is None or patcher_class is None:
            module.to(device)
        else:
            patcher = patcher_class(module, load_device=device, offload_device="cpu", current_device=_place(module))
            manager.load_model_gpu(patcher)
        yield
    finally:
        expander.release()
        if manager is not None and patcher_class is not None:
            _forget(manager, module)
        module.to("cpu")
        collect(host)


def _forget(manager: Any, module: Any) -> None:
    """Take our module out of the host's list of loaded models; left there, it would be moved about behind our back."""
    loaded = manager.current_loaded_models
    for entry in [one for one in loaded if one.model.model is module]:
        loaded.remove(entry)
        entry.model_unload()


def small_card(host: Host) -> bool:
    """Say whether the user runs the host with little memory on the card."""
    return any(bool(host.flag(name, False)) for name in _SMALL_CARD)


def free_vram(host: Host) -> int | None:
    """Return how much of the card's memory is free, None where torch cannot tell."""
    from kgen_ext.engines.devices import free_bytes as free_on_device

    torch = host.module("torch")
    return None if torch is None else free_on_device(torch)


def collect(host: Host) -> None:
    """Give back what torch keeps of the card for later."""
    torch_gc = host.part("modules.devices.torch_gc")
    if torch_gc is not None:
        torch_gc()


def _manager(host: Host) -> Any:
    name = _MANAGERS.get(host.kind)
    return None if name is None else host.module(name)


def _card(host: Host) -> Any:
    return host.part("modules.devices.device")


def _type(device: Any) -> str:
    return str(getattr(device, "type", device or ""))


def _place(module: Any) -> Any:
    return next(iter(module.parameters())).device


def _has_card(host: Host, engine: str) -> bool:
    if engine == "llama_cpp":
        library = host.module("llama_cpp")
        return library is not None and bool(library.llama_supports_gpu_offload())
    from kgen_ext.engines.devices import CPU, torch_devices

    torch = host.module("torch")
    return torch is not None and torch_devices(torch)[0] != CPU


def _no_inference_mode() -> AbstractContextManager[Any]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.is_inference_mode_enabled():
        return nullcontext()
    return torch.inference_mode(False)
