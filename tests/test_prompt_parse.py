"""Parsing of prompts: every string comes back unchanged, and is read as A1111 reads it."""
from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgen_ext.prompt import Prompt, SpanKind, parse, render, subjects

WILD = [
    *"()[]{}<>:|,，、\\#_\n\r\t $^.;=~-+0189adAZé猫",
    "\0", "\ud800", "\U0001f98a", "AND", " AND ", "BREAK", " BREAK ", "ADDCOMM", "[SEP]", "[PROMPT]", "<lora:x:0.8>",
    "__hat__", ":1.2)", "(a:1.2)", "[a:b:0.5]", "[a|b]", "{2$$a|b}", "# c\n", ">:(", "(o)_(o)", "long hair",
    "my_char_v2", ":1.2", "：1.2）", "（", "【", "::", "-1::", "--ar 16:9", "; ", ". ", "(a, b)", "a fox",
]


@st.composite
def prompts(draw: st.DrawFn, depth: int = 3) -> str:
    """Well-formed prompts, from the grammar."""
    words = st.sampled_from(
        ["1girl", "long_hair", "fox ears", ":d", "^_^", "\\(x\\)", "a dog is here.", "__hat__", "<lora:a:1>"]
    )
    if depth == 0:
        return draw(words)
    inner = prompts(depth - 1)
    form = draw(st.sampled_from([
        "{0}", "({0})", "({0}:1.2)", "[{0}]", "[{0}:{1}:0.5]", "[{0}::5]", "[{0}|{1}]", "{{{0}|{1}}}", "{{2$${0}|{1}}}",
        "{0}, {1}", "{0} AND {1} :0.7", "{0}\nBREAK {1}", "{0} # {1}\n{2}", "{0}，{1}",
    ]))
    return form.format(draw(inner), draw(inner), draw(inner))


def spans(source: str, kind: SpanKind) -> list[str]:
    return [source[span.start : span.end] for span in parse(source).spans if span.kind is kind]


def weight_of(source: str, shown: str) -> list[float]:
    return [item.weight for segment in parse(source).segments for item in segment.items if item.shown == shown]


def check(source: str, prompt: Prompt) -> None:
    assert render(prompt) == source
    ends = [0, *(token.end for token in prompt.tokens)]
    assert [token.start for token in prompt.tokens] == ends[:-1] and ends[-1] == len(source)
    assert all(0 <= span.start <= span.end <= len(source) for span in prompt.spans)
    assert prompt.segments[0].start == 0 and prompt.segments[-1].end == len(source)


@pytest.mark.slow
def test_ten_thousand_random_strings_come_back_as_they_were() -> None:
    chance = random.Random(20)
    for _ in range(10_000):
        source = "".join(chance.choices(WILD, k=chance.randrange(30)))
        assert render(parse(source)) == source


@settings(max_examples=300)
@given(st.text(max_size=200) | st.lists(st.sampled_from(WILD)).map("".join))
def test_any_string_comes_back_and_its_tokens_lie_side_by_side(source: str) -> None:
    check(source, parse(source))


@settings(max_examples=300)
@given(prompts())
def test_any_well_formed_prompt_comes_back(source: str) -> None:
    check(source, parse(source))


@pytest.mark.slow
def test_a_prompt_of_a_megabyte_is_read() -> None:
    source = "1girl, (smile:1.2), long hair\n" * 34_000
    prompt = parse(source)
    assert len(source) > 1_000_000 and render(prompt) == source
    assert len(subjects(prompt)[0].tags) == 3 * 34_000


