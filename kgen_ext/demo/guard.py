"""Guard of the demo page: what gradio's server may serve, and what the page may fetch.

gradio's server has routes that this page does not need and that would let anybody write files: they are closed. A
Content-Security-Policy keeps the browser from asking any other machine for scripts, fonts or pictures.
"""
from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = "; ".join((
    "default-src 'self'",
    "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",  # gradio's page has scripts inline, and makes some
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:",
    "font-src 'self' data:",
    "connect-src 'self'",
    "worker-src 'self' blob:",
    "object-src 'none'",
    "base-uri 'self'",
    "form-action 'self'",
))  # fmt: skip
_HEADERS = (
    (b"content-security-policy", POLICY.encode("ascii")),
    (b"referrer-policy", b"no-referrer"),  # a link to a run has the prompt in it
    (b"x-content-type-options", b"nosniff"),
)
# Uploads, states kept as files, calls past the queue, calls of components, and pages of gradio's own.
_CLOSED = ("upload", "upload_progress", "deep_link", "component_server", "run", "call", "proxy=", "stream", "vibe",
           "undo-vibe", "runs", "monitoring", "dev")  # fmt: skip
_PREFIX = "/gradio_api/"
MAX_BODY = 8_000_000  # bytes of a request: the texts of a run, many times over


class Guard:
    """ASGI middleware that closes routes, limits requests and adds headers."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with one line."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if is_closed(str(scope["path"])):
            await _answer(send, 404, "This page has no such address.")
            return
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length[:20]) > MAX_BODY:
            await _answer(send, 413, f"The request is longer than {MAX_BODY // 1_000_000} MB: shorten the texts.")
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        await self._app(scope, _limited(receive), with_headers)


def is_closed(path: str) -> bool:
    """Return whether a route is closed.

    >>> is_closed("/gradio_api/upload"), is_closed("/gradio_api/queue/join"), is_closed("/")
    (True, False, False)
    """
    while "//" in path:
        path = path.replace("//", "/")
    name = path.removeprefix(_PREFIX) if path.startswith(_PREFIX) else path.removeprefix("/")
    return any(name == closed or name.startswith((closed + "/", closed + "=", closed + "-")) or
               (closed.endswith("=") and name.startswith(closed)) for closed in _CLOSED)  # fmt: skip


def _limited(receive: Receive) -> Receive:
    """Return a receiver that ends the connection of a body sent in parts that grows too long."""
    count = 0

    async def limited() -> Message:
        nonlocal count
        message = await receive()
        count += len(message.get("body", b"")) if message["type"] == "http.request" else 0
        return {"type": "http.disconnect"} if count > MAX_BODY else message

    return limited


async def _answer(send: Send, status: int, line: str) -> None:
    body = line.encode("utf-8")
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode("ascii"))]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *_HEADERS]})
    await send({"type": "http.response.body", "body": body})
