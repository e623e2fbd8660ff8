"""Categories: the closed sets, the table of names, and the tool that builds it."""
from __future__ import annotations

import hashlib
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kgen_ext.errors import Failure
from kgen_ext.request import Category
from kgen_ext.tags import names
from kgen_ext.tags.categories import is_people_count
from kgen_ext.tags.tag import read_tag, split_by_category
from tools.tag_lists import build_lists, build_ordinary

TABLE = Path(names.PATH)
DATA = TABLE.parent
ORDINARY = [line for line in build_lists.EXCEPTIONS.read_text("utf-8").splitlines() if not line.startswith("#")]
# A few names of each list, popular ones and odd spellings.
LISTED = {
    Category.ARTIST: ["wlop", "sakimichan", "greg rutkowski", "ilya kuvshinov", "m k", "itaru (kidomh63)", "t2r"],
    Category.CHARACTERS: ["hatsune miku", "saber (fate)", "march 7th (honkai: star rail)", "link", "atou haruki"],
    Category.COPYRIGHTS: ["vocaloid", "original", "honkai: star rail", "pokemon", "link! like! love live!"],
    Category.META: ["highres", "absurdres", "commentary request", "animated gif", "skeb commission"],
}


@pytest.mark.parametrize(("category", "name"), [(c, n) for c, listed in LISTED.items() for n in listed])
def test_a_listed_name_has_its_category_in_every_spelling(category: Category, name: str) -> None:
    escaped = name.replace("(", r"\(").replace(")", r"\)")
    for spelled in (name, name.upper(), name.replace(" ", "_"), escaped, f"  {name} "):
        assert read_tag(spelled).category is category


@pytest.mark.parametrize(
    "word",
    ["rain", "night", "smile", "solo", "long hair", "looking at viewer", "sky", "sword", "^_^", "o_o", ":d",
     "at night", "in a", "turquoise", "touch", "heavy rain", "mystical", "four arms", "chocobo"],
)  # fmt: skip
def test_an_ordinary_word_is_general_even_where_an_artist_or_series_bears_it(word: str) -> None:
    assert read_tag(word).category is Category.GENERAL


def test_every_shipped_exception_is_general() -> None:
    assert [name for name in ORDINARY if read_tag(name).category is not Category.GENERAL] == []


@pytest.mark.parametrize("word", ["old", "early", "mid", "recent", "newest"])
def test_reference_mistake_2_a_quality_word_is_one_only_where_it_stands_alone(word: str) -> None:
    assert read_tag(word).category is Category.QUALITY
    for longer in (f"{word} man", f"very {word}", f"{word}_bridge", f"{word}er"):
        assert read_tag(longer).category is Category.GENERAL


@pytest.mark.parametrize("word", ["general", "safe", "sensitive", "explicit"])
def test_reference_mistake_2_a_rating_word_is_one_only_where_it_stands_alone(word: str) -> None:
    assert read_tag(word).category is Category.RATING
    for longer in (f"{word} store", f"a {word}", f"{word}-looking door"):
        assert read_tag(longer).category is Category.GENERAL


@pytest.mark.parametrize("tag", ["masterpiece", "best quality", "very aesthetic", "score_9", "score 8 up"])
def test_quality_tags_are_known(tag: str) -> None:
    assert read_tag(tag).category is Category.QUALITY


@pytest.mark.parametrize("tag", ["1girl", "2boys", "6+girls", "multiple_others", "no humans", "3others", "10girls"])
def test_people_counts_are_special(tag: str) -> None:
    assert is_people_count(read_tag(tag).name)
    assert read_tag(tag).category is Category.SPECIAL


@pytest.mark.parametrize("tag", ["girl", "1girls room", "0girl", "multiple views", "solo", "girls", "male focus"])
def test_what_names_no_number_of_people_is_no_count(tag: str) -> None:
    assert not is_people_count(read_tag(tag).name)


def test_splitting_keeps_spelling_and_order_within_each_category() -> None:
    found = split_by_category(["smile", "Hatsune_Miku", "1girl", "saber (fate)", "old", "hat", "general", "wlop"])
    assert list(found) == list(Category)
    assert found[Category.GENERAL] == ("smile", "hat")
    assert found[Category.CHARACTERS] == ("Hatsune_Miku", "saber (fate)")
    assert (found[Category.SPECIAL], found[Category.ARTIST], found[Category.META]) == (("1girl",), ("wlop",), ())
    assert (found[Category.QUALITY], found[Category.RATING]) == (("old",), ("general",))


def test_an_artist_whom_no_list_knows_is_one_when_the_user_says_so() -> None:
    assert read_tag("artist:nobody of that name").category is Category.ARTIST
    assert read_tag("nobody of that name").category is Category.GENERAL


@pytest.mark.parametrize("odd", ["", " ", "\0", "\ud800", "a" * 100_000, "日本語", ":", "artist:"])
def test_odd_tags_are_general(odd: str) -> None:
    assert read_tag(odd).category is Category.GENERAL


def test_the_shipped_table_is_the_one_the_notice_describes() -> None:
    notice = (DATA / "NOTICE.md").read_text("utf-8")
    assert hashlib.sha256(TABLE.read_bytes()).hexdigest() in notice
    assert f"{names.load_names().count:,} tag names" in notice
    assert f"the {len(ORDINARY)} names of the four lists" in notice


@pytest.mark.parametrize("licence", ["Apache License 2.0", "MIT License"])
def test_the_notice_names_the_licence_of_each_source(licence: str) -> None:
    assert licence in (DATA / "NOTICE.md").read_text("utf-8")


