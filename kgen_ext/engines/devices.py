"""Where a model runs: the devices that torch or llama.cpp have here, and the number format each computes in.

Refuses to import a library: it is handed one. A device is a kind, or a kind and a number:

    auto, cpu, cuda (NVIDIA, and AMD by ROCm: torch calls both so), mps (Apple), xpu (Intel), directml (Windows); cuda:1
"""
from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from kgen_ext.errors import BadValue

AUTO, CPU = "auto", "cpu"
# Best first; torch_directml is a package of its own that adds a device to torch.
GPUS = ("cuda", "xpu", "mps", "directml")
DEVICES = (AUTO, CPU, *GPUS)
_FORM = re.compile(r"([a-z]+)(?::([0-9]{1,2}))?")
# Twice as quick as float32 and as exact as the published files (F16). DirectML lacks half of it for some operations.
_HALF = ("cuda", "xpu", "mps")


@dataclass(frozen=True, slots=True)
class Placement:
    """A device of torch's: `name` as we say it, `device` as torch takes it, `half` whether it computes in float16."""

    name: str
    device: Any
    half: bool

    @property
    def kind(self) -> str:
        """Return the name without a number."""
        return self.name.partition(":")[0]


def parse_device(device: str) -> tuple[str, int | None]:
    """Return the kind and the number of a device; raises BadValue.

    >>> parse_device("cuda:1"), parse_device("auto")
    (('cuda', 1), ('auto', None))
    """
    found = _FORM.fullmatch(device) if isinstance(device, str) else None
    kind, number = (found[1], found[2]) if found else ("", None)
    if kind not in DEVICES or (number is not None and kind in (AUTO, CPU, "mps")):
        raise BadValue("device", device, f"{', '.join(DEVICES)}, or one with its number: cuda:1")
    return kind, None if number is None else int(number)


def torch_devices(torch: Any, *, directml: Callable[[], Any] | None = None) -> tuple[str, ...]:
    """Return the names of torch's devices here, best first, cpu last. directml: returns its module, or None."""
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
    """Return the device to load on: the best there is for auto; raises BadValue for one that is not there."""
    kind, number = parse_device(asked)
    there = torch_devices(torch, directml=directml)
    name = there[0] if kind == AUTO else kind if not number else f"{kind}:{number}"
    if name not in there:
        raise BadValue("device", asked, (AUTO, *there))
    kind, number = parse_device(name)
    if kind == "directml":
        return Placement(name, (directml or _directml)().device(number or 0), half=False)
    return Placement(name, torch.device(kind if number is None else f"{kind}:{number}"), half=kind in _HALF)


def llama_placement(device: str, *, offload: bool) -> tuple[int, int | None] | None:
    """Return how many layers llama.cpp gives to which GPU (None: it shares them out); None if it has no such device.

    llama.cpp is built for one kind of GPU and does not say which: any kind means that one.
    """
    kind, number = parse_device(device)
    if kind == CPU or (kind == AUTO and not offload):
        return 0, None
    return (999, number) if offload else None


def title(name: str, torch: Any) -> str:
    """Return a device's name with what stands behind it: `cuda (ROCm: AMD Radeon RX 7900 XTX)`."""
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
    """Return how much memory is free on torch's best device; None on the CPU, and where torch does not tell."""
    kind = torch_devices(torch)[0]
    part: Any = getattr(torch, kind, None)
    try:
        if kind == "mps":  # shared with the processor: what Apple recommends for a GPU, less what is taken
            return max(0, int(part.recommended_max_memory()) - int(part.driver_allocated_memory()))
        tell = getattr(part, "mem_get_info", None)  # of CUDA and ROCm, and of XPU in newer torch
        return None if tell is None or kind == CPU else int(tell()[0])
    except (RuntimeError, AssertionError, AttributeError):
        return None


def free_memory(torch: Any, place: Placement) -> None:
    """Give back what torch keeps of a device's memory for later."""
    empty = getattr(getattr(torch, place.kind, None), "empty_cache", None)
    if empty is not None:
        empty()


def _count(torch: Any, kind: str) -> int:
    part: Any = getattr(torch, kind, None)
    return int(part.device_count()) if _is_available(part) else 0


def _is_available(part: Any) -> bool:
    try:
        return bool(part is not None and part.is_available())
    except (RuntimeError, AssertionError, OSError):  # a driver that does not fit the build
        return False


def _directml() -> Any:
    try:
        return import_module("torch_directml")
    except (ImportError, OSError):
        return None
