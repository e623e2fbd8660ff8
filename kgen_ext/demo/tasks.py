"""Tasks: a visitor's work, in a thread when its turn comes, shown as it goes on and stopped when they leave."""
from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from kgen_ext.demo.turns import Turn

View = TypeVar("View")
POLL_SECONDS = 0.1
# A page that has left is noticed when it is sent something: so often it is sent what it has already.
BEAT_SECONDS = 1.0


class Task(ABC):
    """Work for one visitor. `cancel` may come from any thread."""

    def __init__(self) -> None:
        self._cancelled = threading.Event()
        self.ended = False  # it has done its work, or was cancelled before it began

    @abstractmethod
    def work(self) -> None:
        """Do the work, in a thread; raises nothing."""

    def cancel(self) -> None:
        """Ask the work to stop."""
        self._cancelled.set()

    def cancelled(self) -> bool:
        """Return whether it was asked to stop."""
        return self._cancelled.is_set()

    def stop_line(self) -> str:
        """Return how far stopping it is, "" where it was not asked to."""
        return "" if not self.cancelled() else "Stopped." if self.ended else "Stopping ..."


async def follow(task: Task, turn: Turn, view: Callable[[], View]) -> AsyncIterator[View]:
    """Yield views until the task has ended: each new one, the last one twice where it does not change for a second.

    The task begins when nothing is ahead of its turn, and leaves it when it has ended. It is cancelled when this
    iterator is closed.
    """
    thread = threading.Thread(target=_work, args=(task, turn), name="kgen-demo", daemon=True)
    began = False
    shown: View | None = None
    at = 0.0
    try:
        while True:
            if not began and not turn.ahead and not task.cancelled():
                thread.start()
                began = True
            task.ended = not thread.is_alive() if began else task.cancelled()
            if task.ended and not began:
                turn.leave()  # nothing is ahead of what will not begin
            current = view()
            now = time.monotonic()
            if task.ended:
                yield current
                return
            if current != shown or now - at >= BEAT_SECONDS:
                shown, at = current, now
                yield current
            await asyncio.sleep(POLL_SECONDS)
    finally:
        task.cancel()
        if not began:
            turn.leave()


def _work(task: Task, turn: Turn) -> None:
    try:
        task.work()
    finally:
        turn.leave()


class Sessions:
    """The tasks of each open page, by gradio's session. Thread-safe."""

    def __init__(self, *, size: int = 300) -> None:
        """size: pages remembered, the last used ones."""
        self._size = size
        self._lock = threading.Lock()
        self._tasks: OrderedDict[str, dict[str, Task]] = OrderedDict()

    def keep(self, session: str, kind: str, task: Task) -> None:
        """Remember a page's latest task of a kind; the one before it is cancelled."""
        with self._lock:
            tasks = self._tasks.setdefault(session, {})
            earlier = tasks.get(kind)
            tasks[kind] = task
            self._tasks.move_to_end(session)
            forgotten = self._tasks.popitem(last=False)[1] if len(self._tasks) > self._size else {}
        for old in (earlier, *forgotten.values()):
            if old is not None:
                old.cancel()

    def latest(self, session: str, kind: str) -> Task | None:
        """Return a page's latest task of a kind."""
        with self._lock:
            return self._tasks.get(session, {}).get(kind)

    def cancel(self, session: str, kind: str) -> None:
        """Cancel a page's latest task of a kind."""
        task = self.latest(session, kind)
        if task is not None:
            task.cancel()

    def drop(self, session: str, kind: str, task: Task) -> None:
        """Forget a task that has ended, with what it holds."""
        with self._lock:
            tasks = self._tasks.get(session, {})
            if tasks.get(kind) is task:
                del tasks[kind]

    def forget(self, session: str) -> None:
        """Cancel and forget all tasks of a page: it was closed."""
        with self._lock:
            tasks = self._tasks.pop(session, {})
        for task in tasks.values():
            task.cancel()

    def __len__(self) -> int:
        """Return how many pages have a task."""
        with self._lock:
            return len(self._tasks)
