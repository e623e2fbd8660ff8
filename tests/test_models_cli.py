"""`kgen models`, from the command line down to a hub on the loopback address."""
from __future__ import annotations

import io
import json
import random
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_fakes import Terminal
from engine_fixtures import exact_gguf
from hub_server import FakeHub, running_hub

from kgen_ext.cli import main
from kgen_ext.models.hub import Hub

REPO = "KBlueLeaf/TIPO-100M"
WEIGHTS = struct.pack("<4sIQQ", b"GGUF", 3, 0, 0) + random.Random(7).randbytes(300_000)
NAME = "TIPO-100M_TIPO-100M-F16.gguf"


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep models in a folder of the test's own, with an empty cache, and the network's settings plain."""
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "KGEN_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KGEN_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    return tmp_path / "models"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with running_hub() as running:
        running.add(REPO, "TIPO-100M-F16.gguf", WEIGHTS)
        monkeypatch.setattr("kgen_ext.models.download.Hub", lambda: Hub(endpoint=running.endpoint))
        monkeypatch.setattr("kgen_ext.models.manage.Hub", lambda: Hub(endpoint=running.endpoint))
        yield running


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(text))


def test_the_list_shows_every_model_and_what_is_installed(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models.mkdir()
    (models / NAME).write_bytes(exact_gguf().read_bytes())
    (models / "my tune-Q8_0.gguf").write_bytes(WEIGHTS)
    assert main(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "SIZE", "LICENCE", "INSTALLED"]
    rows = {line.split()[0]: line.split()[-1] for line in lines[1:] if line and ":" not in line}
    assert rows["TIPO-100M"] == "F16"
    assert rows["my-tune"] == "Q8_0"
    assert rows["TIPO-500M-ft"] == "-"
    assert lines[1].endswith("ships with KGen")


def test_the_list_as_json_holds_names_that_expand_takes(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models.mkdir()
    (models / "DanTagGen-beta_ggml-model-Q8_0.gguf").write_bytes(WEIGHTS)
    assert main(["models", "list", "--json"]) == 0
    told = {row["id"]: row for row in json.loads(capsys.readouterr().out)}
    assert told["starter"]["names"] == ["starter"]
    assert told["DanTagGen-beta"]["names"] == ["DanTagGen-beta:Q8_0"]
    assert told["DanTagGen-beta"]["recommended"]["temperature"] == 1.35
    assert told["TIPO-v2.1-1B-A200M"]["files"][0]["size"] == 1_072_689_600
    assert told["TIPO-v2.1-1B-A200M"]["installed"] == []


def test_info_names_the_licence_the_files_and_what_runs_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "info", "tipo-v2.1-1b-a200m"]) == 0
    told = capsys.readouterr().out
    assert "Kohaku License 1.0 https://" in told
    assert "llama-cpp-python 0.3.10 or later" in told
    assert "TIPO-v2.1-1B-A200M:Q8_0  1.07 GB" in told
    assert "kgen models download TIPO-v2.1-1B-A200M" in told


def test_info_of_a_file_of_one_s_own_tells_what_it_speaks(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models.mkdir()
    (models / "tune-F16.gguf").write_bytes(exact_gguf().read_bytes())
    assert main(["models", "info", "tune", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["protocol"] == "tipo"


def test_info_of_nothing_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "info", "nothing"]) == 2
    assert "'nothing' is not installed (kgen models list" in capsys.readouterr().err


def test_a_download_shows_size_and_licence_and_asks(
    hub: FakeHub, models: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, "n\n")
    assert main(["models", "download", "TIPO-100M"]) == 1
    told = capsys.readouterr().err
    assert "300 kB" in told
    assert "licence: Apache-2.0 https://huggingface.co/KBlueLeaf/TIPO-100M" in told
    assert "[y/N]" in told
    assert not models.exists()
    answer(monkeypatch, "y\n")
    assert main(["models", "download", "tipo-100m"]) == 0
    assert (models / NAME).read_bytes() == WEIGHTS


def test_a_download_with_yes_asks_nobody_and_is_found_afterwards(
    hub: FakeHub, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "download", "TIPO-100M:F16", "--yes"]) == 0
    assert "done; use it with --model TIPO-100M" in capsys.readouterr().err
    asked = len(hub.asked)
    assert main(["models", "download", "TIPO-100M", "--yes"]) == 0
    assert "is installed" in capsys.readouterr().err
    assert len(hub.asked) == asked
    assert main(["models", "verify", "TIPO-100M"]) == 0
    assert "intact: SHA-256" in capsys.readouterr().out


def test_progress_is_drawn_on_a_terminal_and_erased(
    hub: FakeHub, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    hub.faults.slow = 0.02
    assert main(["models", "download", "TIPO-100M", "--yes"]) == 0
    assert f"{NAME}: " in screen.getvalue()
    assert " % ," not in screen.getvalue()
    assert "300 kB" in screen.getvalue()


def test_where_nobody_can_be_asked_nothing_is_asked_of_the_hub(
    hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "download", "TIPO-100M"]) == 2
    assert "add --yes" in capsys.readouterr().err
    assert hub.asked == []


def test_offline_says_so_and_asks_nothing(
    hub: FakeHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["models", "download", "TIPO-100M", "--yes", "--offline"]) == 1
    assert "offline, so nothing was asked of the network" in capsys.readouterr().err
    monkeypatch.setenv("KGEN_OFFLINE", "1")
    assert main(["models", "download", "TIPO-100M", "--yes"]) == 1
    assert hub.asked == []


@pytest.mark.parametrize("name, message", [
    ("starter", "cannot be downloaded"), ("../x", "the catalogue has no"), ("TIPO-100M:Q4_0", "has no file 'Q4_0'"),
])  # fmt: skip
def test_what_cannot_be_downloaded_is_a_mistake(name: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "download", name, "--yes"]) == 2
    assert message in capsys.readouterr().err


def test_a_failed_download_is_a_failure_with_a_hint(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.faults.corrupt = True
    assert main(["models", "download", "TIPO-100M", "--yes"]) == 1
    assert "another checksum" in capsys.readouterr().err


def test_verify_tells_a_damaged_file_and_fails(hub: FakeHub, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models.mkdir()
    (models / NAME).write_bytes(WEIGHTS[:-1])
    assert main(["models", "verify", "TIPO-100M"]) == 1
    assert "TIPO-100M:F16: DAMAGED: " in capsys.readouterr().out


def test_a_damaged_file_of_another_s_is_fetched_again_by_force_and_ours_is_used(
    hub: FakeHub, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = models.parent / "hub" / "models--KBlueLeaf--TIPO-100M" / "snapshots" / "c" / "TIPO-100M-F16.gguf"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(WEIGHTS[:-1])
    assert main(["models", "verify", "TIPO-100M"]) == 1
    assert "download TIPO-100M --force" in capsys.readouterr().err
    assert main(["models", "download", "TIPO-100M", "--yes", "--force"]) == 0
    assert main(["models", "verify", "TIPO-100M"]) == 0
    assert theirs.read_bytes() == WEIGHTS[:-1]


def test_of_a_damaged_file_of_one_s_own_no_download_is_promised(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models.mkdir()
    (models / "mine-F16.gguf").write_bytes(exact_gguf().read_bytes()[:-4096])
    assert main(["models", "verify", "mine"]) == 1
    told = capsys.readouterr()
    assert "mine:F16: DAMAGED: " in told.out and "cut off" in told.out
    assert "download" not in told.err and "replace it with an intact copy" in told.err


def test_the_starter_can_be_verified_and_nothing_else_be_done_to_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "verify", "starter", "--offline"]) == 0
    assert capsys.readouterr().out.startswith("starter:Q8_0: intact: ")
    for action in (["remove", "starter", "--yes"], ["quantize", "Starter"]):
        assert main(["models", *action]) == 2
        assert "the starter ships with KGen" in capsys.readouterr().err


def test_verify_of_what_is_not_there_names_the_download(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "verify", "TIPO-100M"]) == 2
    assert "kgen models download TIPO-100M" in capsys.readouterr().err


def test_remove_asks_and_deletes(
    models: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    models.mkdir()
    (models / NAME).write_bytes(WEIGHTS)
    assert main(["models", "remove", "TIPO-100M"]) == 2
    answer(monkeypatch, "\n")
    assert main(["models", "remove", "TIPO-100M"]) == 1
    assert (models / NAME).exists()
    assert main(["models", "remove", "TIPO-100M", "--yes"]) == 0
    assert "300 kB freed" in capsys.readouterr().err
    assert not (models / NAME).exists()
    assert main(["models", "remove", "TIPO-100M", "--yes"]) == 2


def test_the_cache_of_the_hub_is_left_alone(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = models.parent / "hub" / "models--KBlueLeaf--TIPO-100M" / "snapshots" / "c" / "TIPO-100M-F16.gguf"
    file.parent.mkdir(parents=True)
    file.write_bytes(WEIGHTS)
    assert main(["models", "remove", "TIPO-100M", "--yes"]) == 2
    assert "not in our own folder" in capsys.readouterr().err
    assert file.exists()


def test_quantize_keeps_a_q8_0_file_beside(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("llama_cpp")
    models.mkdir()
    (models / NAME).write_bytes(exact_gguf().read_bytes())
    assert main(["models", "quantize", "TIPO-100M", "--threads", "1"]) == 0
    assert "use it with --model TIPO-100M:Q8_0" in capsys.readouterr().err
    assert sorted(path.name for path in models.glob("*.gguf")) == [NAME, "TIPO-100M_TIPO-100M-Q8_0.gguf"]


def test_a_downloaded_model_expands_by_its_name(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("llama_cpp")
    hub.add(REPO, "TIPO-100M-F16.gguf", exact_gguf().read_bytes())
    assert main(["models", "download", "TIPO-100M", "--yes"]) == 0
    argv = ["expand", "1girl, shrine", "--model", "TIPO-100M", "--tag-length", "very_short", "--seed", "1", "--json"]
    assert main(argv) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["model"] == "TIPO-100M"
    assert told["added_tags"]


def test_a_model_that_is_not_installed_names_its_download(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["expand", "1girl", "--model", "TIPO-200M-ft2"]) == 2
    assert "kgen models download TIPO-200M-ft2" in capsys.readouterr().err


def test_a_mistake_in_the_user_s_catalogue_is_told(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models.mkdir()
    (models / "kgen-models.json").write_text('{"schema": 1, "models": [{"id": "mine"}]}')
    assert main(["models", "list"]) == 2
    assert "model 1 ('mine'): files is missing" in capsys.readouterr().err
