"""Downloads against a hub on the loopback address, by the huggingface_hub that is installed: whole or not at all."""
from __future__ import annotations

import errno
import hashlib
import os
import random
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hub_server import FakeHub, running_hub

from kgen_ext.catalogue.download import download, fetch_order, place_order
from kgen_ext.catalogue.entries import Model, ModelFile
from kgen_ext.catalogue.hub import Hub
from kgen_ext.catalogue.progress import Progress
from kgen_ext.errors import Cancelled, DownloadError, UserError

REPO = "Owner/Tiny"
WEIGHTS = struct.pack("<4sIQQ", b"GGUF", 3, 0, 0) + random.Random(5).randbytes(700_000)
FILE = ModelFile("Tiny-F16.gguf", "gguf", "F16")
MODEL = Model("Tiny", "tipo", (FILE,), repo=REPO)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "KGEN_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("kgen_ext.catalogue.hub.CHUNK", 1 << 14)


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with running_hub() as one:
        one.add(REPO, "Tiny-F16.gguf", WEIGHTS)
        yield one


def client(hub: FakeHub, *, token: str | None = None, timeout: float = 5.0) -> Hub:
    return Hub(endpoint=hub.endpoint, token=token, timeout=timeout)


def get(
    hub: FakeHub, to: Path, *, model: Model = MODEL, timeout: float = 5.0, token: str | None = None
) -> list[Progress]:
    """Download the model's first file without waiting between tries; return the steps."""
    use = client(hub, token=token, timeout=timeout)
    order = place_order(model, model.files[0], to=to, hub=use)
    return list(fetch_order(order, to=to, hub=use, sleep=lambda _: None))


