"""Regional prompts of other extensions: every region is expanded on its own, then they are joined again.

Regional Prompter's words and BREAK need nothing of this: the prompt grammar splits there. Forge Couple splits at a
separator of the user's choice, by default the line break, which is known only from its controls.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kgen_ext.webui.controls import Values
from kgen_ext.webui.expanding import ExpandFn, Outcome, request_seed
from kgen_ext.webui.host import HostJob
from kgen_ext.webui.job import ExpandedPrompt, ImagePrompt, untouched

_COUPLE = "forge couple"
# Positions among the script's arguments.
_ENABLED, _SEPARATOR = 0, 3
# Distance between the seeds of an image's regions: equal regions differ, and neighbouring images do not collide.
_STRIDE = 0x9E3779B97F4A7C15


def region_separator(p: HostJob) -> str:
    """Return the text that separates the job's regions besides the prompt grammar's own words, "" for none."""
    for script in getattr(getattr(p, "scripts", None), "alwayson_scripts", None) or ():
        if _title(script).startswith(_COUPLE):
            arguments = p.script_args[script.args_from : script.args_to]
            if len(arguments) > _SEPARATOR and arguments[_ENABLED] is True:
                return _separator(arguments[_SEPARATOR])
    return ""


def _title(script: Any) -> str:
    try:
        return str(script.title()).lower()
    except Exception:  # code of another extension, which may raise anything
        return ""


def _separator(given: Any) -> str:
    text = str(given or "").replace("\\n", "\n").replace("\\t", " ")
    return text if text.strip() else "\n"


@dataclass(frozen=True, slots=True)
class RegionalExpander:
    """An `ExpandFn` that splits every prompt at the separator and calls `expand` once for all regions of all images."""

    expand: ExpandFn
    separator: str

    def __call__(self, values: Values, image_prompts: Sequence[ImagePrompt], *, width: int, height: int) -> Outcome:
        """Expand every region that is not blank; separators and blank regions stay as they are."""
        divided = [self._split(image_prompt) for image_prompt in image_prompts]
        regions = [region for regions in divided for region in regions if region.prompt.strip()]
        outcome = self.expand(values, regions, width=width, height=height)
        expanded = iter(outcome.expanded)
        joined = []
        for image_prompt, regions in zip(image_prompts, divided, strict=True):
            results = [next(expanded) if region.prompt.strip() else untouched(region) for region in regions]
            joined.append(self._join(image_prompt, results))
        return Outcome(tuple(joined), outcome.model, outcome.error)

    def _split(self, image_prompt: ImagePrompt) -> list[ImagePrompt]:
        prompts = image_prompt.prompt.split(self.separator)
        hires: Sequence[str | None] = [None] * len(prompts)
        if image_prompt.hires is not None:
            parts = image_prompt.hires.split(self.separator)
            # Split into another number of regions, a hires prompt has no counterparts to follow.
            hires = parts if len(parts) == len(prompts) else hires
        return [
            ImagePrompt(prompt, request_seed(image_prompt.seed + index * _STRIDE), hires_prompt)
            for index, (prompt, hires_prompt) in enumerate(zip(prompts, hires, strict=True))
        ]

    def _join(self, image_prompt: ImagePrompt, regions: Sequence[ExpandedPrompt]) -> ExpandedPrompt:
        hires = [region.hires for region in regions if region.hires is not None]
        return ExpandedPrompt(
            image_prompt,
            self.separator.join(region.prompt for region in regions),
            self.separator.join(hires) if len(hires) == len(regions) else image_prompt.hires,
            next((region.expansion for region in regions if region.expansion is not None), None),
            "; ".join(dict.fromkeys(region.note for region in regions if region.note)),
        )
