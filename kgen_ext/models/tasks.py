"""Background tasks: long work on models in a thread that outlives the page, one at a time, cancellable."""
from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass

from kgen_ext.errors import Cancelled, KGenError, UserError
from kgen_ext.models.progress import DownloadProgress

# Yields progress and returns the line to show at the end.
TaskSteps = Generator[DownloadProgress, None, str]
# Is given a function that tells whether to stop.
TaskFn = Callable[[Callable[[], bool]], TaskSteps]
# Tells an error in the words of a front end.
Explain = Callable[[KGenError], str]


@dataclass(frozen=True, slots=True)
class TaskState:
    """Snapshot of a task: a line of text, the completed fraction (0 to 1, None if unknown), and how it ended."""

    line: str
    fraction: float | None = None
    done: bool = False
    failed: bool = False
    cancelled: bool = False


class BackgroundTask:
    """A task that runs in a thread of its own from the moment it is created."""

    def __init__(self, name: str, fn: TaskFn, *, explain: Explain = str) -> None:
        self.name = name
        self._explain = explain
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._state = TaskState(f"{name}: starting")
        self._thread = threading.Thread(target=self._run, args=(fn,), name=f"kgen {name}", daemon=True)
        self._thread.start()

    @property
    def state(self) -> TaskState:
        """Return the current state."""
        with self._lock:
            return self._state

    def stop(self) -> None:
        """Ask the task to stop, which it does at its next step."""
        self._stop.set()

    def wait(self, seconds: float) -> bool:
        """Wait for the task to end, at most this long; return whether it has ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self, fn: TaskFn) -> None:
        steps = fn(self._stop.is_set)
        try:
            while True:
                progress = next(steps)
                fraction = min(progress.done / progress.total, 1.0) if progress.total else None
                self._set(TaskState(str(progress), fraction))
        except StopIteration as end:
            self._set(TaskState(str(end.value), done=True))
        except Cancelled as error:
            self._set(TaskState(self._explain(error), done=True, cancelled=True))
        except KGenError as error:
            self._set(TaskState(self._explain(error), done=True, failed=True))
        except Exception as error:  # top of the thread: nobody above could tell the user
            self._set(TaskState(f"{self.name}: {type(error).__name__}: {error}", done=True, failed=True))

    def _set(self, state: TaskState) -> None:
        with self._lock:
            self._state = state


class BackgroundTasks:
    """Runs at most one task at a time. explain: how an error is told."""

    def __init__(self, *, explain: Explain = str) -> None:
        self._explain = explain
        self._lock = threading.Lock()
        self._task: BackgroundTask | None = None

    @property
    def last(self) -> BackgroundTask | None:
        """Return the task that runs or ran last, None where there was none."""
        with self._lock:
            return self._task

    @property
    def running(self) -> BackgroundTask | None:
        """Return the running task, or None."""
        task = self.last
        return None if task is None or task.state.done else task

    def start(self, name: str, fn: TaskFn) -> BackgroundTask:
        """Start a task, or join the running one of that name; raises UserError while another task runs."""
        with self._lock:
            if self._task is not None and not self._task.state.done:
                if self._task.name == name:
                    return self._task
                raise UserError(f"{self._task.name} is still running", hint="wait for it, or press Cancel")
            self._task = BackgroundTask(name, fn, explain=self._explain)
            return self._task

    def stop(self) -> bool:
        """Ask the running task to stop; return whether there was one."""
        task = self.running
        if task is not None:
            task.stop()
        return task is not None
