"""Opening an expander: the choice of an engine and a device for a model, and loading it there.

Which engines are tried, in which order, depends on the model's files and on what is installed:

    GGUF                llama.cpp, the fastest for it; torch and NumPy also read the LLaMA files among them
    safetensors         torch, then NumPy
    a GPU of torch's    torch before a llama.cpp built for the CPU only; if it fails there, it is tried on the CPU
    the starter         NumPy, the fastest to start, with the same words on every machine; too small for a GPU
    a URL               the server there; the others only compare it with the model's files

Importing torch to ask for its devices takes seconds, so it is asked only where the answer decides.
"""
from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from kgen_ext.errors import AGAIN, BadValue, EngineError, Failure, ModelFileError
from kgen_ext.models import STARTER, Locations, ModelFiles, resolve

if TYPE_CHECKING:
    from kgen_ext.engine import Engine
    from kgen_ext.engines.server import ServerEngine
    from kgen_ext.protocol import Protocol
    from kgen_ext.service.expander import Expander
    from kgen_ext.tags.pair_table import PairTable

CPU, AUTO, SERVER = "cpu", "auto", "server"
# Prompts decoded at once; more gain little on a CPU and need memory.
ROWS = 16
_LOG = logging.getLogger("kgen")
# Length in tokens of the texts each family was trained on (model cards); more is out of distribution.
_TRAINED_CTX = {"tipo": 1024, "dtg": 512}


def open_expander(
    *,
    model: str = STARTER,
    engine: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    rows: int = ROWS,
    locations: Locations | None = None,
    url: str | None = None,
) -> Expander:
    """Load a model and return an expander; use it as a context manager or call its `close`.

    model: the name of an installed one, "starter", a folder with model.safetensors, or a .gguf file. engine: auto,
    reference, transformers, llama_cpp or server; auto takes the best that runs here, or the next if that one fails on
    these weights (the expander's `reason` says why). device: auto, cpu, cuda, cuda:1... threads: None for the library's
    own choice. rows: prompts decoded at once. locations: where models may be installed, None for the command's own.
    url: address of the server, for the engine server; its API key is taken from the environment (KGEN_SERVER_KEY).
    Raises UnknownModel, BadValue, BadPattern, ModelFileError, EngineUnavailable, EngineError.
    """
    files = resolve(model, locations=locations)
    return open_files(files, engine=engine, device=device, threads=threads, rows=rows, url=url)


def open_files(
    files: ModelFiles,
    *,
    engine: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    rows: int = ROWS,
    url: str | None = None,
) -> Expander:
    """Load a model from its files, with the settings of its catalogue entry; otherwise as `open_expander`."""
    # Imported here so that a host which imports this package at start-up loads the decoder only when it is used.
    from kgen_ext.engines import ENGINES
    from kgen_ext.engines.devices import parse_device
    from kgen_ext.once import once
    from kgen_ext.rules.blocklist import load_blocklist
    from kgen_ext.rules.wordlist import load_word_list
    from kgen_ext.service.expander import Expander
    from kgen_ext.service.plan import ModelContext

    if engine not in (AUTO, *ENGINES, SERVER):
        raise BadValue("engine", engine, (AUTO, *ENGINES, SERVER))
    if url is None and engine == SERVER:
        raise BadValue("url", url, "http://HOST:PORT")
    if url is not None and engine != SERVER:
        raise BadValue("engine", engine, "server with a url")
    if url is not None and device != AUTO:
        raise BadValue("device", device, "auto with a server, which has a device of its own")
    parse_device(device)
    if threads is not None and threads < 1:
        raise BadValue("threads", threads, "a whole number from 1")
    if rows < 1:
        raise BadValue("rows", rows, "a whole number from 1")
    entry = files.entry
    blocklist = load_blocklist(entry.blocklist) if entry and entry.blocklist else None
    words = files.word_list()
    loaded: Engine
    if url is None:
        candidates = rank_engines(files, engine=engine, device=device, capabilities=detect_capabilities())
        loaded, reason = _load(files, candidates, threads)
    else:
        loaded = server = _connect(files, url, threads)
        rows, reason = min(rows, server.slots or rows), server.title
    protocol = _protocol(loaded, files)
    context = ModelContext(
        engine=loaded,
        protocol=protocol,
        # Of the DanTagGen family only delta and delta-rev2 were trained with the line.
        quality_line=entry.quality_line if entry else "delta" in files.id.lower(),
        recommended=entry.recommended if entry else None,
        blocklist=blocklist,
        ratings=entry.ratings if entry else {},
        load_words=once(partial(load_word_list, words)) if words else None,
        load_pairs=once(partial(_read_pairs, files)),
        n_ctx=min(loaded.n_ctx, (entry and entry.context) or _TRAINED_CTX[protocol.value]),
        partial=url is not None,
    )
    return Expander(context, model=files.id, checksum=files.checksum(), rows=rows, reason=reason)


