"""A fake service for tests of the command line: it finishes at once, the last row first."""
from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

from kgen_ext import events
from kgen_ext.events import By, Delta, Event, Expansion, Fields, Finish, Piece
from kgen_ext.request import ExpandRequest


class FakeExpander:
    """An expander that adds `, smile` to every prompt; the last row finishes first."""

    def __init__(self, failure: BaseException | None) -> None:
        self.failure = failure
        self.model, self.engine, self.reason = "fake", "none", "as asked for"
        self.requests: list[ExpandRequest] = []
        self.opened_with: dict[str, Any] = {}
        self.notes: tuple[str, ...] = ()

    def __enter__(self) -> FakeExpander:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def stream(self, requests: Sequence[ExpandRequest]) -> Iterator[Event]:
        self.requests = list(requests)
        rows = [(request, request.seed + k) for request in requests for k in range(request.count)]
        for row, (request, seed) in reversed(list(enumerate(rows))):
            yield events.Started(row)
            yield Delta(row, "tag", ", frown")
            yield events.TagRejected(row, "frown", "ban", "frown")
            yield Delta(row, "tag", ", smile")
            yield events.TagAccepted(row, "smile")
            if self.failure is not None:
                raise self.failure
            yield events.Finished(row, self.expansion(request.prompt, row, seed))

    def expansion(self, prompt: str, row: int, seed: int) -> Expansion:
        pieces = (Piece(prompt, By.USER), Piece(", smile", By.MODEL))
        return Expansion(
            prompt=prompt + ", smile", pieces=pieces, source=prompt, seed=seed, row=row, model="fake", engine="none",
            fields=Fields(general=("smile",)), added_tags=("smile",), added_text="", finish=Finish.COMPLETE,
            decoded_tokens=7, forced_tokens=2, rewound_tokens=3, seconds=0.123456, notes=self.notes,
        )  # fmt: skip


class Terminal(io.StringIO):
    """A terminal that keeps what is written to it."""

    def isatty(self) -> bool:
        return True
