"""The demo page's guard: closed routes, limits of requests, headers; and whose limits apply to a request."""
from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from kgen_ext.demo.guard import MAX_BODY, POLICY, Guard, is_closed
from kgen_ext.demo.visitors import visitor_of


def ask(path: str = "/", *, length: bytes = b"", bodies: tuple[bytes, ...] = (b"",)) -> list[dict[str, Any]]:
    """Return the messages that answer a request; the app behind the guard reads the body and says “app”."""
    sent: list[dict[str, Any]] = []
    queue = [{"type": "http.request", "body": body, "more_body": True} for body in bodies]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        size = 0
        for _ in bodies:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            size += len(message["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"app %d" % size})

    async def receive() -> dict[str, Any]:
        return queue.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-length", length)] if length else []
    asyncio.run(Guard(app)({"type": "http", "path": path, "headers": headers}, receive, send))
    return sent


@pytest.mark.parametrize("path", [
    "/gradio_api/upload", "/gradio_api/upload_progress", "/gradio_api/deep_link", "/gradio_api/component_server/",
    "/gradio_api/run/expand", "/gradio_api/call/expand", "/gradio_api/call/v2/expand", "/gradio_api/proxy=https://x.org",
    "/gradio_api/stream/x", "/gradio_api/vibe-edit/", "/gradio_api/runs", "/monitoring", "/monitoring/summary",
    "//gradio_api//upload", "/gradio_api/dev/reload",
])  # fmt: skip
def test_a_route_that_the_page_does_not_need_is_closed(path: str) -> None:
    assert ask(path)[0]["status"] == 404


@pytest.mark.parametrize("path", [
    "/", "/config", "/theme.css", "/static/js/x.js", "/assets/index.js", "/gradio_api/queue/join",
    "/gradio_api/queue/data", "/gradio_api/cancel", "/gradio_api/heartbeat/abc", "/gradio_api/file=/tmp/x.png",
    "/login", "/gradio_api/info", "/gradio_api/startup-events",
])  # fmt: skip
def test_a_route_that_the_page_needs_is_open(path: str) -> None:
    assert not is_closed(path)


def test_every_answer_has_the_policy() -> None:
    assert (b"content-security-policy", POLICY.encode()) in ask()[0]["headers"]


def test_the_policy_names_no_other_machine() -> None:
    assert "http" not in POLICY and "*" not in POLICY


def test_a_body_that_is_announced_too_long_is_refused() -> None:
    assert ask(length=str(MAX_BODY + 1).encode())[0]["status"] == 413


@pytest.mark.parametrize("length", [b"x", b"-1", b"9" * 400])
def test_a_length_that_is_none_is_refused(length: bytes) -> None:
    assert ask(length=length)[0]["status"] == 413


def test_a_body_that_grows_too_long_is_cut_off() -> None:
    half = b"x" * (MAX_BODY // 2 + 1)
    assert ask(bodies=(half, half)) == []


def test_a_body_in_parts_arrives() -> None:
    assert ask(bodies=(b"ab", b"c"))[1]["body"] == b"app 3"


def request(host: str, *, session: str = "s", user: str | None = None) -> SimpleNamespace:
    return SimpleNamespace(username=user, session_hash=session, client=SimpleNamespace(host=host))


@pytest.mark.parametrize("request_, visitor", [
    (request("127.0.0.1"), "page s"), (request("::1"), "page s"), (request("10.1.2.3"), "address 10.1.2.3"),
    (request("10.1.2.3", user="ann"), "user ann"), (request("127.0.0.1", user="ann"), "user ann"),
    (SimpleNamespace(username=None, session_hash="s", client=None), "page s"),
])  # fmt: skip
def test_limits_are_those_of_a_user_a_machine_or_a_page(request_: Any, visitor: str) -> None:
    assert visitor_of(request_) == visitor
