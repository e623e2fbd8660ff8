"""Punctuation, invisible characters and look-alike letters in a tag: none evades a ban, repeat or contradiction."""
from __future__ import annotations

import pytest
from decoding_kit import check, force, greedy
from hypothesis import example, given
from hypothesis import strategies as st

from kgen_ext.request import Category
from kgen_ext.rules.patterns import compile_pattern, compile_patterns
from kgen_ext.tags.canonical import canonical_name, fold, fold_text, normalise
from kgen_ext.tags.categories import is_people_count
from kgen_ext.tags.tag import read_tag

EXIST = (":d", ":3", "^_^", ">_<", "...", "!?", "?", "!!", "\\m/", "d:", "d.va", "st. gloriana's", "k-on!", "c.c.",
         "o_o", "love live!", "saber (fate)", "(o) (o)", "= hair ornament", ".live", "6+girls", "^ ^",
         "archer (fate) (cosplay)", "girls' frontline", "@ @", "+ +", ";)", "\\||/", "+++", ":>")  # fmt: skip
WORDS = ("hat", "long hair", "d.va", "k-on!", "saber (fate)", ":d", "hatsune miku", "2girls", "k", "st. gloriana's")
SIGNED = st.text(alphabet=" .,;!?*~-_'\"«»…。、·•()[]#|/\\+=<>😀♥\u200b\u2060\u00ad\ufeff", max_size=6).map(
    lambda text: text.replace(",", ".").replace("、", ".")
)
UNSEEN = st.sampled_from(("", "\u200b", "\u200d", "\u2060", "\u00ad", "\ufeff", "\u0336", "\ufe0f", "\u3164"))
WIDE = str.maketrans({letter: chr(ord(letter) + 0xFEE0) for letter in "abcdefghijklmnopqrstuvwxyz0123456789"})
CYRILLIC = str.maketrans("aeopcyx", "аеорсух")


@st.composite
def disguised(draw: st.DrawFn, word: str) -> str:
    """Return the word as a model that wants to write it could disguise it."""
    letters = "".join(letter + draw(UNSEEN) for letter in word)
    letters = draw(st.sampled_from((letters, letters.upper(), letters.translate(WIDE), letters.translate(CYRILLIC))))
    return draw(SIGNED) + letters.replace(" ", draw(st.sampled_from((" ", "  ", "_", "\u3000")))) + draw(SIGNED)


def says(tag: str) -> str:
    """What a reader who skips signs takes a tag for; knows nothing of how the product does it."""
    return "".join(letter for letter in fold_text(tag.lower())[0] if letter.isalnum())


@pytest.mark.parametrize("name", EXIST)
def test_a_tag_that_exists_as_written_stays_itself(name: str) -> None:
    assert canonical_name(name) == name
    assert not read_tag(name).is_decorated


@pytest.mark.parametrize(
    ("written", "name"),
    [("hat..", "hat"), (".hat", "hat"), ("* hat *", "hat"), ('"hat"', "hat"), ("(hat)", "hat"), ("hat (", "hat"),
     ("hat ()", "hat"), ("h\u200bat", "hat"), ("ｈａｔ", "hat"), ("hаt", "hat"), ("hát", "hat"), ("h̶a̶t̶", "hat"),
     ("𝐡𝐚𝐭", "hat"),
     ("k-on!.", "k-on!"), (":d.", ":d"), ("....", "..."), ("saber (fate).", "saber (fate)"), ("hat 😀", "hat"),
     ("working!!", "working!!"), ("hat s", "hat s"), ("hats", "hats"), ("hat-trick", "hat-trick")],
)  # fmt: skip
def test_what_it_is_dressed_with_is_taken_off_and_no_more(written: str, name: str) -> None:
    assert canonical_name(normalise(written)) == name


@pytest.mark.parametrize(
    ("written", "name"),
    [("fox-ears", "fox ears"), ("very-long-hair", "very long hair"), ("very-long hair", "very long hair"),
     ("looking-at-viewer", "looking at viewer"), ("half closed eyes", "half-closed eyes"), ("t shirt", "t-shirt"),
     ("half-closed-eyes", "half-closed eyes"), ("hatsune-miku", "hatsune miku"), ("fox-ears..", "fox ears"),
     ("black-hair girl", "black hair girl"), ("fox‐ears", "fox ears"), ("fox–ears", "fox ears")],
)  # fmt: skip
def test_hyphens_and_spaces_are_those_of_the_tag_that_exists(written: str, name: str) -> None:
    assert canonical_name(normalise(written)) == name


