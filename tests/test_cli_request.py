"""`kgen request`: the golden cases, and lines that are not valid cases."""
from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from kgen_ext.cli import main

Capture = pytest.CaptureFixture[str]
GOLDEN = Path(__file__).parent / "golden" / "tipo_requests.json"
CASE = {"tags": "1girl, long_hair", "meta": {"rating": None}, "task": None, "length": "long", "text": ""}


def ask(monkeypatch: pytest.MonkeyPatch, text: str) -> int:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    return main(["request", "--jsonl", "-"])


def test_every_golden_request_comes_out_byte_for_byte(capsys: Capture, tmp_path: Path) -> None:
    cases = json.loads(GOLDEN.read_text(encoding="utf-8"))
    path = tmp_path / "cases.jsonl"
    path.write_text("".join(json.dumps(case) + "\n" for case in cases), encoding="utf-8")
    assert main(["request", "--jsonl", str(path)]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(cases) == 160 and answers == [case["expected"] for case in cases]


def test_empty_lines_are_no_cases(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    assert ask(monkeypatch, f"\n{json.dumps(CASE)}\n  \n") == 0
    assert capsys.readouterr().out == '"target: <|long|>\\ntag: 1girl, long hair"\n'


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"task": "tag_to_short"}, ["task", "tag_to_short", "tag_to_long"]),
        ({"length": "huge"}, ["length", "huge", "very_long"]),
        ({"length": None}, ["length", "string"]),
        ({"tags": ["1girl"]}, ["tags", "string"]),
        ({"meta": []}, ["meta", "object"]),
        ({"meta": {"rating": 1}}, ["meta", "rating", "null"]),
    ],
)
def test_a_bad_field_is_named_with_its_line(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, change: dict[str, object], names: list[str]
) -> None:
    assert ask(monkeypatch, f"{json.dumps(CASE)}\n{json.dumps({**CASE, **change})}\n") == 2
    error = capsys.readouterr().err
    assert all(name in error for name in ["line 2", *names]), error


@pytest.mark.parametrize("missing", list(CASE))
def test_a_missing_field_is_named_with_its_line(monkeypatch: pytest.MonkeyPatch, capsys: Capture, missing: str) -> None:
    assert ask(monkeypatch, json.dumps({name: value for name, value in CASE.items() if name != missing})) == 2
    assert f"line 1: {missing} is missing" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["{", "[]", '"1girl"', "[" * 100_000])
def test_a_line_that_is_no_case_is_named(monkeypatch: pytest.MonkeyPatch, capsys: Capture, line: str) -> None:
    assert ask(monkeypatch, line) == 2
    assert "line 1: not" in capsys.readouterr().err
