"""The pool of loaded models: loaded once, one by default, never closed while in use, memory given back."""
from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kgen_ext.errors import BadValue, EngineError
from kgen_ext.models import resolve
from kgen_ext.request import ExpandRequest
from kgen_ext.service.pool import Pool


@dataclass
class FakeExpander:
    model: str
    engine: str = "scripted"
    closed: int = 0

    def close(self) -> None:
        self.closed += 1


@dataclass
class FakeFiles:
    name: str
    sum: str

    def checksum(self) -> str:
        return self.sum


@dataclass
class Shelf:
    """An opener of fakes that records each of them; `same` maps another name of a model to its weights."""

    same: dict[str, str] = field(default_factory=dict)
    opened: list[FakeExpander] = field(default_factory=list)
    before: Callable[[], None] = lambda: None

    def open(self, files: Any, *, engine: str, device: str, threads: int | None) -> Any:
        self.before()
        self.opened.append(FakeExpander(files.name))
        return self.opened[-1]

    def find(self, model: str) -> Any:
        return FakeFiles(model, self.same.get(model, model))

    def pool(self, **options: Any) -> Pool:
        return Pool(open=self.open, **options)


def test_a_model_is_opened_once_and_kept() -> None:
    shelf = Shelf()
    pool = shelf.pool()
    for _ in range(3):
        with pool.lease(shelf.find("a")) as lent:
            assert lent is shelf.opened[0]  # type: ignore[comparison-overlap]
    assert len(shelf.opened) == 1 and not shelf.opened[0].closed
    assert [(loaded.model, loaded.in_use) for loaded in pool.resident()] == [("a", 0)]


def test_twenty_threads_that_ask_at_once_open_one() -> None:
    shelf = Shelf(before=lambda: time.sleep(0.02))
    pool = shelf.pool()
    found = list[object]()

    def ask() -> None:
        with pool.lease(shelf.find("a")) as lent:
            found.append(lent)

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(shelf.opened) == 1 and len(found) == 20


def test_another_model_takes_the_idle_ones_place_before_it_is_opened() -> None:
    shelf = Shelf()
    pool = shelf.pool()
    with pool.lease(shelf.find("a")):
        pass
    shelf.before = lambda: seen.append(shelf.opened[0].closed)
    seen = list[int]()
    with pool.lease(shelf.find("b")):
        assert seen == [1]
    assert [loaded.model for loaded in pool.resident()] == ["b"]


def test_a_model_in_use_is_closed_only_when_it_is_given_back() -> None:
    shelf = Shelf()
    pool = shelf.pool()
    with pool.lease(shelf.find("a")):
        with pool.lease(shelf.find("b")):
            assert not shelf.opened[0].closed
        assert pool.unload() == 1  # b is idle by now
        assert not shelf.opened[0].closed
    assert [engine.closed for engine in shelf.opened] == [1, 1]
    assert pool.resident() == ()


def test_a_larger_pool_keeps_as_many_as_it_holds_and_lets_the_longest_unused_go() -> None:
    shelf = Shelf()
    pool = shelf.pool(size=2)
    for name in ("a", "b", "a", "c"):
        with pool.lease(shelf.find(name)):
            pass
    assert [loaded.model for loaded in pool.resident()] == ["a", "c"]
    pool.configure(size=1, idle_seconds=None)
    assert [loaded.model for loaded in pool.resident()] == ["c"]


def test_the_same_weights_under_two_names_are_one_model() -> None:
    shelf = Shelf(same={"/models/a.gguf": "a"})
    pool = shelf.pool()
    with pool.lease(shelf.find("a")) as first, pool.lease(shelf.find("/models/a.gguf")) as second:
        assert first is second
    assert len(shelf.opened) == 1


def test_an_open_that_fails_leaves_nothing_and_is_tried_again() -> None:
    shelf = Shelf()
    pool = shelf.pool()

    def fail() -> None:
        raise EngineError("no memory")

    shelf.before = fail
    with pytest.raises(EngineError), pool.lease(shelf.find("a")):
        pass
    assert pool.resident() == ()
    shelf.before = lambda: None
    with pool.lease(shelf.find("a")):
        assert len(shelf.opened) == 1


