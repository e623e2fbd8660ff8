"""A preview: a prompt expanded without generating an image, as a stream of panels.

The page's script sends the state of the page along with the controls; it comes from a browser, so every part is
checked:

    {"id": "k3x-txt2img", "tab": "txt2img", "prompt": "...", "width": "512", "height": "768", "seed": "-1"}

The expansion runs in a thread, which holds the host's queue lock: a browser that disconnects leaves no lock behind.
"""
from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from kgen_ext.errors import BadValue
from kgen_ext.events import By, Expansion, Finish, Finished, PartialText
from kgen_ext.once import once
from kgen_ext.webui.checkpoint_profile import add_quality_words, with_profile
from kgen_ext.webui.controls import Values, read_values
from kgen_ext.webui.expanding import JobContext, request_seed
from kgen_ext.webui.history import note_previews
from kgen_ext.webui.host import Host
from kgen_ext.webui.messages import explain, way_out
from kgen_ext.webui.preview_html import MAX_VERSIONS, card, panel, partial_card
from kgen_ext.webui.session import Session
from kgen_ext.webui.settings import read_settings
from kgen_ext.webui.token_counter import TokenCounter

TABS = ("txt2img", "img2img")
WAITING, LOADING, EXPANDING = "Waiting for the current image ...", "Loading the model ...", "Expanding ..."
_MAX_STATE = 4_000_000  # characters
MAX_SEED = 2**32 - 2
POLL_SECONDS = 0.15


@dataclass(frozen=True, slots=True)
class PageState:
    """The page besides our controls: an id for its previews, the prompt box, the image's size and seed."""

    id: str
    tab: str
    prompt: str
    width: int
    height: int
    seed: int


def read_page_state(text: str) -> PageState:
    """Read what the page's script sent; a part that is missing or malformed takes its default.

    Raises BadValue when it is not a JSON object at all.
    """
    try:
        sent = json.loads((text or "")[:_MAX_STATE])
    except ValueError:
        sent = None
    if not isinstance(sent, Mapping):
        raise BadValue("page", text, "the page's own button; reload the page, and allow its scripts")
    tab = sent.get("tab")
    return PageState(
        id=str(sent.get("id", "")), tab=tab if tab in TABS else TABS[0], prompt=str(sent.get("prompt", "")),
        width=to_int(sent.get("width"), 1024), height=to_int(sent.get("height"), 1024),
        seed=to_int(sent.get("seed"), -1),
    )  # fmt: skip


def to_int(value: Any, default: int) -> int:
    """Return a number or its text as an int, the default for anything else."""
    try:
        return int(float(value))
    except (TypeError, ValueError, OverflowError):
        return default


class Previews:
    """The running previews by the page's id, so that a page can cancel its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, threading.Event] = {}

    def start(self, page_id: str) -> threading.Event:
        """Return the flag that cancels a new preview; an earlier one of the same page is cancelled."""
        flag = threading.Event()
        with self._lock:
            earlier = self._running.get(page_id)
            self._running[page_id] = flag
        if earlier is not None:
            earlier.set()
        return flag

    def end(self, page_id: str, flag: threading.Event) -> bool:
        """Forget a preview; return whether it was the page's latest."""
        with self._lock:
            latest = self._running.get(page_id) is flag
            if latest:
                del self._running[page_id]
        return latest

    def cancel(self, page_id: str) -> bool:
        """Stop a page's preview within one token; return whether there was one."""
        with self._lock:
            flag = self._running.get(page_id)
        if flag is not None:
            flag.set()
        return flag is not None


@once
def shared_previews() -> Previews:
    """Return this process's previews."""
    return Previews()


def choose_seed(page: PageState, values: Values, *, again: bool) -> int:
    """Return the seed of a preview's first version: the panel's, else the page's, else (or `again`) a new one."""
    seed = values.seed if values.seed >= 0 else page.seed
    if again or seed < 0:
        seed = secrets.randbelow(MAX_SEED)
    return request_seed(seed)


