"""Opens an expander: finds the model, chooses the engine, and tells which protocol the model speaks.

The only place that knows which engine suits which files; loading itself is the engines' business.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from kgen_ext.catalogue import STARTER, ModelFiles, resolve
from kgen_ext.errors import BadValue, EngineUnavailable, ModelFileError

if TYPE_CHECKING:
    from kgen_ext.engines.base import Engine
    from kgen_ext.protocol import Protocol
    from kgen_ext.service.expander import Expander

# Prompts decoded at once; more gain little on a CPU and take memory.
ROWS = 16
# Tokens of the longest texts each family was trained on (model cards); more is out of distribution.
_TRAINED_CTX = {"tipo": 1024, "dtg": 512}


def open_expander(
    *,
    model: str = STARTER,
    engine: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    rows: int = ROWS,
) -> Expander:
    """Load a model and return an expander; use it as a context manager or call its `close`.

    model: "starter", a folder with model.safetensors, or a .gguf file. engine: auto, reference, transformers or
    llama_cpp. threads: None for the library's own choice. rows: prompts decoded at once.
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
    files = resolve(model)
    loaded = _load(files, engine, device, threads)
    protocol = protocol_of(loaded, files)
    speaker = Speaker(
        engine=loaded,
        protocol=protocol,
        # Of the DanTagGen family only delta and delta-rev2 were trained with the line.
        quality_line="delta" in files.id.lower(),
        n_ctx=min(loaded.n_ctx, _TRAINED_CTX[protocol.value]),
    )
    return Expander(speaker, model=files.id, checksum=files.checksum(), rows=rows)


def choose_engines(files: ModelFiles, wanted: str) -> list[str]:
    """Return the engines to try, best first.

    The starter is small enough that NumPy is the quickest to start; anything larger is llama.cpp's or torch's.
    """
    if wanted != "auto":
        return [wanted]
    from kgen_ext.engines import available_engines

    able = [name for name in ("llama_cpp",) if files.gguf] + (["transformers", "reference"] if files.folder else [])
    if files.id == STARTER:
        able.sort(key=lambda name: name != "reference")
    usable = {name for name, ok, _ in available_engines() if ok}
    return [name for name in able if name in usable] or able[:1]


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


def _load(files: ModelFiles, wanted: str, device: str, threads: int | None) -> Engine:
    from kgen_ext.engines import load_engine

    def load(name: str) -> Engine:
        return load_engine(name, folder=files.folder, gguf=files.gguf, device=device, threads=threads)

    *others, last = choose_engines(files, wanted)
    for name in others:
        try:
            return load(name)
        except EngineUnavailable:
            continue  # the next can run the same weights
    return load(last)
