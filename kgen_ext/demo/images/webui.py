"""Pictures from a WebUI: AUTOMATIC1111, Forge and its forks, SD.Next, through the API that they share.

    GET  /sdapi/v1/samplers    [{"name"}...]
    GET  /sdapi/v1/scripts     {"txt2img": [names]}
    POST /sdapi/v1/txt2img     answers when the picture is done: {"images": [base64], "info": JSON in a string}
    GET  /sdapi/v1/progress    of whatever is being drawn: {"progress", "state": {"job"}}
    POST /internal/progress    of one job by the id that its client gave: {"active", "queued", "completed", "progress"}
    POST /sdapi/v1/interrupt   stops whatever is being drawn

Interrupting must not hit the job of somebody else. AUTOMATIC1111 and Forge know a job by its `force_task_id`, through
the page's own route; SD.Next, and a WebUI without its page, do not. There a job is taken for ours if nothing was being
drawn right before it was sent, and it has not been answered.
"""
from __future__ import annotations

import base64
import json
import math
import secrets
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass

from kgen_ext.demo.images.http import Client, other_shape
from kgen_ext.demo.images.png import read_picture
from kgen_ext.demo.images.stopping import State, stop_job
from kgen_ext.demo.images.values import (
    BadAnswer,
    BadPicture,
    ImageError,
    Picture,
    PictureSettings,
    Progress,
    ServerTimeout,
    check_prompt,
    choose_sampler,
    other_sampler,
)
from kgen_ext.errors import Cancelled

SCRIPT = "kgen"  # our script's name in a WebUI, in lower case as the API lists it
_PROGRESS = "/sdapi/v1/progress?skip_current_image=true"
_POLL = 1.0  # seconds between two questions for the progress
_QUICK = 2.0  # seconds for such a question
_GIVE_UP = 3  # such questions without an answer
_CHANGED = "the server drew another prompt than this one: its styles, wildcards or scripts changed it"