@dataclass(frozen=True, slots=True)
class EngineCandidate:
    """An engine to try, on which device, and why."""

    engine: str
    device: str
    reason: str


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What this machine can run. offload: llama.cpp is built for a GPU. gpu: torch's best one, "" for none."""

    usable: frozenset[str]
    offload: Callable[[], bool]
    gpu: Callable[[], str]


def rank_engines(
    files: ModelFiles, *, engine: str, device: str, capabilities: Capabilities
) -> tuple[EngineCandidate, ...]:
    """Return the candidates, best first and at least one; if an engine is named, only that one."""
    if engine != AUTO:
        return (EngineCandidate(engine, device, "as asked for"),)
    able = [name for name in ("llama_cpp", "transformers", "reference") if files.gguf or name != "llama_cpp"]
    if files.id == STARTER:
        return _for_starter(capabilities)
    if files.entry is not None:
        able = [name for name in able if name in files.entry.engines] or able
    usable = [name for name in able if name in capabilities.usable]
    if not usable:
        return (EngineCandidate(able[0], device, "nothing else runs this model"),)
    gpu = _gpu(usable, device, capabilities)
    found = []
    if gpu:
        found.append(EngineCandidate("transformers", device, f"torch runs it on {gpu}, this llama.cpp on the CPU only"
                             if "llama_cpp" in usable else f"torch runs it on {gpu}"))  # fmt: skip
    if "llama_cpp" in usable and not (device not in (AUTO, CPU) and gpu):
        found.append(EngineCandidate("llama_cpp", device, "llama.cpp is the quickest to write from a GGUF"))
    if "transformers" in usable:
        # Without a known GPU the device is passed on as asked, and torch reports what it lacks.
        found.append(EngineCandidate("transformers", CPU if gpu else device, "torch runs it"))
    if "reference" in usable:
        found.append(EngineCandidate("reference", CPU, "NumPy needs nothing else"))
    return tuple(found)


def _for_starter(capabilities: Capabilities) -> tuple[EngineCandidate, ...]:
    reasons = {
        "reference": "the starter is small, and NumPy is the quickest to start",
        "llama_cpp": "llama.cpp is the quickest to write",
        "transformers": "torch runs it",
    }
    # On the CPU even if a GPU was named: the starter is too small to gain by one.
    found = tuple(EngineCandidate(name, CPU, reason) for name, reason in reasons.items())
    return tuple(candidate for candidate in found if candidate.engine in capabilities.usable) or found[:1]


def _gpu(usable: list[str], device: str, capabilities: Capabilities) -> str:
    """Return the GPU for which torch is preferred to llama.cpp, "" for none."""
    if device == CPU or "transformers" not in usable or ("llama_cpp" in usable and capabilities.offload()):
        return ""
    best = capabilities.gpu()
    return (device if device != AUTO else best) if best else ""


def detect_capabilities() -> Capabilities:
    """Return this machine's capabilities; those that take long to find out are found out when asked for."""
    from kgen_ext import engines

    usable = frozenset(name for name, ok, _ in engines.available_engines() if ok)
    return Capabilities(usable, offload=_llama_offload, gpu=_torch_gpu)


