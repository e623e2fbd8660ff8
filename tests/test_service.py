"""The service on scripted engines: requests in, events out, and its guarantees on seeds, batches and text."""
from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_engine import ScriptedEngine

from kgen_ext.errors import BadPattern, BadTemplate, BadValue, EngineError
from kgen_ext.events import By, Delta, Expansion, Finish, Finished, Started, TagAccepted, TagRejected
from kgen_ext.protocol import Protocol
from kgen_ext.request import ExpandRequest
from kgen_ext.rules import known
from kgen_ext.rules.known import TagFiles
from kgen_ext.service.expander import Expander
from kgen_ext.service.plan import ModelContext, make_jobs, plan_expansion
from kgen_ext.tags.canonical import normalise

WORDS = [f" {word}" for word in "fox red blue sky tree stone river lamp cloud door hill rain snow leaf moss".split()]
PIECES = [",", "\n", ".", *WORDS, *(word.strip() for word in WORDS), "tag", "long", "short", ":", " A", " It", " is"]


def model_context(engine: ScriptedEngine | None = None, *, n_ctx: int = 1024) -> ModelContext:
    return ModelContext(engine or ScriptedEngine.random(7, pieces=PIECES), Protocol.TIPO, False, n_ctx)


def expander(engine: ScriptedEngine | None = None, *, rows: int = 4, n_ctx: int = 1024) -> Expander:
    return Expander(model_context(engine, n_ctx=n_ctx), model="scripted", checksum="x", rows=rows)


def short(prompt: str = "1girl, fox ears, shrine", **options: object) -> ExpandRequest:
    return replace(ExpandRequest(prompt, tag_length="short", min_p=0.0), **options)  # type: ignore[arg-type]


def bare(expansion: Expansion) -> Expansion:
    """What must not depend on when and where a row was decoded."""
    return replace(expansion, seconds=0.0, row=0)


def test_the_result_begins_with_the_users_bytes_and_its_pieces_join() -> None:
    request = short("  (1girl:1.2),\tfox_ears,,\n<lora:a:1> shrine ")
    done = expander().expand([request])[0]
    assert done.prompt.startswith(request.prompt)
    assert "".join(piece.text for piece in done.pieces) == done.prompt
    assert "".join(piece.text for piece in done.pieces if piece.by is By.USER) == done.source == request.prompt
    assert done.added_tags


def test_the_same_request_gives_the_same_expansion_on_a_new_expander() -> None:
    request = short(seed=5, text_length="short")
    first, again = (expander().expand([request])[0] for _ in range(2))
    assert bare(first) == bare(again)


def test_calls_are_those_of_the_engine() -> None:
    engine = ScriptedEngine.random(7, pieces=PIECES)
    service = expander(engine)
    service.expand([short()])
    service.release()  # the count outlives the cache
    service.expand([short(seed=2)])
    assert service.calls == engine.calls > 0


def test_another_seed_gives_another_text_and_seed_0_is_a_seed_like_any_other() -> None:
    """Reference mistake 10: seed 0 was random, and the process-wide generator decided."""
    zero, again, other = (expander().expand([short(seed=seed)])[0].prompt for seed in (0, 0, 1))
    assert zero == again != other


@pytest.mark.parametrize("rows", [1, 3, 16])
def test_a_row_is_the_same_alone_and_in_any_batch_in_any_order(rows: int) -> None:
    requests = [short(f"1girl, {word.strip()}", seed=index % 3) for index, word in enumerate(WORDS)]
    alone = [bare(expander().expand([request])[0]) for request in requests]
    together = expander(rows=rows).expand(requests)
    backwards = expander(rows=rows).expand(requests[::-1])[::-1]
    assert [bare(expansion) for expansion in together] == alone
    assert [bare(expansion) for expansion in backwards] == alone
    assert [expansion.row for expansion in together] == list(range(len(requests)))


