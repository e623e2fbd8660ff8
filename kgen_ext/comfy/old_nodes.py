"""Nodes of other packs in saved workflows: z-tipo-extension's, and the older DanTagGen node.

Where ComfyUI can (0.33), a replacement is registered, which the page offers for a node that is missing. Elsewhere nodes
of the same ids stand in, unless their own pack is installed. docs/comfyui.md says what becomes of each input.

    z-tipo-extension (d6bbb86)    TIPO, TIPOOperation, TIPOFormat
    dtg_comfyui (June 2024)       DanTagGen
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from kgen_ext.comfy.inputs import INPUTS, Kind, NodeInput
from kgen_ext.comfy.nodes import Answer, Call, Node, NodeOutput, expand, expand_dantaggen, lay_out
from kgen_ext.controls import CUSTOM, SHARED

_TEMPLATE = (
    "<|special|>, \n<|characters|>, <|copyrights|>, \n<|artist|>, \n\n<|general|>,\n\n<|extended|>.\n\n"
    "<|quality|>, <|meta|>, <|rating|>"
)
_TEXT_SLOTS = ("<|extended|>", "<|generated|>")
_CONTROL = "control_after_generate"  # the widget that the page adds behind a seed


class Replacement(NamedTuple):
    """What becomes of an old node.

    widgets: its saved values by place. inputs: our names by the old ones, of inputs that every saved file has. values:
    of inputs that the old node has not. outputs: our places by the old ones, all of which are named: page 1.49 leaves
    the link of one that is not at its place, where it brings what our output there has. Of two for one place the
    last stands in the output's own list of links.
    """

    old: str
    new: str
    widgets: tuple[str, ...]
    inputs: Mapping[str, str]
    values: Mapping[str, Any]
    outputs: Mapping[int, int]


_SAMPLING = {name: name for name in ("temperature", "top_p", "min_p", "top_k")}
_TIPO = {
    "tags": "prompt", "nl_prompt": "text", "ban_tags": "ban", "tipo_model": "model", "width": "width",
    "height": "height", **_SAMPLING, "tag_length": "tag_length", "nl_length": "text_length", "seed": "seed",
}  # fmt: skip
_TIPO_WIDGETS = (
    "tags", "nl_prompt", "ban_tags", "tipo_model", "format", "width", "height", "temperature", "top_p", "min_p",
    "top_k", "tag_length", "nl_length", "seed", _CONTROL, "device",
)  # fmt: skip

REPLACEMENTS: tuple[Replacement, ...] = (
    Replacement("TIPO", "KGenExpand", _TIPO_WIDGETS, {**_TIPO, "format": "template"},
                {"format": CUSTOM, "add": "both"}, {3: 5, 0: 0, 1: 5, 2: 6}),
    Replacement("TIPOOperation", "KGenTask",
                tuple("operation" if name == "format" else name for name in _TIPO_WIDGETS),
                {**_TIPO, "operation": "task"}, {}, {1: 4, 0: 4}),
    Replacement("TIPOFormat", "KGenFormat", ("format",), {"full_output": "expansion", "format": "template"},
                {"format": CUSTOM}, {3: 1, 0: 0, 1: 1, 2: 2}),
    # Its sizes are saved as text, which a number's widget does not take.
    Replacement("DanTagGen", "KGenDanTagGen",
                ("prompt", "ban_tags", "format", "width", "height", "temperature", "tag_length", "seed", _CONTROL),
                {"prompt": "prompt", "ban_tags": "ban", "format": "template", "temperature": "temperature",
                 "tag_length": "tag_length", "seed": "seed"},
                {"format": CUSTOM}, {0: 0}),
)  # fmt: skip


async def register_replacements(api: Any) -> None:
    """Register the replacements with ComfyUI. api: a module of `comfy_api` that has them."""
    register = api.ComfyAPI().node_replacement.register
    for row in REPLACEMENTS:
        given = [{"new_id": new, "old_id": old} for old, new in row.inputs.items()]
        fixed = [{"new_id": new, "set_value": value} for new, value in row.values.items()]
        await register(api.io.NodeReplace(
            new_node_id=row.new, old_node_id=row.old, old_widget_ids=list(row.widgets), input_mapping=[*given, *fixed],
            output_mapping=[{"old_idx": old, "new_idx": new} for old, new in row.outputs.items()],
        ))  # fmt: skip


# Nodes that stand in where there are no replacements.


def _values(row: Replacement, call: Call) -> dict[str, Any]:
    """Return the values of our node for those of the old one."""
    values = {input.id: input.default for input in INPUTS.values() if input.id not in ("task", "sampling")}
    values |= row.values
    values |= {new: call.values[old] for old, new in row.inputs.items()}
    values["device"] = "cpu" if call.values.get("device") == "cpu" else "auto"
    return values


def _tipo(call: Call) -> Answer:
    values = _values(REPLACEMENTS[0], call)
    # As z-tipo-extension decides whether sentences are written.
    writes_text = any(slot in str(values["template"]) for slot in _TEXT_SLOTS)
    values["add"] = "both" if writes_text else "tags"
    return _four(expand(Call(values, call.node)), prompt=0, source=5, appended=6)


def _operation(call: Call) -> Answer:
    answer = expand(Call(_values(REPLACEMENTS[1], call), call.node))
    return Answer((answer.outputs[4], answer.outputs[4]), answer.entries)


def _format(call: Call) -> Answer:
    return _four(lay_out(Call(_values(REPLACEMENTS[2], call), call.node)), prompt=0, source=1, appended=2)


def _dantaggen(call: Call) -> Answer:
    values = _values(REPLACEMENTS[3], call) | {"model": call.values["model"]}
    sizes = {name: int(value) for name in ("width", "height") if str(value := call.values[name]).isdecimal()}
    answer = expand_dantaggen(Call(values | sizes, call.node))
    return Answer(answer.outputs[:1], answer.entries)


def _four(answer: Answer, *, prompt: int, source: int, appended: int) -> Answer:
    """Return z-tipo-extension's four outputs: the user's own prompt is what it is, with and without a format."""
    found = answer.outputs
    return Answer((found[prompt], found[source], found[appended], found[source]), answer.entries)


def _string(name: str, like: str, default: str = "") -> NodeInput:
    control = SHARED[like] if like in SHARED else INPUTS[like]
    return NodeInput(name, Kind.STRING, name, control.info, default, multiline=True)


def _like(name: str, like: str, default: Any) -> NodeInput:
    return INPUTS[like]._replace(id=name, label=name, default=default, advanced=False)


_OPERATIONS = ("None", "short_to_tag", "short_to_tag_to_long", "tag_to_long", "tag_to_long_to_short", "tag_to_short",
               "tag_to_short_to_long", "long_to_tag")  # fmt: skip
_LENGTHS = ("very_short", "short", "long", "very_long")
_NUMBERS = (
    _like("width", "width", 1024), _like("height", "height", 1024), _like("temperature", "temperature", 0.5),
    _like("top_p", "top_p", 0.95), _like("min_p", "min_p", 0.05), _like("top_k", "top_k", 80),
    _like("tag_length", "tag_length", "long")._replace(options=_LENGTHS),
    _like("nl_length", "text_length", "long"), _like("seed", "seed", 1234),
    _like("device", "device", "cuda")._replace(options=("cpu", "cuda")),
)  # fmt: skip
_TAGS = (_string("tags", "prompt"), _string("nl_prompt", "text"), _string("ban_tags", "ban"),
         _like("tipo_model", "model", INPUTS["model"].default))  # fmt: skip
_FORMAT = _string("format", "template", _TEMPLATE)
_PROMPTS = tuple(
    NodeOutput(name, Kind.STRING, name, info) for name, info in (
        ("prompt", "The prompt in this format."), ("user_prompt", "Your prompt as you gave it."),
        ("unformatted_prompt", "Your prompt with the additions behind it."),
        ("unformatted_user_prompt", "Your prompt as you gave it."),
    )
)  # fmt: skip
_LISTS = tuple(NodeOutput(name, Kind.LIST, name, "For “TIPO Format”.") for name in ("full_output", "addon_output"))
_INSTEAD = "Stands in for a node of another pack that is not installed. In new workflows use “{}”."

STAND_INS: tuple[Node, ...] = (
    Node("TIPO", "TIPO", _INSTEAD.format("Expand prompt"), (*_TAGS, _FORMAT, *_NUMBERS), _PROMPTS, _tipo, old=True),
    Node("TIPOOperation", "TIPO Single Operation", _INSTEAD.format("Run task"),
         (*_TAGS, NodeInput("operation", Kind.COMBO, "operation", INPUTS["task"].info, "None", _OPERATIONS),
          *_NUMBERS), _LISTS, _operation, old=True),
    Node("TIPOFormat", "TIPO Format", _INSTEAD.format("Format"),
         (NodeInput("full_output", Kind.LIST, "full_output", "Of “TIPO Single Operation”."),
          NodeInput("addon_output", Kind.LIST, "addon_output", "Not used.", optional=True), _FORMAT),
         _PROMPTS, _format, old=True),
    Node("DanTagGen", "DanTagGen (old)", _INSTEAD.format("DanTagGen"),
         (_string("prompt", "prompt"), _string("ban_tags", "ban"), _FORMAT,
          NodeInput("width", Kind.STRING, "width", INPUTS["width"].info, "512"),
          NodeInput("height", Kind.STRING, "height", INPUTS["height"].info, "512"),
          _like("temperature", "temperature", 1.35), _like("tag_length", "tag_length", "long"),
          _like("seed", "seed", 1234), _like("model", "model", "")),
         (NodeOutput("expanded_prompt", Kind.STRING, "prompt", "The prompt in this format."),), _dantaggen,
         dantaggen=True, old=True),
)  # fmt: skip
