"""Runs of `kgen batch` for tests, and what is in their folders."""
from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kgen_ext.cli import main

ROOT = Path(__file__).resolve().parents[1]
# One engine and quick rows: the texts are compared, and any will do.
QUICK = ("--engine", "reference", "--tag-length", "very_short")
PROMPTS = ("1girl, fox ears", "", "scenery, (rain:1.2)", "1boy, hat BREAK forest", "no humans, <lora:ink:0.8>, cat")


def write_prompts(folder: Path, rows: int) -> Path:
    """Write a text file of different prompts."""
    path = folder / "prompts.txt"
    path.write_text("".join(f"{PROMPTS[row % len(PROMPTS)]}\n" for row in range(rows)), encoding="utf-8")
    return path


def batch(source: Path, output: Path, *options: str) -> int:
    """Run the command in this process and return its exit code."""
    return main(["batch", str(source), str(output), *options])


def start(source: Path, output: Path, *options: str, code: str = "") -> subprocess.Popen[str]:
    """Start the command in a process of its own. code: Python that runs it, in place of the module."""
    how = ["-c", code] if code else ["-m", "kgen_ext"]
    command = [sys.executable, *how, "batch", str(source), str(output), *options]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}
    # A shell starts what it puts in the background with SIGINT ignored, and a child would inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)


def wait_for(condition: Callable[[], bool], *, seconds: float = 120) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def parts(output: Path) -> list[Path]:
    """Return the parts in order."""
    return sorted(output.glob("part-*"))


def results(output: Path) -> list[dict[str, Any]]:
    """Return the rows of all JSONL parts."""
    return [json.loads(line) for path in parts(output) for line in path.read_text("utf-8").splitlines()]


def errors(output: Path) -> list[dict[str, Any]]:
    """Return the bad rows."""
    path = output / "errors.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def digest(output: Path) -> dict[str, str]:
    """Return the SHA-256 of every visible file, by name."""
    files = [path for path in sorted(output.iterdir()) if path.is_file()]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
