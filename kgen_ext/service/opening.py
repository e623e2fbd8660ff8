"""Opens an expander: finds the model, chooses the engine, and tells which protocol the model speaks.

The only place that knows which engine suits which files; loading itself is the engines' business.
"""
from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from kgen_ext.catalogue import STARTER, ModelFiles, Places, resolve
from kgen_ext.errors import BadValue, Failure, ModelFileError

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
    resident: bool = False,
) -> Expander:
    """Load a model and return an expander; use it as a context manager or call its `close`.

    model: "starter", a folder with model.safetensors, or a .gguf file. engine: auto, reference, transformers or
    llama_cpp; auto takes the best that runs here, and the next where that one fails on these weights (`reason` of the
    expander tells). threads: None for the library's own choice. rows: prompts decoded at once. places: where models
    may be installed, None for the command's own. resident: it will be kept, so speed counts more than a quick start.
    Raises UnknownModel, BadValue, ModelFileError, EngineUnavailable.
    """
    # A host that starts up with this package imported pays for the decoder when it first expands, not before.
    from kgen_ext.engines import ENGINES
    from kgen_ext.service.expander import Expander
    from kgen_ext.service.prepare import Speaker

    if engine != "auto" and engine not in ENGINES:
        raise BadValue("engine", engine, ("auto", *ENGINES))
    if threads is not None and threads < 1:
        raise BadValue("threads", threads, "a whole number from 1")
    if rows < 1:
        raise BadValue("rows", rows, "a whole number from 1")
    files = resolve(model, places=places)
    loaded, reason = _load(files, choose_engines(files, engine, resident=resident), device, threads)
    protocol = protocol_of(loaded, files)
    speaker = Speaker(
        engine=loaded,
        protocol=protocol,
        # Of the DanTagGen family only delta and delta-rev2 were trained with the line.
        quality_line=files.entry.quality_line if files.entry else "delta" in files.id.lower(),
        n_ctx=min(loaded.n_ctx, (files.entry and files.entry.context) or _TRAINED_CTX[protocol.value]),
    )
    return Expander(speaker, model=files.id, checksum=files.checksum(), rows=rows, reason=reason)


def choose_engines(files: ModelFiles, wanted: str, *, resident: bool = False) -> list[tuple[str, str]]:
    """Return the engines to try, best first, each with the reason.

    The starter is small enough that NumPy is the quickest to start; where it stays loaded, and for anything larger,
    llama.cpp is the quickest to write, then torch.
    """
    if wanted != "auto":
        return [(wanted, "as asked for")]
    from kgen_ext.engines import available_engines

    able = [("llama_cpp", "the model has a GGUF, and llama.cpp is the quickest to write")] if files.gguf else []
    if files.folder:
        able.append(("transformers", "the model has safetensors, and torch is installed"))
        able.append(("reference", "the model has safetensors, and NumPy needs nothing else"))
    if files.entry is not None and files.id != STARTER:
        able = [one for one in able if one[0] in files.entry.engines] or able
    if files.id == STARTER:
        able.sort(key=lambda one: one[0] != "reference")
        able[0] = ("reference", "the starter is small, and NumPy is the quickest to start")
        if resident:
            able.sort(key=lambda one: ("llama_cpp", "reference", "transformers").index(one[0]))
    usable = {name for name, ok, _ in available_engines() if ok}
    return [one for one in able if one[0] in usable] or able[:1]


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


def _load(
    files: ModelFiles, choices: list[tuple[str, str]], device: str, threads: int | None
) -> tuple[Engine, str]:
    """Return the first engine that loads, and why it is this one; raises the first failure when none does."""
    from kgen_ext.engines import load_engine

    failures = list[Failure]()
    for name, reason in choices:
        try:
            engine = load_engine(name, folder=files.folder, gguf=files.gguf, device=device, threads=threads)
        except Failure as error:  # another library may still run the same weights
            failures.append(error)
            continue
        if failures:
            reason = f"{choices[0][0]} failed: {failures[0]}"
            _LOG.warning("%s: %s runs it, because %s", files.id, name, reason)
        return engine, reason
    raise failures[0]
