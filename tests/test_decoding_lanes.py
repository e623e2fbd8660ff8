"""Rows and their cache slots: equal results in equal order, shared prefixes, and all slots free at the end."""
from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from itertools import count, islice

import numpy as np
import pytest
from decoding_kit import make, open_decoder, run_all
from numpy.typing import NDArray
from scripted_engine import ScriptedEngine
from test_decoding_batch import alone, asked, engine

from kgen_ext.decoding.job import Job
from kgen_ext.decoding.loop import BatchDecoder, Slots, _draw
from kgen_ext.decoding.row import Row
from kgen_ext.decoding.vocabulary import token_table
from kgen_ext.engine import Cache
from kgen_ext.errors import EngineError
from kgen_ext.events import Finish


@pytest.mark.parametrize("rows", [2, 5, 6])
def test_a_row_is_the_same_in_any_lane(rows: int) -> None:
    scripted = engine()
    decoder = open_decoder(scripted, rows=rows)
    for _ in range(2):
        for number, ran in enumerate(run_all(scripted, [asked(number) for number in range(9)], decoder=decoder)):
            assert ran.output == alone(number).output


def test_events_come_in_the_same_order_whichever_lane_is_quicker() -> None:
    found = []
    for _ in range(3):
        scripted = engine()
        jobs = [make(scripted, asked(number), row=number)[0][1] for number in range(6)]
        found.append([
            (item[0].row, "done") if isinstance(item, tuple) else (item.row, type(item).__name__)
            for item in open_decoder(scripted).run(jobs)
        ])  # fmt: skip
    assert found[0] == found[1] == found[2]


def test_a_cancel_ends_the_rows_of_every_lane() -> None:
    scripted, asks = engine(), count()
    decoder = open_decoder(scripted)
    ran = run_all(scripted, [asked(number) for number in range(6)], decoder=decoder, cancelled=lambda: next(asks) > 8)
    assert {each.output.finish for each in ran} == {Finish.CANCELLED}
    assert run_all(scripted, [asked(8)], decoder=decoder)[0].output == alone(8).output


@pytest.mark.parametrize("taken", [0, 1, 2, 3, 4, 7, 30])
def test_a_consumer_that_goes_away_leaves_every_lane_usable(taken: int) -> None:
    scripted = engine()
    decoder = open_decoder(scripted)
    stream = decoder.run([make(scripted, asked(number), row=number)[0][1] for number in range(6)])
    list(islice(stream, taken))
    stream.close()
    assert not decoder._slots.rows
    for number in (8, 0, 3):
        assert run_all(scripted, [asked(number)], decoder=decoder)[0].output == alone(number).output


def test_an_exception_in_a_lane_reaches_the_consumer() -> None:
    scripted = engine()
    healthy = scripted.logits

    def broken(tokens: tuple[int, ...]) -> NDArray[np.float32]:
        if len(tokens) > 30:
            raise EngineError("out of memory")
        return healthy(tokens)

    scripted.logits = broken
    with pytest.raises(EngineError, match="out of memory"):
        run_all(scripted, [asked(1), asked(3), asked(5)], decoder=open_decoder(scripted, rows=2))


