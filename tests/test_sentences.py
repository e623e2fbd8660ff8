"""Sentence ends: splitting loses nothing, and everything that counts sentences counts the same ones."""
from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_engine import ScriptedEngine

from kgen_ext.decoding.constraint import EndField
from kgen_ext.decoding.prose import ProseConstraint
from kgen_ext.decoding.sampler import Draw
from kgen_ext.decoding.vocabulary import TokenMask, TokenTable, token_table
from kgen_ext.events import By
from kgen_ext.prompt import append, parse
from kgen_ext.prompt.sentences import CLOSING, count_sentences, ends_sentence, may_end_within, split_sentences
from kgen_ext.protocol import Band, Subject, TextBand
from kgen_ext.protocol.tipo import choose_task
from kgen_ext.request import Task, TextLength
from kgen_ext.rules.repeats import TextHistory
from tools.bench.queries import Query
from tools.bench.score import score
from tools.bench.turn import Outcome
from tools.training.cleaning import clean_sentences
from tools.training.measures import sentences_ended

# What may come next: nothing, lower case, a capital, a number.
BEHIND = {".": "", "a": " and it goes on", "A": " The light is low", "0": " 8 hats hang there"}
# A text, and before which of these a sentence ends behind it.
TABLE = {
    # Stops that are nothing else.
    "She smiles": "", "She smiles,": "", "She smiles.": ".aA0", "Who is there?": ".aA0", "Run!": ".aA0",
    "Really?!": ".aA0", "What!?": ".aA0", "Stop it!!": ".aA0", "She smiles .": ".aA0", "She likes C++.": ".aA0",
    # Numbers, times, versions: a digit on both sides is one number.
    "She is 17.": ".aA", "Paris in 1950.": ".aA", "It costs $5.": ".aA", "It is 100%.": ".aA0",
    "Shot at f1.": ".aA", "Shot at f/1.8": "", "Shot at f/1.8.": ".aA", "He is 1.80 m tall.": ".aA0",
    "It runs v1.5.2": "", "It runs v1.5.2.": ".aA", "It is 5.30": "", "It is 5.30 p.m.": ".A", "At 10 a.m.": ".A",
    # Titles and words that something must follow.
    "Prof.": "", "A lesson by Prof.": "", "Near Dr.": "", "Mr.": "", "She met Mrs.": "", "Cats vs.": "",
    "Fruit, e.g.": "", "The last one, i.e.": "", "He wrote to Messrs.": "",
    # Words that may be the last.
    "Coats etc.": ".A", "A flag of the U.S.": ".A", "Born in the U.S.A.": ".A", "Robert Downey Jr.": ".A",
    "She has a Ph.D.": ".A", "A shop of Acme Inc.": ".A", "See Smith et al.": ".A", "Fifth Ave.": ".A",
    "She walks down Baker St.": ".", "He is 6 ft.": ".", "The head of the art dept.": ".",
    "She lives at no.": ".aA", "See fig.": ".aA", "It was in Dec.": ".aA",
    # Initials.
    "J.": "", "A tale by J. R. R.": "", "A tale by J.R.R.": ".", "Agents of S.H.I.E.L.D.": ".", "World War I.": ".aA0",
    # Dots that trail off.
    "Wait...": ".A0", "Wait..": ".A0", "Wait…": ".A0", "Wait . . .": ".A0", "Wait....": ".A0", "What?...": ".A0",
    # What closes behind a stop: in lower case the sentence around it goes on.
    'He said "go."': ".A0", "“Go!”": ".A0", "(A girl sits.)": ".A0", "She asks 'why?'": ".A0",
    'He said "go".': ".aA0", "A girl (in red).": ".aA0", "She met \"Mr.": "",
    # Full-width stops.
    "少女が立つ。": ".aA0", "本当？！": ".aA0", "「待って！」": ".A0",
    "待って‼": ".aA0", "ﾜﾗｳ｡": ".aA0", "等等……": ".A0",
    # Addresses, files and faces.
    "Go to example.com": "", "Go to example.com.": ".aA0", "Made with Node.js": "", "Made with Node.js.": ".aA0",
    "See https://example.com/a.html?b=1.": ".aA", "She smiles :)": "", "She smiles :).": ".aA0", "She blushes >.<": "",
    "She stares (._.)": "", "She waves 😊.": ".aA0",
}  # fmt: skip
PROBES = [(text, behind) for text in TABLE for behind in BEHIND]
PLAIN = "It is dark. "  # a sentence that is one by any rule
CHARS = sorted({char for text in (*TABLE, *BEHIND.values()) for char in text if not char.isascii()})


