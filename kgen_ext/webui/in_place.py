"""An expansion in the prompt's own box: the request of the page's script, and the answer to it, as JSON.

The request is the state of the page as for a preview, and

    {"run": 3, "again": true}    again: draw a new seed

The answer names the run that it belongs to:

    {"run": 3, "prompt": "1girl, solo", "source": "1girl", "seed": 5, "notes": ["..."]}
    {"run": 3, "error": "..."}      {"run": 3, "cancelled": true}
"""
from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from kgen_ext.events import By
from kgen_ext.webui.checkpoint_profile import with_profile
from kgen_ext.webui.controls import read_values
from kgen_ext.webui.history import note_previews
from kgen_ext.webui.host import Host
from kgen_ext.webui.messages import explain, ui_note
from kgen_ext.webui.preview import POLL_SECONDS, PreviewRun, Previews, choose_seed, read_page_state
from kgen_ext.webui.session import Session


def expand_in_place(
    page_text: str, arguments: Sequence[Any], *, host: Host, session: Session, previews: Previews
) -> Iterator[str | None]:
    """Yield None while the expansion works, then the answer; the page cancels by its id in `previews`.

    Never raises: errors are in the answer. A browser that disconnects closes the iterator, which stops the expansion.
    """
    run = 0
    try:
        page = read_page_state(page_text)
        sent = json.loads(page_text)
        run = int(sent.get("run", 0))
        values = with_profile(read_values(arguments), host)
        seed = choose_seed(page, values, again=bool(sent.get("again")))
        expansion = PreviewRun(page, values, 1, seed, host, session)
    except Exception as error:  # top of the event handler: the page shows what went wrong
        yield _answer(run, error=explain(error))
        return
    cancelled = previews.start(page.id)
    thread = threading.Thread(target=expansion.run, args=(cancelled,), name="kgen-in-place", daemon=True)
    thread.start()
    try:
        while thread.is_alive() and not (cancelled.is_set() and expansion.waiting):
            thread.join(POLL_SECONDS)
            yield None
        if not cancelled.is_set():
            note_previews(values, expansion.expansions, host=host)
        yield _outcome(run, expansion, page.prompt, cancelled=cancelled.is_set(), session=session)
    finally:
        cancelled.set()
        previews.end(page.id, cancelled)


def _outcome(run: int, done: PreviewRun, source: str, *, cancelled: bool, session: Session) -> str:
    if done.error:
        return _answer(run, error=done.error)
    if cancelled or not done.expansions:
        return _answer(run, cancelled=True)
    (expansion,) = done.expansions
    notes = [ui_note(note) for note in expansion.notes]
    added = any(piece.by is By.MODEL for piece in expansion.pieces)
    if added:
        # Not expanded a second time when its image is generated.
        session.remember(expansion.prompt, source=source)
    return _answer(run, prompt=expansion.prompt, source=source, seed=expansion.seed, added=added, notes=notes)


def _answer(run: int, **told: Any) -> str:
    return json.dumps({"run": run, **told})  # ASCII only, so that the browser gets back exactly what was written