def test_who_waits_for_an_open_that_fails_tries_for_himself() -> None:
    shelf = Shelf()
    pool = shelf.pool()
    began, go, tries = threading.Event(), threading.Event(), list[int]()

    def before() -> None:
        tries.append(1)
        if len(tries) == 1:
            began.set()
            go.wait(5)
            raise EngineError("no memory")

    shelf.before = before
    outcomes = list[str]()

    def ask() -> None:
        try:
            with pool.lease(shelf.find("a")):
                outcomes.append("lent")
        except EngineError:
            outcomes.append("failed")

    first = threading.Thread(target=ask)
    first.start()
    began.wait(5)
    second = threading.Thread(target=ask)
    second.start()
    go.set()
    first.join()
    second.join()
    assert sorted(outcomes) == ["failed", "lent"]


def test_an_idle_model_is_closed_after_its_time_and_not_before() -> None:
    now = [0.0]
    shelf = Shelf()
    pool = shelf.pool(idle_seconds=60, clock=lambda: now[0])
    with pool.lease(shelf.find("a")):
        now[0] = 100
        assert pool.sweep() == 0, "in use"
    now[0] = 159
    assert pool.sweep() == 0
    now[0] = 160
    assert pool.sweep() == 1 and shelf.opened[0].closed == 1
    pool.close()


def test_the_idle_time_runs_by_itself() -> None:
    shelf = Shelf()
    pool = shelf.pool(idle_seconds=0.02)
    with pool.lease(shelf.find("a")):
        pass
    for _ in range(200):
        if not pool.resident():
            break
        time.sleep(0.02)
    assert shelf.opened[0].closed == 1


def timers() -> list[threading.Timer]:
    """Return those that are still to run."""
    found = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    return [timer for timer in found if not timer.finished.is_set()]


def test_no_idle_time_runs_while_a_model_is_lent_again() -> None:
    shelf = Shelf()
    pool = shelf.pool(idle_seconds=60)
    with pool.lease(shelf.find("a")):
        pass
    with pool.lease(shelf.find("a")):
        assert timers() == []
    pool.close()


def test_no_idle_time_runs_for_a_model_that_is_closed_when_it_is_given_back() -> None:
    shelf = Shelf()
    pool = shelf.pool(idle_seconds=60)
    with pool.lease(shelf.find("a")):
        pool.unload()
    assert timers() == []


def test_a_pool_of_none_is_refused() -> None:
    with pytest.raises(BadValue, match="size"):
        Shelf().pool(size=0)


def test_a_pool_that_is_told_to_hold_none_holds_one() -> None:
    shelf = Shelf()
    pool = shelf.pool(size=2)
    for name in ("a", "b"):
        with pool.lease(shelf.find(name)):
            pass
    pool.configure(size=0, idle_seconds=None)
    with pool.lease(shelf.find("c")):
        pass
    assert [loaded.model for loaded in pool.resident()] == ["c"]


def test_asked_for_again_before_it_was_given_back_a_model_stays() -> None:
    shelf = Shelf()
    pool = shelf.pool()
    with pool.lease(shelf.find("a")):
        pool.unload()
        with pool.lease(shelf.find("a")):
            pass
    assert not shelf.opened[0].closed and len(shelf.opened) == 1


def test_the_starter_comes_from_the_pool_and_its_folder_is_the_same_model() -> None:
    pool = Pool()
    folder = Path(__file__).parent.parent / "kgen_ext" / "starter"
    with pool.lease(resolve("starter"), engine="reference") as first:
        text = first.expand([ExpandRequest("1girl, shrine", tag_length="very_short", seed=1)])[0].prompt
    with pool.lease(resolve(str(folder)), engine="reference") as other:
        assert other is first
        assert other.expand([ExpandRequest("1girl, shrine", tag_length="very_short", seed=1)])[0].prompt == text
    assert pool.unload() == 1
