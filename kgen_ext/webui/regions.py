"""Prompts that another extension divides into regions: every region is expanded for itself, then they are put together.

Regional Prompter's words and BREAK need none of this: the prompt's own grammar divides there. Forge Couple divides at a
separator of the user's choice, by default the line break, which only its controls tell. Refuses to know how prompts are
expanded.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kgen_ext.webui.controls import Values
from kgen_ext.webui.expanding import ExpandFn, Outcome, request_seed
from kgen_ext.webui.job import ExpandedPrompt, ImagePrompt

_COUPLE = "forge couple"
# Where its controls stand among the script's arguments.
_ENABLED, _SEPARATOR = 0, 3
# Regions of one image have seeds that lie apart, so that two equal ones differ and neighbours' images do not meet.
_STRIDE = 0x9E3779B97F4A7C15


def region_separator(p: Any) -> str:
    """Return what divides the job's prompts into regions beside the prompt's own grammar, "" for nothing."""
    for script in getattr(getattr(p, "scripts", None), "alwayson_scripts", None) or ():
        if _title(script).startswith(_COUPLE):
            arguments = p.script_args[script.args_from : script.args_to]
            if len(arguments) > _SEPARATOR and arguments[_ENABLED] is True:
                return _separator(arguments[_SEPARATOR])
    return ""


def _title(script: Any) -> str:
    try:
        return str(script.title()).lower()
    except Exception:  # a stranger's code, and none of our business
        return ""


def _separator(given: Any) -> str:
    text = str(given or "").replace("\\n", "\n").replace("\\t", " ")
    return text if text.strip() else "\n"


@dataclass(frozen=True, slots=True)
class RegionalExpander:
    """An `Expands` that divides every ask at the separator; all regions of all images are one call of `expand`."""

    expand: ExpandFn
    separator: str

    def __call__(self, values: Values, asks: Sequence[ImagePrompt], *, width: int, height: int) -> Outcome:
        """Expand every region that holds something; what stands between them stays as it is."""
        regions = [self._divide(ask) for ask in asks]
        flat = [one for some in regions for one in some if one.prompt.strip()]
        outcome = self.expand(values, flat, width=width, height=height)
        answers = iter(outcome.answers)
        united = []
        for ask, some in zip(asks, regions, strict=True):
            done = [next(answers) if one.prompt.strip() else ExpandedPrompt(one, one.prompt, one.hires) for one in some]
            united.append(self._unite(ask, done))
        return Outcome(tuple(united), outcome.model, outcome.error)

    def _divide(self, ask: ImagePrompt) -> list[ImagePrompt]:
        prompts = ask.prompt.split(self.separator)
        hires = [None] * len(prompts) if ask.hires is None else ask.hires.split(self.separator)
        if len(hires) != len(prompts):
            hires = [None] * len(prompts)  # divided otherwise: there is no like to follow
        return [
            ImagePrompt(prompt, request_seed(ask.seed + index * _STRIDE), second)
            for index, (prompt, second) in enumerate(zip(prompts, hires, strict=True))
        ]

    def _unite(self, ask: ImagePrompt, done: Sequence[ExpandedPrompt]) -> ExpandedPrompt:
        seconds = [one.hires for one in done if one.hires is not None]
        hires = self.separator.join(seconds) if len(seconds) == len(done) else ask.hires
        expansion = next((one.expansion for one in done if one.expansion is not None), None)
        notes = dict.fromkeys(one.note for one in done if one.note)
        return ExpandedPrompt(ask, self.separator.join(one.prompt for one in done), hires, expansion, "; ".join(notes))
