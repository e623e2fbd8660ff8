"""Helpers of the ComfyUI tests: a host with our pack loaded, and a graph of one node that is run."""
from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from fake_comfy import Comfy, Graph, install

from kgen_ext.cli import main
from kgen_ext.comfy import memory, png, routes
from kgen_ext.comfy.extension import make_extension

PROMPT = "(1girl:1.2),  fox ears, embedding:nice, <lora:ink:0.8>, {red|blue} kimono, a\\(b\\)"
# The inputs that `run` and `graph` give, and the places of a node's outputs.
GIVEN = {"prompt": PROMPT, "seed": 3, "tag_length": "very_short"}
EXPANSION, SOURCE, APPENDED, INFOTEXT = 4, 5, 6, 3
_SINGLETONS = (memory.shared_pool, memory._residence, png.written, routes.shared_tasks)


@pytest.fixture(autouse=True)
def fresh_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Begin and end without a loaded model, without remembered results and without models on this machine."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("KGEN_MODELS_DIR", raising=False)
    for value in _SINGLETONS:
        value.cache_clear()
    yield
    memory.shared_pool().close()
    for value in _SINGLETONS:
        value.cache_clear()


@pytest.fixture(name="host")
def new_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Comfy:
    """Return a new ComfyUI."""
    return install(monkeypatch, tmp_path / "models")


def load(host: Comfy) -> dict[str, Any]:
    """Load the pack as the host does, and return its nodes' classes by id."""
    extension = make_extension()
    if host.is_new:
        asyncio.run(extension.on_load())
    classes = asyncio.run(extension.get_node_list())
    return {cls.define_schema().node_id: cls for cls in classes}


def graph_of(host: Comfy, class_type: str = "KGenExpand", inputs: Mapping[str, Any] | None = None) -> Graph:
    """Return a graph of one node, whose id is 7."""
    return Graph({"7": {"class_type": class_type, "inputs": dict(inputs or {})}}, load(host))


def run_node(
    host: Comfy, class_type: str = "KGenExpand", *, linked: Mapping[str, Any] | None = None, **inputs: Any
) -> Any:
    """Run one node: its own inputs, and those that come over links."""
    links = {name: ["1", 0] for name in linked or {}}
    made = graph_of(host, class_type, inputs | links)
    made.check("7")
    return made.run("7", **(linked or {}))


def run(
    host: Comfy, class_type: str = "KGenExpand", *, linked: Mapping[str, Any] | None = None, **inputs: Any
) -> Any:
    """Run one node with the usual prompt, seed and length, unless others are given."""
    given = {} if class_type in ("KGenFormat", "KGenSampling") else GIVEN
    return run_node(host, class_type, linked=linked, **{**given, **inputs})


def graph(host: Comfy, **inputs: Any) -> Graph:
    """Return a graph of the node `run` runs."""
    return graph_of(host, inputs={**GIVEN, **inputs})


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return what `kgen expand` prints."""
    capsys.readouterr()
    assert main(["expand", *arguments]) == 0
    return capsys.readouterr().out
