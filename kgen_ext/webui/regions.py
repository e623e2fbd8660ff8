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
from kgen_ext.webui.job import ExpandedPrompt, ImagePrompt, unmarked, untouched

_COUPLE = "forge couple"
# Positions among the script's arguments.
_ENABLED, _SEPARATOR, _GLOBAL = 0, 3, 5
# Choices of “Global Effect”, by where the line is that holds for the whole image.
_LINES = {"First Line": 0, "Last Line": -1}
_CONTEXT = 16  # most other regions that one is shown
# Distance between the seeds of an image's regions: equal regions differ, and neighbouring images do not collide.
_STRIDE = 0x9E3779B97F4A7C15


@dataclass(frozen=True, slots=True)
class Regions:
    """How a job's prompts are divided besides the prompt grammar's own words.

    common: the index of the part that holds for the whole image, None where all are regions.
    """

    separator: str
    common: int | None = None


def read_regions(p: HostJob) -> Regions | None:
    """Return how the job's prompts are divided, None where they are not."""
    for script in getattr(getattr(p, "scripts", None), "alwayson_scripts", None) or ():
        if _title(script).startswith(_COUPLE):
            arguments = p.script_args[script.args_from : script.args_to]
            if len(arguments) > _SEPARATOR and arguments[_ENABLED] is True:
                line = arguments[_GLOBAL] if len(arguments) > _GLOBAL else None
                common = _LINES.get(line) if isinstance(line, str) else None
                return Regions(_separator(arguments[_SEPARATOR]), common)
    return None


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
    """An `ExpandFn` that splits every prompt at the separator and calls `expand` once for all regions of all images.

    mark: the name of the marks; where a prompt has some, regions without one are left as they are.
    """

    expand: ExpandFn
    regions: Regions
    mark: str

    def __call__(self, values: Values, image_prompts: Sequence[ImagePrompt], *, width: int, height: int) -> Outcome:
        """Expand every region that is not blank; separators and blank regions stay as they are."""
        divided = [self._split(image_prompt) for image_prompt in image_prompts]
        asked = [self._expanded(regions) for regions in divided]
        regions = [
            region
            for regions, expands in zip(divided, asked, strict=True)
            for region, expanded in zip(regions, expands, strict=True)
            if expanded
        ]
        outcome = self.expand(values, regions, width=width, height=height)
        results_of = iter(outcome.expanded)
        joined = []
        for image_prompt, regions, expands in zip(image_prompts, divided, asked, strict=True):
            results = [
                next(results_of) if expanded else untouched(region, mark=self.mark)
                for region, expanded in zip(regions, expands, strict=True)
            ]
            joined.append(self._join(image_prompt, results))
        return Outcome(tuple(joined), outcome.model, outcome.error)

    def _split(self, image_prompt: ImagePrompt) -> list[ImagePrompt]:
        # Imported here: loading the grammar would slow down the host's start.
        from kgen_ext.prompt import split_marked

        separator = self.regions.separator
        prompts = split_marked(image_prompt.prompt, separator, self.mark)
        hires: Sequence[str | None] = [None] * len(prompts)
        if image_prompt.hires is not None:
            parts = split_marked(image_prompt.hires, separator, self.mark)
            # Split into another number of regions, a hires prompt has no counterparts to follow.
            hires = parts if len(parts) == len(prompts) else hires
        texts = [unmarked(prompt, self.mark).strip() for prompt in prompts]
        return [
            ImagePrompt(
                prompt, request_seed(image_prompt.seed + index * _STRIDE), hires_prompt, self._context(texts, index)
            )
            for index, (prompt, hires_prompt) in enumerate(zip(prompts, hires, strict=True))
        ]

    def _context(self, texts: Sequence[str], index: int) -> str:
        """Return the other parts of the image in the prompt grammar's own words."""
        common = None if self.regions.common is None else range(len(texts))[self.regions.common]
        others = [text for place, text in enumerate(texts) if text and place not in (index, common)][:_CONTEXT]
        head = [f"{texts[common]}\nADDCOMM"] if common not in (None, index) else []
        return "\n".join((*head, "\nBREAK\n".join(others)))

    def _expanded(self, regions: Sequence[ImagePrompt]) -> list[bool]:
        """Return for each region whether it is expanded."""
        marked = [unmarked(region.prompt, self.mark) != region.prompt for region in regions]
        return marked if any(marked) else [bool(region.prompt.strip()) for region in regions]

    def _join(self, image_prompt: ImagePrompt, regions: Sequence[ExpandedPrompt]) -> ExpandedPrompt:
        hires = [region.hires for region in regions if region.hires is not None]
        return ExpandedPrompt(
            image_prompt,
            self.regions.separator.join(region.prompt for region in regions),
            self.regions.separator.join(hires) if len(hires) == len(regions) else image_prompt.hires,
            next((region.expansion for region in regions if region.expansion is not None), None),
            "; ".join(dict.fromkeys(region.note for region in regions if region.note)),
        )
