"""The subjects shown to the model: what the user meant, once, without syntax; hidden parts stay hidden."""
from __future__ import annotations

import pytest

from kgen_ext.prompt import VisibleSubject, parse, subjects


def tags(source: str) -> tuple[str, ...]:
    (only,) = subjects(parse(source))
    return only.tags


def text(source: str) -> str:
    (only,) = subjects(parse(source))
    return only.text


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("(smile:1.3), 1girl, (smile:0.8)", ("smile", "1girl", "smile")),
        ("(looking_at_viewer:1.2)", ("looking_at_viewer",)),
        ("very (long:1.3) hair", ("very long hair",)),
        ("((masterpiece, best quality:1.2)), [blurry]", ("masterpiece", "best quality", "blurry")),
        ("name \\(series\\), a\\\\b", ("name (series)", "a\\b")),
        ("1girl,\nsolo\nhat", ("1girl", "solo", "hat")),
        ("猫、犬，1girl", ("猫", "犬", "1girl")),
        (":d, ^_^, >:(, (o)_(o), :), ;), :3, =3, @_@", (":d", "^_^", ">:(", "(o)_(o)", ":)", ";)", ":3", "=3", "@_@")),
        (">:( =)", (">:( =)",)),
        ("  , , ", ()),
        ("{{masterpiece}}, {cat}", ("masterpiece", "cat")),
    ],
)
def test_tags_are_seen_without_syntax(source: str, seen: tuple[str, ...]) -> None:
    assert tags(source) == seen


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("[red hair:blue hair:0.5]", ("red hair",)),
        ("[red hair:blue hair:0.3]", ("blue hair",)),
        ("[red hair:blue hair:15]", ("red hair",)),
        ("[hat:0.9], [scarf::0.1]", ("hat", "scarf")),
        ("[cat|dog], [|fox]", ("cat", "fox")),
        ("very [long:short:0.2] hair", ("very short hair",)),
        ("[[a:b:0.9]:c:0.8]", ("a",)),
        ("[(red:1.2), x|y] hair", ("red", "x hair")),
    ],
)
def test_one_branch_of_an_edit_is_seen_mistake_9(source: str, seen: tuple[str, ...]) -> None:
    assert tags(source) == seen


@pytest.mark.parametrize(
    "hidden",
    ["<lora:style:0.8>", "<hypernet:x:1>", "# red hair", "my_char_v2", "ohwx_person01", "char_v1.5", "__hat__",
     "{red|blue} dress", "{2$$red|blue}", "{2$$red}", "${colour}", "[PROMPT]", "a __color__ hat"],
)
def test_what_the_model_cannot_read_is_hidden(hidden: str) -> None:
    assert tags(f"1girl, {hidden}\n, fox") == ("1girl", "fox")


@pytest.mark.parametrize(
    "ordinary",
    ["long_hair", "6+girls", "score_9", "score_8_up", "1girl", "persona_5",
     "hatsune_miku_(cosplay)", "0_0", "comiket_102"],
)
def test_ordinary_tags_are_no_trigger_words(ordinary: str) -> None:
    assert tags(ordinary) == (ordinary,)


def test_a_network_inside_a_tag_leaves_it_whole() -> None:
    assert tags("long <lora:a:1>hair") == ("long hair",)


def test_protected_tags_are_hidden() -> None:
    (subject,) = subjects(parse("1girl, (secret word:1.2), fox"), [lambda tag: tag == "secret word"])
    assert subject.tags == ("1girl", "fox")


def test_each_segment_is_a_subject_mistake_9() -> None:
    seen = subjects(parse("BREAK cat (x:1.1) AND a dog is in the park. :1.2 [SEP] fox ADDCOL hat"))
    assert seen == (
        VisibleSubject(), VisibleSubject(("cat x",)), VisibleSubject((), "a dog is in the park."),
        VisibleSubject(("fox",)), VisibleSubject(("hat",)),
    )


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("1girl, a photo of a dog on a beach, sunset", "a photo of a dog on a beach"),
        ("1girl, A girl in a red hat, on a hill, looks up there.", "A girl in a red hat, on a hill, looks up there."),
        ("The girl is sitting near the window.", "The girl is sitting near the window."),
        ("a photo of my_char_v2 in the rain", "a photo of in the rain"),
        ("shot on an old camera with an f1.8 lens at dusk", "shot on an old camera with an f1.8 lens at dusk"),
        ("waiting for Max.", "waiting for Max."),
        ("A cat sits on the mat. It sleeps.\n1girl", "A cat sits on the mat. It sleeps."),
    ],
)
def test_sentences_are_text(source: str, seen: str) -> None:
    assert text(source) == seen


@pytest.mark.parametrize(("parts", "one"), [(12, True), (13, False)])
def test_commas_cut_a_sentence_into_twelve_parts_at_most(parts: int, one: bool) -> None:
    source = ", ".join(["A girl in a red hat", *["on a hill"] * (parts - 2), "looks up there."])
    assert (text(source) == source) is one


