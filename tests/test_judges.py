"""The filters of one row's tags and metadata values, each rule by itself."""
from __future__ import annotations

from pathlib import Path

import pytest

from kgen_ext.request import Category
from kgen_ext.rules import Rejection
from kgen_ext.rules.conditional import parse_rules
from kgen_ext.rules.filter import MetadataFilter, RowTags, TagFilter, TagRules
from kgen_ext.rules.known import load_tag_file
from kgen_ext.rules.patterns import compile_patterns
from kgen_ext.tags import tag as tags_tag
from kgen_ext.tags.canonical import normalise
from kgen_ext.tags.tag import Tag

OFTEN = 20  # more than any number of tries for the signs about a tag


def rules(*, ban: tuple[str, ...] = (), ifs: tuple[str, ...] = (), allow: tuple[Category, ...] = (),
          file: Path | None = None) -> TagRules:  # fmt: skip
    return TagRules(compile_patterns(ban), parse_rules(ifs), frozenset(allow),
                    known=None if file is None else load_tag_file(file))  # fmt: skip


def verdict(tag_filter: TagFilter | MetadataFilter, spelling: str) -> str | Rejection:
    found = tag_filter.judge(spelling)
    return found.spelling if isinstance(found, Tag) else found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tags.csv"
    path.write_text("hat,0,9\nhat..,0,8\n", "utf-8")
    return path


def test_a_tag_is_normalised_once_however_many_rules_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    read = list[str]()
    row = RowTags(rules(ban=("sun", "* moon"), ifs=("if fox ban hat", "if sky and tree ban hat")), ["fox", "sky"])
    monkeypatch.setattr(tags_tag, "normalise", lambda text: read.append(text) or normalise(text))
    tag_filter = TagFilter(row)
    for tag in ("hat", "tree", "red moon"):
        found = tag_filter.judge(tag)
        if isinstance(found, Tag):
            tag_filter.accept(found)
    assert read == ["hat", "tree", "red moon"]


def test_the_filters_of_a_row_know_what_any_of_them_accepted() -> None:
    row = RowTags(rules(allow=tuple(Category)))
    TagFilter(row).accept("wlop")
    assert verdict(MetadataFilter(row, Category.ARTIST), "wlop") == Rejection("repeat", "wlop")


@pytest.mark.parametrize("tag", ["/", "-", "hat\u3001", "\u3001hat"])
def test_what_is_no_tag_stands_at_no_try(tag: str) -> None:
    tag_filter = TagFilter(RowTags(rules()))
    assert [tag_filter.judge(tag) for _ in range(OFTEN)] == [Rejection("garbled")] * OFTEN


def test_a_character_that_stands_makes_way_for_what_belongs_to_a_series() -> None:
    tag_filter = TagFilter(RowTags(rules(allow=(Category.CHARACTERS,))))
    assert verdict(tag_filter, "k/da (league of legends)") == Rejection("category", "copyrights")
    tag_filter.accept("hatsune miku")
    assert verdict(tag_filter, "k/da (league of legends)") == "k/da (league of legends)"


def test_a_rule_that_a_tag_makes_hold_against_itself_refuses_it() -> None:
    tag_filter = TagFilter(RowTags(rules(ifs=("if hat ban h*",))))
    assert verdict(tag_filter, "hat") == Rejection("rule", "if hat ban h*")


def test_signs_about_a_tag_are_no_matter_where_the_tag_file_has_them(file: Path) -> None:
    assert verdict(TagFilter(RowTags(rules(file=file))), "hat..") == "hat.."


@pytest.mark.parametrize(("category", "judged"), [
    (Category.RATING, "safe"), (Category.QUALITY, "safe"), (Category.ARTIST, Rejection("unknown")),
])  # fmt: skip
def test_a_tag_file_says_nothing_of_quality_and_rating(file: Path, category: Category, judged: str | Rejection) -> None:
    value = "safe" if category is not Category.QUALITY else "best quality"
    judged = value if judged == "safe" else judged
    assert verdict(MetadataFilter(RowTags(rules(file=file)), category), value) == judged


def test_a_name_that_no_list_knows_is_taken_for_its_line_s_kind() -> None:
    assert verdict(MetadataFilter(RowTags(rules()), Category.ARTIST), "somebody new") == "somebody new"


def test_a_kind_that_is_banned_is_banned_whatever_its_value() -> None:
    tag_filter = MetadataFilter(RowTags(rules(ban=("category:artist",))), Category.ARTIST)
    assert verdict(tag_filter, "somebody new") == Rejection("banned", "category:artist")
