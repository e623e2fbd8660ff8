"""Input of `kgen batch`: which files, which rows, and where a part begins."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgen_ext.cli.inputs import read_lines
from kgen_ext.errors import UserError
from kgen_ext.scale.inputs import BadRow, Format, divide, find_files, read_rows


def write(folder: Path, name: str, data: bytes) -> str:
    path = folder / name
    path.write_bytes(data)
    return str(path)


def rows(path: str, *, size: int = 1000) -> list[Any]:
    """Return the values of all rows, or what is wrong with them, read part by part."""
    files, kind = find_files(path)
    found = [row for part in divide(files, kind, size) for row in read_rows(files, kind, part)]
    assert [row.number for row in found] == list(range(len(found)))
    return [str(row.values) if isinstance(row.values, BadRow) else row.values for row in found]


def test_a_line_of_text_is_a_prompt(tmp_path: Path) -> None:
    found = rows(write(tmp_path, "a.txt", b"1girl\n\ncat, hat"))
    assert found == [{"prompt": "1girl"}, {"prompt": ""}, {"prompt": "cat, hat"}]


@given(st.text("a\n\r\ufeffé", max_size=12), st.integers(1, 4))
def test_lines_are_those_of_kgen_expand(tmp_path_factory: pytest.TempPathFactory, text: str, size: int) -> None:
    path = write(tmp_path_factory.mktemp("text"), "a.txt", text.encode())
    lines = read_lines(path, option="--file")
    files, kind = (path,), Format.TEXT
    found = [row for part in divide(files, kind, size) for row in read_rows(files, kind, part)]
    assert [row.values["prompt"] for row in found if isinstance(row.values, dict)] == lines


def test_the_first_record_of_csv_names_the_columns(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", b'\xef\xbb\xbfprompt,note\r\n"a, b","x\ny"\r\n\r\nc,\r\n')
    assert rows(path) == [{"prompt": "a, b", "note": "x\ny"}, {"prompt": "c", "note": ""}]


def test_tabs_separate_a_tsv(tmp_path: Path) -> None:
    assert rows(write(tmp_path, "a.tsv", b"prompt\tn\na, b\t1\n")) == [{"prompt": "a, b", "n": "1"}]


def test_a_line_of_jsonl_is_an_object(tmp_path: Path) -> None:
    assert rows(write(tmp_path, "a.jsonl", b'{"prompt": "a"}\n\n {"n": 2}\r\n')) == [{"prompt": "a"}, {"n": 2}]


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("a.txt", b"caf\xe9", "not UTF-8: byte 3 is 0xe9"),
        ("a.jsonl", b"{oops}", "not JSON: "),
        ("a.jsonl", b'{"a": "\xe9"}', "not UTF-8: byte 7 is 0xe9"),
        ("a.jsonl", b"[1]", "not an object"),
        ("a.jsonl", b'{"prompt": "\\ud800"}', "not Unicode: half of a surrogate pair"),
        ("a.jsonl", b"[" * 100_000, "not JSON: "),
        ("a.csv", b"prompt,n\na", "1 values, but the first line names 2 columns"),
        ("a.csv", b"prompt\n\xe9", "not UTF-8"),
        ("a.csv", b"prompt\n" + b"a" * 200_000, "not CSV: field larger"),
    ],
)
def test_a_bad_row_costs_no_other(tmp_path: Path, name: str, data: bytes, problem: str) -> None:
    sound = {"a.txt": b"good", "a.jsonl": b'{"prompt": "good"}', "a.csv": b"good,1" if b"," in data else b"good"}
    first, second = rows(write(tmp_path, name, data + b"\n" + sound[name]))
    assert first.startswith(problem) and second["prompt"] == "good"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_parts_of_any_size_hold_the_same_rows(tmp_path: Path, size: int) -> None:
    write(tmp_path, "b.csv", b'prompt\n"b\n1"\n\nb2\n"b""3"\n')
    write(tmp_path, "a.csv", b"\xef\xbb\xbfprompt\na1\na2\n")
    write(tmp_path, "c.csv", b"prompt\n")
    write(tmp_path, "d.csv", b"prompt\nd1\n")
    prompts = [values["prompt"] for values in rows(str(tmp_path), size=size)]
    assert prompts == ["a1", "a2", "b\n1", "b2", 'b"3', "d1"]


def test_a_part_knows_its_rows(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", b"a\nb\nc\nd\ne\n")
    found = [(part.number, part.first, part.rows) for part in divide((path,), Format.TEXT, 2)]
    assert found == [(0, 0, 2), (1, 2, 2), (2, 4, 1)]


def test_an_input_that_became_shorter_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", b"a\nb\nc\n")
    (part,) = divide((path,), Format.TEXT, 3)
    write(tmp_path, "a.txt", b"a\n")
    with pytest.raises(UserError, match="ends before row 1"):
        list(read_rows((path,), Format.TEXT, part))


def test_of_a_folder_the_files_with_a_known_ending_are_taken_by_name(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.JSONL", "README.md", ".hidden.jsonl"):
        write(tmp_path, name, b"")
    files, kind = find_files(str(tmp_path))
    assert ([Path(file).name for file in files], kind) == (["a.JSONL", "b.jsonl"], Format.JSONL)


def test_a_glob_names_files(tmp_path: Path) -> None:
    for name in ("a1.txt", "a2.txt", "b.txt", "a.csv"):
        write(tmp_path, name, b"")
    files, _ = find_files(str(tmp_path / "a?.txt"))
    assert [Path(file).name for file in files] == ["a1.txt", "a2.txt"]


def test_a_name_with_brackets_is_a_name_before_it_is_a_glob(tmp_path: Path) -> None:
    path = write(tmp_path, "a[1].txt", b"")
    assert find_files(path)[0] == (path,)


def test_the_format_can_be_given(tmp_path: Path) -> None:
    path = write(tmp_path, "prompts", b"a\n")
    assert find_files(path, Format.TEXT) == ((path,), Format.TEXT)


@pytest.mark.parametrize(
    ("names", "source", "problem"),
    [
        ([], "", "no files"),
        (["a.md"], "", "no files"),
        (["a.csv", "b.txt"], "", "several formats: csv, text"),
        (["a.dat"], "a.dat", "does not tell its format"),
        ([], "absent.txt", "no files"),
    ],
)
def test_an_input_without_an_answer_is_refused(tmp_path: Path, names: list[str], source: str, problem: str) -> None:
    for name in names:
        write(tmp_path, name, b"a\n")
    with pytest.raises(UserError, match=problem):
        find_files(str(tmp_path / source))


def test_a_header_must_not_name_a_column_twice(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="two columns named 'a'"):
        rows(write(tmp_path, "x.csv", b"a,b,a\n1,2,3\n"))
