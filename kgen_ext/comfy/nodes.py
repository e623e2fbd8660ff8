"""The nodes: a table of their ids, labels, inputs, outputs and what each does.

Ids, and the places of outputs, never change: workflows hold them. `schema` makes ComfyUI's classes of the rows. What a
node needs to run is imported when it runs, so that the nodes are there even where a library is missing.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from kgen_ext.comfy import inputs
from kgen_ext.comfy.inputs import Kind, NodeInput, node_inputs, sampling_inputs
from kgen_ext.errors import BadValue

if TYPE_CHECKING:
    from kgen_ext.comfy.results import NodeExpansion
    from kgen_ext.events import Expansion
    from kgen_ext.request import ExpandRequest

CATEGORY = "KGen"


class NodeOutput(NamedTuple):
    """An output. ComfyUI 0.3.64 wants its id to be that of no input."""

    id: str
    kind: Kind
    label: str
    info: str


@dataclass(frozen=True, slots=True)
class Call:
    """A run of a node. values: of its inputs by name. node: its id in the graph, None where there is none."""

    values: Mapping[str, Any]
    node: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a run gives. outputs: in the node's order. entries: for the page, the history and the PNG."""

    outputs: tuple[Any, ...]
    entries: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """A row of the table.

    `takes_lists`: its inputs and outputs are lists, and it runs once for all. `dantaggen`: it offers the models of that
    family only. `old`: an id of another pack's node, which is there for its saved workflows.
    """

    id: str
    label: str
    info: str
    inputs: tuple[NodeInput, ...]
    outputs: tuple[NodeOutput, ...]
    run: Callable[[Call], Answer]
    takes_lists: bool = False
    dantaggen: bool = False
    old: bool = False


_OUTPUTS = {output.id: output for output in (
    NodeOutput("expanded_prompt", Kind.STRING, "prompt", "Your prompt with what was added, in the chosen format."),
    NodeOutput("added_tags", Kind.STRING, "tags added", "The added tags, comma-separated."),
    NodeOutput("added_text", Kind.STRING, "text added", "The added sentences."),
    NodeOutput("infotext", Kind.STRING, "infotext",
               "Parameters of the image as the WebUIs write them: from these KGen for WebUI restores your prompt."),
    NodeOutput("kgen_expansion", Kind.EXPANSION, "expansion", "For a node “Format”."),
    NodeOutput("source_prompt", Kind.STRING, "your prompt", "The prompt as you gave it."),
    NodeOutput("appended_prompt", Kind.STRING, "appended", "The additions behind your prompt, whatever the format."),
)}  # fmt: skip
_EXPANSION_OUTPUTS = tuple(_OUTPUTS.values())
_FORMAT_OUTPUTS = tuple(_OUTPUTS[name] for name in ("expanded_prompt", "source_prompt", "appended_prompt"))
_SAMPLING_OUTPUT = NodeOutput("options", Kind.SAMPLING, "sampling", "For the nodes that expand.")
_EMPTY = "“Prompt” is empty, and so is “Description”: the model chose what to show. Write a word or two to choose it."


def expand(call: Call, *, dantaggen: bool = False) -> Answer:
    """Expand one prompt."""
    from kgen_ext.comfy.requests import make_request

    request = make_request(call.values, call.values["prompt"], seed=call.values["seed"])
    rows = _expand(call, call.values, [(call.values, request)], dantaggen=dantaggen)
    return Answer(*_joined(rows, as_lists=False))


def expand_dantaggen(call: Call) -> Answer:
    """Expand one prompt with a DanTagGen model."""
    return expand(call, dantaggen=True)


def expand_batch(call: Call) -> Answer:
    """Expand a list of prompts, each in as many variants as asked for, in one decode."""
    from kgen_ext.comfy.requests import make_request, mask_seed
    from kgen_ext.request import MAX_SEED

    first = {name: listed[0] for name, listed in call.values.items() if listed}
    seeds = call.values["seed"]
    asked = list[tuple[Mapping[str, Any], "ExpandRequest"]]()
    for index, prompt in enumerate(call.values["prompt"]):
        # As ComfyUI does: the last value of a list that is too short goes on.
        values = {name: listed[min(index, len(listed) - 1)] for name, listed in call.values.items()}
        for line in _lines(prompt) if values["per_line"] is True else [prompt]:
            # One seed for all rises with each prompt, so that equal prompts differ and can be repeated.
            seed = mask_seed(values["seed"]) + (len(asked) if len(seeds) == 1 else 0)
            asked.append((values, make_request(values, line, seed=seed & MAX_SEED, count=values["count"])))
    return Answer(*_joined(_expand(call, first, asked), as_lists=True))


