"""Rows of a batch: results independent of the other rows, shared prefixes computed once, events in order."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from decoding_kit import NAMES, Ran, force, greedy, make, model_context, open_decoder, run_all, spell, violations
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scripted_engine import COMMON_PIECES, ScriptedEngine

from kgen_ext.decoding.job import Job
from kgen_ext.errors import EngineError
from kgen_ext.events import Delta, Finish, Started, TagAccepted, TagRejected
from kgen_ext.request import ExpandRequest
from kgen_ext.rules.known import TagFiles
from kgen_ext.service.plan import make_jobs, plan_expansion

PROMPTS = ("1girl", "1girl, hat", "1girl, hat, smile", "", "night, sky", "1boy, twintails", "solo, red hair, outdoors")


def asked(number: int, **options: object) -> ExpandRequest:
    length = ("very_short", "short")[number % 2]
    text = ("none", "very_short", "short")[number % 3]
    prompt = PROMPTS[number % len(PROMPTS)]
    return replace(
        ExpandRequest(prompt, tag_length=length, text_length=text, seed=number, ban=("hat",), min_p=0.05),
        **options,  # type: ignore[arg-type]
    )  # fmt: skip


def engine() -> ScriptedEngine:
    return ScriptedEngine.random(5, scale=2.0, n_ctx=300)


ALONE = {}


def alone(number: int) -> Ran:
    if number not in ALONE:
        ALONE[number] = run_all(engine(), [asked(number)], rows=1)[0]
    return ALONE[number]


@settings(max_examples=16, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(st.lists(st.integers(0, 13), min_size=1, max_size=7), st.integers(1, 5), st.booleans())
def test_a_row_is_the_same_alone_in_any_batch_in_any_order_on_any_slots(
    numbers: list[int], rows: int, used_before: bool
) -> None:
    scripted = engine()
    decoder = open_decoder(scripted, rows=rows)
    if used_before:
        run_all(scripted, [asked(9), asked(2)], decoder=decoder)
    for ran, number in zip(run_all(scripted, [asked(n) for n in numbers], decoder=decoder), numbers, strict=True):
        assert ran.output == alone(number).output
        assert [type(event) for event in ran.events] == [type(event) for event in alone(number).events]
        assert violations(ran) == []


def test_a_row_is_the_same_when_it_runs_again_on_what_its_cache_still_holds() -> None:
    scripted = engine()
    decoder = open_decoder(scripted, rows=2)
    first = run_all(scripted, [asked(3)], decoder=decoder)[0].output
    fed = scripted.fed
    assert run_all(scripted, [asked(3)], decoder=decoder)[0].output == first
    # Only the last two tokens of the request are fed again, and what the row writes.
    assert scripted.fed - fed == fed - len(make(scripted, asked(3))[0][1].request) + 2


def test_variants_differ_and_each_seed_reproduces_its_own() -> None:
    # One row more than is counted: a model that writes nothing but noise may leave a list empty.
    rows = [run.output for run in run_all(engine(), [asked(1, seed=seed) for seed in range(9)], rows=3)]
    assert len({row.tags for row in rows if row.tags}) >= 8


@pytest.mark.parametrize(("number", "last"), [(2, 1), (3, 2)])
def test_equal_requests_are_prefilled_once(number: int, last: int) -> None:
    """Each row feeds the last two tokens itself; where a comma is forced behind the user's tags it is one of them."""
    scripted, count = engine(), 8
    same = [asked(number, seed=seed) for seed in range(count)]
    length = len(make(scripted, same[0])[0][1].request)
    ran = run_all(scripted, same, rows=count)
    fed = 0
    for row, request in enumerate(same):
        lonely = engine()
        assert run_all(lonely, [request], rows=1)[0].output == ran[row].output
        fed += lonely.fed
    assert scripted.fed == fed - (count - 1) * (length - last)


