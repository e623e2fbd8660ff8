"""Pictures from ComfyUI: a small workflow is queued, and its picture fetched.

    GET  /object_info/NODE           what a node takes: the checkpoints, the samplers
    POST /prompt                     queues a workflow: {"prompt_id"}
    GET  /history/ID                 {} until it is done, then {ID: {"outputs", "status"}}
    GET  /queue                      {"queue_running", "queue_pending"}: lists of [number, ID, ...]
    GET  /view?filename&subfolder&type
    POST /queue {"delete": [ID]}, POST /interrupt {"prompt_id": ID}

The workflow ends in a preview, so nothing is left in the folder of pictures; ComfyUI clears previews when it starts.
Its own weights `(fox ears:1.2)` are read as in a WebUI; `<lora:...>`, wildcards and BREAK are not.
"""
from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Generator
from dataclasses import dataclass

from kgen_ext.demo.images.http import Client, one_line, other_shape, query
from kgen_ext.demo.images.png import read_picture
from kgen_ext.demo.images.stopping import State, stop_job
from kgen_ext.demo.images.values import (
    BadAnswer,
    Picture,
    PictureSettings,
    Progress,
    ServerTimeout,
    check_prompt,
    choose_sampler,
    other_sampler,
)
from kgen_ext.errors import BadValue, Cancelled

_LOADER, _SAMPLER = "CheckpointLoaderSimple", "KSampler"
_DEFAULTS = ("euler", "normal")  # sampler and scheduler, as in ComfyUI's own example
_POLL = 0.5  # seconds
_QUICK = 2.0  # seconds for a call that cancels
_PREVIEW = "7"


@dataclass(frozen=True, slots=True)
class ComfyUI:
    """A ComfyUI server. checkpoint: as it lists it; scheduler: of the noise; seconds: limit for a picture."""

    client: Client
    checkpoint: str
    samplers: tuple[str, ...]
    scheduler: str
    seconds: float

    kind = "ComfyUI"

    @classmethod
    def open(cls, client: Client, *, checkpoint: str, seconds: float) -> ComfyUI:
        """Ask a server for its checkpoints and samplers. checkpoint: one of them, "" for the first.

        Raises BadValue for one that it does not have, BadAnswer if it has none, or is no ComfyUI.
        """
        checkpoints = _choices(client, _LOADER, "ckpt_name")
        if not checkpoints:
            raise BadAnswer(f"{client}: ComfyUI has no checkpoint", hint="put one into its models/checkpoints")
        if checkpoint and checkpoint not in checkpoints:
            raise BadValue("checkpoint", checkpoint, checkpoints[:8])
        samplers, schedulers = _choices(client, _SAMPLER, "sampler_name"), _choices(client, _SAMPLER, "scheduler")
        if not samplers or not schedulers:
            raise other_shape(client, f"/object_info/{_SAMPLER}")
        scheduler = _DEFAULTS[1] if _DEFAULTS[1] in schedulers else schedulers[0]
        return cls(client, checkpoint or checkpoints[0], samplers, scheduler, seconds)

    @property
    def label(self) -> str:
        return f"{self.kind} at {self.client}"

    def draw(
        self, prompt: str, settings: PictureSettings, *, cancelled: Callable[[], bool]
    ) -> Generator[Progress | Picture, None, None]:
        """Yield the progress, then the picture; see `ImageServer`."""
        check_prompt("prompt", prompt)
        started = time.monotonic()
        default = _DEFAULTS[0] if _DEFAULTS[0] in self.samplers else self.samplers[0]
        wanted = choose_sampler(settings.sampler, self.samplers) if settings.sampler else None
        note = other_sampler(settings.sampler, default) if settings.sampler and wanted is None else ""
        workflow = _workflow(prompt, settings, self.checkpoint, wanted or default, self.scheduler)
        id = str(uuid.uuid4())
        try:
            id = self._queue(workflow, id, cancelled)
            outputs = yield from self._wait(id, cancelled)
            data = self.client.download(_view(outputs, self.client), cancelled=cancelled)
        except (Cancelled, ServerTimeout, GeneratorExit):
            self._stop(id)
            raise
        yield Picture(read_picture(data, str(self.client)), prompt, time.monotonic() - started, note)

    def _queue(self, workflow: object, id: str, cancelled: Callable[[], bool]) -> str:
        """Queue a workflow; return its id, which older servers choose themselves."""
        found = self.client.post("/prompt", {"prompt": workflow, "prompt_id": id}, cancelled=cancelled)
        given = found.get("prompt_id") if isinstance(found, dict) else None
        if not isinstance(given, str) or not _is_uuid(given):
            raise other_shape(self.client, "/prompt")
        return given

    def _wait(self, id: str, cancelled: Callable[[], bool]) -> Generator[Progress, None, dict[str, object]]:
        """Yield the progress of a workflow and return its outputs."""
        end, missing = time.monotonic() + self.seconds, 0
        while (left := end - time.monotonic()) > 0:
            found = self.client.get(f"/history/{id}", seconds=min(left, self.client.patience), cancelled=cancelled)
            if not isinstance(found, dict):
                raise other_shape(self.client, "/history")
            if id in found:
                return self._outputs(found[id])
            ahead = self._ahead(id, cancelled)
            # It leaves the queue right before it enters the history: only twice in neither is gone.
            missing = missing + 1 if ahead is None else 0
            if missing > 1:
                raise BadAnswer(
                    f"{self.client}: the picture is no longer in the queue",
                    hint="it was deleted there, or ComfyUI was restarted",
                )
            yield Progress(None, f"waiting behind {ahead} in the server's queue" if ahead else "being drawn")
            _sleep(_POLL, cancelled)
        raise ServerTimeout(
            f"{self.client}: no picture within {self.seconds:g} s", hint="try fewer steps or a smaller picture"
        )

    def _ahead(self, id: str, cancelled: Callable[[], bool]) -> int | None:
        """Return how many workflows come before ours, 0 while it runs, None if it is not in the queue."""
        running, pending = self._lists(self.client.get("/queue", cancelled=cancelled))
        if id in running:
            return 0
        return len(running) + pending.index(id) if id in pending else None

    def _lists(self, found: object) -> tuple[list[str], list[str]]:
        """Return the ids of the running and of the waiting workflows, these by their number."""
        lists: list[list[str]] = []
        for key in ("queue_running", "queue_pending"):
            rows = found.get(key) if isinstance(found, dict) else None
            if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) > 1 for row in rows):
                raise other_shape(self.client, "/queue")
            numbered = [(row[0] if isinstance(row[0], (int, float)) else 0, str(row[1])) for row in rows]
            lists.append([id for _, id in sorted(numbered)])
        return lists[0], lists[1]

    def _outputs(self, entry: object) -> dict[str, object]:
        """Return the outputs in an entry of the history; raises BadAnswer if it says error."""
        outputs = entry.get("outputs") if isinstance(entry, dict) else None
        if not isinstance(entry, dict) or not isinstance(outputs, dict):
            raise other_shape(self.client, "/history")
        status = entry.get("status")
        if isinstance(status, dict) and status.get("status_str") == "error":
            said = _failure(status.get("messages"))
            raise BadAnswer(f"{self.client}: {said}", hint="look at its console, then try again")
        return outputs

    def _stop(self, id: str) -> None:
        """Take the workflow out of the queue, or interrupt it, if it is the one that runs."""

        def ask() -> State:
            self.client.post("/queue", {"delete": [id]}, seconds=_QUICK)
            running, _ = self._lists(self.client.get("/queue", seconds=_QUICK))
            return State.ACTIVE if id in running else State.UNKNOWN

        def interrupt() -> None:  # older servers do not look at the id, and stop what runs
            self.client.post("/interrupt", {"prompt_id": id}, seconds=_QUICK)

        stop_job(ask, interrupt, seconds=self.seconds)