def test_a_kept_cache_does_not_show() -> None:
    kept = expander()
    kept.expand([short("1boy, hat", seed=9), short("2girls", seed=3)])
    assert bare(kept.expand([short(seed=4)])[0]) == bare(expander().expand([short(seed=4)])[0])


def test_each_variant_has_a_seed_that_gives_it_alone() -> None:
    rows = expander().expand([short(seed=11, count=5)])
    assert rows[0].seed == 11
    assert len({row.added_tags for row in rows}) == 5
    for row in rows:
        assert bare(expander().expand([short(seed=row.seed)])[0]) == bare(row)


def test_the_seeds_of_variants_are_those_of_every_version() -> None:
    assert [row.seed for row in expander().expand([short(seed=7, count=3)])] == [
        7, 2207009715805324207, 2545488658212934290,
    ]  # fmt: skip


def test_the_seeds_of_subjects_are_those_of_every_version() -> None:
    jobs, _ = make_jobs(plan_expansion(short("fox BREAK sky BREAK sea"), TagFiles()), model_context(), row=0, seed=7)
    assert [job and job.seed for job in jobs] == [7, 8885351339813208944, 2699158312959822386]


def test_equal_requests_in_one_call_are_decoded_once() -> None:
    events = list(expander(ScriptedEngine.random(7, pieces=PIECES)).stream([short(seed=1)] * 6))
    assert sum(isinstance(event, Started) for event in events) == 1
    rows = [event.expansion for event in events if isinstance(event, Finished)]
    assert len({row.prompt for row in rows}) == 1 and [row.row for row in rows] == list(range(6))


def test_a_request_asked_again_is_not_decoded_again() -> None:
    engine = ScriptedEngine.random(7, pieces=PIECES)
    kept = expander(engine)
    first = kept.expand([short(seed=1)])
    calls = engine.calls
    assert kept.expand([short(seed=1)]) == first and engine.calls == calls


