"""Hooks of a host's job: which prompts are expanded and when, where the results go, and what the infotext records.

The host calls `before_process` (the prompt as typed), applies styles and fixes seeds, then calls `process` (every
image's own prompt) and `before_process_batch` for each batch. Inner jobs of other extensions are left alone.
"""
from __future__ import annotations

import functools
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol
from weakref import WeakValueDictionary

from kgen_ext import __version__
from kgen_ext.errors import BadValue, KGenError
from kgen_ext.output.infotext import decode, encode, parse_infotext
from kgen_ext.sampling import Sampling
from kgen_ext.webui import infotext
from kgen_ext.webui.checkpoint_profile import with_profile
from kgen_ext.webui.controls import Values, read_values
from kgen_ext.webui.expanding import ExpandFn, Outcome, request_seed
from kgen_ext.webui.host import HiresJob, Host, HostJob, has_hires
from kgen_ext.webui.infotext import Record
from kgen_ext.webui.job import ALREADY_EXPANDED, ExpandedPrompt, ImagePrompt, unmarked
from kgen_ext.webui.messages import explain
from kgen_ext.webui.regions import RegionalExpander, read_regions
from kgen_ext.webui.settings import WebuiSettings, read_mark
from kgen_ext.webui.xyz import OVERRIDES, apply_overrides

# Attributes of ours on the host's job: what `before_process` did, and the entries of the job around it,
# which shares its dict of entries.
_BEFORE, _OUTER = "_kgen_before", "_kgen_outer"
_STOPPED = "_kgen_stopped"  # attribute of the job: whether it was stopped while its prompts were expanded
# Set on inner jobs of other extensions: ADetailer's passes over an image whose prompt is expanded already.
_INNER = ("_ad_inner",)
_SEEDS = 2**32 - 2  # the host draws its seeds below this


class ExpandWithSettings(Protocol):
    """Function that expands the prompts of a job with the settings of that job, such as `expand_job`."""

    def __call__(
        self,
        values: Values,
        image_prompts: Sequence[ImagePrompt],
        *,
        width: int,
        height: int,
        settings: WebuiSettings,
    ) -> Outcome: ...


@dataclass(frozen=True, slots=True)
class _Before:
    """Result of `before_process`. written: the value it gave `p.prompt`."""

    written: Any
    values: Values
    outcome: Outcome


