"""Devices: those that torch or llama.cpp have on this machine, and the number format each computes in.

torch is an argument everywhere: nothing here imports it. A device is named by its kind, or its kind and a number
(`cuda:1`):

    auto, cpu, cuda (NVIDIA, and AMD with ROCm), mps (Apple), xpu (Intel), directml (Windows)
"""
from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from kgen_ext.errors import BadValue

AUTO, CPU = "auto", "cpu"
# Best first. torch_directml is a separate package that adds a device to torch.
GPUS = ("cuda", "xpu", "mps", "directml")
DEVICES = (AUTO, CPU, *GPUS)
_FORM = re.compile(r"([a-z]+)(?::([0-9]{1,2}))?")
# Kinds that compute in float16: twice as fast as float32, and as exact as the published files. DirectML lacks some
# operations in it.
_HALF = ("cuda", "xpu", "mps")


@dataclass(frozen=True, slots=True)
class Placement:
    """A torch device: our name for it, the object torch takes, and whether it computes in float16."""

    name: str
    device: Any
    half: bool

    @property
    def kind(self) -> str:
        """Return the name without its number."""
        return self.name.partition(":")[0]


def parse_device(device: str) -> tuple[str, int | None]:
    """Return the kind and the number of a device; raises BadValue.

    >>> parse_device("cuda:1"), parse_device("auto")
    (('cuda', 1), ('auto', None))
    """
    match = _FORM.fullmatch(device) if isinstance(device, str) else None
    kind, number = (match[1], match[2]) if match else ("", None)
    if kind not in DEVICES or (number is not None and kind in (AUTO, CPU, "mps")):
        raise BadValue("device", device, f"{', '.join(DEVICES)}, or one with its number: cuda:1")
    return kind, None if number is None else int(number)


def torch_devices(torch: Any, *, directml: Callable[[], Any] | None = None) -> tuple[str, ...]:
    """Return the names of the devices torch has, best first, cpu last. directml: returns that module, or None."""
    counts = {
        "cuda": _count(torch, "cuda"),
        "xpu": _count(torch, "xpu"),
        "mps": int(_is_available(getattr(getattr(torch, "backends", None), "mps", None))),
    }
    module = (directml or _directml)()
    counts["directml"] = int(module.device_count()) if module is not None and _is_available(module) else 0
    names = [kind if number == 0 else f"{kind}:{number}" for kind in GPUS for number in range(counts[kind])]
    return (*names, CPU)


def pick_torch(torch: Any, asked: str, *, directml: Callable[[], Any] | None = None) -> Placement:
    """Return the device to load on, the best for auto; raises BadValue for one that torch does not have."""
    kind, number = parse_device(asked)
    available = torch_devices(torch, directml=directml)
    name = available[0] if kind == AUTO else kind if not number else f"{kind}:{number}"
    if name not in available:
        raise BadValue("device", asked, (AUTO, *available))
    kind, number = parse_device(name)
    if kind == "directml":
        return Placement(name, (directml or _directml)().device(number or 0), half=False)
    return Placement(name, torch.device(kind if number is None else f"{kind}:{number}"), half=kind in _HALF)


def llama_placement(device: str, *, offload: bool) -> tuple[int, int | None] | None:
    """Return how many layers llama.cpp puts on which GPU (None: it distributes them), or None if it has no such device.

    llama.cpp is built for one kind of GPU and does not say which, so every kind of GPU means that one.
    """
    kind, number = parse_device(device)
    if kind == CPU or (kind == AUTO and not offload):
        return 0, None
    return (999, number) if offload else None


def title(name: str, torch: Any) -> str:
    """Return a device's name with its maker and model: `cuda (ROCm: AMD Radeon RX 7900 XTX)`."""
    kind, number = parse_device(name)
    maker = {"cuda": "ROCm" if getattr(torch.version, "hip", None) else "CUDA", "xpu": "Intel"}.get(kind)
    if maker is None:
        return name
    try:
        model = str(getattr(torch, kind).get_device_name(number or 0))
    except (RuntimeError, AssertionError, AttributeError):
        return f"{name} ({maker})"
    return f"{name} ({maker}: {model})"


def free_bytes(torch: Any) -> int | None:
    """Return how much memory is free on torch's best device; None on the CPU, and where torch does not say."""
    kind = torch_devices(torch)[0]
    module: Any = getattr(torch, kind, None)
    try:
        if kind == "mps":  # memory shared with the CPU: Apple's recommended maximum, less what is in use
            return max(0, int(module.recommended_max_memory()) - int(module.driver_allocated_memory()))
        mem_get_info = getattr(module, "mem_get_info", None)  # CUDA, ROCm, and XPU in newer torch
        return None if mem_get_info is None or kind == CPU else int(mem_get_info()[0])
    except (RuntimeError, AssertionError, AttributeError):
        return None


def free_memory(torch: Any, place: Placement) -> None:
    """Release the memory that torch's allocator caches on a device."""
    empty_cache = getattr(getattr(torch, place.kind, None), "empty_cache", None)
    if empty_cache is not None:
        empty_cache()


def _count(torch: Any, kind: str) -> int:
    module: Any = getattr(torch, kind, None)
    return int(module.device_count()) if _is_available(module) else 0


def _is_available(module: Any) -> bool:
    try:
        return bool(module is not None and module.is_available())
    except (RuntimeError, AssertionError, OSError):  # a driver that does not match the build
        return False


def _directml() -> Any:
    try:
        return import_module("torch_directml")
    except (ImportError, OSError):
        return None
