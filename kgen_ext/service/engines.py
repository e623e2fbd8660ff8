"""Opens an expander: finds the model, loads it in the first engine that runs it, and tells which protocol it speaks.

Which engines are tried, and in which order, is `choosing`'s to say; loading itself is the engines' business.

Which engines to try on a model, on which device, in which order, and why: from what is on disk and installed.

Loads no model. Asking torch what devices it has costs its import, so that is asked only where the answer decides.

    GGUF                llama.cpp, the quickest to write; torch and NumPy read the LLaMA files among them as well
    safetensors         torch, then NumPy
    a GPU of torch's    torch goes before a llama.cpp built for the CPU; where it fails there, it is tried on the CPU
    the starter         NumPy, the quickest to start, and the same words on every machine; too small for a GPU
"""
from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kgen_ext.errors import BadValue, EngineError, Failure, ModelFileError
from kgen_ext.models import STARTER, Locations, ModelFiles, resolve

if TYPE_CHECKING:
    from kgen_ext.engine import Engine
    from kgen_ext.protocol import Protocol
    from kgen_ext.service.expander import Expander

CPU, AUTO = "cpu", "auto"


@dataclass(frozen=True, slots=True)
class EngineCandidate:
    """An engine on a device, and why it is tried."""

    engine: str
    device: str
    reason: str


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What this machine has. `offload`: llama.cpp is built for a GPU. `gpu`: torch's best one, "" for none."""

    usable: frozenset[str]
    offload: Callable[[], bool]
    gpu: Callable[[], str]


def rank_engines(files: ModelFiles, *, engine: str, device: str, facts: Capabilities) -> tuple[EngineCandidate, ...]:
    """Return what to try, best first: one where an engine was asked for, at least one in any case."""
    if engine != AUTO:
        return (EngineCandidate(engine, device, "as asked for"),)
    able = [name for name in ("llama_cpp", "transformers", "reference") if files.gguf or name != "llama_cpp"]
    if files.id == STARTER:
        return _for_starter(facts)
    if files.entry is not None:
        able = [one for one in able if one in files.entry.engines] or able
    there = [one for one in able if one in facts.usable]
    if not there:
        return (EngineCandidate(able[0], device, "nothing else runs this model"),)
    gpu = _gpu(there, device, facts)
    found = []
    if gpu:
        found.append(EngineCandidate("transformers", device, f"torch runs it on {gpu}, this llama.cpp on the CPU only"
                             if "llama_cpp" in there else f"torch runs it on {gpu}"))  # fmt: skip
    if "llama_cpp" in there and not (device not in (AUTO, CPU) and gpu):
        found.append(EngineCandidate("llama_cpp", device, "llama.cpp is the quickest to write from a GGUF"))
    if "transformers" in there:
        # Where no GPU is known it is tried as asked, and torch says what it has.
        found.append(EngineCandidate("transformers", CPU if gpu else device, "torch runs it"))
    if "reference" in there:
        found.append(EngineCandidate("reference", CPU, "NumPy needs nothing else"))
    return tuple(found)


def _for_starter(facts: Capabilities) -> tuple[EngineCandidate, ...]:
    reasons = {
        "reference": "the starter is small, and NumPy is the quickest to start",
        "llama_cpp": "llama.cpp is the quickest to write",
        "transformers": "torch runs it",
    }
    # A device that was named is for those that have one; NumPy needs none, and the starter gains nothing by one.
    found = tuple(EngineCandidate(name, CPU, reason) for name, reason in reasons.items())
    return tuple(one for one in found if one.engine in facts.usable) or found[:1]


def _gpu(there: list[str], device: str, facts: Capabilities) -> str:
    """Return the GPU on which torch goes before llama.cpp, "" where it does not."""
    if device == CPU or "transformers" not in there or ("llama_cpp" in there and facts.offload()):
        return ""
    best = facts.gpu()
    return (device if device != AUTO else best) if best else ""


def this_machine() -> Capabilities:
    """Return the facts, the costly ones asked for when they are needed."""
    from kgen_ext import engines

    usable = frozenset(name for name, ok, _ in engines.available_engines() if ok)
    return Capabilities(usable, offload=_llama_offload, gpu=_torch_gpu)


def _llama_offload() -> bool:
    from kgen_ext.engines.llama_cpp_bindings import open_library

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


# Prompts decoded at once; more gain little on a CPU and take memory.
ROWS = 16
_LOG = logging.getLogger("kgen")
# Tokens of the longest texts each family was trained on (model cards); more is out of distribution.
_TRAINED_CTX = {"tipo": 1024, "dtg": 512}


