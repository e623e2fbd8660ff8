"""The history panel: a search, and a card for each expansion with buttons to use it again and to make it a favourite.

    search   favourites only
    status   [Refresh] [Clear history]
    time, model, seed, settings      [Use result] [Use again] [star]
    text, with what was added in colour; the prompt it was made from, where the text does not begin with it; a press
    shows all of a long one
    [Show more]

The buttons of the list are the browser's: `javascript/kgen_folds.js` fills the prompt box and presses a hidden
button, whose event is given what was asked as JSON: {"action": "star", "id": 7, "limit": 20, "sure": ""}. Everything
from the file is escaped. Nothing is read before the panel is opened.
"""
from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from kgen_ext.errors import Failure
from kgen_ext.webui.controls import BY_FIELD, CONTROLS
from kgen_ext.webui.messages import ui_message

if TYPE_CHECKING:
    from kgen_ext.webui.history import Entry, Found
    from kgen_ext.webui.ui import Tab

PAGE = 20  # cards at a time
_ACTIONS = ("list", "star", "restore", "result", "clear")
_MAX_NUMBER = 2**63
_HIDDEN = ("KGen", BY_FIELD["model"].key, BY_FIELD["seed"].key)  # not listed among a card's settings
_LABELS = {control.key: dict(control.choices) for control in CONTROLS}  # of the choices, by value
OFF = "The history is switched off in Settings, KGen: nothing new is kept."
EMPTY, NO_MATCH = "Nothing yet: expanded prompts will be listed here.", "No match."
GONE = "That expansion is not in the history any more."


@dataclass(frozen=True, slots=True)
class Asked:
    """What a button of the list stands for. id: of an expansion. limit: how many cards to show. sure: what to delete,
    as the last press was told.
    """

    action: str = "list"
    id: int = 0
    limit: int = PAGE
    sure: str = ""


def build(tab: Tab) -> Callable[[], None]:
    """Build the panel; call the returned function when all controls of the tab exist, to connect it."""
    gr = tab.gr
    with gr.Row(elem_classes=["kgen-row"]):
        search = gr.Textbox(value="", label="Search the history", max_lines=1, elem_id=tab.id("history_search"))
        starred = gr.Checkbox(value=False, label="Favourites only", elem_id=tab.id("history_starred"))
    cards = gr.HTML("", elem_id=tab.id("history"))
    act = tab.pressed_by_script("history_act")
    asked = gr.Textbox(value="", visible=False)  # the page's script sends what was asked in its place
    tab.keep_unsaved(search, starred, cards, asked)

    def listing(words: Any, only: Any) -> Any:
        return gr.update(value=panel(tab, Asked(), words, only))

    def answer(sent: Any, words: Any, only: Any) -> list[Any]:
        request, values = read_asked(sent), dict[str, Any]()
        try:
            line, values = _act(tab, request)
        except Failure as error:
            line = _error(error)
        html = panel(tab, request, words, only, line=line)
        changed = (
            gr.update(value=control.show(values[control.field])) if control.field in values else gr.update()
            for control in CONTROLS
        )
        return [gr.update(value=html), *changed]

    def connect() -> None:
        controls = [tab.controls[control.field] for control in CONTROLS]
        search.change(fn=listing, inputs=[search, starred], outputs=[cards], show_progress="hidden")
        starred.change(fn=listing, inputs=[search, starred], outputs=[cards], show_progress="hidden")
        act.click(fn=answer, _js=tab.script("history"), inputs=[asked, search, starred], outputs=[cards, *controls],
                  show_progress="hidden")  # fmt: skip

    return connect


def read_asked(sent: Any) -> Asked:
    """Read what the page's script sent; what is missing or malformed takes its default."""
    try:
        read = json.loads(str(sent)[:1000])
    except ValueError:
        return Asked()
    if not isinstance(read, Mapping) or read.get("action") not in _ACTIONS:
        return Asked()
    sure = read.get("sure")
    return Asked(read["action"], _number(read.get("id"), 0), _number(read.get("limit"), PAGE),
                 sure if isinstance(sure, str) else "")  # fmt: skip


def _number(value: Any, default: int) -> int:
    return value if type(value) is int and 0 <= value < _MAX_NUMBER else default


def _act(tab: Tab, asked: Asked) -> tuple[str, dict[str, Any]]:
    """Do what was asked; return a line for the panel, and the values for the controls by field. Raises Failure.

    The prompt box is filled by the page's script. A result put there is remembered, so that it is not expanded again.
    """
    from kgen_ext.webui.history import current_history
    from kgen_ext.webui.infotext import read_infotext_values
    from kgen_ext.webui.session import current
    from kgen_ext.webui.settings import read_timing

    if asked.action == "list":
        return "", {}
    history = current_history()
    if asked.action == "star":
        return ("" if history.star(asked.id) else _line(GONE)), {}
    if asked.action == "clear":
        found = history.find(limit=0)
        what = _clearable(found)
        if not asked.sure or asked.sure != what:
            return "", {}  # the button asks
        return _line(f"Deleted: {history.clear(favourites=found.kept == found.favourites)}."), {}
    entry = history.entry(asked.id)
    if entry is None:
        return _line(GONE), {}
    if asked.action == "result":
        current().remember(entry.result, source=entry.source)
        return _line("The expanded prompt is in the prompt box."), {}
    values = read_infotext_values(entry.settings, timing=read_timing(tab.host)) or {}
    return _line("The prompt and the settings are as they were."), values


