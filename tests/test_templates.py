"""Output templates: the user's bytes are kept, empty slots drop their separators, unknown slots are named."""
from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgen_ext.errors import BadTemplate, BadValue
from kgen_ext.events import By, Piece
from kgen_ext.output.formats import APPEND, NAMED_FORMATS, SLOTS, fill, parse_template, resolve_format

USER_TEXT = st.text(alphabet="ab ,.;\n()[]:|<>\\_#ANDBREAK{}<|general|>", max_size=20)
MODEL_TAGS = st.lists(st.sampled_from(["smile", "hat", "blue sky", ":d", "..."]), max_size=3).map(", ".join)
TEMPLATES = st.lists(
    st.one_of(
        st.sampled_from([f"<|{slot}|>" for slot in SLOTS]),
        st.sampled_from([", ", ",", ".", ".\n\n", "\n", " ", " BREAK ", " AND ", "by ", "(", ":0.9)", "best", "; "]),
    ),
    max_size=12,
).map("".join)


def filled(template: str, /, **values: str) -> str:
    resolved = resolve_format(template)
    assert resolved is not None
    return "".join(piece.text for piece in fill(resolved, values))


def test_reference_mistakes_8_and_9_weights_edits_and_escapes_come_out_as_they_went_in() -> None:
    prompt = (
        "(smile:1.3), 1girl, (smile:0.8),\n[red hair:blue hair:0.5], [cat|dog], very (long:1.3) hair, my_char_v2, "
        "(looking_at_viewer:1.2), a\\(b\\) BREAK x AND y"
    )
    for name, named in NAMED_FORMATS.items():
        if named.template is not None and name != "text":
            assert prompt in filled(name, prompt=prompt, general="hat", extended="A girl smiles.", special="solo")


@given(TEMPLATES, USER_TEXT, USER_TEXT, MODEL_TAGS, MODEL_TAGS, MODEL_TAGS)
def test_the_user_s_pieces_are_the_source_byte_for_byte_wherever_a_template_keeps_them(
    template: str, prompt: str, caption: str, special: str, general: str, generated: str
) -> None:
    try:
        parsed = parse_template(template)
    except BadTemplate:
        return
    extended = (Piece(caption, By.USER), Piece(" The end.", By.MODEL)) if caption else ()
    values = {"prompt": prompt, "special": special, "general": general, "extended": extended, "generated": generated}
    pieces = fill(parsed, values)
    kept = [prompt] if parsed.keeps_prompt else []
    kept += [caption] if "extended" in parsed.slots else []
    users = "".join(piece.text for piece in pieces if piece.by is By.USER)
    assert users in ("".join(kept), "".join(reversed(kept)))
    whole = "".join(piece.text for piece in pieces)
    assert all(part in whole for part in kept)


@given(
    st.permutations(SLOTS),
    st.lists(st.sampled_from([", ", ",", "\n", ",\n\n", ".\n", " BREAK ", "; "]), min_size=len(SLOTS) - 1),
    st.dictionaries(st.sampled_from(SLOTS), st.sampled_from(["a", "b, c", "T.", ":d"])),
)
def test_no_separator_is_doubled_none_is_left_over_and_every_value_is_there(
    slots: list[str], separators: list[str], values: dict[str, str]
) -> None:
    between = [*separators[: len(slots) - 1], ""]
    template = "".join(f"<|{slot}|>{separator}" for slot, separator in zip(slots, between, strict=True))
    text = filled(template, **values)
    assert not re.search(r"[,;]\s*[,;]|\n\s*\n\s*\n|^[,;\s]|[,;\s]$|BREAK\s*(?:BREAK|$)", text)
    assert sorted(re.findall(r"a|b, c|T\.|:d", text.replace("BREAK", ""))) == sorted(values.values())


@pytest.mark.parametrize(
    ("template", "values", "result"),
    [
        ("<|special|>, <|general|>, <|quality|>", {"prompt": "a", "general": "b"}, "a, b"),
        ("<|special|>, <|general|>, <|quality|>", {"prompt": "a", "special": "s", "general": "b"}, "a, s, b"),
        ("<|quality|>, <|general|>", {"prompt": "a", "quality": "q", "general": "b"}, "q, a, b"),
        ("<|general|>, <|prompt|>", {"prompt": "a", "general": "b"}, "b, a"),
        ("<|general|>", {"general": "b"}, "b"),
        ("<|general|>\n<|extended|>.", {"general": "b"}, "b"),
        ("<|general|>\n<|extended|>.", {"general": "b", "extended": "T"}, "b\nT."),
        ("<|general|>\n<|extended|>.", {"general": "b", "extended": "T."}, "b\nT."),
        ("<|extended|>, <|general|>", {"general": "b", "extended": "T."}, "T. b"),
        ("<|general|>,\n<|artist|>,\n<|extended|>", {"general": "b", "extended": "T"}, "b,\nT"),
        ("<|special|>, <|characters|>\n<|general|>", {"special": "s", "general": "b"}, "s,\nb"),
        ("<|general|>, <|extended|>.\n\n<|quality|>", {"general": "b", "quality": "q"}, "b,\n\nq"),
        ("<|general|> BREAK <|extended|>", {"general": "b"}, "b"),
        ("<|general|> BREAK <|extended|>", {"general": "b", "extended": "T."}, "b BREAK T."),
        ("by <|artist|>, <|general|>", {"general": "b"}, "b"),
        ("by <|artist|>, <|general|>", {"general": "b", "artist": "w"}, "by w, b"),
        ("(<|quality|>:0.9), <|prompt|>", {"prompt": "a"}, "a"),
        ("(<|quality|>:0.9), <|prompt|>", {"prompt": "a", "quality": "q"}, "(q:0.9), a"),
        ("masterpiece, <|general|>, end", {}, "masterpiece, end"),
        ("<|special|> <|characters|> <|general|>", {"special": "s", "general": "b"}, "s b"),
        ("a <|special|> of <|characters|> b", {"prompt": "u"}, "a u of b"),
        (r"<|general|>\n<|extended|>", {"general": "b", "extended": "T"}, "b\nT"),
        ("<| General |>", {"general": "b"}, "b"),
        ("f/0.9 <|general|>", {"general": "b"}, "f/0.9 b"),
    ],
)
def test_an_empty_slot_takes_its_separator_with_it(template: str, values: dict[str, str], result: str) -> None:
    assert filled(template, **values) == result


