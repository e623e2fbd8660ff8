"""The one place that looks at the WebUI itself: which host this is, what it has, and the few things asked of it.

Everything is looked up at the time of asking, so importing this loads nothing. What a host lacks reads as absent (None,
a default, a lock that does nothing) and never raises: a missing part switches a feature off and breaks nothing.
Refuses to know what any of it is used for.
"""
from __future__ import annotations

import importlib
import importlib.util
import inspect
import logging
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import Any

from kgen_ext.once import once

LOGGER = "kgen"
EXTENSION = Path(__file__).resolve().parents[2]
SCRIPT = EXTENSION / "scripts" / "kgen.py"


class HostKind(str, Enum):
    """The families of host; OTHER is any that has `modules` and is none of these (SD.Next, forks to come)."""

    A1111 = "a1111"
    FORGE = "forge"  # Forge, Forge Classic and Neo: `backend.memory_management`
    REFORGE = "reforge"  # reForge and the first Forge: `ldm_patched.modules.model_management`
    OTHER = "other"
    NONE = "none"  # no host at all, as in the command and in most tests


class Host:
    """What is asked of a host. Tests put fake `modules.*` into sys.modules, or a subclass of this in its place."""

    def module(self, name: str) -> ModuleType | None:
        """Return a module of the host by its full name, or None where the host has none of that name.

        An import of the host's that fails for a reason of its own is the host's error, and is raised.
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

    @property
    def kind(self) -> HostKind:
        """Tell the family of the host by the modules it comes with."""
        if self.module("modules.shared") is None:
            return HostKind.NONE
        if self._has("modules_forge"):
            return HostKind.FORGE if self._has("backend.memory_management") else HostKind.REFORGE
        return HostKind.A1111 if self._has("modules.processing_scripts.comments") else HostKind.OTHER

    def _has(self, name: str) -> bool:
        if name in sys.modules:
            return True
        try:
            return importlib.util.find_spec(name) is not None
        except (ModuleNotFoundError, ValueError):
            return False

    # Settings and flags.

    def option(self, key: str, default: Any = None) -> Any:
        """Return a setting of the host's settings page, the default where it does not exist."""
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
        """Say whether the user asked to stop: at once, or after the present image (the default button does that)."""
        state = self.state
        return bool(getattr(state, "interrupted", False) or getattr(state, "stopping_generation", False))

    def queue_lock(self) -> AbstractContextManager[Any]:
        """Return the lock that one generation at a time holds."""
        lock = self.part("modules.call_queue.queue_lock")
        return nullcontext() if lock is None else lock

    # Places.

    def path(self, name: str) -> Path | None:
        """Return one of the host's folders: script_path, data_path, models_path, extensions_dir."""
        for module in ("modules.paths", "modules.paths_internal"):
            if found := self.part(f"{module}.{name}"):
                return Path(found)
        return None

    @property
    def extension_dir(self) -> Path:
        """Return the folder this extension lives in, whatever the user called it."""
        return EXTENSION

    # The things a script needs.

    def on(self, event: str, call: Callable[..., Any]) -> bool:
        """Register a callback ("on_app_started"...); says whether the host knows the event.

        Where the host lets us say which file registers, we do: it looks up the source of every frame of the caller's
        otherwise, some 6 ms at each registration while it starts.
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
        """Return the infotext an image carries, "" where it carries none that can be read.

        A text is no image: there are hosts whose reader opens it as a path.
        """
        if isinstance(image, (str, bytes, PathLike)):
            return ""
        own = getattr(image, "info", None)
        text = own.get("parameters") if isinstance(own, dict) else None
        read = self.part("modules.images.read_info_from_image")
        if not isinstance(text, str) and image is not None and read is not None:
            try:
                text = read(image)[0]
            except Exception as error:  # a foreign reader of foreign bytes: its errors have no common root
                self.log.info("the image's infotext cannot be read: %s", error)
        return text if isinstance(text, str) else ""

    def extract_styles(self, prompt: str, negative: str) -> tuple[list[str], str, str]:
        """Return the styles the host finds in a pair of prompts, and the pair without them."""
        extract = getattr(self.part("modules.shared.prompt_styles"), "extract_styles_from_prompt", None)
        if extract is None or self.option("infotext_styles", "Ignore") == "Ignore":
            return [], prompt, negative
        found, prompt, negative = extract(prompt, negative)
        return list(found), prompt, negative

    @property
    def log(self) -> logging.Logger:
        """Return the extension's logger; how much it says is the settings' business."""
        return logging.getLogger(LOGGER)


@once
def current_host() -> Host:
    """Return the host this process runs in."""
    return Host()
