"""Texts by forced decoding: complete sentences, as many as requested, and no banned phrase however they end."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from decoding_kit import NAMES, Ran, check, force, greedy, sentences_of
from scripted_engine import COMMON_PIECES, ScriptedEngine, build_vocab, split_words

from kgen_ext.decoding.constraint import EndField, ForceTokens, Rollback
from kgen_ext.decoding.prose import MAX_TRIES, PhraseSearch, ProseConstraint
from kgen_ext.decoding.sampler import Draw
from kgen_ext.decoding.vocabulary import TokenTable, token_table
from kgen_ext.events import Finish
from kgen_ext.protocol import Band, TextBand
from kgen_ext.rules import Rejection
from kgen_ext.rules.repeats import TextHistory


def write(script: str | list[object], **options: object) -> Ran:
    """Write a text behind a full list, so that nothing else is drawn."""
    asked = {"text_length": "short", **options}
    more = asked.pop("pieces", ())
    pieces = [*NAMES, " ", *more]  # type: ignore[misc]
    return check(force(script, greedy(", ".join(NAMES[:18]), **asked), pieces=pieces))  # type: ignore[arg-type]


def tale(count: int, *, ends: str = "") -> str:
    """Return so many sentences of three words, each with a name of its own."""
    return "".join(f" A girl {name[5:]}.{ends}" for name in NAMES[:count])


def open_constraint(table: TokenTable, band: TextBand, phrases: PhraseSearch | None = None) -> ProseConstraint:
    return ProseConstraint(table, band, phrases, TextHistory(), start=0)


@pytest.mark.parametrize(("length", "low", "high"), [("very_short", 1, 2), ("short", 2, 4), ("long", 4, 8),
                                                     ("very_long", 6, 18)])  # fmt: skip
def test_a_text_ends_at_its_maximum_and_not_before_its_minimum(length: str, low: int, high: int) -> None:
    endless = write(tale(30), text_length=length).output.texts["long"]
    assert sum(len(sentences_of(line)) for line in endless.split("\n")) == high
    eager = write(tale(30, ends="</s>"), text_length=length).output.texts["long"]
    assert sum(len(sentences_of(line)) for line in eager.split("\n")) == low


def test_a_long_text_has_paragraphs() -> None:
    script = " A girl aa. A girl ab.\n A girl ac. A girl ad.\n A girl ae. A girl af.\n</s>"
    text = write(script, text_length="long").output.texts["long"]
    # Below the minimum of four sentences no line may end; from there on the model's own break is kept.
    assert text == "A girl aa. A girl ab. A girl ac. A girl ad.\nA girl ae. A girl af."
    full = write(tale(20), text_length="long").output.texts["long"]
    assert [len(sentences_of(line)) for line in full.split("\n")] == [4, 4]


def test_a_banned_phrase_is_rewound_to_its_first_token() -> None:
    ran = write([" A", " girl", " with", (" blue", " red"), " hair", " smiles", ".", " A", " girl", ".", "</s>"],
                ban=("blue hair",))  # fmt: skip
    assert ran.output.texts["long"] == "A girl with red hair smiles. A girl."
    assert ran.rejected == [("banned", "blue hair")]
    assert ran.output.rewound == 3  # both words, and the token that showed that the second was over


@pytest.mark.parametrize(
    ("ban", "script"),
    [
        ("hat", [" A", " girl", ".", " A", " hat", ".", "</s>"]),  # no space behind it
        ("hat", [" A", " girl", ".", " A", (" hat", " girl"), '"', ".", "</s>"]),
        ("yes! precure", [" A", " girl", " of", " Yes", "!", (" Precure", " Hat"), " smiles", ".", "</s>"]),
        ("/girl\\. A/", [" A", " girl", ".", (" A", " The"), " hat", " smiles", ".", "</s>"]),
        ("/.*smiles\\.$/", [" A", " girl", ".", " A", " hat", ".", " A", " girl", (" smiles", " stands"), ".", "</s>"]),
        ("/^a .*/", [(" A", " The"), " girl", " smiles", ".", " The", " hat", " smiles", ".", "</s>"]),
    ],
)  # fmt: skip
def test_a_banned_phrase_stands_nowhere(ban: str, script: list[object]) -> None:
    write(script, ban=(ban,))


def test_a_phrase_that_is_met_again_and_again_does_not_stay_when_the_text_gives_up() -> None:
    ran = write([" A", " girl", ".", *[" hat"] * 200], ban=("hat", "/hat\\W/"), text_length="very_long")
    assert "hat" not in ran.output.texts["long"]


ENDLESS = [f" {name[5:]}{more}" for more in "xyzw" for name in NAMES]  # words without a stop


def test_a_sentence_that_never_stops_is_given_a_stop_behind_a_whole_word() -> None:
    ran = write([" A", *ENDLESS])
    parts = sentences_of(ran.output.texts["long"])
    assert len(parts) == 2
    assert all(f" {part.split()[-1][:-1]}" in ENDLESS for part in parts)


def test_a_sentence_is_given_its_stop_at_96_tokens() -> None:
    first = sentences_of(write([" A", *ENDLESS]).output.texts["long"])[0]
    assert first == "A" + "".join(ENDLESS[:94]) + "."


@pytest.mark.parametrize(("next_piece", "taken"), [(b" ...", False), (b" .", False), (b" Hat", True), (b" girl", True)])
def test_dots_do_not_go_on_with_a_sentence_that_was_given_its_stop(next_piece: bytes, taken: bool) -> None:
    constraint, ids = half_characters(pieces=(" ...", " .", *ENDLESS))
    for at in range(96):
        step = constraint.consume(Draw(ids[ENDLESS[at].encode()], 1.0), at)
    assert isinstance(step, ForceTokens)
    assert isinstance(constraint.consume(Draw(ids[next_piece], 1.0), 96), Rollback) is not taken


def bad(count: int) -> list[str]:
    return [f" bad{name[-2:]}" for name in NAMES[:count]]


@pytest.mark.parametrize(("count", "text"), [(48, "A girl. A hat."), (49, "A girl.")])
def test_a_sentence_with_a_banned_word_is_tried_48_times(count: int, text: str) -> None:
    script = [" A", " girl", ".", " A", (*bad(count), " hat"), ".", "</s>"]
    ran = write(script, ban=("/bad[a-z]+/",), pieces=bad(count))  # type: ignore[arg-type]
    assert ran.output.texts["long"] == text


def test_every_sentence_has_its_own_tries() -> None:
    script = [" A", (*bad(40), " girl"), ".", " A", (*bad(80)[40:], " hat"), ".", "</s>"]
    ran = write(script, ban=("/bad[a-z]+/",), pieces=bad(80))  # type: ignore[arg-type]
    assert ran.output.texts["long"] == "A girl. A hat."


def test_the_last_paragraph_ends_with_its_line() -> None:
    ran = write(tale(4) + "\n A girl stands.\n A girl sits.</s>", text_length="long")
    assert ran.output.texts["long"] == tale(4)[1:] + "\nA girl stands."


def test_a_line_that_begins_another_field_is_not_of_the_text() -> None:
    script = [*split_words(tale(4)), "\n", "tag:", " hat", ".", "</s>"]
    assert write(script, text_length="long").output.texts["long"] == tale(4)[1:]  # type: ignore[arg-type]


def test_a_text_whose_paragraphs_hold_too_little_is_short() -> None:
    engine = ScriptedEngine.forcing([" A", " girl"])
    constraint = open_constraint(token_table(engine), TextBand(Band(2, 4), 1, per_paragraph=1))
    for at, piece in enumerate((" A", " girl", ".", " A")):
        constraint.consume(Draw(engine.tokenize(piece)[0], 1.0), at)
    assert constraint.result().short


def test_in_the_band_a_sentence_that_never_stops_is_dropped() -> None:
    ran = write([" A", " girl", ".", " A", " hat", ".", " A", *ENDLESS])
    assert ran.output.texts["long"] == "A girl. A hat."


def test_half_a_character_that_nothing_completes_is_taken_back_48_times() -> None:
    engine = ScriptedEngine.forcing([" A", " girl"])
    constraint = open_constraint(token_table(engine), TextBand(Band(2, 4), 1, per_paragraph=4))
    half = Draw(engine.vocab.pieces.index(b"\xe3"), 1.0)
    found = []
    for _ in range(MAX_TRIES + 1):
        constraint.consume(half, 0)
        found.append(type(constraint.on_dead_end(1)))
    assert found == [Rollback] * MAX_TRIES + [EndField]


def test_a_stop_of_ours_never_completes_a_banned_phrase() -> None:
    ran = write([" A", *[" girl"] * 500], ban=("/girl\\./",))
    assert "girl." not in ran.output.texts["long"]


def test_a_number_or_a_title_behind_a_stop_goes_on() -> None:
    text = " Mr. Fox has an f1.8 lens at 5.30 p.m. and smiles. A girl stands.</s>"
    assert write(text).output.texts["long"] == text[1:-4]


def test_a_space_that_is_a_token_of_its_own_decides_nothing() -> None:
    script = [" A", " girl", " at", " 5", " p.m", ".", " ", "and", " hat", ".",
              " ", '"', "A", " girl", ".", '"', "</s>"]  # fmt: skip
    ran = write(script)  # type: ignore[arg-type]
    assert ran.output.texts["long"] == 'A girl at 5 p.m. and hat. "A girl."'
    # Two sentences, so both fit where two are the most there may be.
    assert write(script, text_length="very_short").output.texts == ran.output.texts  # type: ignore[arg-type]


def test_wide_stops_end_sentences_without_a_space() -> None:
    ran = write(["少女", "。", "空", "！", "</s>"])
    assert ran.output.texts["long"] == "少女。空！"


@pytest.mark.parametrize("room", range(20, 50, 3))
def test_half_a_sentence_at_the_end_of_the_context_is_dropped(room: int) -> None:
    options = greedy(", ".join(NAMES[:18]), text_length="very_long")
    ran = check(force(tale(30), options, pieces=NAMES, n_ctx=50 + room))
    assert ran.output.finish is Finish.LENGTH
    sentences = sentences_of(ran.output.texts["long"].replace("\n", " "))
    assert sentences and sentences == sentences_of(tale(len(sentences)))


@pytest.mark.parametrize("stop", [".", '."'])
def test_where_another_sentence_must_come_a_comma_does_not_go_on_with_the_last(stop: str) -> None:
    """A small model that would rather end lists tags instead: `A girl smiles., hat, ribbon`."""
    ran = write([" A girl smiles", stop, ",", " a hat", " A dog runs", ".", "</s>"], pieces=(stop,))
    assert f"{stop}," not in ran.output.texts["long"]
    assert ran.output.texts["long"].startswith(f"A girl smiles{stop} ")


@pytest.mark.parametrize("second", ["9", "girl", "]"])
def test_the_word_that_replaces_a_banned_first_word_does_not_grow_onto_the_stop_before(second: str) -> None:
    """`A girl!9 smiles.` would be one sentence where two were counted."""
    ran = write(
        [" A", " girl", "!", (" Hat", second, " The"), " smiles", ".", "</s>"], ban=("hat",), text_length="very_short",
        pieces=(" Hat", " The", "9", "girl", "]"),
    )  # fmt: skip
    assert ran.output.texts["long"] == "A girl! The smiles."


def test_a_wide_stop_that_is_closed_ends_its_sentence_without_a_space() -> None:
    ran = write([" A", " (girl", "。", ")", "hat", " smiles", ".", "</s>"], text_length="very_short")
    assert sentences_of(ran.output.texts["long"]) == ["A (girl。)", "hat smiles."]


def test_a_phrase_over_a_line_s_end_is_taken_back_behind_the_new_line() -> None:
    """The paragraph is counted: taken back with its words, the next would run on in the one before."""
    ran = write(
        [*split_words(tale(4)), "\n", (" Hat", " The"), " girl", " smiles", ".", "</s>"],
        ban=("/dk\\. hat/",), text_length="long", pieces=(" Hat", " The"),
    )  # fmt: skip
    assert ran.output.texts["long"] == tale(4)[1:] + "\nThe girl smiles."
    assert ran.rejected == [("banned", "dk.\n Hat")]


def test_a_token_that_ends_a_wide_stop_and_goes_on_is_not_taken() -> None:
    wide = "\u3002".encode()
    more = (b" A", b" girl", wide[:2], wide[2:] + b" hat", wide[2:])
    plain = build_vocab([*COMMON_PIECES, " A", " girl"])
    vocab = replace(plain, pieces=(*plain.pieces, *more))
    table = token_table(ScriptedEngine(lambda tokens: np.zeros(len(vocab), np.float32), vocab=vocab))
    constraint = open_constraint(table, TextBand(Band(2, 4), 1, 4))
    girl, spliced, whole = vocab.pieces.index(b" girl"), len(vocab) - 2, len(vocab) - 1
    assert [constraint.consume(Draw(token, 1.0), at) for at, token in enumerate((girl, len(vocab) - 3))] == [None, None]
    assert isinstance(constraint.consume(Draw(spliced, 1.0), 2), Rollback)
    assert constraint.consume(Draw(whole, 1.0), 2) is None and constraint.text == "girl\u3002"


def half_characters(
    *, phrase_filter: PhraseSearch | None = None, pieces: tuple[str, ...] = ()
) -> tuple[ProseConstraint, dict[bytes, int]]:
    """Return a constraint of two to four sentences, and its tokens; one is a space and half of a letter."""
    plain = build_vocab([*COMMON_PIECES, " p.m.", " girl.", " girl...", " Hat", *pieces])
    vocab = replace(plain, pieces=(*plain.pieces, " é".encode()[:2]))
    table = token_table(ScriptedEngine(lambda tokens: np.zeros(len(vocab), np.float32), vocab=vocab))
    return open_constraint(table, TextBand(Band(2, 4), 1, 4), phrase_filter), table.ids


@pytest.mark.parametrize(
    ("end", "taken"), [(b" girl.", True), (b" girl", True), (b" p.m.", False), (b" girl...", False)]
)
def test_half_a_letter_is_not_taken_where_a_small_one_would_go_on_and_a_capital_would_not(
    end: bytes, taken: bool
) -> None:
    constraint, ids = half_characters()
    assert [constraint.consume(Draw(ids[piece], 1.0), at) for at, piece in enumerate((b" A", end))] == [None, None]
    assert (constraint.consume(Draw(ids[b" \xc3"], 1.0), 2) is None) is taken


def test_half_a_letter_does_not_replace_a_capital_that_ended_the_sentence_before() -> None:
    def phrase_filter(text: str) -> tuple[int, int, Rejection] | None:
        at = text.find("Hat")
        return (at, at + 3, Rejection("banned", "hat")) if at >= 0 else None

    constraint, ids = half_characters(phrase_filter=phrase_filter)
    pieces = (b" girl", b" p.m.", b" Hat", b" girl")
    taken = [constraint.consume(Draw(ids[piece], 1.0), at) for at, piece in enumerate(pieces)]
    assert isinstance(taken[-1], Rollback) and taken[-1].reason.rule == "banned"
    assert isinstance(constraint.consume(Draw(ids[b" \xc3"], 1.0), 2), Rollback)