def test_a_shared_prefix_is_computed_once_for_different_prompts() -> None:
    scripted = engine()
    prompts = ("1girl, hat, smile", "1girl, hat, night")
    pair = [asked(0, prompt=prompt, seed=seed) for seed, prompt in enumerate(prompts)]
    left, right = (make(scripted, request)[0][1].request for request in pair)
    common = next(at for at, (a, b) in enumerate(zip(left, right, strict=False)) if a != b)
    assert common >= 8
    fed = []
    for request in pair:
        lonely = engine()
        run_all(lonely, [request], rows=1)
        fed.append(lonely.fed)
    run_all(scripted, pair, rows=2)
    assert scripted.fed == sum(fed) - common


def test_jobs_are_made_when_a_slot_is_free_and_not_before() -> None:
    scripted = engine()
    made = 0

    def jobs() -> Iterator[Job]:
        nonlocal made
        for number in range(40):
            made += 1
            yield make(scripted, asked(number), row=number)[0][1]

    done = 0
    for item in open_decoder(scripted, rows=3).run(jobs()):
        done += isinstance(item, tuple)
        assert made <= done + 3 + 1
    assert done == 40


@pytest.mark.parametrize("steps", [0, 1, 5, 20, 60])
def test_cancel_ends_every_row_before_the_next_token_and_keeps_what_is_whole(steps: int) -> None:
    scripted = engine()
    decoder = open_decoder(scripted, rows=2)
    whole = {number: alone(number).output for number in (4, 5, 7)}
    requests = [asked(number) for number in whole]
    ran = run_all(scripted, requests, decoder=decoder, cancelled=lambda: scripted.calls >= steps)
    assert scripted.calls == steps
    for run, number in zip(ran, whole, strict=True):
        assert run.output.finish in (Finish.CANCELLED, whole[number].finish)
        # What stands is the beginning of what would have come.
        assert run.output.tags == whole[number].tags[: len(run.tags)]
        for name, text in run.output.texts.items():
            assert whole[number].texts[name].startswith(text) or run.output.finish is not Finish.CANCELLED or not text
        assert [broken for broken in violations(run) if broken != "nobody cancelled"] == []
    # The slots are free again.
    assert run_all(scripted, [asked(8)], decoder=decoder)[0].output == alone(8).output


def test_a_consumer_that_goes_away_leaves_the_decoder_usable() -> None:
    scripted = engine()
    decoder = open_decoder(scripted, rows=2)
    stream = decoder.run([make(scripted, asked(number), row=number)[0][1] for number in range(3)])
    list(islice(stream, 30))
    stream.close()
    assert run_all(scripted, [asked(8)], decoder=decoder)[0].output == alone(8).output


def test_an_exception_of_the_engine_reaches_the_consumer() -> None:
    scripted = engine()
    healthy = scripted.logits

    def broken(tokens: tuple[int, ...]) -> NDArray[np.float32]:
        if len(tokens) > 30:
            raise EngineError("out of memory")
        return healthy(tokens)

    scripted.logits = broken
    with pytest.raises(EngineError, match="out of memory"):
        run_all(scripted, [asked(1)])


@pytest.mark.parametrize("number", range(10))
def test_events_say_what_the_result_says(number: int) -> None:
    ran = alone(number)
    first, *rest = ran.events
    assert first == Started(0, 0)
    assert not any(isinstance(event, Started) for event in rest)
    accepted = [event.tag for event in rest if isinstance(event, TagAccepted)]
    assert tuple(accepted) == ran.tags
    rejected = [event for event in rest if isinstance(event, TagRejected)]
    assert all(event.rule for event in rejected)
    fields = [field.name for field in ran.job.fields]  # type: ignore[union-attr]
    told = [event.field for event in rest if isinstance(event, Delta)]
    assert set(told) <= set(fields)
    assert told == sorted(told, key=fields.index)
    # Every draw and every forced token is a forward of the row: none is spent unseen.
    lonely = engine()
    run_all(lonely, [asked(number)], rows=1)
    assert lonely.calls <= ran.output.decoded + ran.output.forced + len(fields)
    assert ran.output.rewound >= len(rejected)


