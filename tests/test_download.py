"""Downloads from a hub on the loopback address with the installed huggingface_hub: complete or not at all."""
from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from download_kit import FILE, MODEL, REPO, WEIGHTS, client, download, final_names, get, parts, tiny_hub
from hub_server import FakeHub

from kgen_ext.errors import Cancelled, DownloadError
from kgen_ext.models.download import plan_download, run_download
from kgen_ext.models.schema import Model, ModelFile


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with tiny_hub(monkeypatch) as running:
        yield running


def test_a_file_comes_whole_under_the_name_the_other_extension_uses(hub: FakeHub, tmp_path: Path) -> None:
    steps = get(hub, tmp_path / "models")
    assert final_names(tmp_path / "models") == ["Tiny_Tiny-F16.gguf"]
    assert (tmp_path / "models" / "Tiny_Tiny-F16.gguf").read_bytes() == WEIGHTS
    assert steps[-1].path == tmp_path / "models" / "Tiny_Tiny-F16.gguf"
    assert not parts(tmp_path / "models")


def test_progress_grows_from_nothing_to_the_whole(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults.slow = 0.02
    steps = get(hub, tmp_path)
    done = [step.done for step in steps if step.stage == "downloading"]
    assert len(done) > 3
    assert done == sorted(done)
    assert {step.total for step in steps} == {len(WEIGHTS)}
    assert any(step.speed and step.left is not None for step in steps)


def test_size_is_told_before_anything_is_written(hub: FakeHub, tmp_path: Path) -> None:
    order = plan_download(MODEL, FILE, to=tmp_path / "models", hub=client(hub))
    assert order.size == len(WEIGHTS)
    assert not (tmp_path / "models").exists()
    assert all(method == "HEAD" for _, method, _, _ in hub.asked)


def test_a_file_in_a_folder_of_the_repository_is_found(hub: FakeHub, tmp_path: Path) -> None:
    hub.add(REPO, "gguf/Tiny-Q8_0.gguf", WEIGHTS)
    model = Model("Tiny", "tipo", (ModelFile("gguf/Tiny-Q8_0.gguf", "gguf", "Q8_0"),), repo=REPO)
    get(hub, tmp_path, model=model)
    assert final_names(tmp_path) == ["Tiny_Tiny-Q8_0.gguf"]


def test_a_folder_of_safetensors_has_its_weights_last(hub: FakeHub, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.model", "model.safetensors"):
        hub.add(REPO, name, f"{name}: some text".encode())
    model = Model("Tiny", "tipo", (ModelFile("model.safetensors", "safetensors"),), repo=REPO)
    steps = get(hub, tmp_path, model=model)
    assert final_names(tmp_path) == ["Tiny/config.json", "Tiny/model.safetensors", "Tiny/tokenizer.model"]
    assert [step.file for step in steps if step.stage != "done"][-1] == "model.safetensors"


def test_safetensors_without_a_tokenizer_are_refused_before_they_come(hub: FakeHub, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        hub.add(REPO, name, b"{}")
    model = Model("Tiny", "tipo", (ModelFile("model.safetensors", "safetensors"),), repo=REPO)
    with pytest.raises(DownloadError, match="no tokenizer"):
        get(hub, tmp_path, model=model)
    assert final_names(tmp_path) == []


def test_the_token_reaches_the_hub_and_never_the_cdn(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults.gated = "hf_secret"
    get(hub, tmp_path, token="hf_secret")
    told = {server: {headers.get("authorization") for name, _, _, headers in hub.asked if name == server}
            for server in ("hub", "cdn")}  # fmt: skip
    assert told == {"hub": {"Bearer hf_secret"}, "cdn": {None}}


def test_the_token_of_the_environment_is_used(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.faults.gated = "hf_secret"
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    get(hub, tmp_path)
    assert final_names(tmp_path) == ["Tiny_Tiny-F16.gguf"]


def test_what_is_here_already_is_checked_and_not_fetched_again(hub: FakeHub, tmp_path: Path) -> None:
    get(hub, tmp_path)
    before = len(hub.ranges())
    steps = get(hub, tmp_path)
    assert len(hub.ranges()) == before
    assert steps[-2].note == "already here"


def test_a_damaged_file_under_the_final_name_is_fetched_again(hub: FakeHub, tmp_path: Path) -> None:
    path = tmp_path / "Tiny_Tiny-F16.gguf"
    path.write_bytes(WEIGHTS[:-1] + b"?")
    get(hub, tmp_path)
    assert path.read_bytes() == WEIGHTS


def test_a_cut_connection_goes_on_where_it_stopped(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults.cut_at, hub.faults.cut_times = 0.3, 1
    get(hub, tmp_path)
    assert (tmp_path / "Tiny_Tiny-F16.gguf").read_bytes() == WEIGHTS
    first, second = hub.ranges()
    assert first == ""
    assert int(second.removeprefix("bytes=").rstrip("-")) == pytest.approx(0.3 * len(WEIGHTS), rel=0.1)


def test_a_later_download_resumes_what_an_earlier_one_left(hub: FakeHub, tmp_path: Path) -> None:
    stopping = [False]
    order = plan_download(MODEL, FILE, to=tmp_path, hub=client(hub))
    hub.faults.slow = 0.01
    with pytest.raises(Cancelled, match="stopped"):
        for step in run_download(order, to=tmp_path, hub=client(hub), cancelled=lambda: stopping[0]):
            stopping[0] = step.done > len(WEIGHTS) // 4
    assert final_names(tmp_path) == []
    left = parts(tmp_path)[0].stat().st_size
    assert 0 < left < len(WEIGHTS)
    get(hub, tmp_path)
    assert hub.ranges()[-1] == f"bytes={left}-"
    assert (tmp_path / "Tiny_Tiny-F16.gguf").read_bytes() == WEIGHTS


def test_a_server_that_ignores_ranges_sends_everything_again(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults.cut_at, hub.faults.cut_times, hub.faults.ignore_range = 0.3, 1, True
    get(hub, tmp_path)
    assert (tmp_path / "Tiny_Tiny-F16.gguf").read_bytes() == WEIGHTS


def test_a_part_of_another_version_is_not_gone_on_with(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / ".downloads").mkdir()
    (tmp_path / ".downloads" / "Tiny_Tiny-F16.gguf.0123456789abcdef.part").write_bytes(b"old" * 1000)
    get(hub, tmp_path)
    assert hub.ranges() == [""]
    assert parts(tmp_path) == []


def test_a_spoilt_part_costs_one_more_download_and_no_more(hub: FakeHub, tmp_path: Path) -> None:
    sha = hashlib.sha256(WEIGHTS).hexdigest()
    (tmp_path / ".downloads").mkdir()
    (tmp_path / ".downloads" / f"Tiny_Tiny-F16.gguf.{sha[:16]}.part").write_bytes(b"\0" * 1000)
    get(hub, tmp_path)
    assert hub.ranges() == ["bytes=1000-", ""]
    assert (tmp_path / "Tiny_Tiny-F16.gguf").read_bytes() == WEIGHTS


def test_a_busy_server_is_asked_again(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults.busy_times = 2
    get(hub, tmp_path)
    assert final_names(tmp_path) == ["Tiny_Tiny-F16.gguf"]


def test_two_downloads_of_one_file_fetch_it_once(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults.slow = 0.02
    notes: list[str] = []
    paths: list[Path] = []

    def run() -> None:
        use = client(hub)
        paths.append(download(MODEL, to=tmp_path, hub=use, on_progress=lambda step: notes.append(step.note)))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert paths == [tmp_path / "Tiny_Tiny-F16.gguf"] * 2
    assert hub.ranges() == [""]
    assert "another download is fetching it" in notes
    assert paths[0].read_bytes() == WEIGHTS


def test_waiting_for_another_download_can_be_stopped(hub: FakeHub, tmp_path: Path) -> None:
    from kgen_ext.models.download import DownloadLock

    (tmp_path / ".downloads").mkdir()
    with DownloadLock(tmp_path / ".downloads" / "Tiny_Tiny-F16.gguf.lock") as lock:
        assert lock.acquire()
        with pytest.raises(Cancelled):
            download(MODEL, to=tmp_path, hub=client(hub), cancelled=lambda: True)
