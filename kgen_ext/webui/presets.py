"""What a creativity means in numbers: the presets as data, the user's own, the model's recommendation, the sliders.

Pure: refuses to know settings pages, hosts and models. A preset of the user's is one line:

    name: temperature=0.7, min_p=0.1        temperature, top_k, top_p, min_p; what is left out is the model's
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from kgen_ext.errors import BadValue, UserError
from kgen_ext.webui.controls import BY_FIELD, CUSTOM, DEFAULT, check_value

if TYPE_CHECKING:
    from kgen_ext.models import Recommended

_NAME = re.compile(r"[^\W_][\w .+-]{0,39}")
_HINT = "a line is name: temperature=0.7, min_p=0.1"


@dataclass(frozen=True, slots=True)
class Sampling:
    """The numbers a choice of words is made with; the defaults are the table's."""

    temperature: float = BY_FIELD["temperature"].default
    top_k: int = BY_FIELD["top_k"].default
    top_p: float = BY_FIELD["top_p"].default
    min_p: float = BY_FIELD["min_p"].default


NUMBERS = tuple(field.name for field in fields(Sampling))
PRESETS: Mapping[str, Sampling] = {
    "careful": Sampling(temperature=0.5, top_k=0, top_p=0.95, min_p=0.1),
    "balanced": Sampling(temperature=0.9, top_k=0, top_p=1.0, min_p=0.1),
    "daring": Sampling(temperature=1.4, top_k=0, top_p=1.0, min_p=0.05),
}


@dataclass(frozen=True, slots=True)
class Preset:
    """A preset of the user's: a name, and those of the numbers they gave."""

    name: str
    numbers: tuple[tuple[str, float], ...]


def preset_names(own: Iterable[Preset] = ()) -> tuple[str, ...]:
    """Return the choices in the order to show them: default, ours, the user's, custom."""
    return tuple(dict.fromkeys((DEFAULT, *PRESETS, *(one.name for one in own), CUSTOM)))


def resolve_sampling(
    creativity: str, numbers: Sampling, recommended: Recommended | None, own: Iterable[Preset] = ()
) -> Sampling:
    """Return the numbers of a creativity.

    numbers: the sliders, which count for "custom" only. recommended: what the catalogue says of the model, None where
    it does not know it. A preset of the user's goes before one of ours. Raises BadValue for a name nobody gave.
    """
    wanted = creativity.strip().lower()
    if wanted == CUSTOM:
        return numbers
    from kgen_ext.service.plan import default_for

    suits = Sampling(**{name: default_for(name, recommended) for name in NUMBERS})
    if wanted in ("", DEFAULT):
        return suits
    for preset in own:
        if preset.name.lower() == wanted:
            return Sampling(**{**asdict(suits), **dict(preset.numbers)})
    for name, preset_numbers in PRESETS.items():
        if name == wanted:
            return preset_numbers
    raise BadValue(BY_FIELD["creativity"].label, creativity, preset_names(own))


def parse_presets(text: str) -> tuple[Preset, ...]:
    """Read the user's presets, one a line; empty lines and lines that begin with # are skipped.

    Raises UserError that names the line. Of two with one name the later counts.

    >>> parse_presets("wild: temperature=1.8, top_k=40")
    (Preset(name='wild', numbers=(('temperature', 1.8), ('top_k', 40))),)
    """
    found: dict[str, Preset] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            preset = _parse_line(line, number)
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
        if not equals or key not in NUMBERS:
            raise UserError(f"{where}: {part!r:.60} is none of {', '.join(NUMBERS)}", hint=_HINT)
        try:
            numbers[key] = check_value(BY_FIELD[key], float(value))
        except ValueError:
            raise UserError(f"{where}: {value!r:.60} is not a number", hint=_HINT) from None
        except BadValue as error:
            raise UserError(f"{where}: {error.message}", hint=error.hint) from None
    if not numbers:
        raise UserError(f"{where}: {name} has no numbers", hint=_HINT)
    return Preset(name, tuple(numbers.items()))