@pytest.mark.parametrize(
    "tag",
    ["looking at viewer", "hand on own hip", "holding a sword", "f1.8 lens", "5.30 p.m.", "the legend of zelda",
     "arms behind back", "short hair with long locks", "who is this?", "happy birthday to you!", "bocchi the rock!",
     "walk at 5.30 p.m.", "lesson by the Prof.", "flag of the U.S.", "tale by J.R.R.", "waiting for you...",
     "hats of Jr.", "the legend of zelda: breath of the wild", "hello, world"],
)
def test_tags_of_several_words_are_no_sentences(tag: str) -> None:
    assert text(f"1girl, {tag}, hat, sky, tree") == ""


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("1.2::smile::, -1::hat::, 1girl", ("smile", "1girl")),
        ("1.2::smile, blush:: fox", ("smile", "blush", "fox")),
        (".5::smile::0.8::hat::", ("smile", "hat")),
        ("1.2::(smile:1.3)::, cat", ("smile", "cat")),
        ("otter ::2 throne :: sea", ("otter", "throne", "sea")),
        ("fox, sea --ar 16:9 --test", ("fox", "sea")),
        ("a::b, [cat::0.5], 2001: x", ("a::b", "cat", "2001: x")),
        ("[0::5], fox", ("0", "fox")),
        ("（smile:1.2）, （blush：1.2）, (hat：1.2)", ("smile", "blush", "hat")),
        ("（smile, blush：1.2） hat", ("smile", "blush", "hat")),
        ("【smile】, ［［hat］］", ("smile", "hat")),
        ("初音（コスプレ）", ("初音（コスプレ）",)),
        ("smile:1.2, hat : 1.3, blush:1", ("smile", "hat", "blush")),
        ("((depth of field)):1.8", ("depth of field",)),
        ("16:9, :3, x :3, re:zero", ("16:9", ":3", "x :3", "re:zero")),
        ("(masterpiece, best quality:1.2) 1girl", ("masterpiece", "best quality", "1girl")),
        ("1girl smiling (ribbon, hat), fox", ("1girl smiling", "ribbon", "hat", "fox")),
        ("1girl; blue eyes; holding a red umbrella", ("1girl", "blue eyes", "holding a red umbrella")),
        ("1girl. blue eyes. red hat", ("1girl", "blue eyes", "red hat")),
        ("dr. slump, mr. fox, smile ;d", ("dr. slump", "mr. fox", "smile ;d")),
    ],
)  # fmt: skip
def test_syntax_of_other_programs_and_typing_mistakes_are_read_as_what_they_say(
    source: str, seen: tuple[str, ...]
) -> None:
    assert tags(source) == seen


@pytest.mark.parametrize("source", ["-1::hat::", "-0.5::hat, fox::", "(hat:-1), (fox:0)", "0::hat", "[(hat:-.5)]"])
def test_what_has_no_weight_is_hidden(source: str) -> None:
    assert tags(f"1girl, {source}") == ("1girl",)


def test_a_negative_weight_ends_where_it_is_closed() -> None:
    (subject,) = subjects(parse("-1::hat, fox::, 1girl, (sea:-1)"))
    assert (subject.tags, subject.unwanted) == (("1girl",), ("hat", "fox", "sea"))


@pytest.mark.parametrize(
    ("source", "seen", "listed"),
    [
        ("a (red:1.3) fox in the ((snow))", "a red fox in the snow", ()),
        ("a red:1.3 fox in the snow:1.2", "a red fox in the snow", ()),
        ("a girl smiling in the sun (red ribbon, hat)", "a girl smiling in the sun, red ribbon, hat",
         ("red ribbon", "hat")),
        ("a girl with a (red ribbon, hat:1.2) in the snow", "a girl with a red ribbon, hat in the snow",
         ("red ribbon", "hat")),
        ("a girl in the sun（red ribbon, hat）", "a girl in the sun, red ribbon, hat", ("red ribbon", "hat")),
        ("a girl (red ribbon) in the rain", "a girl red ribbon in the rain", ("red ribbon",)),
        ("1.2::a girl in the rain::", "a girl in the rain", ()),
        ("{{a girl in the rain}}", "a girl in the rain", ()),
    ],
)  # fmt: skip
def test_brackets_in_a_sentence_are_a_part_of_it_and_their_tags_are_given(
    source: str, seen: str, listed: tuple[str, ...]
) -> None:
    assert subjects(parse(source)) == (VisibleSubject(listed, seen),)


@pytest.mark.parametrize("source", ["a girl in the sun (red ribbon, hat)", "a fox in the (snow:1.2)", "a fox on (ice)"])
def test_the_span_of_a_sentence_holds_the_brackets_that_open_in_it(source: str) -> None:
    (item,) = parse(f"{source} , 1girl").segments[0].items[:1]
    assert (item.start, item.end) == (0, len(source))


def test_a_sentence_without_a_stop_is_set_off_from_the_next() -> None:
    assert text("a fox in the snow, 1girl, a cat on a roof.") == "a fox in the snow, a cat on a roof."


def test_a_stop_behind_a_list_of_tags_makes_no_sentence_of_them() -> None:
    assert tags("portrait of a woman in red, 1girl, long hair, looking at viewer.")[:2] == ("1girl", "long hair")


def test_numbers_in_text_stay_whole_mistake_7() -> None:
    source = "A portrait of a woman with an f1.8 lens at 5.30 p.m. near Mr. Smith, <lora:x:0.8> taken in Rome."
    assert text(source) == "A portrait of a woman with an f1.8 lens at 5.30 p.m. near Mr. Smith, taken in Rome."
