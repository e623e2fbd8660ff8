"""The work of an expansion: the model is lent by the pool, all candidates are written in one batch."""
from __future__ import annotations

import logging
import secrets
import threading
from contextlib import closing
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING

from kgen_ext.demo.inputs import Inputs, make_request
from kgen_ext.demo.messages import explain
from kgen_ext.demo.offers import Offer, Offers
from kgen_ext.demo.tasks import Task
from kgen_ext.events import Expansion, Finished, PartialText

if TYPE_CHECKING:
    from kgen_ext.service.pool import Pool

_LOG = logging.getLogger("kgen")
_MAX_SEED = 2**31 - 1  # of those drawn: short enough to be read aloud


@dataclass(frozen=True, slots=True)
class Runner:
    """What runs a model: the pool that all visitors share, and the owner's choice of an engine and a device."""

    pool: Pool
    offers: Offers
    engine: str = "auto"
    device: str = "auto"
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class RunView:
    """How far a run is. line: what it does or what went wrong. partial: the text so far of each candidate.

    finished: by candidate. seconds, calls: of the whole run, None before its end; calls of the model, 0 where it was
    answered from memory.
    """

    line: str
    failed: bool
    source: str
    partial: tuple[str, ...]
    finished: tuple[Expansion | None, ...]
    seconds: float | None = None
    calls: int = 0

    @property
    def expansions(self) -> tuple[Expansion, ...]:
        """Return the finished candidates."""
        return tuple(expansion for expansion in self.finished if expansion is not None)


class ExpansionTask(Task):
    """A run. `inputs` has the seed that it is run with."""

    def __init__(self, inputs: Inputs, offer: Offer, runner: Runner) -> None:
        """Raises BadValue where the inputs make no request."""
        super().__init__()
        seed = inputs.seed if inputs.seed >= 0 else secrets.randbelow(_MAX_SEED)
        self.inputs = replace(inputs, seed=seed)
        self.offer = offer
        self.request = make_request(inputs, seed=seed, tags_only=offer.tags_only)
        self._runner = runner
        self._lock = threading.Lock()
        self._partial = [PartialText() for _ in range(inputs.count)]
        self._finished: list[Expansion | None] = [None] * inputs.count
        self._line, self._failed = "Loading the model ...", False
        self._seconds: float | None = None
        self._calls = 0

    def work(self) -> None:
        """Lend the model and expand."""
        try:
            self._expand()
        except Exception as error:  # top of the thread: nobody else would hear of it
            _LOG.debug("a run failed:", exc_info=error)
            with self._lock:
                self._line, self._failed = explain(error), True

    def view(self) -> RunView:
        """Return how far it is."""
        with self._lock:
            line = self._line
            if not self._failed and self._seconds is None:
                line = self.stop_line() or line
            partial = tuple(text.text() for text in self._partial)
            return RunView(line, self._failed, self.request.prompt, partial, tuple(self._finished), self._seconds,
                           self._calls)  # fmt: skip

    def _expand(self) -> None:
        runner = self._runner
        files = runner.offers.files(self.inputs.model)
        with runner.pool.lease(
            files, engine=runner.engine, device=runner.device, threads=runner.threads
        ) as expander:
            with self._lock:
                self._line = "Writing ..."
            began, calls = perf_counter(), expander.calls
            # Closed before the lease ends: an open stream holds the model.
            with closing(expander.stream([self.request], cancelled=self.cancelled)) as events:
                for event in events:
                    with self._lock:
                        if isinstance(event, Finished):
                            self._finished[event.row] = event.expansion
                        else:
                            self._partial[event.row].note(event)
            with self._lock:
                self._seconds, self._calls = perf_counter() - began, expander.calls - calls
                self._line = "Stopped. What was complete is kept." if self.cancelled() else ""
