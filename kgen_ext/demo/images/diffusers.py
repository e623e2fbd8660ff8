"""Pictures from diffusers in this process: a Stable Diffusion pipeline in a folder that the owner names.

Nothing of the folder is run: the pipeline must be one of `_PIPELINES`, made of parts of diffusers and transformers
alone; weights are read from safetensors only; a folder with Python files is refused. Nothing is downloaded.
"""
from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from kgen_ext.demo.images.http import one_line
from kgen_ext.demo.images.values import (
    ImageError,
    Picture,
    PictureSettings,
    Progress,
    check_prompt,
    choose_sampler,
    other_sampler,
)
from kgen_ext.errors import Cancelled, Install

_PIPELINES = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")
_LIBRARIES = ("diffusers", "transformers", "stable_diffusion", None)
_INDEX = "model_index.json"
_SAMPLERS = {
    "Euler a": "EulerAncestralDiscreteScheduler",
    "Euler": "EulerDiscreteScheduler",
    "DPM++ 2M": "DPMSolverMultistepScheduler",
    "DDIM": "DDIMScheduler",
}
_TICK = 0.2  # seconds
_BEFORE = "loading, or waiting for its turn"
_CUT = "only the first {0} tokens of the prompt were read: diffusers cuts the rest"


class Diffusers:
    """A pipeline, loaded at the first picture; it draws one picture at a time."""

    kind = "diffusers"
    samplers = tuple(_SAMPLERS)

    def __init__(self, folder: Path) -> None:
        """Check a folder; raises ImageError."""
        self._folder = folder
        self._class = _check_folder(folder)
        self._pipeline: Any = None
        self._scheduler: Any = None  # the model's own
        self._lock = threading.Lock()

    @property
    def label(self) -> str:
        return f"{self.kind} with {self._folder.name}"

    def draw(
        self, prompt: str, settings: PictureSettings, *, cancelled: Callable[[], bool]
    ) -> Generator[Progress | Picture, None, None]:
        """Yield the progress, then the picture; see `ImageServer`."""
        check_prompt("prompt", prompt)
        started = time.monotonic()
        run = _Run(self, prompt, settings)
        thread = threading.Thread(target=run, name="kgen-demo-diffusers", daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(_TICK)
                if cancelled():
                    raise Cancelled("the picture was cancelled")
                if thread.is_alive():
                    share = min(1.0, run.step / settings.steps)  # some samplers take one step more
                    yield Progress(share, f"{share:.0%}") if run.step else Progress(None, _BEFORE)
        finally:
            run.stop.set()
        if run.error is not None:
            raise self._failure(run.error)
        image = run.image.convert("RGB")
        yield Picture(image, prompt, time.monotonic() - started, "; ".join(run.notes))

    def _failure(self, error: Exception) -> ImageError:
        if isinstance(error, ImportError):
            failure = ImageError(f"{self.label}: {one_line(error)}", action=Install("diffusers torch transformers"))
        else:
            said = one_line(error) or type(error).__name__
            failure = ImageError(f"{self.label}: {said}", hint="try a smaller picture, or check the model's folder")
        failure.__cause__ = error
        return failure

    def draw_now(self, run: _Run) -> None:
        """Draw in this thread, when it is its turn."""
        with self._lock:
            if run.stop.is_set():
                return
            import torch

            if self._pipeline is None:
                self._pipeline = _load(self._folder, self._class)
                self._scheduler = self._pipeline.scheduler
            pipeline, settings = self._pipeline, run.settings
            run.notes += _set_sampler(pipeline, self._scheduler, settings.sampler) + _cut(pipeline, run.prompt)
            run.image = pipeline(
                prompt=run.prompt, negative_prompt=settings.negative, num_inference_steps=settings.steps,
                guidance_scale=settings.cfg_scale, width=settings.width, height=settings.height,
                generator=torch.Generator("cpu").manual_seed(settings.seed), callback_on_step_end=run.on_step,
            ).images[0]  # fmt: skip


class _Stopped(Exception):
    """Ends a pipeline from inside its callback."""


class _Run:
    """One picture in the making, in a thread of its own. step: done so far; stop: set by whoever no longer waits."""

    def __init__(self, owner: Diffusers, prompt: str, settings: PictureSettings) -> None:
        self.prompt, self.settings = prompt, settings
        self.step = 0
        self.stop = threading.Event()
        self.image: Any = None
        self.error: Exception | None = None
        self.notes: list[str] = []
        self._owner = owner

    def __call__(self) -> None:
        try:
            self._owner.draw_now(self)
        except _Stopped:
            return
        except Exception as error:  # a library's own errors may be of any kind; the waiting thread raises it
            self.error = error

    def on_step(self, pipeline: Any, step: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
        """Count a step; diffusers calls it after each."""
        self.step = step + 1
        if self.stop.is_set():
            raise _Stopped
        return values


def _check_folder(folder: Path) -> str:
    """Return the class of the pipeline in a folder; raises ImageError."""
    wrong = f"{folder.name}: not a model that can be drawn with"
    try:
        index = json.loads((folder / _INDEX).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        hint = f"name a folder in the form of diffusers, with a {_INDEX}"
        raise ImageError(f"{wrong}: no readable {_INDEX}", hint=hint) from error
    name = index.get("_class_name") if isinstance(index, dict) else None
    if name not in _PIPELINES:
        raise ImageError(f"{wrong}: its pipeline is {one_line(name)}", hint="use one of " + ", ".join(_PIPELINES))
    for part, value in index.items():
        if isinstance(value, list) and value and value[0] not in _LIBRARIES:
            raise ImageError(f"{wrong}: {one_line(part)} is code of its own", hint="code of models is not run")
    if any(folder.rglob("*.py")):
        raise ImageError(f"{wrong}: it holds Python files", hint="code of models is not run: remove them")
    return str(name)


def _load(folder: Path, name: str) -> Any:
    import diffusers
    import torch

    # Only local files, only safetensors; code in the folder has been ruled out above.
    pipeline = getattr(diffusers, name).from_pretrained(str(folder), local_files_only=True, use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    if torch.cuda.is_available():
        return pipeline.to("cuda", torch.float16)
    return pipeline.to("mps") if torch.backends.mps.is_available() else pipeline


def _set_sampler(pipeline: Any, own: Any, wanted: str) -> list[str]:
    """Give the pipeline a sampler, "" for the model's own; return notes."""
    import diffusers

    name = choose_sampler(wanted, tuple(_SAMPLERS)) if wanted else None
    # A scheduler keeps state, so each picture gets a fresh one.
    kind = getattr(diffusers, _SAMPLERS[name]) if name else type(own)
    pipeline.scheduler = kind.from_config(own.config)
    return [other_sampler(wanted, "the model's own")] if wanted and name is None else []


def _cut(pipeline: Any, prompt: str) -> list[str]:
    """Return a note if the prompt is longer than the text encoder reads."""
    most = pipeline.tokenizer.model_max_length
    tokens = pipeline.tokenizer(prompt, truncation=False, verbose=False).input_ids
    return [_CUT.format(most - 2)] if len(tokens) > most else []  # two tokens mark begin and end
