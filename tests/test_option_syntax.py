"""Options in the prompt's syntax: what a required or banned entry means, and pasted negative prompts as ban lists."""

from __future__ import annotations

from time import process_time

import pytest
from decoding_kit import NAMES, check, force, greedy
from hypothesis import given
from hypothesis import strategies as st
from scripted_engine import ScriptedEngine

from kgen_ext.cli import build_parser
from kgen_ext.cli.options import read_request_options
from kgen_ext.events import By, Expansion
from kgen_ext.prompt import attention
from kgen_ext.protocol import Protocol
from kgen_ext.request import ExpandRequest, split_list
from kgen_ext.rules.entries import read_entry, read_patterns
from kgen_ext.rules.known import TagFiles
from kgen_ext.rules.patterns import compile_patterns
from kgen_ext.service.expander import Expander
from kgen_ext.service.plan import ExpansionPlan, ModelContext, make_jobs, plan_expansion
from kgen_ext.webui.controls import read_named
from kgen_ext.webui.expanding import make_request
from kgen_ext.webui.job import follow


def expand(prompt: str, **options: object) -> Expansion:
    context = ModelContext(ScriptedEngine.random(7), Protocol.TIPO, False, 1024)
    expander = Expander(context, model="scripted", checksum="x", rows=2)
    request = ExpandRequest(prompt, **{"tag_length": "very_short", "min_p": 0.0, **options})  # type: ignore[arg-type]
    return expander.expand([request])[0]


def plan(prompt: str = "fox", **options: object) -> ExpansionPlan:
    return plan_expansion(ExpandRequest(prompt, **options), TagFiles())  # type: ignore[arg-type]


def banned(ban: str | tuple[str, ...], tag: str) -> bool:
    return plan(ban=ban).rules.bans.match(tag) is not None


# Splitting a list.


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("(a, b:1.2), c", ("(a, b:1.2)", "c")),
        ("[a, b], {c, d|e}", ("[a, b]", "{c, d|e}")),
        ("((a, b), (c, d:1.1)), e", ("((a, b), (c, d:1.1))", "e")),
        ("<lora:a, b:1>, c", ("<lora:a, b:1>", "c")),
        ("saber \\(fate, zero\\), c", ("saber \\(fate", "zero\\)", "c")),
        ("(a, b", ("(a", "b")),  # nothing closes it
        ("a), b", ("a)", "b")),
        (":(, hat, :)", (":(", "hat", ":)")),
        ("/a(,b/, c), d", ("/a(,b/", "c)", "d")),
        ("a; b\nc", ("a", "b", "c")),
        ("(a\nb), c", ("(a\nb)", "c")),
        ("(a [b) c], d", ("(a [b) c]", "d")),
    ],
)
def test_no_separator_inside_brackets_ends_an_item(text: str, parts: tuple[str, ...]) -> None:
    assert split_list("ban", text) == parts


def test_rules_are_split_line_by_line_whatever_their_brackets() -> None:
    assert split_list("rules", "if a ban (b\nif c ban d)") == ("if a ban (b", "if c ban d)")


def test_a_megabyte_of_brackets_is_split_in_no_time() -> None:
    begin = process_time()
    split_list("ban", "(<a:" * 100_000)
    split_list("ban", "(a,[b,{c" * 50_000 + "}])" * 50_000)
    assert process_time() - begin < 5


# Bans.

LINE = (
    "(worst quality, low quality:1.4), lowres, bad_anatomy, <lora:x:1>, BREAK, EasyNegative, ((blurry)), [text], "
    "Long Hair."
)


@pytest.mark.parametrize(
    "tag",
    [
        "worst quality",
        "low quality",
        "lowres",
        "bad anatomy",
        "easynegative",
        "blurry",
        "text",
        "long hair",
        "Long_Hair",
    ],
)
def test_a_negative_prompt_is_a_list_of_bans(tag: str) -> None:
    assert banned(LINE, tag)


