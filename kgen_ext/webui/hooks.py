"""What happens to a job of the host: which prompts are expanded when, where the results go, what the infotext gets.

Order in a job: `before_process` (the prompt as typed), the host applies styles and fixes seeds, `process` (every
image's own prompt), then `before_process_batch` for each batch. Knows the host's job object `p`; refuses to know how
prompts are expanded. Inner jobs of other extensions are left alone.
"""
from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakValueDictionary

from kgen_ext import __version__
from kgen_ext.errors import BadValue, KGenError
from kgen_ext.sampling import Sampling
from kgen_ext.webui import infotext
from kgen_ext.webui.controls import Values, read_values
from kgen_ext.webui.expanding import ExpandFn, Outcome, request_seed
from kgen_ext.webui.host import Host
from kgen_ext.webui.infotext import Record
from kgen_ext.webui.job import TWICE, ExpandedPrompt, ImagePrompt, explain
from kgen_ext.webui.regions import RegionalExpander, region_separator
from kgen_ext.webui.xyz import OVERRIDES, apply_overrides

# What `before_process` did to this job, for the hooks that follow.
_STATE = "_kgen_before"
_DRAW = 2**32 - 2  # the host draws below this too
# The entries of the job around this one, which shares its dict with it.
_OUTER = "_kgen_outer"
# Marks of other extensions' inner jobs: ADetailer's passes over an image whose prompt is expanded already.
_INNER = ("_ad_inner",)


@dataclass(frozen=True, slots=True)
class _Before:
    """What `before_process` made of a job: `wrote` went into p.prompt."""

    wrote: Any
    values: Values
    outcome: Outcome


