"""`kgen batch` from and to Parquet."""
from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from batch_kit import batch, digest, errors, parts, results
from cli_fakes import FakeExpander

pytestmark = pytest.mark.usefixtures("service")


@pytest.fixture
def pa() -> Any:
    pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    return sys.modules["pyarrow"]


def write(pa: Any, path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pa.parquet.write_table(pa.table(columns), path, **options)
    return path


def read(pa: Any, output: Path) -> Any:
    return pa.concat_tables([pa.parquet.read_table(path) for path in parts(output)])


def jsonl(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "in.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_rows_are_read_across_row_groups_and_files(pa: Any, tmp_path: Path, size: int) -> None:
    (tmp_path / "in").mkdir()
    write(pa, tmp_path / "in" / "a.parquet", {"prompt": list("abcde"), "n": [1, 2, 3, 4, 5]}, row_group_size=2)
    write(pa, tmp_path / "in" / "b.parquet", {"prompt": ["f"], "n": [6]})
    batch(tmp_path / "in", tmp_path / "out", "--part-rows", str(size), "--to", "jsonl")
    rows = [(row["row"], row["source"], row["n"]) for row in results(tmp_path / "out")]
    assert rows == [(number, letter, number + 1) for number, letter in enumerate("abcdef")]


def test_parts_have_the_columns_of_the_json(pa: Any, tmp_path: Path) -> None:
    source = jsonl(tmp_path, {"prompt": "a", "id": 7}, {"prompt": "b", "id": None})
    batch(source, tmp_path / "json")
    batch(source, tmp_path / "out", "--to", "parquet")
    assert read(pa, tmp_path / "out").to_pylist() == results(tmp_path / "json")


def test_columns_that_are_passed_through_keep_their_types(pa: Any, tmp_path: Path) -> None:
    day = datetime.datetime(2026, 1, 2, 3, 4, 5, 678000)
    columns = {
        "prompt": ["a", "b"], "when": pa.array([day, None], pa.timestamp("us")),
        "image": pa.array([b"\0\1", b""], pa.binary()),
        "box": pa.array([[1, 2], None], pa.list_(pa.int16())), "kind": pa.array(["x", "x"]).dictionary_encode(),
        "row": pa.array([1.5, 2.5], pa.float32()),
    }  # fmt: skip
    batch(write(pa, tmp_path / "in.parquet", columns), tmp_path / "out")
    given, kept = pa.table(columns), read(pa, tmp_path / "out")
    for name, new in {"when": "when", "image": "image", "box": "box", "kind": "kind", "row": "input_row"}.items():
        assert kept.schema.field(new).type == given.schema.field(name).type
        assert kept.column(new).to_pylist() == given.column(name).to_pylist()


def test_what_json_does_not_have_becomes_text(pa: Any, tmp_path: Path) -> None:
    columns = {"prompt": ["a"], "when": [datetime.date(2026, 1, 2)], "image": [b"\0\1"]}
    batch(write(pa, tmp_path / "in.parquet", columns), tmp_path / "out", "--to", "jsonl")
    (row,) = results(tmp_path / "out")
    assert (row["when"], row["image"]) == ("2026-01-02", "AAE=")


def test_pandas_writes_a_null_as_nan(pa: Any, tmp_path: Path) -> None:
    batch(write(pa, tmp_path / "in.parquet", {"prompt": ["a", "b"], "seed": [5.0, float("nan")]}), tmp_path / "out")
    assert read(pa, tmp_path / "out").column("seed").to_pylist() == [5, 1]


def test_an_empty_prompt_column_is_bad(pa: Any, tmp_path: Path) -> None:
    assert batch(write(pa, tmp_path / "in.parquet", {"prompt": ["a", None]}), tmp_path / "out") == 3
    assert errors(tmp_path / "out")[0]["row"] == 1


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"prompt": "b", "id": "seven"}, "column 'id': 'seven' is not int64"),
        ({"prompt": "b", "id": 1.5}, "column 'id': 1.5 is not int64"),
        ({"prompt": "b", "box": {"x": 1, "z": 2}}, "column 'box': {'x': 1, 'z': 2} is not struct<x: int64>"),
        ({"prompt": "b", "size": [1.5]}, "column 'size': [1.5] is not list<item: int64>"),
        ({"prompt": "b", "score": 1}, "unknown column 'score': the first rows do not have it"),
    ],
)
def test_a_row_of_another_shape_is_bad_where_columns_have_types(
    pa: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, row: dict[str, Any], problem: str
) -> None:
    monkeypatch.setattr("kgen_ext.scale.batch._SAMPLE", 2)
    source = jsonl(tmp_path, {"prompt": "a", "id": 7, "box": {"x": 1}, "size": [1]}, {"prompt": "a"}, row)
    assert batch(source, tmp_path / "out", "--to", "parquet") == 3
    assert [(bad["row"], bad["error"]) for bad in errors(tmp_path / "out")] == [(2, problem)]


def test_columns_without_a_type_are_told(pa: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = jsonl(tmp_path, {"prompt": "a", "id": 7}, {"prompt": "a", "id": [7]})
    assert batch(source, tmp_path / "out", "--to", "parquet") == 2
    assert "--to jsonl" in capsys.readouterr().err


def test_files_with_different_columns_are_told(pa: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    write(pa, tmp_path / "in" / "a.parquet", {"prompt": ["a"], "n": [1]})
    write(pa, tmp_path / "in" / "b.parquet", {"prompt": ["a"], "n": ["1"]})
    assert batch(tmp_path / "in", tmp_path / "out") == 2
    assert "b.parquet has other columns" in capsys.readouterr().err


def test_a_part_without_a_good_row_is_there_all_the_same(pa: Any, tmp_path: Path) -> None:
    batch(jsonl(tmp_path, {"prompt": 5}), tmp_path / "out", "--to", "parquet")
    assert read(pa, tmp_path / "out").num_rows == 0


def test_equal_runs_give_equal_files(pa: Any, tmp_path: Path) -> None:
    source = write(pa, tmp_path / "in.parquet", {"prompt": ["a", "b", "c"], "n": [1, 2, 3]})
    batch(source, tmp_path / "one", "--part-rows", "2")
    batch(source, tmp_path / "two", "--part-rows", "2")
    assert digest(tmp_path / "one") == digest(tmp_path / "two")


def test_a_file_that_is_no_parquet_is_told(pa: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.parquet").write_bytes(b"PAR0")
    assert batch(tmp_path / "in.parquet", tmp_path / "out") == 2
    assert "is not Parquet" in capsys.readouterr().err


@pytest.mark.parametrize("options", [[], ["--to", "parquet"]])
def test_without_pyarrow_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, service: FakeExpander, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    options: list[str],
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    source = tmp_path / ("in.txt" if options else "in.parquet")
    source.write_text("a\n")
    assert batch(source, tmp_path / "out", *options) == 1
    assert "extra `scale`" in capsys.readouterr().err


def test_text_needs_no_pyarrow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "in.txt").write_text("a\n")
    assert batch(tmp_path / "in.txt", tmp_path / "out") == 0