@pytest.mark.parametrize(
    "name",
    ["x-ray", "t-shirt", "off-shoulder shirt", "half-closed eyes", "k-on!", "blue-eyes white dragon", "close-up",
     "hat-trick", "ultra-detailed", "very odd-looking mug", "a-b-c-d-e-f-g-h", "long hair", "red hat shop"],
)  # fmt: skip
def test_other_hyphens_and_spaces_are_kept(name: str) -> None:
    assert canonical_name(normalise(name)) == name


@given(st.lists(st.sampled_from("fox ears long hair very t shirt x ray half closed eyes k on!".split()), max_size=5))
def test_hyphens_everywhere_or_nowhere_are_folded_once_for_all(words: list[str]) -> None:
    folded = fold(normalise("-".join(words)))
    assert fold(folded) == folded == normalise(folded)


@pytest.mark.parametrize(("prompt", "written"), [("fox-ears", "fox ears"), ("Fox_Ears", "fox-ears")])
def test_a_tag_in_another_spelling_is_not_added_again(prompt: str, written: str) -> None:
    script = [",", (written, "umbrella"), ",", "shrine", "</s>"]
    ran = check(force(script, greedy(prompt), pieces=(written, "umbrella", "shrine")))
    assert ran.tags == ("umbrella", "shrine")


@given(st.one_of(st.text(), SIGNED, st.sampled_from(WORDS).flatmap(disguised)))
def test_plain_twice_is_plain_once(text: str) -> None:
    once = canonical_name(normalise(text))
    assert canonical_name(once) == once == canonical_name(normalise(once))


@given(st.one_of(st.text(), SIGNED))
@example("\U0001d6a8")  # a bold capital alpha: a small one, then an a
def test_plain_letters_twice_are_plain_letters_once(text: str) -> None:
    folded = fold(normalise(text))
    assert fold(folded) == folded == normalise(folded)


@given(st.sampled_from(WORDS).flatmap(lambda word: st.tuples(st.just(word), disguised(word))))
def test_no_ban_is_dodged_by_dressing_the_word_up(pair: tuple[str, str]) -> None:
    word, written = pair
    name = canonical_name(normalise(written))
    decorated = read_tag(name).is_decorated
    # It may have become another name that exists: `.live` is not `live`.
    assert compile_patterns([word]).match(written) or (name != word and not decorated and not name.isalnum())
    assert says(name) == says(word)


@given(disguised("red hat"))
def test_nor_a_glob_nor_an_expression(written: str) -> None:
    assert compile_pattern("* hat").match(written)
    assert compile_pattern("/red .*t/").match(written)


def test_a_sign_that_the_user_bans_is_meant() -> None:
    assert compile_pattern("hat!").match("hat!")
    assert not compile_pattern("hat!").match("hat")


def test_dressed_tags_have_the_category_of_the_plain_one() -> None:
    assert read_tag("hatsune miku.").category is Category.CHARACTERS
    assert read_tag("masterpiece!!").category is Category.QUALITY
    assert is_people_count(read_tag("2girls..").name)


@pytest.mark.parametrize("text", ["She wears a ｈａｔ.", "It is a h\u200bat.", "It is a hаt.", "A h\u0336a\u0336t!"])
def test_a_ban_holds_in_sentences_however_its_letters_are_made(text: str) -> None:
    begin, end, source = compile_patterns(["hat"]).search_text(text) or (0, 0, "")
    assert (says(text[begin:end]), source) == ("hat", "hat")


DODGES = ("hat..", ".hat", "*hat*", "(hat)", "hat!", "ｈａｔ", "hаt")


@pytest.mark.parametrize("written", DODGES)
def test_a_dressed_ban_is_taken_back_while_it_is_written(written: str) -> None:
    script = [(written, "umbrella"), ",", "shrine", "</s>"]
    ran = check(force(script, greedy(ban=("hat",)), pieces=(written, "umbrella")))
    assert ran.tags == ("umbrella", "shrine")
    assert ran.rejected == [("banned", written)]


@pytest.mark.parametrize(
    ("prompt", "written", "rule"),
    [("hat", "hat..", "repeat"), ("hat..", "hat", "repeat"), ("day", "night!", "contradiction"),
     ("1girl", "2girls.", "contradiction"), ("sky", "hatsune miku!!", "category"), ("sky", "hat..", "garbled")],
)  # fmt: skip
def test_nor_does_a_dressed_tag_pass_for_another(prompt: str, written: str, rule: str) -> None:
    script = [",", (written, "umbrella"), ",", "shrine", "</s>"]
    ran = check(force(script, greedy(prompt), pieces=(written, "umbrella", "shrine")))
    assert ran.tags == ("umbrella", "shrine")
    assert ran.rejected == [(rule, written)]
