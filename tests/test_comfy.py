"""ComfyUI's nodes: what they give, that it is what `kgen expand` gives, and what is said where something is wrong."""
from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from comfy_kit import PROMPT, command, fresh_state, graph_of, load, new_host, run_node  # noqa: F401 - fixtures
from fake_comfy import NEW, OLD, Comfy, Device, Graph, InterruptProcessingException, Invalid, install

from kgen_ext.comfy import memory
from kgen_ext.comfy.inputs import INPUTS
from kgen_ext.comfy.messages import NodeError
from kgen_ext.request import MAX_SEED

EXPANSION, SOURCE, APPENDED, INFOTEXT = 4, 5, 6, 3
GIVEN = {"prompt": PROMPT, "seed": 3, "tag_length": "very_short"}


def run(
    host: Comfy, class_type: str = "KGenExpand", *, linked: Mapping[str, Any] | None = None, **inputs: Any
) -> Any:
    given = {} if class_type in ("KGenFormat", "KGenSampling") else GIVEN
    return run_node(host, class_type, linked=linked, **{**given, **inputs})


def graph(host: Comfy, **inputs: Any) -> Graph:
    return graph_of(host, inputs={**GIVEN, **inputs})


# What a node gives.


def test_a_node_writes_what_the_command_writes_byte_for_byte(
    host: Comfy, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run(host)
    assert done.args[0] + "\n" == command(capsys, PROMPT, "--seed", "3", "--tag-length", "very_short")


@pytest.mark.parametrize(("inputs", "flags"), [
    ({"ban": "long hair, *_eyes"}, ["--ban", "long hair, *_eyes"]),
    ({"require": "smile, <lora:x:1>"}, ["--require", "smile, <lora:x:1>"]),
    ({"rules": "if fox ears ban tail"}, ["--rule", "if fox ears ban tail"]),
    ({"protect": "fox ears"}, ["--protect", "fox ears"]),
    ({"lock": "hair, eyes"}, ["--ban", "category:hair, category:eyes"]),
    ({"allow": "quality, rating"}, ["--allow", "quality,rating"]),
    ({"allow_contradictions": True}, ["--allow-contradictions"]),
    ({"any_tag": True}, ["--tag-file", "any"]),
    ({"temperature": 1.5, "top_k": 20, "top_p": 0.9, "min_p": 0.02},
     ["--temperature", "1.5", "--top-k", "20", "--top-p", "0.9", "--min-p", "0.02"]),
    ({"width": 512, "height": 1024}, ["--width", "512", "--height", "1024"]),
    ({"add": "both", "text_length": "very_short"}, ["--text-length", "very_short"]),
    ({"add": "text", "text_length": "short"}, ["--text-length", "short", "--no-tags"]),
    ({"add": "tags"}, ["--text-length", "none"]),
    ({"text": "A girl reads under a tree."}, ["--text", "A girl reads under a tree."]),
    ({"format": "sorted"}, ["--format", "sorted"]),
    ({"format": "custom", "template": "<|quality|>; <|prompt|>, <|general|>"},
     ["--format", "<|quality|>; <|prompt|>, <|general|>"]),
])  # fmt: skip
def test_each_input_is_an_option_of_the_command(
    host: Comfy, capsys: pytest.CaptureFixture[str], inputs: dict[str, Any], flags: list[str]
) -> None:
    done = run(host, **inputs)
    assert done.args[0] + "\n" == command(capsys, PROMPT, "--seed", "3", "--tag-length", "very_short", *flags)


@pytest.mark.parametrize("task", INPUTS["task"].options)
def test_a_task_is_the_command_s(host: Comfy, capsys: pytest.CaptureFixture[str], task: str) -> None:
    text = "A girl reads under a tree."
    done = run(host, "KGenTask", task=task, text=text, text_length="very_short")
    flags = ["--text-length", "very_short"] if task not in ("tag", "long_to_tag", "short_to_tag") else []
    assert done.args[0] + "\n" == command(
        capsys, PROMPT, "--seed", "3", "--tag-length", "very_short", "--task", task, "--text", text, *flags
    )


def test_the_prompt_is_in_the_result_as_it_was_typed(host: Comfy) -> None:
    assert run(host).args[0].startswith(PROMPT)


def test_a_seed_of_64_bits_is_masked(host: Comfy) -> None:
    assert run(host, seed=2**64 - 1).ui["kgen"][0]["seed"] == MAX_SEED


def test_a_negative_seed_over_a_link_is_masked(host: Comfy) -> None:
    assert run(host, linked={"seed": -1}).ui["kgen"][0]["seed"] == MAX_SEED


def test_the_added_tags_are_the_second_output(host: Comfy) -> None:
    prompt, tags, *_ = run(host).args
    assert prompt == f"{PROMPT}\n, {tags}" or prompt.endswith(tags)


def test_the_third_output_is_the_added_text(host: Comfy) -> None:
    done = run(host, add="both", text_length="very_short")
    assert done.args[2] and done.args[0].endswith(done.args[2])


def test_the_prompt_as_it_was_given_is_an_output(host: Comfy) -> None:
    assert run(host, format="sorted").args[SOURCE] == PROMPT


def test_another_output_appends_whatever_the_format(host: Comfy) -> None:
    assert run(host, format="sorted").args[APPENDED] == run(host).args[0]


def test_sampling_options_over_a_link_win(host: Comfy) -> None:
    [options] = run(host, "KGenSampling", temperature=0.0).args
    done = run(host, temperature=2.0, linked={"sampling": options})
    assert done.ui["kgen"][0]["settings"]["temperature"] == 0.0


def test_the_infotext_restores_the_prompt(host: Comfy) -> None:
    from kgen_ext.webui.infotext import parse_infotext, read_infotext_values, result_of

    done = run(host, ban="hat, *_hair", temperature=0.7, lock="hair")
    params = parse_infotext(done.args[INFOTEXT])
    values = read_infotext_values(params)
    assert values is not None
    assert {name: values[name] for name in ("ban", "temperature", "lock", "tag_length", "seed", "creativity")} == {
        "ban": "hat, *_hair", "temperature": 0.7, "lock": ("hair",), "tag_length": "very_short", "seed": 3,
        "creativity": "custom",
    }  # fmt: skip
    assert result_of(params) == done.args[0]


# A batch.


def test_a_batch_is_the_command_s_file(
    host: Comfy, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "prompts.txt").write_text("1girl, hat\n1boy, forest\n", "utf-8")
    done = run(host, "KGenExpandBatch", prompt="1girl, hat\n1boy, forest", count=2)
    flags = ["--file", str(tmp_path / "prompts.txt"), "--count", "2", "--seed", "3", "--tag-length", "very_short"]
    assert "".join(f"{prompt}\n" for prompt in done.args[0]) == command(capsys, *flags)


def test_a_list_over_a_link_is_one_batch(host: Comfy) -> None:
    done = run(host, "KGenExpandBatch", linked={"prompt": ["fox", "cat\nhat"]}, per_line=False)
    assert [prompt.partition(", ")[0] for prompt in done.args[0]] == ["fox", "cat\nhat"]


def test_each_prompt_of_a_list_may_have_its_own_seed(host: Comfy) -> None:
    done = run(host, "KGenExpandBatch", linked={"prompt": ["fox", "cat"], "seed": [11, 5]})
    assert [entry["seed"] for entry in done.ui["kgen"]] == [11, 5]


def test_variants_differ(host: Comfy) -> None:
    assert len(set(run(host, "KGenExpandBatch", count=3).args[0])) == 3


def test_a_row_of_a_batch_is_what_it_is_alone(host: Comfy) -> None:
    together = run(host, "KGenExpandBatch", linked={"prompt": ["fox", "cat"]}).args[0]
    memory.shared_pool().close()
    assert run(host, prompt="cat", seed=4).args[0] == together[1]


# Another layout.


def test_the_format_node_lays_out_what_was_written(host: Comfy, capsys: pytest.CaptureFixture[str]) -> None:
    expansion = run(host).args[EXPANSION]
    done = run(host, "KGenFormat", linked={"expansion": expansion}, format="custom", template="<|general|>; <|prompt|>")
    assert done.args[0] + "\n" == command(
        capsys, PROMPT, "--seed", "3", "--tag-length", "very_short", "--format", "<|general|>; <|prompt|>"
    )


def test_another_layout_is_not_decoded_again(host: Comfy) -> None:
    expansion = run(host).args[EXPANSION]
    host.bars.clear()
    host.interrupt_after = 0  # would stop at the first token
    assert run(host, "KGenFormat", linked={"expansion": expansion}, format="sorted").args[2].startswith(PROMPT)


# Progress, the user's stop, and memory.


def test_the_text_grows_at_the_foot_of_the_node(host: Comfy) -> None:
    run(host)
    assert {node for _, node in host.texts} == {"7"} and len(host.texts) >= 2


def test_the_last_text_says_how_much_was_added(host: Comfy) -> None:
    tags = run(host).ui["kgen"][0]["tags"]
    assert host.texts[-1][0].startswith(f"{len(tags)} tags added")


def test_the_bar_ends_full(host: Comfy) -> None:
    run(host)
    assert host.bars[-1][0] == host.bars[-1][1]


def test_the_bar_moves_a_few_times_a_second_at_most(host: Comfy) -> None:
    began = time.monotonic()
    run(host, "KGenExpandBatch", prompt="fox\ncat\nowl", tag_length="long")
    assert 2 <= len(host.bars) <= (time.monotonic() - began) / 0.1 + 2


def test_a_stop_is_obeyed_within_a_token(host: Comfy) -> None:
    host.interrupt_after = 5
    with pytest.raises(InterruptProcessingException):
        run(host, tag_length="very_long")
    assert host.interrupt_after is None  # asked no more behind it


def test_the_run_after_a_stop_writes_the_same(host: Comfy, capsys: pytest.CaptureFixture[str]) -> None:
    host.interrupt_after = 5
    with pytest.raises(InterruptProcessingException):
        run(host)
    assert run(host).args[0] + "\n" == command(capsys, PROMPT, "--seed", "3", "--tag-length", "very_short")


def test_two_nodes_share_a_model(host: Comfy) -> None:
    run(host)
    run(host, "KGenTask", task="tag")
    assert [row.model for row in memory.shared_pool().resident()] == ["starter"]


def test_the_model_goes_when_the_user_frees_memory(host: Comfy) -> None:
    run(host)
    host.modules["comfy.model_management"].unload_all_models()
    assert memory.shared_pool().resident() == ()


def test_a_freed_model_comes_back_with_its_next_use(host: Comfy) -> None:
    before = run(host).args[0]
    host.modules["comfy.model_management"].unload_all_models()
    assert run(host).args[0] == before


class Gpu:
    """A host with a GPU on which every model of ours counts as run."""

    def __init__(self, host: Comfy, monkeypatch: pytest.MonkeyPatch, needed: int) -> None:
        from kgen_ext.service.vram import VramPlan

        host.device = Device("cuda:0")
        plan = VramPlan("reference", "auto", True, needed)
        monkeypatch.setattr("kgen_ext.comfy.memory.plan_vram", lambda *_, **__: plan)
        self.management = host.modules["comfy.model_management"]


def test_a_model_on_the_gpu_counts_in_the_host_s_list(host: Comfy, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu(host, monkeypatch, needed=10**9)
    run(host)
    assert gpu.management.get_free_memory("cuda:0") == host.free - 10**9


def test_a_model_on_the_gpu_goes_when_another_needs_the_room(host: Comfy, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu(host, monkeypatch, needed=10**9)
    run(host)
    gpu.management.free_memory(host.free - 10**6, "cuda:0")
    assert memory.shared_pool().resident() == ()


def test_a_second_run_on_the_gpu_keeps_the_model(host: Comfy, monkeypatch: pytest.MonkeyPatch) -> None:
    Gpu(host, monkeypatch, needed=10**9)
    run(host)
    [first] = memory.shared_pool()._entries.values()
    run(host, seed=4)
    assert [first] == list(memory.shared_pool()._entries.values())


def test_without_room_on_the_gpu_the_model_runs_on_the_cpu(host: Comfy, monkeypatch: pytest.MonkeyPatch) -> None:
    Gpu(host, monkeypatch, needed=2 * host.free)
    run(host)
    assert [row.device for row in memory.shared_pool().resident()] == ["cpu"]


# The cache, and the image's metadata.


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


# What is wrong, and the way out.


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


# The schema.


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
        "allow allow_contradictions any_tag width height top_k top_p min_p engine device sampling"
    ),
    "KGenExpandBatch": (
        "prompt text model add tag_length text_length temperature seed ban require rules lock format template protect "
        "allow allow_contradictions any_tag width height top_k top_p min_p engine device sampling count per_line"
    ),
    "KGenSampling": "temperature top_k top_p min_p",
    "KGenFormat": "expansion format template",
    "KGenTask": (
        "prompt text model task tag_length text_length temperature seed ban require rules lock format template protect "
        "allow allow_contradictions any_tag width height top_k top_p min_p engine device sampling"
    ),
    "KGenDanTagGen": (
        "prompt model tag_length temperature seed ban require rules lock format template protect allow "
        "allow_contradictions any_tag width height top_k top_p min_p engine device sampling"
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