@pytest.mark.parametrize(
    "unit",
    ["(", "[a|", "(a:1.2), ", "<a:", "<a:#", "{", "__a", "_", "\\", ": ", "BREAK ", "# \n", "[a:b:5]",
     "a(", "\ud800\0", ":1 ", "（", "）", "（,", "1.2::", ":: ", "--a ", "a; ", "ab. ", "a (b, c) ", ": 1",
     "a (b, c) in the ", "mr. ", "a-b ", "A ", "1"],
)
def test_no_repetition_makes_reading_slower_than_linear(unit: str) -> None:
    # Anything quadratic would take minutes here.
    source = unit * (60_000 // len(unit))
    assert render(parse(source)) == source


@pytest.mark.slow
@pytest.mark.parametrize("pair", ["()", "[]", "{}"])
def test_a_hundred_thousand_nested_brackets_are_read(pair: str) -> None:
    source = pair[0] * 100_000 + "x" + pair[1] * 100_000
    prompt = parse(source)
    assert render(prompt) == source
    assert subjects(prompt)[0].tags == ("x",)


@pytest.mark.parametrize(
    ("source", "kind", "found"),
    [
        ("(a), ((b)), (c:1.2)", SpanKind.EMPHASIS, ["(a)", "((b))", "(b)", "(c:1.2)"]),
        ("[a], b", SpanKind.DEEMPHASIS, ["[a]"]),
        ("[a:b:0.5], [a::5], [a:5]", SpanKind.EDIT, ["[a:b:0.5]", "[a::5]", "[a:5]"]),
        ("[a|b], [[c|d]|e]", SpanKind.ALTERNATION, ["[a|b]", "[[c|d]|e]", "[c|d]"]),
        ("{a|{b|c}}, {2$$d|e}", SpanKind.CHOICE, ["{a|{b|c}}", "{b|c}", "{2$$d|e}"]),
        ("__x__, a __b/c__ d, ^__^, >__<", SpanKind.WILDCARD, ["__x__", "__b/c__"]),
        ("<lora:x:0.8> <hypernet:y:1><a>", SpanKind.NETWORK, ["<lora:x:0.8>", "<hypernet:y:1>"]),
        ("a # b (c\nd", SpanKind.COMMENT, ["# b (c"]),
        ("cat AND dog :1.2 AND fox:.5", SpanKind.AND_WEIGHT, [" :1.2 ", ":.5"]),
        ("cat AND dog ANDROID BREAKFAST BREAK", SpanKind.AND, ["AND"]),
        ("a ADDCOMM b ADDCOL c ADDROW d ADDBASE e", SpanKind.REGION, ["ADDCOMM", "ADDCOL", "ADDROW", "ADDBASE"]),
        ("a ADDP b ADDPS c", SpanKind.REGION, ["ADDP"]),
        ("a [SEP] [PROMPT] b", SpanKind.SEP, ["[SEP]"]),
        ("a [SEP] [PROMPT] b", SpanKind.SLOT, ["[PROMPT]"]),
        (">:(, (o)_(o), :[", SpanKind.EMOTICON, [">:(", "(o)_(o)", ":["]),
        ("1girl，cat、dog,fox\nhat", SpanKind.TAG, ["1girl", "cat", "dog", "fox", "hat"]),
    ],
)
def test_spans_are_found(source: str, kind: SpanKind, found: list[str]) -> None:
    assert spans(source, kind) == found


@pytest.mark.parametrize("source", ["(cat", "[cat", "cat)", "cat]", ")(", "((cat)"])
def test_unbalanced_brackets_weigh_what_the_host_makes_of_them(source: str) -> None:
    factor = {"(cat": 1.1, "[cat": 1 / 1.1, "((cat)": 1.1 * 1.1}.get(source, 1.0)
    assert all(item.weight == pytest.approx(factor) for item in parse(source).segments[0].items)


@pytest.mark.parametrize("source", ["[a\\\nb:5]", "[(a|b):c:5]", "[(a:b:c):d:5]"])
def test_what_the_host_s_grammar_does_not_take_is_no_edit(source: str) -> None:
    assert spans(source, SpanKind.EDIT) == []


def test_a_face_is_no_emphasis() -> None:
    assert spans("(o)_(o), >:( cat", SpanKind.EMPHASIS) == []


def test_of_spans_that_begin_together_the_outer_comes_first() -> None:
    assert [span.kind for span in parse("{a|b} c").spans] == [SpanKind.OPAQUE, SpanKind.CHOICE]


def test_weights_belong_to_spans_mistake_8() -> None:
    source = "(smile:1.3), 1girl, (smile:0.8), (looking_at_viewer:1.2)"
    assert weight_of(source, "smile") == [1.3, 0.8]
    assert weight_of(source, "looking_at_viewer") == [1.2]
    assert spans("very (long:1.3) hair", SpanKind.TAG) == ["very (long:1.3) hair"]


def test_a_divider_inside_an_edit_or_a_choice_divides_nothing() -> None:
    assert len(parse("{a BREAK b|c}, [d BREAK e:5], (f BREAK g)").segments) == 2
