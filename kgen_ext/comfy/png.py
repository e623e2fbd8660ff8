"""Expansions in the metadata of an image: `kgen` in the PNG, beside ComfyUI's `prompt` and `workflow`.

    {NODE: [entry, ...]}      entries as in `kgen_ext.comfy.results`; the workflow has them, too, as its `extra.kgen`

A node that runs adds its own. One that comes from ComfyUI's cache does not run, so what it last wrote is added before
the graph runs (ComfyUI asks `on_prompt` at every request). It is found again by the node's inputs and those of all
nodes before it, as ComfyUI's cache finds its outputs.
"""
from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

from kgen_ext.comfy import host
from kgen_ext.once import once

KEY = "kgen"
_REMEMBERED = 256  # nodes' results
# What the ids of our nodes begin with, those of other packs' that we stand in for included.
_OURS = ("KGen", "TIPO", "DanTagGen")


class Written:
    """What nodes wrote, by node and inputs. Thread-safe: the server asks in one thread, nodes run in another."""

    def __init__(self, size: int = _REMEMBERED) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, Sequence[Any]] = OrderedDict()

    def put(self, key: str, entries: Sequence[Any]) -> None:
        """Remember what a node wrote."""
        with self._lock:
            self._entries[key] = entries
            self._entries.move_to_end(key)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)

    def get(self, key: str) -> Sequence[Any] | None:
        """Return what a node wrote with these inputs, None where it has not run."""
        with self._lock:
            return self._entries.get(key)


@once
def written() -> Written:
    """Return what the nodes of this process wrote."""
    return Written()


def remember(entries: Sequence[Any], *, node: Any, graph: Any, pnginfo: Any) -> None:
    """Put a node's entries into the image's metadata, and remember them for the time that it comes from the cache."""
    for place in _places(pnginfo):
        kept = place.setdefault(KEY, {})
        if isinstance(kept, dict):
            kept[str(node)] = list(entries)
    if isinstance(graph, Mapping) and str(node) in graph:
        written().put(signature(str(node), graph), entries)


def on_prompt(request: Any) -> Any:
    """Add what our nodes last wrote with the same inputs to a request's metadata, and return the request.

    The page that asks is told, too: a new one does not know it, and ComfyUI 0.3.64 tells it nothing of a cached node.
    """
    graph = request.get("prompt") if isinstance(request, dict) else None
    if not isinstance(graph, Mapping):
        return request
    ours = [str(node) for node, row in graph.items() if isinstance(row, Mapping) and _is_ours(row.get("class_type"))]
    if not ours:
        return request
    last = {node: written().get(signature(node, graph)) for node in ours}
    found = {node: list(entries) for node, entries in last.items() if entries is not None}
    extra = request.setdefault("extra_data", {})
    # A client of the API need not send any; without it nothing reaches the image.
    for place in _places(extra.setdefault("extra_pnginfo", {}) if isinstance(extra, dict) else None):
        place.pop(KEY, None)  # of the image that the workflow came from
        if found:
            place[KEY] = dict(found)
    if found and isinstance(page := request.get("client_id"), str):
        host.send_written(found, page)
    return request


def signature(node: str, graph: Mapping[str, Any]) -> str:
    """Return a digest of a node's id, its inputs, and those of all nodes before it."""
    seen = set[str]()
    waiting = [node]
    while waiting:
        name = waiting.pop()
        row = graph.get(name)
        if name in seen or not isinstance(row, Mapping):
            continue
        seen.add(name)
        inputs = row.get("inputs")
        values = inputs.values() if isinstance(inputs, Mapping) else ()
        waiting += [str(value[0]) for value in values if isinstance(value, list) and len(value) == 2]
    rows = [[name, graph[name].get("class_type"), _plain(graph[name].get("inputs"))] for name in sorted(seen)]
    return sha256(json.dumps([node, rows], sort_keys=True, default=str).encode()).hexdigest()


def _places(pnginfo: Any) -> Iterator[dict[str, Any]]:
    """Yield where entries belong: the metadata itself, and the extras of the workflow in it."""
    if isinstance(pnginfo, dict):
        yield pnginfo
        workflow = pnginfo.get("workflow")
        extra = workflow.setdefault("extra", {}) if isinstance(workflow, dict) else None
        if isinstance(extra, dict):
            yield extra


def _is_ours(class_type: object) -> bool:
    return isinstance(class_type, str) and class_type.startswith(_OURS)


def _plain(value: Any) -> Any:
    """Return a value as it was before ComfyUI checked it: it makes 1.0 of a 1, and takes lists out of their wrapper."""
    if isinstance(value, Mapping):
        if "__value__" in value:
            return _plain(value["__value__"])
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
