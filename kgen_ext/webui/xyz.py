"""Axes of the host's X/Y/Z plot: each sets a control's value on the copy of the job that makes a cell.

The values are in `p.kgen_overrides`, by field, and override the page's. Choices and checks come from the table of
controls. A value that is not allowed ends the plot before it begins: the axis is emptied, and a line in the console and
under the images says why. An exception would make the host print a traceback and every argument of the job.
"""
from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import PurePath
from typing import Any, NamedTuple

from kgen_ext.errors import BadValue, KGenError
from kgen_ext.request import NO_PRIOR
from kgen_ext.sampling import SAMPLING_NAMES, Sampling
from kgen_ext.webui.controls import BY_FIELD, CUSTOM, DEFAULT, Values, Widget, check_value, read_named
from kgen_ext.webui.host import Host
from kgen_ext.webui.messages import explain
from kgen_ext.webui.settings import find_model, installed_models, own_priors, read_settings

OVERRIDES = "kgen_overrides"
PREFIX = "[KGen] "
_SCRIPT = "xyz_grid.py"
_SWITCH = {"on": True, "true": True, "off": False, "false": False}


class Axis(NamedTuple):
    """The field it sets, its label, and the type the host converts typed values to.

    The host puts the axis with the highest `cost` in the outermost loop.
    """

    field: str
    label: str
    type: type
    cost: float = 0.0


AXES = (
    Axis("enabled", "Expansion", str), Axis("model", "Model", str, cost=0.6), Axis("seed", "Seed", int),
    Axis("tag_length", "Tag length", str), Axis("text_length", "Text length", str),
    Axis("temperature", "Temperature", float), Axis("format", "Format", str), Axis("yours", "Your tags", str),
)  # fmt: skip


def register_axes(host: Host) -> None:
    """Add the axes before the page is built. Call it at each load of the scripts."""
    host.on("on_before_ui", lambda: add_axes(host))


def add_axes(host: Host) -> int:
    """Add the axes that the plot does not have yet and return how many: 0 on a host without the plot."""
    added = 0
    for script in host.part("modules.scripts.scripts_data") or ():
        module = getattr(script, "module", None)
        options, make = getattr(module, "axis_options", None), getattr(module, "AxisOption", None)
        if PurePath(script.path).name != _SCRIPT or not isinstance(options, list) or make is None:
            continue
        known = {getattr(option, "label", None) for option in options}
        new = [_option(host, axis, make, module) for axis in AXES if PREFIX + axis.label not in known]
        options += new
        added += len(new)
    return added


def apply_overrides(
    values: Values, overrides: Mapping[str, Any], *, resolve: Callable[[Values], Sampling]
) -> Values:
    """Return the values of a cell. Raises BadValue for an override that is not allowed.

    resolve: returns the sampling options of the cell's creativity, which apply to those that no axis sets. An axis of
    text lengths implies that text is added.
    """
    merged = read_named({**values.named(), **overrides})
    if "text_length" in overrides and merged.adds == "tags" and "add" not in overrides:
        merged = replace(merged, add="both")
    given = {name: getattr(merged, name) for name in SAMPLING_NAMES if name in overrides}
    if given and merged.creativity != CUSTOM:
        merged = replace(merged, creativity=CUSTOM, **{**asdict(resolve(merged)), **given})
    return merged


def _option(host: Host, axis: Axis, make: Callable[..., Any], plot: Any) -> Any:
    choices, read_typed = _choices(host, axis), _reader(axis, plot)
    more: dict[str, Any] = {} if choices is None else {"choices": choices}
    unread = list[str]()  # what `prepare` could not read, for `confirm`
    if read_typed is not None and "prepare" in inspect.signature(make).parameters:

        def prepare(text: str) -> list[str]:
            values, unread[:] = read_typed(text)
            return values

        more["prepare"] = prepare

    def apply(p: Any, value: Any, values: Sequence[Any]) -> None:
        before = getattr(p, OVERRIDES, None) or {}
        # A new dict: the copies of a job share its objects. Plotting an axis switches expansion on.
        setattr(p, OVERRIDES, {"enabled": True, **before, axis.field: _read(axis, value)})

    def confirm(p: Any, values: list[Any]) -> None:
        from kgen_ext.models.priors import find_prior

        try:
            for value in unread or values:
                read = _read(axis, value)
                if axis.field == "model":
                    _check_model(host, read)
                if axis.field == "yours" and read != NO_PRIOR:
                    find_prior(read)
        except KGenError as error:
            line = f"X/Y/Z plot: {explain(error)}"
            host.log.error("%s", line)
            if hasattr(p, "comment"):
                p.comment(line)  # shown under the images
            values.clear()

    return make(PREFIX + axis.label, axis.type, apply, confirm=confirm, cost=axis.cost, **more)


def _choices(host: Host, axis: Axis) -> Callable[[], list[str]] | None:
    control = BY_FIELD[axis.field]
    if control.widget is Widget.CHECKBOX:
        return lambda: ["on", "off"]
    if control.widget is Widget.CHOICE:
        return lambda: [label for value, label in control.choices if value != CUSTOM]
    live = {"model": lambda: [*installed_models(host)], "yours": lambda: [NO_PRIOR, *own_priors()]}
    return live.get(axis.field)


def _reader(axis: Axis, plot: Any) -> Callable[[str], tuple[list[str], list[str]]] | None:
    """Return a function that splits what is typed into the values that the plot can read and those that it cannot.

    None for an axis without numbers, and for a plot that reads numbers in another way.
    """
    names = {int: ("re_range", "re_range_count"), float: ("re_range_float", "re_range_count_float")}.get(axis.type)
    split = getattr(plot, "csv_string_to_list_strip", None)
    if names is None or split is None or not all(hasattr(plot, name) for name in names):
        return None
    ranges = [getattr(plot, name) for name in names]

    def read(text: str) -> tuple[list[str], list[str]]:
        values = [value for value in split(text) if value.strip()]
        bad = [value for value in values if not readable(value)]
        return ([], bad) if bad else (values, bad)

    def readable(value: str) -> bool:
        try:
            axis.type(value)
        except ValueError:
            return any(expression.fullmatch(value) for expression in ranges)
        return True

    return read


def _read(axis: Axis, value: Any) -> Any:
    control = BY_FIELD[axis.field]
    if control.widget is not Widget.CHECKBOX:
        return check_value(control, value)
    word = str(value).strip().lower()
    if word not in _SWITCH:
        raise BadValue(PREFIX + axis.label, value, "on or off")
    return _SWITCH[word]


def _check_model(host: Host, model: str) -> None:
    """Raise UnknownModel before the plot begins rather than in the middle of it."""
    settings = read_settings(host)
    find_model(host, settings, settings.model if model == DEFAULT else model)
