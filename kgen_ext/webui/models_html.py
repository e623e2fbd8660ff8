"""HTML of the models panel: the details of a model, and the state of a task.

Everything is escaped: names, notes and addresses may come from a catalogue from a third party.
"""
from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from kgen_ext.models.describe import ModelRow, info_lines
from kgen_ext.models.tasks import TaskState

if TYPE_CHECKING:
    from kgen_ext.models.needs import Fit

ENGINE_NAMES = {"llama_cpp": "llama.cpp", "reference": "NumPy"}
# Lines of the command's that the rows and the list of files make superfluous.
_LEFT_OUT = ("Protocol", "Context", "Engines", "To download")


def facts_html(row: ModelRow, fits: Fit | None) -> str:
    """Return the details of a model, its licence as a link. fits: how the chosen file runs here, None if unknown."""
    model, here = row[1:]
    address = model.licence_url if model else ""
    lines, group = [], ""
    for label, text in info_lines(*row):
        group = label or group
        if group in _LEFT_OUT or label == "Name" or (group == "Installed" and not here):
            continue
        shown = escape(text)
        if model and address and label == "Licence":
            shown = link_html(address, model.licence or address)
        lines.append((label or group, shown))
    if fits is not None:
        runs = f"yes, in {ENGINE_NAMES.get(fits.engine, fits.engine)}" if fits.engine else f"no: it needs {fits.needs}"
        lines.append(("Runs here", escape(runs)))
    body = "".join(f"<tr><th>{escape(label)}</th><td>{shown}</td></tr>" for label, shown in lines)
    return f'<table class="kgen-model-facts"><tbody>{body}</tbody></table>'


def link_html(address: str, text: str) -> str:
    """Return a link that opens in a new tab."""
    return f'<a href="{escape(address)}" target="_blank" rel="noopener noreferrer">{escape(text)}</a>'


def state_html(state: TaskState) -> str:
    """Return the line of a task, with a progress bar while it runs."""
    css_class = "kgen-line kgen-error" if state.failed else "kgen-over" if state.done else "kgen-running"
    role = "alert" if state.failed else "status"
    bar = ""
    if not state.done:
        value = "" if state.fraction is None else f' value="{state.fraction:.4f}"'
        bar = f'<progress class="kgen-bar" max="1"{value}></progress>'
    return f'<div class="{css_class}" role="{role}">{bar}<span>{escape(state.line)}</span></div>'


def message_html(line: str, *, failed: bool = False) -> str:
    """Return a line without a progress bar; nothing for an empty one."""
    return state_html(TaskState(line, done=True, failed=failed)) if line else ""
