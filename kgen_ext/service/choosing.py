"""Which engines to try on a model, on which device, in which order, and why: from what is on disk and installed.

Loads no model. Asking torch what devices it has costs its import, so that is asked only where the answer decides.

    GGUF                llama.cpp, the quickest to write; torch and NumPy read the LLaMA files among them as well
    safetensors         torch, then NumPy
    a GPU of torch's    torch goes before a llama.cpp built for the CPU; where it fails there, it is tried on the CPU
    the starter         NumPy, the quickest to start, and the same words on every machine; too small for a GPU
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kgen_ext.catalogue import STARTER, ModelFiles
from kgen_ext.errors import Failure

CPU, AUTO = "cpu", "auto"


@dataclass(frozen=True, slots=True)
class Attempt:
    """An engine on a device, and why it is tried."""

    engine: str
    device: str
    reason: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What this machine has. `offload`: llama.cpp is built for a GPU. `gpu`: torch's best one, "" for none."""

    usable: frozenset[str]
    offload: Callable[[], bool]
    gpu: Callable[[], str]


def plan_attempts(files: ModelFiles, *, engine: str, device: str, facts: Facts) -> tuple[Attempt, ...]:
    """Return what to try, best first: one where an engine was asked for, at least one in any case."""
    if engine != AUTO:
        return (Attempt(engine, device, "as asked for"),)
    able = [name for name in ("llama_cpp", "transformers", "reference") if files.gguf or name != "llama_cpp"]
    if files.id == STARTER:
        return _for_starter(facts)
    if files.entry is not None:
        able = [one for one in able if one in files.entry.engines] or able
    there = [one for one in able if one in facts.usable]
    if not there:
        return (Attempt(able[0], device, "nothing else runs this model"),)
    gpu = _gpu(there, device, facts)
    found = []
    if gpu:
        found.append(Attempt("transformers", device, f"torch runs it on {gpu}, this llama.cpp on the CPU only"
                             if "llama_cpp" in there else f"torch runs it on {gpu}"))  # fmt: skip
    if "llama_cpp" in there and not (device not in (AUTO, CPU) and gpu):
        found.append(Attempt("llama_cpp", device, "llama.cpp is the quickest to write from a GGUF"))
    if "transformers" in there:
        # Where no GPU is known it is tried as asked, and torch says what it has.
        found.append(Attempt("transformers", CPU if gpu else device, "torch runs it"))
    if "reference" in there:
        found.append(Attempt("reference", CPU, "NumPy needs nothing else"))
    return tuple(found)


def _for_starter(facts: Facts) -> tuple[Attempt, ...]:
    reasons = {
        "reference": "the starter is small, and NumPy is the quickest to start",
        "llama_cpp": "llama.cpp is the quickest to write",
        "transformers": "torch runs it",
    }
    # A device that was named is for those that have one; NumPy needs none, and the starter gains nothing by one.
    found = tuple(Attempt(name, CPU, reason) for name, reason in reasons.items())
    return tuple(one for one in found if one.engine in facts.usable) or found[:1]


def _gpu(there: list[str], device: str, facts: Facts) -> str:
    """Return the GPU on which torch goes before llama.cpp, "" where it does not."""
    if device == CPU or "transformers" not in there or ("llama_cpp" in there and facts.offload()):
        return ""
    best = facts.gpu()
    return (device if device != AUTO else best) if best else ""


def this_machine() -> Facts:
    """Return the facts, the costly ones asked for when they are needed."""
    from kgen_ext import engines

    usable = frozenset(name for name, ok, _ in engines.available_engines() if ok)
    return Facts(usable, offload=_llama_offload, gpu=_torch_gpu)


def _llama_offload() -> bool:
    from kgen_ext.engines.llama_cpp_names import open_library

    try:
        return bool(open_library().api.llama_supports_gpu_offload())
    except Failure:  # it is tried later, and then says what is wrong
        return False


def _torch_gpu() -> str:
    from kgen_ext.engines.devices import torch_devices

    try:
        import torch
    except (ImportError, OSError):
        return ""
    best = torch_devices(torch)[0]
    return "" if best == CPU else best
