"""The work of a pair of pictures: the prompt as it was and as it was expanded, drawn from the same seed."""
from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kgen_ext.demo.messages import explain
from kgen_ext.demo.tasks import Task
from kgen_ext.errors import Cancelled

if TYPE_CHECKING:
    from kgen_ext.demo.images import ImageServer, Pair, Picture, PictureSettings

_LOG = logging.getLogger("kgen")


@dataclass(frozen=True, slots=True)
class PairView:
    """How far a pair is. The picture of the raw prompt is there before the other."""

    line: str
    failed: bool
    raw: Picture | None = None
    expanded: Picture | None = None
    pair: Pair | None = None


class PictureTask(Task):
    """A pair. raw, expanded: the prompts; they are sent byte for byte."""

    def __init__(self, server: ImageServer, raw: str, expanded: str, settings: PictureSettings) -> None:
        super().__init__()
        self._server, self._raw, self._expanded, self._settings = server, raw, expanded, settings
        self._lock = threading.Lock()
        self._view = PairView(f"Asking {server.label} ...", False)

    def work(self) -> None:
        """Have both drawn."""
        try:
            self._draw()
        except Cancelled:
            pass  # which is no error: `view` says so
        except Exception as error:  # top of the thread: nobody else would hear of it
            _LOG.debug("a pair of pictures failed:", exc_info=error)
            before = self.view()
            self._show(PairView(explain(error), True, before.raw, before.expanded))

    def view(self) -> PairView:
        """Return how far it is."""
        with self._lock:
            view = self._view
        line = self.stop_line() if view.pair is None and not view.failed else ""
        return replace(view, line=line) if line else view

    def _draw(self) -> None:
        from kgen_ext.demo.images import Pair, Picture, draw_pair

        raw: Picture | None = None
        line = self._view.line
        steps = draw_pair(self._server, self._raw, self._expanded, self._settings, cancelled=self.cancelled)
        for step in steps:
            if isinstance(step, Pair):
                notes = dict.fromkeys(filter(None, (step.raw.note, step.expanded.note)))
                seconds = step.raw.seconds + step.expanded.seconds
                line = f"Both by {step.server}, seed {step.settings.seed}, in {seconds:.1f} s."
                self._show(PairView(" ".join((line, *notes)), False, step.raw, step.expanded, step))
                return
            if not isinstance(step, Picture):
                line = step.text
                self._show(PairView(line, False, raw))
            elif raw is None:
                raw = step
                self._show(PairView(line, False, raw))
            else:
                self._show(PairView(line, False, raw, step))

    def _show(self, view: PairView) -> None:
        with self._lock:
            self._view = view
