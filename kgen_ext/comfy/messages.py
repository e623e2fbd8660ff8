"""Error messages of the nodes: the node, its input as the page names it, what is wrong, and the way out."""
from __future__ import annotations

from kgen_ext.comfy.inputs import INPUTS, label_of
from kgen_ext.errors import BadTemplate, Download, KGenError, ListModels, UserError
from kgen_ext.events import name_fields

# What a message of ours about an input begins with: the name of a field, or a label.
_NAMES = frozenset((*INPUTS, "no_tags", "tag_file", *(row.label for row in INPUTS.values())))


class NodeError(Exception):
    """A message for ComfyUI's page, which shows it beside the node."""


def node_hint(error: KGenError) -> str:
    """Return what the user can do on the page about an error, "" where nothing is known."""
    action = error.action
    if isinstance(action, Download):
        return f"press “Download model” on the node, or put the file of {action.model} into models/kgen"
    if isinstance(action, ListModels):
        return f"the node's list of models shows {action.shows}"
    return error.hint


def explain(error: BaseException, *, node: str = "") -> str:
    """Return an error as the page shows it. node: the label of the node it is about.

    >>> explain(UserError("ban: pattern /(/: missing )", hint="write )"), node="Expand prompt")
    'KGen “Expand prompt”, “Banned tags”: pattern /(/: missing ) (write ))'
    """
    where = f"KGen “{node}”" if node else "KGen"
    if not isinstance(error, KGenError):
        return f"{where}: {type(error).__name__}: {error}"
    message, hint = error.message, node_hint(error)
    name, _, rest = message.partition(": ")
    if isinstance(error, UserError) and name in _NAMES:
        name = "template" if isinstance(error, BadTemplate) else name
        where, message = f"{where}, “{label_of(name)}”", rest
    return f"{where}: {message} ({hint})" if hint else f"{where}: {message}"


def node_note(note: str) -> str:
    """Return a note of an expansion with its fields named as the page names them.

    >>> node_note("tag_length long ends at 54: no tags added")
    '“Tag length” long ends at 54: no tags added'
    """
    return name_fields(note, lambda field: f"“{label_of(field)}”")