@pytest.mark.parametrize(("text", "behind"), PROBES)
def test_a_sentence_ends_or_goes_on_by_what_stands_on_both_sides(text: str, behind: str) -> None:
    assert ends_sentence(text, BEHIND[behind]) is (behind in TABLE[text])


@pytest.mark.parametrize(
    "text",
    [
        "A girl stands.", "Who is there?", "Run!", "It is 5.30 p.m.", "Shot at f1.8.", "She waits...",
        "She waits\u2026",
        'He said "no."', "(A girl sits.)", "She is 17.", "\u5c11\u5973\u304c\u7acb\u3064\u3002",
        "\u300c\u5f85\u3063\u3066\uff01\u300d", "Hats, scarves, etc.",
    ],
)  # fmt: skip
def test_a_whole_sentence_is_one(text: str) -> None:
    assert ends_sentence(text)
    assert split_sentences(text) == [text]


@pytest.mark.parametrize(
    "text", ["", " ", "A girl", "A girl,", "Mr.", "by Dr.", "e.g.", "i.e.", "vs.", "J.", ".", '"', "...", "?!"]
)
def test_what_is_no_end_is_none(text: str) -> None:
    assert not ends_sentence(text)


@pytest.mark.parametrize(
    "whole",
    [
        "Shot with an f1.8 lens.", "It is 5.30 p.m. and dark.", "Mr. Fox and Mrs. Hare wait.", "Fruit, e.g. apples.",
        "She waits... and waits.", "Version 2.1 is 3.5 times better.", "The U.S. flag.", "Hats, coats etc. on a rack.",
        "Painted by J. Smith.", "At f1. 8 it blurs.", "Go to example.com now.", "He is 1.80 m tall.",
    ],
)  # fmt: skip
def test_a_stop_inside_a_sentence_does_not_end_it(whole: str) -> None:
    assert split_sentences(whole) == [whole]


def test_mistake_7_f1_8_lens_stays_whole_and_sentences_keep_their_order() -> None:
    """protocol.md, mistake 7: split on every full stop, then shuffled."""
    text = "She holds an f1.8 lens. It is 5.30 p.m. The light is low."
    assert split_sentences(text) == ["She holds an f1.8 lens.", "It is 5.30 p.m.", "The light is low."]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('He said "no." She left.', ['He said "no."', "She left."]),
        ("Wait... What?", ["Wait...", "What?"]),
        ("Really?! Yes.", ["Really?!", "Yes."]),
        ("One.\nTwo.", ["One.", "Two."]),
        ("It is 5 p.m. She waits.", ["It is 5 p.m.", "She waits."]),
        ("She is 17. He is 18.", ["She is 17.", "He is 18."]),
        ("\u5c11\u5973\u3002\u7a7a\uff01\u6d77", ["\u5c11\u5973\u3002", "\u7a7a\uff01", "\u6d77"]),
        ("「待って！」と言う。", ["「待って！」", "と言う。"]),
        ("Wait... he said no. She left", ["Wait... he said no.", "She left"]),
        ("Wait... He left.", ["Wait...", "He left."]),
        ("Wait\u2026 he left.", ["Wait\u2026 he left."]),
        ("Wait . . . he left. . . .", ["Wait . . . he left. . . ."]),
        ("J. R. R. Tolkien and H.R. Giger.", ["J. R. R. Tolkien and H.R. Giger."]),
        ("It is 5 p.m.   and dark.", ["It is 5 p.m.   and dark."]),
        ("From 5 p.m.\nand later.", ["From 5 p.m.\nand later."]),
        ("She sits\nand waits.\n\nHe\tstands.", ["She sits\nand waits.", "He\tstands."]),
        ("She smiles.He left. example.com is v1.5.2", ["She smiles.He left.", "example.com is v1.5.2"]),
        ('"Stop!" she says. "Go." He goes.', ['"Stop!" she says.', '"Go."', "He goes."]),
        ("It is 5 p.m. \u201cGo,\u201d he says.", ["It is 5 p.m.", "\u201cGo,\u201d he says."]),
        ('Off to "the U.S." now. In "the U.S." He goes.', ['Off to "the U.S." now.', 'In "the U.S."', "He goes."]),
        ("Up to 5 p.m. \u5c11\u5973\u3002", ["Up to 5 p.m.", "\u5c11\u5973\u3002"]),
        ("\u5c11\u5973\u3002Mr. Fox waits.", ["\u5c11\u5973\u3002", "Mr. Fox waits."]),
        ("... !? A girl. :)", ["... !? A girl.", ":)"]),
    ],
)  # fmt: skip
def test_sentences_are_split_between_them(text: str, parts: list[str]) -> None:
    assert split_sentences(text) == parts