class Hooks:
    """The bodies of the hooks. What is known of a job lies on the job itself, as many run in turn."""

    def __init__(
        self,
        *,
        host: Host,
        expand: ExpandFn,
        timing: Callable[[], str],
        resolve: Callable[[Values], Sampling] = lambda values: Sampling(),
        draw: Callable[[], int] | None = None,
    ) -> None:
        """timing: what the settings page says (after, before). resolve: the numbers that a creativity comes down to,
        for a plot that sets one of them. draw: gives a seed where the host has none yet.
        """
        self._host = host
        self._resolve = resolve
        self._expand = expand
        self._timing = timing
        self._draw = draw or (lambda: secrets.randbelow(_DRAW))
        # Who writes into a dict of entries now, by its id; a job that broke off goes with its object.
        self._writers: WeakValueDictionary[int, Any] = WeakValueDictionary()

    def before_process(self, p: Any, arguments: Sequence[Any]) -> None:
        """Drop what an earlier job left in a shared dict; expand the prompt as typed where the timing says so."""
        if _inner(p):
            return
        self._begin(p)
        try:
            values = self._values(p, arguments)
        except KGenError:
            return  # `process` reads them again, and tells
        if values is None or values.timing != "before":
            return
        earlier = getattr(p, _STATE, None)
        if earlier is not None and earlier.wrote == p.prompt:
            return  # a script runs one job several times: it is still our text
        sources = p.prompt if isinstance(p.prompt, list) else [p.prompt]
        seed = values.seed if values.seed >= 0 else self._job_seed(p)
        drawn = self._drawn(p)
        if drawn is not None and _source(drawn) in sources:
            seed = _drawn_seed(drawn, otherwise=seed)
        asks = [ImagePrompt(text, seed, hires) for text, hires in zip(sources, _typed_hires(p, sources), strict=True)]
        outcome = self._expander(p)(values, _checked(asks), width=p.width, height=p.height)
        prompts = [one.prompt for one in outcome.answers]
        p.prompt = prompts if isinstance(p.prompt, list) else prompts[0]
        if getattr(p, "enable_hr", False):
            hires = [one.hires for one in outcome.answers]
            # Empty stays empty where it means the same: the host then shows no hires prompt. None: not one a prompt.
            if None not in hires and (hires != prompts or p.hr_prompt):
                p.hr_prompt = hires if isinstance(p.prompt, list) or isinstance(p.hr_prompt, list) else hires[0]
        setattr(p, _STATE, _Before(p.prompt, values, outcome))

    def process(self, p: Any, arguments: Sequence[Any]) -> None:
        """Expand every image's prompt, or write down what `before_process` did."""
        if _inner(p):
            return
        values = self._values(p, arguments)
        if values is None:
            return
        if values.timing == "before":
            self._write_before(p)
        else:
            self._expand_all(p, values)

    def before_process_batch(self, p: Any) -> None:
        """Put right the hires prompt the host writes: it takes the first batch's for every batch."""
        if infotext.VERSION in p.extra_generation_params and callable(p.extra_generation_params.get("Hires prompt")):
            p.extra_generation_params["Hires prompt"] = _written_hires

    def postprocess(self, p: Any) -> None:
        """The job is done: the one around it finds its own entries again."""
        if _inner(p):
            return
        params = p.extra_generation_params
        if self._writers.get(id(params)) is p:
            del self._writers[id(params)]
        elif (outer := getattr(p, _OUTER, None)) is not None:
            _drop_entries(p)
            params.update(outer)

    def _begin(self, p: Any) -> None:
        """Start with no entries: jobs that follow each other share a dict (a plot's cells), and so do an image's job
        and one that a script runs within it, whose entries are kept for it.
        """
        params = p.extra_generation_params
        writer = self._writers.setdefault(id(params), p)
        within = writer is not p and writer.extra_generation_params is params
        setattr(p, _OUTER, _ours(p) if within else None)
        _drop_entries(p)

    def _values(self, p: Any, arguments: Sequence[Any]) -> Values | None:
        """Return the values with the timing resolved, None where expansion is off: then nothing else is checked."""
        overrides = getattr(p, OVERRIDES, None) or {}
        first = arguments[0] if arguments else False
        enabled = overrides.get("enabled", first.get("enabled", False) if isinstance(first, Mapping) else first)
        if enabled is None or enabled is False:
            return None
        values = read_values(arguments)
        if overrides:
            values = apply_overrides(values, overrides, resolve=self._resolve)
        return replace(values, timing=self._timing()) if values.timing == "default" else values

    def _expander(self, p: Any) -> ExpandFn:
        separator = region_separator(p)
        return RegionalExpander(self._expand, separator) if separator else self._expand

    def _job_seed(self, p: Any) -> int:
        """Return the job's seed, drawn and set where it is open, so that the image's seed is what wrote the words."""
        seed = p.seed[0] if isinstance(p.seed, list) and p.seed else p.seed
        try:
            number = int(seed)
        except (TypeError, ValueError):
            number = -1
        if number == -1:
            number = self._draw()
            p.seed = number
        return request_seed(number)

    def _expand_all(self, p: Any, values: Values) -> None:
        prompts, hires, kept = list(p.all_prompts), _all_hires(p), dict[str, Any]()
        seeds = [values.seed if values.seed >= 0 else _image_seed(p, index) for index in range(len(prompts))]
        drawn = self._drawn(p)
        if drawn is not None and _source(drawn) == prompts[0]:
            if infotext.VERSION not in drawn:
                return  # this very prompt made the image without us; its hires pass is to be like it
            seeds = [_drawn_seed(drawn, otherwise=seeds[0])]
            kept = {key: value for key, value in drawn.items() if key.startswith(infotext.PREFIX)}
        asks = _checked([ImagePrompt(*one) for one in zip(prompts, seeds, hires, strict=True)])
        if kept and (hires[0] in (None, prompts[0]) or values.hires == "leave"):
            # The very text of the image, whatever is set on the page by now.
            text = infotext.result_of(drawn or {})
            outcome = Outcome((ExpandedPrompt(asks[0], text, hires[0] if values.hires == "leave" else text),), "")
        else:
            outcome, kept = self._expander(p)(values, asks, width=p.width, height=p.height), {}
        written = [one.prompt for one in outcome.answers]
        if p.main_prompt == prompts[0]:
            p.main_prompt = written[0]
        p.all_prompts = written
        if hires[0] is not None:
            p.all_hr_prompts = [one.hires for one in outcome.answers]
        p.extra_generation_params.update(kept or _entries(p, values, outcome))

    def _write_before(self, p: Any) -> None:
        before = getattr(p, _STATE, None)
        if before is not None:
            answers = before.outcome.answers
            count = len(p.all_prompts)
            spread = answers if len(answers) == count else tuple(answers[0] for _ in range(count))
            p.extra_generation_params.update(_entries(p, before.values, replace(before.outcome, answers=spread)))

    def _drawn(self, p: Any) -> Mapping[str, str] | None:
        """Return what the image says that a hires pass from the gallery starts from; None for every other job."""
        if not getattr(p, "txt2img_upscale", False) or len(p.all_prompts or [p.prompt]) != 1:
            return None
        params = infotext.parse_infotext(self._host.read_image(getattr(p, "firstpass_image", None)))
        return params if "Seed" in params else None

    def failed(self, p: Any, error: BaseException) -> None:
        """Write down why a job's prompts are used as they are."""
        line = explain(error)
        self._host.log.warning("the prompt is used as it is: %s", line)
        self._host.log.debug("how it came to that:", exc_info=error)
        _tell(p, line)
        p.extra_generation_params[infotext.VERSION] = __version__
        p.extra_generation_params[infotext.ERROR] = infotext.encode(infotext.ERROR, line)


