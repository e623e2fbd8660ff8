"""Tags that a text names."""
from __future__ import annotations

from pathlib import Path

import pytest

from kgen_ext.tags.lists import ALIASES, read_lists
from kgen_ext.tags.mentions import find_mentions
from tools.tag_lists.build_aliases import read_aliases


@pytest.mark.parametrize(
    "text, named",
    [
        ("a napkin", "napkin"),
        ("A cat. And dogs!", "cat, dog"),
        ("an old sofa", "couch"),
        ("a wine glass", "wine glass, glass"),
        ("a black cat", "black cat, cat"),
        ("he is holding a sword", "holding sword, sword, holding"),
        ("an owl sleeps", "owl, sleeping"),
        ("she rides a horse", "riding, horse"),
        ("he sits and cooks", "sitting, cooking"),
        ("a sky full of stars, a bit of fir and a gap", "sky"),
        ("boys in shoes", "shoes"),
        ("a hat, without a red hat or glasses", "hat"),
        ("no hat", ""),
        ("two men sleep, and he dances", "sleeping, dancing"),
        ("dogs run and a cat sits", "dog, running, cat, sitting"),
        ("two cooks on a train ride, a warm metal surface", "cook, train"),
        ("a cat sitting on a bench", "cat, sitting, on bench, bench"),
        ("made of wood", ""),
        ("lying on his back, on the back of a horse", "on back, lying, horse"),
        ("in the woods", "forest"),
        ("black ears, an older man in a coffee cup", "black ears, coffee, cup"),
        ("a margarita", "margarita"),
        ("the Statue of Liberty", "statue of liberty"),
        ("margarita next to it", ""),
        ("an old fisherman", "fisherman"),
        ("a scholarly badger reading", "badger, reading"),
        ("a smashed windshield in the rain", "windshield, rain"),
        ("a margarita napkin set", "margarita, napkin"),
        ("a long margarita napkin", "napkin"),
        ("a hat of fisherman", "hat"),
        ("a girl by the sea", "ocean"),
        ("an orange picture on the other side", ""),
        ("cat / cat", "cat"),
        ("", ""),
    ],
)  # fmt: skip
def test_a_text_names_tags(text: str, named: str) -> None:
    assert ", ".join(find_mentions(text)) == named


def test_a_long_text_takes_no_longer_for_a_word_than_a_short_one() -> None:
    assert len(find_mentions("a black cat with a hat " * 2_000)) == 3


def test_an_alias_stands_for_the_more_used_of_two_tags(tmp_path: Path) -> None:
    path = tmp_path / "tags.csv"
    path.write_text('hat,0,5,"topper,cap_x"\nbeanie,0,9,"cap_x,hat,/h"\nnobody,0,9,"cap_y"\n', encoding="utf-8")
    assert read_aliases(path) == ["cap x\tbeanie", "topper\that"]


def test_every_alias_shipped_is_a_name_and_a_tag() -> None:
    (lines,) = read_lists(ALIASES, 1)
    assert len(lines) > 4000 and all(line.count("\t") == 1 for line in lines)
