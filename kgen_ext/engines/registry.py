"""The table of engines: which packages each needs, and how it is loaded on a model's files.

Packages are looked up without importing them; a library is imported when a model is loaded into it.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from kgen_ext.engine import Engine
from kgen_ext.engines.checkpoint import refuse_pickles
from kgen_ext.engines.devices import parse_device
from kgen_ext.errors import BadValue, EngineError, EngineUnavailable, Install, ModelFileError


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model's files and how to run it; None where that is not given."""

    folder: Path | None
    gguf: Path | None
    device: str
    threads: int | None
    n_ctx: int | None


def _reference(source: ModelSource) -> Engine:
    from kgen_ext.engines.numpy_llama import NumpyLlamaEngine

    return NumpyLlamaEngine(_weights(source, "reference"), n_ctx=source.n_ctx)


def _transformers(source: ModelSource) -> Engine:
    from kgen_ext.engines.transformers import TransformersEngine

    path = _weights(source, "transformers")
    return TransformersEngine(path, device=source.device, threads=source.threads, n_ctx=source.n_ctx)


def _llama_cpp(source: ModelSource) -> Engine:
    from kgen_ext.engines.llama_cpp import LlamaCppEngine

    if source.gguf is None:
        raise ModelFileError(f"{source.folder}: holds no GGUF, which llama_cpp needs", hint="choose another engine")
    return LlamaCppEngine(source.gguf, device=source.device, threads=source.threads, n_ctx=source.n_ctx)


@dataclass(frozen=True, slots=True)
class EngineKind:
    """An entry of the table. install: arguments for pip; load: opens the engine on a model."""

    name: str
    packages: tuple[str, ...]
    install: str
    load: Callable[[ModelSource], Engine]


ENGINE_KINDS = (
    EngineKind("reference", ("numpy", "tokenizers"), "numpy tokenizers", _reference),
    EngineKind("transformers", ("torch", "transformers", "tokenizers"), "torch transformers", _transformers),
    EngineKind("llama_cpp", ("llama_cpp",), "llama-cpp-python", _llama_cpp),
)
ENGINES = tuple(kind.name for kind in ENGINE_KINDS)


def available_engines() -> tuple[tuple[str, bool, str], ...]:
    """Return (name, usable, reason) of each engine; the reason says what is missing, "" if nothing is."""
    return tuple((kind.name, not _missing(kind), _missing(kind)) for kind in ENGINE_KINDS)


def load_engine(
    name: str,
    *,
    folder: Path | None,
    gguf: Path | None,
    device: str = "auto",
    threads: int | None = None,
    n_ctx: int | None = None,
) -> Engine:
    """Load a model into an engine: from `folder` (safetensors) or else `gguf`, into llama_cpp always from `gguf`.

    device: auto takes the best that the library has; reference always runs on the CPU. threads: None leaves it to the
    library. n_ctx: the most tokens a row may hold, None for the model's own context, which is the maximum.
    Raises BadValue, EngineUnavailable (what to install), ModelFileError (which file, and what is wrong with it) or
    EngineError (anything else that a library failed with).
    """
    kind = next((kind for kind in ENGINE_KINDS if kind.name == name), None)
    if kind is None:
        raise BadValue("engine", name, ENGINES)
    parse_device(device)
    for field, value in (("threads", threads), ("n_ctx", n_ctx)):
        if value is not None and value < 1:
            raise BadValue(field, value, "a whole number from 1 on")
    if reason := _missing(kind):
        raise EngineUnavailable(f"engine {name}: {reason}", action=Install(kind.install))
    try:
        engine = kind.load(ModelSource(folder, gguf, device, threads, n_ctx))
    except (OSError, RuntimeError, MemoryError, ImportError, AttributeError) as error:  # a broken library
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise EngineError(f"engine {name} cannot load {folder or gguf}: {what}") from error
    if n_ctx is not None and n_ctx > engine.n_ctx:
        allowed = engine.n_ctx
        engine.close()
        raise BadValue("n_ctx", n_ctx, f"1 to {allowed}, the model's context")
    return engine


def _weights(source: ModelSource, name: str) -> Path:
    """Return the folder, whose weights are not quantised, or else the GGUF."""
    path = source.folder or source.gguf
    if path is None:
        raise ModelFileError(f"no file was given, and the {name} engine needs one", hint="choose a model")
    if source.folder is not None and path.is_file():
        refuse_pickles(path)
        raise ModelFileError(f"{path}: is a file", hint=f"the {name} engine needs the folder that it is in")
    return path


def _missing(kind: EngineKind) -> str:
    missing = [package for package in kind.packages if find_spec(package) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""
