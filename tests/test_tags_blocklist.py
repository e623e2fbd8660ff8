"""The blocklist: what a pattern means, the spellings in which it is found, and what it lets pass."""
from __future__ import annotations

import re
from pathlib import Path
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgen_ext.errors import BadPattern
from kgen_ext.models.schema import BUILT_IN
from kgen_ext.rules.blocklist import MAX_BYTES, load_blocklist, parse_blocklist

FILE = BUILT_IN.parent / "unsafe.txt"
SMALL = parse_blocklist("bra, nud*, on bed, tentacles *, N year* old, =chain, panty*, !pantyhose*")
INNOCENT = """
    bracelet, cocktail, peacock, hoop earrings, grass, class, glasses, bunny, hare, rabbit ears, assassin, classroom,
    pantyhose, black pantyhose, heterochromia, breast pocket, breastplate, double-breasted, robin redbreast, butterfly,
    button, unbuttoned, buttons, analog clock, analysis, canal, title, country, document, cucumber, circle, birthday,
    birthday cake, kidney, organ pipes, therapist, grapes, drape, scunthorpe, essex, sextant, dickens, cockpit, hancock,
    shuttlecock, gagaku, arsenal, infantry, sleeveless, see, through, wet, shirt, clothes, open book, open mouth, lying,
    bed, sitting on chair, whipped cream, golden chain, lace trim, fat cat, skinny tree, caught in the rain, tentacles,
    skirt, thighhighs, thigh strap, thighband, zettai ryouiki, navel, midriff, bare shoulders, short shorts, collarbone,
    1girl, 2boys, old, elder, playing games, boyfriend, minority, crow, angel wings, scattered petals, stage, castle
"""


@pytest.mark.parametrize(
    "tag, word",
    [
        ("bra", "bra"), ("Black_Bra", "bra"), ("bra-strap", "bra"),
        ("bracelet", None), ("algebra", None), ("zebra", None),
        ("nudity", "nudity"), ("semi-nudist beach", "nudist"), ("denude", None),
        ("cat on_bed", "on bed"), ("on - bed", "on - bed"), ("on the bed", None), ("onbed", None),
        ("tentacles", None), ("tentacles around leg", "tentacles around"),
        ("5 years old", "5 years old"), ("16-year old girl", "16-year old"), ("years old", None),
        ("116 year old", None),
        ("chain", "chain"), ("(chain)", "chain"), ("golden chain", None), ("chain link", None),
        ("panty line", "panty"), ("pantyhose", None), ("pantyhose over panty", "panty"),
    ],
)  # fmt: skip
def test_a_pattern_means_whole_words_of_a_tag(tag: str, word: str | None) -> None:
    assert SMALL.match(tag) == word


@pytest.mark.parametrize(
    "tag",
    ["ｎｕｄｅ", "nüde", "n\u200bude", "nudе", "NUDE", "*nude*", "nude..", "(nude:1.2)", r"\(nude\)", "𝐧𝐮𝐝𝐞", "n̶u̶d̶e̶"],
)
def test_a_dressed_word_is_found_as_a_banned_one_is(tag: str) -> None:
    assert SMALL.match(tag)
    hit = SMALL.search_text(f"A {tag} tree stands here.")
    assert hit is not None and len(tag.strip("*.()\\:12")) <= hit[1] - hit[0] + 1


def test_in_a_sentence_the_first_hit_is_told_at_its_place() -> None:
    text = "A zebra's algebra, and a Black Bra lies on\nbed."
    begin, end, word = SMALL.search_text(text) or (0, 0, "")
    assert (text[begin:end], word) == ("Bra", "bra")
    begin, end, word = SMALL.search_text(text.replace("Bra", "hat")) or (0, 0, "")
    assert word == "on\nbed"


def test_a_whole_tag_is_found_in_a_sentence_that_lists_tags_and_nowhere_else() -> None:
    assert SMALL.search_text("A fence, a chain, a door") is None
    assert SMALL.search_text("A fence, chain, door") == (8, 14, " chain")
    assert SMALL.search_text("Chain, door") == (0, 5, "chain")


