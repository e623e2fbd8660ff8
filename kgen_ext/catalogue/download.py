"""Gets a model of the catalogue onto this machine: asks the hub, then fetches each file into our own folder.

Refuses to begin by itself: somebody clicked or typed a command. Offline it asks nothing of the network and says so.
Files are named as z-tipo-extension names its own, `<id>_<file>`; a folder of safetensors is `<id>/`, its weights last.
"""
from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path

from kgen_ext.catalogue.checks import relative_path
from kgen_ext.catalogue.disk import disk_errors, require_space
from kgen_ext.catalogue.entries import Model, ModelFile
from kgen_ext.catalogue.fetch import Fetch
from kgen_ext.catalogue.hub import Hub, NotThere, Remote, is_offline, offline_error
from kgen_ext.catalogue.progress import Progress
from kgen_ext.errors import DownloadError, UserError

WORKSHOP = ".downloads"
_NEEDED = ("config.json",)
_TOKENIZERS = ("tokenizer.json", "tokenizer.model")


@dataclass(frozen=True, slots=True)
class Order:
    """What a download would fetch: the facts to show before somebody says yes."""

    model: Model
    file: ModelFile
    target: Path
    parts: tuple[tuple[Remote, Path], ...]

    @property
    def size(self) -> int:
        """Return the bytes of all its files."""
        return sum(remote.size for remote, _ in self.parts)


def place_order(
    model: Model, file: ModelFile, *, to: Path, hub: Hub | None = None, offline: bool | None = None
) -> Order:
    """Ask the hub for sizes and checksums; nothing is written. Raises DownloadError, UserError.

    to: our own folder. offline: None for what the environment says.
    """
    if not model.repo:
        raise UserError(f"model: {model.id} has no repository to download from", hint="put its file into the folder")
    if is_offline() if offline is None else offline:
        raise offline_error(model.id)
    hub = hub or Hub()
    target = target_of(model, file, to)
    if file.kind == "gguf":
        remote = _pinned(hub.look_up(model.repo, file.path, model.revision), file)
        return Order(model, file, target, ((remote, target),))
    parts = []
    for name in file.companions:
        try:
            parts.append((hub.look_up(model.repo, _beside(file.path, name), model.revision), target / name))
        except NotThere:
            if name in _NEEDED:
                raise
    if not any(path.name in _TOKENIZERS for _, path in parts):
        raise DownloadError(f"{model.repo}: holds no tokenizer", hint="download its GGUF instead")
    weights = _pinned(hub.look_up(model.repo, file.path, model.revision), file)
    return Order(model, file, target, (*parts, (weights, target / file.name)))


def fetch_order(
    order: Order, *, to: Path, hub: Hub | None = None, cancelled: Callable[[], bool] = lambda: False,
    sleep: Callable[[float], None] = time.sleep,
) -> Generator[Progress, None, None]:  # fmt: skip
    """Fetch what was ordered, as steps; the last one has the path. Raises DownloadError, Cancelled."""
    hub = hub or Hub()
    fetches = [
        Fetch(hub, remote, path, workshop=to / WORKSHOP, key="_".join(path.relative_to(to).parts), cancelled=cancelled,
              sleep=sleep)
        for remote, path in order.parts
    ]  # fmt: skip
    with disk_errors(to):
        to.mkdir(parents=True, exist_ok=True)
        require_space(to, sum(fetch.missing() for fetch in fetches))
    before = 0
    for fetch, (remote, _) in zip(fetches, order.parts, strict=True):
        for step in fetch.steps():
            left = step.left and step.left + (order.size - before - remote.size) / (step.speed or 1.0)
            yield replace(step, done=before + step.done, total=order.size, left=left)
        before += remote.size
    yield Progress("done", order.target.name, order.size, order.size, path=order.target)


def target_of(model: Model, file: ModelFile, to: Path) -> Path:
    """Return the final path of a model's file below our own folder, which it never leaves."""
    name = model.id if file.kind == "safetensors" else f"{model.id}_{file.name}"
    return to / relative_path(name)


def _beside(path: str, name: str) -> str:
    folder, slash, _ = path.rpartition("/")
    return f"{folder}{slash}{name}"


def _pinned(remote: Remote, file: ModelFile) -> Remote:
    """Return what the hub says if it is what the catalogue knows; raises DownloadError."""
    told = (remote.sha256, remote.size)
    known = (file.sha256 or remote.sha256, file.size or remote.size)
    if told != known:
        raise DownloadError(
            f"{remote.url}: the hub has another file there than the catalogue knows", hint="update KGen, or tell us"
        )
    return remote