def final_names(folder: Path) -> list[str]:
    """Return what stands in the folder under a final name."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")
                  if path.is_file() and ".downloads" not in path.parts)  # fmt: skip


def parts(folder: Path) -> list[Path]:
    return sorted((folder / ".downloads").glob("*.part"))


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
    order = place_order(MODEL, FILE, to=tmp_path / "models", hub=client(hub))
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
    told = {server: {headers.get("authorization") for one, _, _, headers in hub.asked if one == server}
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
    order = place_order(MODEL, FILE, to=tmp_path, hub=client(hub))
    hub.faults.slow = 0.01
    with pytest.raises(Cancelled, match="stopped"):
        for step in fetch_order(order, to=tmp_path, hub=client(hub), cancelled=lambda: stopping[0]):
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


FAULTS = {
    "always cut": ({"cut_at": 0.0001, "ignore_range": True}, "the connection"),
    "wrong checksum": ({"corrupt": True}, "another checksum"),
    "truncated": ({"short": True, "ignore_range": True}, "cut"),
    "a page from the CDN": ({"html": True}, "a web page came instead"),
    "a page from the hub": ({"html_at_hub": True}, "did not answer as a hub does"),
    "gated": ({"gated": "hf_other"}, "gated"),
    "busy for ever": ({"busy_times": 99}, "busy"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_and_leaves_nothing_under_a_final_name(name: str, hub: FakeHub, tmp_path: Path) -> None:
    settings, message = FAULTS[name]
    for key, value in settings.items():
        setattr(hub.faults, key, value)
    with pytest.raises(DownloadError, match=message) as caught:
        get(hub, tmp_path)
    assert caught.value.hint
    assert final_names(tmp_path) == []


def test_silence_is_told_as_a_time_out(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults.stall = 1.0
    with pytest.raises(DownloadError, match=r"no answer within 0\.2 s"):
        get(hub, tmp_path, timeout=0.2)
    assert final_names(tmp_path) == []


def test_a_token_that_cannot_be_read_is_told(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> dict[str, str]:
        raise PermissionError(errno.EACCES, "Permission denied", "token")

    use = client(hub)
    order = place_order(MODEL, FILE, to=tmp_path, hub=use)
    monkeypatch.setattr("huggingface_hub.utils.build_hf_headers", refuse)
    with pytest.raises(DownloadError, match="token: Permission denied"):
        list(fetch_order(order, to=tmp_path, hub=use))


def test_an_address_nobody_answers_at_is_told(tmp_path: Path) -> None:
    with running_hub() as gone:
        address = gone.endpoint
    with pytest.raises(DownloadError, match="the connection failed") as caught:
        place_order(MODEL, FILE, to=tmp_path, hub=Hub(endpoint=address, timeout=2))
    assert "HTTPConnection" not in caught.value.message  # the system's words, not a library's own


def test_a_file_the_repository_lacks_is_told(hub: FakeHub, tmp_path: Path) -> None:
    model = Model("Tiny", "tipo", (ModelFile("Other.gguf", "gguf"),), repo=REPO)
    with pytest.raises(DownloadError, match="no such file in the repository"):
        get(hub, tmp_path, model=model)


def test_a_repository_that_does_not_exist_is_told(hub: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="no such repository, or it is private"):
        get(hub, tmp_path, model=Model("Tiny", "tipo", (FILE,), repo="Owner/Nothing"))


def test_a_revision_that_does_not_exist_is_told(hub: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="no such file in the repository"):
        get(hub, tmp_path, model=Model("Tiny", "tipo", (FILE,), repo=REPO, revision="v9"))


@pytest.mark.parametrize("pinned", [{"sha256": "0" * 64}, {"size": 5}])
def test_another_file_than_the_catalogue_knows_is_refused(pinned: dict[str, str], hub: FakeHub, tmp_path: Path) -> None:
    file = ModelFile("Tiny-F16.gguf", "gguf", "F16", **pinned)
    with pytest.raises(DownloadError, match="another file there than the catalogue knows"):
        get(hub, tmp_path, model=Model("Tiny", "tipo", (file,), repo=REPO))


@pytest.mark.parametrize("name", ["KGEN_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_asks_nothing_of_the_network(
    name: str, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(DownloadError, match="offline, so nothing was asked"):
        download(MODEL, to=tmp_path, hub=client(hub))
    assert hub.asked == []


def test_a_model_without_a_repository_is_not_asked_for(hub: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no repository"):
        download(Model("Mine", "tipo", (FILE,)), to=tmp_path, hub=client(hub))


def test_without_the_client_the_way_to_get_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DownloadError, match=r"needs the package huggingface_hub.*pip install huggingface_hub"):
        Hub()


def test_a_disk_without_room_is_told_before_a_byte_comes(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kgen_ext.catalogue.disk.shutil.disk_usage", lambda _: type("Usage", (), {"free": 64_000_100}))
    with pytest.raises(DownloadError, match="not enough room: 700 kB are needed, 64 MB are free"):
        get(hub, tmp_path)
    assert hub.ranges() == []


def test_a_disk_that_fills_up_on_the_way_is_told_and_the_part_is_kept(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DownloadError, match="the disk is full"):
            get(hub, tmp_path)
    assert final_names(tmp_path) == []
    get(hub, tmp_path)
    assert (tmp_path / "Tiny_Tiny-F16.gguf").read_bytes() == WEIGHTS


def test_a_final_name_that_is_in_use_is_told_and_what_came_is_not_fetched_again(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows lets nobody replace a file that a loaded model has mapped."""

    def in_use(source: Path, target: Path) -> None:
        raise PermissionError(errno.EACCES, "Access is denied", str(source), None, str(target))

    (tmp_path / "Tiny_Tiny-F16.gguf").write_bytes(b"an older one")
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", in_use)
        with pytest.raises(DownloadError, match="cannot be written") as caught:
            get(hub, tmp_path)
    assert "in use" in str(caught.value.hint)
    assert (tmp_path / "Tiny_Tiny-F16.gguf").read_bytes() == b"an older one"
    get(hub, tmp_path)
    assert (tmp_path / "Tiny_Tiny-F16.gguf").read_bytes() == WEIGHTS and len(hub.ranges()) == 1


def test_a_folder_that_is_a_file_is_told(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file where the folder should be")
    with pytest.raises(DownloadError, match="File exists"):
        get(hub, tmp_path / "models")


@pytest.mark.skipif(os.name == "nt", reason="folders have no such mode there")
def test_a_read_only_folder_is_told(hub: FakeHub, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir(mode=0o500)
    use = client(hub, token="hf_any")
    order = place_order(MODEL, FILE, to=folder, hub=use)
    with as_nobody(), pytest.raises(DownloadError, match="cannot be written"):
        list(fetch_order(order, to=folder, hub=use))
    assert final_names(tmp_path) == []


@contextmanager
def as_nobody() -> Iterator[None]:
    """Give up the superuser's rights for a moment, as nothing is read-only to them."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


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
    from kgen_ext.catalogue.lock import FileLock

    (tmp_path / ".downloads").mkdir()
    with FileLock(tmp_path / ".downloads" / "Tiny_Tiny-F16.gguf.lock") as lock:
        assert lock.take()
        with pytest.raises(Cancelled):
            download(MODEL, to=tmp_path, hub=client(hub), cancelled=lambda: True)
