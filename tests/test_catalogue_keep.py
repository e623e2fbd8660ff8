"""Checking, removing and quantising installed models; never outside our own folder."""
from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import pytest
from engine_fixtures import exact_gguf, write_tiny
from hub_server import running_hub

from kgen_ext.errors import DownloadError, ModelFileError, UserError
from kgen_ext.models import FoundModel, Locations, Model, ModelFile, find_models, resolve
from kgen_ext.models.hub import Hub
from kgen_ext.models.manage import Integrity, quantise_model, remove_model, remove_parts, verify_steps
from kgen_ext.models.scan import read_gguf_head

NAME = "TIPO-100M_TIPO-100M-F16.gguf"


@pytest.fixture
def locations(tmp_path: Path) -> Locations:
    """Return our folder with one small real GGUF in it, under the name of a model of the catalogue."""
    own = tmp_path / "models"
    own.mkdir()
    (own / NAME).write_bytes(exact_gguf().read_bytes())
    return Locations(own=own)


def only(locations: Locations) -> FoundModel:
    (installed,) = find_models(locations)
    return installed


def verify(installed: FoundModel, *, hub: Hub | None = None, offline: bool) -> Integrity:
    steps = verify_steps(installed, hub=hub, offline=offline)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def spoilt(data: bytes) -> bytes:
    """Return data with another last byte."""
    return data[:-1] + bytes([data[-1] ^ 1])


def pinned(installed: FoundModel, **facts: object) -> FoundModel:
    """Return a found model whose catalogue entry knows a checksum."""
    file = ModelFile("TIPO-100M-F16.gguf", "gguf", "F16", **facts)  # type: ignore[arg-type]
    model = Model("TIPO-100M", "tipo", (file,), repo="KBlueLeaf/TIPO-100M")
    return FoundModel(installed.id, installed.variant, installed.path, installed.size, model, ours=installed.ours)


def test_a_file_like_the_catalogue_s_checksum_is_whole_without_any_network(locations: Locations) -> None:
    installed = only(locations)
    sha = hashlib.sha256(installed.path.read_bytes()).hexdigest()
    verdict = verify(pinned(installed, sha256=sha, size=installed.size), offline=True)
    assert verdict.intact
    assert "the catalogue" in verdict.reason


def test_one_changed_byte_is_found(locations: Locations) -> None:
    installed = only(locations)
    sha = hashlib.sha256(installed.path.read_bytes()).hexdigest()
    installed.path.write_bytes(spoilt(installed.path.read_bytes()))
    verdict = verify(pinned(installed, sha256=sha), offline=True)
    assert not verdict.intact
    assert "checksum" in verdict.reason


def test_a_file_that_was_cut_is_found_by_its_size(locations: Locations) -> None:
    installed = only(locations)
    verdict = verify(pinned(installed, sha256="0" * 64, size=installed.size + 1), offline=True)
    assert not verdict.intact
    assert f"the catalogue says {installed.size + 1}" in verdict.reason


def test_without_a_known_checksum_the_hub_is_asked(locations: Locations) -> None:
    installed = only(locations)
    with running_hub() as hub:
        hub.add("KBlueLeaf/TIPO-100M", "TIPO-100M-F16.gguf", installed.path.read_bytes())
        assert "the hub" in verify(installed, hub=Hub(endpoint=hub.endpoint), offline=False).reason
        hub.add("KBlueLeaf/TIPO-100M", "TIPO-100M-F16.gguf", spoilt(installed.path.read_bytes()))
        assert not verify(installed, hub=Hub(endpoint=hub.endpoint), offline=False).intact


def test_offline_the_verdict_says_that_only_the_head_was_read(locations: Locations) -> None:
    verdict = verify(only(locations), offline=True)
    assert verdict.intact
    assert "no checksum is known" in verdict.reason
    assert "offline" in verdict.reason


def test_a_page_under_a_model_s_name_is_found(locations: Locations) -> None:
    (locations.own / NAME).write_text("<html>")
    assert "not a GGUF file" in verify(only(locations), offline=True).reason


@pytest.mark.parametrize("share", [0.5, 0.999])
def test_without_a_checksum_a_file_that_was_cut_is_found_by_its_head(locations: Locations, share: float) -> None:
    whole = (locations.own / NAME).read_bytes()
    (locations.own / NAME).write_bytes(whole[: int(len(whole) * share)])
    verdict = verify(only(locations), offline=True)
    assert not verdict.intact and "cut off" in verdict.reason and NAME in verdict.reason


def test_without_a_checksum_a_file_of_another_architecture_is_found(locations: Locations) -> None:
    whole = (locations.own / NAME).read_bytes()
    assert whole.count(b"\x05" + b"\0" * 7 + b"llama") >= 1
    (locations.own / NAME).write_bytes(whole.replace(b"\x05" + b"\0" * 7 + b"llama", b"\x05" + b"\0" * 7 + b"qwen2", 1))
    verdict = verify(only(locations), offline=True)
    assert not verdict.intact and "'qwen2'" in verdict.reason


