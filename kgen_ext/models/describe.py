"""What the catalogue and the disk say about a model, as rows, JSON and lines for people.

Refuses to print and to decide: the command and the WebUI's panel show the same facts from here.
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

Row = tuple[str, "Model | None", tuple[FoundModel, ...]]
_PROTOCOLS = {"tipo": "TIPO", "dtg": "DanTagGen"}
_PACKAGES = {"llama_cpp": "llama-cpp-python"}
_RECOMMENDED = {"temperature": "temperature", "top_k": "top-k", "top_p": "top-p", "min_p": "min-p",
                "tag_length": "tags", "text_length": "text"}  # fmt: skip


def model_rows(known: Sequence[Model], found: Sequence[FoundModel]) -> Iterator[Row]:
    """Return (id, what the catalogue says, what is installed) of every model, the catalogue's first."""
    for model in known:
        here = _starter(model) if model.id == STARTER else tuple(one for one in found if one.id == model.id)
        yield model.id, model, here
    names = {model.id for model in known}
    for unknown in dict.fromkeys(one.id for one in found if one.id not in names):
        yield unknown, None, tuple(one for one in found if one.id == unknown)


def describe(model_id: str, model: Model | None, here: Sequence[FoundModel]) -> dict[str, Any]:
    """Return a model's facts as JSON values; `names` are what `--model` takes."""
    size = model.files[0].size or model.files[0].about if model else None
    if model_id == STARTER or size is None:
        size = here[0].size if here else None
    return {
        "id": model_id,
        "title": model.title if model else "",
        "protocol": model.protocol if model else _told(here),
        "parameters": model.parameters if model else None,
        "context": model.context if model else None,
        "licence": model.licence if model else "",
        "licence_url": model.licence_url if model else "",
        "repo": model.repo if model else "",
        "engines": list(model.engines) if model else [],
        "needs": dict(model.needs) if model else {},
        "recommended": {key: one for key, one in asdict(model.recommended).items() if one is not None} if model else {},
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
            {"variant": one.variant, "path": str(one.path), "size": one.size, "ours": one.ours, "problem": one.problem}
            for one in here
        ],
    }


def info_lines(model_id: str, model: Model | None, here: Sequence[FoundModel]) -> list[tuple[str, str]]:
    """Return (label, text) lines on a model; without a label a line goes on."""
    told = describe(model_id, model, here)
    lines = [("Name", model_id), ("", told["title"]), ("Speaks", _PROTOCOLS.get(told["protocol"] or "", "unknown"))]
    if told["parameters"]:
        lines.append(("Parameters", f"{told['parameters'] / 1e6:,.0f} million"))
    if told["context"]:
        lines.append(("Context", f"{told['context']} tokens"))
    if told["licence"]:
        lines.append(("Licence", f"{told['licence']} {told['licence_url']}".strip()))
    if told["recommended"]:
        shown = {key: f"{one:g}" if isinstance(one, (int, float)) else one for key, one in told["recommended"].items()}
        lines.append(("Recommended", ", ".join(f"{_RECOMMENDED[key]} {one}" for key, one in shown.items())))
    if told["blocklist"]:
        lines.append(("Never writes", f"the words of {told['blocklist']}"))
    if told["engines"]:
        needs = [f"{_PACKAGES.get(name, name)} {least} or later" for name, least in told["needs"].items()]
        lines.append(("Engines", ", ".join(told["engines"]) + (f" ({', '.join(needs)})" if needs else "")))
    for number, file in enumerate(model.files if model and model.repo else ()):
        text = f"{model_id}:{file.variant}  {size_text(file.size or file.about)}  {file.path}"
        lines.append(("To download" if number == 0 else "", text))
    for number, one in enumerate(here):
        whose = "" if one.ours or model_id == STARTER else ", not ours: only read"
        text = f"{one.name}  {size_text(one.size)}  {one.path}{whose}"
        lines.append(("Installed" if number == 0 else "", one.problem or text))
    if not here:
        lines.append(("Installed", f"no: kgen models download {model_id}"))
    if told["notes"]:
        lines.append(("Notes", told["notes"]))
    return [line for line in lines if line[1]]


def _installed(model_id: str, here: Sequence[FoundModel]) -> str:
    if model_id == STARTER:
        return "ships with KGen"
    good = ", ".join(one.variant or "yes" for one in here if not one.problem)
    return good or ("refused" if here else "-")


def _told(here: Sequence[FoundModel]) -> str | None:
    """Return the protocol that a model's own file tells."""
    for one in here:
        if not one.problem:
            try:
                return protocol_of_file(one.path)
            except ModelFileError:
                return None  # `verify` says what is wrong with it
    return None


def _starter(model: Model) -> tuple[FoundModel, ...]:
    size = sum(path.stat().st_size for path in STARTER_FOLDER.glob("*.safetensors"))
    return (FoundModel(STARTER, "safetensors", STARTER_FOLDER, size, model),)
