"""Nothing said twice and no invented words, while decoding: by forced draws, by random logits and on every engine."""
from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from decoding_kit import NAMES, Ran, check, force, greedy, model_context, nonsense, run_all, spoken, violations
from engine_fixtures import PACKAGES
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from model_shapes import TIPO_V1, WORDS, write_folder, write_gguf
from numpy.typing import NDArray
from scripted_engine import COMMON_PIECES, ScriptedEngine, build_vocab

from kgen_ext.decoding.constraint import GARBLED, EndField, ForceTokens, Rollback, Step
from kgen_ext.decoding.prose import ProseConstraint
from kgen_ext.decoding.sampler import Draw
from kgen_ext.decoding.vocabulary import TokenMask, token_table
from kgen_ext.models.schema import WORD_LIST
from kgen_ext.prompt.sentences import split_sentences
from kgen_ext.protocol import Band, TextBand
from kgen_ext.request import ExpandRequest
from kgen_ext.rules import Rejection
from kgen_ext.rules.known import TagFiles
from kgen_ext.rules.repeats import TextHistory, read_own_text
from kgen_ext.rules.wordlist import WordList
from kgen_ext.service import open_expander
from kgen_ext.service.plan import make_jobs, plan_expansion

FULL = ", ".join(NAMES[:18])  # a list that is full, so that only the text is written
Script = Sequence["str | tuple[str, ...]"]
KNOWN = WordList(
    sorted("a an and fisherman fox girl hat in is lamp of old on rain red sits smiles the very wall".split())
)


def write(script: Script, *, words: WordList | None = None, **options: object) -> Ran:
    pieces = [*NAMES, " ", *(piece for place in script for piece in ([place] if isinstance(place, str) else place))]
    return check(force(script, greedy(FULL, **{"text_length": "short", **options}), pieces=pieces, words=words))


def text_of(ran: Ran) -> str:
    return ran.output.texts["long"]


AGAIN = {
    "a small word": ([" In", " the"], " the"),
    "in capitals": ([" In", " the"], " THE"),
    "behind a comma": ([" A", " hat", ","], " hat"),
    "behind a hyphen": ([" A", " hat", "-"], "hat"),
    "behind a dash": ([" A", " hat", " \u2014"], " hat"),
    "in quotes": ([" A", " hat", ' "'], "hat"),
    "in brackets": ([" A", " hat", " ("], "hat"),
    "set wide": ([" A", " hat"], " \uff28\uff41\uff54"),
    "with an accent": ([" A", " cafe"], " caf\u00e9"),
    "with another apostrophe": ([" A", " girl's"], " girl\u2019s"),
    "a number": ([" At", " 5.30"], " 5.30"),
    "a third time": ([" A", " very", " very"], " very"),
    "a third time over a sentence's end": ([" It", " is", " old", ".", " Old", ","], " old"),
    "in one token with its sign": ([" A", " hat,"], " hat,"),
}


@pytest.mark.parametrize("kind", AGAIN)
def test_a_word_again_is_drawn_again_alone(kind: str) -> None:
    before, again = AGAIN[kind]
    other = " lamp" if again[0] == " " else "lamp"
    ran = write([*before, (again, other), " stands", ".", " A", " girl", ".", "</s>"])
    assert text_of(ran) == f"{''.join(before)}{other} stands. A girl."[1:]