def run_preview(
    page_text: str,
    count: Any,
    arguments: Sequence[Any],
    *,
    again: bool,
    host: Host,
    session: Session,
    previews: Previews,
    counter: TokenCounter,
) -> Iterator[str | None]:
    """Yield the panel as HTML until all versions are finished; None if a later preview of the page has replaced it.

    again: draw a new seed. Never raises: errors are shown in the panel.
    """
    try:
        page, values = read_page_state(page_text), with_profile(read_values(arguments), host)
        versions = min(max(to_int(count, 1), 1), MAX_VERSIONS)
        preview = PreviewRun(page, values, versions, choose_seed(page, values, again=again), host, session)
    except Exception as error:  # top of the event handler: the page shows what went wrong
        yield panel((), line=explain(error), failed=True, show=way_out(error))
        return
    cancelled = previews.start(page.id)
    thread = threading.Thread(target=preview.run, args=(cancelled,), name="kgen-preview", daemon=True)
    thread.start()
    try:
        shown = ""
        while thread.is_alive() and not (cancelled.is_set() and preview.waiting):
            thread.join(POLL_SECONDS)
            html = preview.partial_panel()
            if thread.is_alive() and html != shown and not cancelled.is_set():
                shown = html
                yield html
        latest = previews.end(page.id, cancelled)
        yield preview.final_panel(counter, cancelled=cancelled.is_set()) if latest else None
    finally:
        cancelled.set()  # the browser disconnected, or everything is done
        previews.end(page.id, cancelled)


class PreviewRun:
    """One preview: `run` expands in a thread, the panels show how far it is."""

    def __init__(
        self, page: PageState, values: Values, versions: int, seed: int, host: Host, session: Session
    ) -> None:
        self._page, self._values, self._versions, self._seed = page, values, versions, seed
        self._host, self._session = host, session
        self._lock = threading.Lock()
        self._partial = [PartialText() for _ in range(versions)]
        self._finished: dict[int, Expansion] = {}
        self._line, self._failed, self._show = WAITING, False, ""

    @property
    def waiting(self) -> bool:
        """Return whether the host's queue has not reached it yet."""
        return self._line == WAITING

    @property
    def error(self) -> str:
        """Return what went wrong, "" if nothing has."""
        return self._line if self._failed else ""

    @property
    def expansions(self) -> list[Expansion]:
        """Return the finished versions in their order."""
        return [expansion for _, expansion in sorted(self._finished.items())]

    def run(self, cancelled: threading.Event) -> None:
        """Wait in the host's queue, then expand."""
        try:
            with self._host.queue_lock():
                if not cancelled.is_set():
                    self._set_line(LOADING)
                    self._expand(cancelled)
        except Exception as error:  # top of the thread: nobody else would hear of it
            self._host.log.debug("preview failed:", exc_info=error)
            self._set_line(explain(error), failed=True, show=way_out(error))

    def _expand(self, cancelled: threading.Event) -> None:
        context = JobContext.read(self._values, width=self._page.width, height=self._page.height,
                                  settings=read_settings(self._host), host=self._host)  # fmt: skip
        # Consecutive seeds, as in a batch: the versions are what its images will get.
        requests = [context.request(self._page.prompt, self._seed + number) for number in range(self._versions)]
        with context.lease(self._host, self._session) as expander:
            self._set_line(EXPANDING)
            # Closed before the lease ends: an open stream holds the model.
            with closing(expander.stream(requests, cancelled=cancelled.is_set)) as events:
                for event in map(context.noted, events):
                    with self._lock:
                        if isinstance(event, Finished):
                            self._finished[event.row] = add_quality_words(event.expansion, self._values)
                        else:
                            self._partial[event.row].note(event)

    def partial_panel(self) -> str:
        """Return the panel as it is now."""
        with self._lock:
            line, failed, show = self._line, self._failed, self._show
            texts = [partial.text() for partial in self._partial]
            finished = dict(self._finished)
        cards = [
            self._card(row, finished[row], None) if row in finished else partial_card(row + 1, self._page.prompt, text)
            for row, text in enumerate(texts)
            if row in finished or text
        ]
        return panel(cards, line=line, failed=failed, show=show)

    def final_panel(self, counter: TokenCounter, *, cancelled: bool) -> str:
        """Return the last panel; the session remembers its versions, so that none is expanded a second time."""
        cards = []
        for row, expansion in sorted(self._finished.items()):
            added = any(piece.by is By.MODEL for piece in expansion.pieces)
            if expansion.finish is Finish.CANCELLED and not added:
                continue
            self._session.remember(expansion.prompt, source=self._page.prompt)
            cards.append(self._card(row, expansion, counter(expansion.prompt)))
        note_previews(self._values, self._finished.values(), host=self._host)
        line = ""
        if self._failed:
            line = self._line
        elif cancelled:
            line = "Cancelled. Finished tags and sentences are kept." if cards else "Cancelled."
        return panel(cards, line=line, failed=self._failed, show=self._show)

    def _card(self, row: int, expansion: Expansion, tokens: tuple[int, int] | None) -> str:
        element = f"kgen_{self._page.tab}_use{row}"
        return card(row + 1, expansion, source=self._page.prompt, tokens=tokens, element=element)

    def _set_line(self, line: str, *, failed: bool = False, show: str = "") -> None:
        with self._lock:
            self._line, self._failed, self._show = line, failed, show
