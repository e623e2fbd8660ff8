"""The drafter: what it guesses in tag lists and in sentences, and that no vocabulary, row or file makes it fail."""
from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_engine import ScriptedEngine, build_vocab

from kgen_ext.decoding import drafter
from kgen_ext.decoding.drafter import Drafter, Repeats
from kgen_ext.decoding.vocabulary import in_context, token_table
from kgen_ext.engines.gguf import read_gguf
from kgen_ext.rules.blocklist import load_blocklist
from kgen_ext.tags.canonical import canonical_name, normalise
from kgen_ext.tags.lists import PHRASES, POPULAR, pack_lists, read_lists
from tools.tag_lists import build_phrases, build_popular

ROOT = Path(__file__).parents[1]
(TAGS,) = read_lists(POPULAR, 1)
TWO, ONE = read_lists(PHRASES, 2)


class Speaker:
    """A drafter, in words."""

    def __init__(self, engine: ScriptedEngine) -> None:
        self.engine = engine
        self.table = token_table(engine)
        self.drafter = Drafter(engine, self.table)

    def tokens(self, text: str) -> tuple[int, ...]:
        return in_context(self.engine, text, left="a,")

    def spell(self, ids: Sequence[int]) -> str:
        return b"".join(self.table.pieces[token] for token in ids).decode("utf-8", "replace")

    def tag(self, begun: str, *taken: str) -> str:
        return self.spell(self.drafter.tag(self.tokens(begun), taken))

    def text(self, row: str, *, width: int = 20) -> str:
        return self.spell(self.drafter.text(self.engine.tokenize(row), Repeats(), width=width))


@cache
def words() -> Speaker:
    """A vocabulary in which most words are one token."""
    text = "long hair sleeves looking at viewer is wearing a in the background black animal ears school zorb . ,"
    return Speaker(ScriptedEngine.forcing([], pieces=(*(f" {word}" for word in text.split()), ",", ".", " ")))


def test_a_text_is_tokenised_once_for_all_its_beginnings(monkeypatch: pytest.MonkeyPatch) -> None:
    speaker, seen = words(), list[str]()
    tokenize = speaker.engine.tokenize

    def noted(text: str) -> list[int]:
        seen.append(text)
        return tokenize(text)

    beginnings = [speaker.tokens(begun) for begun in (" long", " long hair", "")]
    monkeypatch.setattr(speaker.engine, "tokenize", noted)
    guesses = Drafter(speaker.engine, speaker.table)
    for begun in beginnings:
        guesses.tag(begun, ())
    assert seen.count("a, long hair") == 1


class StarterTokens(ScriptedEngine):
    """The starter's tokenizer without its weights."""

    def __init__(self) -> None:
        tokens = read_gguf(ROOT / "kgen_ext" / "starter" / "starter-Q8_0.gguf").tokens
        super().__init__(lambda ids: None, vocab=tokens.vocab)  # type: ignore[arg-type, return-value]
        self.tokenize = tokens.tokenize  # type: ignore[method-assign]


@cache
def starter() -> Speaker:
    return Speaker(StarterTokens())


# --- Tags


def test_the_rest_of_the_most_used_tag_and_its_comma_follow() -> None:
    assert words().tag(" looking") == " at viewer,"


def test_a_tag_that_is_in_the_list_gives_way_to_the_next() -> None:
    assert words().tag(" long", "long hair") == " sleeves,"


def test_a_complete_tag_is_followed_by_a_comma() -> None:
    assert words().tag(" looking at viewer") == ","


def test_what_no_tag_begins_with_is_taken_for_complete() -> None:
    assert words().tag(" zorb") == ","


def test_where_all_that_begin_so_are_taken_the_tag_is_taken_for_complete() -> None:
    assert words().tag(" animal", *(tag for tag in TAGS if tag.startswith("animal"))) == ","


def test_an_empty_beginning_gives_the_most_used_tag() -> None:
    assert words().tag("").strip() == f"{TAGS[0]},"


def test_an_empty_beginning_gives_none_that_is_taken() -> None:
    assert words().tag("", *TAGS[:3]).strip() == f"{TAGS[3]},"


def test_a_guess_goes_on_with_the_tokens_of_the_beginning() -> None:
    # The vocabulary has ` long`, so a model that spells it in bytes writes no `long hair`.
    spelled = tuple(words().table.ids[bytes([byte])] for byte in b" long")
    assert words().spell(words().drafter.tag(spelled, ())) == ","


def test_spaces_and_brackets_are_as_in_the_models_training() -> None:
    assert [tag for tag in TAGS if normalise(tag) != tag] == []


