"""A Hugging Face hub on the loopback address, with a CDN and every way in which a download can fail.

It implements the part of the hub's HTTP API that a client needs for a file of a public repository:

    HEAD, GET /<owner>/<name>/resolve/<revision>/<path>
        small: 200 and the bytes, ETag = git's SHA-1; large: 302 to the CDN, X-Linked-Etag = SHA-256, X-Linked-Size
    GET /cdn/<sha256>       on another port; ranges (206, Content-Range), no authorisation wanted
    GET /api/models/<repo>  the list of files
    errors: 401 and X-Error-Code RepoNotFound, GatedRepo; 404 and EntryNotFound, RevisionNotFound
"""
from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = (".gguf", ".safetensors", ".model")
STEP = 1 << 14


@dataclass
class Faults:
    """What goes wrong. Those with `times` stop after so many requests; -1 is for ever."""

    cut_at: float = 0.0  # the CDN closes the connection after this share of what was asked
    cut_times: int = -1
    corrupt: bool = False  # one byte of the CDN's answer is another
    html: bool = False  # the CDN answers with a page, and 200
    html_at_hub: bool = False  # so does the hub itself, to everything
    short: bool = False  # the CDN's answer ends early, and says that is all
    ignore_range: bool = False
    stall: float = 0.0  # seconds of silence before the CDN's bytes
    busy_times: int = 0  # 503 from the CDN
    slow: float = 0.0  # seconds between two pieces of STEP bytes
    gated: str = ""  # the token that is let in


@dataclass
class FakeHub:
    """Files by (repository, path), the faults, and what was asked: (server, method, path, headers)."""

    files: dict[tuple[str, str], bytes] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    asked: list[tuple[str, str, str, dict[str, str]]] = field(default_factory=list)
    endpoint: str = ""
    cdn: str = ""

    def add(self, repo: str, path: str, data: bytes) -> str:
        """Put a file into a repository; return its SHA-256."""
        self.files[repo, path] = data
        return hashlib.sha256(data).hexdigest()

    def ranges(self) -> list[str]:
        """Return the Range headers that the CDN got, "" for a request without one."""
        return [headers.get("range", "") for server, method, _, headers in self.asked
                if (server, method) == ("cdn", "GET")]  # fmt: skip

    def git_sha1(self, data: bytes) -> str:
        """Return the name git gives a file."""
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@contextmanager
def running_hub() -> Iterator[FakeHub]:
    """Run a hub and its CDN on ports of their own."""
    hub = FakeHub()
    servers = [_server(hub, _HubHandler), _server(hub, _CdnHandler)]
    hub.endpoint, hub.cdn = (f"http://127.0.0.1:{server.server_address[1]}" for server in servers)
    threads = [threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is part of the tests."""


def _server(hub: FakeHub, handler: type[_Handler]) -> ThreadingHTTPServer:
    return _Quiet(("127.0.0.1", 0), type("Handler", (handler,), {"hub": hub}))


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    name = ""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        headers = {key.lower(): value for key, value in self.headers.items()}
        self.hub.asked.append((self.name, self.command, self.path, headers))
        self.answer(unquote(urlsplit(self.path).path), headers)

    def answer(self, path: str, headers: dict[str, str]) -> None:
        raise NotImplementedError

    def reply(self, status: int, headers: dict[str, str], data: bytes = b"") -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)


class _HubHandler(_Handler):
    name = "hub"

    def answer(self, path: str, headers: dict[str, str]) -> None:
        if self.hub.faults.html_at_hub:
            return self.reply(200, {"Content-Type": "text/html"}, b"<html>Please log in to this network</html>")
        owner, name, kind, *rest = path.strip("/").split("/")
        if (owner, name) == ("api", "models"):
            repo = f"{kind}/{rest[0]}"
            names = [{"rfilename": path} for held, path in self.hub.files if held == repo]
            return self.reply(200, {"Content-Type": "application/json"},
                              json.dumps({"id": repo, "sha": COMMIT, "siblings": names}).encode())  # fmt: skip
        repo, revision, file = f"{owner}/{name}", rest[0], "/".join(rest[1:])
        gate = self.hub.faults.gated
        if kind != "resolve" or not any(held == repo for held, _ in self.hub.files):
            return self.error(401, "RepoNotFound", "Invalid username or password.")
        if gate and headers.get("authorization") != f"Bearer {gate}":
            return self.error(401, "GatedRepo", f"Access to model {repo} is restricted.")
        if revision not in ("main", COMMIT):
            return self.error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        data = self.hub.files.get((repo, file))
        if data is None:
            return self.error(404, "EntryNotFound", "Entry not found")
        common = {"X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if not file.endswith(LARGE):
            return self.reply(200, {**common, "ETag": f'"{self.hub.git_sha1(data)}"'}, data)
        sha = hashlib.sha256(data).hexdigest()
        linked = {"X-Linked-Etag": f'"{sha}"', "X-Linked-Size": str(len(data)), "ETag": f'"{sha}"'}
        self.reply(302, {**common, **linked, "Location": f"{self.hub.cdn}/cdn/{sha}?signature=x"})

    def error(self, status: int, code: str, message: str) -> None:
        self.reply(status, {"X-Error-Code": code, "X-Error-Message": message})


class _CdnHandler(_Handler):
    name = "cdn"

    def answer(self, path: str, headers: dict[str, str]) -> None:
        faults = self.hub.faults
        sha = path.rpartition("/")[2]
        data = next(content for content in self.hub.files.values() if hashlib.sha256(content).hexdigest() == sha)
        if faults.html:
            return self.reply(200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>Blocked by policy</html>")
        if faults.busy_times:
            faults.busy_times -= 1
            return self.reply(503, {})
        if faults.stall:
            time.sleep(faults.stall)
        asked = headers.get("range", "")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and not faults.ignore_range else 0
        if start >= len(data):
            return self.reply(416, {"Content-Range": f"bytes */{len(data)}"})
        rest = data[start:]
        if faults.corrupt:
            rest = rest[:-1] + bytes([rest[-1] ^ 1])
        if faults.short:
            rest = rest[: len(rest) // 2]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if faults.cut_at and faults.cut_times:
            faults.cut_times -= 1
            rest = rest[: int(len(data) * faults.cut_at)]
        for at in range(0, len(rest), STEP):
            self.wfile.write(rest[at : at + STEP])
            time.sleep(faults.slow)
