"""The command with the real service, the starter model and the reference engine."""
from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kgen_ext.cli import main

Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).resolve().parents[1]
FAST = ["--engine", "reference", "--tag-length", "very_short", "--json"]


def cold(folder: Path, *argv: str) -> bytes:
    """Return what a new process in `folder` prints."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *argv], cwd=folder, env=env, capture_output=True, check=True).stdout


def expand(capsys: Capture, *argv: str) -> list[dict[str, object]]:
    assert main(["expand", *FAST, *argv]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_same_seed_gives_the_same_bytes_in_two_processes(tmp_path: Path) -> None:
    argv = ["-m", "kgen_ext", "expand", "1girl, fox ears, shrine", "--seed", "1", "--json"]
    first, second = cold(tmp_path, *argv), cold(tmp_path, *argv)
    assert first == second and json.loads(first)["prompt"].startswith("1girl, fox ears, shrine")


def test_the_pieces_join_to_the_prompt_and_the_users_to_the_source(capsys: Capture) -> None:
    source = "(1girl:1.2),  [day:night:0.5], <lora:ink:0.8> BREAK scenery # note"
    (answer,) = expand(capsys, source, "--seed", "3")
    pieces = answer["pieces"]
    assert isinstance(pieces, list)
    assert "".join(piece["text"] for piece in pieces) == answer["prompt"]
    assert "".join(piece["text"] for piece in pieces if piece["by"] == "user") == source == answer["source"]


def test_a_line_of_a_file_can_be_repeated_alone(capsys: Capture, tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("1girl, shrine\nno humans, city\n\n1girl, shrine\n", encoding="utf-8")
    rows = expand(capsys, "--file", str(path), "--seed", "5")
    assert [row["source"] for row in rows] == ["1girl, shrine", "no humans, city", "", "1girl, shrine"]
    for row in rows:
        (alone,) = expand(capsys, str(row["source"]), "--seed", str(row["seed"]))
        assert alone["prompt"] == row["prompt"]
    assert rows[0]["prompt"] != rows[3]["prompt"]


def test_variants_differ_and_each_has_its_own_seed(capsys: Capture) -> None:
    argv = ["1girl, shrine", "--tag-length", "short", "--seed"]
    rows = expand(capsys, *argv, "5", "--count", "3")
    assert len({row["prompt"] for row in rows}) == len({row["seed"] for row in rows}) == 3
    (alone,) = expand(capsys, *argv, str(rows[2]["seed"]))
    assert alone["prompt"] == rows[2]["prompt"]


@pytest.mark.slow
def test_odd_prompts_come_back_whole(capsys: Capture, tmp_path: Path) -> None:
    odd = ["\0", "((((", "a" * 1_000_000, "x, " * 50_000, "\u2028,\x85", "🦊‍🔥", "<|long|> </s>"]
    path = tmp_path / "odd.txt"
    path.write_text("\n".join(odd) + "\n", encoding="utf-8")
    rows = expand(capsys, "--file", str(path), "--seed", "1")
    assert [row["source"] for row in rows] == odd
    assert all(str(row["prompt"]).startswith(source) for row, source in zip(rows, odd, strict=True))


@pytest.mark.parametrize(
    ("argv", "names"),
    [
        (["--model", "no-such-model"], ["no-such-model", "starter"]),
        (["--engine", "gpu"], ["--engine", "gpu", "reference", "llama_cpp"]),
        (["--format", "<|poses|>"], ["poses", "general"]),
        (["--ban", "/a(/"], ["/a(/"]),
        (["--rule", "twintails ban"], ["twintails ban"]),
        (["--tag-file", "no-such.csv"], ["no-such.csv"]),
        (["--threads", "0"], ["--threads", "0"]),
    ],
)
def test_a_mistake_is_named_with_what_is_possible(capsys: Capture, argv: list[str], names: list[str]) -> None:
    assert main(["expand", "1girl", *argv]) == 2
    out, error = capsys.readouterr()
    assert out == "" and len(error.splitlines()) == 1 and all(name in error for name in names), error


@pytest.mark.parametrize("data", [b"", b"GGUF", b"not a model at all" * 100, b"\x08\0\0\0\0\0\0\0{}      "])
@pytest.mark.parametrize("name", ["broken.gguf", "broken.safetensors"])
def test_a_damaged_model_file_is_named(capsys: Capture, tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert main(["expand", "1girl", "--model", str(path)]) in (1, 2)
    out, error = capsys.readouterr()
    assert out == "" and name in error and "Traceback" not in error and "Error:" not in error, error


@pytest.mark.slow
def test_a_cold_expansion_takes_at_most_twelve_times_importing_numpy(tmp_path: Path) -> None:
    def best(*argv: str) -> float:
        """Return the quickest of five: what the machine does besides only ever adds."""
        times = []
        for _ in range(5):
            start = time.perf_counter()
            cold(tmp_path, *argv)
            times.append(time.perf_counter() - start)
        return min(times)

    argv = ["-m", "kgen_ext", "expand", "1girl, fox ears, shrine", "--seed", "1", "--engine", "reference"]
    assert best(*argv) <= 12 * best("-c", "import numpy")
