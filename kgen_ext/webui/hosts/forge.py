"""Forge and Forge Neo: their memory management frees VRAM, and loads a model that is wrapped in a ModelPatcher."""
from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kgen_ext.webui.hosts.reforge import ReForge


class Forge(ReForge):
    """Forge (dfdcbab6) and Forge Neo 2.26 (5692d2d)."""

    manager_name = "backend.memory_management"

    @contextmanager
    def on_gpu(self, module: Any, device: Any) -> Iterator[None]:
        """Load a torch module as the host loads its own models, and take it out of the host's list afterwards."""
        patcher_class = self.part("backend.patcher.base.ModelPatcher")
        if patcher_class is None:
            with super().on_gpu(module, device):
                yield
            return
        torch: Any = self.module("torch")
        # Neo's ModelPatcher sets `device` on the model, which is a read-only property of transformers' models.
        holder = torch.nn.ModuleList([module])
        places = {
            "load_device": device,
            "offload_device": torch.device("cpu"),
            "current_device": next(iter(module.parameters())).device,
        }
        patcher = patcher_class(holder, **_accepted(patcher_class, places))
        try:
            self.manager.load_model_gpu(patcher)
            yield
        finally:
            self._forget(holder)

    def _forget(self, holder: Any) -> None:
        """Take a model out of the host's list of loaded models: the host moves whatever is left in it."""
        loaded = self.manager.current_loaded_models
        for index in reversed(range(len(loaded))):
            # Neo's entries refer weakly to their patchers, which may be gone.
            if getattr(loaded[index].model, "model", None) is holder:
                loaded.pop(index).model_unload()


def _accepted(call: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that a function takes: they differ from fork to fork."""
    parameters = inspect.signature(call).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return arguments
    return {name: value for name, value in arguments.items() if name in parameters}
