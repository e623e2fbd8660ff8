"""The host's progress bar, its line of text and its stop buttons during an expansion.

The host's job state is restored afterwards: a job's count is -1 until its first image, and with any other value there
the host shows a wrong bar for the rest of the job.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kgen_ext.events import Event, Finished, TagAccepted
from kgen_ext.webui.host import Host

# Steps of the bar for each row, one a tag, so that the bar moves for a single prompt too. Most rows have fewer tags.
STEPS = 40
_KEPT = ("job_count", "job_no", "sampling_step", "sampling_steps", "textinfo")


@dataclass(frozen=True, slots=True)
class JobProgress:
    """Callbacks of an expansion: `on_event` for every event, `cancelled` before every token."""

    on_event: Callable[[Event], None]
    cancelled: Callable[[], bool]


@contextmanager
def shown_progress(host: Host, *, rows: int) -> Iterator[JobProgress]:
    """Show a bar for `rows` rows and a line of text, and restore the host's state at the end.

    A bar that counts images already (X/Y/Z plots) is left alone; then only the text is shown.
    """
    state = host.state
    if state is None:
        yield JobProgress(lambda event: None, host.interrupted)
        return
    kept = {name: getattr(state, name) for name in _KEPT if hasattr(state, name)}
    owns_bar = host.bar_is_free()
    tags = dict.fromkeys(range(rows), 0)

    def on_event(event: Event) -> None:
        if isinstance(event, TagAccepted):
            tags[event.row] = min(tags.get(event.row, 0) + 1, STEPS - 1)
        elif isinstance(event, Finished):
            tags[event.row] = STEPS
        else:
            return
        if owns_bar:
            state.sampling_step = min(sum(tags.values()), STEPS * rows)

    try:
        state.textinfo = f"KGen: expanding {rows} prompt{'' if rows == 1 else 's'}"
        if owns_bar:
            state.job_count, state.job_no, state.sampling_steps, state.sampling_step = 1, 0, STEPS * rows, 0
        yield JobProgress(on_event, host.interrupted)
    finally:
        for name, value in kept.items():
            setattr(state, name, value)


@contextmanager
def own_job(host: Host, name: str) -> Iterator[None]:
    """Begin and end a job of our own under the host's queue lock; a stop meant for an earlier job is cleared."""
    state: Any = host.state
    begin, end = getattr(state, "begin", None), getattr(state, "end", None)
    if begin is None or end is None:
        yield
        return
    begin(name)  # by position: its name differs from host to host
    try:
        yield
    finally:
        end()
        # As the host resets them after its own jobs.
        state.skipped = state.interrupted = False
        if hasattr(state, "stopping_generation"):
            state.stopping_generation = False
