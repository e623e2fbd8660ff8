"""Patterns: which whole tags they match, what they find in running text, and that none can hang the process."""
from __future__ import annotations

import contextlib
import fnmatch
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgen_ext.errors import BadPattern
from kgen_ext.request import Category, split_list
from kgen_ext.rules.patterns import MAX_LENGTH, MAX_PATTERNS, TIMEOUT, PatternKind, compile_pattern, compile_patterns
from kgen_ext.tags.canonical import normalise

SMALL = st.text(alphabet="ab _*?-", max_size=12)


def test_reference_mistake_6_a_tag_hits_no_longer_tag_that_holds_it() -> None:
    bans = compile_patterns(["hat", "girl", "gun"])
    assert [tag for tag in ("hatsune miku", "1girl", "top hat", "gunbuster", "hats", "chat") if bans.match(tag)] == []
    assert bans.match("Hat") == "hat"


@pytest.mark.parametrize(
    "text", [":(", "(", ")", "[", "+_+", "\\", "(o)_(o)", ":)", "^_^", "{", "|_|", "$", "a(", "//", "/\\/\\/\\"]
)
def test_reference_mistake_6_punctuation_is_a_tag_like_any_other(text: str) -> None:
    pattern = compile_pattern(text)
    assert pattern.kind is PatternKind.LITERAL
    assert pattern.match(text)
    assert not pattern.match("smile")
    assert pattern.search(f"a {text} b") is not None


def test_reference_mistake_6_running_text_is_searched_too() -> None:
    assert compile_patterns(["hat"]).search_text("She wears a red Hat, and smiles.") == (16, 19, "hat")
    assert compile_patterns(["hat"]).search_text("That chat about hatching.") is None


@pytest.mark.parametrize(
    ("pattern", "hit", "missed"),
    [
        ("* hair", ["blue hair", "very_long_hair", "Short Hair"], ["hair", "hairband", "blue hair ribbon"]),
        ("blue_*", ["blue hair", "blue_eyes", "blue sky (place)"], ["blue", "light blue hair", "bluebird"]),
        ("?girl", ["1girl", "2GIRL"], ["girl", "6+girl", "1girls"]),
        ("*hat*", ["hat", "hatsune miku", "top hat", "chat"], ["ha t", "cap"]),
        ("*", ["1girl", "^_^", ":("], []),
        ("a*b*c", ["abc", "axxbyyc", "abbcc", "a b c"], ["ab", "acb", "abcd"]),
        ("*ab*ab", ["abab", "xabyab", "ababab"], ["ab", "aba", "abxa"]),
        (r"what\?", ["what?"], ["what!", "whatx"]),
        (r"*\* star", ["a* star", "* star"], ["a star"]),
        ("*_*", ["*_*"], ["^_^", "a_b"]),
        ("??", ["??"], ["ab", "!?"]),
    ],
)
def test_a_glob_means_whole_tags(pattern: str, hit: list[str], missed: list[str]) -> None:
    compiled = compile_pattern(pattern)
    assert [tag for tag in hit if not compiled.match(tag)] == []
    assert [tag for tag in missed if compiled.match(tag)] == []


@given(st.text(alphabet="ab *?", max_size=12), st.text(alphabet="ab ", max_size=12))
def test_a_glob_agrees_with_the_shell_s(glob: str, tag: str) -> None:
    glob, tag = normalise("x" + glob + "y"), normalise("x" + tag + "y")
    assert compile_pattern(glob).match(tag) is fnmatch.fnmatchcase(tag, glob)


