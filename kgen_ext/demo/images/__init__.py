"""Text-to-image for the demo page: servers found or named at start, and a prompt and its expansion as a pair.

Only addresses that the owner named, or that were found on the loopback address at start, are ever called. Everything
here blocks, and may be called from several threads at once.
"""
from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from kgen_ext.demo.images.comfy import ComfyUI
from kgen_ext.demo.images.diffusers import Diffusers
from kgen_ext.demo.images.http import Client, parse_address
from kgen_ext.demo.images.png import pair_png
from kgen_ext.demo.images.values import (
    BadAnswer,
    BadPicture,
    ImageError,
    ImageServer,
    Pair,
    Picture,
    PictureSettings,
    Progress,
    ServerGone,
    ServerTimeout,
    check_prompt,
)
from kgen_ext.demo.images.webui import WebUI
from kgen_ext.engines.http import Address
from kgen_ext.errors import BadValue

__all__ = [
    "BadAnswer", "BadPicture", "ImageError", "ImageServer", "Pair", "PairStep", "Picture", "PictureSettings",
    "Progress", "ServerGone", "ServerTimeout", "draw_pair", "find_servers", "open_diffusers", "open_server",
    "pair_png",
]  # fmt: skip

PairStep = Progress | Picture | Pair

# Where WebUIs (the first and its neighbours) and ComfyUI (and its desktop program) listen unless told otherwise.
PORTS = (7860, 7861, 7862, 7863, 8188, 8000)
LIMIT = 600.0  # seconds for a picture: on a CPU it takes minutes
_LOOK = 3.0  # seconds for a server to answer when looked for


def open_server(address: str, *, checkpoint: str = "", seconds: float = LIMIT) -> ImageServer:
    """Return the server at an address, after asking it whether it is a WebUI or ComfyUI.

    checkpoint: for ComfyUI, "" for its first. seconds: limit for a picture. Raises BadValue or ImageError.
    """
    return _open(Client(parse_address(address)), checkpoint, seconds)


def find_servers(
    *, skip: Collection[int] = (), seconds: float = LIMIT, ports: Collection[int] = PORTS
) -> list[ImageServer]:
    """Return the servers that answer on 127.0.0.1, in the order of the ports. skip: ports to leave alone."""
    wanted = [port for port in ports if port not in skip]

    def look(port: int) -> ImageServer | None:
        try:
            return _open(Client(Address("http", "127.0.0.1", port), _LOOK), "", seconds)
        except (ImageError, BadValue):
            return None

    with ThreadPoolExecutor(max(1, len(wanted))) as pool:
        return [server for server in pool.map(look, wanted) if server is not None]


def open_diffusers(folder: Path) -> ImageServer:
    """Return a model in a folder, which is loaded at the first picture; raises ImageError."""
    return Diffusers(folder)


def _open(client: Client, checkpoint: str, seconds: float) -> ImageServer:
    try:
        return WebUI.open(client, seconds=seconds)
    except BadAnswer as error:
        if error.status not in (200, 404, 405):
            raise
    try:
        return ComfyUI.open(client, checkpoint=checkpoint, seconds=seconds)
    except BadAnswer as error:
        if error.status not in (404, 405):
            raise
    raise BadAnswer(
        f"{client}: neither the API of a WebUI nor ComfyUI answers there",
        hint="start the WebUI with --api, or check the address",
    )


def draw_pair(
    server: ImageServer, raw: str, expanded: str, settings: PictureSettings, *,
    cancelled: Callable[[], bool] = lambda: False,
) -> Generator[PairStep, None, None]:  # fmt: skip
    """Draw both prompts from the same seed: yield progress, the first picture, progress, the second, the pair.

    Equal prompts are drawn once. Raises ImageError, Cancelled or BadValue; closing the generator cancels.
    """
    check_prompt("prompt", raw)
    check_prompt("prompt", expanded)
    first = yield from _draw("raw prompt", server, raw, settings, cancelled)
    if expanded == raw:
        yield first
        second = first
    else:
        second = yield from _draw("expanded prompt", server, expanded, settings, cancelled)
    yield Pair(first, second, settings, server.kind)


def _draw(
    name: str, server: ImageServer, prompt: str, settings: PictureSettings, cancelled: Callable[[], bool]
) -> Generator[Progress | Picture, None, Picture]:
    steps = server.draw(prompt, settings, cancelled=cancelled)
    with closing(steps):
        for step in steps:
            if isinstance(step, Picture):
                yield step
                return step
            yield replace(step, text=f"{name}: {step.text}")
    raise ImageError(f"{server.label}: it ended without a picture", hint="try again")
