"""Inputs of the nodes: one table of their names, labels, tooltips, choices, bounds and defaults.

What other pages show, too, comes from `kgen_ext.controls`. Values of a COMBO are saved in workflows: they are never
translated, and names and places of inputs never change; new ones come last. `recommended` and -1 leave a choice to the
model.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

from kgen_ext.controls import BY_MODEL, DEFAULT, SHARED, sentence
from kgen_ext.request import FIELDS, MAX_COUNT, NO_PRIOR, Task
from kgen_ext.sampling import SAMPLING_NAMES

RECOMMENDED = "recommended"
MAX_SEED = 2**64 - 1  # ComfyUI's; masked to ours
MODEL = "starter"
_BY_MODEL = " -1: what the model's author recommends."


class Kind(str, Enum):
    """ComfyUI's types of inputs, and our own: the output of another node of ours."""

    STRING = "STRING"
    INT = "INT"
    FLOAT = "FLOAT"
    BOOLEAN = "BOOLEAN"
    COMBO = "COMBO"
    SAMPLING = "KGEN_SAMPLING"
    EXPANSION = "KGEN_EXPANSION"
    LIST = "LIST"  # z-tipo-extension's name of what its nodes pass on


class NodeInput(NamedTuple):
    """A row of the table.

    `options` are those of a COMBO. `advanced`: shown in Nodes 2.0 after a click. `optional`: may be left unlinked.
    `example`: what an empty STRING shows.
    """

    id: str
    kind: Kind
    label: str
    info: str
    default: Any = None
    options: tuple[str, ...] = ()
    low: float = 0
    high: float = 0
    step: float = 1
    multiline: bool = False
    example: str = ""
    advanced: bool = False
    optional: bool = False


def _text(field: str, *, multiline: bool = False, advanced: bool = False, info: str = "") -> NodeInput:
    control = SHARED[field]
    return NodeInput(field, Kind.STRING, control.label, info or control.info, "", multiline=multiline,
                     example=control.example, advanced=advanced)  # fmt: skip


def _choice(field: str) -> NodeInput:
    control = SHARED[field]
    options = tuple(RECOMMENDED if value == DEFAULT else value for value, _ in control.choices)
    default = RECOMMENDED if control.default == DEFAULT else control.default
    return NodeInput(field, Kind.COMBO, control.label, control.info, default, options)


def _flag(field: str) -> NodeInput:
    control = SHARED[field]
    return NodeInput(field, Kind.BOOLEAN, control.label, control.info, control.default, advanced=True)


def _listed(field: str, info: str, *, advanced: bool = False) -> NodeInput:
    control = SHARED[field]
    values = ", ".join(value for value, _ in control.choices)
    return NodeInput(field, Kind.STRING, control.label, f"{info}: {values}.", "", advanced=advanced)


def _number(field: str, *, by_model: bool = True, advanced: bool = True) -> NodeInput:
    control, row = SHARED[field], FIELDS[field]
    kind = Kind.INT if control.step == 1 else Kind.FLOAT
    low, default = (BY_MODEL, BY_MODEL) if by_model else (row.low, row.default)
    return NodeInput(field, kind, control.label, control.info + (_BY_MODEL if by_model else ""), default,
                     low=low, high=row.high, step=control.step, advanced=advanced)  # fmt: skip


def _size(field: str, label: str) -> NodeInput:
    row = FIELDS[field]
    return NodeInput(field, Kind.INT, label, sentence(row.help), row.default, low=row.low, high=row.high,
                     advanced=True)  # fmt: skip


_PROMPT = NodeInput("prompt", Kind.STRING, "Prompt",
                    "Your prompt. It is in the result byte for byte; what KGen adds comes behind it.", "",
                    multiline=True)  # fmt: skip
_MODEL = NodeInput("model", Kind.COMBO, "Model",
                   "Model that expands the prompt. The starter needs no download.", MODEL)  # fmt: skip

