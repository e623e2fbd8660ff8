"""Access to the WebUI: its modules, options, state and folders, its jobs, and what differs from host to host.

Everything is looked up when it is needed, so importing this loads nothing. What a host lacks reads as absent (None, a
default, a lock that does nothing) and never raises: a missing part switches a feature off and breaks nothing. The rest
of the package imports nothing of the host, and asks `Host` wherever hosts differ: `hosts/` has a file for each.
"""
from __future__ import annotations

import importlib
import importlib.util
import inspect
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from kgen_ext.once import once

if TYPE_CHECKING:
    from typing import TypeGuard

LOGGER = "kgen"
EXTENSION = Path(__file__).resolve().parents[2]
SCRIPT = EXTENSION / "scripts" / "kgen.py"
_LOW_VRAM = ("lowvram", "medvram", "medvram_sdxl")


class HostJob(Protocol):
    """A job of the host: the attributes of `StableDiffusionProcessing` that hooks read and write.

    `before_process` finds `prompt`, `seed` and the size only: the host fills the `all_` lists and `main_prompt` before
    `process`, an entry for each image, and `prompts` for each batch. prompt, seed: an API client may send a list, or
    anything else. main_prompt: of the grid and of params.txt; SD.Next has none.

    Attributes that not every job has are read with `getattr`:

        scripts             runner with `alwayson_scripts`; `script_args` are the arguments of all of them
        enable_hr           txt2img: whether there is a hires pass; then `hr_prompt`, and in `process` `all_hr_prompts`
        txt2img_upscale     whether it is the gallery's button, which upscales the image `firstpass_image`
        iteration           index of the batch; the host has set it when it writes an infotext
        comment(text)       shows a line under the image
        _ad_inner           whether ADetailer runs it on an image whose prompt is expanded already
    """

    prompt: Any
    seed: Any
    width: int
    height: int
    main_prompt: str
    all_prompts: list[str]
    prompts: list[str]
    all_seeds: list[int]
    batch_size: int
    script_args: Sequence[Any]
    extra_generation_params: dict[str, Any]


class HiresJob(HostJob, Protocol):
    """A txt2img job with a hires pass. hr_prompt: as typed, empty for the prompt itself."""

    hr_prompt: Any
    all_hr_prompts: list[Any]


def has_hires(p: HostJob) -> TypeGuard[HiresJob]:
    """Return whether a job has a hires pass."""
    return bool(getattr(p, "enable_hr", False))