@pytest.mark.parametrize(
    "tag",
    ["fox ears", "Long_Hair", "looking at viewer", "1girl", "9girls", "solo", ":d", "^_^", "o_o", "...", "open hand",
     "archer (fate) (cosplay)", r"vision \(genshin impact\)", "masterpiece", "score_9", "safe", "hatsune miku",
     "wlop", "highres", "no humans", "male focus"],
)  # fmt: skip
def test_a_tag_that_exists_is_known_in_every_spelling(tag: str) -> None:
    assert read_tag(tag).is_known


@pytest.mark.parametrize(
    "tag",
    ["ears of a fox", "sole female", "thighs high", "and the revery of exotics", "foxears", "0girls", "girl 1",
     "a fox", "long hairs", "blue hair girl", "", "solo female focus", "sky sky"],
)  # fmt: skip
def test_what_is_no_tag_and_what_is_an_alias_only_is_not_known(tag: str) -> None:
    assert not read_tag(tag).is_known


def test_a_general_tag_of_the_table_is_general() -> None:
    assert names.load_names().category("fox ears") is Category.GENERAL


def test_no_general_tag_takes_a_listed_name(tmp_path: Path) -> None:
    for category in build_lists.LISTS:
        (tmp_path / f"{category.value}.txt").write_text(f"the {category.value}\n", "utf-8")
    (tmp_path / "tags.csv").write_text('the_artist,0,90,""\nmy_hat,0,80,"your_hat"\nnobody,1,70,""\n', "utf-8")
    build_lists.main([str(tmp_path), str(tmp_path / "tags.csv"), "--out", str(tmp_path / "names.bin")])
    table = names.NameTable(str(tmp_path / "names.bin"))
    found = [table.category(name) for name in ("the artist", "my hat", "your hat", "nobody")]
    assert found == [Category.ARTIST, Category.GENERAL, None, None]


def test_the_table_is_mapped_not_read_into_the_heap() -> None:
    code = (
        "import tracemalloc; tracemalloc.start()\n"
        "from kgen_ext.tags import names\n"
        "before = tracemalloc.get_traced_memory()[0]\n"
        "table = names.load_names()\n"
        "assert table.category('hatsune miku') is not None\n"
        "print(tracemalloc.get_traced_memory()[1] - before)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(run.stdout) < TABLE.stat().st_size / 4
    assert TABLE.stat().st_size < 5_000_000


def write_lists(folder: Path, seed: int, size: int) -> dict[str, Category]:
    """Write four lists and a tag file of random names; return what each name must come out as."""
    draw = random.Random(seed)
    wanted: dict[str, Category] = {}
    for category in names.CATEGORIES:
        found = {"".join(draw.choices("abcdefghij :()", k=draw.randint(2, 12))).strip() for _ in range(size)}
        mine = sorted(name for name in found if name and " ".join(name.split()) not in wanted)
        general = category is Category.GENERAL
        path = folder / ("tags.csv" if general else f"{category.value}.txt")
        path.write_text("".join(f"{name},0,30,\n" if general else f"{name}\n" for name in mine), "utf-8")
        wanted.update(dict.fromkeys((" ".join(name.split()) for name in mine), category))
    return wanted


def test_every_name_of_built_lists_has_its_category_and_no_other_word_has_one(tmp_path: Path) -> None:
    wanted = write_lists(tmp_path, seed=1, size=4000)
    out = tmp_path / "names.bin"
    build_lists.main([str(tmp_path), str(tmp_path / "tags.csv"), "--out", str(out)])
    table = names.NameTable(str(out))
    assert {name: table.category(name) for name in wanted if name not in ORDINARY} == {
        name: category for name, category in wanted.items() if name not in ORDINARY
    }
    assert not [n for n in range(20_000) if table.category(f"foreign {n}") is not None]


def test_the_same_lists_give_the_same_bytes(tmp_path: Path) -> None:
    wanted = write_lists(tmp_path, seed=2, size=300)
    assert build_lists.render_names(wanted) == build_lists.render_names(dict(reversed(wanted.items())))


def test_the_builder_notices_a_wrong_table(tmp_path: Path) -> None:
    wanted = write_lists(tmp_path, seed=3, size=300)
    (tmp_path / "names.bin").write_bytes(build_lists.render_names(wanted))
    build_lists.check_names(tmp_path / "names.bin", wanted)
    with pytest.raises(SystemExit, match="1 of"):
        build_lists.check_names(tmp_path / "names.bin", {**dict(list(wanted.items())[1:]), "not a name": Category.META})


@pytest.mark.parametrize(
    "content", [b"", b"short", b"KGENTAG2" + bytes(64), b"KGENTAG1" + bytes(262_156), b"\xff" * 300_000]
)
def test_a_damaged_table_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "names.bin"
    path.write_bytes(content)
    with pytest.raises(Failure, match=re.escape(str(path))):
        names.NameTable(str(path))


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="nowhere"):
        names.NameTable(str(tmp_path / "nowhere"))


def test_a_name_is_ordinary_by_general_tag_by_alias_or_by_use_in_captions() -> None:
    names_listed = ["general one", "alias one", "common", "rare", "famous", "own alias"]
    rows = [
        ["general_one", "0", "90", "alias_one,own_alias,/go"],
        ["famous", "1", "50", ""],
        ["own_alias", "4", "30", ""],
    ]
    captions = ["a common famous thing, Rare"] * 6 + ["rare"] * 4
    counted = build_ordinary.count_phrases(captions, set(names_listed))
    assert build_ordinary.ordinary_names(names_listed, rows, counted) == ["alias one", "common", "general one"]