@pytest.mark.parametrize("tag", ["x", "break", "lora", "quality", "hair", "1.4", "lora:x:1", "anatomy", "easy"])
def test_a_negative_prompt_bans_nothing_else(tag: str) -> None:
    assert not banned(LINE, tag)


@pytest.mark.parametrize(
    "ban",
    [
        "long hair", "long_hair", "Long Hair", "LONG_HAIR", "(long hair:1.2)", "((long hair))", "[long hair]",
        "(long_hair)", "(long hair", "very long hair, (long hair:0.8), hat", "long hair.", "(hat, (long hair:1.1):0.9)",
        "hat BREAK long hair", "(long (hair:1.2))", "long (hair:1.3)", "<lora:x:1> long hair", "{long hair}",
    ],
)  # fmt: skip
def test_a_tag_is_banned_however_it_is_written(ban: str) -> None:
    assert banned(ban, "long hair")


@pytest.mark.parametrize(
    ("ban", "tag"),
    [
        ("saber (fate)", "saber (fate)"), ("saber \\(fate\\)", "saber (fate)"), ("rem_(re:zero)", "rem (re:zero)"),
        ("(saber \\(fate\\):1.2)", "saber (fate)"), (":(", ":("), ("(^o^)/", "(^o^)/"), (">:(", ">:("),
        ("(o)_(o)", "(o) (o)"),
        ("* hair", "blue hair"), ("(* hair:1.2)", "blue hair"), ("*(cosplay)", "saber (cosplay)"),
        ("/blue.*/", "blue sky"), ("/(a|b), (c|d)/, hat", "hat"), ("category:special", "1girl"), ("hat?", "hats"),
        ("my_char_v2", "my char v2"),
    ],
)  # fmt: skip
def test_names_faces_and_patterns_keep_their_signs(ban: str, tag: str) -> None:
    assert banned(ban, tag)


@pytest.mark.parametrize(("ban", "tag"), [("saber (fate)", "saber"), ("*_(cosplay)", "saber"),
("(hat:1.2)", "hat (cosplay)"),
                                          ("__animal__", "animal"), ("# hat", "hat"),
                                          ("<lora:hat:1>", "hat")])  # fmt: skip
def test_what_an_entry_does_not_name_stays_allowed(ban: str, tag: str) -> None:
    assert not banned(ban, tag)


@pytest.mark.parametrize(
    "entry", ["(hat, long hair:1.2)", "hat, long hair", "the worst hands of all time in here, long hair."]
)
def test_a_list_of_strings_is_read_like_a_text(entry: str) -> None:
    assert banned((entry, "lowres"), "long hair")


def test_the_words_of_a_pasted_line_are_held_while_decoding() -> None:
    pieces = [f" {name}" for name in NAMES[:4]]
    script = [",", tuple(pieces[1:4]), "</s>"]
    ran = check(force(script, greedy(NAMES[0], ban=f"({NAMES[1]}, {NAMES[2]}:1.4), <lora:x:1>"), pieces=pieces))
    assert ran.tags == (NAMES[3],)


@pytest.mark.parametrize("protect", ["(fox:1.2)", "fox", "[fox], <lora:x:1>"])
def test_hidden_words_are_read_alike(protect: str) -> None:
    assert [tag.spelling for tag in plan("fox, hat", protect=protect).given[0]] == ["hat"]


@given(st.text(alphabet="ab ,()[]{}<>:|*?/\\_.#1", max_size=30))
def test_every_text_is_read(text: str) -> None:
    assert all(pattern.strip() or not text.strip() for pattern in read_patterns(split_list("require", text)))


def test_a_long_list_is_read_in_no_time() -> None:
    begin = process_time()
    read_entry("(a" * 20_000)
    read_entry("a (b) " * 20_000)
    read_entry("a (" + ":1" * 20_000)
    assert process_time() - begin < 5


# Required entries.

SYNTAX = ("(hat:1.2)", "<lora:ink:1>", "[a:b:0.5]", "__wild__", "my_char_v2", "((hat))", "[hat]", "[hat|coat]",
          "(hat, coat:1.2)", "very (long:1.3) scarf", "{hat|coat}", "<lyco:x:0.5>", "saber \\(fate\\)")  # fmt: skip


