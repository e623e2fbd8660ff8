"""Messages of ComfyUI's nodes: what is wrong where, and the way out."""
from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from comfy_kit import fresh_state, new_host, run  # noqa: F401 - fixtures
from fake_comfy import Comfy, Invalid

from kgen_ext.comfy.messages import NodeError


@pytest.mark.parametrize(("inputs", "linked", "says"), [
    ({"ban": "/(/"}, {}, "“Expand prompt”, “Banned tags”: "),
    ({"rules": "if hat"}, {}, "“Conditional rules”: "),
    ({"lock": "shoes"}, {}, "“Locked”: 'shoes' is not allowed (use hair, "),
    ({"lock": "shoes"}, {}, ", body, accessory, creature, camera)"),
    ({"allow": "foo"}, {}, "'foo' is not allowed (use artist, characters, copyrights, quality, rating, meta)"),
    ({"format": "custom", "template": "<|nosuch|>"}, {}, "“Template”: there is no slot <|nosuch|>"),
    ({"format": "custom"}, {}, "“Template”: '' is not allowed"),
    ({"temperature": -0.5}, {}, "“Temperature”: -0.5 is not allowed (use a number from 0 to 5)"),
    ({}, {"prompt": 5}, "“Prompt”: 5 is not allowed (use a string)"),
    ({}, {"seed": "x"}, "“Seed”: 'x' is not allowed (use a whole number)"),
    ({}, {"width": 8}, "“Width”: 8 is not allowed (use a whole number from 16 to 16384)"),
    ({}, {"sampling": 5}, "“Sampling options”: 5 is not allowed (use the output of a node “Sampling options”)"),
    ({}, {"model": 5}, "“Model”: 5 is not allowed"),
    ({}, {"device": "nosuch"}, "“Device”: 'nosuch' is not allowed"),
])  # fmt: skip
def test_a_message_names_the_node_the_input_and_the_way_out(
    host: Comfy, inputs: dict[str, Any], linked: dict[str, Any], says: str
) -> None:
    with pytest.raises(NodeError) as caught:
        run(host, linked=linked, **inputs)
    assert says in str(caught.value)


def test_a_wrong_link_into_the_format_node_is_named(host: Comfy) -> None:
    with pytest.raises(NodeError, match="“Format”, “Expansion”: 'text' is not allowed"):
        run(host, "KGenFormat", linked={"expansion": "text"})


def test_a_missing_model_is_told_before_the_graph_runs(host: Comfy) -> None:
    with pytest.raises(Invalid, match="“Expand prompt”, “Model”: TIPO-500M-ft is not installed"):
        run(host, model="TIPO-500M-ft")


def test_a_missing_model_over_a_link_is_told_when_the_node_runs(host: Comfy) -> None:
    with pytest.raises(NodeError, match="“Model”: TIPO-500M-ft is not installed"):
        run(host, linked={"model": "TIPO-500M-ft"})


def test_a_model_of_another_family_is_refused_by_dantaggen(host: Comfy) -> None:
    with pytest.raises(Invalid, match="“DanTagGen”, “Model”: 'starter' is not allowed"):
        run(host, "KGenDanTagGen", model="starter")


def test_a_path_is_no_model(host: Comfy, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="is not the name of a model"):
        run(host, model=str(tmp_path))


def test_an_empty_prompt_is_told_at_the_foot_of_the_node(host: Comfy) -> None:
    done = run(host, prompt="")
    assert done.args[1] and "“Prompt” is empty" in host.texts[-1][0]


def test_a_missing_package_is_named(host: Comfy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kgen_ext.service.expander", None)
    monkeypatch.delitem(sys.modules, "kgen_ext.service.expander")
    real = __import__

    def fail(name: str, *arguments: Any, **more: Any) -> Any:
        if name == "kgen_ext.service.expander":
            raise ModuleNotFoundError("No module named 'regex'", name="regex")
        return real(name, *arguments, **more)

    monkeypatch.setattr("builtins.__import__", fail)
    with pytest.raises(NodeError, match=r"“Expand prompt”: the package regex is missing .*pip install regex"):
        run(host)
