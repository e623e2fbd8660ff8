"""Word lists: the words a model knows, those made of them by rule, and files that are none."""
from __future__ import annotations

import gzip
from hashlib import sha256
from pathlib import Path

import pytest

from kgen_ext.errors import ModelFileError
from kgen_ext.models.resolve import STARTER_FOLDER, resolve
from kgen_ext.models.schema import WORD_LIST
from kgen_ext.rules import wordlist
from kgen_ext.rules.repeats import TextHistory, find_words, read_own_text
from kgen_ext.rules.wordlist import WordList, load_word_list
from kgen_ext.tags.tag import read_tag

WORDS = WordList(sorted("berry box don't fisherman fox is it lantern light she wall".split()))


@pytest.mark.parametrize(
    "word",
    ["fox", "fox's", "foxes", "lanterns", "berries", "don't", "she'll", "it's", "x", "20th", "100mm", "f1", "5.30",
     "1,000", "4k", "foxes's"],
)  # fmt: skip
def test_words_and_what_is_made_of_them_by_rule_are_known(word: str) -> None:
    assert WORDS.knows(word)


@pytest.mark.parametrize(
    "word",
    ["revery", "fishermand", "foxen", "isses", "wallss", "lanternd", "fox'n", "20thing", "\u5c11\u5973", "its", "shes",
     "boxess", "walles", "fox12", "h0111", "f123", "20121", "fox2wall"],
)  # fmt: skip
def test_other_words_are_not(word: str) -> None:
    assert not WORDS.knows(word)


@pytest.mark.parametrize(
    ("part", "begins"), [("fish", True), ("fishermand", False), ("foxes", True), ("xq", False), ("wal", True)]
)
def test_a_word_may_begin_as_a_known_one(part: str, begins: bool) -> None:
    assert WORDS.begins(part) is begins


@pytest.mark.parametrize("text", ["revery", "reveries", "The Revery!", "well-revery", "a revery's", "(revery)"])
def test_an_invented_word_is_found_in_a_text(text: str) -> None:
    known = WordList(sorted(["a", "the", "well"]))
    assert TextHistory(known=known).read(text).reason.rule == "unknown"  # type: ignore[union-attr]


@pytest.mark.parametrize("prompt", ["revery", "my_revery", "(Revery:1.2)", "<lora:revery:1>", "reveries"])
def test_a_word_of_the_user_s_prompt_is_known(prompt: str) -> None:
    history = TextHistory(read_own_text([prompt], []), WORDS)
    assert history.knows("reveries" if prompt == "reveries" else "revery")


def test_a_word_of_the_row_s_tags_is_known() -> None:
    tags = [read_tag("hatsune_miku")]
    assert TextHistory(known=WORDS, tags=tags).knows("miku")


def test_without_a_word_list_every_word_is_known() -> None:
    assert TextHistory().knows("revery")


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_a_file_is_read_without_its_comments_in_any_order(tmp_path: Path) -> None:
    found = load_word_list(write(tmp_path / "words", gzip.compress(b"# of mine\nwall\nfox\nfox\n\n")))
    assert (len(found), found.knows("fox"), found.knows("wall")) == (2, True, True)


@pytest.mark.parametrize(
    "data",
    [b"fox\n", gzip.compress(b"fox\n" * 99)[:-9], gzip.compress(b"\xff\xfe"), b"",
     b"\x1f\x8b\x08broken", gzip.compress(b"# \n")],
)  # fmt: skip
def test_a_file_that_is_none_is_named(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ModelFileError, match="words"):
        load_word_list(write(tmp_path / "words", data))


def test_a_file_that_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordlist, "MAX_BYTES", 1000)
    with pytest.raises(ModelFileError, match="larger"):
        load_word_list(write(tmp_path / "words", gzip.compress(b"fox\n" * 251)))


STARTERS = load_word_list(STARTER_FOLDER / WORD_LIST)


@pytest.mark.parametrize(
    "text", ["A fisherman's lantern lights the quiet harbour at dusk.", "Two red-haired girls aren't wearing kimonos.",
             "She has twintails, thighhighs and a hair ornament.", "A 35mm photo of the 1920s, f1.8."],
)  # fmt: skip
def test_the_starter_s_list_knows_plain_english_and_tags(text: str) -> None:
    assert [word for _, _, word in find_words(text) if not STARTERS.knows(word)] == []


@pytest.mark.parametrize("word", ["revery", "fishermand", "milkshing", "chalkboardboard", "glasstle", "pyramidck"])
def test_the_starter_s_list_has_no_words_that_its_pieces_make(word: str) -> None:
    assert not STARTERS.knows(word)


def test_the_model_card_has_the_list_s_checksum() -> None:
    digest = sha256((STARTER_FOLDER / WORD_LIST).read_bytes()).hexdigest()
    assert digest in (STARTER_FOLDER / "README.md").read_text("utf-8")


def test_the_starter_s_list_is_small() -> None:
    assert (STARTER_FOLDER / WORD_LIST).stat().st_size < 300_000


@pytest.mark.parametrize("model", ["starter", str(STARTER_FOLDER), str(STARTER_FOLDER / "starter-Q8_0.gguf")])
def test_the_starter_has_its_list_however_it_is_named(model: str) -> None:
    assert resolve(model).word_list() == STARTER_FOLDER / WORD_LIST


def test_a_copy_of_the_starter_has_our_list(tmp_path: Path) -> None:
    copied = write(tmp_path / "x.gguf", (STARTER_FOLDER / "starter-Q8_0.gguf").read_bytes())
    assert resolve(str(copied)).word_list() == STARTER_FOLDER / WORD_LIST


def test_another_model_has_the_list_beside_its_weights_or_none(tmp_path: Path) -> None:
    files = resolve(str(write(tmp_path / "x.gguf", b"GGUF")))
    assert files.word_list() is None
    write(tmp_path / WORD_LIST, gzip.compress(b"fox\n"))
    assert files.word_list() == tmp_path / WORD_LIST
