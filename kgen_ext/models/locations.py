"""Folders where models may be: our own, the user's others, those of other extensions, and the hub's cache.

Only `own` is ever written to; the others are read.

    own     KGEN_MODELS_DIR; else for the command a folder of the user's data, in a WebUI its models/kgen
    more    the WebUI's models/kgen where `own` is another folder
    hosts   models/ of z-tipo-extension and of the older DanTagGen extension, among the WebUI's extensions
    hub     HF_HUB_CACHE; HUGGINGFACE_HUB_CACHE; $HF_HOME/hub; $XDG_CACHE_HOME/huggingface/hub; ~/.cache/huggingface/hub
"""
from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kgen_ext.models.schema import USER_FILE

# Parts of the other extensions' folder names as people have them (the second has had several), in lower case.
_OTHERS = ("tipo", "dtg", "dantaggen")


@dataclass(frozen=True, slots=True)
class Locations:
    """Folders to search, in this order: own, more, hosts, hub_cache. A folder need not exist."""

    own: Path
    more: tuple[Path, ...] = ()
    hosts: tuple[Path, ...] = ()
    hub_cache: Path | None = None

    @classmethod
    def default(cls, environ: Mapping[str, str] | None = None) -> Locations:
        """Return the locations of the command, from the environment."""
        environ = os.environ if environ is None else environ
        return cls(own=own_folder(environ), hub_cache=hub_cache(environ))

    @classmethod
    def for_webui(
        cls, *, models: Path, extensions: Iterable[Path], own: Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Locations:  # fmt: skip
        """Return the locations of a WebUI.

        models: its models folder. extensions: the folders its extensions are in. own: what --kgen-models-dir names.
        """
        environ = os.environ if environ is None else environ
        chosen = own or _given(environ, "KGEN_MODELS_DIR") or models / "kgen"
        more = tuple(folder for folder in (models / "kgen",) if folder != chosen)
        return cls(own=chosen, more=more, hosts=_other_extensions(extensions), hub_cache=hub_cache(environ))

    @property
    def folders(self) -> tuple[Path, ...]:
        """Return the folders without the hub's cache."""
        return (self.own, *self.more, *self.hosts)

    @property
    def user_file(self) -> Path:
        """Return the path of the user's own catalogue, which need not exist."""
        return self.own / USER_FILE


def own_folder(environ: Mapping[str, str], *, platform: str = sys.platform) -> Path:
    """Return the folder in which the command keeps its models."""
    if given := _given(environ, "KGEN_MODELS_DIR"):
        return given
    if platform == "win32":
        data = _given(environ, "LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif platform == "darwin":
        data = Path.home() / "Library" / "Application Support"
    else:
        data = _given(environ, "XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return data / "kgen" / "models"


def hub_cache(environ: Mapping[str, str]) -> Path:
    """Return the folder where huggingface_hub keeps its downloads, by its own rules and without importing it."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if given := _given(environ, name):
            return given
    home = _given(environ, "HF_HOME") or (_given(environ, "XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    return home / "hub"


def _given(environ: Mapping[str, str], name: str) -> Path | None:
    value = environ.get(name, "").strip()
    return Path(os.path.expandvars(value)).expanduser() if value else None


def _other_extensions(folders: Iterable[Path]) -> tuple[Path, ...]:
    found = []
    for folder in folders:
        if folder.is_dir():
            named = [path for path in sorted(folder.iterdir()) if any(word in path.name.lower() for word in _OTHERS)]
            found += [path / "models" for path in named if (path / "models").is_dir()]
    return tuple(found)
