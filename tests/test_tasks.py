"""Background tasks: one at a time, joined by whoever starts the same one again."""
from __future__ import annotations

import threading
from collections.abc import Callable, Generator

import pytest

from kgen_ext.errors import Cancelled, Failure, UserError
from kgen_ext.models.progress import DownloadProgress
from kgen_ext.models.tasks import BackgroundTask, BackgroundTasks, TaskState


def waiting(free: threading.Event) -> Callable[[Callable[[], bool]], Generator[DownloadProgress, None, str]]:
    def work(stop: Callable[[], bool]) -> Generator[DownloadProgress, None, str]:
        while not free.wait(0.01):
            if stop():
                raise Cancelled("stopped")
            yield DownloadProgress("downloading", "x", 1, 4)
        return "finished"

    return work


def test_one_task_runs_at_a_time_and_the_same_one_is_joined() -> None:
    free, tasks = threading.Event(), BackgroundTasks()
    first = tasks.start("a", waiting(free))
    assert tasks.start("a", waiting(free)) is first
    with pytest.raises(UserError, match="a is still running"):
        tasks.start("b", waiting(free))
    free.set()
    assert first.wait(5)
    assert first.state == TaskState("finished", None, done=True)
    assert tasks.running is None
    assert not tasks.stop()
    assert tasks.start("b", waiting(free)).wait(5)


@pytest.mark.parametrize("failure, line", [
    (Failure("no room", hint="free some"), "no room (free some)"), (ValueError("odd"), "a: ValueError: odd"),
])  # fmt: skip
def test_a_task_that_fails_says_why(failure: Exception, line: str) -> None:
    def work(stop: Callable[[], bool]) -> Generator[DownloadProgress, None, str]:
        yield DownloadProgress("asking", "x")
        raise failure

    task = BackgroundTask("a", work)
    assert task.wait(5)
    assert task.state == TaskState(line, None, done=True, failed=True)


def test_a_task_that_was_stopped_is_over_and_did_not_fail() -> None:
    task = BackgroundTask("a", waiting(threading.Event()))
    task.stop()
    assert task.wait(5)
    assert task.state == TaskState("stopped", None, done=True, cancelled=True)
