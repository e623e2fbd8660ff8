"""What this machine has for expanding prompts and what it lacks, as facts, each lack with the one command that ends it.

Refuses to print, to change anything and to load a model; what a library says when it is opened is part of the facts.
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
class EngineFact:
    """An engine: whether it runs here, else why not; where it computes, best first."""

    name: str
    usable: bool
    reason: str
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelFact:
    """An installed model: where it lies, and the engine that would run it with the reason, or what is wrong with it."""

    name: str
    path: str
    size: int
    engine: str
    reason: str


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that is not there: what for, and the one command that adds it."""

    what: str
    why: str
    command: str
    needed: bool


@dataclass(frozen=True, slots=True)
class Report:
    """Everything; `works` says whether a prompt can be expanded at all."""

    kgen: str
    host: str
    python: str
    executable: str
    system: str
    offline: bool
    packages: Mapping[str, str | None]
    engines: tuple[EngineFact, ...]
    models_folder: str
    models: tuple[ModelFact, ...]
    lacks: tuple[Lack, ...]
    works: bool


def examine(*, environ: Mapping[str, str] | None = None, root: Path = ROOT) -> Report:
    """Return the report of this Python; root: the folder KGen lies in, which tells whether it is in a WebUI."""
    environ = os.environ if environ is None else environ
    host, webui = find_host(root)
    places = Locations.default(environ)
    if webui is not None:
        folders = (webui / "extensions", root.parent)
        places = Locations.for_webui(models=webui / "models", extensions=folders, environ=environ)
    packages = {name: _version(name) for name in PACKAGES}
    engines = tuple(_engine(name, ok, reason) for name, ok, reason in _available())
    models = tuple(_models(places))
    usable = {one.name for one in engines if one.usable}
    return Report(
        kgen=__version__,
        host=host,
        python=platform.python_version(),
        executable=sys.executable,
        system=f"{platform.system()} {platform.machine()}",
        offline=is_offline(environ),
        packages=packages,
        engines=engines,
        models_folder=str(places.own),
        models=models,
        lacks=tuple(_lacks(packages, engines, models, webui=webui is not None)),
        works=all(packages[name] for name in NEEDED) and any(one.engine in usable for one in models),
    )


def find_host(root: Path) -> tuple[str, Path | None]:
    """Return the name and folder of the WebUI whose extension lies at `root`; ("none", None) for the command alone."""
    webui = root.parent.parent
    if root.parent.name not in ("extensions", "extensions-builtin") or not (webui / "modules").is_dir():
        return "none (the command)", None
    if (webui / "modules_forge").is_dir():
        return f"{'Forge' if (webui / 'backend').is_dir() else 'reForge'} in {webui}", webui
    return f"AUTOMATIC1111 or a relative in {webui}", webui


def _available() -> Iterable[tuple[str, bool, str]]:
    from kgen_ext.engines import available_engines

    return available_engines()


def _engine(name: str, installed: bool, reason: str) -> EngineFact:
    """Open the engine's library: one that is installed may still be broken."""
    look: Callable[[], tuple[str, ...]] = {"llama_cpp": _llama_devices, "transformers": _torch_devices}.get(
        name, lambda: ("cpu",)
    )
    if not installed:
        return EngineFact(name, False, reason, ())
    try:
        return EngineFact(name, True, "", look())
    except Failure as error:
        return EngineFact(name, False, str(error), ())


def _llama_devices() -> tuple[str, ...]:
    from kgen_ext.engines.llama_cpp_bindings import open_library

    return ("the GPU it was built for", "cpu") if open_library().api.llama_supports_gpu_offload() else ("cpu",)


def _torch_devices() -> tuple[str, ...]:
    from kgen_ext.engines.devices import title, torch_devices
    from kgen_ext.engines.transformers import open_torch

    torch, _ = open_torch()
    return tuple(title(name, torch) for name in torch_devices(torch))


def _models(places: Locations) -> Iterable[ModelFact]:
    from kgen_ext.service.engines import rank_engines, this_machine

    facts = this_machine()

    def fact(name: str, path: Path, size: int) -> ModelFact:
        try:
            files: ModelFiles = resolve(name, places=places, paths=False)
        except KGenError as error:
            return ModelFact(name, str(path), size, "", str(error))
        first = rank_engines(files, engine="auto", device="auto", facts=facts)[0]
        engine = first.engine if first.engine in facts.usable else ""
        return ModelFact(name, str(path), size, engine, first.reason if engine else f"needs {first.engine}")

    starter = resolve(STARTER)
    assert starter.folder is not None
    yield fact(STARTER, starter.folder, sum(path.stat().st_size for path in starter.folder.glob("*.safetensors")))
    try:
        for one in find_models(places):
            yield ModelFact(one.name, str(one.path), one.size, "", one.problem) if one.problem else fact(
                one.name, one.path, one.size
            )
    except KGenError as error:  # the user's own catalogue: its mistake is told, the rest stands
        yield ModelFact("kgen-models.json", str(places.user_file), 0, "", str(error))


def _lacks(
    packages: Mapping[str, str | None], engines: Iterable[EngineFact], models: Iterable[ModelFact], *, webui: bool
) -> Iterable[Lack]:
    pip = f'"{sys.executable}" -m pip install'
    needed = [name for name in NEEDED if packages[name] is None]
    if needed:
        yield Lack(", ".join(needed), "nothing works without", f"{pip} {' '.join(needed)}", True)
    usable = {one.name: one for one in engines}
    llama = usable["llama_cpp"]
    if not llama.usable:
        broken = packages["llama-cpp-python"] is not None
        again = "--force-reinstall --no-deps " if broken else ""
        yield Lack(
            "llama-cpp-python", llama.reason if broken else "TIPO v2 runs in it only; the others are quicker with it",
            f"{pip} {again}--only-binary :all: llama-cpp-python "
            "--extra-index-url https://abetlen.github.io/llama-cpp-python/whl/cpu", False,
        )  # fmt: skip
    if not usable["transformers"].usable and not webui:
        why = "for graphics cards of every maker" if packages["torch"] is None else usable["transformers"].reason
        yield Lack("torch, transformers", why, f"{pip} torch transformers", False)
    if packages["huggingface_hub"] is None:
        yield Lack("huggingface_hub", "to download models", f"{pip} huggingface_hub", False)
    if all(one.name == STARTER for one in models):
        how = "in the WebUI: KGen, Models, choose one, Download" if webui else "kgen models download TIPO-500M-ft"
        yield Lack("a larger model", "the starter is small", how, False)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