@pytest.mark.parametrize("layout", ["append", "tags", "sorted", "<|general|>"])
@pytest.mark.parametrize("entry", SYNTAX)
def test_syntax_goes_in_as_written(entry: str, layout: str) -> None:
    assert expand("fox", require=entry, format=layout).prompt.count(entry) == 1


@pytest.mark.parametrize("entry", SYNTAX)
def test_a_required_entry_is_given_as_written_among_the_added_tags(entry: str) -> None:
    assert entry in expand("fox", require=entry).added_tags


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        ("(hat:1.2)", ["hat"]), ("<lora:ink:1>", []), ("[a:b:0.5]", ["a"]), ("__wild__", []),
        ("(hat, coat:1.2)", ["hat", "coat"]),
        ("saber \\(fate\\)", ["saber (fate)"]), ("saber (fate)", ["saber (fate)"]), ("Blue_Hat", ["blue hat"]),
        ("my_char_v2", ["my char v2"]), ("very (long:1.3) scarf", ["very long scarf"]),
    ],
)  # fmt: skip
def test_its_bare_words_count_as_given(entry: str, names: list[str]) -> None:
    assert [tag.name for tag in plan(require=entry).required_tags] == names


@pytest.mark.parametrize("entry", ["(hat:1.2)", "[hat]", "Hat", "(coat, hat:1.1)", "((HAT))"])
def test_the_model_does_not_add_it_again(entry: str) -> None:
    ran = check(force([",", ("hat", "scarf"), "</s>"], greedy("smile", require=(entry,)), pieces=["scarf"]))
    assert ran.tags == ("scarf",)


def shown(**options: object) -> str:
    engine = ScriptedEngine.random(1)
    context = ModelContext(engine, Protocol.TIPO, False, 512)
    (job,), _ = make_jobs(plan(**options), context, row=0, seed=0)  # type: ignore[arg-type]
    assert job is not None
    return b"".join(engine.vocab.pieces[token] for token in job.request).decode()


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ("(hat:1.2)", "tag: fox, hat"), ("<lora:ink:1>", "tag: fox"), ("__wild__", "tag: fox"),
        ("my_char_v2", "tag: fox"),
        ("saber \\(fate\\)", "characters: saber (fate)\ntarget: \ntag: fox"), ("[a:b:0.5]", "tag: fox, a"),
        ("2girls", "tag: 2girls, fox"),
    ],
)  # fmt: skip
def test_the_model_sees_the_words_and_no_syntax(entry: str, line: str) -> None:
    assert shown(require=entry).endswith(line)


@pytest.mark.parametrize(
    ("prompt", "entry"),
    [
        ("hat", "(hat:1.2)"), ("(hat:1.2)", "hat"), ("<lora:ink:0.5>, fox", "<lora:ink:1>"), ("__wild__", "__wild__"),
        ("my_char_v2, fox", "my_char_v2"), ("hat, coat", "(hat, coat:1.2)"), ("fox, [a:b:0.5]", "[a:b:0.5]"),
        ("saber \\(fate\\)", "saber (fate)"),
    ],
)  # fmt: skip
def test_what_the_prompt_has_is_not_added_twice(prompt: str, entry: str) -> None:
    assert plan(prompt, require=entry).required == ()


@pytest.mark.parametrize("prompt", ["fox", "<lora:inkwell:1>, fox", "__wilder__", "my_char_v22, fox"])
@pytest.mark.parametrize("entry", ["<lora:ink:1>", "__wild__", "my_char_v2"])
def test_what_only_resembles_it_does_not_stand_in_for_it(prompt: str, entry: str) -> None:
    assert len(plan(prompt, require=entry).required) == 1


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("hat BREAK coat", "divides a prompt"),
        ("hat AND coat", "divides a prompt"),
        ("BREAK", "divides a prompt"),
        ("(hat", "leaves a bracket open"),
        ("[hat", "leaves a bracket open"),
        ("# hat", "holds a comment"),
    ],
)
def test_what_would_change_the_rest_of_the_prompt_is_told(entry: str, words: str) -> None:
    assert words in plan(require=entry).notes[0]


