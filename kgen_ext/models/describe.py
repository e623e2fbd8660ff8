"""Descriptions of models, from the catalogue and the disk: rows, JSON values and lines of text.

The command and the WebUI's panel both show these.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from kgen_ext.errors import ModelFileError
from kgen_ext.models.progress import size_text
from kgen_ext.models.resolve import STARTER_FOLDER
from kgen_ext.models.scan import STARTER, FoundModel, choices, protocol_of_file
from kgen_ext.models.schema import Model

ModelRow = tuple[str, "Model | None", tuple[FoundModel, ...]]
_PROTOCOLS = {"tipo": "TIPO", "dtg": "DanTagGen"}
_PACKAGES = {"llama_cpp": "llama-cpp-python"}
_LENGTHS = {"tag_length": "tags", "text_length": "text"}


def model_rows(known: Sequence[Model], found: Sequence[FoundModel]) -> Iterator[ModelRow]:
    """Yield (id, catalogue entry, installed files) of every model, the catalogue's first."""
    for model in known:
        here = _starter(model) if model.id == STARTER else _same_id(found, model.id)
        yield model.id, model, here
    names = {model.id for model in known}
    for unknown in dict.fromkeys(installed.id for installed in found if installed.id not in names):
        yield unknown, None, _same_id(found, unknown)


def describe(model_id: str, model: Model | None, here: Sequence[FoundModel]) -> dict[str, Any]:
    """Return a model's facts as JSON values; `names` are those that `--model` takes."""
    recommended = asdict(model.recommended) if model else {}
    size = model.files[0].size or model.files[0].about if model else None
    if model_id == STARTER or size is None:
        size = here[0].size if here else None
    return {
        "id": model_id,
        "title": model.title if model else "",
        "protocol": model.protocol if model else _protocol(here),
        "parameters": model.parameters if model else None,
        "active": model.active if model else None,
        "context": model.context if model else None,
        "licence": model.licence if model else "",
        "licence_url": model.licence_url if model else "",
        "repo": model.repo if model else "",
        "engines": list(model.engines) if model else [],
        "needs": dict(model.needs) if model else {},
        "recommended": {key: value for key, value in recommended.items() if value is not None},
        "blocklist": model.blocklist.name if model and model.blocklist else "",
        "notes": model.notes if model else "",
        "names": list(choices(here)) if model_id != STARTER else [STARTER],
        "shown_size": size_text(size),
        "shown_installed": _installed(model_id, here),
        "files": [
            {"variant": file.variant, "path": file.path, "size": file.size, "about": file.about, "sha256": file.sha256}
            for file in (model.files if model and model_id != STARTER else ())
        ],
        "installed": [
            {
                "variant": file.variant, "path": str(file.path), "size": file.size, "ours": file.ours,
                "problem": file.problem,
            }
            for file in here
        ],
    }


def info_lines(model_id: str, model: Model | None, here: Sequence[FoundModel]) -> list[tuple[str, str]]:
    """Return (label, text) lines about a model; a line without a label continues the one above."""
    facts = describe(model_id, model, here)
    lines = [("Name", model_id), ("", facts["title"]), ("Protocol", _PROTOCOLS.get(facts["protocol"] or "", "unknown"))]
    if facts["parameters"]:
        active = f", {facts['active'] / 1e6:,.0f} million of them for a token" if facts["active"] else ""
        lines.append(("Parameters", f"{facts['parameters'] / 1e6:,.0f} million{active}"))
    if facts["context"]:
        lines.append(("Context", f"{facts['context']} tokens"))
    if facts["licence"]:
        lines.append(("Licence", f"{facts['licence']} {facts['licence_url']}".strip()))
    if facts["recommended"]:
        values = facts["recommended"].items()
        shown = {key: f"{value:g}" if isinstance(value, (int, float)) else value for key, value in values}
        named = (f"{_LENGTHS.get(key, key.replace('_', '-'))} {value}" for key, value in shown.items())
        lines.append(("Recommended", ", ".join(named)))
    if facts["blocklist"]:
        lines.append(("Banned words", f"those of {facts['blocklist']}"))
    if facts["engines"]:
        needs = [f"{_PACKAGES.get(name, name)} {least} or later" for name, least in facts["needs"].items()]
        lines.append(("Engines", ", ".join(facts["engines"]) + (f" ({', '.join(needs)})" if needs else "")))
    for number, file in enumerate(model.files if model and model.repo else ()):
        text = f"{model_id}:{file.variant}  {size_text(file.size or file.about)}  {file.path}"
        lines.append(("To download" if number == 0 else "", text))
    for number, installed in enumerate(here):
        whose = "" if installed.ours or model_id == STARTER else ", not ours: only read"
        text = f"{installed.name}  {size_text(installed.size)}  {installed.path}{whose}"
        lines.append(("Installed" if number == 0 else "", installed.problem or text))
    if not here:
        lines.append(("Installed", f"no: kgen models download {model_id}"))
    if facts["notes"]:
        lines.append(("Notes", facts["notes"]))
    return [line for line in lines if line[1]]


def _same_id(found: Sequence[FoundModel], model_id: str) -> tuple[FoundModel, ...]:
    return tuple(installed for installed in found if installed.id == model_id)


def _installed(model_id: str, here: Sequence[FoundModel]) -> str:
    if model_id == STARTER:
        return "ships with KGen"
    good = ", ".join(file.variant or "yes" for file in here if not file.problem)
    return good or ("refused" if here else "-")


def _protocol(here: Sequence[FoundModel]) -> str | None:
    """Return the protocol of a model's first usable file."""
    for file in here:
        if not file.problem:
            try:
                return protocol_of_file(file.path)
            except ModelFileError:
                return None  # `kgen models verify` says what is wrong with it
    return None


def _starter(model: Model) -> tuple[FoundModel, ...]:
    path = STARTER_FOLDER / model.files[0].path
    return (FoundModel(STARTER, model.files[0].variant, path, path.stat().st_size, model),)