@pytest.mark.parametrize(
    ("pattern", "hit", "missed"),
    [
        ("/blue|red/", ["blue", "RED"], ["blue hair", "bluered"]),
        ("/(blue|red) .*/", ["blue hair", "red_eyes"], ["blue", "light blue hair"]),
        ("/BLUE/i", ["blue"], ["green"]),
        (r"/\d+girls?/", ["1girl", "2girls"], ["6+girls", "girl"]),
        (r"/a{2}|b\/c/", ["aa", "b/c"], ["a", "b"]),
        ("/.{2}/", ["ab", ":d"], ["a", "abc"]),
        ("/(?x) blue # a comment/", ["blue"], ["blue # a comment"]),
    ],
)
def test_an_expression_means_whole_normalised_tags(pattern: str, hit: list[str], missed: list[str]) -> None:
    compiled = compile_pattern(pattern)
    assert [tag for tag in hit if not compiled.match(tag)] == []
    assert [tag for tag in missed if compiled.match(tag)] == []


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("artist", "wlop"), ("artists", "wlop"), ("character", "hatsune miku"), ("Characters", "Hatsune_Miku"),
        ("copyright", "vocaloid"), ("series", "vocaloid"), ("meta", "highres"), ("quality", "masterpiece"),
        ("ratings", "nsfw"), ("special", "1girl"), ("people", "1girl"), ("general", "smile"),
    ],
)  # fmt: skip
def test_a_category_means_all_its_tags(name: str, tag: str) -> None:
    pattern = compile_pattern(f"category: {name}")
    assert pattern.match(tag)
    assert [other for other in ("wlop", "smile", "1girl", "highres") if pattern.match(other) and other != tag] == []


def test_a_ban_on_artist_anything_means_artists_and_not_all_tags() -> None:
    pattern = compile_pattern("artist:*")
    assert pattern.match("wlop") and not pattern.match("smile")


def test_every_category_can_be_named() -> None:
    assert {compile_pattern(f"category:{category.value}").key for category in Category} == set(Category)


def test_a_set_names_the_pattern_that_hit_the_first_of_several() -> None:
    bans = compile_patterns(["* hair", "Blue_Hair", "/blue.*/", "category:general"])
    assert bans.match("blue hair") == "* hair"
    assert bans.match("blue eyes") == "/blue.*/"
    assert bans.match("smile") == "category:general"
    assert bans.match("1girl") is None
    assert len(bans) == 4 and not compile_patterns([])
    assert compile_patterns(["Blue_Hair", "* hair"]).match("blue hair") == "Blue_Hair"


def test_a_request_s_list_of_patterns_arrives_whole() -> None:
    bans = compile_patterns(split_list("ban", "hat, /blue|red,?/, * hair; category:artist\n:("))
    assert [bans.match(tag) for tag in ("hat", "red,", "long hair", "wlop", ":(", "sun")] == [
        "hat", "/blue|red,?/", "* hair", "category:artist", ":(", None,
    ]  # fmt: skip


@given(st.text(max_size=40))
def test_a_literal_finds_itself_in_every_spelling(tag: str) -> None:
    try:
        pattern = compile_pattern(tag)
    except BadPattern:
        return
    if pattern.kind is PatternKind.LITERAL and "\\" not in tag:
        assert pattern.match(tag)
        assert pattern.match(f" {normalise(tag)} ")


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("long hair", "her long_hair", "long_hair"),
        ("long_hair", "with LONG\n hair.", "LONG\n hair"),
        ("long hair", "a long-hair cat", "long-hair"),
        ("long hair", "along hair", None),
        ("long hair", "long hairs", None),
        ("long hair", "long, hair", None),
        ("blue*", "a bluebird and more", "bluebird"),
        ("* hair", "the deep blue hair", "blue hair"),
        ("?at", "a hat there", "hat"),
        ("h*t*s", "hot toys, hatters", "hatters"),
        ("a*b *c", "axb yc", "axb yc"),
        ("o_o", "she goes o_o now", "o_o"),
        ("c++", "the c++ book", "c++"),
        ("/(red|blue) \\w+/", "one Red fox", "Red fox"),
        ("/at/", "a hat", None),
        ("/x*/", "a b xx", "xx"),
        ("category:artist", "by wlop", None),
        ("hat", "", None),
    ],
)
def test_text_is_searched_for_whole_words(pattern: str, text: str, found: str | None) -> None:
    span = compile_pattern(pattern).search(text)
    assert (None if span is None else text[slice(*span)]) == found


def test_the_hit_that_begins_first_is_told_and_the_longest_of_these() -> None:
    bans = compile_patterns(["sun", "red", "red hat", "/r.d/"])
    assert bans.search_text("a red hat in the sun") == (2, 9, "red hat")
    assert bans.search_text("nothing of the kind") is None