class Hooks:
    """Bodies of the script's hooks. State of a job is kept on the job itself, as several jobs alternate."""

    def __init__(
        self,
        *,
        host: Host,
        expand: ExpandWithSettings,
        settings: Callable[[], WebuiSettings],
        timing: Callable[[], str],
        resolve: Callable[[Values], Sampling],
        note: Callable[[Values, Outcome], None] = lambda values, outcome: None,
        draw: Callable[[], int] | None = None,
    ) -> None:
        """settings: reads the current settings, once for each job, in the hook that expands: hosts apply the settings
        of a job (`override_settings`) between the hooks. timing: reads that one setting. resolve: the sampling options
        that “Sampling preset” stands for, for a plot that sets one. note: keeps what the prompts of a job became. draw:
        draws a seed where the host has none yet.
        """
        self._host = host
        self._expand = expand
        self._settings = settings
        self._timing = timing
        self._resolve = resolve
        self._note = note
        self._draw = draw or (lambda: secrets.randbelow(_SEEDS))
        # The job that owns a dict of entries, by the dict's id; an aborted job leaves with its object.
        self._owners: WeakValueDictionary[int, HostJob] = WeakValueDictionary()

    def before_process(self, p: HostJob, arguments: Sequence[Any]) -> None:
        """Remove the entries of an earlier job from a shared dict; expand the prompt as typed if the timing says so."""
        # 1. Start without entries.
        if _is_inner(p):
            return
        self._begin(p)
        setattr(p, _STOPPED, False)
        if not _is_enabled(p, arguments):
            return
        try:
            values = self._values(p, arguments)
        except KGenError:
            return  # `process` reads them again and reports the error
        if values.timing != "before":
            return
        earlier = getattr(p, _BEFORE, None)
        if earlier is not None and earlier.written == p.prompt:
            return  # a script runs one job several times: the prompt is still our result
        # 2. Collect the prompts with their seeds.
        sources = p.prompt if isinstance(p.prompt, list) else [p.prompt]
        seed = values.seed if values.seed >= 0 else self._job_seed(p)
        upscaled = self._upscaled(p)
        if upscaled is not None and _source(upscaled) in sources:
            seed = _recorded_seed(upscaled, default=seed)
        image_prompts = _checked([
            ImagePrompt(text, seed, hires) for text, hires in zip(sources, _typed_hires(p, sources), strict=True)
        ])  # fmt: skip
        # 3. Expand them, and put the results in their place.
        outcome = self._expand_prompts(p, values, image_prompts)
        prompts = [expanded.prompt for expanded in outcome.expanded]
        p.prompt = prompts if isinstance(p.prompt, list) else prompts[0]
        if has_hires(p):
            hires_prompts = [expanded.hires for expanded in outcome.expanded]
            # An empty hires prompt stays empty where it means the same: the host then shows none. None: no hires prompt
            # could be assigned to the prompts.
            if None not in hires_prompts and (hires_prompts != prompts or p.hr_prompt):
                as_list = isinstance(p.prompt, list) or isinstance(p.hr_prompt, list)
                p.hr_prompt = hires_prompts if as_list else hires_prompts[0]
        setattr(p, _BEFORE, _Before(p.prompt, values, outcome))
        self._note(values, outcome)

    def process(self, p: HostJob, arguments: Sequence[Any]) -> None:
        """Expand every image's prompt, or record what `before_process` did."""
        if _is_inner(p) or not _is_enabled(p, arguments):
            return
        values = self._values(p, arguments)
        if values.timing == "before":
            self._record_before(p)
        else:
            self._expand_all(p, values)

    def before_process_batch(self, p: HostJob) -> None:
        """Stop a job that was stopped while its prompts were expanded; else get the batch's entries ready.

        The host's own entry of the hires prompt repeats the first batch's prompts in every batch: it is replaced.
        """
        if getattr(p, _STOPPED, False):
            self._host.stop_job(p)
            return
        self._host.select_image(p, getattr(p, "iteration", 0) if p.batch_size == 1 else None)
        if infotext.VERSION in p.extra_generation_params and callable(p.extra_generation_params.get("Hires prompt")):
            p.extra_generation_params["Hires prompt"] = _hires_entry

    def postprocess_image(self, p: HostJob) -> None:
        """Get the entries of an image ready, of which the host writes the infotext next."""
        self._host.select_image(p, getattr(p, "iteration", 0) * p.batch_size + getattr(p, "batch_index", 0))

    def postprocess(self, p: HostJob) -> None:
        """End the job: the job around it gets its own entries back."""
        if _is_inner(p):
            return
        params = p.extra_generation_params
        if self._owners.get(id(params)) is p:
            del self._owners[id(params)]
        elif (outer := getattr(p, _OUTER, None)) is not None:
            self._drop_entries(p)
            params.update(outer)

    def failed(self, p: HostJob, error: BaseException) -> None:
        """Record why a job's prompts are used unchanged."""
        line = explain(error)
        self._host.log.warning("the prompt is used as it is: %s", line)
        self._host.log.debug("traceback:", exc_info=error)
        _remove_marks(p, read_mark(self._host))
        _comment(p, line)
        p.extra_generation_params[infotext.VERSION] = __version__
        p.extra_generation_params[infotext.ERROR] = encode(infotext.ERROR, line)

    def _begin(self, p: HostJob) -> None:
        """Remove our entries from the job's dict. Consecutive jobs share it (the cells of a plot), and so do an image's
        job and one that a script runs inside it: the outer job's entries are kept for it.
        """
        params = p.extra_generation_params
        owner = self._owners.setdefault(id(params), p)
        is_nested = owner is not p and owner.extra_generation_params is params
        setattr(p, _OUTER, _our_entries(p) if is_nested else None)
        self._drop_entries(p)

    def _drop_entries(self, p: HostJob) -> None:
        self._host.drop_entries(p, list(_our_entries(p)))

    def _values(self, p: HostJob, arguments: Sequence[Any]) -> Values:
        """Return the values of the controls and of a plot's axes, timing and profile resolved. Raises KGenError."""
        values = read_values(arguments)
        overrides = _overrides(p)
        if overrides:
            values = apply_overrides(values, overrides, resolve=self._resolve)
        values = with_profile(values, self._host, p)
        return replace(values, timing=self._timing()) if values.timing == "default" else values

    def _expand_prompts(self, p: HostJob, values: Values, image_prompts: Sequence[ImagePrompt]) -> Outcome:
        outcome = self._expander(p)(values, image_prompts, width=p.width, height=p.height)
        setattr(p, _STOPPED, self._host.interrupted())
        return outcome

    def _expander(self, p: HostJob) -> ExpandFn:
        settings = self._settings()
        expand = functools.partial(self._expand, settings=settings)
        regions = read_regions(p)
        return expand if regions is None else RegionalExpander(expand, regions, settings.mark)

    def _job_seed(self, p: HostJob) -> int:
        """Return the job's seed; a random one is drawn and set, so that the image's seed is that of its expansion."""
        seed = p.seed[0] if isinstance(p.seed, list) and p.seed else p.seed
        try:
            number = int(seed)
        except (TypeError, ValueError):
            number = -1
        if number == -1:
            number = self._draw()
            p.seed = number
        return request_seed(number)

    def _expand_all(self, p: HostJob, values: Values) -> None:
        # 1. Collect the prompts with their seeds; a hires pass from the gallery repeats the image's expansion.
        prompts, hires = list(p.all_prompts), _all_hires(p)
        seeds = [values.seed if values.seed >= 0 else _image_seed(p, index) for index in range(len(prompts))]
        recorded: dict[str, Any] = {}
        upscaled = self._upscaled(p)
        if upscaled is not None and _source(upscaled) == prompts[0]:
            if infotext.VERSION not in upscaled:
                return  # the image was made from this prompt without an expansion; its hires pass is to be like it
            seeds = [_recorded_seed(upscaled, default=seeds[0])]
            recorded = {key: value for key, value in upscaled.items() if key.startswith(infotext.PREFIX)}
        image_prompts = _checked([
            ImagePrompt(prompt, seed, hires_prompt)
            for prompt, seed, hires_prompt in zip(prompts, seeds, hires, strict=True)
        ])  # fmt: skip
        # 2. Expand them, or take the recorded result.
        if recorded and (hires[0] in (None, prompts[0]) or values.hires == "leave"):
            # The image's own text, whatever the controls are set to by now.
            text = infotext.result_of(upscaled or {})
            same = ExpandedPrompt(image_prompts[0], text, hires[0] if values.hires == "leave" else text)
            outcome = Outcome((same,), "")
        else:
            outcome = self._expand_prompts(p, values, image_prompts)
            recorded = {}
        # 3. Put the results in the prompts' place, and record them.
        results = [expanded.prompt for expanded in outcome.expanded]
        if getattr(p, "main_prompt", None) == prompts[0]:
            p.main_prompt = results[0]
        p.all_prompts = results
        if hires[0] is not None and has_hires(p):
            p.all_hr_prompts = [expanded.hires for expanded in outcome.expanded]
        self._host.write_entries(p, recorded or _entries(p, values, outcome))
        self._note(values, outcome)

    def _record_before(self, p: HostJob) -> None:
        before: _Before | None = getattr(p, _BEFORE, None)
        if before is not None:
            expanded = before.outcome.expanded
            count = len(p.all_prompts)
            each = expanded if len(expanded) == count else tuple(expanded[0] for _ in range(count))
            self._host.write_entries(p, _entries(p, before.values, replace(before.outcome, expanded=each)))

    def _upscaled(self, p: HostJob) -> Mapping[str, str] | None:
        """Return the infotext of the image that a hires pass from the gallery upscales; None for every other job."""
        if not getattr(p, "txt2img_upscale", False) or len(p.all_prompts or [p.prompt]) != 1:
            return None
        params = parse_infotext(self._host.read_image(getattr(p, "firstpass_image", None)))
        return params if "Seed" in params else None