def test_deltas_joined_are_what_was_written_when_nothing_is_taken_back() -> None:
    script = [",", "hat", ",", " caf\u00e9", "\n", " A", " girl", " smiles", ".", " She", " waits", ".", "</s>"]
    ran = force(script, greedy("smile", text_length="very_short"), pieces=NAMES)
    told = {name: "".join(event.text for event in ran.events if isinstance(event, Delta) and event.field == name)
            for name in ("tag", "long")}  # fmt: skip
    assert [tag.strip() for tag in told["tag"].split(",")] == ["", *ran.tags]
    assert told["long"].strip() == ran.output.texts["long"]
    assert ran.rejected == []


def test_a_character_of_several_tokens_is_told_whole() -> None:
    ran = force(["a", "b", "</s>"], greedy(), pieces=["a", "b"])
    assert all("\ufffd" not in event.text for event in ran.events if isinstance(event, Delta))
    bytes_only = ScriptedEngine.random(3, scale=1.0, n_ctx=120, pieces=[","])
    for run in run_all(bytes_only, [asked(number) for number in range(4)]):
        assert all("\ufffd" not in event.text for event in run.events if isinstance(event, Delta))


def test_a_request_as_long_as_the_context_ends_at_once_and_says_why() -> None:
    """A prompt that does not fit is shown in part; what cannot be shown at all leaves nothing to write."""
    scripted = ScriptedEngine.random(1, n_ctx=20)
    ran = run_all(scripted, [asked(0, prompt="masterpiece, highres, " + ", ".join(["1girl"] * 50))])[0]
    assert ran.output.finish is Finish.LENGTH
    assert ran.tags == ()


def test_the_model_sees_the_first_tags_of_a_prompt_that_is_too_long() -> None:
    scripted = ScriptedEngine.random(1, n_ctx=200)
    ran = run_all(scripted, [asked(0, prompt=", ".join(NAMES), tag_length="very_long")])[0]
    assert len(ran.job.request) < 200
    assert ran.job.fields[0].given == len(NAMES)  # type: ignore[union-attr]
    assert violations(ran) == []


@pytest.mark.slow
def shown(n_ctx: int, **options: object) -> str:
    """Return what a model with so small a context sees of a hundred tags."""
    scripted = ScriptedEngine.random(1, n_ctx=n_ctx, pieces=[*COMMON_PIECES, *(f" {name}" for name in NAMES), *NAMES])
    return spell(scripted, make(scripted, asked(0, prompt=", ".join(NAMES), **options))[0][1].request)


def test_a_quarter_of_a_small_context_at_least_is_the_prompt_s() -> None:
    assert NAMES[0] in shown(160, text_length="very_long")


def test_a_long_description_leaves_room_for_tags() -> None:
    assert NAMES[0] in shown(300, text="A girl stands on a hill. " * 50, text_length="short")


def test_words_that_are_not_shown_are_counted() -> None:
    scripted = ScriptedEngine.random(1, n_ctx=300)
    request = asked(0, prompt="", text="A girl stands on a hill. " * 50, text_length="short")
    plan = plan_expansion(request, TagFiles())
    (job,), hidden = make_jobs(plan, model_context(scripted), row=0, seed=0)
    assert job is not None
    seen = spell(scripted, job.request).split("short: ")[1].split("\ntag:")[0]
    assert len(seen.split()) + hidden == len(("A girl stands on a hill. " * 50).strip().split())


def test_memory_stays_flat_over_many_prompts_of_one_decoder() -> None:
    scripted = engine()
    decoder = open_decoder(scripted, rows=2)
    for _ in range(3):
        short = [asked(number, tag_length="very_short", text_length="none") for number in range(12)]
        run_all(scripted, short, decoder=decoder)
    assert sum(map(len, decoder._slots._held)) <= 2 * scripted.n_ctx
