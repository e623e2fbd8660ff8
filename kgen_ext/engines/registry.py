"""Which engines there are, which of them this machine can run, and how one is opened on a model's files.

Refuses to import a library to find out: it looks for packages without opening them, and loads one only with its model.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from kgen_ext.engine import Engine
from kgen_ext.engines.checkpoint import refuse_pickles
from kgen_ext.engines.devices import parse_device
from kgen_ext.errors import BadValue, EngineError, EngineUnavailable, ModelFileError


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model lies and how to run it; None where that is not given."""

    folder: Path | None
    gguf: Path | None
    device: str
    threads: int | None
    n_ctx: int | None


def _reference(source: Source) -> Engine:
    from kgen_ext.engines.numpy_llama import NumpyLlamaEngine

    return NumpyLlamaEngine(_weights(source, "reference"), n_ctx=source.n_ctx)


def _transformers(source: Source) -> Engine:
    from kgen_ext.engines.transformers import TransformersEngine

    path = _weights(source, "transformers")
    return TransformersEngine(path, device=source.device, threads=source.threads, n_ctx=source.n_ctx)


def _llama_cpp(source: Source) -> Engine:
    from kgen_ext.engines.llama_cpp import LlamaCppEngine

    if source.gguf is None:
        raise ModelFileError(f"{source.folder}: holds no GGUF, which llama_cpp needs", hint="choose another engine")
    return LlamaCppEngine(source.gguf, device=source.device, threads=source.threads, n_ctx=source.n_ctx)


@dataclass(frozen=True, slots=True)
class EngineKind:
    """An engine by name: the packages it needs, what installs them, and how it is opened."""

    name: str
    packages: tuple[str, ...]
    install: str
    open: Callable[[Source], Engine]


ENGINE_KINDS = (
    EngineKind("reference", ("numpy", "tokenizers"), "numpy tokenizers", _reference),
    EngineKind("transformers", ("torch", "transformers", "tokenizers"), "torch transformers", _transformers),
    EngineKind("llama_cpp", ("llama_cpp",), "llama-cpp-python", _llama_cpp),
)
ENGINES = tuple(kind.name for kind in ENGINE_KINDS)


def available_engines() -> tuple[tuple[str, bool, str], ...]:
    """Return (name, usable, reason) of each engine; the reason says what is missing and is empty when nothing is."""
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
    """Return the engine `name` with a model loaded: from `folder` (safetensors) or `gguf`, for llama_cpp from `gguf`.

    device: auto takes the best the library has; reference runs on the CPU whatever is said. threads: None leaves the
    library's own choice. n_ctx: the most tokens a row may hold, at most the model's own context, which None means.
    Raises BadValue, EngineUnavailable (what to install) or ModelFileError (which file, what is wrong with it).
    """
    kind = next((one for one in ENGINE_KINDS if one.name == name), None)
    if kind is None:
        raise BadValue("engine", name, ENGINES)
    parse_device(device)
    for field, value in (("threads", threads), ("n_ctx", n_ctx)):
        if value is not None and value < 1:
            raise BadValue(field, value, "a whole number from 1 on")
    if reason := _missing(kind):
        raise EngineUnavailable(f"engine {name}: {reason}", hint=f"pip install {kind.install}")
    try:
        engine = kind.open(Source(folder, gguf, device, threads, n_ctx))
    except (OSError, RuntimeError, MemoryError, ImportError, AttributeError) as error:  # a library that is broken
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise EngineError(f"engine {name} cannot load {folder or gguf}: {what}") from error
    if n_ctx is not None and n_ctx > engine.n_ctx:
        allowed = engine.n_ctx
        engine.close()
        raise BadValue("n_ctx", n_ctx, f"1 to {allowed}, the model's context")
    return engine


def _weights(source: Source, name: str) -> Path:
    """Return the folder, which needs no decoding, else the GGUF."""
    path = source.folder or source.gguf
    if path is None:
        raise ModelFileError(f"no file was given, and the {name} engine needs one", hint="choose a model")
    if source.folder is not None and path.is_file():
        refuse_pickles(path)
        raise ModelFileError(f"{path}: is a file", hint=f"the {name} engine needs the folder it lies in")
    return path


def _missing(kind: EngineKind) -> str:
    lacks = [one for one in kind.packages if find_spec(one) is None]
    return f"not installed: {', '.join(lacks)}" if lacks else ""