def _workflow(
    prompt: str, settings: PictureSettings, checkpoint: str, sampler: str, scheduler: str
) -> dict[str, object]:
    def node(kind: str, **inputs: object) -> dict[str, object]:
        return {"class_type": kind, "inputs": inputs}

    return {
        "1": node(_LOADER, ckpt_name=checkpoint),
        "2": node("CLIPTextEncode", text=prompt, clip=["1", 1]),
        "3": node("CLIPTextEncode", text=settings.negative, clip=["1", 1]),
        "4": node("EmptyLatentImage", width=settings.width, height=settings.height, batch_size=1),
        "5": node(
            _SAMPLER, seed=settings.seed, steps=settings.steps, cfg=settings.cfg_scale, sampler_name=sampler,
            scheduler=scheduler, denoise=1.0, model=["1", 0], positive=["2", 0], negative=["3", 0],
            latent_image=["4", 0],
        ),
        "6": node("VAEDecode", samples=["5", 0], vae=["1", 2]),
        _PREVIEW: node("PreviewImage", images=["6", 0]),
    }  # fmt: skip


def _choices(client: Client, node: str, name: str) -> tuple[str, ...]:
    """Return the values that an input of a node takes.

    Older servers write [[values], options], newer ones also ["COMBO", {"options": [values]}].
    """
    path = f"/object_info/{node}"
    found: object = client.get(path)
    for key in (node, "input", "required", name):
        found = found.get(key) if isinstance(found, dict) else None
    if isinstance(found, list) and len(found) > 1 and found[0] == "COMBO" and isinstance(found[1], dict):
        found = [found[1].get("options")]
    values = found[0] if isinstance(found, list) and found else None
    if not isinstance(values, list):
        raise other_shape(client, path)
    return tuple(value for value in values if isinstance(value, str))


def _view(outputs: dict[str, object], client: Client) -> str:
    """Return the path of the picture in a workflow's outputs."""
    preview = outputs.get(_PREVIEW)
    images = preview.get("images") if isinstance(preview, dict) else None
    image = images[0] if isinstance(images, list) and images else None
    if not isinstance(image, dict):
        raise BadAnswer(f"{client}: it sent no picture", hint="it failed there: look at its console")
    return query("/view", **{key: str(image.get(key, "")) for key in ("filename", "subfolder", "type")})


def _failure(messages: object) -> str:
    """Return in words how a workflow ended: a list of [event, facts]."""
    for message in messages if isinstance(messages, list) else ():
        if not (isinstance(message, list) and len(message) == 2 and isinstance(message[1], dict)):
            continue
        if message[0] == "execution_interrupted":
            return "the picture was stopped there"
        if message[0] == "execution_error":
            where, said = message[1].get("node_type"), message[1].get("exception_message")
            return one_line(f"{where} failed: {said}")
    return "the workflow failed"


def _sleep(seconds: float, cancelled: Callable[[], bool]) -> None:
    """Sleep; raise Cancelled within a tenth of a second."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if cancelled():
            raise Cancelled("the picture was cancelled")
        time.sleep(min(0.1, left))


def _is_uuid(text: str) -> bool:
    """Return whether it is an id as servers give it; it becomes part of a path."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