def test_a_folder_whose_tensors_are_cut_is_found(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "mine")
    locations = Locations(own=tmp_path)
    assert verify(only(locations), offline=True).intact
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7])
    assert "cut off" in verify(only(locations), offline=True).reason


def test_a_file_of_the_cache_is_compared_with_the_name_of_its_blob(tmp_path: Path) -> None:
    data = exact_gguf().read_bytes()
    folder = tmp_path / "models--KBlueLeaf--TIPO-100M"
    blob = folder / "blobs" / hashlib.sha256(data).hexdigest()
    link = folder / "snapshots" / "c" / "TIPO-100M-F16.gguf"
    for path in (blob, link):
        path.parent.mkdir(parents=True)
    blob.write_bytes(data)
    link.symlink_to(blob)
    locations = Locations(own=tmp_path / "none", hub_cache=tmp_path)
    assert "the cache" in verify(only(locations), offline=True).reason
    blob.write_bytes(spoilt(data))
    assert not verify(only(locations), offline=True).intact


def test_removing_frees_the_bytes_and_nothing_else(locations: Locations) -> None:
    other = locations.own / "notes.txt"
    other.write_text("mine")
    installed = only(locations)
    assert remove_model(installed, locations) == installed.size
    assert sorted(locations.own.iterdir()) == [other]


def test_removing_what_is_in_use_is_told(locations: Locations, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows lets nobody delete a file that a loaded model has mapped."""

    def in_use(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Access is denied", str(path))

    monkeypatch.setattr(Path, "unlink", in_use)
    with pytest.raises(DownloadError, match="cannot be written") as caught:
        remove_model(only(locations), locations)
    assert NAME in str(caught.value) and "in use" in str(caught.value.hint)


def test_of_a_folder_only_the_model_s_own_files_go(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "mine")
    (folder / "notes.txt").write_text("mine")
    locations = Locations(own=tmp_path)
    remove_model(only(locations), locations)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    (folder / "notes.txt").unlink()
    write_tiny(folder)
    remove_model(only(locations), locations)
    assert not folder.exists()


def test_another_extension_s_file_is_never_removed(locations: Locations, tmp_path: Path) -> None:
    theirs = Locations(own=tmp_path / "none", hosts=(locations.own,))
    with pytest.raises(UserError, match="not in our own folder"):
        remove_model(only(theirs), theirs)
    assert (locations.own / NAME).exists()


def test_a_link_is_removed_and_not_what_it_points_to(locations: Locations, tmp_path: Path) -> None:
    file = tmp_path / "kept.gguf"
    (locations.own / NAME).rename(file)
    (locations.own / NAME).symlink_to(file)
    remove_model(only(locations), locations)
    assert file.exists()
    assert not (locations.own / NAME).is_symlink()


def test_what_an_unfinished_download_left_can_be_removed(locations: Locations) -> None:
    workshop = locations.own / ".downloads"
    workshop.mkdir()
    (workshop / f"{NAME}.0123.part").write_bytes(b"12345")
    (workshop / "TIPO-200M_x.gguf.0123.part").write_bytes(b"123")
    assert remove_parts("TIPO-100M", locations) == 5
    assert [path.name for path in workshop.iterdir()] == ["TIPO-200M_x.gguf.0123.part"]


def test_an_f16_file_becomes_a_q8_0_one_of_about_half_the_size(locations: Locations) -> None:
    pytest.importorskip("llama_cpp")
    full = only(locations)
    target = quantise_model(full, locations)
    assert read_gguf_head(target).quant == "Q8_0"
    assert target.stat().st_size < 0.62 * full.size  # 34 bytes for 32 numbers, and the vocabulary is as large as before
    assert resolve("TIPO-100M:Q8_0", locations=locations).gguf == target
    assert resolve("TIPO-100M", locations=locations).gguf == full.path
    assert list((locations.own / ".downloads").iterdir()) == []
    with pytest.raises(UserError, match="is there already"):
        quantise_model(full, locations)


def test_another_extension_s_file_is_quantised_into_our_folder(locations: Locations, tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp")
    mine = Locations(own=tmp_path / "mine", hosts=(locations.own,))
    assert quantise_model(only(mine), mine).parent == tmp_path / "mine"


def test_a_damaged_file_is_not_quantised_and_leaves_nothing(locations: Locations) -> None:
    pytest.importorskip("llama_cpp")
    path = locations.own / NAME
    path.write_bytes(path.read_bytes()[:-100_000])
    with pytest.raises(ModelFileError, match="cannot quantise"):
        quantise_model(only(locations), locations)
    assert [path.name for path in locations.own.rglob("*") if path.is_file()] == [NAME]


def test_a_quantised_file_is_not_quantised_again(locations: Locations) -> None:
    installed = only(locations)
    small = FoundModel(installed.id, "Q8_0", installed.path, installed.size, installed.model, ours=True)
    with pytest.raises(UserError, match="only an F16 GGUF"):
        quantise_model(small, locations)


def test_a_disk_without_room_is_told_before_quantising(locations: Locations, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kgen_ext.models.download.shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(DownloadError, match="not enough room"):
        quantise_model(only(locations), locations)
