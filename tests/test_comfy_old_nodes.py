"""Saved workflows of z-tipo-extension and of the older DanTagGen node: replacements, and nodes that stand in."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from comfy_kit import fresh_state, load, run_node  # noqa: F401 - a fixture
from fake_comfy import OLD, Comfy, Invalid, install

from kgen_ext.comfy.nodes import NODES
from kgen_ext.comfy.old_nodes import REPLACEMENTS, STAND_INS, Replacement

BY_ID = {node.id: node for node in (*NODES, *STAND_INS)}
# A TIPO node as z-tipo-extension's own example saves it, but for the model.
TIPO: dict[str, Any] = {
    "tags": "1girl, fox ears", "nl_prompt": "", "ban_tags": "hat", "tipo_model": "starter",
    "format": "<|special|>, \n<|characters|>, <|copyrights|>, \n<|artist|>, \n\n<|general|>,\n\n<|extended|>.\n\n"
              "<|quality|>, <|meta|>, <|rating|>",
    "width": 1024, "height": 1024, "temperature": 0.5, "top_p": 0.95, "min_p": 0.05, "top_k": 80,
    "tag_length": "short", "nl_length": "very_short", "seed": 1234, "device": "cuda",
}  # fmt: skip


@pytest.fixture
def new(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Comfy:
    return install(monkeypatch, tmp_path / "models")


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Comfy:
    return install(monkeypatch, tmp_path / "models", version=OLD)


def run(host: Comfy, class_type: str, inputs: dict[str, Any], **linked: Any) -> Any:
    return run_node(host, class_type, linked=linked, **inputs)


# Replacements.


def test_each_old_node_has_a_replacement_where_the_host_can(new: Comfy) -> None:
    load(new)
    assert [row.old_node_id for row in new.replacements] == ["TIPO", "TIPOOperation", "TIPOFormat", "DanTagGen"]


def test_no_node_stands_in_where_there_are_replacements(new: Comfy) -> None:
    assert not {"TIPO", "TIPOOperation", "TIPOFormat", "DanTagGen"} & set(load(new))


@pytest.mark.parametrize("row", REPLACEMENTS, ids=lambda row: row.old)
def test_what_it_maps_to_is_there(row: Replacement) -> None:
    node = BY_ID[row.new]
    assert {*row.inputs.values(), *row.values} <= {known.id for known in node.inputs}
    assert max(row.outputs.values()) < len(node.outputs)


@pytest.mark.parametrize("row", REPLACEMENTS, ids=lambda row: row.old)
def test_every_output_is_mapped_as_the_page_leaves_the_links_of_others_in_place(row: Replacement) -> None:
    [stand_in] = [node for node in STAND_INS if node.id == row.old]
    assert sorted(row.outputs) == list(range(len(stand_in.outputs)))


@pytest.mark.parametrize("row", REPLACEMENTS, ids=lambda row: row.old)
def test_of_two_outputs_for_one_place_the_first_is_mapped_last(row: Replacement) -> None:
    last = {new: old for old, new in row.outputs.items()}
    assert all(last[new] <= old for old, new in row.outputs.items())


@pytest.mark.parametrize("row", REPLACEMENTS, ids=lambda row: row.old)
def test_an_input_is_mapped_or_set_but_not_both(row: Replacement) -> None:
    assert not set(row.inputs.values()) & set(row.values)


def test_a_saved_tipo_has_sixteen_values(new: Comfy) -> None:
    load(new)
    assert len(new.replacements[0].old_widget_ids) == 16


def replaced(new: Comfy, inputs: dict[str, Any], row: Replacement) -> dict[str, Any]:
    """Return the inputs of the new node, as the host makes them of the old one's."""
    load(new)
    [rule] = [rule for rule in new.replacements if rule.old_node_id == row.old]
    return {
        mapping["new_id"]: mapping["set_value"] if "set_value" in mapping else inputs[mapping["old_id"]]
        for mapping in rule.input_mapping
    }


def test_a_replaced_tipo_runs(new: Comfy) -> None:
    done = run(new, "KGenExpand", replaced(new, TIPO, REPLACEMENTS[0]))
    assert "1girl, fox ears" in done.args[0]


def test_the_model_s_old_name_is_understood(new: Comfy) -> None:
    inputs = replaced(new, {**TIPO, "tipo_model": "KBlueLeaf/TIPO-500M-ft | TIPO-500M-ft-F16.gguf"}, REPLACEMENTS[0])
    with pytest.raises(Invalid, match="“Model”: TIPO-500M-ft is not installed"):
        run(new, "KGenExpand", inputs)


