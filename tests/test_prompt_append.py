"""Additions to a prompt: weight 1 in every step, with the user's bytes, weights and steps unchanged.

The properties are checked in the source as it is and as the host strips it (comments and networks out); weights by
`weigh`, the host's rule by the letter for each character, itself checked against the recorded prompts.
"""
from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from host_schedule import schedule
from hypothesis import given, settings
from hypothesis import strategies as st

from kgen_ext.events import By
from kgen_ext.prompt import SpanKind, append, escape, parse
from kgen_ext.prompt.lexer import blank

GOLDEN = json.loads((Path(__file__).parent / "golden" / "attention.json").read_text(encoding="utf-8"))
MARK = "\ue000"
PIECES = [
    "a", "cat", "long hair", " ", ", ", ",", "，", "\n", ":", "|", "(", ")", "[", "]", "{", "}", "\\", "\\(", "\\)",
    "#", "# c", "# (c\n", "<lora:x:0.8>", "<lora:x", ">",
    "__hat__", "__", " BREAK ", " AND ", "BREAK", "AND", ":1.2", ":1.2)", " :0.5",
    "[a:b:0.5]", "[a|b]", "(x:1.2)", "[x::5]", ">:(", "(o)_(o)", "a sentence is here.",
    "[SEP]", "{a|b}", "(a BREAK b)", "0.5]", "\r", "\0",
]
PROMPTS = st.lists(st.sampled_from(PIECES), max_size=10).map("".join)
ADDITIONS = st.sampled_from([
    "", "hat", "hat, :3", "name (series)", ":(, [a], a|b", "<lora:q:1>, >_<", "# no", "{b|c}, __d__", "AND BREAK", "\\",
    "A sentence about a hat.",
]).map(lambda words: words and MARK + words + MARK)


def weigh(source: str) -> dict[int, float]:
    """Return the weight of each character that A1111's attention parser takes for text."""
    found: list[tuple[int, str]] = []
    weights: list[float] = []
    rounds: list[int] = []
    squares: list[int] = []

    def multiply(start: int, factor: float) -> None:
        weights[start:] = [weight * factor for weight in weights[start:]]

    for match in re.finditer(r"\\[()\[\]\\]?|[(\[]|:\s*([+-]?[.\d]+)\s*\)|[)\]]|[^\\()\[\]:]+|:", source):
        text, at = match.group(), match.start()
        if text in "([":
            (rounds if text == "(" else squares).append(len(weights))
        elif match.group(1) and rounds:
            multiply(rounds.pop(), float(match.group(1)))
        elif text == ")" and rounds:
            multiply(rounds.pop(), 1.1)
        elif text == "]" and squares:
            multiply(squares.pop(), 1 / 1.1)
        else:
            slash = text[0] == "\\"
            found.append((at + slash, text[slash:]))
            weights.append(1.0)
    for start in rounds:
        multiply(start, 1.1)
    for start in squares:
        multiply(start, 1 / 1.1)
    return {at + i: weight for (at, text), weight in zip(found, weights, strict=True) for i in range(len(text))}


def as_is(source: str) -> str:
    return source


def stripped(source: str) -> str:
    """Return the source as the host has it after comments and networks are gone, every index kept."""
    return blank(parse(source).tokens, (SpanKind.COMMENT, SpanKind.NETWORK))


def expand(source: str, *additions: str) -> str:
    prompt = parse(source)
    return "".join(piece.text for piece in append(prompt, additions or ["hat"] * len(prompt.segments)).pieces)


@pytest.mark.parametrize("case", GOLDEN, ids=range(len(GOLDEN)))
def test_weigh_is_the_hosts_rule(case: dict[str, Any]) -> None:
    weights = weigh(case["prompt"])
    mine = [(char, weight) for at, weight in sorted(weights.items()) if (char := case["prompt"][at]).isdigit()]
    assert mine == [(char, weight) for text, weight in case["attention"] for char in text if char.isdigit()]


@settings(max_examples=600)
@given(PROMPTS, st.lists(ADDITIONS, min_size=12, max_size=12))
def test_the_users_bytes_and_dividers_stay(source: str, additions: list[str]) -> None:
    prompt = parse(source)
    additions = (additions * 4)[: len(prompt.segments)]
    appended = append(prompt, additions)
    result = "".join(piece.text for piece in appended.pieces)
    assert "".join(piece.text for piece in appended.pieces if piece.by is By.USER) == source
    assert len(parse(result).segments) == len(prompt.segments)
    assert sum(piece.by is By.MODEL for piece in appended.pieces) == sum(map(bool, additions)) - len(appended.skipped)
    assert len(prompt.segments) - 1 not in appended.skipped or len(prompt.segments) > 1
    if len(prompt.segments) == 1:
        assert result.startswith(source) and not appended.skipped


