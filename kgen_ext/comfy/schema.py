"""ComfyUI's classes of our nodes, for ComfyUI 0.3.64 and later: what a version lacks is left out.

`execute` runs on a locked copy of a class, so that nothing is kept there. Only the prompt has to be given: an API
client may leave out any other input, and so may a workflow saved before there was one.
"""
from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from kgen_ext.comfy import host
from kgen_ext.comfy.inputs import MODEL, Kind, NodeInput
from kgen_ext.comfy.messages import NodeError, explain
from kgen_ext.comfy.nodes import CATEGORY, Call, Node, NodeOutput
from kgen_ext.comfy.png import remember
from kgen_ext.errors import KGenError
from kgen_ext.request import NO_PRIOR

_REQUIRED = ("prompt", "expansion", "tags", "nl_prompt", "full_output")


def make_class(node: Node, io: Any) -> type:
    """Return the class of a node. io: of `comfy_api`."""

    def define_schema(cls: Any) -> Any:
        return _schema(node, io)

    def execute(cls: Any, **given: Any) -> Any:
        hidden = cls.hidden
        call = Call(_with_defaults(node, given), hidden.unique_id)
        try:
            answer = node.run(call)
        except (KGenError, OSError) as error:
            raise NodeError(explain(error, node=node.label)) from error
        except ImportError as error:
            raise NodeError(_missing(node, error)) from error
        entries = list(answer.entries)
        if not entries:
            return io.NodeOutput(*answer.outputs)
        remember(entries, node=hidden.unique_id, graph=hidden.prompt, pnginfo=hidden.extra_pnginfo)
        shown = {"kgen": entries, "text": [entry["prompt"] for entry in entries]}
        return io.NodeOutput(*answer.outputs, ui=shown)

    methods = {"define_schema": define_schema, "execute": execute, **_checks(node)}
    return type(node.id, (io.ComfyNode,), {
        "__module__": __name__, "__doc__": node.info,
        **{name: classmethod(method) for name, method in methods.items()},
    })  # fmt: skip


def _checks(node: Node) -> dict[str, Callable[..., Any]]:
    """Return what is asked before a graph runs; ComfyUI passes on the inputs that are named in a signature.

    Of an input that is named in `validate_inputs` it does not check the list: a model or a table may have gone, or a
    model be named as another pack names it.
    """
    names = {row.id for row in node.inputs}

    def check(model: Any, task: Any = None, yours: Any = None) -> bool | str:
        from kgen_ext.comfy.requests import check_prior, find_files, read_task

        try:
            if _one(model) is not None:  # None where it comes over a link: then it is looked for when the node runs
                find_files(_one(model), dantaggen=node.dantaggen)
            if _one(task) is not None:
                read_task(_one(task))
            if _one(yours) is not None:
                check_prior(_one(yours))
        except (KGenError, OSError) as error:
            return explain(error, node=node.label)
        return True

    def fingerprint(model: Any, yours: Any = NO_PRIOR) -> str:
        from kgen_ext.comfy.requests import fingerprint

        return fingerprint(_one(model), _one(yours))

    if "tipo_model" in names:
        return {
            "validate_inputs": lambda cls, tipo_model=None: check(tipo_model),
            "fingerprint_inputs": lambda cls, tipo_model=MODEL, **_: fingerprint(tipo_model),
        }
    if "model" not in names:
        return {}
    with_task: Callable[..., Any] = lambda cls, model=None, task=None, yours=None: check(model, task, yours)  # noqa: E731
    without: Callable[..., Any] = lambda cls, model=None, yours=None: check(model, yours=yours)  # noqa: E731
    return {
        "validate_inputs": with_task if "task" in names else without,
        "fingerprint_inputs": lambda cls, model=MODEL, yours=NO_PRIOR, **_: fingerprint(model, yours),
    }


def _one(value: Any) -> Any:
    """Return an input's value, which is a list of them where the node takes lists."""
    return value[0] if isinstance(value, (list, tuple)) and value else value