def test_names_are_those_that_lists_of_taken_tags_hold() -> None:
    assert [tag for tag in TAGS if canonical_name(tag) != tag] == []


@given(st.lists(st.integers(0, len(starter().table.pieces) - 1), max_size=4), st.sets(st.sampled_from(TAGS[:200])))
def test_a_guess_makes_a_known_tag_or_ends_the_one_begun(path: list[int], taken: set[str]) -> None:
    speaker = starter()
    guess = speaker.drafter.tag(path, taken)
    tag = speaker.spell([*path, *guess]).removesuffix(",").removeprefix(" ")
    assert guess == (speaker.table.comma,) or (tag in set(TAGS) - taken and guess[-1] == speaker.table.comma)


@settings(deadline=None)
@given(st.sampled_from(TAGS), st.integers(1, 4))
def test_a_beginning_of_a_known_tag_is_guessed_with_its_tokens(name: str, length: int) -> None:
    path = starter().tokens(f" {name}")[:length]
    guess = starter().drafter.tag(path, ())
    tag = starter().spell((*path, *guess[:-1])).removeprefix(" ")
    assert len(guess) == 1 or starter().tokens(f" {tag}") == (*path, *guess[:-1])


# --- Sentences


def test_a_sentence_goes_on_as_descriptions_do() -> None:
    assert words().text("A zorb looking at", width=3) == " the viewer."


def test_what_is_known_behind_two_words_goes_before_a_repeat() -> None:
    assert words().text("zorb looking at hair, black looking at", width=2) == " the viewer"


def test_two_tokens_go_on_as_they_did_before() -> None:
    assert words().text("zorb black ears sleeves hair zorb black", width=2) == " ears sleeves"


def test_two_tokens_tell_more_than_one() -> None:
    assert words().text("x zorb black ears, school black sleeves, zorb black", width=1) == " ears"


def test_one_token_goes_on_as_it_did_last() -> None:
    assert words().text("x zorb ears, x zorb hair, black zorb", width=1) == " hair"


def test_a_comma_is_a_word_without_a_space() -> None:
    assert words().text("zorb, and", width=4) == " the"


def test_a_begun_word_goes_on() -> None:
    assert words().text("x umbr") == "ella"


def test_nothing_is_guessed_behind_what_is_new() -> None:
    assert words().text("x zorb") == ""


@pytest.mark.parametrize("width", [0, 1, 2, 3])
def test_a_guess_is_no_longer_than_asked_for(width: int) -> None:
    ids = words().engine.tokenize("x in the zorb, x in the")
    assert len(words().drafter.text(ids, Repeats(), width=width)) <= width


@pytest.mark.parametrize("length", [0, 1, 2])
def test_the_shortest_rows_are_read(length: int) -> None:
    ids = words().engine.tokenize(" zorb zorb")[:length]
    assert words().drafter.text(ids, Repeats(), width=4) in ((), tuple(ids[:1]))


def test_a_row_that_is_cut_back_repeats_nothing_that_is_gone() -> None:
    repeats = Repeats()
    repeats.read([1, 2, 3, 4, 5, 6])
    repeats.read([1, 9])
    assert repeats.behind([7, 8, 1, 9, 2], 3) == ()


def test_a_pair_that_was_cut_off_is_not_repeated() -> None:
    repeats = Repeats()
    repeats.read([5, 1, 2, 9, 9, 9])
    assert repeats.behind([5, 8, 8, 8, 2, 7, 1, 2], 3) == ()


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 12)), max_size=40))
def test_a_repeat_stood_in_the_row_behind_the_same_token(moves: list[tuple[int, int]]) -> None:
    repeats, ids = Repeats(), list[int]()
    for token, cut in moves:
        del ids[len(ids) - min(cut % 5, len(ids)) if cut > 9 else len(ids) :]
        ids.append(token)
        repeats.read(ids)
        guess = repeats.behind(ids, 3)
        stood = [tuple(ids[end : end + 3]) for end in range(1, len(ids)) if ids[end - 1] == token]
        assert not guess or guess in stood


@given(st.lists(st.integers(0, 4), min_size=3, max_size=30))
def test_a_pair_that_stood_before_is_found(ids: list[int]) -> None:
    repeats = Repeats()
    repeats.read(ids)
    pair = tuple(ids[-2:])
    ends = [end for end in range(2, len(ids)) if tuple(ids[end - 2 : end]) == pair]
    assert not ends or repeats.behind(ids, 2) == tuple(ids[ends[-1] : ends[-1] + 2])