@pytest.mark.parametrize("reading", [as_is, stripped])
@settings(max_examples=600)
@given(source=PROMPTS, addition=ADDITIONS.filter(bool))
def test_additions_weigh_one_and_user_weights_stay(reading: Callable[[str], str], source: str, addition: str) -> None:
    prompt = parse(source)
    pieces = append(prompt, [addition] * len(prompt.segments)).pieces
    before, after = weigh(reading(source)), weigh(reading("".join(piece.text for piece in pieces)))
    blanked = reading(source)
    mine = theirs = 0
    for piece in pieces:
        for at, char in enumerate(piece.text):
            if piece.by is By.USER:
                if not blanked[mine].isspace() and mine in before:
                    assert after[theirs] == pytest.approx(before[mine])
                mine += 1
            elif piece.text.find(MARK) <= at <= piece.text.rfind(MARK) and char != "\\":
                assert after.get(theirs, 1.0) == 1.0
            theirs += 1


@pytest.mark.parametrize("steps", [1, 7])
@settings(max_examples=400)
@given(source=PROMPTS, addition=ADDITIONS.filter(bool))
def test_no_step_of_the_users_moves(steps: int, source: str, addition: str) -> None:
    prompt = parse(source)
    pieces = append(prompt, [addition] * len(prompt.segments)).pieces
    after = schedule("".join(piece.text for piece in pieces), steps)
    for i, (step, text) in enumerate(after):
        for piece in pieces:
            if piece.by is By.MODEL:
                assert piece.text in text
                text = text.replace(piece.text, "", 1)
        after[i] = step, text
    assert after == schedule(source, steps)


@settings(max_examples=500)
@given(PROMPTS.filter(lambda source: "#" not in source), ADDITIONS.filter(bool))
def test_no_weight_of_an_and_part_changes(source: str, addition: str) -> None:
    prompt = parse(source)
    if any(token.kind is SpanKind.AND for token in prompt.tokens):
        assert _part_weights(expand(source, *[addition] * len(prompt.segments))) == _part_weights(source)


def _part_weights(source: str) -> list[str | None]:
    rule = re.compile(r"^(?:\s|.)*?(?:\s*:\s*([-+]?(?:\d+\.?|\d*\.\d+)))?\s*$")
    found = [rule.search(part) for part in re.split(r"\bAND\b", source)]
    return [match.group(1) if match else None for match in found]


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("", "hat"),
        ("cat", "cat, hat"),
        ("cat,", "cat, hat"),
        ("cat, ", "cat, hat"),
        ("cat，", "cat， hat"),
        ("cat\n", "cat\n, hat"),
        ("A cat sits on the mat.", "A cat sits on the mat. hat"),
        ("A cat sits on the mat", "A cat sits on the mat, hat"),
        ("BREAK cat", "hat BREAK cat, hat"),
        ("cat BREAK", "cat, hat BREAK hat"),
        ("cat BREAK fox", "cat, hat BREAK fox, hat"),
        ("cat,\nBREAK\nfox", "cat, hat\nBREAK\nfox, hat"),
        ("cat AND dog :1.2 AND fox", "cat, hat AND dog, hat :1.2 AND fox, hat"),
        ("cat AND dog:1.2", "cat, hat AND dog, hat:1.2"),
        ("cat # note", "cat # note\n, hat"),
        ("cat, # note\nBREAK fox", "cat, hat # note\nBREAK fox, hat"),
        ("cat, <lora:x:1>", "cat, <lora:x:1>, hat"),
        ("cat (dog", "cat (dog), hat"),
        ("[cat", "[cat], hat"),
        ("cat, (dog BREAK fox, bee", "cat, hat, (dog BREAK fox, bee), hat"),
        ("very (long BREAK fox) hair", "hat, very (long BREAK fox) hair, hat"),
        ("(a BREAK b BREAK c:1.3)", "hat, (a BREAK b:1.3), hat ( BREAK c:1.3), hat"),
        ("[a BREAK b:5] BREAK c", "[a BREAK b:5], hat BREAK c, hat"),
        ("cat\\", "cat\\\n, hat"),
        ("cat,\\\nBREAK fox", "cat, hat \\\nBREAK fox, hat"),
        ("# (c\n, (a BREAK b)", "hat# (c\n, (a BREAK b)), hat"),  # the user's own comma follows
        ("{a|b}#\n BREAK fox", "{a|b}, hat#\n BREAK fox, hat"),
        ("[:1.2)", "[:1.2) [(])], hat"),
        ("[| AND [SEP]", "hat, [| AND[(])], hat [ [(]) [SEP] [(])], hat"),
        ("cat\\:1.2 AND fox", "hat, cat\\:1.2 AND fox, hat"),  # the host's weight, escaped or not
        ("cat [SEP] dog", "cat, hat [SEP] dog, hat"),
        ("a ADDCOMM b ADDCOL c", "a, hat ADDCOMM b, hat ADDCOL c, hat"),
    ],
)
def test_an_addition_stands_where_a_person_would_write_it(source: str, result: str) -> None:
    assert expand(source) == result