class Host:
    """The host that this process runs in, or none at all. A host that differs has a subclass in `hosts/`.

    Tests put fake `modules.*` into sys.modules.
    """

    def module(self, name: str) -> ModuleType | None:
        """Return a module of the host by its full name, or None where the host has no such module.

        Raises what the module's own imports raise.
        """
        if name in sys.modules:
            return sys.modules[name]
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
                return None
            raise

    def part(self, name: str) -> Any:
        """Return an attribute of a module by its dotted name ("modules.shared.state"), or None."""
        module, _, attribute = name.rpartition(".")
        return getattr(self.module(module), attribute, None)

    def has(self, name: str) -> bool:
        """Return whether there is a module of this name; it is not imported."""
        if name in sys.modules:
            return True
        try:
            return importlib.util.find_spec(name) is not None
        except (ModuleNotFoundError, ValueError):
            return False

    # Settings and flags.

    def option(self, key: str, default: Any = None) -> Any:
        """Return an option of the host's settings page, the default where it does not exist."""
        options = self.part("modules.shared.opts")
        return default if options is None else getattr(options, key, default)

    def flag(self, name: str, default: Any = None) -> Any:
        """Return a command line option of the host by its Python name ("kgen_offline")."""
        return getattr(self.part("modules.shared.cmd_opts"), name, default)

    # Progress and cancelling.

    @property
    def state(self) -> Any:
        """Return the host's job state (job_count, sampling_step, textinfo...), or None."""
        return self.part("modules.shared.state")

    def interrupted(self) -> bool:
        """Return whether the user asked to stop, at once or after the current image (as the button does by default)."""
        state = self.state
        return bool(getattr(state, "interrupted", False) or getattr(state, "stopping_generation", False))

    def bar_is_free(self) -> bool:
        """Return whether the progress bar counts no images yet, as it does for the cells of an X/Y/Z plot."""
        return (getattr(self.state, "job_count", None) or -1) <= 0

    def stop_job(self, p: HostJob) -> None:
        """Have no image made of a job that was stopped in one of its hooks. Called before each batch.

        Most hosts remember by themselves that the job was stopped.
        """

    def queue_lock(self) -> AbstractContextManager[Any]:
        """Return the lock that is held by one generation at a time."""
        lock = self.part("modules.call_queue.queue_lock")
        return nullcontext() if lock is None else lock

    # Folders.

    def path(self, name: str) -> Path | None:
        """Return one of the host's folders: script_path, data_path, models_path, extensions_dir."""
        for module in ("modules.paths", "modules.paths_internal"):
            if found := self.part(f"{module}.{name}"):
                return Path(found)
        return None

    @property
    def extension_dir(self) -> Path:
        """Return the folder of this extension, whatever the user named it."""
        return EXTENSION

    # Infotext.

    def write_entries(self, p: HostJob, entries: Mapping[str, Any]) -> None:
        """Write entries into a job's infotexts; a value may be a `PerImage`, which a host calls for each image."""
        p.extra_generation_params.update(entries)

    def drop_entries(self, p: HostJob, keys: Sequence[str]) -> None:
        """Take entries out of a job's infotexts again."""
        for key in keys:
            p.extra_generation_params.pop(key, None)

    def select_image(self, p: HostJob, index: int | None) -> None:
        """Write the entries of one image, as its infotext comes next.

        index: counts from the job's start; None where no image is known. Most hosts call a `PerImage`.
        """

    # Memory.

    def low_vram(self) -> bool:
        """Return whether the host runs with one of its options for little VRAM."""
        return any(bool(self.flag(name, False)) for name in _LOW_VRAM)

    def free_vram(self) -> int | None:
        """Return the free VRAM in bytes, None where torch cannot tell."""
        from kgen_ext.engines.devices import free_bytes

        torch = self.module("torch")
        return None if torch is None else free_bytes(torch)

    def collect(self) -> None:
        """Free the VRAM that torch caches."""
        torch_gc = self.part("modules.devices.torch_gc")
        if torch_gc is not None:
            torch_gc()

    @contextmanager
    def reserve(self, needed: int) -> Iterator[bool]:
        """Make room on the GPU for the time of use. needed: bytes; yields whether there is enough now."""
        yield True

    @contextmanager
    def on_gpu(self, module: Any, device: Any) -> Iterator[None]:
        """Have a torch module on the GPU for the time of use; the caller moves it to RAM afterwards."""
        module.to(device)
        yield

    # The page, and the order of scripts.

    def token_counter(self) -> Callable[[str], Any] | None:
        """Return the host's function that tells the number of CLIP tokens in its own markup, None where it has none."""
        count = self.part("modules.ui.update_token_counter")
        # The steps are those of prompt editing: the longest form counts, whatever their number.
        return None if count is None else lambda prompt: count(prompt, 20, [])

    def switch_label(self, label: str) -> str:
        """Return the label of the accordion that switches expansion on."""
        return label

    def prepare(self) -> None:
        """Register what only this host needs. Called at each load of the scripts."""

    # Callbacks, images, styles and the log.

    def on(self, event: str, call: Callable[..., Any]) -> bool:
        """Register a callback ("on_app_started"...) and return whether the host has the event.

        The name of the registering file is passed if the host accepts one: otherwise it inspects every frame of the
        caller, which costs about 6 ms for each callback at start-up.
        """
        register = self.part(f"modules.script_callbacks.{event}")
        if register is None:
            return False
        named = self.part("modules.script_callbacks.add_callback")
        category = event[len("on_") :]
        listed = (self.part("modules.script_callbacks.callback_map") or {}).get(f"callbacks_{category}")
        if listed is None or named is None or "filename" not in inspect.signature(named).parameters:
            register(call)
        else:
            named(listed, call, category=category, filename=str(SCRIPT))
        return True

    def read_image(self, image: Any) -> str:
        """Return the infotext in an image, "" where there is none that can be read.

        Text in place of an image is refused: some hosts' reader opens it as a path.
        """
        if isinstance(image, (str, bytes, PathLike)):
            return ""
        own = getattr(image, "info", None)
        text = own.get("parameters") if isinstance(own, dict) else None
        read = self.part("modules.images.read_info_from_image")
        if not isinstance(text, str) and image is not None and read is not None:
            try:
                text = read(image)[0]
            except Exception as error:  # the host's reader may raise anything on a damaged image
                self.log.info("cannot read the image's infotext: %s", error)
        return text if isinstance(text, str) else ""

    def extract_styles(self, prompt: str, negative: str) -> tuple[list[str], str, str]:
        """Return the names of the styles that the host finds in a pair of prompts, and the pair without them."""
        extract = getattr(self.part("modules.shared.prompt_styles"), "extract_styles_from_prompt", None)
        if extract is None or self.option("infotext_styles", "Ignore") == "Ignore":
            return [], prompt, negative
        found, prompt, negative = extract(prompt, negative)
        return list(found), prompt, negative

    @property
    def log(self) -> logging.Logger:
        """Return the extension's logger; its level is a setting."""
        return logging.getLogger(LOGGER)


@once
def current_host() -> Host:
    """Return the host this process runs in."""
    from kgen_ext.webui.hosts import find_host

    return find_host()
