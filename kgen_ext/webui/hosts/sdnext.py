"""SD.Next: infotext entries per image, a stop that the host forgets, memory, and the order of scripts.

The host writes an infotext from what `extra_generation_params` holds at that moment and calls nothing: where images
differ, the entries of each are put there before it is written, and are not there at other times. The host clears
`interrupted` between the hook `process` and the first batch, runs scripts in the order of their titles, and reads no
metadata.ini.
"""
from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from configparser import ConfigParser, Error
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import ref

from kgen_ext.webui.host import SCRIPT, Host, HostJob
from kgen_ext.webui.infotext import PerImage

_ENTRIES = "_kgen_entries"  # attribute of a job: its entries that differ from image to image
_AUX = "KGen"  # our name among the host's auxiliary models


class SdNext(Host):
    """SD.Next (058a7f0)."""

    def __init__(self) -> None:
        # The latest job with entries that differ, and its thread.
        self._written: tuple[ref[HostJob], int] | None = None

    def bar_is_free(self) -> bool:
        """Return whether no steps are counted yet; a job counts one image from its start."""
        return not getattr(self.state, "sampling_steps", 0)

    def stop_job(self, p: HostJob) -> None:
        """Stop the job again, and leave it nothing to draw."""
        self.state.interrupted = True
        p.prompts = []

    def write_entries(self, p: HostJob, entries: Mapping[str, Any]) -> None:
        """Write entries that all images have; those of images that differ wait until their image is known."""
        differ = any(isinstance(value, PerImage) for value in entries.values())
        setattr(p, _ENTRIES, dict(entries) if differ else {})
        self._written = (ref(p), threading.get_ident()) if differ else None
        if not differ:
            super().write_entries(p, entries)

    def drop_entries(self, p: HostJob, keys: Sequence[str]) -> None:
        """Take entries out of a job's infotexts again."""
        super().drop_entries(p, keys)
        setattr(p, _ENTRIES, {})

    def select_image(self, p: HostJob, index: int | None) -> None:
        """Write the entries of one image, or take them all out: none are better than those of another image."""
        for key, entry in getattr(p, _ENTRIES, {}).items():
            if index is None:
                p.extra_generation_params[key] = None
            else:
                p.extra_generation_params[key] = entry.of(index) if isinstance(entry, PerImage) else entry

    @contextmanager
    def reserve(self, needed: int) -> Iterator[bool]:
        """Have the host offload what it does not need at the moment; it loads that again when it needs it."""
        free = self.free_vram()
        if free is not None and free < needed:
            for make_room in ("modules.sd_offload_aux.evict_aux", "modules.sd_offload.apply_balanced_offload"):
                call = self.part(make_room)
                if call is not None:
                    call()
            self.collect()
            free = self.free_vram()
        yield free is None or free >= needed

    @contextmanager
    def on_gpu(self, module: Any, device: Any) -> Iterator[None]:
        """Load a torch module as the host loads its own auxiliary models, such as captioners."""
        aux = self.module("modules.sd_offload_aux")
        if aux is None or not _is_same(device, self.part("modules.devices.device")):
            with super().on_gpu(module, device):
                yield
            return
        aux.register_aux(_AUX, module)
        try:
            aux.move_aux_to_gpu(_AUX)
            yield
        finally:
            aux.deregister_aux(_AUX)

    def token_counter(self) -> Callable[[str], Any] | None:
        """Return the host's function that tells the number of CLIP tokens in its own markup."""
        count: Callable[[str], Any] | None = self.part("modules.ui_common.update_token_counter")
        return count

    def switch_label(self, label: str) -> str:
        """Return a label that says what opening does: the host's accordion has no checkbox of its own."""
        return f"{label} (open: on, closed: off)"

    def prepare(self) -> None:
        """Register what puts the scripts in order, and what a grid's infotext needs."""
        self.on("on_app_started", lambda demo, app: self._order_scripts())
        self.on("on_image_grid", lambda params: self._on_grid())

    def _on_grid(self) -> None:
        """Write the first image's entries: a grid's infotext comes next. Live previews make grids in other threads."""
        p, thread = (self._written[0](), self._written[1]) if self._written else (None, 0)
        if p is not None and thread == threading.get_ident():
            self.select_image(p, 0)

    def _order_scripts(self) -> None:
        """Put our script where metadata.ini says, in both tabs."""
        after, before = read_order(self.extension_dir / "metadata.ini")
        for name in ("modules.scripts_manager.scripts_txt2img", "modules.scripts_manager.scripts_img2img"):
            runner = self.part(name)
            if runner is not None:
                move_script(runner.alwayson_scripts, after=after, before=before)


def _is_same(device: Any, other: Any) -> bool:
    """Return whether two torch devices are the same: `cuda` is `cuda:0`."""
    places = [(getattr(place, "type", None), getattr(place, "index", None) or 0) for place in (device, other)]
    return places[0] == places[1]


def move_script(scripts: list[Any], *, after: Sequence[str], before: Sequence[str]) -> None:
    """Move our script in a list of scripts behind those of some extensions, else in front of those of others.

    after, before: names of the extensions' folders in lower case. Our script stays where it is if that is right.
    """
    own = next((script for script in scripts if Path(script.filename).resolve() == SCRIPT), None)
    if own is None:
        return
    folders = [Path(script.filename).parent.parent.name.lower() for script in scripts]
    place = scripts.index(own)
    last = max((index for index, name in enumerate(folders) if name in after), default=-1)
    first = min((index for index, name in enumerate(folders) if name in before), default=len(scripts))
    if last > place:
        target = last  # one less, as ours is taken out in front of it
    elif first < place:
        target = max(first, last + 1)
    else:
        return
    scripts.remove(own)
    scripts.insert(target, own)


def read_order(metadata: Path) -> tuple[list[str], list[str]]:
    """Return the folders of the extensions behind and in front of which metadata.ini puts our script."""
    parser = ConfigParser()
    try:
        parser.read(metadata, encoding="utf-8")
        lines = [parser.get("scripts", key, fallback="") for key in ("After", "Before")]
    except Error:
        return [], []
    after, before = ([name.strip().lower() for name in line.split(",") if name.strip()] for line in lines)
    return after, before