@pytest.mark.parametrize("entry", ["(hat:1.2)", "(coat, hat:1.2)", "[hat]", "Hat"])
def test_a_ban_wins_over_what_is_required(entry: str) -> None:
    assert "the ban holds" in plan(require=entry, ban="hat").notes[0]


@pytest.mark.parametrize(
    ("entry", "escaped"), [("saber (fate)", "saber \\(fate\\)"), (":(", ":\\("), ("rem (re:zero)", "rem \\(re:zero\\)")]
)
def test_a_name_with_brackets_is_made_literal(entry: str, escaped: str) -> None:
    assert f", {escaped}" in expand("fox", require=entry).prompt


def test_weights_of_what_is_required_hold_for_it_alone() -> None:
    done = expand("fox", require="(hat:1.3)")
    assert [(text, weight) for text, weight in attention(done.prompt) if weight != 1] == [("hat", 1.3)]


def test_the_users_pieces_are_the_prompt_alone() -> None:
    done = expand("fox, <lora:a:1>", require="(hat:1.3)")
    assert "".join(piece.text for piece in done.pieces if piece.by is By.USER) == "fox, <lora:a:1>"


def test_the_fields_have_its_words() -> None:
    assert "hat" in expand("fox", require="(hat:1.3)").fields.general


@pytest.mark.parametrize("entry", ["(hat:1.2)", "<lora:ink:1>", "[a:b:0.5]", "(hat, coat:1.2)", "saber (fate)"])
@pytest.mark.parametrize(("prompt", "hires"), [("fox", "owl"), ("fox BREAK cloud", "owl BREAK sky")])
def test_a_hires_prompt_gets_it_as_written_too(entry: str, prompt: str, hires: str) -> None:
    request = ExpandRequest(prompt, require=entry, tag_length="very_short", min_p=0.0)
    done = expand(prompt, require=entry)
    assert entry.replace("(fate)", "\\(fate\\)") in follow(request, done, hires)


def test_a_hires_prompt_gets_the_tags_that_a_format_leaves_out() -> None:
    options = {"format": "text", "text_length": "very_short"}
    request = ExpandRequest("fox BREAK cloud", tag_length="very_short", min_p=0.0, **options)  # type: ignore[arg-type]
    done = expand("fox BREAK cloud", **options)
    assert done.added_tags[0] in follow(request, done, "owl BREAK sky")


# The front ends.

PASTED = "(worst quality, low quality:1.4), hat"


def test_the_command_reads_a_pasted_line() -> None:
    given_ = build_parser().parse_args(["expand", "fox", "--ban", PASTED, "--require", "(a, b:1.2)"])
    assert read_request_options(given_) == {
        "ban": ("(worst quality, low quality:1.4)", "hat"),
        "require": ("(a, b:1.2)",),
    }


def test_the_page_reads_a_pasted_line() -> None:
    from kgen_ext.sampling import Sampling

    values = read_named({"ban": PASTED, "require": "(a, b:1.2)"})
    request = make_request(values, "fox", seed=1, width=512, height=512, sampling=Sampling(), tag_file="")
    assert (request.ban, request.require) == (("(worst quality, low quality:1.4)", "hat"), ("(a, b:1.2)",))


def test_the_page_leaves_the_length_to_the_model() -> None:
    from kgen_ext.sampling import Sampling

    request = make_request(read_named({}), "fox", seed=1, width=512, height=512, sampling=Sampling(), tag_file="")
    assert request.tag_length is None


@pytest.mark.parametrize("chosen", ["auto", "very_short", "short", "long", "very_long"])
def test_the_page_offers_every_length(chosen: str) -> None:
    assert read_named({"tag_length": chosen}).tag_length == chosen


def test_a_thousand_pasted_words_are_a_thousand_patterns() -> None:
    assert (
        len(compile_patterns(read_patterns(split_list("ban", ", ".join(f"({name}:1.1)" for name in NAMES * 10)))))
        == 1000
    )