@pytest.mark.parametrize(("name", "found"), [
    ("KBlueLeaf/TIPO-500M | TIPO-500M_epoch5-F16.gguf", "TIPO-500M"), ("KBlueLeaf/TIPO-500M-ft", "TIPO-500M-ft"),
    ("KBlueLeaf/TIPO-v2.1-1B-A200M | TIPO-v2.1-1B-A200M-f16.gguf", "TIPO-v2.1-1B-A200M:F16"),
])  # fmt: skip
def test_a_repository_s_name_is_the_model_s(new: Comfy, name: str, found: str) -> None:
    with pytest.raises(Invalid, match=f"“Model”: {found} is not installed"):
        run(new, "KGenExpand", {"prompt": "fox", "model": name})


@pytest.mark.parametrize(("operation", "task"), [
    ("None", "tag"), ("tag_to_short", "tag_to_short_to_long"), ("tag_to_long_to_short", "tag_to_long"),
    ("short_to_tag", "short_to_tag"),
])  # fmt: skip
def test_an_operation_s_name_is_a_task_s(new: Comfy, operation: str, task: str) -> None:
    inputs = {"prompt": "1girl, fox ears", "text": "A fox.", "text_length": "very_short", "seed": 1}
    old, new_name = (run(new, "KGenTask", {**inputs, "task": name}).args[0] for name in (operation, task))
    assert old == new_name


def test_an_unknown_operation_is_told_before_the_graph_runs(new: Comfy) -> None:
    with pytest.raises(Invalid, match="“Run task”, “Task”: 'nosuch' is not allowed"):
        run(new, "KGenTask", {"prompt": "fox", "task": "nosuch"})


# Nodes that stand in.


def test_tipo_stands_in_where_there_are_no_replacements(old: Comfy) -> None:
    done = run(old, "TIPO", TIPO)
    assert done.args[1] == "1girl, fox ears" and done.args[0] != done.args[2]


def test_a_stand_in_is_what_the_replacement_is(old: Comfy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = run(old, "TIPO", TIPO).args[0]
    new = install(monkeypatch, tmp_path / "models")
    assert run(new, "KGenExpand", replaced(new, TIPO, REPLACEMENTS[0])).args[0] == before


def test_a_format_without_sentences_writes_none(old: Comfy) -> None:
    done = run(old, "TIPO", {**TIPO, "format": "<|special|>, <|general|>"})
    assert done.ui["kgen"][0]["text"] == ""


def test_an_operation_and_a_format_work_together(old: Comfy) -> None:
    values = {name: value for name, value in TIPO.items() if name != "format"}
    lists = run(old, "TIPOOperation", {**values, "operation": "tag_to_long"}).args
    done = run(old, "TIPOFormat", {"format": TIPO["format"]}, full_output=lists[0], addon_output=lists[1])
    assert done.args[1] == "1girl, fox ears"


def test_the_old_dantaggen_names_the_model_it_needs(old: Comfy) -> None:
    inputs = {"prompt": "1girl", "ban_tags": "", "format": "<|special|>, <|general|>", "width": "512",
              "height": "512", "temperature": 1.35, "tag_length": "long", "seed": 1}  # fmt: skip
    with pytest.raises(Exception, match=r"DanTagGen.* is not installed \(press “Download model”"):
        run(old, "DanTagGen", inputs)


def test_a_pack_that_is_installed_keeps_its_node(old: Comfy) -> None:
    old.modules["nodes"].NODE_CLASS_MAPPINGS["TIPO"] = object
    assert "TIPO" not in load(old) and "TIPOFormat" in load(old)


@pytest.mark.parametrize("node", STAND_INS, ids=lambda node: node.id)
def test_a_stand_in_is_marked_as_deprecated(old: Comfy, node: Any) -> None:
    assert load(old)[node.id].define_schema().is_deprecated


def test_a_missing_model_of_a_stand_in_is_told_before_the_graph_runs(old: Comfy) -> None:
    with pytest.raises(Invalid, match="“TIPO”, “Model”: TIPO-500M-ft is not installed"):
        run(old, "TIPO", {**TIPO, "tipo_model": "KBlueLeaf/TIPO-500M-ft | TIPO-500M-ft-F16.gguf"})

