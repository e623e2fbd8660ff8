"""Shared use of the GPU: reserve VRAM before a model is loaded, and restore the host's state afterwards.

Nothing is done for a model that runs on the CPU. For others each host makes room and loads in its own way
(`Host.reserve`, `Host.on_gpu`). A torch model moves to RAM after use. A llama.cpp model cannot be moved: it stays
loaded as the settings say, but never with --lowvram or --medvram. The caller holds the host's queue lock.
"""
from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from kgen_ext.webui.host import Host
from kgen_ext.webui.settings import WebuiSettings

if TYPE_CHECKING:
    from kgen_ext.models import ModelFiles
    from kgen_ext.service.expander import Expander
    from kgen_ext.service.vram import VramPlan


class ExpanderPool(Protocol):
    """Part of a session that `acquire` needs."""

    def lease(
        self, files: ModelFiles, *, engine: str, device: str, threads: int | None
    ) -> AbstractContextManager[Expander]: ...
    def unload(self) -> int: ...


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
        if plan.gpu and not stack.enter_context(host.reserve(plan.needed)):
            host.log.warning("not enough free VRAM: the model runs on the CPU")
            plan = replace(plan, device="cpu", gpu=False, needed=0)
        # 3. Unload at the end: after the model was returned, before the host's checkpoint goes back to the GPU.
        expander: Expander | None = None

        def unload() -> None:
            stays_on_gpu = plan.gpu and (expander is None or expander.module is None)
            if not settings.keep or (stays_on_gpu and host.low_vram()):
                session.unload()
                if plan.gpu:
                    host.collect()

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
    from kgen_ext.service import vram

    cpu_host = _type(host.part("modules.devices.device")) == "cpu"
    return vram.plan_vram(files, engine=engine, device=device, cpu_host=cpu_host, module=host.module)


@contextmanager
def on_gpu(host: Host, expander: Expander) -> Iterator[None]:
    """Keep the expander's torch module on the GPU for the time of use, in RAM afterwards."""
    module = expander.module
    try:
        with host.on_gpu(module, expander.module_device):
            try:
                yield
            finally:
                expander.release()
    finally:
        module.to("cpu")
        host.collect()


def _type(device: Any) -> str:
    return str(getattr(device, "type", device or ""))


def _no_inference_mode() -> AbstractContextManager[Any]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.is_inference_mode_enabled():
        return nullcontext()
    return torch.inference_mode(False)