@given(SMALL, SMALL)
def test_a_tag_that_is_banned_is_found_when_it_stands_in_text(pattern: str, tag: str) -> None:
    tag = normalise(tag)
    try:
        compiled = compile_pattern(pattern)
    except BadPattern:
        return
    words = [word for word in re.split(r"[\s_-]+", tag) if word]
    # In text a star stays within a word, so only tags of as many words as the pattern has can be compared.
    same = len(words) == len([word for word in re.split(r"[\s_-]+", pattern) if word]) and tag[:1].isalnum()
    if compiled.match(tag) and same and tag[-1:].isalnum() and len(tag) > 3:
        assert compiled.search(f"so, {tag}.") is not None


HANGING = ["/(a+)+$/", "/(?R)/", "/(((a{1,30}){1,30}){1,30}){1,9}b/"]
SLOW = ["/(a|a)*b/", "/(.*)*(.*)*(.*)*x/", "/(a?){60}a{60}b/", "/a*a*a*a*a*b/", "/(?:a|ab|b)*c/", "/(a+){e<=9}b/"]


@pytest.mark.parametrize("text", HANGING)
def test_an_expression_made_to_hang_is_refused_by_name(text: str) -> None:
    bans = compile_patterns([text])
    for ask in (bans.match, bans.search_text):
        with pytest.raises(BadPattern, match=re.escape(f"pattern {text}: takes longer than 50 ms")):
            ask("a" * 4000 + "!")


@pytest.mark.slow
@pytest.mark.parametrize("text", HANGING + SLOW)
def test_an_expression_made_to_hang_is_answered_or_refused_within_bounds(text: str) -> None:
    bans = compile_patterns([text])
    for ask in (bans.match, bans.search_text):
        began = time.process_time()
        with contextlib.suppress(BadPattern):
            ask("a" * 4000 + "!")
        assert time.process_time() - began < 10 * TIMEOUT


@pytest.mark.parametrize("text", ["/(?:(?:a{1000}){1000}){1000}/", "/a{99999999}/"])
def test_an_expression_made_to_hang_while_it_is_compiled_is_refused(text: str) -> None:
    with pytest.raises(BadPattern, match="repeats"):
        compile_pattern(text)


@pytest.mark.slow
@pytest.mark.parametrize("glob", ["a*" * 100, "*a?" * 80, "a" + "?*" * 100 + "b", "* " * 100, "*a" * 100 + "b"])
def test_no_glob_takes_long(glob: str) -> None:
    pattern = compile_pattern(glob)
    began = time.process_time()
    for text in ("a" * 2000, "a " * 1000, "a-" * 1000 + "!"):
        pattern.match(text)
        pattern.search(text)
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/(/", "missing"),
        ("/[a/", "unterminated"),
        ("/a**/", "multiple repeat"),
        ("/\\L<x>/", "/\\L<x>/"),
        ("/open", "closing slash"),
        ("/blue/x", "flag 'x'"),
        ("category:colour", "artist, general"),
        ("category:", "no category"),
        ("", "empty"),
        ("   ", "empty"),
        ("x" * (MAX_LENGTH + 1), str(MAX_LENGTH)),
    ],
)
def test_a_bad_pattern_is_named_with_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(BadPattern, match=re.escape(said)) as caught:
        compile_patterns(["fine", text])
    assert text.strip()[:40] in str(caught.value)


def test_too_many_patterns_are_refused() -> None:
    assert len(compile_patterns(["x"] * MAX_PATTERNS)) == MAX_PATTERNS
    with pytest.raises(BadPattern, match="too many"):
        compile_patterns(["x"] * (MAX_PATTERNS + 1))


@given(st.text(alphabet="/ab()[]{}*+?\\|.^$1,<>=!:P ", max_size=16))
def test_no_text_makes_anything_but_a_pattern_or_a_named_error(text: str) -> None:
    try:
        pattern = compile_pattern(text)
        pattern.match("ab 1")
        pattern.search("ab 1, ab")
    except BadPattern as error:
        assert text.strip() in str(error)
