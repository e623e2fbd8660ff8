"""The demo page's queue: turns, limits of each visitor, and tasks that follow one another."""
from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from kgen_ext.demo.limits import Limits
from kgen_ext.demo.tasks import Sessions, Task, follow
from kgen_ext.demo.turns import Turns
from kgen_ext.errors import UserError


def test_the_first_has_nobody_ahead() -> None:
    assert Turns(Limits()).join("a").ahead == 0


def test_the_others_are_told_their_places() -> None:
    turns = Turns(Limits())
    assert [turns.join(visitor).ahead for visitor in "abc"] == [0, 1, 2]


def test_a_turn_comes_when_those_before_have_left() -> None:
    turns = Turns(Limits())
    first, second, third = (turns.join(visitor) for visitor in "abc")
    second.leave()
    first.leave()
    assert third.ahead == 0


def test_leaving_twice_takes_nobody_elses_place() -> None:
    turns = Turns(Limits())
    first, _, third = (turns.join(visitor) for visitor in "abc")
    first.leave()
    first.leave()
    assert third.ahead == 1


def test_a_visitor_may_have_as_many_runs_as_is_allowed() -> None:
    turns = Turns(Limits(each=2))
    turns.join("a"), turns.join("a")
    with pytest.raises(UserError, match="2 runs of yours are in the queue"):
        turns.join("a")


def test_the_limit_of_one_visitor_is_not_anothers() -> None:
    turns = Turns(Limits(each=1))
    turns.join("a")
    assert turns.join("b").ahead == 1


def test_a_full_queue_takes_nobody() -> None:
    turns = Turns(Limits(waiting=2))
    turns.join("a"), turns.join("b")
    with pytest.raises(UserError, match="the queue is full: 2 runs are in it"):
        turns.join("c")


def test_too_many_starts_within_a_minute_are_told_when_to_come_back() -> None:
    now = [100.0]
    turns = Turns(Limits(minute=1), clock=lambda: now[0])
    turns.join("a").leave()
    now[0] += 20
    with pytest.raises(UserError, match="try again in 40 s"):
        turns.join("a")


def test_a_minute_later_a_visitor_may_start_again() -> None:
    now = [100.0]
    turns = Turns(Limits(minute=1), clock=lambda: now[0])
    turns.join("a").leave()
    now[0] += 60
    assert turns.join("a").ahead == 0


def test_a_refused_run_takes_no_place() -> None:
    turns = Turns(Limits(each=1))
    turns.join("a")
    with pytest.raises(UserError):
        turns.join("a")
    assert len(turns) == 1


class Waits(Task):
    """Works until it is let go or cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.go, self.done = threading.Event(), threading.Event(), threading.Event()

    def work(self) -> None:
        self.began.set()
        while not self.go.wait(0.01) and not self.cancelled():
            pass
        self.done.set()


def run(steps: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(steps, 20))


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def test_a_task_begins_at_once_where_nothing_is_ahead() -> None:
    async def steps() -> None:
        task = Waits()
        followed = follow(task, Turns(Limits()).join("a"), lambda: "view")
        await anext(followed)
        await until(task.began.is_set)
        await followed.aclose()

    run(steps())


def test_a_task_waits_for_the_one_before_it() -> None:
    async def steps() -> None:
        turns = Turns(Limits())
        first, task = turns.join("a"), Waits()
        turn = turns.join("b")
        followed = follow(task, turn, lambda: turn.ahead)
        assert await anext(followed) == 1
        assert not task.began.is_set()
        first.leave()
        assert await anext(followed) == 0
        await until(task.began.is_set)
        await followed.aclose()

    run(steps())


def test_a_task_that_ends_lets_the_next_begin() -> None:
    async def steps() -> None:
        turns = Turns(Limits())
        first, second = Waits(), Waits()
        turn, later = turns.join("a"), turns.join("b")
        first.go.set()
        assert [view async for view in follow(first, turn, lambda: "view")][-1] == "view"
        assert later.ahead == 0
        second.cancel()

    run(steps())


def test_the_last_view_is_that_of_the_ended_task() -> None:
    async def steps() -> None:
        task = Waits()
        views = follow(task, Turns(Limits()).join("a"), lambda: "ended" if task.done.is_set() else "at work")
        assert await anext(views) == "at work"
        task.go.set()
        assert [view async for view in views][-1] == "ended"

    run(steps())


def test_closing_the_views_cancels_the_task() -> None:
    async def steps() -> None:
        task = Waits()
        followed = follow(task, Turns(Limits()).join("a"), lambda: "view")
        await anext(followed)
        await until(task.began.is_set)
        await followed.aclose()
        await until(task.done.is_set)

    run(steps())


def test_closing_the_views_of_a_waiting_task_gives_up_its_place() -> None:
    async def steps() -> None:
        turns = Turns(Limits())
        turns.join("a")
        turn = turns.join("b")
        followed: AsyncIterator[int] = follow(Waits(), turn, lambda: turn.ahead)
        await anext(followed)
        await followed.aclose()  # type: ignore[attr-defined]
        assert len(turns) == 1

    run(steps())


def test_a_task_cancelled_while_it_waits_never_begins() -> None:
    async def steps() -> None:
        turns = Turns(Limits())
        turns.join("a")
        turn, task = turns.join("b"), Waits()
        followed = follow(task, turn, lambda: turn.ahead)
        await anext(followed)
        task.cancel()
        assert [view async for view in followed] and not task.began.is_set()
        assert len(turns) == 1

    run(steps())


def test_a_view_that_stays_the_same_is_sent_again_after_a_second() -> None:
    async def steps() -> None:
        followed = follow(Waits(), Turns(Limits()).join("a"), lambda: "view")
        await anext(followed)
        began = time.monotonic()
        assert await anext(followed) == "view" and 0.9 <= time.monotonic() - began <= 10
        await followed.aclose()

    run(steps())


def test_a_failing_task_leaves_its_turn() -> None:
    class Fails(Task):
        def work(self) -> None:
            raise RuntimeError("broken")

    async def steps() -> None:
        turns = Turns(Limits())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(threading, "excepthook", lambda _: None)
            async for _ in follow(Fails(), turns.join("a"), lambda: "view"):
                pass
        assert len(turns) == 0

    run(steps())


def test_a_later_task_of_a_page_replaces_the_earlier_one() -> None:
    sessions, first, second = Sessions(), Waits(), Waits()
    sessions.keep("page", "run", first)
    sessions.keep("page", "run", second)
    assert first.cancelled() and not second.cancelled()


def test_tasks_of_another_kind_or_page_stay() -> None:
    sessions, run_task, pair, other = Sessions(), Waits(), Waits(), Waits()
    for page, kind, task in (("page", "run", run_task), ("page", "pair", pair), ("other", "run", other)):
        sessions.keep(page, kind, task)
    assert not any(task.cancelled() for task in (run_task, pair, other))


def test_a_closed_page_cancels_all_of_its_tasks() -> None:
    sessions, task, pair = Sessions(), Waits(), Waits()
    sessions.keep("page", "run", task)
    sessions.keep("page", "pair", pair)
    sessions.forget("page")
    assert task.cancelled() and pair.cancelled() and len(sessions) == 0


def test_stopping_what_is_not_there_does_nothing() -> None:
    Sessions().cancel("page", "run")


def test_the_oldest_page_is_forgotten_where_there_are_too_many() -> None:
    sessions, task = Sessions(size=2), Waits()
    for page in ("a", "b", "c"):
        sessions.keep(page, "run", task if page == "a" else Waits())
    assert task.cancelled() and sessions.latest("a", "run") is None
