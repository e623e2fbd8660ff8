"""Sampling presets: ours, the user's own, and what the control “Sampling preset” resolves to.

A preset of the user's is one line; options that it leaves out follow the model:

    name: temperature=0.7, min_p=0.1        temperature, top_k, top_p, min_p
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from kgen_ext.errors import BadValue, UserError
from kgen_ext.sampling import SAMPLING_NAMES, Sampling
from kgen_ext.webui.controls import BY_FIELD, CUSTOM, DEFAULT, check_value

if TYPE_CHECKING:
    from kgen_ext.models import Recommended

_NAME = re.compile(r"[^\W_][\w .+-]{0,39}")
_HINT = "write a line as name: temperature=0.7, min_p=0.1"

PRESETS: Mapping[str, Sampling] = {
    "careful": Sampling(temperature=0.5, top_p=0.95),
    "balanced": Sampling(temperature=0.9),
    "daring": Sampling(temperature=1.4, min_p=0.05),
}


class Preset(NamedTuple):
    """A preset of the user's: its name, and the sampling options it sets."""

    name: str
    numbers: tuple[tuple[str, float], ...]


def preset_names(own: Iterable[Preset] = ()) -> tuple[str, ...]:
    """Return the choices in the order to show them: default, ours, the user's, custom."""
    return tuple(dict.fromkeys((DEFAULT, *PRESETS, *(preset.name for preset in own), CUSTOM)))


def resolve_sampling(
    creativity: str, numbers: Sampling, recommended: Recommended | None, own: Iterable[Preset] = ()
) -> Sampling:
    """Return the sampling options that a choice of “Sampling preset” stands for.

    numbers: the sliders, which apply to "custom" only. recommended: the model's, None for a model that is not in the
    catalogue. A preset of the user's replaces one of ours with the same name. Raises BadValue for an unknown name.
    """
    wanted = creativity.strip().lower()
    if wanted == CUSTOM:
        return numbers
    of_model = Sampling.resolve(recommended)
    if wanted in ("", DEFAULT):
        return of_model
    for preset in own:
        if preset.name.lower() == wanted:
            options: dict[str, Any] = dict(preset.numbers)
            return replace(of_model, **options)
    if wanted in PRESETS:
        return PRESETS[wanted]
    raise BadValue(BY_FIELD["creativity"].label, creativity, preset_names(own))


def parse_presets(text: str, *, report: Callable[[UserError], None]) -> tuple[Preset, ...]:
    """Read the user's presets, one per line; empty lines and lines that begin with # are skipped.

    Of two presets with the same name the later one counts. A line that is none is left out, and `report` is called with
    an error that names it.

    >>> parse_presets("wild: temperature=1.8, top_k=40", report=print)
    (Preset(name='wild', numbers=(('temperature', 1.8), ('top_k', 40))),)
    """
    found: dict[str, Preset] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            preset = _parse_line(line, number)
        except UserError as error:
            report(error)
        else:
            found[preset.name.lower()] = preset
    return tuple(found.values())


def _parse_line(line: str, number: int) -> Preset:
    where = f"preset line {number}"
    name, colon, rest = (part.strip() for part in line.partition(":"))
    if not colon or not _NAME.fullmatch(name):
        raise UserError(f"{where}: {line.strip()!r:.60} does not begin with a name and a colon", hint=_HINT)
    if name.lower() in (DEFAULT, CUSTOM):
        raise UserError(f"{where}: the name {name!r} is taken", hint="choose another")
    numbers: dict[str, Any] = {}
    for part in (part.strip() for part in rest.split(",")):
        if not part:
            continue
        key, equals, value = (piece.strip() for piece in part.partition("="))
        key = key.lower().replace("-", "_")
        if not equals or key not in SAMPLING_NAMES:
            raise UserError(f"{where}: {part!r:.60} is none of {', '.join(SAMPLING_NAMES)}", hint=_HINT)
        try:
            numbers[key] = check_value(BY_FIELD[key], float(value))
        except ValueError:
            raise UserError(f"{where}: {value!r:.60} is not a number", hint=_HINT) from None
        except BadValue as error:
            raise UserError(f"{where}: {error.message}", hint=error.hint) from None
    if not numbers:
        raise UserError(f"{where}: {name} has no numbers", hint=_HINT)
    return Preset(name, tuple(numbers.items()))