def _source(drawn: Mapping[str, str]) -> str:
    """Return the prompt an image was asked for with, before expansion."""
    return infotext.decode(drawn.get(infotext.PROMPT, drawn["Prompt"]))


def _drawn_seed(drawn: Mapping[str, str], *, otherwise: int) -> int:
    """Return the seed that wrote an image's words, as a request takes it."""
    seed = infotext.seed_of(drawn)
    return otherwise if seed is None else request_seed(seed)


def _inner(p: Any) -> bool:
    return any(getattr(p, mark, False) for mark in _INNER)


def _ours(p: Any) -> dict[str, Any]:
    return {key: value for key, value in p.extra_generation_params.items() if key.startswith(infotext.PREFIX)}


def _drop_entries(p: Any) -> None:
    for key in _ours(p):
        del p.extra_generation_params[key]


def _typed_hires(p: Any, sources: Sequence[str]) -> list[str | None]:
    """Return the hires prompt of each prompt as typed; empty means the prompt's own."""
    if not getattr(p, "enable_hr", False):
        return [None] * len(sources)
    own = p.hr_prompt if isinstance(p.hr_prompt, list) else [p.hr_prompt] * len(sources)
    if len(own) != len(sources):
        return [None] * len(sources)
    return [hires if hires else source for hires, source in zip(own, sources, strict=True)]


def _all_hires(p: Any) -> list[str | None]:
    hires = getattr(p, "all_hr_prompts", None) if getattr(p, "enable_hr", False) else None
    count = len(p.all_prompts)
    return list(hires) if hires is not None and len(hires) == count else [None] * count


def _image_seed(p: Any, index: int) -> int:
    return request_seed(int(p.all_seeds[min(index, len(p.all_seeds) - 1)]))


def _checked(asks: list[ImagePrompt]) -> list[ImagePrompt]:
    for ask in asks:
        if not isinstance(ask.prompt, str):
            raise BadValue("prompt", ask.prompt, "a text")
    return asks


def _entries(p: Any, values: Values, outcome: Outcome) -> dict[str, Any]:
    if outcome.error:
        _tell(p, outcome.error)
    records = [_record(p, values, one, index, outcome.error) for index, one in enumerate(outcome.answers)]
    return infotext.write_infotext(values, records, version=__version__, model=outcome.model)


def _record(p: Any, values: Values, answer: ExpandedPrompt, index: int, error: str) -> Record:
    ask = answer.ask
    seed = values.seed if values.seed >= 0 else ask.seed if ask.seed != _image_seed(p, index) else None
    return Record(
        prompt=ask.prompt,
        result=p.all_prompts[index],
        hires=ask.hires if ask.hires != ask.prompt else None,
        seed=seed,
        note=answer.note,
        error=error,
        expanded=answer.note != TWICE,
    )


def _tell(p: Any, line: str) -> None:
    """Have the host show a line under the image."""
    comment = getattr(p, "comment", None)
    if callable(comment):
        comment(f"KGen: the prompt was used as it is: {line}")


def _written_hires(p: Any, index: int, prompt_text: str, all_prompts: Any = (), use_main_prompt: bool = False,
                   **_: Any) -> str | None:  # fmt: skip
    """Return the hires prompt of an image for its infotext, None where it is the image's own."""
    own = infotext.PerImage(tuple(p.all_hr_prompts))(p, index, all_prompts, use_main_prompt)
    return None if own == prompt_text or own is None else str(own)
