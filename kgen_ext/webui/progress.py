"""The host's progress bar and text while prompts are expanded, and its buttons that stop.

Leaves the host's job state as it was found: until images begin a job's count is -1, and a host that finds another there
shows a wrong bar for the rest of the job. Refuses to know what is expanded.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kgen_ext.events import Event, Finished, TagAccepted
from kgen_ext.webui.host import Host

# Steps of the bar a row is worth: tags come one by one, so that one prompt moves it too. Most rows have fewer.
STEPS = 40
_KEPT = ("job_count", "job_no", "sampling_step", "sampling_steps", "textinfo")


@dataclass(frozen=True, slots=True)
class JobProgress:
    """What the one who expands calls: `on_event` with every event, `cancelled` before every token."""

    on_event: Callable[[Event], None]
    cancelled: Callable[[], bool]


@contextmanager
def shown_progress(host: Host, *, rows: int) -> Iterator[JobProgress]:
    """Show a bar for so many rows and a line of text, and put everything back at the end.

    Where the host counts images already (X/Y/Z plots) its bar is left alone and only the text is shown.
    """
    state = host.state
    if state is None:
        yield JobProgress(lambda event: None, host.interrupted)
        return
    kept = {name: getattr(state, name) for name in _KEPT if hasattr(state, name)}
    owns_bar = (kept.get("job_count") or -1) <= 0
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
    """Begin and end a job of our own, while the host's queue lock is held: a stop meant for an earlier one is void."""
    state: Any = host.state
    begin, end = getattr(state, "begin", None), getattr(state, "end", None)
    if begin is None or end is None:
        yield
        return
    begin(job=name)
    try:
        yield
    finally:
        end()
        # As the host does after each of its own jobs.
        state.skipped = state.interrupted = False
        if hasattr(state, "stopping_generation"):
            state.stopping_generation = False
