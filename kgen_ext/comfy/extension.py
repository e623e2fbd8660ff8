"""The extension that ComfyUI loads: the nodes, the models folder, the routes, and what old workflows need."""
from __future__ import annotations

import importlib
from typing import Any

from kgen_ext.comfy import host
from kgen_ext.comfy.nodes import NODES
from kgen_ext.comfy.schema import make_class

# The versioned API first, as ComfyUI asks for it; `latest` where that version is gone.
_APIS = ("comfy_api.v0_0_2", "comfy_api.latest")


def find_api() -> Any:
    """Return the module of ComfyUI's node API."""
    for name in _APIS[:-1]:
        if (found := host.module(name)) is not None:
            return found
    return importlib.import_module(_APIS[-1])


def make_extension() -> Any:
    """Return the extension, and register what is not a node."""
    api = find_api()
    host.register_folder()
    if (server := host.server()) is not None:
        from kgen_ext.comfy.png import on_prompt
        from kgen_ext.comfy.routes import add_routes

        add_routes(server.routes)
        server.add_on_prompt_handler(on_prompt)
    replaces = hasattr(api.io, "NodeReplace")

    class KGenExtension(api.ComfyExtension):  # type: ignore[misc, name-defined]
        """The pack, as ComfyUI asks for it."""

        async def on_load(self) -> None:
            """Register the replacements of old nodes; ComfyUI 0.3.64 never calls this."""
            if replaces:
                from kgen_ext.comfy.old_nodes import register_replacements

                await register_replacements(api)

        async def get_node_list(self) -> list[type]:
            """Return the nodes, and those that stand in for old ones where there are no replacements."""
            found = list(NODES)
            if not replaces:
                from kgen_ext.comfy.old_nodes import STAND_INS

                installed = getattr(host.module("nodes"), "NODE_CLASS_MAPPINGS", {})
                found += [node for node in STAND_INS if node.id not in installed]
            return [make_class(node, api.io) for node in found]

    return KGenExtension()
