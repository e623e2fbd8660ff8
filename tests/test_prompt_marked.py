"""Marked parts of a prompt: which marks are read, what they enclose, and where additions go."""
from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from host_schedule import schedule
from hypothesis import given, settings
from hypothesis import strategies as st
from test_prompt_append import MARK, as_is, stripped, weigh

from kgen_ext.events import By
from kgen_ext.prompt import append, find_parts, own_items, parse, read_marks, render, split_marked, subjects


def added(source: str, addition: str = "NEW") -> str:
    marked = read_marks(source, "kgen")
    prompt = parse(marked.text)
    parts = find_parts(prompt, marked.parts)
    return "".join(piece.text for piece in append(prompt, [addition] * len(parts), parts).pieces)


def own(source: str) -> list[tuple[str, ...]]:
    marked = read_marks(source, "kgen")
    prompt = parse(marked.text)
    return [subject.tags for subject in subjects(own_items(prompt, find_parts(prompt, marked.parts)))]


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("1girl, <kgen>fox ears</kgen>, night", "1girl, fox ears, NEW, night"),
        ("<kgen>1girl</kgen>, shrine", "1girl, NEW, shrine"),
        ("1girl, <kgen></kgen>, hat", "1girl, NEW, hat"),
        ("<kgen></kgen>1girl, hat", "NEW, 1girl, hat"),
        ("1girl, <kgen>fox ears", "1girl, fox ears, NEW"),
        ("<kgen>a</kgen>, b, <kgen>c</kgen>", "a, NEW, b, c, NEW"),
        ("(<kgen>fox ears</kgen>:1.2), hat", "(fox ears:1.2), NEW, hat"),
        ("(a, <kgen>b</kgen>, c:1.2), d", "(a, b:1.2), NEW (, c:1.2), d"),
        ("[<kgen>day</kgen>:night:0.5], c", "[day:night:0.5], NEW, c"),
        ("{a|<kgen>b</kgen>}, c", "{a|b}, NEW, c"),
        ("fox <kgen>ears</kgen> girl, x", "fox ears girl, NEW, x"),
        ("<kgen>a BREAK b</kgen>, c", "a, NEW BREAK b, NEW, c"),
        ("a BREAK <kgen></kgen>", "a BREAK NEW"),
        ("A girl <kgen>walks in the rain.</kgen> x", "A girl walks in the rain. x, NEW"),
        ("cat AND <kgen>dog :1.2</kgen> AND fox", "cat AND dog, NEW :1.2 AND fox"),
        ("a, (b, <kgen>c, d", "a, (b, c, d), NEW"),
        ("a,<kgen>,</kgen>b", "a,, NEW, b"),
        ("a <kgen><lora:x:1></kgen> b", "a <lora:x:1> b, NEW"),
        ("[x][<kgen></kgen>\\# c\n", "[x][], NEW [\\# c\n"),
        ("<KGEN>a</KGen>, b", "a, NEW, b"),
    ],
)
def test_additions_go_behind_the_marked_part(source: str, result: str) -> None:
    assert added(source) == result


@pytest.mark.parametrize(
    ("source", "tags"),
    [
        ("1girl, <kgen>fox ears</kgen>, night", [("fox ears",)]),
        ("<kgen>a</kgen>, b, <kgen>c</kgen>", [("a", "c")]),
        ("a, <kgen></kgen>b", [("a", "b")]),
        ("a BREAK <kgen>b</kgen>, c", [(), ("b",)]),
        ("a BREAK <kgen></kgen> b", [(), ("b",)]),
        ("<kgen>a BREAK b</kgen>, c", [("a",), ("b",)]),
        ("(x, <kgen>y</kgen>:1.2), z", [("y",)]),
        ("<kgen>a", [("a",)]),
    ],
)
def test_only_the_marked_part_is_to_be_expanded(source: str, tags: list[tuple[str, ...]]) -> None:
    assert own(source) == tags


@pytest.mark.parametrize(
    "source",
    ["<lora:<kgen>x:1> a", "a # <kgen>\n b", "\\<kgen>a", "<kgenx>a</kgenx>", "< kgen>a", "kgen", "</kgen>a"],
)
def test_what_is_no_mark_is_text(source: str) -> None:
    marked = read_marks(source, "kgen")
    assert (marked.text, marked.parts) == (source, ())


@pytest.mark.parametrize(
    ("source", "text"), [("</kgen>a <kgen>b</kgen>", "</kgen>a b"), ("<kgen>a <kgen>b</kgen>", "a <kgen>b")]
)
def test_a_stray_mark_is_text(source: str, text: str) -> None:
    assert read_marks(source, "kgen").text == text


@pytest.mark.parametrize("source", ["</kgen>a", "<kgen>a <kgen>b"])
def test_a_stray_mark_is_told(source: str) -> None:
    assert len(read_marks(source, "kgen").notes) == 1


