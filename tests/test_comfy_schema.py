"""Schemas of ComfyUI's nodes in both versions of its API, and the places that saved workflows rely on."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from comfy_kit import fresh_state, load, new_host  # noqa: F401 - fixtures
from fake_comfy import NEW, OLD, Comfy, install


@pytest.fixture(params=[OLD, NEW])
def classes(request: pytest.FixtureRequest, host: Comfy, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    return load(install(monkeypatch, host.models_dir, version=request.param))


OURS = ("KGenExpand", "KGenExpandBatch", "KGenSampling", "KGenFormat", "KGenTask", "KGenDanTagGen")


@pytest.mark.parametrize("node", OURS)
def test_both_versions_have_each_node(classes: dict[str, Any], node: str) -> None:
    assert classes[node].define_schema().category == "KGen"


@pytest.mark.parametrize("node", OURS)
def test_every_input_and_output_has_a_tooltip(classes: dict[str, Any], node: str) -> None:
    schema = classes[node].define_schema()
    assert all(row.options["tooltip"] for row in schema.inputs) and all(row.tooltip for row in schema.outputs)


@pytest.mark.parametrize("node", OURS)
def test_no_output_has_the_id_of_an_input(classes: dict[str, Any], node: str) -> None:
    schema = classes[node].define_schema()
    assert not {row.id for row in schema.inputs} & {row.id for row in schema.outputs}


def test_no_input_lets_the_page_rewrite_the_text(classes: dict[str, Any]) -> None:
    schemas = [classes[node].define_schema() for node in OURS]
    assert not any("dynamic_prompts" in row.options for schema in schemas for row in schema.inputs)


def test_the_seed_has_64_bits_and_a_control(classes: dict[str, Any]) -> None:
    [seed] = [row for row in classes["KGenExpand"].define_schema().inputs if row.id == "seed"]
    assert (seed.as_dict()["max"], seed.as_dict()["control_after_generate"]) == (2**64 - 1, True)


def test_advanced_inputs_are_marked_in_both_versions(classes: dict[str, Any]) -> None:
    marked = {row.id for row in classes["KGenExpand"].define_schema().inputs if row.as_dict().get("advanced")}
    assert marked >= {"width", "top_k", "engine"} and "prompt" not in marked


def test_an_empty_box_of_several_lines_says_which_it_is(host: Comfy) -> None:
    shown = {row.id: row.as_dict().get("placeholder") for row in load(host)["KGenExpand"].define_schema().inputs}
    assert (shown["prompt"], shown["rules"]) == ("Prompt", "Conditional rules: if twintails ban long hair")


# Saved workflows hold values by place: these lists may only grow at their ends.
PLACES = {
    "KGenExpand": (
        "prompt text model add tag_length text_length temperature seed ban require rules lock format template protect "
        "allow allow_contradictions any_tag width height top_k top_p min_p engine device sampling yours prior"
    ),
    "KGenExpandBatch": (
        "prompt text model add tag_length text_length temperature seed ban require rules lock format template protect "
        "allow allow_contradictions any_tag width height top_k top_p min_p engine device sampling count per_line "
        "yours prior"
    ),
    "KGenSampling": "temperature top_k top_p min_p",
    "KGenFormat": "expansion format template",
    "KGenTask": (
        "prompt text model task tag_length text_length temperature seed ban require rules lock format template protect "
        "allow allow_contradictions any_tag width height top_k top_p min_p engine device sampling yours prior"
    ),
    "KGenDanTagGen": (
        "prompt model tag_length temperature seed ban require rules lock format template protect allow "
        "allow_contradictions any_tag width height top_k top_p min_p engine device sampling yours prior"
    ),
}


@pytest.mark.parametrize("node", PLACES)
def test_inputs_are_where_saved_workflows_have_them(host: Comfy, node: str) -> None:
    assert [row.id for row in load(host)[node].define_schema().inputs] == PLACES[node].split()


def test_outputs_are_where_saved_workflows_have_them(host: Comfy) -> None:
    assert [row.id for row in load(host)["KGenExpand"].define_schema().outputs] == (
        "expanded_prompt added_tags added_text infotext kgen_expansion source_prompt appended_prompt".split()
    )


def test_the_starter_is_offered_first(host: Comfy) -> None:
    [model] = [row for row in load(host)["KGenExpand"].define_schema().inputs if row.id == "model"]
    assert model.options["options"][0] == "starter"


def test_a_model_in_models_kgen_is_offered(host: Comfy) -> None:
    write_model(host.models_dir / "kgen" / "my-own" / "model.safetensors")
    [model] = [row for row in load(host)["KGenExpand"].define_schema().inputs if row.id == "model"]
    assert "my-own" in model.options["options"]


def test_a_model_where_extra_model_paths_point_is_offered(host: Comfy, tmp_path: Path) -> None:
    write_model(tmp_path / "elsewhere" / "my-own" / "model.safetensors")
    host.modules["folder_paths"].add_model_folder_path("kgen", str(tmp_path / "elsewhere"))
    [model] = [row for row in load(host)["KGenExpand"].define_schema().inputs if row.id == "model"]
    assert "my-own" in model.options["options"]


def write_model(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"0" * 8)


def test_a_broken_catalogue_of_the_user_s_keeps_no_page_from_opening(host: Comfy) -> None:
    (host.models_dir / "kgen").mkdir(parents=True)
    (host.models_dir / "kgen" / "kgen-models.json").write_text("{", "utf-8")
    assert set(OURS) <= set(load(host))


def test_dantaggen_offers_its_own_models_only(host: Comfy) -> None:
    [model] = [row for row in load(host)["KGenDanTagGen"].define_schema().inputs if row.id == "model"]
    assert all("DanTagGen" in name for name in model.options["options"])
