"""Shared use of the GPU: reserve VRAM before a model is loaded, and restore the host's state afterwards.

    on the CPU       nothing is done
    Forge            its memory management frees what is needed; a torch model is wrapped in a ModelPatcher while in use
    reForge          its memory management frees what is needed; a torch model is moved by hand
    AUTOMATIC1111    with --lowvram, --medvram or too little free VRAM the checkpoint waits in RAM, and is put back

A torch model moves to RAM after use. A llama.cpp model cannot be moved: it stays loaded as the settings say, but never
with --lowvram or --medvram. The caller holds the host's queue lock.
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

# Bytes beside the weights: the KV cache of sixteen rows, and the activations of a forward pass.
_OVERHEAD = 768 * 2**20
_MANAGERS = {HostKind.FORGE: "backend.memory_management", HostKind.REFORGE: "ldm_patched.modules.model_management"}
_LOW_VRAM = ("lowvram", "medvram", "medvram_sdxl")


class ExpanderPool(Protocol):
    """Part of a session that `acquire` needs."""

    def lease(
        self, files: ModelFiles, *, engine: str, device: str, threads: int | None
    ) -> AbstractContextManager[Expander]: ...
    def unload(self) -> int: ...


@dataclass(frozen=True, slots=True)
class VramPlan:
    """Where a model will run. gpu: on a GPU; needed: VRAM in bytes."""

    engine: str
    device: str
    gpu: bool
    needed: int


@contextmanager
def acquire(
    host: Host, session: ExpanderPool, settings: WebuiSettings, files: ModelFiles, *, engine: str
) -> Iterator[Expander]:
    """Yield an expander that is ready to run; afterwards free the memory that the settings do not let it keep."""
    plan = plan_vram(host, files, engine=engine, device=settings.device)
    with ExitStack() as stack:
        # 1. A model made in torch's inference mode could not be used outside it.
        stack.enter_context(_no_inference_mode())
        # 2. Make room on the GPU, or fall back to the CPU.
        if plan.gpu and not stack.enter_context(reserve(host, plan)):
            host.log.warning("not enough free VRAM: the model runs on the CPU")
            plan = VramPlan(plan.engine, "cpu", False, 0)
        # 3. Unload at the end: after the model was returned, before the host's checkpoint goes back to the GPU.
        expander: Expander | None = None

        def unload() -> None:
            stays_on_gpu = plan.gpu and (expander is None or expander.module is None)
            if not settings.keep or (stays_on_gpu and low_vram(host)):
                session.unload()
                if plan.gpu:
                    collect(host)

        stack.callback(unload)
        # 4. Load the model where it is not resident, and move it to the GPU.
        expander = stack.enter_context(
            session.lease(files, engine=engine, device=plan.device, threads=settings.threads)
        )
        if plan.gpu and expander.module is not None:
            stack.enter_context(on_gpu(host, expander))
        yield expander


def plan_vram(host: Host, files: ModelFiles, *, engine: str, device: str) -> VramPlan:
    """Return where a model will run. “auto” follows a host that was started with its CPU option."""
    from kgen_ext.service.engines import choose_engines

    engine = choose_engines(files, engine, device=device)[0][0]
    if device == "auto" and _type(host.part("modules.devices.device")) == "cpu":
        device = "cpu"
    gpu = device != "cpu" and engine != "reference" and _has_gpu(host, engine)
    folder = sorted(files.folder.glob("*.safetensors")) if files.folder else []
    weights = [files.gguf] if files.gguf and (engine == "llama_cpp" or not folder) else folder
    return VramPlan(engine, device, gpu, sum(path.stat().st_size for path in weights) + _OVERHEAD)


@contextmanager
def reserve(host: Host, plan: VramPlan) -> Iterator[bool]:
    """Make room on the GPU for the time of use; yields whether there is enough now."""
    manager, device = _manager(host), host.part("modules.devices.device")
    if manager is not None:
        manager.free_memory(plan.needed, device)
        yield manager.get_free_memory(device) >= plan.needed
        return
    free = free_vram(host)
    models = host.part("modules.sd_models.model_data")
    # Not shared.sd_model: reading that loads a model.
    checkpoint = getattr(models, "sd_model", None)
    if checkpoint is None or not (low_vram(host) or (free is not None and free < plan.needed)):
        yield True
        return
    send_to_cpu, send_to_device = (host.part(f"modules.sd_models.send_model_to_{where}") for where in ("cpu", "device"))
    if send_to_cpu is None or send_to_device is None:
        yield True
        return
    send_to_cpu(checkpoint)
    try:
        free = free_vram(host)
        yield free is None or free >= plan.needed
    finally:
        collect(host)
        send_to_device(checkpoint)


@contextmanager
def on_gpu(host: Host, expander: Expander) -> Iterator[None]:
    """Keep the expander's torch module on the GPU for the time of use, in RAM afterwards."""
    module, device = expander.module, expander.module_device
    manager = _manager(host)
    patcher_class = host.part("backend.patcher.base.ModelPatcher") if host.kind is HostKind.FORGE else None
    try:
        if manager is None or patcher_class is None:
            module.to(device)
        else:
            current = next(iter(module.parameters())).device
            patcher = patcher_class(module, load_device=device, offload_device="cpu", current_device=current)
            manager.load_model_gpu(patcher)
        yield
    finally:
        expander.release()
        if manager is not None and patcher_class is not None:
            _forget(manager, module)
        module.to("cpu")
        collect(host)


def _forget(manager: Any, module: Any) -> None:
    """Take our module out of the host's list of loaded models: the host moves whatever is left in it."""
    loaded = manager.current_loaded_models
    for entry in [entry for entry in loaded if entry.model.model is module]:
        loaded.remove(entry)
        entry.model_unload()


def low_vram(host: Host) -> bool:
    """Return whether the host runs with one of its options for little VRAM."""
    return any(bool(host.flag(name, False)) for name in _LOW_VRAM)


def free_vram(host: Host) -> int | None:
    """Return the free VRAM in bytes, None where torch cannot tell."""
    from kgen_ext.engines.devices import free_bytes as free_on_device

    torch = host.module("torch")
    return None if torch is None else free_on_device(torch)


def collect(host: Host) -> None:
    """Free the VRAM that torch caches."""
    torch_gc = host.part("modules.devices.torch_gc")
    if torch_gc is not None:
        torch_gc()


def _manager(host: Host) -> Any:
    name = _MANAGERS.get(host.kind)
    return None if name is None else host.module(name)


def _type(device: Any) -> str:
    return str(getattr(device, "type", device or ""))


def _has_gpu(host: Host, engine: str) -> bool:
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