BITS = st.lists(st.sampled_from(
    ["A", "girl", "f1", "8", ".", ".", "...", "!", "?", '"', ")", " ", " ", "\n", "Mr", "p.m", "e.g", ",", "。", "」"]
)).map("".join)  # fmt: skip


@given(BITS | st.text())
def test_splitting_loses_nothing_but_white_space(text: str) -> None:
    parts = split_sentences(text)
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert all(part and part == part.strip() for part in parts)


@given(BITS)
def test_every_part_but_the_last_is_a_sentence(text: str) -> None:
    assert all(ends_sentence(part) for part in split_sentences(text)[:-1])


@given(st.text(alphabet="0123456789.", max_size=12))
def test_no_sentence_ends_inside_a_number(number: str) -> None:
    assert len(split_sentences(f"She has {number}5 hats")) == 1


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), (" ", 0), ("...!", 0), ("a cat", 1), ("A girl. :)", 1), ("Dr. Fox and Mr. Hare wait. It is 5 p.m.", 2)],
)
def test_signs_alone_are_no_sentence(text: str, count: int) -> None:
    assert count_sentences(text) == count


@pytest.mark.parametrize("text", TABLE)
def test_where_letters_of_both_kinds_agree_so_does_whatever_takes_more_than_a_byte(text: str) -> None:
    """What writes a text relies on it: of such a character it may have drawn no more than a half."""
    ends = {ends_sentence(text, f" {char}") for char in "xX"}
    others = "\xe9\xc9\u0436\u5c11\uff15\xb2\u201c\u300c\u300d\u3002\uff01\u2026\U0001f60a"
    assert {ends_sentence(text, f" {char}") for char in others} <= ends


@pytest.mark.parametrize("piece", [". The", '." The', "!) the", "\u3002\u7a7a", "\u300d\u3002\u300d\u7a7a", "? "+'"'])
def test_a_piece_may_hold_an_end_and_a_beginning(piece: str) -> None:
    assert may_end_within(piece)


@pytest.mark.parametrize("piece", [".", ". ", '."', " The", "5.30", ".com", "\u3002", "\u3002\u300d", "\uff1f\uff01"])
def test_a_piece_that_holds_one_of_them_alone_may_not(piece: str) -> None:
    assert not may_end_within(piece)


@given(BITS)
def test_a_piece_in_which_a_sentence_ends_may_end_one(text: str) -> None:
    assert may_end_within(text) or len(split_sentences(text)) <= 1


