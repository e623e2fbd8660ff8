"""Failing downloads: reported in one line, and no incomplete file under a final name."""
from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from download_kit import FILE, MODEL, REPO, WEIGHTS, client, download, final_names, get, tiny_hub
from hub_server import FakeHub, running_hub

from kgen_ext.errors import DownloadError, UserError
from kgen_ext.models.download import plan_download, run_download
from kgen_ext.models.hub import Hub
from kgen_ext.models.schema import Model, ModelFile

FAULTS = {
    "always cut": ({"cut_at": 0.0001, "ignore_range": True}, "the connection"),
    "wrong checksum": ({"corrupt": True}, "another checksum"),
    "truncated": ({"short": True, "ignore_range": True}, "cut"),
    "a page from the CDN": ({"html": True}, "a web page came instead"),
    "a page from the hub": ({"html_at_hub": True}, "did not answer as a hub does"),
    "gated": ({"gated": "hf_other"}, "gated"),
    "busy for ever": ({"busy_times": 99}, "busy"),
}


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with tiny_hub(monkeypatch) as running:
        yield running


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
    order = plan_download(MODEL, FILE, to=tmp_path, hub=use)
    monkeypatch.setattr("huggingface_hub.utils.build_hf_headers", refuse)
    with pytest.raises(DownloadError, match="token: Permission denied"):
        list(run_download(order, to=tmp_path, hub=use))


def test_an_address_nobody_answers_at_is_told(tmp_path: Path) -> None:
    with running_hub() as gone:
        address = gone.endpoint
    with pytest.raises(DownloadError, match="the connection failed") as caught:
        plan_download(MODEL, FILE, to=tmp_path, hub=Hub(endpoint=address, timeout=2))
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
    monkeypatch.setattr("kgen_ext.models.download.shutil.disk_usage", lambda _: type("Usage", (), {"free": 64_000_100}))
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
    order = plan_download(MODEL, FILE, to=folder, hub=use)
    with as_nobody(), pytest.raises(DownloadError, match="cannot be written"):
        list(run_download(order, to=folder, hub=use))
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
