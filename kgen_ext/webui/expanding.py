"""Expansion of a job's prompts with the model, the settings and the memory of this WebUI.

`JobContext` holds all that is read for a job: it is read once, at the job's start, and passed on. `expand_job` never
raises: an error becomes one line, and the images keep the user's own prompts.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Protocol

from kgen_ext.errors import BadValue, UserError
from kgen_ext.events import Event, Finished
from kgen_ext.request import MAX_SEED, NO_PRIOR, ExpandRequest, TextLength, split_list
from kgen_ext.rules.known import ANY
from kgen_ext.sampling import Sampling
from kgen_ext.webui.checkpoint_profile import add_quality_to_result
from kgen_ext.webui.controls import BY_FIELD, CUSTOM, DEFAULT, Values
from kgen_ext.webui.host import Host
from kgen_ext.webui.job import MARK, ExpandedPrompt, ImagePrompt, run_job, untouched
from kgen_ext.webui.messages import explain
from kgen_ext.webui.presets import resolve_sampling
from kgen_ext.webui.progress import shown_progress
from kgen_ext.webui.session import Session
from kgen_ext.webui.settings import WebuiSettings, find_model, tag_file
from kgen_ext.webui.vram import acquire

if TYPE_CHECKING:
    from kgen_ext.models import ModelFiles
    from kgen_ext.service.expander import Expander

NO_TAG_FILE = "put one into the folder “tags” of the models folder, or start with --kgen-tag-file PATH"
# Allowed image sides of a request; a job's may be smaller (0 where the host sets it later) or larger.
_MIN_SIDE, _MAX_SIDE = 16, 16384


@dataclass(frozen=True, slots=True)
class JobContext:
    """Inputs of a job besides its prompts, read once.

    model: the name that was asked for; `files.id` is the model's own. tag_file: the path of the file for “Only tags
    that exist”, "" where the control is off or no file was found. yours: the table of the user's tags, "" for none;
    note: why it is not the one that was asked for.
    """

    values: Values
    width: int
    height: int
    settings: WebuiSettings
    model: str
    files: ModelFiles
    sampling: Sampling
    tag_file: str
    yours: str
    note: str

    @classmethod
    def read(cls, values: Values, *, width: int, height: int, settings: WebuiSettings, host: Host) -> JobContext:
        """Find the model, its sampling options and the tag file. Raises KGenError where there is no such model."""
        model = settings.model_of(values)
        files = find_model(host, settings, model)
        sampling = sampling_of(values, settings=settings, files=files)
        path = tag_file(host, settings) if values.known_only else ""
        yours, note = _own_prior(values)
        return cls(values, width, height, settings, model, files, sampling, path, yours, note)

    def request(self, prompt: str, seed: int) -> ExpandRequest:
        """Build the request for one prompt. Raises BadValue that names the control."""
        return make_request(
            self.values, prompt, seed=seed, width=self.width, height=self.height, sampling=self.sampling,
            tag_file=self.tag_file, yours=self.yours, mark=self.settings.mark,
        )  # fmt: skip

    def noted(self, event: Event) -> Event:
        """Return an event of the job, an expansion with the job's note."""
        if not (self.note and isinstance(event, Finished)):
            return event
        return replace(event, expansion=replace(event.expansion, notes=(*event.expansion.notes, self.note)))

    def lease(self, host: Host, session: Session) -> AbstractContextManager[Expander]:
        """Lend the model, on the engine and device and for the time that controls and settings say."""
        session.pool.configure(size=1, idle_seconds=self.settings.idle_seconds)
        return acquire(host, session, self.settings, self.files, engine=self.settings.engine_of(self.values))


