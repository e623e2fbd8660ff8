"""The words of a row's texts: what may not be said again, and that taking words back leaves no trace."""
from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgen_ext.rules.repeats import TextHistory, find_words, read_own_text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The Fox.", ["the", "fox"]), ("well-lit", ["well", "lit"]), ("the fox's den", ["the", "fox's", "den"]),
        ("don\u2019t", ["don't"]), ("1,000 lamps at 5.30", ["1,000", "lamps", "at", "5.30"]), ("f1.8", ["f1", "8"]),
        ("\uff28\uff21\uff34!", ["hat"]), ("Caf\u00e9", ["cafe"]), ("\u201cNo!\u201d", ["no"]),
        ("under_score", ["under", "score"]),
        ("a \u2014 b", ["a", "b"]), ("\u5c11\u5973\u3002\u7a7a\uff01", ["\u5c11\u5973", "\u7a7a"]), ("... !?", []),
    ],
)  # fmt: skip
def test_words_are_compared_without_case_signs_accents_and_width(text: str, words: list[str]) -> None:
    assert [word for _, _, word in find_words(text)] == words


@pytest.mark.parametrize(
    "text", ["The Fox.", "\uff28\uff21\uff34 hat", "caf\u00e9\u00e9 \u201chat\u201d", "\u0130stanbul hat"]
)
def test_a_word_s_span_is_that_of_the_text_as_written(text: str) -> None:
    assert all(find_words(text[begin:end])[0][2] == word for begin, end, word in find_words(text))


def flaw(*stretches: str, text: str = "") -> str | None:
    """Return the first word that is refused; a stretch that ends in a stop ends its sentence."""
    history = TextHistory(read_own_text([], [text]))
    history.begin_field()
    for stretch in stretches:
        found = history.read(stretch)
        if found is not None:
            return stretch[found.begin : found.end]
        if stretch.endswith("."):
            if history.repeats_sentence():
                return "."
            history.end_sentence()
    return None


@pytest.mark.parametrize(
    ("stretches", "word"),
    [
        (("in the the rain",), "the"), (("a fisherman fisherman",), "fisherman"), (("A a fox",), "a"),
        (("a hat, hat",), "hat"), (("a hat-hat",), "hat"), (("a very very very",), "very"),
        (("It is old.", "Old, old"), "old"),
        (("the end.", "End of"), None), (("a very very old man",), None), (("by J.R.R. Tolkien",), None),
        (("in the rain the fox",), None), (("on 5 5",), None), (("on 55 55",), "55"),
    ],
)  # fmt: skip
def test_no_word_comes_three_times_running_and_hardly_any_twice(stretches: tuple[str, ...], word: str | None) -> None:
    assert flaw(*stretches) == word


@pytest.mark.parametrize(
    ("stretches", "word"),
    [
        (("a fox sits on a wall and a fox sits on",), "on"), (("A fox sits on it.", "The old fox sits on it."), "it"),
        (("a fox, sits on. A fox (sits) \u201con\u201d",), "on"),
        (("black-and-white cat, black and white cat",), "cat"),
        (("of the sun of the sun of",), "of"), (("one. two three four. one two", "three four"), "four"),
        (("a fox sits on", "a fox sits in"), None), (("a fox sits a fox sits down",), None),
    ],
)  # fmt: skip
def test_no_four_words_come_twice(stretches: tuple[str, ...], word: str | None) -> None:
    assert flaw(*stretches) == word


@pytest.mark.parametrize(
    ("stretches", "word"),
    [
        (("A table is at the table",), "table"), (("It is day.", "The cats are by the cats"), "cats"),
        (("A cat is next to another cat",), None), (("A red hat is red",), None), (("A fox sits by a fox",), None),
        (("A cat is in a room with a window and a cat",), None), (("The end is a fox.", "A fox is here"), None),
    ],
)  # fmt: skip
def test_a_short_sentence_says_once_what_it_is_about(stretches: tuple[str, ...], word: str | None) -> None:
    assert flaw(*stretches) == word


@pytest.mark.parametrize(
    ("stretches", "word"),
    [
        (("She wears a kimono and a kimono",), "kimono"), (("A white hat and a white hat",), "hat"),
        (("A red and a red",), "red"), (("By the sea and, again, by the sea",), None), (("A hat.", "And a hat"), None),
        (("It goes on and on",), None), (("more and more and more",), None), (("the cat sees the cat",), None),
        (("a red hat and a hat",), None),
    ],
)  # fmt: skip
def test_nothing_is_joined_with_itself(stretches: tuple[str, ...], word: str | None) -> None:
    assert flaw(*stretches) == word


