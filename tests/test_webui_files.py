"""Files and folders named by settings: given by flags, or chosen by the name of a file found."""
from __future__ import annotations

import sys
from pathlib import Path

import pytest
from fake_gradio import FakeGradio
from fake_host import install

from kgen_ext.webui.host import Host
from kgen_ext.webui.settings import BY_KEY, read_settings, tag_file, warn_once
from kgen_ext.webui.settings_page import declare_options, register_settings

LABEL = f"Settings, KGen, {BY_KEY['kgen_tag_file'].label}"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings count anew, and no variable of the tester's counts."""
    warn_once.cache_clear()
    monkeypatch.delenv("KGEN_MODELS_DIR", raising=False)


def lay_tags(tmp_path: Path, *names: str) -> Path:
    """Put tag files into the folder of the autocomplete extension."""
    return lay(tmp_path / "extensions" / "a1111-sd-webui-tagcomplete" / "tags", *names)


def lay(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("1girl,0\n", encoding="utf-8")
    return folder


def test_without_a_tag_file_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path)
    lay_tags(tmp_path, "e621.csv")
    assert tag_file(Host(), read_settings(Host())) == ""


@pytest.mark.parametrize("folder", ["a1111-sd-webui-tagcomplete", "sd-webui-tagcomplete-neo"])
def test_the_autocomplete_extension_is_known_by_either_name(
    folder: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, tmp_path)
    tags = lay(tmp_path / "extensions" / folder / "tags", "danbooru.csv")
    assert tag_file(Host(), read_settings(Host())) == str(tags / "danbooru.csv")


def test_the_tag_file_of_the_autocomplete_extension_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path)
    tags = lay_tags(tmp_path, "danbooru.csv", "e621.csv")
    assert tag_file(Host(), read_settings(Host())) == str(tags / "danbooru.csv")


def test_a_tag_file_is_chosen_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    host = install(monkeypatch, tmp_path)
    tags = lay_tags(tmp_path, "danbooru.csv", "e621.csv")
    host.opts.kgen_tag_file = "e621.csv"
    assert tag_file(Host(), read_settings(Host())) == str(tags / "e621.csv")


@pytest.mark.parametrize("flag", [None, "my models"])
def test_a_tag_file_in_the_models_folder_goes_before_another_of_its_name(
    flag: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    host = install(monkeypatch, tmp_path)
    host.cmd_opts.kgen_models_dir = flag
    lay_tags(tmp_path, "danbooru.csv")
    own = lay(tmp_path / (flag or "models/kgen") / "tags", "danbooru.csv")
    assert tag_file(Host(), read_settings(Host())) == str(own / "danbooru.csv")


def test_the_tag_file_of_the_flag_goes_before_the_one_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    host = install(monkeypatch, tmp_path)
    lay_tags(tmp_path, "danbooru.csv", "e621.csv")
    host.opts.kgen_tag_file, host.cmd_opts.kgen_tag_file = "e621.csv", "mine.csv"
    assert tag_file(Host(), read_settings(Host())) == str(tmp_path / "mine.csv")


def test_the_page_offers_the_tag_files_that_are_found_and_keeps_what_is_stored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    host = install(monkeypatch, tmp_path)
    monkeypatch.setitem(sys.modules, "gradio", FakeGradio())
    lay_tags(tmp_path, "danbooru.csv", "e621.csv", "readme.txt")
    declare_options(Host())
    host.opts.kgen_tag_file = "/old/tags.csv"
    offered = host.opts.__dict__["data_labels"]["kgen_tag_file"].component_args()
    assert offered == {"choices": ["", "danbooru.csv", "e621.csv", "/old/tags.csv"]}


def test_a_tag_file_that_is_gone_is_told_with_those_there_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host = install(monkeypatch, tmp_path)
    lay_tags(tmp_path, "danbooru.csv")
    host.opts.kgen_tag_file = "gone.csv"
    tag_file(Host(), read_settings(Host()))
    assert [record.getMessage() for record in caplog.records] == [
        f"{LABEL}: kgen_tag_file: 'gone.csv' is not allowed (use danbooru.csv); the default is used"
    ]


def test_a_stored_tag_file_by_its_path_is_told_with_the_flag_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host = install(monkeypatch, tmp_path)
    host.opts.kgen_tag_file = "D:\\tags\\mine.csv"
    tag_file(Host(), read_settings(Host()))
    assert [record.getMessage() for record in caplog.records] == [
        f"{LABEL}: kgen_tag_file: 'D:\\\\tags\\\\mine.csv' is not used any more, as clients of the API can change "
        "options (add --kgen-tag-file PATH to COMMANDLINE_ARGS); the default is used"
    ]


def test_a_stored_models_folder_is_told_at_the_start_with_the_flag_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host = install(monkeypatch, tmp_path)
    host.opts.kgen_models_dir = "/big/models\n"
    register_settings(Host())
    register_settings(Host())
    assert [record.getMessage() for record in caplog.records] == [
        "Settings, KGen: kgen_models_dir: '/big/models\\n' is not used any more, as clients of the API can change "
        "options (add --kgen-models-dir FOLDER to COMMANDLINE_ARGS)"
    ]


def test_whoever_took_the_flags_is_not_told_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host = install(monkeypatch, tmp_path)
    host.opts.kgen_models_dir = host.cmd_opts.kgen_models_dir = "/big/models"
    host.opts.kgen_tag_file = host.cmd_opts.kgen_tag_file = "/big/tags.csv"
    register_settings(Host())
    tag_file(Host(), read_settings(Host()))
    assert not caplog.records


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no folder be listed."""

    def fail(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "/extensions")

    monkeypatch.setattr("kgen_ext.models.locations._other_extensions", fail)


def test_a_folder_that_cannot_be_read_leaves_the_page_its_options(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unreadable: None
) -> None:
    host = install(monkeypatch, tmp_path)
    monkeypatch.setitem(sys.modules, "gradio", FakeGradio())
    declare_options(Host())
    assert "kgen_tag_file" in host.opts.__dict__["data_labels"]


def test_a_folder_that_cannot_be_read_offers_no_tag_files_and_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unreadable: None, caplog: pytest.LogCaptureFixture
) -> None:
    install(monkeypatch, tmp_path)
    tag_file(Host(), read_settings(Host()))
    assert "tag files: [Errno 13] Permission denied" in caplog.text
