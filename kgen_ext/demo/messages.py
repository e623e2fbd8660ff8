"""Messages of the demo page: what went wrong and what to do, in one line and in the page's words."""
from __future__ import annotations

import os
import re
from pathlib import PurePath

from kgen_ext.demo.inputs import BY_FIELD
from kgen_ext.errors import BadTemplate, Download, KGenError, ListModels, UserError, without_folders
from kgen_ext.events import name_fields

_MAX_LENGTH = 300
# Fields of a request whose input has another name.
_INPUT_OF = {"no_tags": "add", "tag_file": "any_tag"}


def explain(error: BaseException) -> str:
    """Return what went wrong and what to do, in one line of at most 300 characters and without private folders.

    >>> explain(UserError("ban: pattern /(/: missing )", hint="write )"))
    'Banned tags: pattern /(/: missing ) (write ))'
    """
    if isinstance(error, KGenError):
        text = without_folders(error, _told(error))
    elif isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__:
        text = "out of memory (choose a smaller model, or ask for fewer candidates)"
    elif isinstance(error, OSError) and error.strerror and isinstance(error.filename, (str, bytes)):
        name = PurePath(os.fsdecode(error.filename)).name
        text = f"{name}: {error.strerror} (choose another model; reload the page to see which there are)"
    else:
        text = f"{type(error).__name__}: {error} (please report this, with the lines above it in the console)"
    line = " ".join(text.split())
    return line if len(line) <= _MAX_LENGTH else line[: _MAX_LENGTH - 3] + "..."


def _told(error: KGenError) -> str:
    message, hint = error.message, error.hint
    if isinstance(error.action, Download):
        hint = f"choose another, or run kgen models download {error.action.model}"
    elif isinstance(error.action, ListModels):
        hint = "choose another; reload the page to see which there are"
    if isinstance(error, UserError):
        name, colon, rest = message.partition(":")
        field = "template" if isinstance(error, BadTemplate) else _INPUT_OF.get(name, name)
        if colon and field in BY_FIELD:
            message = f"{BY_FIELD[field].label}:{rest}"
    return f"{message} ({hint})" if hint else message


def note_line(note: str) -> str:
    """Return a note of an expansion with fields and lengths named as the page names them.

    >>> note_line("tag_length long ends at 54: no tags added; choose very_long (72)")
    '“Tag length” long ends at 54: no tags added; choose very long (72)'
    """
    named = name_fields(note, lambda field: f"“{BY_FIELD[field].label}”")
    return re.sub(r"\bvery_(long|short)\b", r"very \1", named)