FOUR = {
    "over a sentence's end": ([" A", " fox", " sits", " on", " it", ".", " The", " fox", " sits", " on"], " it"),
    "over commas": ([" A", " fox", ",", " sits", " on", ".", " A", " fox", " sits", ","], " on"),
    "in capitals and quotes": ([" A", " fox", " sits", " on", ".", " A", " FOX", " sits", ' "'], "On"),
    "hyphens": ([" A", " black", "-", "and", "-", "white", " cat", ".", " The", " black", " and", " white"], " cat"),
    "in a loop of two": ([" Red", " and", " old", " and", " old", " and"], " old"),
    "in a loop of three": ([" The", " sun", " of", " the", " sun", " of"], " the"),
    "over a new line": ([" A", " girl", " aa", ".", " A", " girl", " ab", ".", " A", " hat", ".", " A", " lamp", ".",
                         "\n", " Old", " girl", " aa", ".", " A"], " girl"),
    "with numbers": ([" At", " 5.30", " feet", " up", ".", " Now", " at", " 5.30", " feet"], " up"),
    "brackets": ([" A", " fox", " (sits", " on)", " it", ".", " The", " fox", " sits", " on"], " it"),
    "an apostrophe": ([" The", " fox's", " den", " is", ".", " The", " fox\u2019s", " den"], " is"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FOUR)
def test_of_four_words_again_the_last_is_drawn_again(kind: str) -> None:
    before, again = FOUR[kind]
    other, length = " lamp" if again[0] == " " else "lamp", "long" if "\n" in before else "short"
    ran = write([*before, (again, other), " stands", ".", " Day", " ends", ".", "</s>"], text_length=length)
    assert text_of(ran).startswith(f"{''.join(before)}{other} stands.".replace("\n ", "\n")[1:])


def test_a_word_of_one_token_is_refused_before_it_is_taken_in() -> None:
    before, again = FOUR["over a sentence's end"]
    assert write([*before, (again, " lamp"), " stands", ".", " A", " girl", ".", "</s>"]).output.rewound == 0


def draw(*pieces: str, known: WordList | None = None, own: str = "") -> tuple[ProseConstraint, Step | None]:
    """Have a text's tokens drawn, and return its constraint and the first step that is not to append."""
    engine = ScriptedEngine.forcing([], pieces=[*COMMON_PIECES, *pieces])
    history = TextHistory(read_own_text([], [own]), known)
    constraint = ProseConstraint(token_table(engine), TextBand(Band(2, 4), 1, 4), None, history, start=100)
    steps = [constraint.consume(Draw(engine.tokenize(piece)[0], 1.0), 100 + at) for at, piece in enumerate(pieces)]
    return constraint, next(filter(None, steps), None)


@pytest.mark.parametrize(
    "last", [[" A", " girl", "."], [" A", " hat", "-", "hat", "."], [" A", " fisherm", "."], [" A", " fox"]]
)
def test_a_sentence_that_may_not_stand_is_left_out_where_the_row_has_to_stop(last: list[str]) -> None:
    constraint, _ = draw(" A", " girl", ".", *last, known=KNOWN)
    constraint.finish_early()
    assert constraint.result().text == "A girl."


@pytest.mark.parametrize(
    ("pieces", "refused"),
    [
        ([" A", " 1", "5", "...", ".", "."], 105), ([" A", " hat", "-", "-", "-", "-", "-"], 106),
        ([" A", " hat", "...", "."], None), ([" A", " hat", "-", "-", "-", " girl"], None),
        ([" A", " hat", "!", "?", "!", "?", "!", "?"], None),
    ],
)  # fmt: skip
def test_no_sign_comes_five_times_running(pieces: list[str], refused: int | None) -> None:
    _, step = draw(*pieces)
    assert step == (refused and Rollback(refused, GARBLED))


def test_a_text_that_has_to_begin_otherwise_begins_with_a_capital() -> None:
    constraint, step = draw(" A", " girl", own="A girl.")
    assert (type(step), constraint.token_mask()) == (Rollback, TokenMask.SENTENCE)


def test_where_nothing_may_be_drawn_a_sentence_that_is_needed_is_given_its_stop() -> None:
    constraint, _ = draw(" A", " red", " hat", " on", " the")
    assert constraint.on_dead_end(105) == ForceTokens((constraint._table.period,), cut=103)


@pytest.mark.parametrize(
    ("pieces", "index", "text"),
    [
        ([" A", " fox", " sits", " wa", "ll", ",", " fox", " sits", " wa", "ll", " and"], None, ""),
        ([" A", " fox", " sits", " in", " wa", "ll", ",", " fox", " sits", " in", " wa", "ll", " and"], 110, "wall"),
        ([" A", " fox", " sits", " in", " wa", "ll", ",", " fox", " sits", " in", " wa", "ll", ",", " and"], 110,
         "wall,"),
        ([" A", " hat", " hats", " and"], None, ""),
        ([" A", " hat", "-", "hat", " and"], 103, "hat"),
    ],
)  # fmt: skip
def test_of_four_words_only_the_last_is_rolled_back(pieces: list[str], index: int | None, text: str) -> None:
    _, step = draw(*pieces)
    assert (step and (step.index, step.text)) == (index and (index, text))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("pieces", "index"),
    [
        ([" A", " fisher", "m", " and"], 102), ([" A", " fisher", "man", "d"], 103),
        ([" A", " fisher", "man", " and"], None),
        ([" A", " red", "-", "fisher", "m", "-", " and"], 104),
    ],
)  # fmt: skip
def test_an_invented_word_goes_on_otherwise_from_its_last_token(pieces: list[str], index: int | None) -> None:
    _, step = draw(*pieces, known=KNOWN)
    assert (step and step.index) == index  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ([" A", " fisher", "m", " and"], "m"), ([" A", " girl", ".", " A", " girl", ".", " The"], "."),
        ([" An", " old", " fox", "-", "sits", " on"], "An old fox-sits"),
    ],
)  # fmt: skip
def test_an_event_names_what_is_rolled_back(pieces: list[str], text: str) -> None:
    _, step = draw(*pieces, known=KNOWN, own="The old fox sits.")
    assert isinstance(step, Rollback) and step.text == text


