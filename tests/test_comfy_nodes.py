"""ComfyUI's nodes: what they give, and that it is what `kgen expand` gives."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from comfy_kit import APPENDED, EXPANSION, INFOTEXT, PROMPT, SOURCE, command, fresh_state, new_host, run  # noqa: F401 - fixtures
from fake_comfy import Comfy

from kgen_ext.comfy import memory
from kgen_ext.comfy.inputs import INPUTS
from kgen_ext.request import MAX_SEED

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
    ({"prior": 0}, ["--prior", "0"]),
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
    from kgen_ext.output.infotext import parse_infotext
    from kgen_ext.webui.infotext import read_infotext_values, result_of

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
