"""A run of a node: its requests in one batch on the shared model, with progress, until the user stops it."""
from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

from kgen_ext.comfy import host
from kgen_ext.comfy.memory import lease
from kgen_ext.comfy.messages import node_note
from kgen_ext.events import Event, Expansion, Finished, PartialText, TagAccepted
from kgen_ext.models import ModelFiles
from kgen_ext.request import ExpandRequest

# Steps of the bar for each row, one a tag, so that the bar moves for a single prompt too. Most rows have fewer tags.
STEPS = 40
_PERIOD = 0.1  # seconds between two updates


@dataclass(frozen=True, slots=True)
class Runner:
    """A model on an engine and a device, run for one node. node: its id in the graph, None where there is none."""

    files: ModelFiles
    engine: str
    device: str
    node: str | None

    def expand(self, requests: Sequence[ExpandRequest], *, layouts: Sequence[ExpandRequest] = ()) -> list[Expansion]:
        """Return the expansions of the requests in order, then those of `layouts`, which differ in the format only.

        Raises ComfyUI's own exception if the user stops it, KGenError.
        """
        rows = sum(request.count for request in requests)
        progress = NodeProgress(rows, node=self.node)
        done = list[Expansion]()
        with lease(self.files, engine=self.engine, device=self.device) as expander:
            # Closed before the model is returned: an open stream holds it.
            with closing(expander.stream([*requests, *layouts], cancelled=host.interrupted)) as events:
                for event in events:
                    progress.note(event)
                    if isinstance(event, Finished):
                        done.append(event.expansion)
        host.stop_if_interrupted()
        return sorted(done, key=lambda expansion: expansion.row)


class NodeProgress:
    """The bar of a node, and at its foot the text as it grows."""

    def __init__(self, rows: int, *, node: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._rows, self._node, self._clock = rows, node, clock
        self._bar = host.progress_bar(rows * STEPS, node)
        self._tags: dict[int, int] = {}
        self._texts: dict[int, PartialText] = {}
        self._finished = self._steps = 0
        self._due = clock()

    def note(self, event: Event) -> None:
        """Count an event, and show it if it is time: each message goes to every page."""
        if event.row >= self._rows:
            return  # another layout of a row
        if isinstance(event, Finished):
            self._finished += 1
            self._tags[event.row] = STEPS
        else:
            self._texts.setdefault(event.row, PartialText()).note(event)
            if isinstance(event, TagAccepted):
                self._tags[event.row] = min(self._tags.get(event.row, 0) + 1, STEPS - 1)
        is_last = self._finished == self._rows
        if self._clock() < self._due and not is_last:
            return
        self._due = self._clock() + _PERIOD
        if (steps := sum(self._tags.values())) != self._steps:
            self._steps = steps
            self._bar.update_absolute(steps)
        if not is_last and event.row in self._texts:
            text = self._texts[event.row].text()
            host.show_text(text if self._rows == 1 else f"{self._finished} of {self._rows}: {text}", self._node)


def show_result(expansions: Sequence[Expansion], node: str | None, *, notes: Sequence[str] = ()) -> None:
    """Show at the foot of a node what was added, then the notes: ours, and those of the expansions.

    The page's script shows the prompts themselves.
    """
    tags = sum(len(expansion.added_tags) for expansion in expansions)
    told = dict.fromkeys(node_note(note) for expansion in expansions for note in expansion.notes)
    rows = f" to {len(expansions)} prompts" if len(expansions) > 1 else ""
    host.show_text("\n".join((f"{tags} tags added{rows}", *notes, *told)), node)
