"""Errors of the command line: one line, the right exit code, no traceback."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest
from cli_fakes import FakeExpander

from kgen_ext.cli import COMMANDS, main
from kgen_ext.errors import BadPattern, BadValue, EngineError, EngineUnavailable, ModelFileError, UnknownModel

Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch
CASE = '{"tags": "1girl", "meta": {}, "task": null, "length": "long", "text": ""}\n'
ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("failure", "code", "line"),
    [
        (UnknownModel("no model x", hint="try starter"), 2, "kgen: error: no model x (try starter)"),
        (BadPattern("ban: /(/ is malformed"), 2, "kgen: error: ban: /(/ is malformed"),
        (BadValue("engine", "gpu", ["auto"]), 2, "kgen: error: --engine: 'gpu' is not allowed (use auto)"),
        (ModelFileError("x is cut off", hint="fetch it again"), 1, "kgen: error: x is cut off (fetch it again)"),
        (EngineUnavailable("no torch"), 1, "kgen: error: no torch"),
        (EngineError("out of memory"), 1, "kgen: error: out of memory"),
        (RuntimeError("a\nb"), 1, "kgen: error: RuntimeError: a b"),
        (MemoryError(), 1, "kgen: error: MemoryError"),
        (KeyboardInterrupt(), 130, "kgen: interrupted"),
    ],
)
def test_a_failure_is_one_line_and_a_code(
    service: FakeExpander, capsys: Capture, monkeypatch: Patch, failure: BaseException, code: int, line: str
) -> None:
    monkeypatch.delenv("KGEN_DEBUG", raising=False)
    service.failure = failure
    assert main(["expand", "1girl", "--seed", "1"]) == code
    out, error = capsys.readouterr()
    assert out == "" and error.splitlines()[0] == line
    assert ("KGEN_DEBUG" in error) == (code == 1) and "Traceback" not in error


def test_debugging_shows_where_it_happened(service: FakeExpander, capsys: Capture, monkeypatch: Patch) -> None:
    monkeypatch.setenv("KGEN_DEBUG", "1")
    service.failure = RuntimeError("odd")
    assert main(["expand", "1girl", "--seed", "1"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "names"),
    [
        (["--tag-length", "huge"], ["--tag-length", "huge", "very_long"]),
        (["--text-length", "huge"], ["--text-length", "none"]),
        (["--task", "tag_to_short"], ["--task", "short_to_tag_to_long"]),
        (["--allow", "poses"], ["--allow", "poses", "characters"]),
        (["--top-p", "1.5"], ["--top-p", "1.5", "0 to 1"]),
        (["--temperature", "nan"], ["--temperature", "nan"]),
        (["--count", "0"], ["--count", "1 to 64"]),
        (["--seed", "-1"], ["--seed", "-1"]),
        (["--width", "7"], ["--width", "16 to 16384"]),
        (["--top-k", "many"], ["--top-k", "many"]),
        (["--threads", "some"], ["--threads", "some"]),
        (["--tag"], ["--tag"]),
        (["fox", "ears"], ["fox ears"]),
        (["1girl\udce9"], ["PROMPT", "UTF-8"]),
        (["--ban", "a\udce9"], ["--ban", "UTF-8"]),
    ],
)
def test_a_mistake_names_the_option_the_value_and_what_is_allowed(
    service: FakeExpander, capsys: Capture, argv: list[str], names: list[str]
) -> None:
    assert main(["expand", *([] if argv[0] == "1girl\udce9" else ["1girl"]), *argv]) == 2
    out, error = capsys.readouterr()
    assert out == "" and service.requests == []
    assert all(name in error for name in names), error


@pytest.mark.parametrize("argv", [[], ["shrink"], ["expand", "--nonsense"], ["request"]])
def test_a_wrong_call_shows_how_to_call(capsys: Capture, argv: list[str]) -> None:
    assert main(argv) == 2
    assert "usage: kgen" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_every_command_explains_itself(capsys: Capture, argv: list[str]) -> None:
    assert main(argv) == 0
    assert capsys.readouterr().out.startswith("usage: kgen")


def test_the_version_is_the_packages(capsys: Capture) -> None:
    import kgen_ext

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"kgen {kgen_ext.__version__}\n"


def run_module(
    *argv: str, input: bytes = b"", stdout: int | BinaryIO = subprocess.PIPE
) -> subprocess.CompletedProcess[bytes]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "kgen_ext", *argv]
    return subprocess.run(command, env=env, input=input, stdout=stdout, stderr=subprocess.PIPE)


def test_the_module_is_the_command() -> None:
    done = run_module("--help")
    assert done.returncode == 0 and done.stdout.startswith(b"usage: kgen")


@pytest.mark.skipif(sys.platform == "win32", reason="closes a POSIX pipe")
def test_a_reader_that_goes_away_ends_the_command_quietly(tmp_path: Path) -> None:
    cases = tmp_path / "cases.jsonl"
    cases.write_text(CASE * 20_000)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-m", "kgen_ext", "request", "--jsonl", str(cases)],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        error = process.stderr.read()
    assert (process.returncode, error) == (141, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_is_told_in_one_line() -> None:
    with open("/dev/full", "wb") as full:
        done = run_module("request", "--jsonl", "-", input=CASE.encode(), stdout=full)
    assert done.returncode == 1 and done.stderr.startswith(b"kgen: error: OSError")
    assert b"Traceback" not in done.stderr