def test_what_is_spared_is_spared_as_it_stands_and_in_a_text() -> None:
    some = SMALL.sparing(["Black_Bra", "chain"])
    assert some.match("black bra") is None and some.match("chain") is None
    assert some.match("white bra") == "bra" and some.match("black bra, white bra") == "bra"
    assert some.search_text("A black  bra on a chair.") is None
    assert some.search_text("A bra, a black bra.") == (2, 5, "bra")
    assert SMALL.sparing([]).match("bra") == "bra" and SMALL.match("black bra") == "bra"


@pytest.mark.parametrize("line", ["a*b", "*boobs", "=", "!", "**", "cat's", "-", "a" * 101, "fox, =!?"])
def test_a_line_that_is_no_pattern_is_named(line: str) -> None:
    with pytest.raises(BadPattern, match="line 3"):
        parse_blocklist(f"# remark\ncat\n{line}")


def test_a_file_that_is_no_list_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    for data in (None, b"\xff\xfe\x00", b"cat\n" * MAX_BYTES):
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(BadPattern, match=r"mine\.txt"):
            load_blocklist(path)
    path.write_text("\ufeffcat\r\n\r\n# dog\r\n", encoding="utf-8")
    assert load_blocklist(path).match("cat") and load_blocklist(path).match("dog") is None


def test_an_empty_list_refuses_nothing() -> None:
    assert parse_blocklist("# nothing").match("nude") is None and parse_blocklist("").search_text("a nude, b") is None


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=80))
def test_a_hit_lies_in_the_text_and_is_no_part_of_a_latin_word(text: str) -> None:
    hit = SMALL.search_text(text + " nude ")
    assert hit is not None and 0 <= hit[0] < hit[1] <= len(text) + 6
    assert not re.match("[a-z0-9]", (" " + text + " nude ")[hit[0]])


@pytest.mark.slow
def test_time_is_linear_in_the_text() -> None:
    shipped = load_blocklist(FILE)
    for text in ("no " * 70_000, "a" * 200_000, "on" + "-" * 200_000, "wet ,. " * 30_000, "thick, " * 30_000):
        began = process_time()
        assert shipped.search_text(text) is None
        assert process_time() - began < 3


def patterns() -> list[str]:
    lines = (line.partition("#")[0].split(",") for line in FILE.read_text("utf-8").splitlines())
    return [part.strip() for line in lines for part in line if part.strip()]


def test_every_pattern_of_the_shipped_list_refuses_what_it_says() -> None:
    shipped = load_blocklist(FILE)
    for pattern in patterns():
        words = pattern.lstrip("=!").replace(" *", " ear").replace("*", "").replace("N", "9")
        assert (shipped.match(words) is None) == (pattern[0] == "!"), pattern
        assert (shipped.search_text(f"The {words}.") is None) == (pattern[0] in "=!"), pattern
    assert len(patterns()) == len(set(patterns())) > 500


def test_the_shipped_list_lets_the_innocent_pass() -> None:
    shipped = load_blocklist(FILE)
    words = [" ".join(word.split()) for word in INNOCENT.split(",")]
    assert [word for word in words if shipped.match(word)] == []
    assert shipped.search_text(" ".join(f"There is {word}." for word in words if word != "tentacles")) is None


@pytest.mark.parametrize(
    "tag",
    [
        "nipples", "organs", "garterbeltt", "gartergarter", "thigh gap", "lying on bed", "school swimsuit",
        "blood on face",
        "white_panties", "see-through", "see-through shirt", "x-ray", "10 years old", "5yo", "loli", "young", "nsfw",
        "rating:explicit", "spread legs", "large breasts", "sex", "dead body", "ass", "no bra", "wet shirt", "r-18",
    ],
)  # fmt: skip
def test_the_shipped_list_refuses_what_is_not_for_work(tag: str) -> None:
    shipped = load_blocklist(FILE)
    assert shipped.match(tag) and shipped.search_text(f"A tree with {tag} in it.")