@pytest.mark.parametrize("source", ["[cat:dog:0.5", "[cat|dog", "(cat:1.2", "(cat: 1.25", "[a, [b:0.5"])
def test_closing_a_bracket_makes_it_neither_an_edit_nor_a_weight(source: str) -> None:
    result = expand(source)
    assert len(schedule(result, 10)) == 1
    assert [weigh(result)[at] for at in weigh(source)] == pytest.approx(list(weigh(source).values()))


def test_a_face_at_the_end_does_not_become_the_prompts_weight() -> None:
    assert expand("cat", ":3") == "cat, :3,"


def test_an_addition_cannot_close_a_network_the_user_left_open() -> None:
    assert ">" not in expand("cat, <lora:x", ">_<, hat")


def test_a_segment_without_a_safe_place_is_named() -> None:
    appended = append(parse("(a AND b AND c:1.3)"), ["hat", "hat", "hat"])
    assert appended.skipped == (1,)


@pytest.mark.parametrize(("depth", "skipped"), [(8, ()), (9, (1,))])
def test_eight_brackets_are_closed_and_opened_again_and_no_more(depth: int, skipped: tuple[int, ...]) -> None:
    prompt = parse("(" * depth + "a BREAK b BREAK c" + ")" * depth)
    assert append(prompt, ["hat"] * 3).skipped == skipped


def test_a_segment_inside_what_only_a_comment_keeps_from_being_an_edit_is_skipped() -> None:
    assert append(parse("[a BREAK b BREAK c#:5]\n"), ["hat"] * 3).skipped == (1,)


def test_nothing_is_added_where_nothing_is_given() -> None:
    assert expand("cat BREAK dog", "", "hat") == "cat BREAK dog, hat"


def test_more_additions_than_segments_are_refused() -> None:
    with pytest.raises(ValueError, match="2 additions for 1 segments"):
        append(parse("cat"), ["a", "b"])


@pytest.mark.parametrize(
    "source",
    ["[red hair:blue hair:0.5]", "[cat|dog]", "cat AND dog", "BREAK cat", "name \\(series\\)", "my_char_v2, cat",
     "a,\nb\n\nc", "f1.8 lens, <lora:x:0.8>"],
)
def test_what_the_reference_rewrites_comes_through_mistakes_7_and_9(source: str) -> None:
    prompt = parse(source)
    pieces = append(prompt, ["hat"] * len(prompt.segments)).pieces
    assert "".join(piece.text for piece in pieces if piece.by is By.USER) == source


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("name (series)", "name \\(series\\)"), ("name \\(series\\)", "name \\(series\\)"), ("a[b]", "a\\[b\\]"),
        (":|", ":\\|"), ("a\\b", "a\\\\b"), ("<lora:x:1>", "< lora:x:1>"), (">_<", ">_<"), ("{a}", "a"),
        ("__a__", "_a_"),
        ("#1", "1"), ("BREAK a AND b", "break a and b"), ("ANDROID", "ANDROID"), ("a\nb\0c", "a b c"), ("^_^", "^_^"),
    ],
)
def test_model_text_is_made_literal(text: str, literal: str) -> None:
    assert escape(text) == literal


@settings(max_examples=500)
@given(st.text(max_size=40) | PROMPTS)
def test_escaped_text_is_only_text(text: str) -> None:
    literal = escape(text)
    assert escape(literal) == literal
    assert set(weigh(literal).values()) <= {1.0}
    assert schedule(literal, 5) == [(5, literal)]
    kinds = {token.kind for token in parse(literal).tokens}
    assert kinds <= {SpanKind.TEXT, SpanKind.SPACE, SpanKind.COMMA, SpanKind.COLON, SpanKind.ESCAPE}
