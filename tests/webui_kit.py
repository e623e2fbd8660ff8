"""A stage for tests of the extension: a fake host, a session with a fake expander, and the script to run."""
from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fake_host import FakeHost, install
from fake_parts import Script

from kgen_ext import events
from kgen_ext.events import By, Event, Expansion, Fields, Finish, Piece
from kgen_ext.request import ExpandRequest
from kgen_ext.service.pool import Pool
from kgen_ext.webui import history, host, script, session, settings_page, ui
from kgen_ext.webui.controls import CONTROLS

# Taken here: a stage puts another session in the place of the one it finds.
CACHED = (host.current_host, session.current, script._hooks, settings_page._console, ui._choices, ui._defaults,
          history.current_history)  # fmt: skip


@dataclass
class FakeExpander:
    """An expander that adds `, word<seed>` to every prompt, records requests, and calls `before_row`."""

    model: str = "starter"
    engine: str = "fake"
    asked: list[list[ExpandRequest]] = field(default_factory=list)
    failure: BaseException | None = None
    adds_nothing: bool = False
    notes: tuple[str, ...] = ()
    before_row: Callable[[int], None] = lambda row: None
    closed: int = 0
    module: Any = None
    lock: Any = field(default_factory=threading.Lock)

    def stream(
        self, requests: Sequence[ExpandRequest], *, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[Event]:
        with self.lock:
            self.asked.append(list(requests))
            for row, request in enumerate(requests):
                self.before_row(row)
                if self.failure is not None:
                    raise self.failure
                stopped = cancelled()
                if not stopped:
                    yield events.TagAccepted(row, "word")
                yield events.Finished(row, self.expansion(request, row, stopped))

    def expansion(self, request: ExpandRequest, row: int, stopped: bool) -> Expansion:
        word = f"word{request.seed}"
        added = () if self.adds_nothing else (Piece(f", {word}", By.MODEL),)
        pieces = (Piece(request.prompt, By.USER), *added)
        return Expansion(
            prompt="".join(piece.text for piece in pieces), pieces=pieces, source=request.prompt, seed=request.seed,
            row=row, model=self.model, engine=self.engine, fields=Fields(), added_tags=(word,) if added else (),
            added_text="", finish=Finish.CANCELLED if stopped else Finish.COMPLETE, decoded_tokens=1, forced_tokens=0,
            rewound_tokens=0, seconds=0.0,
            notes=(*self.notes, *(() if added else ("the model added nothing: it had nothing more to say",))),
        )  # fmt: skip

    def close(self) -> None:
        self.closed += 1


@dataclass
class Stage:
    """The fake host, the script, the expander behind the session, and what opening a model raises, if anything."""

    host: FakeHost
    script: Any
    expander: FakeExpander
    session: session.Session
    opened: list[dict[str, Any]] = field(default_factory=list)
    failure: BaseException | None = None
    last: Any = None

    def run(self, *, img2img: bool = False, args: Sequence[Any] | None = None, **fields: Any) -> Any:
        """Run a job with the controls at their defaults, enabled and as `values` says; return what came out."""
        return self.host.run(self.job(img2img=img2img, args=args, **fields))

    def job(self, *, img2img: bool = False, args: Sequence[Any] | None = None, values: Any = None,
            **fields: Any) -> Any:  # fmt: skip
        make = self.host.img2img if img2img else self.host.txt2img
        fields = {"prompt": "cat", "seed": 7, **fields}
        self.last = make(self.script, args=positional(**(values or {})) if args is None else args, **fields)
        return self.last

    def host_errors(self) -> list[BaseException]:
        """Return what the hooks of the last job raised at the host."""
        return [] if self.last is None else self.last.scripts.errors

    @property
    def requests(self) -> list[ExpandRequest]:
        return [request for asked in self.expander.asked for request in asked]


def positional(**values: Any) -> list[Any]:
    """Return the values `ui()` hands over: one a control, in the table's order, as the widgets show them."""
    values = {"enabled": True, **values}
    return [param.show(values[param.field]) if param.field in values else param.shown_default for param in CONTROLS]


def set_stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, kind: str = "a1111", real: bool = False) -> Stage:
    """Put everything in place. real: the starter itself in place of the fake expander."""
    fake = install(monkeypatch, tmp_path, kind=kind)
    for cached in CACHED:
        cached.cache_clear()
    expander = FakeExpander()
    pool = Pool(open=lambda files, **given: open_fake(stage, {"model": files.id, **given}))
    own = session.Session(pool=None if real else pool)
    monkeypatch.setattr(session, "current", lambda: own)

    class KGenScript(script.KGenScript, Script):
        pass

    stage = Stage(fake, KGenScript(), expander, own)
    script.register()
    return stage


def open_fake(stage: Stage, given: dict[str, Any]) -> Any:
    stage.opened.append(given)
    if stage.failure is not None:
        raise stage.failure
    return stage.expander


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Stage]:
    """The usual stage: AUTOMATIC1111 and a fake expander."""
    yield set_stage(monkeypatch, tmp_path)
    forget()


def forget() -> None:
    """Leave no fake host behind in what the extension remembers."""
    for cached in CACHED:
        cached.cache_clear()