def open_expander(
    *,
    model: str = STARTER,
    engine: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    rows: int = ROWS,
    places: Locations | None = None,
) -> Expander:
    """Load a model and return an expander; use it as a context manager or call its `close`.

    model: the name of an installed one, "starter", a folder with model.safetensors, or a .gguf file. engine: auto,
    reference, transformers or llama_cpp; auto takes the best that runs here, and the next where that one fails on these
    weights (the expander's `reason` tells). device: auto, cpu, cuda, cuda:1... threads: None for the library's own
    choice. rows: prompts decoded at once. places: where models may be installed, None for the command's own.
    Raises UnknownModel, BadValue, BadPattern, ModelFileError, EngineUnavailable, EngineError.
    """
    return open_files(resolve(model, places=places), engine=engine, device=device, threads=threads, rows=rows)


def open_files(
    files: ModelFiles, *, engine: str = "auto", device: str = "auto", threads: int | None = None, rows: int = ROWS
) -> Expander:
    """Load a model by its files, with all that `files.entry` says of it; else as `open_expander`."""
    # A host that starts up with this package imported pays for the decoder when it first expands, not before.
    from kgen_ext.engines import ENGINES
    from kgen_ext.engines.devices import parse_device
    from kgen_ext.rules.blocklist import load_blocklist
    from kgen_ext.service.expander import Expander
    from kgen_ext.service.plan import ModelContext

    if engine != "auto" and engine not in ENGINES:
        raise BadValue("engine", engine, ("auto", *ENGINES))
    parse_device(device)
    if threads is not None and threads < 1:
        raise BadValue("threads", threads, "a whole number from 1")
    if rows < 1:
        raise BadValue("rows", rows, "a whole number from 1")
    entry = files.entry
    blocklist = load_blocklist(entry.blocklist) if entry and entry.blocklist else None
    attempts = rank_engines(files, engine=engine, device=device, facts=this_machine())
    loaded, reason = _load(files, attempts, threads)
    protocol = protocol_of(loaded, files)
    speaker = ModelContext(
        engine=loaded,
        protocol=protocol,
        # Of the DanTagGen family only delta and delta-rev2 were trained with the line.
        quality_line=entry.quality_line if entry else "delta" in files.id.lower(),
        recommended=entry.recommended if entry else None,
        blocklist=blocklist,
        n_ctx=min(loaded.n_ctx, (entry and entry.context) or _TRAINED_CTX[protocol.value]),
    )
    return Expander(speaker, model=files.id, checksum=files.checksum(), rows=rows, reason=reason)


def choose_engines(files: ModelFiles, wanted: str, *, device: str = "auto") -> list[tuple[str, str]]:
    """Return the engines that opening these files would try, best first, each with the reason."""
    found = rank_engines(files, engine=wanted, device=device, facts=this_machine())
    return [(one.engine, one.reason) for one in found]


def protocol_of(engine: Engine, files: ModelFiles) -> Protocol:
    """Tell the protocol from the special tokens of the vocabulary; raises ModelFileError where it has neither's."""
    from kgen_ext.protocol import Protocol, dtg, tipo

    special = engine.vocab.special
    if dtg.INPUT_END in special:
        return Protocol.DTG
    missing = [token for token in tipo.SPECIAL_TOKENS if token not in special]
    if not missing:
        return Protocol.TIPO
    engine.close()
    raise ModelFileError(
        f"{files.gguf or files.folder}: speaks neither TIPO nor DanTagGen: its vocabulary lacks {missing[0]}",
        hint="use a TIPO or DanTagGen model",
    )


def _load(files: ModelFiles, attempts: Sequence[EngineCandidate], threads: int | None) -> tuple[Engine, str]:
    """Return the first engine that loads and runs, and why it is this one; raises the first failure when none does."""
    from kgen_ext import engines

    failures = list[tuple[EngineCandidate, Failure]]()
    for one in attempts:
        try:
            engine = engines.load_engine(
                one.engine, folder=files.folder, gguf=files.gguf, device=one.device, threads=threads
            )
            _try_out(engine)
        except Failure as error:  # another library, or the same on the CPU, may still run these weights
            failures.append((one, error))
            continue
        if failures:
            first, why = failures[0]
            reason = f"{first.engine} failed: {why}"
            _LOG.warning("%s: %s runs it%s, because %s", files.id, one.engine,
                         " on the CPU" if one.engine == first.engine else "", reason)  # fmt: skip
            return engine, reason
        return engine, one.reason
    raise failures[0][1]


def _try_out(engine: Engine) -> None:
    """Compute one token: a GPU whose kernels the library lacks, or that computes rubbish, shows here and not later."""
    if engine.name == "reference":
        return  # NumPy has no device that could be missing
    import numpy as np

    try:
        cache = engine.open_cache(1, min(8, engine.n_ctx))
        try:
            sound = bool(np.isfinite(cache.forward([(0, [engine.vocab.eos])])).all())
        finally:
            cache.close()
        if not sound:
            raise EngineError(f"engine {engine.name} computes no numbers here", hint="choose the device cpu")
    except Failure:
        engine.close()
        raise