class Watched:
    """A cache that notes what it is fed, by whom, and what it copies."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self.fed = list[list[tuple[int, int]]]()
        self.threads = set[threading.Thread]()
        self.forks = list[tuple[int, int, int]]()

    def __getattr__(self, name: str) -> object:
        return getattr(self._cache, name)

    def forward(
        self, chunks: Sequence[tuple[int, Sequence[int]]], behind: Sequence[int] | None = None
    ) -> NDArray[np.float32]:
        self.fed.append([(slot, len(ids)) for slot, ids in chunks])
        self.threads.add(threading.current_thread())
        return self._cache.forward(chunks, behind)

    def fork(self, source: int, target: int, length: int) -> None:
        self.forks.append((source, target, length))
        self._cache.fork(source, target, length)


def watched(scripted: ScriptedEngine, rows: int) -> Watched:
    return Watched(scripted.open_cache(rows, scripted.n_ctx))


def step(slots: Slots, scripted: ScriptedEngine) -> None:
    """Feed the rows, and have each act on its draws."""
    logits, table = slots.feed(), token_table(scripted)
    while rows := [row for row in slots.rows.values() if row.ready]:
        for row, drawn in zip(rows, _draw(rows, logits, table, None), strict=True):
            row.consume(drawn)


def test_a_single_row_is_computed_in_the_caller_s_thread() -> None:
    scripted = engine()
    cache = watched(scripted, 2)
    run_all(scripted, [asked(0)], decoder=BatchDecoder(cache, token_table(scripted)))
    assert cache.threads == {threading.current_thread()}


def alike(scripted: ScriptedEngine, common: int) -> list[Row]:
    """Return three rows whose requests begin with as many equal tokens."""
    jobs = [make(scripted, asked(0), row=row)[0][1] for row in range(3)]
    same, tails = jobs[0].request[:1] * common, (scripted.tokenize(word) * 20 for word in ("hat", "sky", "smile"))
    return [row_of(scripted, replace(job, request=(*same, *tail))) for job, tail in zip(jobs, tails, strict=True)]


def row_of(scripted: ScriptedEngine, job: Job) -> Row:
    return Row(job, token_table(scripted))


@pytest.mark.parametrize(("common", "waits"), [(7, False), (8, True)])
def test_a_row_waits_for_a_prefix_of_eight_tokens_that_another_computes(common: int, waits: bool) -> None:
    scripted = engine()
    slots = Slots(scripted.open_cache(2, scripted.n_ctx))
    first, second, _ = alike(scripted, common)
    slots.admit(first)
    assert slots.admit(second) is not waits


@pytest.mark.parametrize(("common", "forks"), [(7, []), (8, [(0, 1, 8)])])
def test_a_prefix_of_eight_tokens_is_copied_from_a_slot_in_use(
    common: int, forks: list[tuple[int, int, int]]
) -> None:
    scripted = engine()
    cache = watched(scripted, 2)
    slots = Slots(cache)
    first, second, _ = alike(scripted, common)
    slots.admit(first)
    step(slots, scripted)
    slots.admit(second)
    assert cache.forks == forks


def test_what_a_row_wrote_is_copied_to_no_other() -> None:
    """Some libraries compute a lone token with other last bits than the same token within a chunk."""
    scripted = engine()
    cache = watched(scripted, 2)
    slots = Slots(cache)
    first, second, _ = alike(scripted, 10)
    slots.admit(first)
    began = len(first.ids)
    for _ in range(6):
        step(slots, scripted)
    slots.admit(row_of(scripted, replace(second.job, request=(*first.ids, *second.job.request))))
    assert cache.forks == [(0, 1, began)]


@pytest.mark.parametrize(("rows", "exact", "length", "size"), [
    (2, True, 8, 1), (2, True, 9, 9), (1, False, 8, 1), (1, False, 9, 9), (1, True, 8, 8), (1, True, 9, 9),
])  # fmt: skip
def test_a_short_forced_run_is_fed_one_a_step_unless_a_row_is_alone_and_the_last_bits_do_not_tell(
    rows: int, exact: bool, length: int, size: int
) -> None:
    scripted = engine()
    cache = watched(scripted, rows)
    cache._cache.exact = exact
    jobs = [make(scripted, asked(5), row=row)[0][1] for row in range(rows)]
    run = tuple(scripted.tokenize("sky") * length)
    list(BatchDecoder(cache, token_table(scripted)).run(replace(job, headers=(job.headers[0], run)) for job in jobs))
    assert max(count for step in cache.fed[rows:] for _, count in step) == size


def test_nobody_waits_for_a_prefix_that_a_slot_holds_already() -> None:
    scripted = engine()
    slots = Slots(scripted.open_cache(3, scripted.n_ctx))
    first, *others = alike(scripted, 10)
    slots.admit(first)
    step(slots, scripted)
    assert [slots.admit(row) for row in others] == [True, True]


def test_a_prefix_in_a_free_slot_is_used_in_its_place() -> None:
    scripted = engine()
    cache = watched(scripted, 4)
    decoder = BatchDecoder(cache, token_table(scripted))
    for _ in range(2):
        run_all(scripted, [asked(0)], decoder=decoder)
    assert cache.forks == []


def test_forced_tokens_are_fed_one_a_step_with_the_draws_of_the_others() -> None:
    scripted = engine()
    cache = watched(scripted, 4)
    ran = run_all(scripted, [asked(number) for number in range(6)], decoder=BatchDecoder(cache, token_table(scripted)))
    assert sum(each.output.forced for each in ran) > 6  # a header here and there
    assert sum(size > 1 for step in cache.fed for _, size in step) == 6  # the prompts themselves


def test_a_slot_that_is_done_holds_no_more_than_its_row_began_with() -> None:
    scripted = engine()
    cache = scripted.open_cache(1, scripted.n_ctx)
    ran = run_all(scripted, [asked(3)], decoder=BatchDecoder(cache, token_table(scripted)))[0]
    assert cache.tokens[0] == Row(ran.job, token_table(scripted)).ids


def test_a_few_rows_lie_side_by_side_wherever_others_were_before() -> None:
    scripted = engine()
    cache = watched(scripted, 8)
    decoder = BatchDecoder(cache, token_table(scripted))
    for rows in (8, 3, 2, 3):
        cache.fed.clear()
        run_all(scripted, [asked(number, tag_length="short") for number in range(rows)], decoder=decoder)
        slots = {slot for step in cache.fed for slot, _ in step}
        assert max(slots) - min(slots) + 1 == len(slots) == rows
