"""Segments without a subject of their own: what they see of the picture's other parts, and what they never get."""
from __future__ import annotations

from functools import cache
from hashlib import blake2b

import numpy as np
import pytest
from decoding_kit import make, run_all, spell
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scripted_engine import COMMON_PIECES, ScriptedEngine
from test_decoding_random import mad_engine
from test_service import expander, short

from kgen_ext.events import Expansion
from kgen_ext.protocol import Protocol, TagField
from kgen_ext.request import Category, ExpandRequest
from kgen_ext.rules.known import TagFiles
from kgen_ext.service import open_expander
from kgen_ext.service.expander import Expander
from kgen_ext.service.plan import ExpansionPlan, plan_expansion
from kgen_ext.service.segments import SegmentKind, is_people, read_elsewhere
from kgen_ext.tags.subjects import find_person, is_detail, names_creature, names_person
from kgen_ext.tags.tag import read_tag


def planned(prompt: str, **options: object) -> ExpansionPlan:
    return plan_expansion(ExpandRequest(prompt, **options), TagFiles())  # type: ignore[arg-type]


def context(prompt: str, segment: int = -1, **options: object) -> tuple[str, ...]:
    subject = planned(prompt, **options).subjects[segment]
    assert subject is not None
    return subject.context


@pytest.mark.parametrize("name", [
    "girl", "2 girls", "six girls", "old woman", "fisherman", "policewomen", "office lady", "girl in a red coat",
    "knight standing", "magical girl", "a young wizard", "schoolgirl", "solo", "crowd", "elves",
])  # fmt: skip
def test_a_person_is_told(name: str) -> None:
    assert names_person(name)


@pytest.mark.parametrize("name", [
    "fox ears", "maid headdress", "witch hat", "twin tails", "twintails", "princess carry", "demon horns", "man's hat",
    "talisman", "suit", "night", "shrine", "cat", "roman", "cowboy shot", "angel wings", "",
])  # fmt: skip
def test_what_belongs_to_a_person_is_none(name: str) -> None:
    assert not names_person(name)


@pytest.mark.parametrize(("name", "told"), [
    ("cat", True), ("black cat", True), ("dragons", True), ("wolves", True), ("robot", True), ("cat ears", False),
    ("fox tail", False), ("bird cage", False), ("dog collar", False), ("", False),
])  # fmt: skip
def test_a_creature_is_told_by_the_last_word(name: str, told: bool) -> None:
    assert names_creature(name) is told


@pytest.mark.parametrize(("segment", "kind"), [
    ("1girl, hat", SegmentKind.SUBJECT),
    ("hat, 2boys", SegmentKind.SUBJECT),
    ("hatsune miku", SegmentKind.SUBJECT),
    ("no humans, night", SegmentKind.SUBJECT),
    ("old man, pipe", SegmentKind.SUBJECT),
    ("A knight is standing on a hill.", SegmentKind.SUBJECT),
    ("black cat, sofa", SegmentKind.SUBJECT),
    ("male focus, suit", SegmentKind.SUBJECT),
    ("suit, necktie", SegmentKind.DETAILS),
    ("sitting, park bench", SegmentKind.DETAILS),
    ("red hair, forest", SegmentKind.DETAILS),
    ("rim lighting, lens flare", SegmentKind.DETAILS),
    ("masterpiece, from above", SegmentKind.DETAILS),
    ("shrine, night", SegmentKind.SURROUNDINGS),
    ("sky, clouds, birds", SegmentKind.SURROUNDINGS),
    ("best quality, snowy mountain", SegmentKind.SURROUNDINGS),
    ("The city is quiet at night.", SegmentKind.SURROUNDINGS),
    ("masterpiece, best quality", SegmentKind.QUALITY),
    ("highres, score_9", SegmentKind.QUALITY),
    ("<lora:x:1>", SegmentKind.EMPTY),
])  # fmt: skip
def test_what_a_segment_is_about(segment: str, kind: SegmentKind) -> None:
    assert read_elsewhere(segment)[0].kind is kind


