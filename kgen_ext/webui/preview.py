"""One preview: a prompt expanded in a thread of its own, in the host's queue, told as a stream of pages.

The thread holds the host's lock, not the page's generator: a browser that goes away leaves no lock behind. Refuses to
know gradio (`preview_panel` does).
"""
from __future__ import annotations

import functools
import json
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kgen_ext.errors import BadValue
from kgen_ext.events import Expansion, Finished
from kgen_ext.webui.expanding import lease, request_maker
from kgen_ext.webui.host import Host
from kgen_ext.webui.job import explain
from kgen_ext.webui.preview_html import Growing, card, growing_card, panel
from kgen_ext.webui.requests import request_seed
from kgen_ext.webui.session import Session
from kgen_ext.webui.settings import read_settings
from kgen_ext.webui.tokens import Counter
from kgen_ext.webui.values import Values, read_values

MOST = 8
_PAUSE = 0.15  # seconds between two pages
_DRAW = 2**32 - 2
_LONGEST_PAGE = 4_000_000


@dataclass(frozen=True, slots=True)
class Page:
    """What the page says besides the controls: the id of its preview, the prompt box, the size and the image's seed."""

    id: str
    prompt: str
    width: int
    height: int
    seed: int


@dataclass(frozen=True, slots=True)
class View:
    """What the page is to show: the panel, and the finished versions (None while they are written)."""

    html: str
    results: tuple[Expansion, ...] | None = None


def read_page(text: str) -> Page:
    """Read what the page's script sent; a part that is missing or no number falls to its default.

    Raises BadValue when it is not an object at all.
    """
    try:
        found = json.loads(text[:_LONGEST_PAGE])
    except ValueError:
        found = None
    if not isinstance(found, Mapping):
        raise BadValue("page", text, "the page's own button (reload the page, and allow its scripts)")
    return Page(
        id=str(found.get("id", "")), prompt=str(found.get("prompt", "")),
        width=_whole(found.get("width"), 1024), height=_whole(found.get("height"), 1024),
        seed=_whole(found.get("seed"), -1),
    )  # fmt: skip


class Previews:
    """The previews that run now, by the page's id, so that a page can cancel its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, threading.Event] = {}

    def start(self, name: str) -> threading.Event:
        """Return the flag that cancels this preview; an earlier one of the same page is cancelled."""
        flag = threading.Event()
        with self._lock:
            before = self._running.get(name)
            self._running[name] = flag
        if before is not None:
            before.set()
        return flag

    def end(self, name: str, flag: threading.Event) -> None:
        """Forget a preview."""
        with self._lock:
            if self._running.get(name) is flag:
                del self._running[name]

    def cancel(self, name: str) -> bool:
        """Stop a page's preview within a token; says whether there was one."""
        with self._lock:
            flag = self._running.get(name)
        if flag is not None:
            flag.set()
        return flag is not None


@functools.cache
def shared_previews() -> Previews:
    """Return this process's previews."""
    return Previews()


def run_preview(
    page_text: str,
    count: Any,
    arguments: Sequence[Any],
    *,
    again: bool,
    host: Host,
    session: Session,
    previews: Previews,
    counter: Counter,
) -> Iterator[View]:
    """Yield what the page is to show until the versions are finished. Never raises: errors are shown."""
    try:
        page, values = read_page(page_text), read_values(arguments)
        versions = min(max(_whole(count, 1), 1), MOST)
        seed = values.seed if values.seed >= 0 else page.seed
        if again or seed < 0:
            seed = secrets.randbelow(_DRAW)
        work = _Work(page, values, versions, request_seed(seed), host, session)
    except Exception as error:  # the edge: the page shows what went wrong
        yield View(panel((), line=explain(error), failed=True))
        return
    flag = previews.start(page.id)
    thread = threading.Thread(target=work.run, args=(flag,), name="kgen-preview", daemon=True)
    thread.start()
    try:
        shown = ""
        while thread.is_alive():
            thread.join(_PAUSE)
            html = work.html()
            if thread.is_alive() and html != shown:
                shown = html
                yield View(html)
        yield work.finished(counter)
    finally:
        flag.set()  # the page went away, or all is done
        previews.end(page.id, flag)


class _Work:
    """What the thread does, and what there is to show of it."""

    def __init__(
        self, page: Page, values: Values, versions: int, seed: int, host: Host, session: Session
    ) -> None:
        self._page, self._values, self._versions, self._seed = page, values, versions, seed
        self._host, self._session = host, session
        self._lock = threading.Lock()
        self._rows = [Growing() for _ in range(versions)]
        self._done: dict[int, Expansion] = {}
        self._line = "waiting for the image that is being made"
        self._failed = False
        self._cancelled = False

    def run(self, cancelled: threading.Event) -> None:
        """Expand in the host's queue."""
        try:
            with self._host.queue_lock():
                if not cancelled.is_set():
                    self._say("loading the model")
                    self._expand(cancelled)
            self._cancelled = cancelled.is_set()
        except Exception as error:  # the edge of a thread: nobody else would hear of it
            self._host.log.debug("a preview failed:", exc_info=error)
            self._say(explain(error), failed=True)

    def _expand(self, cancelled: threading.Event) -> None:
        settings = read_settings(self._host)
        model = settings.model_of(self._values)
        make = request_maker(self._values, model=model, width=self._page.width, height=self._page.height,
                             host=self._host, session=self._session)  # fmt: skip
        # Seeds in a row rather than variants: each is short enough for the page's seed box.
        requests = [make(self._page.prompt, self._seed + number) for number in range(self._versions)]
        with lease(
            self._values, model=model, settings=settings, host=self._host, session=self._session
        ) as expander:
            self._say("")
            for event in expander.stream(requests, cancelled=cancelled.is_set):
                with self._lock:
                    if isinstance(event, Finished):
                        self._done[event.row] = event.expansion
                    else:
                        self._rows[event.row].note(event)

    def html(self) -> str:
        """Return the panel as it is now."""
        with self._lock:
            line = self._line or "writing"
            texts = [row.text() for row in self._rows]
            done = dict(self._done)
        source = self._page.prompt
        cards = [
            card(row + 1, done[row], tokens=None) if row in done else growing_card(row + 1, source, text)
            for row, text in enumerate(texts)
            if row in done or text
        ]
        return panel(cards, line=line, failed=self._failed)

    def finished(self, counter: Counter) -> View:
        """Return the last view; its results count as expanded from now on."""
        results = tuple(self._done[row] for row in sorted(self._done))
        for one in results:
            self._session.remember(one.prompt, source=self._page.prompt)
        cards = [card(number, one, tokens=counter(one.prompt)) for number, one in enumerate(results, 1)]
        line = self._line if self._failed else "cancelled: what was whole by then is kept" if self._cancelled else ""
        return View(panel(cards, line=line, failed=self._failed), results)

    def _say(self, line: str, *, failed: bool = False) -> None:
        with self._lock:
            self._line, self._failed = line, failed


def _whole(value: Any, default: int) -> int:
    try:
        return int(float(value))
    except (TypeError, ValueError, OverflowError):
        return default
