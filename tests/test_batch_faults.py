"""`kgen batch` that is killed, runs out of disk, or runs long."""
from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from batch_kit import QUICK, batch, digest, parts, start, wait_for, write_prompts
from cli_fakes import FakeExpander

OPTIONS = (*QUICK, "--part-rows", "3", "--seed", "5")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prompts(tmp_path_factory.mktemp("in"), 40)


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files of a run that nothing happened to."""
    output = tmp_path_factory.mktemp("whole") / "out"
    assert batch(source, output, *OPTIONS) == 0
    return digest(output)


def marks(output: Path) -> dict[str, tuple[int, int]]:
    """Return by name what changes when a part is written."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in parts(output)}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
def test_a_run_that_was_killed_goes_on_to_the_same_bytes(source: Path, whole: dict[str, str], tmp_path: Path) -> None:
    output = tmp_path / "out"
    for count in (2, 5):
        with start(source, output, *OPTIONS) as process:
            wait_for(lambda count=count: len(parts(output)) >= count)  # type: ignore[misc]
            process.kill()
        assert process.returncode == -signal.SIGKILL
    before = marks(output)
    assert batch(source, output, *OPTIONS) == 0
    assert digest(output) == whole
    # Not written a second time: the same file, unchanged.
    assert before.items() <= marks(output).items()


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT here")
def test_an_interrupted_run_says_so_and_keeps_its_parts(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    with start(source, output, *OPTIONS) as process:
        wait_for(lambda: len(parts(output)) >= 1)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
    assert process.returncode == 130 and error == "kgen: interrupted\n"
    assert out.endswith("of 40 rows are done\n")


def test_a_full_disk_stops_the_run_and_room_lets_it_go_on(
    monkeypatch: pytest.MonkeyPatch, source: Path, whole: dict[str, str], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    output, fsync, calls = tmp_path / "out", os.fsync, 0

    def full(file: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 5:
            raise OSError(28, "No space left on device")
        fsync(file)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert batch(source, output, *OPTIONS) == 1
    assert "the disk is full" in capsys.readouterr().err
    assert [path.name for path in output.iterdir() if path.name.endswith(".tmp")] == []
    assert batch(source, output, *OPTIONS) == 0
    assert digest(output) == whole


def test_a_disk_too_full_for_the_bad_rows_still_gives_the_last_line(
    monkeypatch: pytest.MonkeyPatch, service: FakeExpander, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, replaced = tmp_path / "in.jsonl", os.replace
    source.write_text('{"prompt": "1girl"}\n{"prompt": 3}\n', "utf-8")

    def full(old: Any, new: Any) -> None:
        if Path(new).name == "errors.jsonl":
            raise OSError(28, "No space left on device")
        replaced(old, new)

    monkeypatch.setattr(os, "replace", full)
    assert batch(source, tmp_path / "out") == 1
    said = capsys.readouterr()
    assert said.out.startswith("2 of 2 rows are done, 1 bad")
    assert "the disk is full" in said.err


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_memory_is_flat(monkeypatch: pytest.MonkeyPatch, service: FakeExpander, tmp_path: Path) -> None:
    """20,000 rows through everything but the decoder, whose memory does not depend on how often it is called."""
    held = list[int]()
    stream = service.stream

    def note(requests: Any) -> Any:
        fields = Path("/proc/self/statm").read_text().split()
        held.append(int(fields[1]) * os.sysconf("SC_PAGE_SIZE"))
        return stream(requests)

    monkeypatch.setattr(service, "stream", note)
    assert batch(write_prompts(tmp_path, 20_000), tmp_path / "out") == 0
    assert max(held[1:]) - held[1] < 20_000_000