# --- Any row, any vocabulary, any file


def test_a_guess_does_not_depend_on_what_was_asked_before() -> None:
    fresh, used = Speaker(words().engine), words()
    beginnings = (" long", " black", " school", "", " animal")
    for begun in beginnings:
        used.tag(begun, *TAGS[:100])
    assert [fresh.tag(begun) for begun in beginnings] == [used.tag(begun) for begun in beginnings]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafter, "_REMEMBERED", 8)
    speaker = Speaker(words().engine)
    for token in range(40):
        speaker.drafter.tag((token,), ())
    assert len(speaker.drafter._tags._remembered) <= 8


@pytest.mark.parametrize("pieces", [(), (",",), (" ,", ", "), ("\n",)], ids=["bytes", "comma", "spaced", "line"])
def test_a_strange_vocabulary_is_guessed_in_its_tokens(pieces: tuple[str, ...]) -> None:
    speaker = Speaker(ScriptedEngine(lambda ids: None, vocab=build_vocab(pieces)))  # type: ignore[arg-type, return-value]
    assert speaker.spell(speaker.drafter.tag(tuple(b + 16 for b in b" lookin"), ())).strip() == "g at viewer,"


def test_a_beginning_in_the_middle_of_a_character_is_guessed_to_be_complete() -> None:
    assert words().spell(words().drafter.tag((words().table.ids[b"\xe4"],), ())) == ","


@pytest.mark.parametrize("data", [None, b"", b"no zlib", pack_lists()], ids=["missing", "empty", "damaged", "no lists"])
def test_without_its_lists_it_still_guesses_commas(
    data: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if data is not None:
        (tmp_path / "lists.bin").write_bytes(data)
    monkeypatch.setattr(drafter, "POPULAR", str(tmp_path / "lists.bin"))
    monkeypatch.setattr(drafter, "PHRASES", str(tmp_path / "lists.bin"))
    drafter._shipped.cache_clear()
    try:
        assert Speaker(words().engine).tag(" long") == ","
    finally:
        drafter._shipped.cache_clear()


# --- The lists


@pytest.mark.parametrize("path", [POPULAR, PHRASES], ids=os.path.basename)
def test_the_shipped_lists_are_those_that_the_notice_names(path: str) -> None:
    notice = (Path(path).parent / "NOTICE.md").read_text("utf-8")
    assert f"{sha256(Path(path).read_bytes()).hexdigest()}  {os.path.basename(path)}" in notice


def test_the_lists_are_safe_for_work() -> None:
    unsafe = load_blocklist(ROOT / "kgen_ext" / "models" / "data" / "unsafe.txt")
    assert [text for text in (*TAGS, *TWO, *ONE) if unsafe.search_text(text) is not None] == []


def test_the_lists_take_little_memory() -> None:
    texts = (*TAGS, *TWO, *ONE)
    assert sum(map(sys.getsizeof, texts)) + 10 * len(texts) < 4_000_000


@pytest.mark.parametrize("lists", [((),), (("a", "b c"),), (("a",), ("b", "c"), ("d",)), ((), ("a",))])
def test_lists_are_read_as_they_were_packed(lists: tuple[tuple[str, ...], ...], tmp_path: Path) -> None:
    (tmp_path / "lists.bin").write_bytes(pack_lists(*lists))
    assert read_lists(str(tmp_path / "lists.bin"), len(lists)) == lists


def test_the_builder_takes_safe_general_tags_by_their_posts(tmp_path: Path) -> None:
    (tmp_path / "tags.csv").write_text("nude,0,9,\nhat,0,3,\nwlop,1,8,\nfox_ears,0,5,\n:d,0,1,\n", "utf-8")
    assert build_popular.read_popular(tmp_path / "tags.csv", 2) == ["fox ears", "hat"]


def test_a_phrase_goes_on_while_what_follows_is_known() -> None:
    two, _ = build_phrases.find_phrases(["In the deep dark forest."] * 3, share=0.5, times=3, word_times=9)
    assert "In the deep dark forest." in two


def test_a_rare_word_follows_nothing() -> None:
    texts = [*["A red hat."] * 8, "A red bow."]
    two, _ = build_phrases.find_phrases(texts, share=0.2, times=1, word_times=9)
    assert not any("bow" in phrase for phrase in two if phrase.startswith("A red"))


def test_a_long_word_is_a_phrase_of_its_own() -> None:
    _, one = build_phrases.find_phrases(["umbrella"] * 3, share=0.5, times=3, word_times=3)
    assert one == ["umbrella"]
