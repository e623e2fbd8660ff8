"""Error messages of the WebUI: what went wrong and what to do, in terms of the page or of the API."""
from __future__ import annotations

import os
import re
from pathlib import PurePath

from kgen_ext.errors import BadTemplate, Download, KGenError, ListModels, UserError, without_folders
from kgen_ext.events import name_fields
from kgen_ext.webui.controls import BY_FIELD, CONTROLS, Control

_MAX_LENGTH = 300
# Fields of a request whose control has another name.
_CONTROL_OF = {"tag_file": "known_only", "no_tags": "add"}


def ui_hint(error: KGenError) -> str:
    """Return what the user can do on the page about an error, "" where nothing is known."""
    action = error.action
    if isinstance(action, Download):
        return "choose it under Models and press Download"
    if isinstance(action, ListModels):
        return f"the panel “Models” shows {action.shows}"
    return error.hint


def control_of(error: BaseException) -> Control | None:
    """Return the control that an error is about, None where it is about none.

    >>> control_of(UserError("ban: pattern /(/: missing )")).label
    'Banned tags'
    """
    if isinstance(error, BadTemplate):
        return BY_FIELD["template"]
    if not isinstance(error, UserError):
        return None
    name = error.message.partition(":")[0]
    by_label = next((control for control in CONTROLS if control.label == name), None)
    return by_label or BY_FIELD.get(_CONTROL_OF.get(name, name))


def way_out(error: BaseException) -> str:
    """Return the end of the element id of what an error is about: a control or the models, "" for neither."""
    if isinstance(error, KGenError) and isinstance(error.action, (Download, ListModels)):
        return "fold_models"
    control = control_of(error)
    return "" if control is None else control.field


def api_hint(error: KGenError) -> str:
    """Return what a client of the API can do about an error, "" where nothing is known."""
    action = error.action
    if isinstance(action, Download):
        return f"have {action.model} downloaded in the WebUI, under Models; GET /kgen/v1/models shows what is installed"
    if isinstance(action, ListModels):
        return f"GET /kgen/v1/models shows {action.shows}"
    return without_folders(error, ui_hint(error))


def ui_message(error: BaseException) -> str:
    """Return an error as the page shows it, with its field named as the page names it.

    >>> ui_message(KGenError("model: 'x' is not installed", action=ListModels("what is")))
    "model: 'x' is not installed (the panel “Models” shows what is)"
    >>> ui_message(UserError("ban: pattern /(/: missing )", hint="write )"))
    'Banned tags: pattern /(/: missing ) (write ))'
    """
    if not isinstance(error, KGenError):
        return str(error)
    message, hint, control = error.message, ui_hint(error), control_of(error)
    if control is not None:
        message = f"{control.label}:{message.partition(':')[2]}"
    return f"{message} ({hint})" if hint else message


def ui_note(note: str) -> str:
    """Return a note of an expansion with fields and lengths named as the page names them.

    >>> ui_note("tag_length long ends at 54: no tags added; choose very_long (72)")
    '“Tag length” long ends at 54: no tags added; choose very long (72)'
    """
    named = name_fields(note, lambda field: f"“{BY_FIELD[field].label}”")
    return re.sub(r"\bvery_(long|short)\b", r"very \1", named)


def explain(error: BaseException) -> str:
    """Return what went wrong and what to do, in one line of at most 300 characters and without private folders."""
    if isinstance(error, KGenError):
        text = without_folders(error, ui_message(error))
    elif isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__:
        text = f"out of memory: {error or 'too little is left'} (use a smaller model, or the device “cpu” in Settings)"
    elif isinstance(error, OSError) and error.strerror and isinstance(error.filename, (str, bytes)):
        text = f"{PurePath(os.fsdecode(error.filename)).name}: {error.strerror} (install the model, or KGen, again)"
    else:
        text = f"{type(error).__name__}: {error} (please report this, with the lines above it in the console)"
    line = " ".join(text.split())
    return line if len(line) <= _MAX_LENGTH else line[: _MAX_LENGTH - 3] + "..."
