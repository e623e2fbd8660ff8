"""Runs of ComfyUI's nodes: their progress, the user's stop, and the memory of the model."""
from __future__ import annotations

import time

import pytest
from comfy_kit import PROMPT, command, fresh_state, new_host, run  # noqa: F401 - fixtures
from fake_comfy import Comfy, Device, InterruptProcessingException

from kgen_ext.comfy import memory


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
