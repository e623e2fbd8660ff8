"""Opens an expander: finds the model, loads it in the first engine that runs it, and tells which protocol it speaks.

Which engines are tried, and in which order, is `choosing`'s to say; loading itself is the engines' business.
"""
from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kgen_ext.catalogue import STARTER, ModelFiles, Places, resolve
from kgen_ext.errors import BadValue, EngineError, Failure, ModelFileError
from kgen_ext.service.choosing import Attempt, plan_attempts, this_machine

if TYPE_CHECKING:
    from kgen_ext.engines.base import Engine
    from kgen_ext.protocol import Protocol
    from kgen_ext.service.expander import Expander

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
    places: Places | None = None,
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
    from kgen_ext.service.expander import Expander
    from kgen_ext.service.prepare import Speaker
    from kgen_ext.tags.blocklist import load_blocklist

    if engine != "auto" and engine not in ENGINES:
        raise BadValue("engine", engine, ("auto", *ENGINES))
    parse_device(device)
    if threads is not None and threads < 1:
        raise BadValue("threads", threads, "a whole number from 1")
    if rows < 1:
        raise BadValue("rows", rows, "a whole number from 1")
    entry = files.entry
    blocklist = load_blocklist(entry.blocklist) if entry and entry.blocklist else None
    attempts = plan_attempts(files, engine=engine, device=device, facts=this_machine())
    loaded, reason = _load(files, attempts, threads)
    protocol = protocol_of(loaded, files)
    speaker = Speaker(
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
    found = plan_attempts(files, engine=wanted, device=device, facts=this_machine())
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


def _load(files: ModelFiles, attempts: Sequence[Attempt], threads: int | None) -> tuple[Engine, str]:
    """Return the first engine that loads and runs, and why it is this one; raises the first failure when none does."""
    from kgen_ext import engines

    failures = list[tuple[Attempt, Failure]]()
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