@pytest.mark.parametrize(
    "text",
    ["She smiles. ", "Mr. ", "p.m. ", ". ", ".", "a.", ".)", ")", " ", "\n", "\u3002", "\u3002\u300d", "\u2026 ", "x"],
)
def test_a_million_characters_take_no_longer_than_they_must(text: str) -> None:
    whole = text * (1_000_000 // len(text))
    start = time.process_time()
    ends_sentence(whole, whole)
    count_sentences(whole)
    may_end_within(whole)
    assert time.process_time() - start < 20  # about a second; a time that grows with the square takes hours


@pytest.fixture(scope="module")
def table() -> TokenTable:
    return token_table(ScriptedEngine.forcing([], pieces=[",", "\n", ".", *CHARS]))


def written(table: TokenTable, text: str, behind: str) -> bool:
    """Say whether a constraint of one sentence, fed character by character, ends after the text."""
    constraint = ProseConstraint(table, TextBand(Band(1, 1), 1, 1), None, TextHistory(), start=0)
    ids = [table.ids[char.encode()] for char in text + behind[:2]]
    verdicts = [constraint.consume(Draw(token, 1.0), at) for at, token in enumerate(ids)]
    assert not any(verdicts[:-1])
    return isinstance(verdicts[-1], EndField) if behind else constraint.token_mask() is TokenMask.TEXT_END


@pytest.mark.parametrize(("text", "behind"), PROBES)
def test_what_writes_a_text_ends_the_same_sentences(table: TokenTable, text: str, behind: str) -> None:
    assert written(table, text, BEHIND[behind]) is (behind in TABLE[text])


@pytest.mark.parametrize(("text", "behind"), [probe for probe in PROBES if probe[1] != "."])
def test_what_splits_a_text_ends_the_same_sentences(text: str, behind: str) -> None:
    whole = text + BEHIND[behind]
    assert split_sentences(whole) == ([text, BEHIND[behind].strip()] if behind in TABLE[text] else [whole])


@pytest.mark.parametrize(("text", "behind"), [probe for probe in PROBES if probe[1] != "."])
def test_the_choice_of_a_task_counts_the_same_sentences(text: str, behind: str) -> None:
    """Five sentences are a `long:` text, four a `short:` one."""
    task = choose_task(Subject(text=PLAIN * 3 + text + BEHIND[behind]), wants_text=False)
    assert (task is Task.LONG_TO_TAG) is (behind in TABLE[text])


@pytest.mark.parametrize(("text", "behind"), [probe for probe in PROBES if probe[1] != "."])
def test_the_benchmark_counts_the_same_sentences(text: str, behind: str) -> None:
    query = Query("", text_length=TextLength.VERY_SHORT)  # two at the most
    found = score([query], [Outcome(text=PLAIN + text + BEHIND[behind])])
    assert found.text_in_band == (behind not in TABLE[text])


def goes_on(text: str) -> bool:
    """Say whether the sentence may go on in lower case; no other goes on with a quotation that is closed."""
    return ("." if text[-1] in CLOSING else "a") not in TABLE[text]


@pytest.mark.parametrize("text", [text for text in TABLE if "," not in text])
def test_an_addition_is_set_apart_by_a_comma_unless_the_same_sentence_ends(text: str) -> None:
    pieces = append(parse(PLAIN + text), ["hat"]).pieces
    assert [piece.text for piece in pieces if piece.by is By.MODEL] == [", hat" if goes_on(text) else " hat"]


@pytest.mark.parametrize("text", [text for text in TABLE if "," not in text])
def test_a_comma_ends_an_item_of_prose_where_the_same_sentence_ends(text: str) -> None:
    shown = [item.shown for item in parse(f"A girl waits. {text}, with a hat in the rain.").segments[0].items]
    assert len(shown) == (1 if goes_on(text) else 2)


def ordinary(text: str) -> bool:
    """Say whether a caption may hold the text: those with other signs are left out of the training."""
    return text.isascii() and not set(text) & set(":<")


@pytest.mark.parametrize(("text", "behind"), [probe for probe in PROBES if probe[1] != "." and ordinary(probe[0])])
def test_captions_for_training_are_cut_into_the_same_sentences(text: str, behind: str) -> None:
    start, rest = "In the still of the night ", BEHIND[behind] + " on the old wall."
    assert len(clean_sentences(start + text + rest)) == (2 if behind in TABLE[text] else 1)


@pytest.mark.parametrize("text", TABLE)
def test_what_measures_a_model_sees_the_same_ends(text: str) -> None:
    assert sentences_ended([text]) == ("." in TABLE[text])
