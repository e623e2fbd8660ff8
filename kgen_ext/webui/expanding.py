"""Expands the prompts of a job here and now: settings, numbers, model, memory and progress around one `run_job`.

Never raises: whatever goes wrong becomes one line, and the answers are the user's own prompts. Refuses to know what a
job looks like to the host, and infotexts.

Makes the request of one prompt from the controls' values; the reverse of nothing, the last step before the service.

Pure: knows the table's values and the service's request, no host, no settings page and no model.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

from kgen_ext.errors import BadValue
from kgen_ext.events import Event
from kgen_ext.request import MAX_SEED, ExpandRequest, TextLength
from kgen_ext.sampling import Sampling
from kgen_ext.webui.controls import BY_FIELD, CUSTOM, Values
from kgen_ext.webui.host import Host
from kgen_ext.webui.job import ExpandedPrompt, ImagePrompt, explain, run_job, untouched
from kgen_ext.webui.presets import resolve_sampling
from kgen_ext.webui.progress import shown_progress
from kgen_ext.webui.session import Session
from kgen_ext.webui.settings import WebuiSettings, read_settings, tag_file
from kgen_ext.webui.vram import acquire

if TYPE_CHECKING:
    from kgen_ext.service.expander import Expander

NO_TAG_FILE = "put one into the folder “tags” of the models folder, or start with --kgen-tag-file PATH"
# What a request accepts; a job may say less (0 where a host fills it in later) or more.
_SMALLEST, _LARGEST = 16, 16384


def make_request(
    values: Values, prompt: str, *, seed: int, width: int, height: int, sampling: Sampling, tag_file: str
) -> ExpandRequest:
    """Return what is asked of the expander for one prompt. Raises BadValue that names the control.

    tag_file: the file for “Only tags that exist”, "" where none is known.
    """
    if values.format == CUSTOM and not values.template.strip():
        raise BadValue(BY_FIELD["template"].label, "", "one such as <|prompt|>, <|general|>; or choose another Format")
    if values.known_only and not tag_file:
        raise BadValue(BY_FIELD["known_only"].label, True, f"it with a tag file: {NO_TAG_FILE}")
    return ExpandRequest(
        prompt=prompt,
        text=values.text,
        tag_length=values.tag_length,
        text_length=TextLength.NONE if values.add == "tags" else values.text_length,
        no_tags=values.add == "text",
        format=values.format_text,
        ban=values.ban,
        require=values.require,
        rules=values.rules,
        protect=values.protect,
        allow=values.allow,
        allow_contradictions=values.allow_contradictions,
        tag_file=tag_file if values.known_only else "",
        seed=request_seed(seed),
        width=_size(width),
        height=_size(height),
        **asdict(sampling),
    )


def request_seed(seed: int) -> int:
    """Return an image's seed as a request takes it: hosts let through negative ones and any length.

    >>> request_seed(123), request_seed(-5) == request_seed(-5) > 0
    (123, True)
    """
    return seed & MAX_SEED


def _size(side: int) -> int:
    return min(max(int(side), _SMALLEST), _LARGEST)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job's prompts; `error` is one line, "" when all went well. `model` is the id of who wrote."""

    answers: tuple[ExpandedPrompt, ...]
    model: str
    error: str = ""


class ExpandFn(Protocol):
    """What the hooks need: `expand_job` with its surroundings filled in."""

    def __call__(self, values: Values, asks: Sequence[ImagePrompt], *, width: int, height: int) -> Outcome: ...


def expand_job(
    values: Values, asks: Sequence[ImagePrompt], *, width: int, height: int, host: Host, session: Session
) -> Outcome:
    """Expand every ask in one stream, or return them untouched with the reason."""
    model, opened = values.model, list[str]()
    try:
        settings = read_settings(host)
        model = settings.model_of(values)
        make = request_maker(values, model=model, width=width, height=height, host=host, session=session)

        def stream(requests: Sequence[ExpandRequest]) -> Iterator[Event]:
            with shown_progress(host, rows=len(requests)) as progress:
                if progress.cancelled():
                    return
                with lease(values, model=model, settings=settings, host=host, session=session) as expander:
                    opened.append(expander.model)
                    # Closed before the model is given back: an open stream holds it.
                    with closing(expander.stream(requests, cancelled=progress.cancelled)) as events:
                        for event in events:
                            progress.on_event(event)
                            yield event

        answers = run_job(asks, make=make, stream=stream, hires=values.hires, written_before=session.wrote)
    except Exception as error:  # the edge: an image is made whatever happens, and a hook that raises stops nothing
        line = explain(error)
        host.log.warning("the prompt is used as it is: %s", line)
        host.log.debug("how it came to that:", exc_info=error)
        return Outcome(tuple(untouched(ask) for ask in asks), model, line)
    for answer in answers:
        session.remember(answer.prompt, source=answer.ask.prompt)
        if answer.hires is not None and answer.ask.hires is not None:
            session.remember(answer.hires, source=answer.ask.hires)
    return Outcome(tuple(answers), opened[0] if opened else model)


def request_maker(
    values: Values, *, model: str, width: int, height: int, host: Host, session: Session
) -> Callable[[str, int], ExpandRequest]:
    """Return what makes a prompt and a seed a request for this model. Raises UserError for values that cannot be."""
    sampling = sampling_of(values, model=model, host=host, session=session)
    file = tag_file(host, read_settings(host)) if values.known_only else ""
    return lambda prompt, seed: make_request(
        values, prompt, seed=seed, width=width, height=height, sampling=sampling, tag_file=file
    )


def sampling_of(values: Values, *, model: str, host: Host, session: Session) -> Sampling:
    """Return the numbers that the creativity comes down to with this model."""
    known = session.find(model).entry
    return resolve_sampling(
        values.creativity, values.sampling, None if known is None else known.recommended, read_settings(host).presets
    )


def lease(
    values: Values, *, model: str, settings: WebuiSettings, host: Host, session: Session
) -> AbstractContextManager[Expander]:
    """Lend the model as the page and the settings say: on which engine and device, and for how long it stays."""
    session.pool.configure(size=1, idle_seconds=settings.idle_seconds)
    return acquire(host, session, settings, model=model, engine=settings.engine_of(values))