def _is_inner(p: HostJob) -> bool:
    return any(getattr(p, name, False) for name in _INNER)


def _is_enabled(p: HostJob, arguments: Sequence[Any]) -> bool:
    """Return whether expansion is on; anything but off counts, as wrong values are reported later."""
    first = arguments[0] if arguments else False
    enabled = first.get("enabled", False) if isinstance(first, Mapping) else first
    enabled = _overrides(p).get("enabled", enabled)
    return enabled is not None and enabled is not False


def _overrides(p: HostJob) -> Mapping[str, Any]:
    """Return the values that the axes of a plot set for this job."""
    return getattr(p, OVERRIDES, None) or {}


def _source(params: Mapping[str, str]) -> str:
    """Return the prompt of an image before expansion."""
    return decode(params.get(infotext.PROMPT, params["Prompt"]))


def _recorded_seed(params: Mapping[str, str], *, default: int) -> int:
    """Return the seed of an image's expansion, in the range of a request's."""
    seed = infotext.seed_of(params)
    return default if seed is None else request_seed(seed)


def _our_entries(p: HostJob) -> dict[str, Any]:
    return {key: value for key, value in p.extra_generation_params.items() if key.startswith(infotext.PREFIX)}


def _typed_hires(p: HostJob, sources: Sequence[str]) -> list[str | None]:
    """Return the hires prompt of each prompt as typed; an empty one is the prompt itself."""
    if not has_hires(p):
        return [None] * len(sources)
    typed = p.hr_prompt if isinstance(p.hr_prompt, list) else [p.hr_prompt] * len(sources)
    if len(typed) != len(sources):
        return [None] * len(sources)
    return [hires if hires else source for hires, source in zip(typed, sources, strict=True)]


