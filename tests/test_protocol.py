"""Request texts: equal to the author's byte for byte, and prefixes of training texts whatever is requested."""
from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_engine import ScriptedEngine, build_vocab

from kgen_ext.errors import BadValue
from kgen_ext.protocol import Plan, Subject, TagField, TextField, dtg, request_text, tipo
from kgen_ext.protocol.plan import DTG_TAGS, TIPO_LONG_TEXT, TIPO_TAGS, MetaField, aspect_ratio, plain, trained_tag
from kgen_ext.request import Category, TagLength, Task, TextLength

GOLDEN = json.loads((Path(__file__).parent / "golden" / "tipo_requests.json").read_text("utf-8"))
TASKS = [task for task in Task if task is not Task.AUTO]
META = ("rating", "quality", "meta", "artist", "copyrights", "characters", "aspect ratio")


def is_training_prefix(text: str) -> bool:
    """Tell whether a TIPO training text can begin so: the grammar of the format, written from its description.

    No tag or sentence is cut; a training text goes on behind every one.
    """
    lines = text.split("\n")
    at = 0
    seen = set[str]()
    while at < len(lines) and not lines[at].startswith("target:"):
        key, found, value = lines[at].partition(": ")
        if not found or key not in META or key in seen or not value or value != value.strip():
            return False
        if key == "aspect ratio" and not re.fullmatch(r"\d+\.\d", value):
            return False
        seen.add(key)
        at += 1
    if at == len(lines):
        return False
    words = lines[at].removeprefix("target:").split(" ")[1:]
    gen_meta = words[-1:] == ["<|gen_meta|>"]
    words = words[:-1] if gen_meta else words
    task = "tag"
    if words and words[-1][2:-2] in {known.value for known in TASKS if known is not Task.TAG}:
        task = words.pop()[2:-2]
    lengths = [f"<|{length.value}|>" for length in TIPO_TAGS]
    if words not in ([[]] if task == "short_to_long" else [[length] for length in lengths]):
        return False
    order = task.split("_to_")
    body = lines[at + 1 :]
    for name, line in zip(order, body, strict=False):
        if line == "":
            return line is body[-1]  # the next header is still to come
        if not line.startswith(f"{name}:") or line != line.rstrip() or line[len(name) + 1 :][:1] not in ("", " "):
            return False
        if name == "tag" and any(not tag or tag != tag.strip() for tag in line[5:].split(", ") if line[5:]):
            return False
    return len(body) <= len(order) + 1 and not text.endswith((" ", ","))


def everything(plan: Plan) -> str:
    """Return the request and all headers, as if the model wrote nothing else."""
    return plan.request + "".join(field.header for field in plan.fields if not isinstance(field, MetaField))


@pytest.mark.parametrize("number", range(len(GOLDEN)))
def test_the_author_s_own_requests_come_out_byte_for_byte(number: int) -> None:
    case = {**GOLDEN[number]}
    expected = case.pop("expected")
    assert request_text(**case) == expected


def test_there_are_160_golden_requests_over_every_task_and_length() -> None:
    assert len(GOLDEN) == 160
    assert {case["length"] for case in GOLDEN} == {length.value for length in TIPO_TAGS}


def test_the_checker_of_the_grammar_takes_the_golden_requests_and_refuses_the_reference_s_mistakes() -> None:
    assert all(is_training_prefix(case["expected"].rstrip(" ")) for case in GOLDEN)
    good = "aspect ratio: 1.0\ntarget: <|long|> <|tag_to_long|>\ntag: 1girl"
    assert is_training_prefix(good)
    for wrong in ("aspect_ratio: 1.0\n" + good, good + " ", good + ",", good.replace("tag_to_long", "tag_to_short"),
                  good.replace("<|long|> ", ""), good.replace("tag:", "tags:"), good.replace("target", "goal"),
                  "artist: \n" + good):  # fmt: skip
        assert not is_training_prefix(wrong)


@pytest.mark.parametrize(("field", "value"), [("task", "tag_to_short"), ("task", "auto"), ("length", "huge")])
def test_an_unknown_task_or_length_lists_the_valid_ones(field: str, value: str) -> None:
    case = {"tags": "", "meta": {}, "task": "tag", "length": "long", "text": ""} | {field: value}
    with pytest.raises(BadValue, match="long"):
        request_text(**case)  # type: ignore[arg-type]


SUBJECT = Subject(tags=("1girl", "hat"), text="A girl stands.", width=832, height=1216)


def planned(subject: Subject, task: Task, **options: object) -> Plan:
    return tipo.plan(subject, **{  # type: ignore[arg-type]
        "task": task, "tag_length": TagLength.LONG, "text_length": TextLength.SHORT, **options
    })  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("tags", [(), ("1girl", "hat")])
