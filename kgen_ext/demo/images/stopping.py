"""Stopping a job on an image server: ours and no other, and again until it has stopped.

A server may be too busy to answer, or deaf between two steps; a job may still wait in its queue. So it is asked until
the job has ended.
"""
from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable

from kgen_ext.demo.images.values import ImageError, ServerGone

_POLL = 1.0  # seconds between two questions
_UNKNOWN = 5.0  # seconds for which a job that was sent may still turn up


class State(enum.Enum):
    """State of a job as the server knows it. UNKNOWN: ended, not there yet, or the server knows no ids."""

    QUEUED = "waiting in the server's queue"
    ACTIVE = "being drawn"
    UNKNOWN = "with the server"


def stop_job(ask: Callable[[], State], interrupt: Callable[[], None], *, seconds: float) -> None:
    """Stop a job: at once if it is being drawn, and what is left of it in a thread. seconds: given up after these.

    ask: returns its state. interrupt: stops what is being drawn. Both may raise ImageError.
    """
    until, turns_up = time.monotonic() + seconds, time.monotonic() + _UNKNOWN
    drawn = False

    def ended() -> bool:
        nonlocal drawn
        try:
            state = ask()
            if state is State.ACTIVE:
                drawn = True
                interrupt()
        except ServerGone:
            return True
        except ImageError:
            return False
        return state is State.UNKNOWN and (drawn or time.monotonic() > turns_up)

    def go_on() -> None:
        while time.monotonic() < until:
            time.sleep(_POLL)
            if ended():
                return

    if not ended():
        threading.Thread(target=go_on, name="kgen-demo-cancel", daemon=True).start()
