"""Where a model will run, and the VRAM it takes there: known before it is loaded, so that a host can make room."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

from kgen_ext.service import engines

if TYPE_CHECKING:
    from kgen_ext.models import ModelFiles

# Bytes beside the weights: the KV cache of sixteen rows, and the activations of a forward pass.
_OVERHEAD = 768 * 2**20


@dataclass(frozen=True, slots=True)
class VramPlan:
    """Where a model will run. gpu: on a GPU; needed: VRAM in bytes."""

    engine: str
    device: str
    gpu: bool
    needed: int


def plan_vram(
    files: ModelFiles, *, engine: str, device: str, cpu_host: bool, module: Callable[[str], ModuleType | None]
) -> VramPlan:
    """Return where a model will run.

    cpu_host: whether the host computes on the CPU, which “auto” follows. module: returns a library by its name, None
    where it is not installed.
    """
    engine = engines.choose_engines(files, engine, device=device)[0][0]
    if device == engines.AUTO and cpu_host:
        device = engines.CPU
    gpu = device != engines.CPU and engine != "reference" and _has_gpu(engine, module)
    folder = sorted(files.folder.glob("*.safetensors")) if files.folder else []
    weights = [files.gguf] if files.gguf and (engine == "llama_cpp" or not folder) else folder
    return VramPlan(engine, device, gpu, sum(path.stat().st_size for path in weights) + _OVERHEAD)


def _has_gpu(engine: str, module: Callable[[str], ModuleType | None]) -> bool:
    if engine == "llama_cpp":
        library = module("llama_cpp")
        return library is not None and bool(library.llama_supports_gpu_offload())
    from kgen_ext.engines.devices import CPU, torch_devices

    torch = module("torch")
    return torch is not None and torch_devices(torch)[0] != CPU