def test_the_mark_has_the_name_that_is_asked_for() -> None:
    assert read_marks("a <x>b</x> <kgen>", "x").text == "a b <kgen>"


@pytest.mark.parametrize(
    ("source", "pieces"),
    [
        ("a, <kgen>b|c</kgen>, d", ["a, <kgen>b</kgen>", "<kgen>c</kgen>, d"]),
        ("a|<kgen></kgen>b", ["a", "<kgen></kgen>b"]),
        ("<kgen>a|b|c", ["<kgen>a</kgen>", "<kgen>b</kgen>", "<kgen>c</kgen>"]),
        ("a|b", ["a", "b"]),
    ],
)
def test_a_part_that_reaches_over_a_separator_is_marked_on_both_sides(source: str, pieces: list[str]) -> None:
    assert split_marked(source, "|", "kgen") == pieces


MARKS = ["<kgen>", "</kgen>", "<KGEN>"]
BITS = [*MARKS, *MARKS, "fox", "a b", ", ", " ", "\n", "(", ")", ":1.2)", "[", "]", ":", "|", "{", "}", "#", "\\",
        "<lora:x:1>", " BREAK ", " AND ", " AND_PERP ", "AND_SALT [", " :0.5", "__hat__",
        "A fox is here. ", "，"]  # fmt: skip
sources = st.lists(st.sampled_from(BITS), max_size=14).map("".join)


@given(sources)
def test_the_source_without_its_marks_is_kept(source: str) -> None:
    marked = read_marks(source, "kgen")
    assert re.sub("</?kgen>", "", source, flags=re.I) == re.sub("</?kgen>", "", marked.text, flags=re.I)


@given(sources)
def test_the_users_pieces_are_the_text(source: str) -> None:
    marked = read_marks(source, "kgen")
    prompt = parse(marked.text)
    parts = find_parts(prompt, marked.parts)
    pieces = append(prompt, ["hat"] * len(parts), parts).pieces
    assert "".join(piece.text for piece in pieces if piece.by is By.USER) == marked.text == render(prompt)


@given(sources)
def test_the_parts_are_in_order_and_apart(source: str) -> None:
    marked = read_marks(source, "kgen")
    places = [place for part in find_parts(parse(marked.text), marked.parts) for place in part.span[:2]]
    assert places == sorted(places)


@given(sources)
def test_no_tag_is_divided(source: str) -> None:
    marked = read_marks(source, "kgen")
    prompt = parse(marked.text)
    items = [item for segment in prompt.segments for item in segment.items]
    cuts = [part.span.end for part in find_parts(prompt, marked.parts)]
    assert not [cut for cut in cuts for item in items if item.start < cut < item.end]


@pytest.mark.slow
def test_a_long_prompt_of_marks_takes_no_long() -> None:
    source = "<kgen>(a:1.2)</kgen>, b BREAK " * 20_000
    marked = read_marks(source, "kgen")
    assert len(find_parts(parse(marked.text), marked.parts)) == 20_000


CUTS = [bit for bit in BITS if "AND" not in bit]


@pytest.mark.parametrize("reading", [as_is, stripped])
@settings(max_examples=400)
@given(source=st.lists(st.sampled_from([*CUTS, "(x:1.2)", "[a:b:0.5]", "(", "]"]), max_size=14).map("".join))
def test_no_weight_changes_and_additions_weigh_one(reading: Callable[[str], str], source: str) -> None:
    marked = read_marks(source, "kgen")
    prompt = parse(marked.text)
    parts = find_parts(prompt, marked.parts)
    pieces = append(prompt, [f"{MARK}hat{MARK}"] * len(parts), parts).pieces
    before, after = weigh(reading(marked.text)), weigh(reading("".join(piece.text for piece in pieces)))
    blanked = reading(marked.text)
    mine = theirs = 0
    for piece in pieces:
        for at, char in enumerate(piece.text):
            if piece.by is By.USER:
                if not blanked[mine].isspace() and mine in before:
                    assert after[theirs] == pytest.approx(before[mine])
                mine += 1
            elif piece.text.find(MARK) <= at <= piece.text.rfind(MARK):
                assert after.get(theirs, 1.0) == 1.0, char
            theirs += 1


@settings(max_examples=300)
@given(source=st.lists(st.sampled_from([*CUTS, "[a:b:0.5]", "[a|b]", "[x::5]"]), max_size=12).map("".join))
def test_no_step_of_the_users_moves(source: str) -> None:
    marked = read_marks(source, "kgen")
    prompt = parse(marked.text)
    parts = find_parts(prompt, marked.parts)
    pieces = append(prompt, ["zzhat"] * len(parts), parts).pieces
    after = schedule("".join(piece.text for piece in pieces), 7)
    for i, (step, text) in enumerate(after):
        for piece in pieces:
            if piece.by is By.MODEL:
                assert piece.text in text
                text = text.replace(piece.text, "", 1)
        after[i] = step, text
    assert after == schedule(marked.text, 7)