def test_a_word_whose_spelling_finds_no_end_begins_otherwise() -> None:
    endings = "bcdgjkqvw"
    engine = ScriptedEngine.forcing([], pieces=[*COMMON_PIECES, " fisher", *endings])
    table = token_table(engine)
    constraint = ProseConstraint(table, TextBand(Band(2, 4), 1, 4), None, TextHistory(known=KNOWN), start=0)
    constraint.consume(Draw(table.ids[b" A"], 1.0), 0)
    constraint.consume(Draw(table.ids[b" fisher"], 1.0), 1)
    steps = [constraint.consume(Draw(table.ids[letter.encode()], 1.0), 2) for letter in endings]
    assert [step.index for step in steps] == [2] * 8 + [1]  # type: ignore[union-attr]


def test_each_word_has_its_own_tries_to_go_on() -> None:
    endings = "bcdgj"
    engine = ScriptedEngine.forcing([], pieces=[*COMMON_PIECES, " lam", " wal", "p", "l", *endings])
    table = token_table(engine)
    constraint = ProseConstraint(table, TextBand(Band(2, 4), 1, 4), None, TextHistory(known=KNOWN), start=0)
    pieces = [" lam", *endings, "p", " wal", *endings, "l"]
    steps = [constraint.consume(Draw(table.ids[piece.encode()], 1.0), len(constraint._ends)) for piece in pieces]
    assert [step and step.index for step in steps] == [None, *[1] * 5, None, None, *[3] * 5, None]  # type: ignore[union-attr]


def test_a_stop_of_ours_that_is_banned_itself_is_tried_once() -> None:
    def stops(text: str) -> tuple[int, int, Rejection] | None:
        at = text.find(".")
        return (at, at + 1, Rejection("banned", ".")) if at >= 0 else None

    table = token_table(ScriptedEngine.forcing([], pieces=[*COMMON_PIECES, " red", " The"]))
    constraint = ProseConstraint(table, TextBand(Band(2, 4), 1, 4), stops, TextHistory(), start=0)
    for at, piece in enumerate((b" A", b" red", b" hat")):
        constraint.consume(Draw(table.ids[piece], 1.0), at)
    steps = [constraint.on_dead_end(3), constraint.consume(Draw(table.ids[b" The"], 1.0), 4), constraint.on_dead_end(3)]
    assert [type(step) for step in steps] == [ForceTokens, Rollback, EndField]


OWN = "Today an old fox sits on a wall."


@pytest.mark.parametrize(
    ("before", "again"),
    [
        ([" Here", " an", " old", " fox"], " sits"), ([" Here", ",", " an", " OLD", " fox", ","], " sits"),
        ([" It", " sits", " on", " a"], " wall"), ([" It", '"', " sits", '"', " on", " a"], " wall"),
        ([" It", ".", " Sits", " on", " a"], " wall"),
    ],
)  # fmt: skip
def test_four_words_of_the_user_s_text_are_not_written(before: list[str], again: str) -> None:
    ran = write([*before, (again, " lamp"), " stands", ".", " A", " girl", ".", "</s>"], text=OWN)
    assert text_of(ran).startswith(f"{''.join(before)} lamp stands."[1:])