def _all_hires(p: HostJob) -> list[str | None]:
    hires = getattr(p, "all_hr_prompts", None) if has_hires(p) else None
    count = len(p.all_prompts)
    return list(hires) if hires is not None and len(hires) == count else [None] * count


def _image_seed(p: HostJob, index: int) -> int:
    return request_seed(int(p.all_seeds[min(index, len(p.all_seeds) - 1)]))


def _checked(image_prompts: list[ImagePrompt]) -> list[ImagePrompt]:
    for image_prompt in image_prompts:
        if not isinstance(image_prompt.prompt, str):
            raise BadValue("prompt", image_prompt.prompt, "a text")
    return image_prompts


def _entries(p: HostJob, values: Values, outcome: Outcome) -> dict[str, Any]:
    if outcome.error:
        _comment(p, outcome.error)
    records = [
        _record(p, values, expanded, index, outcome.error) for index, expanded in enumerate(outcome.expanded)
    ]
    return infotext.write_infotext(values, records, version=__version__, model=outcome.model)


def _record(p: HostJob, values: Values, expanded: ExpandedPrompt, index: int, error: str) -> Record:
    source = expanded.image_prompt
    seed = values.seed if values.seed >= 0 else source.seed if source.seed != _image_seed(p, index) else None
    return Record(
        prompt=source.prompt,
        result=p.all_prompts[index],
        hires=source.hires if source.hires != source.prompt else None,
        seed=seed,
        note=expanded.note,
        error=error,
        expanded=expanded.note != ALREADY_EXPANDED,
    )


def _remove_marks(p: HostJob, mark: str) -> None:
    """Take the marks out of the prompts of a job, those of every image where the host has made them already."""
    names = ("all_prompts", "all_hr_prompts", "main_prompt") if p.all_prompts else ("prompt", "hr_prompt")
    for name in names:
        value = getattr(p, name, None)
        if isinstance(value, str):
            setattr(p, name, unmarked(value, mark))
        elif isinstance(value, list):
            setattr(p, name, [unmarked(text, mark) if isinstance(text, str) else text for text in value])


def _comment(p: HostJob, line: str) -> None:
    """Have the host show a line under the image."""
    comment = getattr(p, "comment", None)
    if callable(comment):
        comment(f"KGen: the prompt was used as it is: {line}")


def _hires_entry(
    p: HiresJob, index: int, prompt_text: str, all_prompts: Any = (), use_main_prompt: bool = False, **_: Any
) -> str | None:
    """Return the hires prompt of an image for its infotext, None where it is the image's own prompt."""
    own = infotext.PerImage(tuple(p.all_hr_prompts))(p, index, all_prompts, use_main_prompt)
    return None if own == prompt_text or own is None else str(own)
