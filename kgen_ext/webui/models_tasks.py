"""Long work on models in a thread of its own, one at a time: it goes on when the page is closed, and can be stopped.

Refuses to know pages and models; it runs a generator of steps and remembers the last one, for whoever asks.
"""
from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass

from kgen_ext.catalogue.progress import Progress
from kgen_ext.errors import Cancelled, KGenError, UserError
from kgen_ext.webui.wording import on_page

# A generator of steps that returns the line to show in the end; it is given a function that says whether to stop.
Work = Callable[[Callable[[], bool]], Generator[Progress, None, str]]


@dataclass(frozen=True, slots=True)
class State:
    """What to show: a line, how far it is (0 to 1, None where nobody knows), and whether it is over and went wrong."""

    line: str
    share: float | None = None
    over: bool = False
    failed: bool = False


class Task:
    """Work that was started."""

    def __init__(self, name: str, work: Work) -> None:
        self.name = name
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._state = State(f"{name}: begins")
        self._thread = threading.Thread(target=self._run, args=(work,), name=f"kgen {name}", daemon=True)
        self._thread.start()

    @property
    def state(self) -> State:
        """Return what to show now."""
        with self._lock:
            return self._state

    def stop(self) -> None:
        """Ask it to stop; it does so at its next step."""
        self._stop.set()

    def wait(self, seconds: float) -> bool:
        """Wait for its end and say whether it is over."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self, work: Work) -> None:
        steps = work(self._stop.is_set)
        try:
            while True:
                step = next(steps)
                share = step.done / step.total if step.total else None
                self._set(State(str(step), min(share, 1.0) if share is not None else None))
        except StopIteration as end:
            self._set(State(str(end.value), over=True))
        except Cancelled as error:
            self._set(State(on_page(error), over=True))
        except KGenError as error:
            self._set(State(on_page(error), over=True, failed=True))
        except Exception as error:  # the end of a thread: nobody above could tell the user
            self._set(State(f"{self.name}: {type(error).__name__}: {error}", over=True, failed=True))

    def _set(self, state: State) -> None:
        with self._lock:
            self._state = state


class Tasks:
    """The one task that may run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._task: Task | None = None

    @property
    def running(self) -> Task | None:
        """Return the task that is not over, or None."""
        with self._lock:
            return None if self._task is None or self._task.state.over else self._task

    def start(self, name: str, work: Work) -> Task:
        """Start work, or return the task of that name if it runs; raises UserError while another one does."""
        with self._lock:
            if self._task is not None and not self._task.state.over:
                if self._task.name == name:
                    return self._task
                raise UserError(f"{self._task.name} is under way", hint="wait for it, or press Cancel")
            self._task = Task(name, work)
            return self._task

    def stop(self) -> bool:
        """Ask the running task to stop; return whether there was one."""
        task = self.running
        if task is not None:
            task.stop()
        return task is not None