@pytest.mark.parametrize(
    "prompt", [f"{FULL}, {OWN}", f"{FULL}, A lamp is lit. hat, sits on a wall", f"{FULL}\n{OWN}"]
)
def test_four_words_of_a_sentence_in_the_prompt_or_beside_it_are_not_written(prompt: str) -> None:
    request = greedy(prompt, text_length="short", seed=1)
    script = [" Here", " sits", " on", " a", (" wall", " lamp"), " stands", ".", " A", " girl", ".", "</s>"]
    ran = check(force(script, request, pieces=[*NAMES, " lamp"]))
    assert "sits on a lamp" in text_of(ran)


def test_four_words_of_a_tag_are_the_user_s_too() -> None:
    script = [" Here", " hand", " on", " own", (" hip", " lamp"), ".", " A", " girl", ".", "</s>"]
    request = greedy(f"hand on own hip, {', '.join(NAMES[:17])}", text_length="short")
    assert text_of(check(force(script, request, pieces=[*NAMES, " lamp"]))) == "Here hand on own lamp. A girl."


@pytest.mark.parametrize(
    ("first", "again"),
    [
        ([" A", " girl"], [" A", " girl"]), ([" A", " girl"], [" A", " GIRL"]), ([" Yes"], [" Yes"]),
        ([" A", " red", " hat"], [" A", " red", "-", "hat"]), ([" A", " girl"], [" A", " girl", ")"]),
    ],
)  # fmt: skip
def test_a_sentence_again_goes_on(first: list[str], again: list[str]) -> None:
    ran = write([*first, ".", *again, (".", " smiles"), ".", " Day", " ends", ".", "</s>"])
    assert text_of(ran).startswith(f"{''.join(first)}.{''.join(again)} smiles."[1:])


@pytest.mark.parametrize("own", ["A red hat.", "a red hat", "A red hat. It rains."])
def test_a_sentence_of_the_user_s_is_not_written(own: str) -> None:
    script = [" Rain", " falls", ".", " A", " red", " hat", (".", " lies"), ".", " A", " girl", ".", "</s>"]
    assert text_of(write(script, text=own)).startswith("Rain falls. A red hat lies.")


@pytest.mark.parametrize(
    ("own", "echo"),
    [
        (OWN, [" Today", " an", " old", " fox"]), ("An old fox sits.", [" The", " old", " fox", " sits"]),
        ("a red hat", [" A", " red", " hat", " lies"]), ("hat.", [" A", " hat", " lies"]),
        ("Rain. A red hat.", [" A", " red", " hat", " lies"]), ("a red hat", [" A", " red", "-", "hat", " lies"]),
    ],
)  # fmt: skip
def test_a_text_does_not_begin_with_the_user_s_sentence(own: str, echo: list[str]) -> None:
    ran = write([(echo[0], " Here"), *echo[1:], ".", " A", " girl", ".", "</s>"], text=own)
    assert text_of(ran).split()[0] == "Here"


SPELLINGS = {
    "of two pieces": [" re", "very"],
    "of a word and a letter": [" fisherman", "d"],
    "a part of a word": [" fisherm"],
    "in capitals": [" Re", "very"],
    "behind a hyphen": [" old", "-", "re", "very"],
    "in brackets": [" (", "re", "very", ")"],
    "in the plural": [" re", "very", "s"],
    "with an apostrophe": [" re", "very", "'s"],
    "set wide": [" \uff52\uff45", "\uff56\uff45\uff52\uff59"],
    "another script": [" \u5c11\u5973"],
    "byte for byte": [" ", "r", "e", "v", "e", "r", "y"],
}


@pytest.mark.parametrize("end", [[" smiles", "."], ["."], [",", " red", "."], ["!"], ["\n"], ["</s>"]])
@pytest.mark.parametrize("kind", SPELLINGS)
def test_an_invented_word_is_not_left(kind: str, end: list[str]) -> None:
    script = [" A", " girl", ".", " A", " fox", ".", " A", *SPELLINGS[kind], *end, "</s>"]
    ran = write(script, words=KNOWN)
    assert [word for word in spoken(text_of(ran)) if not KNOWN.knows(word)] == []


def test_a_word_that_goes_on_wrongly_goes_on_otherwise() -> None:
    script = [" A", " fisherman", ("d", " sits"), " in", " the", " rain", ".", " A", " girl", ".", "</s>"]
    assert text_of(write(script, words=KNOWN)) == "A fisherman sits in the rain. A girl."


