"""One preview: a prompt expanded in a thread of its own, in the host's queue, told as a stream of pages.

The thread holds the host's lock, not the page's generator: a browser that goes away leaves no lock behind. Refuses to
know gradio (`preview_panel` does).

What the page's script sends along with a preview, and the previews that run for pages now.

    {"id": "k3x-txt2img", "tab": "txt2img", "prompt": "...", "width": "512", "height": "768", "seed": "-1"}

Comes from a browser: every part is checked. Refuses to know what a preview does.

Draws the preview: the user's text plain, what the model adds coloured, one card for each version.

    head: version, seed, CLIP tokens [Use this]      text      notes

Everything is escaped: a prompt or a model can put no markup on the page. A card's button carries what to use as JSON in
its attribute; the page's script acts on it. Refuses to know gradio and where expansions come from.
"""
from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from html import escape
from typing import Any

from kgen_ext.errors import BadValue
from kgen_ext.events import By, Expansion, Finish, Finished, PartialText
from kgen_ext.once import once
from kgen_ext.webui.controls import Values, read_values
from kgen_ext.webui.expanding import lease, request_maker, request_seed
from kgen_ext.webui.host import Host
from kgen_ext.webui.job import explain
from kgen_ext.webui.session import Session
from kgen_ext.webui.settings import read_settings
from kgen_ext.webui.token_counter import Counter

TABS = ("txt2img", "img2img")
_LONGEST = 4_000_000


@dataclass(frozen=True, slots=True)
class Page:
    """What the page says besides the controls: the id of its preview, the prompt box, the size and the image's seed."""

    id: str
    tab: str
    prompt: str
    width: int
    height: int
    seed: int


def read_page(text: str) -> Page:
    """Read what the page's script sent; a part that is missing or no number falls to its default.

    Raises BadValue when it is not an object at all.
    """
    try:
        found = json.loads((text or "")[:_LONGEST])
    except ValueError:
        found = None
    if not isinstance(found, Mapping):
        raise BadValue("page", text, "the page's own button; reload the page, and allow its scripts")
    tab = found.get("tab")
    return Page(
        id=str(found.get("id", "")), tab=tab if tab in TABS else TABS[0], prompt=str(found.get("prompt", "")),
        width=whole(found.get("width"), 1024), height=whole(found.get("height"), 1024),
        seed=whole(found.get("seed"), -1),
    )  # fmt: skip


def whole(value: Any, default: int) -> int:
    """Return a number of the page as a whole one."""
    try:
        return int(float(value))
    except (TypeError, ValueError, OverflowError):
        return default


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

    def end(self, name: str, flag: threading.Event) -> bool:
        """Forget a preview; says whether it was the page's latest."""
        with self._lock:
            latest = self._running.get(name) is flag
            if latest:
                del self._running[name]
        return latest

    def cancel(self, name: str) -> bool:
        """Stop a page's preview within a token; says whether there was one."""
        with self._lock:
            flag = self._running.get(name)
        if flag is not None:
            flag.set()
        return flag is not None


@once
def shared_previews() -> Previews:
    """Return this process's previews."""
    return Previews()


NOTHING = "The model added nothing: write more, choose a longer tag length, or loosen the rules."


def panel(cards: Sequence[str], *, line: str = "", failed: bool = False) -> str:
    """Return the whole panel: a line that says what happens, then the cards."""
    kind = "kgen-line kgen-error" if failed else "kgen-line"
    said = f'<div class="{kind}" role="status">{escape(line)}</div>' if line else ""
    html = f'<div class="kgen-panel">{said}{"".join(cards)}</div>'
    return html.encode("utf-8", "replace").decode()  # half an emoji must not stop the answer on its way


def growing_card(number: int, source: str, added: str) -> str:
    """Return the card of a version that is being written; added: a line for the tags, one for each text."""
    more = ", ".join(line for line in added.split("\n") if line)
    added_html = f'{_joint(source)}<span class="kgen-added">{escape(more)}</span>' if more else ""
    return _card(f"<span>Version {number}</span>", f"<span>{escape(source)}</span>{added_html}", ())


def card(number: int, expansion: Expansion, *, source: str, tokens: tuple[int, int] | None, element: str = "") -> str:
    """Return the card of a finished version.

    source: the prompt the page had. tokens: how many CLIP tokens the version has, and the end of their block of 75.
    element: the id of its button.
    """
    pieces = "".join(
        f'<span{"" if piece.by is By.USER else _ADDED}>{escape(piece.text)}</span>' for piece in expansion.pieces
    )
    nothing = () if any(piece.by is By.MODEL for piece in expansion.pieces) else (NOTHING,)
    head = [f"Version {number}", f"seed {expansion.seed}"]
    if tokens is not None:
        head.append(f"{tokens[0]} of {tokens[1]} tokens")
    shown = "".join(f"<span>{part}</span>" for part in head)
    # Plain letters only: the browser has to get back exactly what was written.
    use = escape(json.dumps({"prompt": expansion.prompt, "source": source}))
    button = f'<button type="button" class="kgen-use" id="{escape(element)}" data-kgen="{use}">Use this</button>'
    return _card(shown + button, pieces, (*nothing, *expansion.notes))


_ADDED = ' class="kgen-added"'


def _card(head: str, body: str, notes: Sequence[str]) -> str:
    said = "".join(f'<div class="kgen-note">{escape(note)}</div>' for note in notes)
    return (
        f'<div class="kgen-card"><div class="kgen-head">{head}</div><div class="kgen-text">{body}</div>{said}</div>'
    )


def _joint(source: str) -> str:
    stripped = source.rstrip()
    return " " if not stripped or stripped.endswith(",") else ", "


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
        self._rows = [PartialText() for _ in range(versions)]
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
