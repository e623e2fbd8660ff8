"""Expansions in the metadata of ComfyUI's images, and what its cache is told by."""
from __future__ import annotations

import json
from typing import Any

import pytest
from comfy_kit import fresh_state, graph, load, new_host  # noqa: F401 - fixtures
from fake_comfy import Comfy, Graph


def test_the_fingerprint_follows_the_weights(host: Comfy, monkeypatch: pytest.MonkeyPatch) -> None:
    cls = load(host)["KGenExpand"]
    before = cls.fingerprint_inputs(model="starter", prompt=None)
    assert cls.fingerprint_inputs(model="starter", prompt="x") == before
    monkeypatch.setattr("kgen_ext.models.ModelFiles.checksum", lambda self: "another")
    assert cls.fingerprint_inputs(model="starter", prompt=None) != before


def test_an_expansion_is_in_the_image_s_metadata(host: Comfy) -> None:
    asked = graph(host)
    done = asked.run("7")
    assert asked.pnginfo == {"kgen": {"7": done.ui["kgen"]}}


def ask(host: Comfy, asked: Graph, **extra: Any) -> dict[str, Any]:
    """Send a graph to the server; return the metadata that its images get before any node runs."""
    request = {"prompt": json.loads(json.dumps(asked.prompt)), **extra}
    for handler in host.prompt_handlers:
        request = handler(request)
    return request.get("extra_data", {}).get("extra_pnginfo", {})


def test_an_expansion_from_the_host_s_cache_is_in_the_metadata_too(host: Comfy) -> None:
    asked = graph(host)
    done = asked.run("7")
    assert ask(host, asked) == {"kgen": {"7": done.ui["kgen"]}}


def test_the_page_that_asks_is_told_what_the_cache_holds(host: Comfy) -> None:
    asked = graph(host)
    done = asked.run("7")
    ask(host, asked, client_id="page")
    assert host.messages == [("kgen_written", {"7": done.ui["kgen"]}, "page")]


@pytest.mark.parametrize(("seed", "page"), [(9, {"client_id": "page"}), (3, {}), (3, {"client_id": None})])
def test_no_page_is_told_of_another_s_results_or_of_none(host: Comfy, seed: int, page: dict[str, Any]) -> None:
    asked = graph(host)
    asked.run("7")
    asked.prompt["7"]["inputs"]["seed"] = seed
    ask(host, asked, **page)
    assert host.messages == []


def test_numbers_that_the_host_converted_are_the_same_inputs(host: Comfy) -> None:
    asked = graph(host, temperature=1)
    asked.prompt["7"]["inputs"]["temperature"] = 1.0  # as the host's check leaves it
    asked.run("7")
    asked.prompt["7"]["inputs"]["temperature"] = 1
    assert ask(host, asked)["kgen"]


@pytest.mark.parametrize("change", ["own", "before"])
def test_other_inputs_are_another_expansion(host: Comfy, change: str) -> None:
    asked = graph(host)
    asked.prompt["1"] = {"class_type": "PrimitiveString", "inputs": {"value": "fox"}}
    asked.prompt["7"]["inputs"]["text"] = ["1", 0]
    asked.run("7", text="fox")
    changed = asked.prompt["7" if change == "own" else "1"]["inputs"]
    changed["seed" if change == "own" else "value"] = 9
    assert "kgen" not in ask(host, asked)


def test_the_workflow_in_the_image_has_it_too(host: Comfy) -> None:
    asked = graph(host)
    asked.pnginfo["workflow"] = {"nodes": []}
    done = asked.run("7")
    assert asked.pnginfo["workflow"]["extra"] == {"kgen": {"7": done.ui["kgen"]}}


def test_what_the_loaded_workflow_s_image_had_is_not_kept(host: Comfy) -> None:
    asked = graph(host)
    assert "kgen" not in ask(host, asked, extra_data={"extra_pnginfo": {"kgen": {"7": ["old"]}}})


def test_a_request_without_our_nodes_is_left_alone(host: Comfy) -> None:
    load(host)
    request = {"prompt": {"1": {"class_type": "KSampler", "inputs": {}}}}
    assert host.prompt_handlers[0](dict(request)) == request


def test_a_request_that_is_no_graph_is_left_alone(host: Comfy) -> None:
    load(host)
    assert host.prompt_handlers[0]({"prompt": 5}) == {"prompt": 5}
