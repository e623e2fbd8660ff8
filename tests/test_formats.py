"""Formats on whole requests: segments, required tags, `sorted`, and the user's bytes in all of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgen_ext.decoding.row import RowOutput
from kgen_ext.events import By, Expansion, Finish, Piece
from kgen_ext.output.formats import NAMED_FORMATS
from kgen_ext.output.layout import PromptLayout
from kgen_ext.output.sorting import sort_prompt
from kgen_ext.prompt import attention, parse
from kgen_ext.request import ExpandRequest
from kgen_ext.rules.known import TagFiles
from kgen_ext.service.plan import plan_expansion
from kgen_ext.service.result import build_expansion
from kgen_ext.tags.tag import read_tag

NOTHING = RowOutput((), {}, {}, Finish.COMPLETE, (), "", 0, 0, 0)
LAYOUTS = (
    *NAMED_FORMATS, "<|special|>, <|general|>", "<|quality|>, <|prompt|>", "<|prompt|>, <|characters|>", "<|artist|>",
    "<|general|>\n<|extended|>", "by <|artist|>, <|special|>", "<|rating|>", "<|quality|>, <|extended|>",
)  # fmt: skip
KEPT = [layout for layout in LAYOUTS if layout not in ("text", "sorted")]


def wrote(*tags: str, **texts: str) -> RowOutput:
    return replace(NOTHING, tags=tuple(map(read_tag, tags)), texts=texts)


def result(prompt: str, *outputs: RowOutput, **options: object) -> Expansion:
    """Return the expansion of a prompt whose subjects wrote `outputs`, one for each that the model was asked about."""
    plan = plan_expansion(ExpandRequest(prompt, **options), TagFiles())  # type: ignore[arg-type]
    answers = iter(outputs)
    written = [None if subject is None else next(answers) for subject in plan.subjects]
    return build_expansion(plan, written, row=0, seed=0, model="m", engine="e", hidden=0, seconds=0.0)


def users(done: Expansion) -> str:
    return "".join(piece.text for piece in done.pieces if piece.by is By.USER)


# Required tags.


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "required",
    [
        "hatsune miku", "2girls", "masterpiece", "highres", "safe", "vocaloid", "artist:somebody", "scarf",
        "(scarf:1.2)",
        "<lora:ink:0.8>", "[red:blue:0.5]", "__animal__", "my_char_v2",
    ],
)  # fmt: skip
def test_a_required_entry_is_in_the_result_or_a_note_names_it(layout: str, required: str) -> None:
    done = result("fox", wrote("hat"), format=layout, require=required)
    assert done.prompt.count(required) == 1 or any(required in note for note in done.notes)


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout != "text"])
def test_a_required_entry_is_in_every_format_that_keeps_tags(layout: str) -> None:
    assert "hatsune miku" in result("fox", wrote("hat"), format=layout, require="hatsune miku").prompt


@pytest.mark.parametrize(
    ("layout", "prompt"),
    [
        ("<|special|>, <|general|>", "fox, hatsune miku, solo hat, scarf"),
        ("<|quality|>, <|prompt|>", "fox, hatsune miku"),
        ("<|prompt|>, <|characters|>", "fox, hatsune miku"),
        ("<|general|>, <|prompt|>.", "solo hat, scarf, fox, hatsune miku."),
        ("sorted", "hatsune miku, fox, solo hat, scarf"),
    ],
)
def test_what_no_slot_takes_comes_right_behind_the_prompt(layout: str, prompt: str) -> None:
    assert result("fox", wrote("solo hat", "scarf"), format=layout, require="hatsune miku").prompt == prompt


def test_a_note_says_which_required_tag_a_format_without_tags_leaves_out() -> None:
    done = result("fox", wrote("hat", long="A fox."), format="text", require="scarf", text_length="short")
    assert (done.prompt, done.notes) == (
        "A fox.",
        ("require: this format leaves tags out, so 'scarf' is not in the result",),
    )


def test_a_required_tag_without_a_safe_place_is_named() -> None:
    done = result("(<lora:x:1> AND b AND c:1.3)", wrote("hat"), wrote("tie"), require="scarf")
    assert done.notes[-1] == "require: 'scarf' is not in the result for that reason"


# Several segments.


@pytest.mark.parametrize(
    ("layout", "prompt"),
    [
        ("append", "1girl, hat, A girl. BREAK 1boy, suit, A boy."),
        ("tags", "1girl, hat BREAK 1boy, suit"),
        ("tags_then_text", "1girl, hat,\n\nA girl. BREAK 1boy, suit,\n\nA boy."),
        ("text_then_tags", "A girl.\n\n1girl, hat BREAK A boy.\n\n1boy, suit"),
        ("text", "A girl. BREAK A boy."),
        ("sorted", "1girl, hat, A girl. BREAK 1boy, suit, A boy."),
        ("<|general|>, <|prompt|>", "hat, 1girl BREAK suit, 1boy"),
        ("<|extended|>", "A girl. BREAK A boy."),
    ],
)
def test_each_segment_has_its_own_tags_and_text(layout: str, prompt: str) -> None:
    done = result("1girl BREAK 1boy", wrote("hat", long="A girl."), wrote("suit", long="A boy."), format=layout,
                  text_length="short")  # fmt: skip
    assert done.prompt == prompt


@pytest.mark.parametrize(
    ("prompt", "filled"),
    [
        ("cat AND dog", "new, cat, hat AND new, dog, tie"),
        ("cat BREAK dog", "new, cat, hat BREAK new, dog, tie"),
        ("cat\nBREAK\ndog\n", "new, cat, hat\nBREAK\nnew, dog, tie\n"),
        ("cat :1.2 AND dog :0.8", "new, cat, hat :1.2 AND new, dog, tie :0.8"),
        ("cat:1.2 AND dog", "new, cat, hat:1.2 AND new, dog, tie"),
        ("BREAK cat BREAK dog", "BREAK new, cat, hat BREAK new, dog, tie"),
        ("cat BREAK <lora:x:1> BREAK dog", "new, cat, hat BREAK <lora:x:1> BREAK new, dog, tie"),
        ("cat, BREAK dog,", "new, cat, hat BREAK new, dog, tie"),
        ("cat ADDCOL dog", "new, cat, hat ADDCOL new, dog, tie"),
        ("cat[SEP]dog", "new, cat, hat [SEP] new, dog, tie"),
        ("cat BREAK(dog)", "new, cat, hat BREAK new, (dog), tie"),
        ("cat # a note\nBREAK dog", "new, cat # a note\n, hat\nBREAK new, dog, tie"),
    ],
)
def test_dividers_and_weights_stay_between_the_segments(prompt: str, filled: str) -> None:
    done = result(
        prompt, wrote("masterpiece", "hat"), wrote("masterpiece", "tie"), format="<|quality|>, <|prompt|>, <|general|>"
    )
    assert done.prompt.replace("masterpiece", "new") == filled


@pytest.mark.parametrize("prompt", ["cat AND dog", "cat AND dog:1.2", "cat BREAK dog AND fox", "cat AND dog AND fox"])
def test_a_face_at_the_end_of_a_part_is_not_its_weight(prompt: str) -> None:
    subjects = len(parse(prompt).segments)
    done = result(prompt, *[wrote(":3")] * subjects, format="tags")
    weights = [segment.tail < segment.end for segment in parse(done.prompt).segments]
    assert weights == [segment.tail < segment.end for segment in parse(prompt).segments]


@pytest.mark.parametrize("layout", KEPT)
@pytest.mark.parametrize(
    "prompt",
    [
        "1girl, (fox ears:1.2) BREAK  scenery ,", "a AND b :1.2", "  a, b\n", "BREAK a", "a BREAK",
        "[a|b] BREAK {c|d}, e",
        "(a BREAK b:1.2), c", "a # b BREAK c\nBREAK d", "<lora:x:1> BREAK a", "A girl stands there. BREAK fox",
        "a,, b BREAK (c", "a [SEP] b", "hat ADDBASE cat ADDCOMM dog ADDROW fox", "\\(a\\) BREAK :( AND c",
    ],
)  # fmt: skip
def test_every_byte_of_the_user_is_there_in_order(layout: str, prompt: str) -> None:
    subjects = len(parse(prompt).segments)
    done = result(prompt, *[wrote("hat", "masterpiece", long="It is.")] * subjects, format=layout)
    assert users(done) == prompt


@given(
    st.lists(
        st.sampled_from(["cat", "(hat:1.2)", ", ", " ", "BREAK", " AND ", ":1.2", "\n", "[", "]", "(", "#"]),
        max_size=14,
    )
)
def test_a_layout_put_together_again_is_the_prompt(parts: list[str]) -> None:
    source = "".join(parts)
    layout = PromptLayout(parse(source))
    pieces = layout.join([[Piece(core, By.USER)] if core else [] for core in layout.cores], keeps_prompt=True)
    assert "".join(piece.text for piece in pieces if piece.by is By.USER) == source


def test_the_description_goes_to_the_first_segment_alone() -> None:
    done = result("cat BREAK dog", wrote("hat", long="It sits."), wrote("tie", long="It runs."),
                  format="tags_then_text",
                  text="A cat.", text_length="short")  # fmt: skip
    assert done.prompt == "cat, hat,\n\nA cat. It sits. BREAK dog, tie,\n\nIt runs."


@pytest.mark.parametrize("layout", ["<|special|>, <|general|>", "tags", "<|prompt|>"])
def test_a_description_without_a_place_is_told(layout: str) -> None:
    assert any(
        "no place for your description" in note for note in result("fox", wrote(), format=layout, text="A fox.").notes
    )


def test_a_bracket_over_a_divider_is_told() -> None:
    done = result("(cat BREAK dog:1.2)", wrote("hat"), wrote("tie"), format="tags")
    assert done.notes == (
        "your prompt leaves a bracket open: what this format adds before a divider gets its weight (append does not)",
    )


# Text alone.


@pytest.mark.parametrize(
    "prompt", ["1girl, hat", "(hat:1.2), <lora:x:1>", "A fox sits. BREAK hat", "fox AND hat :1.2", ""]
)
@pytest.mark.parametrize("layout", ["text", "<|extended|>", "sorted", "tags", "append"])
def test_the_source_is_the_prompt_as_given(layout: str, prompt: str) -> None:
    subjects = len(parse(prompt).segments)
    assert result(prompt, *[wrote("tie", long="It is.")] * subjects, format=layout, text="A day.").source == prompt


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("A fox sits in the snow.", "A fox sits in the snow. It runs."),
        ("1girl, A fox sits in the snow.", "A fox sits in the snow. It runs."),
        ("1girl, hat", "It runs."),
        ("A fox sits in the (deep:1.2) snow.", "A fox sits in the (deep:1.2) snow. It runs."),
    ],
)
def test_text_alone_keeps_the_sentences_of_the_prompt(prompt: str, text: str) -> None:
    assert result(prompt, wrote("tie", long="It runs."), format="text", text_length="short").prompt == text


@pytest.mark.parametrize("layout", ["<|quality|>, <|extended|>", "<|rating|>", "<|meta|>\n<|generated|>"])
def test_no_tags_come_without_the_users_own(layout: str) -> None:
    assert "fox, " in result("fox", wrote("masterpiece", "safe", "highres"), format=layout).prompt


@pytest.mark.parametrize("prompt", ["BREAK cat", "<lora:x:1> BREAK cat", "cat BREAK", "cat BREAK BREAK"])
def test_text_alone_has_no_divider_at_its_ends(prompt: str) -> None:
    assert result(prompt, wrote("hat", long="A cat."), format="text", text_length="short").prompt == "A cat."


def test_a_segment_without_text_is_left_out_with_its_divider() -> None:
    done = result("cat BREAK dog BREAK owl", wrote(long="A cat."), wrote(), wrote(long="An owl."), format="text")
    assert done.prompt == "A cat. BREAK An owl."


@pytest.mark.parametrize(
    ("prompt", "filled"),
    [
        ("A fox sits in the snow.", "A fox sits in the snow. hat"),
        ("1girl, A fox sits in the snow.", "1girl, A fox sits in the snow. hat"),
        ("A fox sits in the snow", "A fox sits in the snow, hat"),
        ("mr. fox.", "mr. fox., hat"),
    ],
)
@pytest.mark.parametrize("added", ["hat", "2girls"])  # in a slot of its own, and in the one that the prompt is in
def test_no_comma_follows_a_sentence(prompt: str, filled: str, added: str) -> None:
    assert result(prompt, wrote(added), format="tags").prompt == filled.replace("hat", added)


# Sorted.


@pytest.mark.parametrize(
    ("prompt", "result_"),
    [
        ("masterpiece, hat, hatsune miku, 1girl", "1girl, hatsune miku, hat, tie, masterpiece"),
        ("vocaloid, artist:somebody, hatsune miku", "hatsune miku, vocaloid, artist:somebody, tie"),
        ("safe, highres, best quality, hat", "hat, tie, best quality, highres, safe"),
        ("hat, (1girl:1.2), 2boys", "2boys, hat, (1girl:1.2), tie"),
        ("(best quality:1.2), hat, 1girl", "(best quality:1.2), 1girl, hat, tie"),
        ("hat, <lora:x:1>, my_char_v2, 1girl", "1girl, hat, <lora:x:1>, my_char_v2, tie"),
        ("<lora:x:1> masterpiece, 1girl", "<lora:x:1> masterpiece, 1girl, tie"),
        ("masterpiece, [a:b:0.5], 1girl", "1girl, tie, masterpiece, [a:b:0.5]"),
        ("masterpiece, {a|b}, __x__, [c|d], 1girl", "1girl, tie, masterpiece, {a|b}, __x__, [c|d]"),
        ("hat, A fox sits in the snow. 1girl", "hat, A fox sits in the snow. 1girl, tie"),
        ("hat\n1girl,\n\nmasterpiece", "1girl, hat, tie, masterpiece"),
        ("Hat ,1Girl,, MASTERPIECE", "1Girl, Hat, tie, MASTERPIECE"),
        ("hat, hat, 1girl, hat", "1girl, hat, hat, hat, tie"),
        ("saber \\(fate\\), 1girl", "1girl, saber \\(fate\\), tie"),
        ("very (long:1.3) hair, 1girl", "very (long:1.3) hair, 1girl, tie"),
        ("1girl, my_char_v2, hatsune miku", "1girl, my_char_v2, hatsune miku, tie"),
        ("hat, A fox sits in the snow.\nscarf", "hat, A fox sits in the snow. scarf, tie"),
        ("", "tie"),
        ("1girl", "1girl, tie"),
        ("a (b, 1girl", "a (b, 1girl, tie"),
        ("hat # a note, 1girl\nfox, 1boy", "hat # a note, 1girl\nfox, 1boy, tie"),
        ("masterpiece, 1girl BREAK safe, 1boy", "1girl, tie, masterpiece BREAK 1boy, tie, safe"),
        ("masterpiece, 1girl :1.2 AND 1boy", "1girl, tie, masterpiece :1.2 AND 1boy, tie"),
    ],
)
def test_tags_are_sorted_by_kind_and_syntax_stays_behind_its_tag(prompt: str, result_: str) -> None:
    subjects = len(parse(prompt).segments)
    assert result(prompt, *[wrote("tie")] * subjects, format="sorted").prompt == result_


def test_the_models_tags_come_behind_the_users_of_the_same_kind() -> None:
    done = result(
        "hat, 1girl", wrote("1boy", "masterpiece", "scarf", long="It is."), format="sorted", text_length="short"
    )
    assert done.prompt == "1girl, 1boy, hat, scarf, masterpiece, It is."


def test_what_is_required_and_has_no_kind_comes_with_the_content() -> None:
    done = result("masterpiece, 1girl", wrote("tie"), format="sorted", require="__x__, <lora:x:1>")
    assert done.prompt == "1girl, tie, __x__, <lora:x:1>, masterpiece"


def test_a_protected_tag_stays_where_it_is() -> None:
    assert result("hat, 1girl, fox", wrote(), format="sorted", protect="1girl").prompt == "hat, 1girl, fox"


@pytest.mark.parametrize("prompt", ["a (b, 1girl", "hat # note", "{a, 1girl", "<lora:x, 1girl", "[hat, 1girl"])
def test_a_prompt_that_stays_in_one_piece_is_told(prompt: str) -> None:
    assert any("in one piece" in note for note in result(prompt, wrote("tie"), format="sorted").notes)


ITEMS = ("1girl", "hat", "(hat:1.2)", "masterpiece", "safe", "hatsune miku", "<lora:x:1>", "[a:b:0.5]", "{a|b}",
         "__x__",
         "very (long:1.3) hair", "((scarf))", "[dim]", "A fox sits there.", "saber \\(fate\\)", "my_char_v2", ":d",
         "fox:1.2",
         "(1boy, coat:0.9)", "highres")  # fmt: skip
JOINS = (", ", ",", "\n", ",\n", " BREAK ", " AND ", ",, ")
prompts = st.lists(st.tuples(st.sampled_from(ITEMS), st.sampled_from(JOINS)), max_size=9).map(
    lambda pairs: "".join(item + join for item, join in pairs)
)


def sorted_result(prompt: str) -> Expansion:
    subjects = len(parse(prompt).segments)
    return result(prompt, *[wrote("tie", "2girls", ":3", "best quality")] * subjects, format="sorted")


@given(prompts)
def test_sorting_loses_and_doubles_nothing(prompt: str) -> None:
    def signs(text: str) -> Counter[str]:
        return Counter("".join(text.split()).replace(",", ""))

    assert signs(users(sorted_result(prompt))) == signs(prompt)


@given(prompts)
def test_sorting_changes_no_weight(prompt: str) -> None:
    def weights(text: str) -> Counter[tuple[str, float]]:
        pairs = ((part.strip(), round(weight, 6)) for words, weight in attention(text) for part in words.split(","))
        return Counter((part, weight) for part, weight in pairs if weight != 1 and part)

    assert weights(sorted_result(prompt).prompt) == weights(prompt)


@given(prompts)
def test_sorting_keeps_the_segments_and_their_weights(prompt: str) -> None:
    def tails(text: str) -> list[str]:
        return [text[segment.tail : segment.end].strip() for segment in parse(text).segments]

    assert tails(sorted_result(prompt).prompt) == tails(prompt)


def test_a_long_prompt_is_sorted_in_no_time() -> None:
    prompt = "hat, (a:1.2), 1girl BREAK " * 20_000
    parsed = parse(prompt)
    begin = process_time()
    sort_prompt(parsed, hidden=lambda tag: False)
    assert process_time() - begin < 10