def _with_defaults(node: Node, given: dict[str, Any]) -> dict[str, Any]:
    defaults = {row.id: row.default for row in node.inputs if row.id not in given}
    if node.dantaggen and "model" in defaults:
        defaults["model"] = _models(node)[0]
    return given | ({name: [value] for name, value in defaults.items()} if node.takes_lists else defaults)


def _missing(node: Node, error: ImportError) -> str:
    package = error.name or "a package of its own"
    return (
        f"KGen “{node.label}”: the package {package} is missing (install it into ComfyUI's Python: "
        f"python -m pip install {package}; then start ComfyUI again)"
    )


# The schema.


def _schema(node: Node, io: Any) -> Any:
    known = {field.name for field in dataclasses.fields(io.Schema)}
    options = {
        "node_id": node.id, "display_name": node.label, "category": CATEGORY, "description": node.info,
        "inputs": [_input(row, node, io) for row in node.inputs],
        "outputs": [_output(row, node, io) for row in node.outputs],
        "hidden": [io.Hidden.unique_id, io.Hidden.prompt, io.Hidden.extra_pnginfo],
        "is_input_list": node.takes_lists, "is_deprecated": node.old,
        "search_aliases": ["TIPO", "DanTagGen", "prompt expansion", "KGen"],
        # So that the page is told of a cached node, too.
        "has_intermediate_output": any(row.kind is Kind.STRING for row in node.outputs),
    }  # fmt: skip
    return io.Schema(**{name: value for name, value in options.items() if name in known})


def _input(row: NodeInput, node: Node, io: Any) -> Any:
    common: dict[str, Any] = {
        "display_name": row.label, "tooltip": row.info, "optional": row.optional or row.id not in _REQUIRED,
    }  # fmt: skip
    if row.kind is Kind.STRING:
        # A box of several lines has no other label on the classic canvas.
        placeholder = f"{row.label}: {row.example}" if row.example else row.label
        made = io.String.Input(row.id, default=row.default, multiline=row.multiline, placeholder=placeholder, **common)
    elif row.kind is Kind.INT:
        # A maximum is always given: without one the page's random seeds stay below 2048.
        control = {"control_after_generate": True} if row.id == "seed" else {}
        made = io.Int.Input(row.id, default=row.default, min=int(row.low), max=int(row.high), **control, **common)
    elif row.kind is Kind.FLOAT:
        made = io.Float.Input(row.id, default=float(row.default), min=float(row.low), max=float(row.high),
                              step=row.step, **common)  # fmt: skip
    elif row.kind is Kind.BOOLEAN:
        made = io.Boolean.Input(row.id, default=row.default, **common)
    elif row.kind is Kind.COMBO:
        options = _options(row, node)
        default = row.default if row.default in options else next(iter(options), None)
        made = io.Combo.Input(row.id, options=options, default=default, **common)
    else:
        made = io.Custom(row.kind.value).Input(row.id, **common)
    if row.advanced:
        made.extra_dict["advanced"] = True  # 0.3.64 has no argument for it
    return made


def _output(row: NodeOutput, node: Node, io: Any) -> Any:
    kind = io.String if row.kind is Kind.STRING else io.Custom(row.kind.value)
    return kind.Output(row.id, display_name=row.label, tooltip=row.info, is_output_list=node.takes_lists)


def _options(row: NodeInput, node: Node) -> list[str]:
    if row.id == "yours":
        return _priors()
    return _models(node) if row.id in ("model", "tipo_model") else list(row.options)


def _models(node: Node) -> list[str]:
    """Return the names to offer. Called at every look at the page, which no fault of a file may keep from opening."""
    from kgen_ext.comfy.requests import model_names

    try:
        return list(model_names(dantaggen=node.dantaggen))
    except (KGenError, OSError) as error:
        host.LOG.warning("%s", explain(error))
        return [MODEL]


def _priors() -> list[str]:
    """Return the tables of the user's tags to offer, likewise."""
    from kgen_ext.models.priors import prior_names

    try:
        return [NO_PRIOR, *prior_names()]
    except OSError as error:
        host.LOG.warning("%s", explain(error))
        return [NO_PRIOR]
