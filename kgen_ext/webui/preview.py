"""One preview: a prompt expanded in a thread of its own, in the host's queue, told as a stream of pages.

The thread holds the host's lock, not the page's generator: a browser that goes away leaves no lock behind. Refuses to
know gradio (`preview_panel` does).
"""
from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

from kgen_ext.events import By, Expansion, Finish, Finished
from kgen_ext.service.growing import Growing
from kgen_ext.webui.expanding import lease, request_maker
from kgen_ext.webui.host import Host
from kgen_ext.webui.job import explain
from kgen_ext.webui.preview_html import card, growing_card, panel
from kgen_ext.webui.preview_page import Page, Previews, read_page, whole
from kgen_ext.webui.requests import request_seed
from kgen_ext.webui.session import Session
from kgen_ext.webui.settings import read_settings
from kgen_ext.webui.tokens import Counter
from kgen_ext.webui.values import Values, read_values

MOST = 8
WAITING, LOADING = "Waiting for the image that is being made ...", "Loading the model ..."
_PAUSE = 0.15  # seconds between two pages
_DRAW = 2**32 - 2


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
) -> Iterator[str | None]:
    """Yield the panel until the versions are finished; None leaves what is there to a later preview of the same page.

    Never raises: errors are shown.
    """
    try:
        page, values = read_page(page_text), read_values(arguments)
        versions = min(max(whole(count, 1), 1), MOST)
        seed = values.seed if values.seed >= 0 else page.seed
        if again or seed < 0:
            seed = secrets.randbelow(_DRAW)
        work = _Work(page, values, versions, request_seed(seed), host, session)
    except Exception as error:  # the edge: the page shows what went wrong
        yield panel((), line=explain(error), failed=True)
        return
    flag = previews.start(page.id)
    thread = threading.Thread(target=work.run, args=(flag,), name="kgen-preview", daemon=True)
    thread.start()
    try:
        shown = ""
        while thread.is_alive() and not (flag.is_set() and work.waiting):
            thread.join(_PAUSE)
            html = work.growing()
            if thread.is_alive() and html != shown and not flag.is_set():
                shown = html
                yield html
        yield work.finished(counter, cancelled=flag.is_set()) if previews.end(page.id, flag) else None
    finally:
        flag.set()  # the page went away, or all is done
        previews.end(page.id, flag)


class _Work:
    """What the thread does, and what there is to show of it."""

    def __init__(self, page: Page, values: Values, versions: int, seed: int, host: Host, session: Session) -> None:
        self._page, self._values, self._versions, self._seed = page, values, versions, seed
        self._host, self._session = host, session
        self._lock = threading.Lock()
        self._rows = [Growing() for _ in range(versions)]
        self._done: dict[int, Expansion] = {}
        self._line, self._failed = WAITING, False

    @property
    def waiting(self) -> bool:
        """Say whether the queue has not let it in yet."""
        return self._line == WAITING

    def run(self, cancelled: threading.Event) -> None:
        """Expand in the host's queue."""
        try:
            with self._host.queue_lock():
                if not cancelled.is_set():
                    self._say(LOADING)
                    self._expand(cancelled)
        except Exception as error:  # the edge of a thread: nobody else would hear of it
            self._host.log.debug("a preview failed:", exc_info=error)
            self._say(explain(error), failed=True)

    def _expand(self, cancelled: threading.Event) -> None:
        settings = read_settings(self._host)
        model = settings.model_of(self._values)
        make = request_maker(self._values, model=model, width=self._page.width, height=self._page.height,
                             host=self._host, session=self._session)  # fmt: skip
        # Seeds in a row, as the images of a batch have them: the versions are what the images will get.
        requests = [make(self._page.prompt, self._seed + number) for number in range(self._versions)]
        with lease(self._values, model=model, settings=settings, host=self._host, session=self._session) as expander:
            self._say("Writing ...")
            # Closed before the model is given back: an open stream holds it.
            with closing(expander.stream(requests, cancelled=cancelled.is_set)) as events:
                for event in events:
                    with self._lock:
                        if isinstance(event, Finished):
                            self._done[event.row] = event.expansion
                        else:
                            self._rows[event.row].note(event)

    def growing(self) -> str:
        """Return the panel as it is now."""
        with self._lock:
            line, failed = self._line, self._failed
            texts = [row.text() for row in self._rows]
            done = dict(self._done)
        cards = [
            self._card(row, done[row], None) if row in done else growing_card(row + 1, self._page.prompt, text)
            for row, text in enumerate(texts)
            if row in done or text
        ]
        return panel(cards, line=line, failed=failed)

    def finished(self, counter: Counter, *, cancelled: bool) -> str:
        """Return the last panel; its versions count as expanded from now on."""
        cards = []
        for row, one in sorted(self._done.items()):
            if one.finish is Finish.CANCELLED and not any(piece.by is By.MODEL for piece in one.pieces):
                continue
            self._session.remember(one.prompt, source=self._page.prompt)
            cards.append(self._card(row, one, counter(one.prompt)))
        told = "Cancelled. What was whole by then is kept." if cards else "Cancelled."
        return panel(cards, line=self._line if self._failed else told if cancelled else "", failed=self._failed)

    def _card(self, row: int, one: Expansion, tokens: tuple[int, int] | None) -> str:
        element = f"kgen_{self._page.tab}_use{row}"
        return card(row + 1, one, source=self._page.prompt, tokens=tokens, element=element)

    def _say(self, line: str, *, failed: bool = False) -> None:
        with self._lock:
            self._line, self._failed = line, failed
