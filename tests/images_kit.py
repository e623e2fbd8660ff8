"""Helpers of the tests of the demo page's pictures."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from image_server import FakeImageServer

from kgen_ext.demo.images import ImageServer, Picture, PictureSettings, draw_pair, open_server

RAW = "1girl,  (fox ears:1.2), shrine"  # two blanks and a weight: bytes that must arrive
EXPANDED = RAW + ", solo, smile, outdoors"
SETTINGS = PictureSettings(seed=7, steps=2, width=64, height=64)


def open_fake(fake: FakeImageServer, **options: Any) -> ImageServer:
    return open_server(fake.url, **{"seconds": 20.0, **options})


def steps(
    server: ImageServer, *, raw: str = RAW, expanded: str = EXPANDED, settings: PictureSettings = SETTINGS,
    cancelled: Callable[[], bool] = lambda: False,
) -> list[Any]:  # fmt: skip
    return list(draw_pair(server, raw, expanded, settings, cancelled=cancelled))


def draw(server: ImageServer, prompt: str = RAW, settings: PictureSettings = SETTINGS) -> Picture:
    """Return the picture of one prompt."""
    last = list(server.draw(prompt, settings, cancelled=lambda: False))[-1]
    assert isinstance(last, Picture)
    return last


def error_of(call: Callable[[], object], kind: type[Exception]) -> str:
    """Return the message of the error that a call raises."""
    with pytest.raises(kind) as raised:
        call()
    return str(raised.value)