def test_clients_in_twenty_threads_each_get_their_own_answer() -> None:
    kept = expander()
    alone = {seed: expander().expand([short(seed=seed)])[0].prompt for seed in range(5)}
    got: list[tuple[int, str]] = []
    ask: Callable[[int], None] = lambda seed: got.append((seed, kept.expand([short(seed=seed)])[0].prompt))  # noqa: E731
    threads = [threading.Thread(target=ask, args=(index % 5,)) for index in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == sorted((index % 5, alone[index % 5]) for index in range(20))


def test_cancel_keeps_what_is_whole_and_is_not_remembered() -> None:
    kept = expander()
    asked = iter(range(1000))
    rows = kept.expand([short(seed=1)], cancelled=lambda: next(asked) > 12)
    assert rows[0].finish is Finish.CANCELLED and rows[0].prompt.startswith("1girl, fox ears, shrine")
    assert kept.expand([short(seed=1)])[0].finish is Finish.COMPLETE


def test_cancel_before_the_first_token_answers_every_row() -> None:
    rows = expander(rows=2).expand([short(seed=seed) for seed in range(5)], cancelled=lambda: True)
    assert [row.finish for row in rows] == [Finish.CANCELLED] * 5
    assert all(row.prompt == "1girl, fox ears, shrine" for row in rows)


@pytest.mark.parametrize("options", [{}, {"ban": "* fox"}, {"text_length": "short"}, {"prompt": "fox BREAK sky"}])
def test_a_cancelled_row_blames_neither_the_rules_nor_the_model(options: dict[str, str]) -> None:
    (row,) = expander().expand([short(**options)], cancelled=lambda: True)
    assert row.notes and all("cancelled before a tag or a sentence was complete" in note for note in row.notes)


def test_a_stream_left_half_way_frees_the_expander() -> None:
    kept = expander()
    stream = kept.stream([short(seed=1)])
    next(stream)
    with pytest.raises(EngineError, match="still open"):
        kept.expand([short(seed=2)])
    stream.close()  # type: ignore[attr-defined]
    assert bare(kept.expand([short(seed=2)])[0]) == bare(expander().expand([short(seed=2)])[0])


def test_events_tell_the_story_of_each_row() -> None:
    events = list(expander().stream([short(seed=1), short(seed=2, ban="fox")]))
    finished = {event.row: event.expansion for event in events if isinstance(event, Finished)}
    assert {event.row for event in events if isinstance(event, Started)} == {0, 1} == set(finished)
    for row, expansion in finished.items():
        accepted = [event.tag for event in events if isinstance(event, TagAccepted) and event.row == row]
        assert tuple(accepted) == expansion.added_tags
        assert any(isinstance(event, Delta) and event.row == row for event in events)
    assert all(event.rule for event in events if isinstance(event, TagRejected))


def test_a_failing_engine_reaches_the_caller_and_the_next_call_works() -> None:
    engine = ScriptedEngine.random(7, pieces=PIECES)
    kept, sound = expander(engine), engine.logits

    def fail(tokens: tuple[int, ...]) -> object:
        raise EngineError("the library failed")

    engine.logits = fail  # type: ignore[assignment]
    with pytest.raises(EngineError, match="library failed"):
        kept.expand([short(seed=1)])
    engine.logits = sound
    assert bare(kept.expand([short(seed=1)])[0]) == bare(expander().expand([short(seed=1)])[0])


def test_each_segment_is_its_own_subject() -> None:
    done = expander().expand([short("1girl, red hat BREAK 1boy, blue hat AND <lora:x:1> :1.2", seed=1)])[0]
    first, _, rest = done.prompt.partition(" BREAK ")
    assert first.startswith("1girl, red hat, ") and rest.startswith("1boy, blue hat, ")
    assert done.prompt.endswith(" AND <lora:x:1> :1.2")


def test_an_empty_prompt_lets_the_model_start_from_nothing() -> None:
    done = expander().expand([short("", tag_length="short")])[0]
    assert done.added_tags and done.source == "" and not done.prompt.startswith(",")


def test_the_caption_stands_in_the_result_as_the_user_wrote_it() -> None:
    caption = "A  fox (at 5.30 p.m.) sleeps."
    done = expander().expand([short("1girl", text=caption, text_length="short")])[0]
    assert any(piece.by is By.USER and piece.text == caption for piece in done.pieces)
    assert done.prompt.startswith("1girl")


def test_required_tags_are_there_and_a_ban_on_one_is_named() -> None:
    done = expander().expand([short(require="red moon, fox ears, old door", ban="* door")])[0]
    assert "red moon" in done.added_tags and "old door" not in done.added_tags
    assert "fox ears" not in done.added_tags  # the user's own
    assert any("old door" in note and "* door" in note for note in done.notes)


def test_a_prompt_longer_than_the_context_is_kept_whole_and_told_once() -> None:
    prompt = ", ".join(f"river{index} stone" for index in range(400))
    done = expander(n_ctx=256).expand([short(prompt, tag_length="very_long")])[0]
    assert done.source == prompt and done.prompt.startswith(prompt)
    assert sum("context" in note for note in done.notes) == 1


@pytest.mark.slow
def test_a_megabyte_is_handled() -> None:
    prompt = "sky, tree " * 100_000
    done = expander().expand([short(prompt)])[0]
    assert done.source == prompt


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"ban": "/(/"}, BadPattern, "/(/"),
        ({"format": "nosuch"}, BadValue, "append"),
        ({"format": "<|nosuch|>"}, BadTemplate, "<|general|>"),
        ({"rules": ("if hat",)}, BadPattern, "if hat"),
        ({"tag_file": "/nosuch/tags.csv"}, BadValue, "tags.csv"),
    ],
)
def test_a_wrong_request_is_refused_before_the_first_token(
    options: dict[str, object], error: type[Exception], words: str
) -> None:
    engine = ScriptedEngine.random(7, pieces=PIECES)
    with pytest.raises(error) as caught:
        expander(engine).expand([short(), short(**options)])
    assert words in str(caught.value) and engine.calls == 0


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    prompt=st.text(alphabet="ab ,()[]{}:|\\<>_#.\n12AND", max_size=60),
    seed=st.integers(0, 2**63 - 1),
    template=st.sampled_from(["append", "tags", "tags_then_text", "text_then_tags", "<|prompt|>; <|general|>"]),
)
def test_every_format_that_keeps_the_prompt_keeps_its_bytes(prompt: str, seed: int, template: str) -> None:
    done = expander().expand([short(prompt, seed=seed, format=template, text_length="very_short")])[0]
    assert done.source == prompt
    assert "".join(piece.text for piece in done.pieces) == done.prompt
    names = [normalise(tag) for tag in done.added_tags]
    assert len(set(names)) == len(names)