def make_sampling(call: Call) -> Answer:
    """Return the sampling options as one value."""
    from kgen_ext.request import FIELDS
    from kgen_ext.sampling import SAMPLING_NAMES, Sampling

    return Answer((Sampling(**{name: FIELDS[name].read(call.values[name]) for name in SAMPLING_NAMES}),))


def lay_out(call: Call) -> Answer:
    """Lay an expansion out in another format; nothing is decoded while the model remembers it."""
    from kgen_ext.comfy.requests import read_format
    from kgen_ext.comfy.results import NodeExpansion, entry
    from kgen_ext.comfy.running import Runner, show_result

    given = call.values["expansion"]
    if not isinstance(given, NodeExpansion):
        raise BadValue("expansion", given, "the output “expansion” of a node that expands")
    request = replace(given.request, format=read_format(call.values))
    runner = Runner(given.files, given.engine, given.device, call.node)
    done, appended = runner.expand([request], layouts=[replace(request, format="append")])
    show_result([done], call.node)
    return Answer((done.prompt, done.source, appended.prompt), (entry(done),))


def _lines(text: object) -> Sequence[object]:
    if not isinstance(text, str):
        return [text]  # the request says what is wrong with it
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [line for line in lines if line.strip()] or [""]


class _Row(NamedTuple):
    """An expansion, the one that appends, and what is needed to lay it out again."""

    values: Mapping[str, Any]
    expansion: Expansion
    appended: Expansion
    again: NodeExpansion


def _expand(
    call: Call, values: Mapping[str, Any], asked: Sequence[tuple[Mapping[str, Any], ExpandRequest]], *,
    dantaggen: bool = False,
) -> list[_Row]:  # fmt: skip
    """Expand requests in one batch on the model that `values` name."""
    from kgen_ext.comfy.requests import find_files
    from kgen_ext.comfy.results import NodeExpansion
    from kgen_ext.comfy.running import Runner, show_result

    runner = Runner(find_files(values["model"], dantaggen=dantaggen), values["engine"], values["device"], call.node)
    requests = [request for _, request in asked]
    done = runner.expand(requests, layouts=[replace(request, format="append") for request in requests])
    by_row = [(own, request) for own, request in asked for _ in range(request.count)]
    empty = any(not (request.prompt.strip() or request.text.strip()) for request in requests)
    show_result(done[: len(by_row)], call.node, notes=(_EMPTY,) if empty else ())
    return [
        _Row(own, expansion, appended, NodeExpansion(
            replace(request, seed=expansion.seed, count=1), runner.files, runner.engine, runner.device))
        for (own, request), expansion, appended
        in zip(by_row, done[: len(by_row)], done[len(by_row) :], strict=True)
    ]  # fmt: skip


def _joined(rows: Sequence[_Row], *, as_lists: bool) -> tuple[tuple[Any, ...], tuple[dict[str, Any], ...]]:
    """Return the outputs of a node, each a list or the one value, and the entries."""
    from kgen_ext.comfy.results import entry, infotext

    outputs = [
        (
            row.expansion.prompt, ", ".join(row.expansion.added_tags), row.expansion.added_text,
            infotext(row.values, row.expansion), row.again, row.expansion.source, row.appended.prompt,
        )
        for row in rows
    ]  # fmt: skip
    entries = tuple(entry(row.expansion) for row in rows)
    if as_lists:
        return tuple([row[place] for row in outputs] for place in range(len(_EXPANSION_OUTPUTS))), entries
    return outputs[0], entries


NODES: tuple[Node, ...] = (
    Node("KGenExpand", "Expand prompt",
         "Adds tags and sentences to a prompt with a small language model on this computer. Your own text is kept: "
         "weights, embedding:name, LoRA syntax, {a|b}, BREAK.",
         node_inputs(inputs.EXPAND), _EXPANSION_OUTPUTS, expand),
    Node("KGenExpandBatch", "Expand batch",
         "Expands a list of prompts, each in as many variants as you like, in one go. The outputs are lists.",
         node_inputs(inputs.BATCH), _EXPANSION_OUTPUTS, expand_batch, takes_lists=True),
    Node("KGenSampling", "Sampling options", "How the next token is drawn, for several nodes at once.",
         sampling_inputs(), (_SAMPLING_OUTPUT,), make_sampling),
    Node("KGenFormat", "Format", "Lays an expansion out in another format, or by your own template.",
         node_inputs(inputs.FORMAT), _FORMAT_OUTPUTS, lay_out),
    Node("KGenTask", "Run task",
         "Runs one of the eight tasks that TIPO models were trained on: what is read, what is written, in which order.",
         node_inputs(inputs.TASK), _EXPANSION_OUTPUTS, expand),
    Node("KGenDanTagGen", "DanTagGen", "Adds tags with a model of the DanTagGen family, which writes no sentences.",
         node_inputs(inputs.DANTAGGEN), _EXPANSION_OUTPUTS, expand_dantaggen, dantaggen=True),
)  # fmt: skip
