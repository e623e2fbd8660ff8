"""Needs of a model's files, judged by what is installed on this machine: engines, their versions, memory.

    GGUF           llama.cpp; of the types that we read ourselves (engines/gguf.py) torch and NumPy, too
    safetensors    torch, NumPy
    memory         llama.cpp: the file's size; torch on a GPU: 2 bytes a parameter; torch or NumPy on a CPU: 4

Nothing is imported to find out: packages are looked up, and torch is asked for a GPU only where it is loaded already,
as it is in every WebUI.
"""
from __future__ import annotations

import importlib.metadata
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module

from kgen_ext.models.progress import size_text
from kgen_ext.models.schema import Model, ModelFile

# Packages of the engines, by which their versions are known.
PACKAGES = {"llama_cpp": "llama-cpp-python", "transformers": "transformers", "reference": "numpy"}
Version = tuple[int, ...]
# Parameters used for a token, up to which a model is quick enough on a CPU: between TIPO 200M and DanTagGen's 393M.
_CPU_ACTIVE = 300_000_000
# The WebUI and its checkpoint need memory besides.
_SHARE_OF_MEMORY = 2


@dataclass(frozen=True, slots=True)
class Machine:
    """What a model may need. engines: version by name, () where it is unknown. memory: in bytes, None if unknown."""

    engines: Mapping[str, Version]
    gpu: bool
    memory: int | None


@dataclass(frozen=True, slots=True)
class Fit:
    """Result for a file. engine: what would run it now, "" if nothing; then `needs` says what is missing."""

    engine: str
    needs: str


def this_machine() -> Machine:
    """Return what is installed here."""
    from kgen_ext.engines import available_engines

    engines = {name: _installed_version(PACKAGES[name]) for name, usable, _ in available_engines() if usable}
    return Machine(engines, _has_gpu(), _total_memory())


def fit(model: Model, file: ModelFile, machine: Machine) -> Fit:
    """Return which engine would run a file here, or what that needs."""
    able = [name for name in _order(machine) if name in model.engines and _reads(name, file)]
    current = [name for name in able if _is_new_enough(name, model, machine)]
    if not current:
        return Fit("", " or ".join(_requirement(name, model) for name in PACKAGES if name in able) or "another engine")
    sizes = {name: memory_of(name, model, file, machine) for name in current}
    for name, size in sizes.items():
        if machine.memory is None or size is None or size * _SHARE_OF_MEMORY <= machine.memory:
            return Fit(name, "")
    least = min(size for size in sizes.values() if size is not None)
    return Fit("", f"{size_text(least * _SHARE_OF_MEMORY)} of memory")


def memory_of(engine: str, model: Model, file: ModelFile, machine: Machine) -> int | None:
    """Return the bytes of the computer's memory that a file takes in an engine; None if unknown, 0 if it is a GPU's."""
    if engine == "llama_cpp":
        return file.size or file.about
    if engine == "transformers" and machine.gpu:
        return 0
    return model.parameters and 4 * model.parameters


def best_file(model: Model, machine: Machine) -> ModelFile | None:
    """Return the first file of a model that runs here, None if none does."""
    return next((file for file in model.files if fit(model, file, machine).engine), None)


def best_model(known: Iterable[Model], machine: Machine) -> tuple[Model, ModelFile] | None:
    """Return the best model that can be downloaded and runs here, None if none does.

    On a CPU a model that writes quickly is preferred to a better one that does not.
    """
    runs = [(model, file) for model in known if model.repo and (file := best_file(model, machine))]
    quick = [pair for pair in runs if machine.gpu or (pair[0].active or pair[0].parameters or 0) <= _CPU_ACTIVE]
    return next(iter(quick or runs), None)


def _order(machine: Machine) -> tuple[str, ...]:
    """Return the engines as the service prefers them."""
    return ("transformers", "llama_cpp", "reference") if machine.gpu else ("llama_cpp", "transformers", "reference")


def _reads(engine: str, file: ModelFile) -> bool:
    from kgen_ext.engines.gguf import TYPES

    if engine == "llama_cpp" or file.kind == "safetensors":
        return engine != "llama_cpp" or file.kind == "gguf"
    return file.quant in ("", *(name for name, _, _ in TYPES.values()))


def _is_new_enough(engine: str, model: Model, machine: Machine) -> bool:
    version = machine.engines.get(engine)
    return version is not None and (not version or version >= _numbers(model.needs.get(engine, "0")))


def _requirement(engine: str, model: Model) -> str:
    return " ".join(filter(None, (PACKAGES[engine], model.needs.get(engine))))


def _installed_version(package: str) -> Version:
    try:
        return _numbers(importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:  # installed under another name
        return ()


def _numbers(version: str) -> Version:
    """Return the numbers at the head of a version.

    >>> _numbers("0.3.10"), _numbers("5.0rc1"), _numbers("2.7.1+cu128")
    ((0, 3, 10), (5, 0), (2, 7, 1))
    """
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()


def _has_gpu() -> bool:
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    from kgen_ext.engines.devices import CPU, torch_devices

    return torch_devices(torch)[0] != CPU


def _total_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows; every WebUI has psutil
        try:
            return int(import_module("psutil").virtual_memory().total)
        except ImportError:
            return None