@pytest.mark.parametrize("text", ["", "A girl stands."])
def test_a_plan_writes_what_is_not_given_in_the_order_the_task_names(
    task: Task, tags: tuple[str, ...], text: str
) -> None:
    plan = planned(Subject(tags=tags, text=text), task)
    names = task.value.split("_to_")
    given_first = bool(text) and names[0] != "tag"
    assert [field.name for field in plan.fields if not isinstance(field, MetaField)] == names[given_first:]
    assert is_training_prefix(plan.request)
    assert is_training_prefix(everything(plan))
    # The header of the first field to be written is part of the request: which one comes is known.
    assert plan.request.split("\n")[-1].startswith(f"{names[given_first]}:")
    for field in plan.fields:
        if isinstance(field, TagField):
            assert (field.given, field.fresh) == (len(tags), not tags)
            assert ("1girl, hat" in everything(plan)) == bool(tags)
    shown = "A girl stands." in plan.request
    assert shown == given_first


@pytest.mark.parametrize(
    ("tags", "text", "task", "request_end", "header"),
    [
        (("1girl", "hat"), "", Task.AUTO, "target: <|very_short|> <|tag_to_long|>\ntag: 1girl, hat\nlong:", ""),
        (("1girl", "hat"), "A girl.", Task.AUTO,
         "target: <|very_short|> <|short_to_tag_to_long|>\nshort: A girl.\ntag: 1girl, hat\nlong:", ""),
        ((), "A girl.", Task.AUTO, "target: <|short_to_long|>\nshort: A girl.\nlong:", ""),
        (("1girl",), "", Task.SHORT_TO_TAG_TO_LONG, "<|short_to_tag_to_long|>\nshort:", "\ntag: 1girl\nlong:"),
        (("1girl",), "", Task.LONG_TO_TAG, "<|long_to_tag|>\nlong:", ""),
    ],
)  # fmt: skip
def test_without_tags_to_write_the_given_list_stands_finished_where_training_had_it(
    tags: tuple[str, ...], text: str, task: Task, request_end: str, header: str
) -> None:
    plan = planned(Subject(tags=tags, text=text), task, write_tags=False, gen_meta=(Category.QUALITY,))
    assert plan.request.endswith(request_end)
    assert plan.fields[-1].header == header  # type: ignore[union-attr]
    assert all(isinstance(field, TextField) for field in plan.fields)
    assert is_training_prefix(everything(plan))


def test_the_finished_list_has_the_trained_name_of_its_size() -> None:
    many = Subject(tags=tuple(f"t{number}" for number in range(40)))
    assert "<|long|> <|tag_to_long|>" in planned(many, Task.AUTO, write_tags=False).request


def test_a_task_that_only_writes_tags_is_refused_when_none_may_be_written() -> None:
    with pytest.raises(BadValue, match="a task that writes text"):
        planned(Subject(tags=("1girl",)), Task.TAG, write_tags=False)


@pytest.mark.parametrize(
    ("subject", "wants_text", "task"),
    [
        (Subject(), False, Task.TAG),
        (Subject(), True, Task.TAG_TO_LONG),
        (Subject(tags=("1girl",)), False, Task.TAG),
        (Subject(tags=("1girl",)), True, Task.TAG_TO_LONG),
        (Subject(text="A girl."), False, Task.SHORT_TO_TAG),
        (Subject(text="A girl. " * 8), False, Task.LONG_TO_TAG),
        (Subject(text="A girl."), True, Task.SHORT_TO_TAG_TO_LONG),
        (SUBJECT, True, Task.SHORT_TO_TAG_TO_LONG),
    ],
)
def test_mistake_3_one_trained_task_writes_tags_and_text_in_one_decode(
    subject: Subject, wants_text: bool, task: Task
) -> None:
    """protocol.md, mistake 3: two or more model calls for one prompt."""
    length = TextLength.SHORT if wants_text else TextLength.NONE
    assert planned(subject, Task.AUTO, text_length=length) == planned(subject, task, text_length=length)


def test_mistake_1_the_key_is_aspect_ratio_with_a_space_and_the_size_is_the_user_s() -> None:
    """protocol.md, mistake 1: `aspect_ratio: 1.0`, whatever the size."""
    assert planned(SUBJECT, Task.TAG).request.startswith("aspect ratio: 0.7\n")
    assert [aspect_ratio(*size) for size in ((1024, 1024), (512, 768), (1216, 832))] == ["1.0", "0.7", "1.5"]


def test_mistake_2_only_the_first_quality_tag_is_shown() -> None:
    """protocol.md, mistake 2: all quality tags joined."""
    subject = Subject(meta=((Category.QUALITY, ("masterpiece", "best quality")), (Category.ARTIST, ("a", "b"))))
    request = planned(subject, Task.TAG).request
    assert "quality: masterpiece\n" in request
    assert "best quality" not in request
    assert "artist: a, b\n" in request


def test_mistake_5_tags_are_cut_at_the_tags_limit_never_at_that_of_sentences() -> None:
    """protocol.md, mistake 5: 8 tags in place of 54 at `long`."""
    tag, text = planned(Subject(), Task.TAG_TO_LONG, text_length=TextLength.LONG).fields
    assert isinstance(tag, TagField) and isinstance(text, TextField)
    assert (tag.band.maximum, text.band.sentences.maximum) == (54, 8)