@dataclass(frozen=True, slots=True)
class WebUI:
    """A WebUI with the API of AUTOMATIC1111. seconds: limit for a picture."""

    client: Client
    samplers: tuple[str, ...]
    seconds: float

    kind = "A1111 API"

    @classmethod
    def open(cls, client: Client, *, seconds: float) -> WebUI:
        """Ask a server for its samplers; raises BadAnswer if it has no such API."""
        path = "/sdapi/v1/samplers"
        found = client.get(path)
        names = [entry.get("name") for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
        if not names:
            raise other_shape(client, path)
        return cls(client, tuple(name for name in names if isinstance(name, str)), seconds)

    @property
    def label(self) -> str:
        return f"{self.kind} at {self.client}"

    def draw(
        self, prompt: str, settings: PictureSettings, *, cancelled: Callable[[], bool]
    ) -> Generator[Progress | Picture, None, None]:
        """Yield the progress, then the picture; see `ImageServer`."""
        check_prompt("prompt", prompt)
        started = time.monotonic()
        sampler = choose_sampler(settings.sampler, self.samplers) if settings.sampler else None
        notes = [other_sampler(settings.sampler, "its default")] if settings.sampler and sampler is None else []
        alone = not _busy(self.client)
        job = _Job(self.client, f"task(kgen-{secrets.token_hex(8)})", alone=alone, seconds=self.seconds)
        body = {**_body(prompt, settings, sampler), "force_task_id": job.id, **self._expansion_off()}
        path = "/sdapi/v1/txt2img"
        with self.client.start("POST", path, body, seconds=self.seconds, cancelled=cancelled) as call:
            try:
                while not call.ready(_POLL):
                    yield job.progress()
                answer = call.read()
            except (Cancelled, ServerTimeout, GeneratorExit):
                job.stop()
                raise
        data, drawn = _picture(answer.json(), self.client, path)
        if drawn is not None and drawn != prompt:
            notes.append(_CHANGED)
        yield Picture(read_picture(data, str(self.client)), prompt, time.monotonic() - started, "; ".join(notes))

    def _expansion_off(self) -> dict[str, object]:
        """Return the part of a job that says that our own script there leaves the prompt as it is."""
        path = "/sdapi/v1/scripts"
        found = self.client.get(path)
        scripts = found.get("txt2img") if isinstance(found, dict) else None
        if not isinstance(scripts, list):
            raise other_shape(self.client, path)
        # Named only where it is: a WebUI refuses jobs that name a script it does not have.
        there = any(isinstance(name, str) and name.casefold() == SCRIPT for name in scripts)
        return {"alwayson_scripts": {SCRIPT: {"args": [{"enabled": False}]}}} if there else {}


def _body(prompt: str, settings: PictureSettings, sampler: str | None) -> dict[str, object]:
    return {
        "prompt": prompt, "negative_prompt": settings.negative, "seed": settings.seed, "steps": settings.steps,
        "width": settings.width, "height": settings.height, "cfg_scale": settings.cfg_scale,
        "batch_size": 1, "n_iter": 1, "send_images": True, "save_images": False,
        **({"sampler_name": sampler} if sampler else {}),
    }  # fmt: skip


def _picture(found: object, client: Client, path: str) -> tuple[bytes, str | None]:
    """Return the file and the prompt it was drawn from, None where the server does not tell."""
    images = found.get("images") if isinstance(found, dict) else None
    if not isinstance(found, dict) or not isinstance(images, list):
        raise other_shape(client, path)
    if not images:
        raise BadAnswer(f"{client}: it sent no picture", hint="it was stopped there, or failed: look at its console")
    info = _info(found.get("info"))
    first = info.get("index_of_first_image")  # 1 where a grid comes first
    image = images[first] if isinstance(first, int) and 0 <= first < len(images) else images[0]
    if not isinstance(image, str):
        raise other_shape(client, path)
    try:
        data = base64.b64decode(image.partition(",")[2] if image.startswith("data:") else image, validate=True)
    except ValueError as error:
        raise BadPicture(f"{client}: the picture is no base64", hint="look at its console, then try again") from error
    prompts = info.get("all_prompts")
    drawn = prompts[0] if isinstance(prompts, list) and prompts else None
    return data, drawn if isinstance(drawn, str) else None


def _info(text: object) -> dict[str, object]:
    """Return the facts about a picture; none where they cannot be read, as the picture matters more."""
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _busy(client: Client, *, seconds: float | None = None) -> bool:
    """Return whether a server draws something, True where it does not tell."""
    found = client.get(_PROGRESS, seconds=seconds)
    state = found.get("state") if isinstance(found, dict) else None
    return not isinstance(state, dict) or state.get("job") != ""


class _Job:
    """Our job on a server. alone: nothing was being drawn when it was sent."""

    def __init__(self, client: Client, id: str, *, alone: bool, seconds: float) -> None:
        self.id = id
        self._client, self._alone, self._seconds = client, alone, seconds
        self._failed = 0

    def progress(self) -> Progress:
        """Return how far it is; a server that does not tell is no longer asked."""
        if self._failed >= _GIVE_UP:
            return Progress(None, State.UNKNOWN.value)
        try:
            state, share = self._ask()
            if state is State.UNKNOWN and self._alone:
                share = _share(self._client.get(_PROGRESS, seconds=_QUICK))
        except ImageError:
            self._failed += 1  # a computer that draws on its processor may be late with an answer
            return Progress(None, State.UNKNOWN.value)
        return Progress(share, state.value if share is None else f"{share:.0%}")

    def stop(self) -> None:
        """Stop it and no other."""
        stop_job(self._state, self._interrupt, seconds=self._seconds)

    def _state(self) -> State:
        state, _ = self._ask()
        unnamed = state is State.UNKNOWN and self._alone
        return State.ACTIVE if unnamed and _busy(self._client, seconds=_QUICK) else state

    def _interrupt(self) -> None:
        self._client.post("/sdapi/v1/interrupt", {}, seconds=_QUICK)
        self._alone = False  # a job without a name is drawn from now on, if at all, for somebody else

    def _ask(self) -> tuple[State, float | None]:
        path = "/internal/progress"
        try:
            found = self._client.post(path, {"id_task": self.id, "live_preview": False}, seconds=_QUICK)
        except BadAnswer as error:
            if error.status in (404, 405):  # a WebUI without its page
                return State.UNKNOWN, None
            raise
        if not isinstance(found, dict):
            raise other_shape(self._client, path)
        if found.get("active") is True:
            return State.ACTIVE, _share(found)
        return (State.QUEUED if found.get("queued") is True else State.UNKNOWN), None


def _share(found: object) -> float | None:
    share = found.get("progress") if isinstance(found, dict) else None
    if not isinstance(share, (int, float)) or not math.isfinite(share):
        return None
    return min(max(float(share), 0.0), 1.0)