@pytest.mark.parametrize(
    ("prompt", "result"),
    [
        ("1girl, ", "1girl, hat"),
        ("1girl,", "1girl, hat"),
        ("1girl,\n", "1girl,\nhat"),
        ("1girl ", "1girl , hat"),
        ("1girl # note", "1girl # note\n, hat"),
        ("1girl # note,", "1girl # note,\n, hat"),
        ("1girl # note,\n", "1girl # note,\n, hat"),
        ("# note\n1girl,", "# note\n1girl, hat"),
        ("1girl, ?", "1girl, ?, hat"),
        ("1girl AND", "1girl AND hat"),
        ("BREAK", "BREAK hat"),
        ("  ", "  hat"),
        ("", "hat"),
    ],
)
def test_a_separator_gives_way_to_the_user_s_own(prompt: str, result: str) -> None:
    assert filled("<|general|>", prompt=prompt, general="hat") == result


@pytest.mark.parametrize(
    ("prompt", "result"), [(", 1girl", "q, 1girl"), ("\n1girl", "q,\n1girl"), (" 1girl", "q, 1girl")]
)
def test_a_separator_gives_way_to_the_user_s_own_behind_it(prompt: str, result: str) -> None:
    assert filled("<|quality|>, <|prompt|>", prompt=prompt, quality="q") == result


@pytest.mark.parametrize(
    "template", ["<|prompt|>\n<|general|>", "<|prompt|> BREAK <|general|>", "<|general|>,\n\n<|meta|>"]
)
def test_additions_never_fall_into_a_comment_of_the_user_s(template: str) -> None:
    lines = filled(template, prompt="1girl # note", general="hat", meta="highres").splitlines()
    assert lines[0] == "1girl # note"
    assert "hat" in "".join(lines[1:])


def test_the_generated_text_stands_in_for_the_extended_one_and_never_twice() -> None:
    assert filled("<|extended|>", generated="New.") == "New."
    assert filled("<|extended|>\n<|generated|>", generated="New.") == "New."
    assert filled("<|extended|>\n<|generated|>", generated="New.", extended="Old.") == "Old.\nNew."
    assert filled("<|generated|>", generated="New.", extended="Old.") == "New."


def test_pieces_say_who_wrote_them_and_the_template_s_own_words_are_the_model_s() -> None:
    parsed = parse_template("best, <|general|>. <|extended|>")
    caption = (Piece("A fox", By.USER), Piece(" runs.", By.MODEL))
    assert fill(parsed, {"prompt": "1girl", "general": "hat", "extended": caption}) == (
        Piece("best, ", By.MODEL),
        Piece("1girl", By.USER),
        Piece(", hat. ", By.MODEL),
        Piece("A fox", By.USER),
        Piece(" runs.", By.MODEL),
    )


def test_what_a_template_keeps_of_the_user_is_told() -> None:
    kept = {name: named.template for name, named in NAMED_FORMATS.items() if named.template}
    assert [name for name, template in kept.items() if not parse_template(template).keeps_prompt] == ["text"]


def test_every_named_format_resolves_and_has_a_label() -> None:
    assert resolve_format(APPEND) is None
    assert resolve_format(" Tags ") == resolve_format("tags")
    for name, named in NAMED_FORMATS.items():
        assert named.label
        assert (resolve_format(name) is None) == (name == APPEND)


def test_every_slot_can_stand_alone() -> None:
    for slot in SLOTS:
        assert filled(f"<|{slot}|>", **{slot: "x"}) == "x"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("<|tags|>", "no slot <|tags|>"),
        ("<|general|>, <||>", "no slot <||>"),
        ("<|general|>, <|general|>", "twice"),
        ("<|general|>, <|artist", "not closed"),
        ("x" * 5000 + "<|general|>", "characters"),
    ],
)
def test_a_wrong_template_is_named_with_what_is_wrong(template: str, said: str) -> None:
    with pytest.raises(BadTemplate, match=re.escape(said)):
        resolve_format(template)


def test_an_unknown_slot_s_error_lists_the_slots_there_are() -> None:
    with pytest.raises(BadTemplate) as caught:
        resolve_format("<|character|>")
    assert all(f"<|{slot}|>" in str(caught.value) for slot in SLOTS)


@pytest.mark.parametrize("text", ["tag", "", "general, artist", "APPENDED"])
def test_what_is_neither_a_name_nor_a_template_gets_the_names(text: str) -> None:
    with pytest.raises(BadValue) as caught:
        resolve_format(text)
    assert all(name in str(caught.value) for name in NAMED_FORMATS)


def test_a_value_for_no_slot_is_a_slip_of_the_caller() -> None:
    with pytest.raises(ValueError, match="generall"):
        fill(parse_template("<|general|>"), {"generall": "x"})


@given(st.text(alphabet="<|>general ,.\n\\nABREAK", max_size=60))
def test_no_text_makes_anything_but_a_template_or_a_named_error(text: str) -> None:
    try:
        parsed = resolve_format(text)
    except (BadTemplate, BadValue):
        return
    assert parsed is not None and fill(parsed, {}) is not None