def make_request(
    values: Values, prompt: str, *, seed: int, width: int, height: int, sampling: Sampling, tag_file: str,
    yours: str = "", mark: str = MARK,
) -> ExpandRequest:  # fmt: skip
    """Build the request for one prompt from the controls' values. Raises BadValue that names the control.

    tag_file: the file for “Only tags that exist”, "" for none. yours: the table of the user's tags, "" for
    none. mark: the name of the marks in the prompt.
    """
    if values.format == CUSTOM and not values.template.strip():
        raise BadValue(BY_FIELD["template"].label, "", "one such as <|prompt|>, <|general|>; or choose another Format")
    if values.known_only and values.any_tag:
        raise BadValue(BY_FIELD["any_tag"].label, True, f"either it or “{BY_FIELD['known_only'].label}”")
    if values.known_only and not tag_file:
        raise BadValue(BY_FIELD["known_only"].label, True, f"it with a tag file: {NO_TAG_FILE}")
    return ExpandRequest(
        prompt=prompt,
        text=values.text,
        tag_length=None if values.tag_length == DEFAULT else values.tag_length,
        text_length=TextLength.NONE if values.adds == "tags" else values.text_length,
        no_tags=values.adds == "text",
        format=values.format_text,
        ban=(*split_list("ban", values.ban), *(f"category:{group}" for group in values.lock)),
        require=values.require,
        rules=values.rules,
        protect=values.protect,
        mark=mark,
        allow=values.allow,
        allow_contradictions=values.allow_contradictions,
        tag_file=tag_file if values.known_only else ANY if values.any_tag else "",
        seed=request_seed(seed),
        width=_clamp_side(width),
        height=_clamp_side(height),
        prior=None if values.prior < 0 else values.prior,
        yours=yours,
        **asdict(sampling),
    )


def request_seed(seed: int) -> int:
    """Return an image's seed in the range of a request's: hosts accept negative seeds and seeds of any length.

    >>> request_seed(123), request_seed(-5) == request_seed(-5) > 0
    (123, True)
    """
    return seed & MAX_SEED


def _clamp_side(side: int) -> int:
    return min(max(int(side), _MIN_SIDE), _MAX_SIDE)


def _own_prior(values: Values) -> tuple[str, str]:
    """Return the table of the user's tags, "" for none, and a note where the one asked for is not there.

    An infotext may name another user's: the image is made all the same, without it.
    """
    from kgen_ext.models.priors import find_prior

    if values.yours == NO_PRIOR:
        return "", ""
    try:
        find_prior(values.yours)
    except UserError as error:  # without its hint: a note is in the infotext, where other names are nobody's business
        return "", f"“{BY_FIELD['yours'].label}” is left out: {error.message.partition(': ')[2]}"
    return values.yours, ""


def sampling_of(values: Values, *, settings: WebuiSettings, files: ModelFiles) -> Sampling:
    """Return the sampling options that “Sampling preset” stands for with this model."""
    recommended = None if files.entry is None else files.entry.recommended
    return resolve_sampling(values.creativity, values.sampling, recommended, settings.presets)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a job. model: the id of the model that was used; error: one line, "" without an error."""

    expanded: tuple[ExpandedPrompt, ...]
    model: str
    error: str = ""


class ExpandFn(Protocol):
    """Function that expands the prompts of a job, such as `expand_job` with its other arguments bound."""

    def __call__(
        self, values: Values, image_prompts: Sequence[ImagePrompt], *, width: int, height: int
    ) -> Outcome: ...


def expand_job(
    values: Values,
    image_prompts: Sequence[ImagePrompt],
    *,
    width: int,
    height: int,
    settings: WebuiSettings,
    host: Host,
    session: Session,
) -> Outcome:
    """Expand every image prompt in one stream, or return them unchanged with the reason; never raises."""
    model = settings.model_of(values)
    opened = list[str]()
    try:
        context = JobContext.read(values, width=width, height=height, settings=settings, host=host)

        def stream(requests: Sequence[ExpandRequest]) -> Iterator[Event]:
            with shown_progress(host, rows=len(requests)) as progress:
                if progress.cancelled():
                    return
                with context.lease(host, session) as expander:
                    opened.append(expander.model)
                    # Closed before the model is returned: an open stream holds it.
                    with closing(expander.stream(requests, cancelled=progress.cancelled)) as events:
                        for event in events:
                            progress.on_event(event)
                            yield context.noted(event)

        expanded = run_job(
            image_prompts, make=context.request, stream=stream, hires=values.hires, written_before=session.wrote,
            mark=settings.mark,
        )  # fmt: skip
        expanded = [add_quality_to_result(result, values) for result in expanded]
    except Exception as error:  # the outermost frame: the image is made in any case
        line = explain(error)
        host.log.warning("the prompt is used as it is: %s", line)
        host.log.debug("traceback:", exc_info=error)
        unchanged = (untouched(image_prompt, mark=settings.mark) for image_prompt in image_prompts)
        return Outcome(tuple(unchanged), model, line)
    for result in expanded:
        own = untouched(result.image_prompt, mark=settings.mark)
        session.remember(result.prompt, source=own.prompt)
        if result.hires is not None and own.hires is not None:
            session.remember(result.hires, source=own.hires)
    return Outcome(tuple(expanded), opened[0] if opened else model)
