"""A fake model and the parts of the demo page for tests, which need no gradio."""
from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from kgen_ext.demo.expanding import Runner
from kgen_ext.demo.inputs import Inputs, read_inputs
from kgen_ext.demo.offers import Offer
from kgen_ext.errors import UnknownModel
from kgen_ext.events import By, Delta, Event, Expansion, Fields, Finish, Finished, Piece, Started, TagAccepted
from kgen_ext.request import ExpandRequest


class FakeModel:
    """An expander that adds one tag of its seed to each row; `gate` holds it before its rows."""

    def __init__(self) -> None:
        self.calls = 0
        self.failure: BaseException | None = None
        self.asked: list[ExpandRequest] = []
        self.gate = threading.Event()
        self.gate.set()
        self.reached = threading.Event()

    def stream(self, requests: Sequence[ExpandRequest], *, cancelled: Callable[[], bool]) -> Iterator[Event]:
        self.asked += requests
        return self._stream(requests[0], cancelled)

    def _stream(self, request: ExpandRequest, cancelled: Callable[[], bool]) -> Iterator[Event]:
        if self.failure is not None:
            raise self.failure
        for row in range(request.count):
            self.calls += 2
            tag = f"word{request.seed + row}"
            yield Started(row)
            yield Delta(row, "tag", tag)
            self.reached.set()
            while not self.gate.wait(0.01) and not cancelled():
                pass
            if not cancelled():
                yield TagAccepted(row, tag)
            yield Finished(row, expansion_of(request, row, () if cancelled() else (tag,)))


def expansion_of(request: ExpandRequest, row: int, tags: tuple[str, ...]) -> Expansion:
    """Return the row's expansion with these tags behind the prompt."""
    added = "".join(f", {tag}" for tag in tags)
    pieces = (Piece(request.prompt, By.USER), *((Piece(added, By.MODEL),) if added else ()))
    return Expansion(
        prompt=request.prompt + added, pieces=pieces, source=request.prompt, seed=request.seed + row, row=row,
        model="fake", engine="none", fields=Fields(general=tags), added_tags=tags, added_text="",
        finish=Finish.COMPLETE if tags else Finish.CANCELLED, decoded_tokens=5, forced_tokens=2, rewound_tokens=1,
        seconds=0.25,
    )  # fmt: skip


@dataclass
class FakePool:
    """Lends the fake model."""

    model: FakeModel = field(default_factory=FakeModel)

    @contextmanager
    def lease(self, files: Any, **options: Any) -> Iterator[FakeModel]:
        yield self.model


@dataclass
class FakeOffers:
    """Offers models by name; `gone` are no longer installed."""

    models: dict[str, Offer] = field(
        default_factory=lambda: {"fake": Offer("fake"), "tags": Offer("tags", tags_only=True)}
    )
    gone: set[str] = field(default_factory=set)

    def names(self) -> tuple[str, ...]:
        return tuple(self.models)

    def files(self, name: str) -> Any:
        if name in self.gone or name not in self.models:
            raise UnknownModel(f"model: {name!r} is not installed", hint="choose another")
        return name

    def offer(self, name: str) -> Offer:
        return self.models[name]


def fake_runner() -> Runner:
    return Runner(FakePool(), FakeOffers())  # type: ignore[arg-type]


def inputs(**values: Any) -> Inputs:
    """Return the inputs of a page on which these values were set."""
    return read_inputs({"model": "fake", **values})


def needs_gradio() -> None:
    """Skip the tests of a module, or fail where the demo is required, without the gradio that the page needs."""
    if os.environ.get("KGEN_REQUIRE_DEMO"):
        import gradio

        assert int(gradio.__version__.partition(".")[0]) >= 6
    pytest.importorskip("gradio", minversion="6.0", reason="gradio is not installed")


def built(service: Any) -> Any:
    """Return the page. In an event loop: without one, gradio creates its own and leaves them open."""
    from kgen_ext.demo.page import build_page

    async def build() -> Any:
        return build_page(service)

    return asyncio.run(build())