def panel(tab: Tab, asked: Asked, words: Any, only: Any, *, line: str = "") -> str:
    """Return the list as HTML. words, only: the search. line: HTML to put above it."""
    from kgen_ext.webui.history import current_history
    from kgen_ext.webui.settings import read_history

    try:
        found = current_history().find(str(words or ""), starred=only is True, limit=asked.limit)
    except Failure as error:
        return f'<div class="kgen-panel kgen-history">{line or _error(error)}</div>'
    what = _clearable(found)
    asks = asked.action == "clear" and not asked.sure and what
    head = _button("Refresh", {"action": "list", "limit": asked.limit})
    if what:
        label = f"Delete {what}" if asks else "Clear history"
        head += _button(label, {"action": "clear", "limit": asked.limit, "sure": what if asks else ""})
    if asks and found.kept > found.favourites > 0:
        line = _line("Favourites stay. To delete them too, clear the history once more.")
    more = ""
    if found.count > len(found.entries):
        left = found.count - len(found.entries)
        more = _button(f"Show more ({left})", {"action": "list", "limit": asked.limit + PAGE})
    return (
        f'<div class="kgen-panel kgen-history">{"" if read_history(tab.host) else _line(OFF)}'
        f'<div class="kgen-head">{line}<span class="kgen-actions">{head}</span></div>'
        f'{"".join(_card(entry, asked.limit) for entry in found.entries)}'
        f'{"" if found.entries else _line(NO_MATCH if found.kept else EMPTY)}{more}</div>'
    )


def _clearable(found: Found) -> str:
    """Return what clearing deletes: favourites only where nothing else is left; "" where nothing is."""
    others = found.kept - found.favourites
    count, name = (others, "expansion") if others else (found.favourites, "favourite")
    return f"{count} {name}{'' if count == 1 else 's'}" if count else ""


def _card(entry: Entry, limit: int) -> str:
    settings = entry.settings
    facts = [time.strftime("%d %b %H:%M", time.localtime(entry.made))]
    facts += [f"{name}{settings[key]}" for name, key in (("", _HIDDEN[1]), ("seed ", _HIDDEN[2])) if key in settings]
    facts += [f"{key.removeprefix('KGen ')}: {_shown(key, value)}" for key, value in settings.items()
              if key not in _HIDDEN]  # fmt: skip
    added = entry.result.removeprefix(entry.source)
    if added != entry.result:
        text = f'<span>{escape(entry.source)}</span><span class="kgen-added">{escape(added)}</span>'
    else:
        text = f'{escape(entry.result)}<span class="kgen-note">from: {escape(entry.source)}</span>'

    def button(label: str, action: str, title: str, **more: Any) -> str:
        return _button(label, {"action": action, "id": entry.id, "limit": limit, **more}, title=title)

    buttons = (
        button("Use result", "result", "Put the expanded prompt into the prompt box.", text=entry.result),
        button("Use again", "restore",
               "Put the prompt it was made from into the prompt box, and set the controls as they were.",
               text=entry.source),
        button("★", "star", "This is a favourite. Press to make it an ordinary one.") if entry.starred
        else button("☆", "star", "Make it a favourite, which is always kept."),
    )  # fmt: skip
    head = "".join(f"<span>{escape(fact)}</span>" for fact in facts)
    return (
        f'<div class="kgen-card"><div class="kgen-head">{head}'
        f'<span class="kgen-actions">{"".join(buttons)}</span></div>'
        f'<details class="kgen-text"><summary>{text}</summary></details></div>'
    )


def _shown(key: str, value: Any) -> str:
    """Return a setting as its control shows it."""
    labels = _LABELS.get(key, {})
    return ", ".join(labels.get(part, part) for part in str(value).split(", "))


def _button(label: str, asks: Mapping[str, Any], *, title: str = "") -> str:
    # ASCII only, so that the browser gets back exactly what was written.
    told = f' title="{escape(title)}"' if title else ""
    is_star = not label.isascii()  # which says nothing by itself
    told += f' aria-label="{escape(title)}"' if is_star else ""
    css_class = "kgen-again kgen-starred" if label == "★" else "kgen-again"
    return (
        f'<button type="button" class="{css_class}" data-kgen-history="{escape(json.dumps(asks))}"{told}>'
        f"{escape(label)}</button>"
    )


def _line(text: str) -> str:
    return f'<div class="kgen-line" role="status">{escape(text)}</div>'


def _error(error: Failure) -> str:
    return f'<div class="kgen-line kgen-error" role="status">{escape(ui_message(error))}</div>'
