"""The folders where model files may lie: ours, other folders of the user's, those of other extensions, the hub's cache.

Refuses to know what is in them. Only `own` is ever written to; the others are read.

    own     KGEN_MODELS_DIR; else for the command a folder of the user's data, in a WebUI its models/kgen
    more    further folders that the user or the WebUI has for such models
    hosts   models/ of z-tipo-extension and of the older DanTagGen extension, beside our own extension
    hub     HF_HUB_CACHE; HUGGINGFACE_HUB_CACHE; $HF_HOME/hub; $XDG_CACHE_HOME/huggingface/hub; ~/.cache/huggingface/hub
"""
from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kgen_ext.models.schema import USER_FILE

# Folder names of the other extensions as people have them (the second has had several), in small letters.
_OTHERS = ("tipo", "dtg", "dantaggen")


@dataclass(frozen=True, slots=True)
class Locations:
    """Where to look, in this order: own, more, hosts, hub_cache. A folder need not exist."""

    own: Path
    more: tuple[Path, ...] = ()
    hosts: tuple[Path, ...] = ()
    hub_cache: Path | None = None

    @classmethod
    def default(cls, environ: Mapping[str, str] | None = None) -> Locations:
        """Return the command's places, from the environment."""
        environ = os.environ if environ is None else environ
        return cls(own=own_folder(environ), hub_cache=hub_cache(environ))

    @classmethod
    def for_webui(
        cls, *, models: Path, extensions: Iterable[Path], own: Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Locations:  # fmt: skip
        """Return a WebUI's places: its models folder, the folders its extensions lie in, `own` of --kgen-models-dir."""
        environ = os.environ if environ is None else environ
        chosen = own or _given(environ, "KGEN_MODELS_DIR") or models / "kgen"
        more = tuple(one for one in (models / "kgen",) if one != chosen)
        return cls(own=chosen, more=more, hosts=_other_extensions(extensions), hub_cache=hub_cache(environ))

    @property
    def folders(self) -> tuple[Path, ...]:
        """Return the plain folders, without the cache."""
        return (self.own, *self.more, *self.hosts)

    @property
    def user_file(self) -> Path:
        """Return the path of the user's own catalogue; it need not exist."""
        return self.own / USER_FILE


def own_folder(environ: Mapping[str, str], *, platform: str = sys.platform) -> Path:
    """Return the folder the command keeps its models in."""
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
            named = [one for one in sorted(folder.iterdir()) if any(word in one.name.lower() for word in _OTHERS)]
            found += [one / "models" for one in named if (one / "models").is_dir()]
    return tuple(found)
