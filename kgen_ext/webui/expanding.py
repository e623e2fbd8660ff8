"""Expands the prompts of a job here and now: settings, numbers, model, memory and progress around one `run_job`.

Never raises: whatever goes wrong becomes one line, and the answers are the user's own prompts. Refuses to know what a
job looks like to the host, and infotexts.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from kgen_ext.events import Event
from kgen_ext.request import ExpandRequest
from kgen_ext.webui.host import Host
from kgen_ext.webui.job import Answer, Ask, explain, run_job, untouched
from kgen_ext.webui.memory import lend
from kgen_ext.webui.presets import Sampling, resolve_sampling
from kgen_ext.webui.progress import shown_progress
from kgen_ext.webui.requests import make_request
from kgen_ext.webui.session import Session
from kgen_ext.webui.settings import Settings, read_settings, tag_file
from kgen_ext.webui.values import Values

if TYPE_CHECKING:
    from kgen_ext.service.expander import Expander


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job's prompts; `error` is one line, "" when all went well. `model` is the id of who wrote."""

    answers: tuple[Answer, ...]
    model: str
    error: str = ""


class Expands(Protocol):
    """What the hooks need: `expand_job` with its surroundings filled in."""

    def __call__(self, values: Values, asks: Sequence[Ask], *, width: int, height: int) -> Outcome: ...


def expand_job(
    values: Values, asks: Sequence[Ask], *, width: int, height: int, host: Host, session: Session
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
    numbers = Sampling(values.temperature, values.top_k, values.top_p, values.min_p)
    return resolve_sampling(
        values.creativity, numbers, None if known is None else known.recommended, read_settings(host).presets
    )


def lease(
    values: Values, *, model: str, settings: Settings, host: Host, session: Session
) -> AbstractContextManager[Expander]:
    """Lend the model as the page and the settings say: on which engine and device, and for how long it stays."""
    session.pool.configure(size=1, idle_seconds=settings.idle_seconds)
    return lend(host, session, settings, model=model, engine=settings.engine_of(values))
