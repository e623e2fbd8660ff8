"""Access to ComfyUI: its model folders, server, progress, and the user's interrupt.

Its modules are imported when they are needed, so importing this loads nothing. Every name was checked in ComfyUI 0.3.64
and 0.33.0.
"""
from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kgen_ext.models import Locations

FOLDER = "kgen"
LOG = logging.getLogger("kgen")


def module(name: str) -> ModuleType | None:
    """Return a library by its name, None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def register_folder() -> None:
    """Tell ComfyUI of the folder models/kgen, so that other packs and the user's own paths know it."""
    import folder_paths

    folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir) / FOLDER))
    # Without this every file counts as a model.
    folders, _ = folder_paths.folder_names_and_paths[FOLDER]
    folder_paths.folder_names_and_paths[FOLDER] = (folders, {".gguf", ".safetensors"})


def locations() -> Locations:
    """Return where models may be: models/kgen, what extra_model_paths.yaml adds, other packs' folders, the hub's cache.

    KGEN_MODELS_DIR takes the place of models/kgen for downloads.
    """
    import folder_paths

    from kgen_ext.models import Locations

    packs = [Path(path) for path in folder_paths.get_folder_paths("custom_nodes")]
    found = Locations.for_webui(models=Path(folder_paths.models_dir), extensions=packs)
    listed, _ = folder_paths.folder_names_and_paths.get(FOLDER, ([], set()))
    more = dict.fromkeys((*found.more, *(Path(path) for path in listed)))
    return replace(found, more=tuple(folder for folder in more if folder != found.own))


def server() -> Any:
    """Return ComfyUI's server, None before it is made."""
    from server import PromptServer

    return getattr(PromptServer, "instance", None)


def show_text(text: str, node: str | None) -> None:
    """Show a text at the foot of a node, in place of the last one."""
    if node is not None and (running := server()) is not None:
        running.send_progress_text(text.encode("utf-8", "replace"), node)  # a lone surrogate cannot be sent


def send_written(entries: Mapping[str, Any], page: str) -> None:
    """Tell a page what nodes wrote: their entries by the nodes' ids."""
    if (running := server()) is not None:
        running.send_sync("kgen_written", entries, page)


def progress_bar(total: int, node: str | None) -> Any:
    """Return a bar on a node; `update_absolute` moves it."""
    from comfy.utils import ProgressBar

    return ProgressBar(total, node_id=node)


def interrupted() -> bool:
    """Return whether the user asked to stop."""
    from comfy.model_management import processing_interrupted

    return bool(processing_interrupted())


def stop_if_interrupted() -> None:
    """Raise ComfyUI's own exception if the user asked to stop."""
    from comfy.model_management import throw_exception_if_processing_interrupted

    throw_exception_if_processing_interrupted()
