"""A hub with one small model, and helpers that download from it."""
from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hub_server import FakeHub, running_hub

from kgen_ext.models.download import plan_download, run_download
from kgen_ext.models.hub import Hub
from kgen_ext.models.progress import DownloadProgress
from kgen_ext.models.schema import Model, ModelFile

REPO = "Owner/Tiny"
WEIGHTS = struct.pack("<4sIQQ", b"GGUF", 3, 0, 0) + random.Random(5).randbytes(700_000)
FILE = ModelFile("Tiny-F16.gguf", "gguf", "F16")
MODEL = Model("Tiny", "tipo", (FILE,), repo=REPO)


@contextmanager
def tiny_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """Run a hub with the model, in an environment that names no hub and sets no proxy for the loopback address."""
    for name in ("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "KGEN_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("kgen_ext.models.hub.CHUNK", 1 << 14)
    with running_hub() as running:
        running.add(REPO, "Tiny-F16.gguf", WEIGHTS)
        yield running


def client(hub: FakeHub, *, token: str | None = None, timeout: float = 5.0) -> Hub:
    return Hub(endpoint=hub.endpoint, token=token, timeout=timeout)


def get(
    hub: FakeHub, to: Path, *, model: Model = MODEL, timeout: float = 5.0, token: str | None = None
) -> list[DownloadProgress]:
    """Download the model's first file without waiting between tries; return the steps."""
    use = client(hub, token=token, timeout=timeout)
    order = plan_download(model, model.files[0], to=to, hub=use)
    return list(run_download(order, to=to, hub=use, sleep=lambda _: None))


def download(
    model: Model, *, to: Path, hub: Hub, on_progress: Callable[[DownloadProgress], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Path:  # fmt: skip
    """Download the model's first file; return where it is."""
    order = plan_download(model, model.files[0], to=to, hub=hub)
    for step in run_download(order, to=to, hub=hub, cancelled=cancelled):
        on_progress(step)
    return order.target


def final_names(folder: Path) -> list[str]:
    """Return the files of the folder that have a final name."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")
                  if path.is_file() and ".downloads" not in path.parts)  # fmt: skip


def parts(folder: Path) -> list[Path]:
    return sorted((folder / ".downloads").glob("*.part"))
