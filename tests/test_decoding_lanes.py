"""Several caches: the same answers in the same order, threads shared, and nobody left feeding a cache."""
from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count, islice

import numpy as np
import pytest
from decoding_kit import make, run_all
from numpy.typing import NDArray
from scripted_engine import ScriptedEngine
from test_decoding_batch import alone, asked, engine

from kgen_ext.decoding.loop import BatchDecoder, Lane
from kgen_ext.decoding.row import Job, Row
from kgen_ext.decoding.vocabulary import token_table
from kgen_ext.engine import Cache
from kgen_ext.errors import EngineError
from kgen_ext.events import Finish, Started


@contextmanager
def lanes(one: ScriptedEngine, *rows: int) -> Iterator[BatchDecoder]:
    decoder = BatchDecoder([one.open_cache(each, one.n_ctx) for each in rows], token_table(one))
    yield decoder
    decoder.close()


@pytest.mark.parametrize("rows", [(1, 1), (2, 3), (1, 2, 3)])
def test_a_row_is_the_same_in_any_lane(rows: tuple[int, ...]) -> None:
    one = engine()
    with lanes(one, *rows) as decoder:
        for _ in range(2):
            for number, ran in enumerate(run_all(one, [asked(number) for number in range(9)], decoder=decoder)):
                assert ran.written == alone(number).written


def test_events_come_in_the_same_order_whichever_lane_is_quicker() -> None:
    found = []
    for _ in range(3):
        one = engine()
        with lanes(one, 2, 2) as decoder:
            found.append([
                (item[0].row, "done") if isinstance(item, tuple) else (item.row, type(item).__name__)
                for item in decoder.run([make(one, asked(number), row=number)[0][1] for number in range(6)])
            ])  # fmt: skip
    assert found[0] == found[1] == found[2]


def test_jobs_are_dealt_evenly() -> None:
    one = engine()
    with lanes(one, 4, 4) as decoder:
        # Prompts so short and unlike that none waits for another's prefix.
        stream = decoder.run([make(one, asked(number), row=number)[0][1] for number in range(5)])
        started = [item for item in islice(stream, 12) if isinstance(item, Started)]
        loads = sorted(len(lane.active) for lane in decoder._lanes)
        stream.close()
    assert started and loads[1] - loads[0] <= 1


def test_a_cancel_ends_the_rows_of_every_lane() -> None:
    one, asks = engine(), count()
    with lanes(one, 2, 2) as decoder:
        ran = run_all(one, [asked(number) for number in range(6)], decoder=decoder, cancelled=lambda: next(asks) > 8)
        assert {each.written.finish for each in ran} == {Finish.CANCELLED}
        assert run_all(one, [asked(8)], decoder=decoder)[0].written == alone(8).written


@pytest.mark.parametrize("taken", [0, 1, 2, 3, 4, 7, 30])
def test_a_consumer_that_goes_away_leaves_every_lane_usable(taken: int) -> None:
    one = engine()
    with lanes(one, 2, 2) as decoder:
        stream = decoder.run([make(one, asked(number), row=number)[0][1] for number in range(6)])
        list(islice(stream, taken))
        stream.close()
        assert not any(lane.under_way for lane in decoder._lanes)
        for number in (8, 0, 3):
            assert run_all(one, [asked(number)], decoder=decoder)[0].written == alone(number).written


def test_an_exception_in_a_lane_reaches_the_consumer() -> None:
    one = engine()
    healthy = one.logits

    def broken(tokens: tuple[int, ...]) -> NDArray[np.float32]:
        if len(tokens) > 30:
            raise EngineError("out of memory")
        return healthy(tokens)

    one.logits = broken
    with lanes(one, 1, 1) as decoder, pytest.raises(EngineError, match="out of memory"):
        run_all(one, [asked(1), asked(3), asked(5)], decoder=decoder)


