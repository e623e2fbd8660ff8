"""The loaded model, in ComfyUI's memory management: room is made before it is loaded, and it goes when the host says.

The manager (`comfy.model_management`) keeps a list of `ModelPatcher`s, and calls `detach` on those that are to go: to
make room for another model, or because the user pressed “unload”. Ours stands for a model that any of our libraries may
run, so there are no weights to move: when it is detached the model is closed, and its next use loads it again. One that
runs on the CPU of a host with a GPU is out of the manager's reach; it is closed when it was idle for some time.
"""
from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kgen_ext.comfy import host
from kgen_ext.once import once
from kgen_ext.service.vram import VramPlan, plan_vram

if TYPE_CHECKING:
    from kgen_ext.models import ModelFiles
    from kgen_ext.service.expander import Expander
    from kgen_ext.service.pool import Pool

_IDLE_SECONDS = 600.0


@once
def shared_pool() -> Pool:
    """Return the pool of loaded models, which all nodes share."""
    from kgen_ext.service.pool import Pool

    return Pool(idle_seconds=_IDLE_SECONDS)


@contextmanager
def lease(files: ModelFiles, *, engine: str, device: str) -> Iterator[Expander]:
    """Yield an expander that is ready to run, and known to the memory management."""
    pool = shared_pool()
    plan = _residence().admit(files, _plan(files, engine=engine, device=device), unload=pool.unload)
    with pool.lease(files, engine=engine, device=plan.device) as expander:
        try:
            yield expander
        finally:
            if plan.gpu:
                expander.release()


def _plan(files: ModelFiles, *, engine: str, device: str) -> VramPlan:
    import comfy.model_management as management

    cpu_host = management.get_torch_device().type == "cpu"
    return plan_vram(files, engine=engine, device=device, cpu_host=cpu_host, module=host.module)


@dataclass(frozen=True, slots=True)
class _Key:
    """What the manager's entry stands for."""

    checksum: str
    plan: VramPlan


class _Residence:
    """The manager's entry for the loaded model: one, as the pool keeps one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: _Key | None = None
        self._patcher: Any = None

    def admit(self, files: ModelFiles, plan: VramPlan, *, unload: Callable[[], object]) -> VramPlan:
        """Have room made for a model, and return where it runs: on the CPU where there is not enough."""
        import comfy.model_management as management

        with self._lock:
            key = _Key(files.checksum(), plan)
            if key != self._key:
                self._forget()
                device = management.get_torch_device() if plan.gpu else management.torch.device("cpu")
                self._key, self._patcher = key, _patcher_class()(device, plan.needed, unload)
            management.load_models_gpu([self._patcher])
            if plan.gpu and not shared_pool().resident():
                device = self._patcher.load_device
                if management.get_free_memory(device) < plan.needed:
                    host.LOG.warning("not enough free VRAM: the model runs on the CPU")
                    self._forget()
                    return VramPlan(plan.engine, "cpu", False, 0)
        return plan

    def _forget(self) -> None:
        """Take our entry out of the manager's list, and close the model."""
        import comfy.model_management as management

        loaded = management.current_loaded_models
        for index in reversed(range(len(loaded))):
            if loaded[index].model is not None and loaded[index].model is self._patcher:
                loaded.pop(index).model_unload()
        self._key = self._patcher = None


@once
def _residence() -> _Residence:
    return _Residence()


def _patcher_class() -> Any:
    """Return the class of our entry, whose base is ComfyUI's."""
    import comfy.model_management as management
    from comfy.model_patcher import ModelPatcher

    class KGenModel(management.torch.nn.Module):  # type: ignore[misc]
        """Stands for the model in the manager's log; has no weights."""

    class Patcher(ModelPatcher):  # type: ignore[misc]
        """A model as the manager sees it, to be loaded and unloaded as a whole."""

        def __init__(self, device: Any, size: int, unload: Callable[[], object]) -> None:
            self._loaded, self._unload = False, unload
            super().__init__(KGenModel(), load_device=device, offload_device=management.torch.device("cpu"), size=size)

        def loaded_size(self) -> int:
            """Return the bytes it takes."""
            return int(self.size) if self._loaded else 0

        def current_loaded_device(self) -> Any:
            """Return the device it takes them on."""
            return self.load_device if self._loaded else self.offload_device

        def partially_load(self, *_: Any, **__: Any) -> int:
            """Count as loaded from now on; the pool loads the weights."""
            self._loaded = True
            return int(self.size)

        def partially_unload(self, *_: Any, **__: Any) -> int:
            """Free nothing: only the whole of it can go."""
            return 0

        def detach(self, unpatch_all: bool = True) -> Any:
            """Close the model, unless it is only moved within the manager's list."""
            if unpatch_all and self._loaded:
                self._loaded = False
                self._unload()
            return self.model

    return Patcher
