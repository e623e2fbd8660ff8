"""AUTOMATIC1111, and every host that is not known: with too little free VRAM the checkpoint waits in RAM."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kgen_ext.webui.host import Host


class A1111(Host):
    """AUTOMATIC1111 1.10.1 (82a973c)."""

    @contextmanager
    def reserve(self, needed: int) -> Iterator[bool]:
        """Send the checkpoint to RAM with --lowvram, --medvram or too little free VRAM, and put it back afterwards."""
        free = self.free_vram()
        # Not shared.sd_model: reading that loads a model.
        checkpoint = getattr(self.part("modules.sd_models.model_data"), "sd_model", None)
        if checkpoint is None or not (self.low_vram() or (free is not None and free < needed)):
            yield True
            return
        send_to_cpu = self.part("modules.sd_models.send_model_to_cpu")
        send_to_device = self.part("modules.sd_models.send_model_to_device")
        if send_to_cpu is None or send_to_device is None:
            yield True
            return
        send_to_cpu(checkpoint)
        try:
            free = self.free_vram()
            yield free is None or free >= needed
        finally:
            self.collect()
            send_to_device(checkpoint)