def test_bands_join_without_gaps_and_hold_their_paragraphs() -> None:
    for bands in (list(TIPO_TAGS.values()), list(DTG_TAGS.values())):
        assert [band.minimum for band in bands[1:]] == [band.maximum for band in bands[:-1]]
    for band in TIPO_LONG_TEXT.values():
        assert band.sentences.minimum <= band.sentences.maximum == band.paragraphs * band.per_paragraph


def test_gen_meta_asks_only_for_what_is_missing() -> None:
    subject = Subject(meta=((Category.ARTIST, ("wlop",)),))
    plan = planned(subject, Task.TAG, gen_meta=(Category.ARTIST, Category.CHARACTERS))
    assert plan.fields[-1] == MetaField((("characters", Category.CHARACTERS),))
    assert "target: <|long|> <|gen_meta|>\n" in plan.request
    plan = planned(subject, Task.TAG, gen_meta=(Category.ARTIST,))
    assert not any(isinstance(field, MetaField) for field in plan.fields)


tag_text = st.text(alphabet="abz _^:()<|>/sé1", min_size=1, max_size=12).map(str.strip).filter(bool)
subjects = st.builds(
    Subject,
    tags=st.lists(tag_text, max_size=5).map(tuple),
    shown=st.none() | st.integers(0, 5),
    meta=st.lists(st.sampled_from(list(tipo.META_KEYS)), unique=True, max_size=6).flatmap(
        lambda keys: st.tuples(*(st.tuples(st.just(key), st.lists(tag_text, max_size=3).map(tuple)) for key in keys))
    ),
    text=st.text(max_size=40) | st.sampled_from(["a\ntarget: <|long|>", "</s> a", "<<|s>|long|>"]),
    width=st.integers(16, 4096),
    height=st.integers(16, 4096),
)


@given(subjects, st.sampled_from(list(Task)), st.sampled_from(list(TagLength)), st.sampled_from(list(TextLength)),
       st.lists(st.sampled_from(list(tipo.META_KEYS)), unique=True))  # fmt: skip
def test_every_request_is_a_prefix_of_a_training_text(
    subject: Subject, task: Task, size: TagLength, words: TextLength, gen_meta: list[Category]
) -> None:
    plan = tipo.plan(subject, task=task, tag_length=size, text_length=words, gen_meta=gen_meta)
    assert is_training_prefix(plan.request), plan.request
    assert is_training_prefix(everything(plan)), everything(plan)
    assert not plan.request.endswith(" ")
    names = everything(plan).split("target:")[1].split("\n")[0].split()
    engine = ScriptedEngine(lambda tokens: None, vocab=build_vocab(()))  # type: ignore[arg-type, return-value]
    special = {index: name for name, index in engine.vocab.special.items()}
    found = [special[token] for token in engine.tokenize(everything(plan)) if token in special]
    assert found == names, "a special token of the user's own"


def test_dtg_requests_are_the_trained_text() -> None:
    subject = Subject(
        tags=("1girl", "solo", "smile"),
        meta=((Category.QUALITY, ("masterpiece",)), (Category.RATING, ("safe",)),
              (Category.CHARACTERS, ("hatsune miku",)), (Category.COPYRIGHTS, ("vocaloid",))),
        width=832, height=1216,
    )  # fmt: skip
    plan = dtg.plan(subject, tag_length=TagLength.LONG, quality_line=True)
    assert plan.request == (
        "quality: masterpiece\nrating: safe\nartist: <|empty|>\ncharacters: hatsune miku\ncopyrights: vocaloid\n"
        "aspect ratio: 0.7\ntarget: <|long|>\ngeneral: 1girl, solo, smile<|input_end|>"
    )
    assert plan.fields == (TagField("general", "", 3, DTG_TAGS[TagLength.LONG], fresh=True),)
    assert not dtg.plan(subject, tag_length=TagLength.LONG, quality_line=False).request.startswith("quality")


@given(subjects, st.sampled_from(list(DTG_TAGS)), st.booleans())
def test_dtg_requests_have_their_special_tokens_where_training_had_them(
    subject: Subject, size: TagLength, quality: bool
) -> None:
    lines = dtg.plan(subject, tag_length=size, quality_line=quality).request.split("\n")
    assert [line.split(":")[0] for line in lines] == [
        *(["quality"] if quality else []), "rating", "artist", "characters", "copyrights", "aspect ratio", "target",
        "general",
    ]  # fmt: skip
    assert lines[-2] == f"target: <|{size.value}|>"
    for line in lines[:-3]:
        value = line.split(": ", 1)[1]
        assert value == "<|empty|>" or (value and value == plain(value))
    assert lines[-1].startswith("general: ") and lines[-1].endswith("<|input_end|>")
    assert plain(lines[-1][9:-13]) == lines[-1][9:-13]


@pytest.mark.parametrize(
    ("tag", "spelled"), [("long_hair", "long hair"), ("^_^", "^_^"), (":d", ":d"), ("o_o", "o_o"), ("a_bc", "a bc")]
)
def test_tags_are_spelled_as_in_training(tag: str, spelled: str) -> None:
    assert trained_tag(tag) == spelled
