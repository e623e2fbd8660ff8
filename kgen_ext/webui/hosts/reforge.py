"""reForge, Forge Classic and the first Forge: their memory management frees VRAM, a model is moved by hand."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kgen_ext.webui.host import Host


class ReForge(Host):
    """reForge (3b56b26) and Forge Classic (1f95d71)."""

    manager_name = "ldm_patched.modules.model_management"

    @property
    def manager(self) -> Any:
        """Return the host's memory management."""
        return self.module(self.manager_name)

    def low_vram(self) -> bool:
        """Return whether the host saves VRAM: its own options decide, --lowvram and --medvram have no effect."""
        return getattr(self.manager.vram_state, "name", "") in ("NO_VRAM", "LOW_VRAM")

    @contextmanager
    def reserve(self, needed: int) -> Iterator[bool]:
        """Have the host unload what it takes to free the VRAM; it loads its models again when it needs them."""
        device = self.part("modules.devices.device")
        self.manager.free_memory(needed, device)
        yield self.manager.get_free_memory(device) >= needed