class Watched:
    """A cache that notes what it is fed and by whom, what it copies, and how it shares the processor."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self.fed = list[list[tuple[int, int]]]()
        self.threads = set[threading.Thread]()
        self.forks = list[tuple[int, int, int]]()
        self.shares = list[int]()

    def __getattr__(self, name: str) -> object:
        return getattr(self._cache, name)

    def forward(self, chunks: Sequence[tuple[int, Sequence[int]]]) -> NDArray[np.float32]:
        self.fed.append([(slot, len(ids)) for slot, ids in chunks])
        self.threads.add(threading.current_thread())
        return self._cache.forward(chunks)

    def fork(self, source: int, target: int, length: int) -> None:
        self.forks.append((source, target, length))
        self._cache.fork(source, target, length)

    def share(self, count: int) -> None:
        self.shares.append(count)


def watched(one: ScriptedEngine, *rows: int) -> list[Watched]:
    return [Watched(one.open_cache(each, one.n_ctx)) for each in rows]


def test_lanes_keep_their_part_of_the_processor_to_the_end() -> None:
    one = engine()
    caches = watched(one, 1, 1)
    run_all(one, [asked(0), asked(5)], decoder=BatchDecoder(caches, token_table(one)))  # a short one and a long one
    assert [cache.shares for cache in caches] == [[2], [2]]


def test_a_single_row_is_computed_in_the_caller_s_thread() -> None:
    one = engine()
    caches = watched(one, 1, 1)
    run_all(one, [asked(0)], decoder=BatchDecoder(caches, token_table(one)))
    assert caches[0].threads == {threading.current_thread()}


def test_no_thread_of_a_lane_outlives_its_decoder() -> None:
    one = engine()
    with lanes(one, 1, 1) as decoder:
        run_all(one, [asked(0), asked(1)], decoder=decoder)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("kgen-lane")]


def alike(one: ScriptedEngine, common: int) -> list[Job]:
    """Return three jobs whose requests begin with as many equal tokens."""
    jobs = [make(one, asked(0), row=row)[0][1] for row in range(3)]
    same, tails = jobs[0].request[:1] * common, (one.tokenize(word) * 20 for word in ("hat", "sky", "smile"))
    return [replace(job, request=(*same, *tail)) for job, tail in zip(jobs, tails, strict=True)]


@pytest.mark.parametrize(("common", "waits"), [(7, False), (8, True)])
def test_a_row_waits_for_a_prefix_of_eight_tokens_that_another_computes(common: int, waits: bool) -> None:
    one = engine()
    lane = Lane(one.open_cache(2, one.n_ctx), token_table(one))
    first, second, _ = alike(one, common)
    lane.admit(first)
    assert (lane.admit(second) is None) is waits


@pytest.mark.parametrize(("common", "forks"), [(7, []), (8, [(0, 1, 8)])])
def test_a_prefix_of_eight_tokens_is_copied_from_a_slot_in_use(
    common: int, forks: list[tuple[int, int, int]]
) -> None:
    one = engine()
    (cache,) = watched(one, 2)
    lane = Lane(cache, token_table(one))
    first, second, _ = alike(one, common)
    lane.admit(first)
    lane.begin(None)
    list(lane.end())
    lane.admit(second)
    assert cache.forks == forks


def test_what_a_row_wrote_is_copied_to_no_other() -> None:
    """Some libraries compute a lone token with other last bits than the same token within a chunk."""
    one = engine()
    (cache,) = watched(one, 2)
    lane = Lane(cache, token_table(one))
    first, second, _ = alike(one, 10)
    lane.admit(first)
    began = len(lane.active[0].ids)
    for _ in range(6):
        lane.begin(None)
        list(lane.end())
    lane.admit(replace(second, request=(*lane.active[0].ids, *second.request)))
    assert cache.forks == [(0, 1, began)]


@pytest.mark.parametrize(("length", "size"), [(8, 1), (9, 9)])
def test_a_forced_run_of_eight_tokens_is_fed_one_a_step(length: int, size: int) -> None:
    one = engine()
    (cache,) = watched(one, 1)
    job = make(one, asked(5))[0][1]
    job = replace(job, headers=(job.headers[0], tuple(one.tokenize("sky") * length)))
    list(BatchDecoder([cache], token_table(one)).run([job]))
    assert max(count for step in cache.fed[1:] for _, count in step) == size


def test_nobody_waits_for_a_prefix_that_a_slot_holds_already() -> None:
    one = engine()
    lane = Lane(one.open_cache(3, one.n_ctx), token_table(one))
    first, *others = alike(one, 10)
    lane.admit(first)
    lane.begin(None)
    list(lane.end())
    assert [lane.admit(job) for job in others] == [Started(1, 0), Started(2, 0)]


def test_a_prefix_in_a_free_slot_is_used_in_its_place() -> None:
    one = engine()
    (cache,) = watched(one, 4)
    decoder = BatchDecoder([cache], token_table(one))
    for _ in range(2):
        run_all(one, [asked(0)], decoder=decoder)
    assert cache.forks == []


def test_forced_tokens_are_fed_one_a_step_with_the_draws_of_the_others() -> None:
    one = engine()
    cache = Watched(one.open_cache(4, one.n_ctx))
    ran = run_all(one, [asked(number) for number in range(6)], decoder=BatchDecoder([cache], token_table(one)))
    assert sum(each.written.forced for each in ran) > 6  # a header here and there
    assert sum(size > 1 for step in cache.fed for _, size in step) == 6  # the prompts themselves


def test_a_slot_that_is_done_holds_no_more_than_its_row_began_with() -> None:
    one = engine()
    cache = one.open_cache(1, one.n_ctx)
    ran = run_all(one, [asked(3)], decoder=BatchDecoder([cache], token_table(one)))[0]
    assert cache.tokens[0] == Row(ran.job, token_table(one)).ids


def test_a_few_rows_lie_side_by_side_wherever_others_were_before() -> None:
    one = engine()
    cache = Watched(one.open_cache(8, one.n_ctx))
    decoder = BatchDecoder([cache], token_table(one))
    for rows in (8, 3, 2, 3):
        cache.fed.clear()
        run_all(one, [asked(number, tag_length="short") for number in range(rows)], decoder=decoder)
        slots = {slot for step in cache.fed for slot, _ in step}
        assert max(slots) - min(slots) + 1 == len(slots) == rows