@pytest.mark.parametrize(("prompt", "seen"), [
    ("1girl, fox ears BREAK sitting, bench", ("1girl", "fox ears")),
    ("1girl, fox ears AND sitting :0.8", ("1girl", "fox ears")),
    ("fox ears, 1girl AND_PERP sitting :0.8", ("1girl", "fox ears")),
    ("1girl, night BREAK 1boy, hat BREAK smiling", ("1girl", "1boy", "night", "hat")),
    ("1girl, fox ears, night BREAK shrine", ("night",)),
    ("1girl, fox ears BREAK shrine", ()),
    ("1girl, smile BREAK smile, hat", ("1girl",)),
    ("2girls, beach ADDCOMM red hair ADDCOL blue hair", ("2girls", "beach")),
    ("best quality ADDCOMM 1girl, red hair ADDCOL hat", ("1girl", "red hair")),
    ("1girl, red hair ADDCOL hat", ("1girl", "red hair")),
])  # fmt: skip
def test_a_segment_without_a_subject_is_shown_the_others(prompt: str, seen: tuple[str, ...]) -> None:
    assert context(prompt) == seen


@pytest.mark.parametrize("prompt", [
    "1girl, fox ears BREAK 1boy, suit", "1girl BREAK an old man", "1girl BREAK black cat, sofa",
    "1girl BREAK hatsune miku",
])  # fmt: skip
def test_a_segment_with_a_subject_of_its_own_sees_itself_only(prompt: str) -> None:
    assert context(prompt) == ()


@pytest.mark.parametrize("prompt", ["1girl BREAK my_char_v2, hat", "1girl BREAK __who__, hat", "1girl AND {a|b}, hat"])
def test_what_is_hidden_may_be_the_subject(prompt: str) -> None:
    assert planned(prompt).views[-1].refuses is None


@pytest.mark.parametrize("prompt", ["sitting, bench", "shrine BREAK night", "highres BREAK shrine", "", "BREAK suit"])
def test_where_nobody_is_named_every_segment_is_expanded_for_itself(prompt: str) -> None:
    plan = planned(prompt)
    assert not any(view.shown or view.had or view.refuses or view.left for view in plan.views)


@pytest.mark.parametrize("prompt", [
    "masterpiece, best quality BREAK 1boy, suit", "1boy, suit BREAK highres", "score_9 AND 1girl",
    "best quality ADDCOMM 1girl ADDCOL 1boy",
])  # fmt: skip
def test_quality_words_alone_are_left_as_they_are(prompt: str) -> None:
    plan = planned(prompt)
    assert [subject is None for subject in plan.subjects].count(True) == 1


def test_a_description_belongs_to_the_first_segment() -> None:
    assert planned("masterpiece BREAK 1girl", text="A dog is asleep.").subjects[0] is not None


def test_the_context_counts_as_had() -> None:
    assert {"1girl", "fox ears"} <= {tag.name for tag in planned("1girl, fox ears BREAK shrine").views[1].had}


@pytest.mark.parametrize("protocol", list(Protocol))
def test_the_context_does_not_count_towards_the_length(protocol: Protocol) -> None:
    engine = mad_engine(1, mood="tags", scale=1.0, n_ctx=420, echo=False)
    job = make(engine, ExpandRequest("1girl, fox ears, hat BREAK sitting, bench"), protocol=protocol)[1][1]
    assert [field.given for field in job.fields if isinstance(field, TagField)] == [2]


@pytest.mark.parametrize("protocol", list(Protocol))
def test_the_context_comes_before_the_segments_own_tags(protocol: Protocol) -> None:
    engine = mad_engine(1, mood="tags", scale=1.0, n_ctx=420, echo=False)
    job = make(engine, ExpandRequest("1girl, hat BREAK sitting, bench"), protocol=protocol)[1][1]
    assert "1girl, hat, sitting, bench" in spell(engine, job.request)


def test_a_context_that_does_not_fit_is_not_shown() -> None:
    engine = mad_engine(1, mood="tags", scale=1.0, n_ctx=96, echo=False)
    crowded = "1girl, " + ", ".join(f"hat number {n}" for n in range(30))
    made = make(engine, ExpandRequest(f"{crowded} BREAK sitting, bench", tag_length="very_short"))
    assert len(made[1][1].request) < 96


def test_a_region_of_another_prompt_is_seen_in_the_same_way() -> None:
    assert context("sitting, bench", context="1girl, hat\nBREAK\nnight") == ("1girl", "hat", "night")


def test_a_prompt_with_a_subject_does_not_look_at_its_context() -> None:
    assert planned("1boy, suit", context="1girl, hat").views[0].had == ()


LACKING = ("sitting, bench", "shrine, night", "suit, necktie", "rim lighting", "red hair", "from above", "sky, birds")
WITH = ("1girl, hat", "1boy", "an old fisherman", "black cat", "hatsune miku", "2girls, 1boy")


PEOPLE = (*(f" {word}" for word in "1girl 2boys solo girl woman man crowd couple".split()), " no humans", " 1other")


