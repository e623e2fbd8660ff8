"""ComfyUI's way into KGen: this repository is a node pack, too. The WebUIs do not read this file.

Nothing is imported but the standard library, and nothing of ComfyUI's or ours before `comfy_entrypoint` is called:
pytest imports this file wherever the repository is.
"""
from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

WEB_DIRECTORY = "./kgen_ext/comfy/web"


async def comfy_entrypoint() -> Any:
    """Return the extension; ComfyUI calls this once, at its start."""
    _add_package(Path(__file__).parent / "kgen_ext")
    from kgen_ext.comfy.extension import make_extension

    return make_extension()


def _add_package(folder: Path) -> None:
    """Make the package importable by its name, without putting this folder on every pack's path."""
    if "kgen_ext" in sys.modules:
        return
    spec = spec_from_file_location("kgen_ext", folder / "__init__.py", submodule_search_locations=[str(folder)])
    assert spec is not None and spec.loader is not None
    module = sys.modules["kgen_ext"] = module_from_spec(spec)
    spec.loader.exec_module(module)