INPUTS: Mapping[str, NodeInput] = {row.id: row for row in (
    _PROMPT,
    _text("text", multiline=True),
    _MODEL,
    _choice("add"),
    _choice("tag_length"),
    _choice("text_length"),
    _number("temperature", advanced=False),
    NodeInput("seed", Kind.INT, "Seed", sentence(FIELDS["seed"].help), 0, low=0, high=MAX_SEED),
    _text("ban", multiline=True),
    _text("require"),
    _text("rules", multiline=True),
    _listed("lock", "Nothing is added to what you name, in tags or in sentences: it stays as you wrote it. "
                    "Comma-separated"),
    _choice("format"),
    _text("template", multiline=True),
    _text("protect", advanced=True),
    _listed("allow", "Categories of tags that the model may add even if your prompt has none, comma-separated",
            advanced=True),
    _flag("allow_contradictions"),
    _flag("any_tag"),
    _size("width", "Width"),
    _size("height", "Height"),
    _number("top_k"),
    _number("top_p"),
    _number("min_p"),
    NodeInput("engine", Kind.COMBO, SHARED["engine"].label, SHARED["engine"].info, "auto",
              ("auto", "llama_cpp", "transformers", "reference"), advanced=True),
    NodeInput("device", Kind.COMBO, "Device", "“auto” uses the GPU if the engine can; cuda:1 is the second GPU.",
              "auto", ("auto", "cpu", "cuda", "cuda:1", "xpu", "mps", "directml"), advanced=True),
    NodeInput("sampling", Kind.SAMPLING, "Sampling options",
              "Of a node “Sampling options”; in place of temperature, top-k, top-p and min-p here.", optional=True),
    NodeInput("count", Kind.INT, "Variants", "Number of different expansions of each prompt.", 1, low=1,
              high=MAX_COUNT),
    NodeInput("per_line", Kind.BOOLEAN, "One prompt per line",
              "On: every line is a prompt of its own, and empty lines are left out. Off: the text is one prompt.",
              True),
    NodeInput("task", Kind.COMBO, "Task", "Order in which the model writes its fields: tag_to_long writes tags, then "
              "a long description; short and long are read from the description where the task begins with them.",
              Task.TAG.value, tuple(task.value for task in Task if task is not Task.AUTO)),
    NodeInput("yours", Kind.COMBO, SHARED["yours"].label, SHARED["yours"].info, NO_PRIOR, advanced=True),
    _number("prior")._replace(info=SHARED["prior"].info),
    NodeInput("expansion", Kind.EXPANSION, "Expansion", "Of a node that expands: its result in another layout."),
)}  # fmt: skip

_BASIC = ("tag_length", "text_length", "temperature", "seed", "ban", "require", "rules", "lock", "format", "template")
_ADVANCED = (
    "protect", "allow", "allow_contradictions", "any_tag", "width", "height", "top_k", "top_p", "min_p", "engine",
    "device",
)  # fmt: skip
_LATER = ("yours", "prior")
_WITHOUT_TEXT = tuple(name for name in _BASIC if name != "text_length")

# The inputs of each node, in the order of its widgets.
_EXPAND = ("prompt", "text", "model", "add", *_BASIC, *_ADVANCED, "sampling")
EXPAND = (*_EXPAND, *_LATER)
BATCH = (*_EXPAND, "count", "per_line", *_LATER)
TASK = ("prompt", "text", "model", "task", *_BASIC, *_ADVANCED, "sampling", *_LATER)
DANTAGGEN = ("prompt", "model", *_WITHOUT_TEXT, *_ADVANCED, "sampling", *_LATER)
FORMAT = ("expansion", "format", "template")
SAMPLING = SAMPLING_NAMES


def node_inputs(ids: Sequence[str]) -> tuple[NodeInput, ...]:
    """Return the rows of a node, in its order."""
    return tuple(INPUTS[name] for name in ids)


def sampling_inputs() -> tuple[NodeInput, ...]:
    """Return the rows of the node “Sampling options”, where every option has a number."""
    return tuple(_number(name, by_model=False, advanced=False) for name in SAMPLING)


def label_of(field: str) -> str:
    """Return the label of an input, by which messages name it.

    >>> label_of("ban"), label_of("tag_file")
    ('Banned tags', 'Any tag, known or not')
    """
    if field == "no_tags":
        return SHARED["add"].label
    if field == "tag_file":
        return SHARED["any_tag"].label
    return INPUTS[field].label if field in INPUTS else field

