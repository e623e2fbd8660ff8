"""Diagnosis of an installation: libraries, engines, models, and what is missing with the command that adds it.

Nothing is changed and no model is loaded; the engines' libraries are, as one that is installed may still be broken.
"""
from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kgen_ext import __version__
from kgen_ext.errors import Failure, KGenError
from kgen_ext.models import STARTER, Locations, ModelFiles, find_models, resolve
from kgen_ext.models.hub import is_offline

NEEDED = ("numpy", "regex", "tokenizers")
PACKAGES = (*NEEDED, "torch", "transformers", "llama-cpp-python", "huggingface_hub")
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """An engine. reason: why it is not usable. devices: where it computes, best first."""

    name: str
    usable: bool
    reason: str
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """An installed model. engine, reason: what would run it and why, or "" and what is wrong with it."""

    name: str
    path: str
    size: int
    engine: str
    reason: str


@dataclass(frozen=True, slots=True)
class MissingPart:
    """Something that is not installed. why: what it is for. needed: nothing works without it."""

    what: str
    why: str
    command: str
    needed: bool


@dataclass(frozen=True, slots=True)
class Report:
    """The diagnosis, with the field names of `kgen doctor --json`. works: prompts can be expanded."""

    kgen: str
    host: str
    python: str
    executable: str
    system: str
    offline: bool
    packages: Mapping[str, str | None]
    engines: tuple[EngineStatus, ...]
    models_folder: str
    models: tuple[ModelStatus, ...]
    lacks: tuple[MissingPart, ...]
    works: bool


def examine(*, environ: Mapping[str, str] | None = None, root: Path = ROOT) -> Report:
    """Return the report on this Python. root: KGen's folder, by which a WebUI around it is found."""
    environ = os.environ if environ is None else environ
    host, webui = find_host(root)
    locations = Locations.default(environ)
    if webui is not None:
        folders = (webui / "extensions", root.parent)
        locations = Locations.for_webui(models=webui / "models", extensions=folders, environ=environ)
    packages = {name: _version(name) for name in PACKAGES}
    engines = tuple(_engine(name, ok, reason) for name, ok, reason in _available())
    models = tuple(_models(locations))
    usable = {engine.name for engine in engines if engine.usable}
    return Report(
        kgen=__version__,
        host=host,
        python=platform.python_version(),
        executable=sys.executable,
        system=f"{platform.system()} {platform.machine()}",
        offline=is_offline(environ),
        packages=packages,
        engines=engines,
        models_folder=str(locations.own),
        models=models,
        lacks=tuple(_lacks(packages, engines, models, webui=webui is not None)),
        works=all(packages[name] for name in NEEDED) and any(model.engine in usable for model in models),
    )


def find_host(root: Path) -> tuple[str, Path | None]:
    """Return the name and folder of the WebUI that has its extension in `root`; for the command alone, no folder."""
    webui = root.parent.parent
    if root.parent.name not in ("extensions", "extensions-builtin") or not (webui / "modules").is_dir():
        return "none (the command)", None
    if (webui / "modules_forge").is_dir():
        return f"{'Forge' if (webui / 'backend').is_dir() else 'reForge'} in {webui}", webui
    return f"AUTOMATIC1111 or a relative in {webui}", webui


def _available() -> Iterable[tuple[str, bool, str]]:
    from kgen_ext.engines import available_engines

    return available_engines()


def _engine(name: str, installed: bool, reason: str) -> EngineStatus:
    """Return the status of an engine after opening its library."""
    list_devices: Callable[[], tuple[str, ...]] = {"llama_cpp": _llama_devices, "transformers": _torch_devices}.get(
        name, lambda: ("cpu",)
    )
    if not installed:
        return EngineStatus(name, False, reason, ())
    try:
        return EngineStatus(name, True, "", list_devices())
    except Failure as error:
        return EngineStatus(name, False, str(error), ())


def _llama_devices() -> tuple[str, ...]:
    from kgen_ext.engines.llama_cpp_bindings import open_library

    return ("the GPU it was built for", "cpu") if open_library().api.llama_supports_gpu_offload() else ("cpu",)


def _torch_devices() -> tuple[str, ...]:
    from kgen_ext.engines.devices import title, torch_devices
    from kgen_ext.engines.transformers import open_torch

    torch, _ = open_torch()
    return tuple(title(name, torch) for name in torch_devices(torch))


def _models(locations: Locations) -> Iterable[ModelStatus]:
    from kgen_ext.service.engines import detect_capabilities, rank_engines

    capabilities = detect_capabilities()

    def status(name: str, path: Path, size: int) -> ModelStatus:
        try:
            files: ModelFiles = resolve(name, locations=locations, paths=False)
        except KGenError as error:
            return ModelStatus(name, str(path), size, "", str(error))
        first = rank_engines(files, engine="auto", device="auto", capabilities=capabilities)[0]
        engine = first.engine if first.engine in capabilities.usable else ""
        return ModelStatus(name, str(path), size, engine, first.reason if engine else f"needs {first.engine}")

    (starter,) = resolve(STARTER).weights()
    yield status(STARTER, starter, starter.stat().st_size)
    try:
        for found in find_models(locations):
            if found.problem:
                yield ModelStatus(found.name, str(found.path), found.size, "", found.problem)
            else:
                yield status(found.name, found.path, found.size)
    except KGenError as error:  # a mistake in the user's own catalogue
        yield ModelStatus("kgen-models.json", str(locations.user_file), 0, "", str(error))


def _lacks(
    packages: Mapping[str, str | None], engines: Iterable[EngineStatus], models: Iterable[ModelStatus], *, webui: bool
) -> Iterable[MissingPart]:
    pip = f'"{sys.executable}" -m pip install'
    needed = [name for name in NEEDED if packages[name] is None]
    if needed:
        yield MissingPart(", ".join(needed), "nothing works without", f"{pip} {' '.join(needed)}", True)
    by_name = {engine.name: engine for engine in engines}
    llama = by_name["llama_cpp"]
    if not llama.usable:
        broken = packages["llama-cpp-python"] is not None
        again = "--force-reinstall --no-deps " if broken else ""
        yield MissingPart(
            "llama-cpp-python", llama.reason if broken else "models are quicker with it",
            f"{pip} {again}--only-binary :all: llama-cpp-python "
            "--extra-index-url https://abetlen.github.io/llama-cpp-python/whl/cpu", False,
        )  # fmt: skip
    if not by_name["transformers"].usable and not webui:
        why = "for GPUs of every vendor" if packages["torch"] is None else by_name["transformers"].reason
        yield MissingPart("torch, transformers", why, f"{pip} torch transformers", False)
    if packages["huggingface_hub"] is None:
        yield MissingPart("huggingface_hub", "to download models", f"{pip} huggingface_hub", False)
    if all(model.name == STARTER for model in models):
        how = "in the WebUI: KGen, Models, choose one, Download" if webui else "kgen models download TIPO-500M-ft"
        yield MissingPart("a larger model", "the starter is small", how, False)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
