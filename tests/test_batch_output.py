"""The output folder of `kgen batch`: parts whole or absent, bad rows in order, the manifest."""
from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from kgen_ext.errors import Failure, UserError
from kgen_ext.scale.output import OutputFolder

MANIFEST = {"kgen": "1", "options": {"tag_length": "short"}, "seed": 1}


def folder(path: Path) -> OutputFolder:
    path.mkdir(exist_ok=True)
    return OutputFolder(str(path), "jsonl")


def names(path: Path) -> list[str]:
    return sorted(os.listdir(path))


def test_a_part_is_written_under_its_number(tmp_path: Path) -> None:
    folder(tmp_path).write_part(42, b"x\n", [])
    assert names(tmp_path) == ["part-00000042.jsonl"]


def test_a_part_that_is_there_is_left_alone(tmp_path: Path) -> None:
    output = folder(tmp_path)
    output.write_part(0, b"first\n", [])
    output.write_part(0, b"second\n", [])
    assert (tmp_path / "part-00000000.jsonl").read_bytes() == b"first\n"


def test_a_part_is_written_without_hard_links_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", link)
    folder(tmp_path).write_part(0, b"x\n", [])
    assert names(tmp_path) == ["part-00000000.jsonl"]


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "the disk is full"), (errno.EIO, "Input/output error")])
def test_a_part_that_does_not_fit_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def fsync(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(Failure, match=f"{words}.*goes on where it was"):
        folder(tmp_path).write_part(0, b"x\n", [])
    assert names(tmp_path) == []


def test_what_a_killed_run_left_of_a_part_is_removed(tmp_path: Path) -> None:
    for name in (".part-00000001.jsonl.7-ab.tmp", ".part-00000002.jsonl.7-ab.tmp", "part-00000003.jsonl"):
        (tmp_path / name).write_bytes(b"half")
    folder(tmp_path).clear({1, 3})
    assert names(tmp_path) == [".part-00000002.jsonl.7-ab.tmp", "part-00000003.jsonl"]


def test_bad_rows_come_together_in_order(tmp_path: Path) -> None:
    output = folder(tmp_path)
    output.write_part(1, b"", [{"row": 9}])
    output.write_part(0, b"", [{"row": 2}, {"row": 3}])
    output.collect_errors()
    assert (tmp_path / "errors.jsonl").read_text() == '{"row": 2}\n{"row": 3}\n{"row": 9}\n'


def test_bad_rows_of_a_part_that_was_not_finished_do_not_count(tmp_path: Path) -> None:
    output = folder(tmp_path)
    output.write_part(0, b"", [{"row": 2}])
    (tmp_path / "part-00000000.jsonl").unlink()
    assert output.count_errors({0}) == 0


def test_without_bad_rows_there_is_no_file_of_them(tmp_path: Path) -> None:
    output = folder(tmp_path)
    output.write_part(0, b"", [])
    output.collect_errors()
    assert names(tmp_path) == ["part-00000000.jsonl"]


def test_a_folder_may_be_claimed_again_with_the_same_manifest(tmp_path: Path) -> None:
    folder(tmp_path).claim(MANIFEST)
    folder(tmp_path).claim(MANIFEST)
    assert names(tmp_path) == ["manifest.json"]


def test_a_folder_is_not_claimed_with_other_options(tmp_path: Path) -> None:
    folder(tmp_path).claim(MANIFEST)
    with pytest.raises(UserError, match=r'begun with options\.tag_length "short", not "long"; seed 1, not 2'):
        folder(tmp_path).claim({**MANIFEST, "options": {"tag_length": "long"}, "seed": 2})


def test_an_option_that_was_not_given_before_is_told(tmp_path: Path) -> None:
    folder(tmp_path).claim(MANIFEST)
    with pytest.raises(UserError, match=r'options\.ban unset, not \["hat"\]'):
        folder(tmp_path).claim({**MANIFEST, "options": {"tag_length": "short", "ban": ("hat",)}})


def test_a_folder_with_other_files_is_not_claimed(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="holds other files, such as thesis"):
        folder(tmp_path).claim(MANIFEST)


def test_a_file_is_not_claimed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        OutputFolder(str(tmp_path / "file"), "jsonl").claim(MANIFEST)


def test_a_manifest_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UserError, match="is not a manifest"):
        folder(tmp_path).claim(MANIFEST)