def people_engine(seed: int) -> ScriptedEngine:
    """Return an engine of random logits that prefers people."""
    vocab = ScriptedEngine.random(1, pieces=(*COMMON_PIECES, *PEOPLE)).vocab
    wanted = {person.encode() for person in PEOPLE} | {b","}
    bonus = np.array([4.0 * (piece in wanted) for piece in vocab.pieces], np.float32)

    def logits(tokens: tuple[int, ...]) -> NDArray[np.float32]:
        digest = blake2b(repr((seed, len(tokens), tokens[-4:])).encode(), digest_size=8).digest()
        noise = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))
        return noise.standard_normal(len(vocab), dtype=np.float32) + bonus

    return ScriptedEngine(logits, vocab=vocab, n_ctx=1024)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", list(Protocol))
@settings(max_examples=40, phases=[Phase.generate], suppress_health_check=list(HealthCheck), deadline=None)
@given(
    own=st.sampled_from(LACKING), other=st.sampled_from(WITH), divider=st.sampled_from(["BREAK", "AND", "ADDCOL"]),
    seed=st.integers(0, 2**32), contradictions=st.booleans(), allow=st.sampled_from([(), ("characters", "quality")]),
)  # fmt: skip
def test_random_logits_bring_nobody_into_a_segment_without_a_subject(
    protocol: Protocol, own: str, other: str, divider: str, seed: int, contradictions: bool, allow: tuple[str, ...]
) -> None:
    request = ExpandRequest(
        f"{other} {divider} {own}", tag_length="short", allow=allow, allow_contradictions=contradictions, seed=seed,
        min_p=0.0,
    )  # fmt: skip
    ran = run_all(people_engine(seed), [request], protocol=protocol)[-1]
    assert not [tag for tag in (*ran.tags, *ran.metadata.get(Category.CHARACTERS, ())) if is_people(read_tag(tag))]


@cache
def starter() -> Expander:
    return open_expander()


@cache
def written(prompt: str, seed: int = 1) -> Expansion:
    return starter().expand([ExpandRequest(prompt, seed=seed, tag_length="short", text_length="none")])[0]


PAIRS = [
    ("1girl, fox ears", "shrine, night"), ("1boy, knight", "castle ruins, storm"), ("1girl, witch", "rim lighting"),
    ("1girl, school uniform", "sitting, park bench"), ("1girl, red hair", "suit, necktie"),
    ("cat, sofa", "living room"),
    ("hatsune miku", "stage, spotlight"), ("1boy, elf", "quiver, green cloak"), ("2boys, rooftop", "city lights"),
    ("1girl, smile", "from above, cowboy shot"),
]  # fmt: skip


@pytest.mark.parametrize("divider", [" BREAK ", " AND ", " AND_PERP ", " ADDCOL "])
@pytest.mark.parametrize(("subject", "other"), PAIRS)
def test_the_starter_brings_nobody_into_a_segment_without_a_subject(subject: str, other: str, divider: str) -> None:
    part = written(subject + divider + other).prompt.split(divider)[1]
    assert not [tag for tag in part.split(", ") if is_people(read_tag(tag))]


@pytest.mark.parametrize(("subject", "other"), PAIRS[:2])
def test_the_starter_gives_surroundings_no_looks_or_clothes(subject: str, other: str) -> None:
    part = written(f"{subject} BREAK {other}").prompt.split(" BREAK ")[1]
    assert not [tag for tag in part.split(", ") if is_detail(read_tag(tag).name)]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("place", ["shrine, night", "office, window", "stage, spotlight", "city lights, night sky"])
def test_the_starters_sentences_about_surroundings_speak_of_nobody(place: str, seed: int) -> None:
    request = ExpandRequest(f"1girl, hat BREAK {place}", seed=seed, tag_length="very_short", text_length="short")
    assert find_person(starter().expand([request])[0].prompt.split(" BREAK ")[1]) is None


def test_the_subjects_own_segment_is_as_without_the_other() -> None:
    both, alone = written("1girl, fox ears BREAK shrine, night"), written("1girl, fox ears")
    assert both.prompt.split(" BREAK ")[0] == alone.prompt


def test_each_row_is_the_same_alone_and_in_a_batch() -> None:
    requests = [short(f"{subject} BREAK {other}", seed=3) for subject, other in PAIRS[:3]]
    together = [done.prompt for done in expander().expand(requests)]
    assert together == [expander().expand([request])[0].prompt for request in requests]