def test_no_word_list_is_read_for_tags_alone() -> None:
    def load() -> WordList:
        raise AssertionError

    engine = ScriptedEngine.forcing([])
    context = replace(model_context(engine), load_words=load)
    jobs, _ = make_jobs(plan_expansion(greedy("hat"), TagFiles()), context, row=0, seed=1)
    assert len(jobs) == 1


def test_a_model_without_a_word_list_is_not_checked() -> None:
    script = [" A", " re", "very", ".", " A", " girl", ".", "</s>"]
    assert text_of(write(script)) == "A revery. A girl."


@pytest.mark.parametrize("options", [{"text": "In a revery."}, {"require": ("revery",)}])
def test_a_word_of_the_user_s_may_be_written(options: dict[str, object]) -> None:
    script = [" The", " re", "very", " is", " old", ".", " A", " girl", ".", "</s>"]
    assert "revery" in spoken(text_of(write(script, words=KNOWN, **options)))


@pytest.mark.parametrize("end", ["</s>", "."])
def test_the_last_word_is_checked(end: str) -> None:
    script = [" A", " girl", ".", " A", " fox", ".", " In", " the", (" the", " rain"), end, "</s>"]
    assert "the the" not in text_of(write(script)).lower()


def test_a_word_that_was_over_and_goes_on_after_all_is_one_word() -> None:
    """`hat` was over by a space that was refused; what is drawn instead is no word by itself."""
    script = [" A", " girl", ".", " A", " hat", (" xqz", "ter"), ".", " A", " fox", ".", "</s>"]
    assert text_of(write(script, words=WordList("a fox girl hat hatter".split()))).startswith("A girl. A hatter.")


ENDLESS = [f" {name[5:]}" for name in NAMES]  # words without a stop
LOOPS: dict[str, Script] = {
    "one word": [" A", " fox", *[" girl"] * 300],
    "two words": [" A", *[" girl", " sits"] * 150],
    "a phrase": [*[" In", " the", " cracks", " of", " a", " wall"] * 60],
    "a sentence": [*[" A", " girl", " sits", "."] * 80],
    "short sentences": [*[" Yes", "."] * 150],
    "two sentences": [*[" A", " girl", ".", " A", " hat", "."] * 50],
}


@pytest.mark.parametrize("length", ["very_short", "short", "long", "very_long"])
@pytest.mark.parametrize("kind", LOOPS)
def test_a_model_that_loops_ends_with_what_can_stand(kind: str, length: str) -> None:
    assert text_of(write(LOOPS[kind], text_length=length))


@pytest.mark.parametrize("kind", ["one word", "two words", "a phrase"])
def test_a_sentence_that_cannot_go_on_is_given_its_stop(kind: str) -> None:
    assert write(LOOPS[kind]).output.short == ()


def test_a_stop_of_ours_is_not_put_behind_a_small_word() -> None:
    ran = write([" A", *ENDLESS[:92], " on", " the", *ENDLESS[92:]], text_length="very_short")
    assert text_of(ran).endswith(f"{ENDLESS[91]}.")


def test_a_stop_of_ours_may_take_the_place_of_a_comma() -> None:
    words = [piece for word in ENDLESS[:47] for piece in (word, ",")]
    ran = write([" A", *words[:92], " on", " the", *words[92:]], text_length="very_short")
    assert text_of(ran).endswith(f"{words[90]}.")


@pytest.mark.parametrize("steps", range(1, 40, 3))
def test_a_text_that_is_cancelled_says_nothing_twice(steps: int) -> None:
    asked = iter(range(1000))
    script = [" A", " girl", " sits", *[" on", " the", " the", "."] * 80]
    engine = ScriptedEngine.forcing(script, pieces=[*COMMON_PIECES, *NAMES])
    request = greedy(FULL, text_length="very_long")
    (ran,) = run_all(engine, [request], cancelled=lambda: next(asked) >= steps)
    assert list(nonsense(list(ran.output.texts.values()))) == []


MANY = "boy man coat tree river blue stands walks lantern mountain sky boat sea light dark green house window".split()
PIECES = [
    *COMMON_PIECES, *(f" {word}" for word in MANY), *(f" {word.title()}" for word in MANY), " fisherman", " Fisherman",
    "re", "very", "d", "s", "'s", "-", " ", ",", "\n", "!", '."', ' "', "\u2019s", " \uff28\uff41\uff54", "\u3002",
]  # fmt: skip
VOCAB = build_vocab(PIECES)