def _llama_offload() -> bool:
    from kgen_ext.engines.llama_cpp_bindings import open_library

    try:
        return bool(open_library().api.llama_supports_gpu_offload())
    except Failure:  # it is tried anyway, and its own error is reported
        return False


def _torch_gpu() -> str:
    from kgen_ext.engines.devices import torch_devices

    try:
        import torch
    except (ImportError, OSError):
        return ""
    best = torch_devices(torch)[0]
    return "" if best == CPU else best


def choose_engines(files: ModelFiles, wanted: str, *, device: str = "auto") -> list[tuple[str, str]]:
    """Return the engines that opening these files would try, best first, each with the reason."""
    found = rank_engines(files, engine=wanted, device=device, capabilities=detect_capabilities())
    return [(candidate.engine, candidate.reason) for candidate in found]


def _read_pairs(files: ModelFiles) -> PairTable:
    from kgen_ext.tags.pair_table import read_pair_table

    path = files.prior()
    table = read_pair_table(path)
    if files.entry is not None and files.entry.prior not in ("", table.checksum):
        raise ModelFileError(f"{path}: another table than the model's catalogue entry names", hint=AGAIN)
    return table


def _protocol(engine: Engine, files: ModelFiles) -> Protocol:
    """Return the protocol by the special tokens; if it is neither, close the engine and raise ModelFileError."""
    from kgen_ext.protocol import Protocol, dtg, tipo

    special = engine.vocab.special
    if dtg.INPUT_END in special:
        return Protocol.DTG
    missing = [token for token in tipo.SPECIAL_TOKENS if token not in special]
    if not missing:
        return Protocol.TIPO
    engine.close()
    raise ModelFileError(
        f"{files.gguf or files.folder}: neither TIPO nor DanTagGen: its vocabulary lacks {missing[0]}",
        hint="use a TIPO or DanTagGen model",
    )


def _load(files: ModelFiles, candidates: Sequence[EngineCandidate], threads: int | None) -> tuple[Engine, str]:
    """Return the first engine that loads and runs, with the reason for it; raises the first failure if none does."""
    from kgen_ext import engines

    failures = list[tuple[EngineCandidate, Failure]]()
    for candidate in candidates:
        try:
            engine = engines.load_engine(
                candidate.engine, folder=files.folder, gguf=files.gguf, device=candidate.device, threads=threads
            )
            _try_out(engine)
        except Failure as error:  # another library, or the same one on the CPU, may still run these weights
            failures.append((candidate, error))
            continue
        if failures:
            first, why = failures[0]
            reason = f"{first.engine} failed: {why}"
            _LOG.warning("%s: %s runs it%s, because %s", files.id, candidate.engine,
                         " on the CPU" if candidate.engine == first.engine else "", reason)  # fmt: skip
            return engine, reason
        return engine, candidate.reason
    raise failures[0][1]


def _connect(files: ModelFiles, url: str, threads: int | None) -> ServerEngine:
    """Return the engine of a server, once it has shown that it runs the model of these files."""
    from kgen_ext.engines.json_client import KEY_VARIABLE, JsonClient
    from kgen_ext.engines.server import ServerEngine
    from kgen_ext.engines.server_api import find_api

    client = JsonClient(url, key=os.environ.get(KEY_VARIABLE, ""))
    local: Engine | None = None
    try:
        api = find_api(client)  # first, as it takes no time
        candidates = rank_engines(files, engine=AUTO, device=CPU, capabilities=detect_capabilities())
        local, _ = _load(files, candidates, threads)
        return ServerEngine(client, api, local)
    except BaseException:
        client.close()
        if local is not None:
            local.close()
        raise


def _try_out(engine: Engine) -> None:
    """Compute one token: a GPU that the library has no kernels for, or that computes garbage, is found out here."""
    if engine.name == "reference":
        return  # NumPy runs on the CPU only
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
