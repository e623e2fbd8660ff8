"""Tag files: which tags they know, and the error for a file that is not one."""
from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgen_ext.errors import BadValue, UserError
from kgen_ext.rules.known import _written, load_tag_file
from kgen_ext.tags.canonical import normalise

LINES = """1girl,0,6008644,"1girls,sole_female"
long_hair,0,4350743,"/lh,longhair"
smile,0,2873890,":),:},smiling"
skirt,0,1557883,
o_o,0,900,"smiling"
saber_(fate),4,500,"saber,long_hair"
"""


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "tags.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_names_and_aliases_resolve_in_every_spelling(tmp_path: Path) -> None:
    known = load_tag_file(write(tmp_path, LINES))
    assert known.resolve("Long_Hair") == known.resolve("longhair") == "long hair"
    assert known.resolve(r"saber \(fate\)") == known.resolve("saber") == "saber (fate)"
    assert known.resolve("sole female") == "1girl"
    assert known.resolve("O_O") == "o_o"
    assert "1girls" in known and "no such tag" not in known


def test_a_name_goes_before_an_alias_and_the_more_used_tag_before_the_less_used(tmp_path: Path) -> None:
    known = load_tag_file(write(tmp_path, LINES))
    assert known.resolve("long hair") == "long hair"
    assert known.resolve("smiling") == "smile"


def test_typing_shortcuts_are_no_tags(tmp_path: Path) -> None:
    assert load_tag_file(write(tmp_path, LINES)).resolve("/lh") is None


@pytest.mark.parametrize(
    "content",
    ["name,category,posts,aliases\n" + LINES, "\ufeff" + LINES, LINES.replace("\n", "\r\n"), LINES + "\n\n",
     "1girl,0\n", "1girl,0,12\n", "1girl\n2girls\n", LINES.replace(",", "\t"), "1girl;0;12;\n;);0;9;\n",
     "tag;type;count\n1girl;general;5\n", "1girl,general,12\nwlop,artist,3\n", '1girl,0,"6,008,644",\n',
     "1girl,0,1.2k,\n", "# my tags\n\n1girl,0,5\n  \n# end\n", "#compass,3,12\n1girl,0,5\n",
     "masterpiece,5,,\n1girl,5,Quality tag,\"one girl\"\n", "name\tcategory\n1girl\t0\n", ",,\n1girl,0,1,\n"],
)  # fmt: skip
def test_headers_marks_line_ends_and_missing_columns_do_not_matter(tmp_path: Path, content: str) -> None:
    assert load_tag_file(write(tmp_path, content)).resolve("1girl") == "1girl"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_every_encoding_that_says_what_it_is_is_read(tmp_path: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding[-3:] in ("-le", "-be") else ""
    assert len(load_tag_file(write(tmp_path, (mark + LINES).encode(encoding)))) == 13


@pytest.mark.parametrize("name", ["#compass", "1girl", "sole female", "longhair", ";)"])
def test_odd_names_and_unquoted_aliases_are_found(tmp_path: Path, name: str) -> None:
    lines = "#compass,3,9\n;),0,8,\n1girl,0,5,1girls, sole_female\nlong_hair,general,4,longhair\n"
    assert name in load_tag_file(write(tmp_path, lines))


def test_no_file_holds_an_empty_tag(tmp_path: Path) -> None:
    assert "" not in load_tag_file(write(tmp_path, '1girl,0,5,", ,"\n  ,0,4\n\n,0\n'))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no tags"),
        (b"This is some prose that goes on and on.\nof several lines\n", "line 1"),
        (LINES.encode() + b"a,b,c\n", "line 7"),
        (b"1girl,0,many,\n2girls,x,1\n", "line 2"),
        (b"1girl,0\nc\xe9,0\n", "not UTF-8"),
        (b"<!DOCTYPE html>\n<html>", "line 1"),
        (b'{"1girl": 0}', "line 1"),
        (b'[\n"1girl"]', "line 1"),
        (b"1girl,0\n\x00\x01\x02", "line 1"),
        (b"1girl\na girl who stands in a field and looks at the sky\n", "line 2"),
        (b"name,category\n\n# none\n", "no tags"),
        (b"PK\x03\x04\x00\x00\n", "tags.csv"),
        (b'1girl,0,5,"' + b"x" * 200_000 + b'"\n', "not a tag file"),
    ],
)
def test_a_file_that_is_no_tag_file_is_named_with_the_place(tmp_path: Path, content: bytes, said: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(UserError, match=said) as caught:
        load_tag_file(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("path", ["nowhere.csv", ".", "nul\0name"])
def test_a_path_that_is_no_file_is_named(tmp_path: Path, path: str) -> None:
    with pytest.raises(UserError, match="tag_file"):
        load_tag_file(tmp_path / path)
    if "\0" not in path:
        with pytest.raises(BadValue):
            load_tag_file(tmp_path / path)


@given(st.text(alphabet="abz09_() .:'\\/-ABscore_source_9upartist:^<>é"))
def test_the_short_way_to_the_normal_form_leads_to_the_same_place(name: str) -> None:
    assert _written(name) == normalise(name)