def liking(piece: bytes) -> float:
    """Return how much words and stops are preferred to special tokens and bytes."""
    if piece[:1] == b" " and piece.strip().isalpha():
        return 2
    if piece.strip() in (b".", b"!"):
        return 3
    return -6 if len(piece) == 1 and not piece.isalnum() and piece not in b",- \n" else 0 if piece else -3


BIAS = np.array([liking(piece) for piece in VOCAB.pieces], np.float32)
KNOWN_HERE = WordList(sorted({*KNOWN._words, *MANY, "lens", "hair", "stands", "with", "mr"}))
SAID = ["", "A fisherman sits in the boat.", "The old man. Red hat", "hat", "A man, a coat \u2014 a tree!"]


def looping_engine(seed: int, *, memory: int) -> ScriptedEngine:
    """Return an engine with noise for logits, which repeats itself where it sees the same last tokens again."""

    def logits(tokens: tuple[int, ...]) -> NDArray[np.float32]:
        digest = blake2b(repr((seed, tokens[-memory:])).encode(), digest_size=8).digest()
        noise = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))
        return noise.standard_normal(len(VOCAB), dtype=np.float32) * np.float32(1.5) + BIAS

    return ScriptedEngine(logits, vocab=VOCAB, n_ctx=700)


requests = st.builds(
    ExpandRequest, st.just(FULL), text=st.sampled_from(SAID), tag_length=st.just("very_short"),
    text_length=st.sampled_from(["very_short", "short", "long", "very_long"]),
    temperature=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 2**32), ban=st.sampled_from([(), ("hat", "/girl\\W+.*/")]),
    task=st.sampled_from(["auto", "auto", "tag_to_short_to_long", "short_to_long"]),
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("memory", [1, 2, 3])
@pytest.mark.parametrize("words", [None, KNOWN_HERE], ids=["any word", "a word list"])
def test_random_logits_that_loop_break_no_rule(memory: int, words: WordList | None) -> None:
    @settings(max_examples=25, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(batch=st.lists(requests, min_size=1, max_size=3), seed=st.integers(0, 2**32))
    def broken(batch: list[ExpandRequest], seed: int) -> None:
        ran = run_all(looping_engine(seed, memory=memory), batch, words=words)
        assert [found for each in ran for found in violations(each)] == []

    broken()


@pytest.mark.parametrize("memory", [1, 3])
def test_a_row_s_text_is_its_own_in_a_batch(memory: int) -> None:
    batch = [greedy(FULL, text_length="long", text=text, seed=7, temperature=1.0) for text in SAID]
    together = run_all(looping_engine(5, memory=memory), batch)
    alone = [run_all(looping_engine(5, memory=memory), [request])[0] for request in batch]
    assert [ran.output.texts for ran in together] == [ran.output.texts for ran in alone]


ENGINES = [("reference", "folder"), ("transformers", "folder"), ("llama_cpp", "gguf")]
OWN_TEXT = "A girl stands in the water of a river. Rain"


@pytest.mark.parametrize(("engine", "file"), ENGINES)
@pytest.mark.parametrize("listed", [False, True])
def test_a_model_with_random_weights_breaks_no_rule_on_any_engine(
    tmp_path: Path, engine: str, file: str, listed: bool
) -> None:
    for package in (*PACKAGES[engine], *(["gguf"] if file == "gguf" else [])):
        pytest.importorskip(package)
    if file == "gguf":
        path = write_gguf(tmp_path / "model.gguf", TIPO_V1, quant="F16")
    else:
        path = write_folder(tmp_path / "model", TIPO_V1)
    known = WordList(sorted({word for word in WORDS if word.isalpha()}))
    if listed:
        folder = path if path.is_dir() else path.parent
        (folder / WORD_LIST).write_bytes(gzip.compress("\n".join(known._words).encode()))
    request = ExpandRequest("1girl, hat", text=OWN_TEXT, tag_length="very_short", text_length="long", seed=3, count=4)
    with open_expander(model=str(path), engine=engine, device="cpu", threads=1) as expander:
        texts = [done.added_text for done in expander.expand([request])]
    user = [spoken(part) for part in split_sentences(OWN_TEXT)]
    found = [flaw for text in texts for flaw in nonsense([text], user=user)]
    if listed:
        found += [word for text in texts for word in spoken(text) if not known.knows(word) and word != "1girl"]
    assert any(texts) and found == []