@pytest.mark.parametrize(
    ("stretches", "word"),
    [
        (("There is the old fox sits",), "sits"), (("Here, the OLD fox \u2014 sits",), "sits"),
        (("An old fox lies",), None),
        (("Here sits on a wall.",), "wall"),
    ],
)  # fmt: skip
def test_no_four_words_of_the_user_s_text_come_again(stretches: tuple[str, ...], word: str | None) -> None:
    assert flaw(*stretches, text="Today the old fox sits on a wall.") == word


@pytest.mark.parametrize(
    ("stretches", "refused"),
    [
        (("A girl.", "A girl."), True), (("A girl.", "A dog.", "a GIRL!."), True), (("Yes.", "Yes."), True),
        (("A girl.", "The girl."), True), (("A girl.", "A girl sits."), False), (("A dog.", "A red hat."), True),
        (("A dog.", "Red hat."), True), (("Plates are on a table.", "The plates are on the table."), True),
        (("The.", "An."), True), (("The.", "?."), False), (("A dog.", "The dogs."), False),
        (("It is a day.", "A day it is."), False),
    ],
)  # fmt: skip
def test_no_sentence_comes_twice(stretches: tuple[str, ...], refused: bool) -> None:
    assert (flaw(*stretches, text="A red hat.") == ".") is refused


@pytest.mark.parametrize(
    ("user", "first", "echo"),
    [
        ("A fox sits on a wall.", "A fox sits on a wall.", True),
        ("A fox sits on a wall.", "The fox sits on it.", True),
        ("a red fox", "A red fox runs.", True), ("a red fox", "Red fox!", True), ("fox", "A fox runs.", True),
        ("Rain. The old man", "The old man runs.", True), ("a red fox", "A fox runs.", False),
        ("A fox sits on a wall.", "A fox sits in it.", False), ("A fox sits.", "A fox sat.", False),
        ("the", "The fox runs.", False), ("She wears the hat", "She wears a hat in the rain.", True),
    ],
)  # fmt: skip
def test_no_text_begins_with_a_sentence_of_the_user_s(user: str, first: str, echo: bool) -> None:
    history = TextHistory(read_own_text([], [user]))
    found = history.read(first)
    assert (found is not None and found.opening) is echo


def test_a_second_text_does_not_begin_so_either() -> None:
    history = TextHistory(read_own_text([], ["a red fox"]))
    history.read("It rains.")
    history.end_sentence()
    history.begin_field()
    found = history.read("A red fox runs.")
    assert found is not None and found.opening


def test_a_later_sentence_may_begin_as_the_user_s() -> None:
    assert flaw("It rains.", "A red fox runs.", text="a red fox") is None


def test_a_second_text_is_compared_with_the_first() -> None:
    history = TextHistory()
    history.read("a fox sits on a wall")
    history.end_sentence()
    history.begin_field()
    found = history.read("The fox sits on a wall")
    assert found is not None and found.reason.detail == "fox sits on a"


stretches = st.lists(
    st.lists(st.sampled_from("a the old fox. sits on wall. It is very".split()), min_size=1, max_size=4).map(" ".join),
    max_size=12,
)  # fmt: skip


@settings(max_examples=200)
@given(stretches, stretches, st.lists(st.booleans(), min_size=12, max_size=12))
def test_what_was_taken_back_leaves_no_trace(kept: list[str], dropped: list[str], ends: list[bool]) -> None:
    def say(history: TextHistory, stretches: list[str]) -> list[object]:
        said = list[object]()
        for stretch, end in zip(stretches, ends, strict=False):
            said.append(history.read(stretch))
            said.append(history.repeats_sentence())
            if end and said[-2:] == [None, None]:
                history.end_sentence()
        return said

    once, twice = (TextHistory(read_own_text([], ["The old wall."])) for _ in range(2))
    assert say(once, kept) == say(twice, kept)
    count = len(twice)
    say(twice, dropped)
    twice.truncate(count)
    assert say(once, dropped) == say(twice, dropped)


def test_a_word_costs_the_same_in_a_long_text() -> None:
    history = TextHistory()
    start = time.process_time()
    for number in range(100_000):
        history.read(f"word{number}")
    assert time.process_time() - start < 10  # under a second; a time that grows with the square takes hours