def test_a_template_behind_an_open_bracket_is_told() -> None:
    open_bracket, closed = (
        expander().expand([short(prompt, format="tags")])[0].notes for prompt in ("(1girl, hat", "(1girl), hat")
    )
    assert any("bracket" in note for note in open_bracket) and not any("bracket" in note for note in closed)


def test_a_rule_whose_condition_holds_is_obeyed_in_text_too() -> None:
    request = short("1girl, twintails", text_length="short", rules=("if twintails ban river, stone",))
    for seed in range(6):
        done = expander().expand([replace(request, seed=seed)])[0]
        assert not {"river", "stone"} & set(done.added_text.lower().replace(".", " ").split())
    free = expander().expand([replace(request, prompt="1girl", seed=seed) for seed in range(6)])
    assert any("river" in expansion.added_text or "stone" in expansion.added_text for expansion in free)


def test_metadata_that_would_fill_the_context_is_kept_in_the_prompt_and_not_shown() -> None:
    prompt = "1girl, " + ", ".join(f"artist:somebody{index}" for index in range(200))
    done = expander(n_ctx=256).expand([short(prompt)])[0]
    assert done.source == prompt and done.added_tags
    assert any("context: 200 tags or words" in note for note in done.notes)


def test_a_tag_that_is_spelled_twice_is_shown_once() -> None:
    fed = []
    for prompt in ("1girl, smile", "1girl, smile, Smile"):
        engine = ScriptedEngine.random(7, pieces=PIECES)
        expander(engine).expand([short(prompt)], cancelled=iter([False, True]).__next__)
        fed.append(engine.fed)
    assert fed[0] == fed[1]


def test_sentences_alone_leave_the_list_of_tags_as_it_is() -> None:
    done = expander().expand([short(text_length="short", no_tags=True)])[0]
    assert done.added_tags == ()
    assert done.added_text
    assert done.prompt == done.source + ", " + done.added_text


def test_a_model_that_writes_tags_only_says_so_when_asked_for_sentences_alone() -> None:
    dtg = replace(model_context(), protocol=Protocol.DTG)
    with pytest.raises(BadValue, match="this model writes tags only"):
        Expander(dtg, model="scripted", checksum="x", rows=1).expand([short(text_length="short", no_tags=True)])


def test_a_tag_file_is_read_once_and_again_when_it_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = list[str]()
    real = known.load_tag_file
    monkeypatch.setattr(known, "load_tag_file", lambda path: (reads.append(path), real(path))[1])
    path = tmp_path / "tags.csv"
    path.write_text("fox,0,9\nred,0,8\nblue,0,7\n", "utf-8")
    caching = expander()
    requests = [short(seed=seed, tag_file=str(path)) for seed in range(4)]
    first = caching.expand(requests)
    assert {tag for done in first for tag in done.added_tags} <= {"fox", "red", "blue"}
    assert caching.expand(requests) == first
    assert len(reads) == 1
    path.write_text("stone,0,9\nriver,0,8\n", "utf-8")
    assert {tag for done in caching.expand(requests) for tag in done.added_tags} <= {"stone", "river"}
    assert len(reads) == 2
