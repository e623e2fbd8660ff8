"""Content of the models panel: a row for each model, the files of the chosen one, its details, the buttons to show.

    starter · 10 MB · Apache-2.0 · ships with KGen
    TIPO-v2.1-1B-A200M · 1.07 GB · Kohaku License 1.0 · the best that runs here
    TIPO-500M-ft · 1.02 GB · Kohaku License 1.0 · installed: F16
    my-tune · 812 MB · your own file
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kgen_ext.models.describe import ModelRow, model_rows
from kgen_ext.models.needs import Machine, best_file, best_model, fit
from kgen_ext.models.progress import size_text
from kgen_ext.models.scan import STARTER, FoundModel
from kgen_ext.webui.models_html import facts_html

if TYPE_CHECKING:
    from kgen_ext.models import Model, ModelFile

Choices = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class PanelView:
    """Content for a chosen model. models, files: text and value of each choice; a file's value is its full name.

    download: text of the button, "" where there is nothing to download.
    """

    models: Choices
    model: str
    files: Choices
    file: str
    facts: str
    download: str
    verify: bool
    remove: bool


def panel_view(name: str, *, known: Sequence[Model], found: Sequence[FoundModel], machine: Machine) -> PanelView:
    """Return the content for a model or one of its files by name; for an unknown one, for the best that runs here."""
    rows = {row[0]: row for row in model_rows(known, found)}
    best = best_model(known, machine)
    model_id = name.partition(":")[0]
    if model_id not in rows:
        model_id = best[0].id if best else next(iter(rows))
    model, here = rows[model_id][1:]
    files = dict(_files(model_id, model, here))
    chosen = name if name in files else _first_file(model_id, model, here, machine)
    file = model.file(chosen.partition(":")[2]) if model and model.repo else None
    installed = next((found for found in here if found.name == chosen), None)
    usable = installed is not None and not installed.problem
    return PanelView(
        models=tuple((row_text(row, machine, best=best is not None and best[0].id == row[0]), row[0])
                     for row in rows.values()),
        model=model_id,
        files=tuple((text, value) for value, text in files.items()),
        file=chosen,
        facts=facts_html(rows[model_id], fit(model, file, machine) if model and file else None),
        download=f"Download {size_text(file.size or file.about)}" if file and not usable else "",
        verify=installed is not None and model_id != STARTER,
        remove=installed is not None and installed.ours,
    )  # fmt: skip


def row_text(row: ModelRow, machine: Machine, *, best: bool) -> str:
    """Return a model's row: its name, size and licence, and whether it is installed, runs here or needs something."""
    model_id, model, here = row
    file = (best_file(model, machine) or model.files[0]) if model else None
    installed = [found for found in here if not found.problem]
    size = (file.size or file.about) if file and model and model.repo else sum(found.size for found in here)
    parts = [model_id, size_text(size or None)]
    if model is not None and (model.licence or model.repo):
        parts.append(model.licence or "licence unknown")
    if model_id == STARTER:
        parts.append("ships with KGen")
    elif here and not installed:
        parts.append("refused")
    elif model is None or not model.repo:
        parts.append("your own file" if here else "your own file, not found")
    elif installed:
        parts.append("installed: " + ", ".join(found.variant for found in installed))
    elif file is not None:
        needs = fit(model, file, machine).needs
        parts.append(f"needs {needs}" if needs else "the best that runs here" if best else "runs here")
    return " · ".join(parts)


def _files(model_id: str, model: Model | None, here: Sequence[FoundModel]) -> Choices:
    """Return (name, text) of each file that can be downloaded, then of the other installed ones."""
    if model_id == STARTER:
        return ()
    installed = {found.name: found for found in here}
    offered = {f"{model_id}:{file.variant}": file for file in (model.files if model and model.repo else ())}
    names = dict.fromkeys((*offered, *installed))
    return tuple((name, _file_text(name, offered.get(name), installed.get(name))) for name in names)


def _file_text(name: str, file: ModelFile | None, installed: FoundModel | None) -> str:
    known = None if file is None else file.size or file.about
    size = size_text(installed.size if installed else known)
    state = "" if installed is None else ", refused" if installed.problem else ", installed"
    return f"{name.partition(':')[2] or name}, {size}{state}"


def _first_file(model_id: str, model: Model | None, here: Sequence[FoundModel], machine: Machine) -> str:
    """Return the name of the file to choose first: an installed one, else the first that runs here."""
    if model_id == STARTER:
        return STARTER
    if here:
        return here[0].name
    file = None if model is None else best_file(model, machine) or model.files[0]
    return model_id if file is None else f"{model_id}:{file.variant}"
