"""The filters of one row's tags and metadata values, each rule by itself."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kgen_ext.request import Category
from kgen_ext.rules import Rejection
from kgen_ext.rules.conditional import parse_rules
from kgen_ext.rules.filter import MetadataFilter, RowTags, TagFilter, TagRules
from kgen_ext.rules.known import TagFiles
from kgen_ext.rules.patterns import compile_patterns
from kgen_ext.tags import tag as tags_tag
from kgen_ext.tags.canonical import normalise
from kgen_ext.tags.tag import Tag

OFTEN = 20  # more than any number of tries for the signs about a tag


def rules(*, ban: tuple[str, ...] = (), ifs: tuple[str, ...] = (), allow: tuple[Category, ...] = (),
          file: Path | str | None = None) -> TagRules:  # fmt: skip
    known = TagFiles().open(str(file or "any"))
    return TagRules(compile_patterns(ban), parse_rules(ifs), frozenset(allow), known=known)


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
    tags_tag._read.cache_clear()
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


SCRAPS = (
    "and the revery of exotics", "with her face and a small", "a vibrant green", "the long road", "of stars",
    "flower in the", "leaves and", "sky is blue", "there are leaves", "and",
    "creating a sense of depth and tranquility", "hat coat bag tie cap bow rug",
    "wearing a long white dress under the tall tree",
    "aaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbb",
)  # fmt: skip


@pytest.mark.parametrize("tag", SCRAPS)
def test_a_scrap_of_a_sentence_is_no_tag(tag: str) -> None:
    assert verdict(TagFilter(RowTags(rules())), tag) == Rejection("garbled")


@pytest.mark.parametrize("tag", SCRAPS)
def test_nor_is_it_a_metadata_value(tag: str) -> None:
    assert verdict(MetadataFilter(RowTags(rules()), Category.ARTIST), tag) == Rejection("garbled")


@pytest.mark.parametrize(
    "tag",
    ["girl in a garden", "red river bank", "one two three four five six", "island of clouds", "sweater with lions",
     "mechanical wings of glass", "tower of pisa", "an-225", "isle", "area", "theatre seats", "beehive in bloom"],
)  # fmt: skip
def test_a_short_phrase_is_a_tag_even_if_nobody_knows_it(tag: str) -> None:
    assert verdict(TagFilter(RowTags(rules())), tag) == tag


@pytest.mark.parametrize(
    "tag",
    ["on head", "on back", "in tree", "from above", "the pose", "when you see it", "how to", "to be continued",
     "is that so", "why dis ninja look so mad (meme)", "galaxy expedition team survey corps uniform"],
)  # fmt: skip
def test_a_tag_that_exists_is_no_scrap(tag: str) -> None:
    assert verdict(TagFilter(RowTags(rules())), tag) == tag


def test_a_model_that_writes_nothing_but_scraps_keeps_its_length() -> None:
    tag_filter = TagFilter(RowTags(rules()))
    assert "and the trees" in [verdict(tag_filter, "and the trees") for _ in range(OFTEN)]


@pytest.mark.parametrize("make", [TagFilter, lambda row: MetadataFilter(row, Category.ARTIST)])
def test_the_tries_start_anew_with_each_tag(make: Callable[[RowTags], TagFilter | MetadataFilter]) -> None:
    tag_filter = make(RowTags(rules(allow=tuple(Category))))
    for _ in range(OFTEN):
        tag_filter.judge("hat..")
    tag_filter.accept("coat")
    assert tag_filter.judge("hat..") == Rejection("garbled")


@pytest.mark.parametrize(
    "tag", ["fox ears", "1girl", "9girls", ":d", "^_^", "looking at viewer", "holding sword", "no humans", "on head"]
)
def test_of_danboorus_list_every_tag_passes(tag: str) -> None:
    assert verdict(TagFilter(RowTags(rules(file="danbooru"))), tag) == tag


@pytest.mark.parametrize(
    "tag", ["ears of a fox", "foxears", "and white", "long blue braided beard", "sole female", "hat..", "sky sky"]
)
def test_of_danboorus_list_no_other_word_passes(tag: str) -> None:
    assert verdict(TagFilter(RowTags(rules(file="danbooru"))), tag) == Rejection("unknown")


@pytest.mark.parametrize(
    ("category", "tag"),
    [(Category.ARTIST, "wlop"), (Category.CHARACTERS, "hatsune miku"), (Category.COPYRIGHTS, "vocaloid"),
     (Category.META, "highres"), (Category.QUALITY, "masterpiece"), (Category.RATING, "safe")],
)  # fmt: skip
def test_of_danboorus_list_what_the_request_allows_passes(category: Category, tag: str) -> None:
    assert verdict(TagFilter(RowTags(rules(allow=(category,), file="danbooru"))), tag) == tag


def test_danboorus_list_knows_the_artists_of_a_metadata_line() -> None:
    tag_filter = MetadataFilter(RowTags(rules(file="danbooru")), Category.ARTIST)
    assert verdict(tag_filter, "somebody quite new") == Rejection("unknown")


def test_a_character_that_stands_makes_way_for_what_belongs_to_a_series() -> None:
    tag_filter = TagFilter(RowTags(rules(allow=(Category.CHARACTERS,))))
    assert verdict(tag_filter, "k/da (league of legends)") == Rejection("category", "copyrights")
    tag_filter.accept("hatsune miku")
    assert verdict(tag_filter, "k/da (league of legends)") == "k/da (league of legends)"


LEAKS = (
    ("pokemon (creature)", "copyrights"), ("digimon (creature)", "copyrights"), ("death note (object)", "copyrights"),
    ("dragon ball (object)", "copyrights"), ("minecraft (style)", "copyrights"), ("persona (summon)", "copyrights"),
    ("overwatch (logo)", "copyrights"), ("tamagotchi (virtual pet)", "copyrights"),
    ("vision (genshin impact)", "copyrights"),
    ("sugimori ken (style)", "artist"), ("araki hirohiko (style)", "artist"), ("toriyama akira (style)", "artist"),
    ("zun (style)", "characters"), ("hatsune miku (cosplay)", "characters"), ("archer (fate) (cosplay)", "characters"),
    ("nargacuga (armor)", "characters"), ("galaxia (sword)", "characters"), ("slaanesh (symbol)", "characters"),
    ("pikachu tail", "copyrights"), ("kirby burger", "copyrights"), ("hololive idol uniform (bright)", "copyrights"),
    ("pokemon on head", "copyrights"),
)  # fmt: skip


@pytest.mark.parametrize(("tag", "category"), LEAKS)
def test_a_general_tag_that_names_a_series_an_artist_or_a_character_is_not_written(tag: str, category: str) -> None:
    assert verdict(TagFilter(RowTags(rules())), tag) == Rejection("category", category)


@pytest.mark.parametrize(("tag", "category"), LEAKS)
def test_it_is_where_the_request_allows_the_category(tag: str, category: str) -> None:
    allowed = Category.ARTIST if category == "artist" else Category.COPYRIGHTS
    assert verdict(TagFilter(RowTags(rules(allow=(allowed,)))), tag) == tag


@pytest.mark.parametrize(("tag", "category"), LEAKS)
def test_it_is_where_the_prompt_names_one(tag: str, category: str) -> None:
    given = "art by wlop" if category == "artist" else "pikachu"
    assert verdict(TagFilter(RowTags(rules(), [given])), tag) == tag


@pytest.mark.parametrize(
    "tag",
    ["star (symbol)", "jian (weapon)", "matcha (food)", "freesia (flower)", "collie (dog)", "maid (cosplay)",
     "orange (fruit)", "guinea pig", "peter pan collar", "yin yang", "lunar eclipse", "phantom thief", "rook (chess)",
     "pipa (instrument)"],
)  # fmt: skip
def test_a_word_that_somebody_is_called_by_names_nobody(tag: str) -> None:
    assert verdict(TagFilter(RowTags(rules())), tag) == tag


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
