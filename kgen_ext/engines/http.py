"""HTTP to one server: a checked address, and calls whose limits of time and size hold for the whole answer.

http.client of the standard library does what is needed and nothing more: it follows no redirect, asks no proxy and
reads no environment, so that the only address ever called is the one that was named. Its timeouts hold for a single
read; a server that sends a byte a second, of its headers or of the body, would never meet them. So the reader under it
(`_Reader`) wakes up every tenth of a second and calls the caller's `check`, which raises what ends the call: the time
is up, the user has left.
"""
from __future__ import annotations

import base64
import io
import json
import selectors
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection, IncompleteRead
from typing import Any, cast
from urllib.parse import unquote, urlsplit

_TICK = 0.1  # seconds
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Address:
    """Address of a server. `str()` shows it without `authorization`, the header."""

    scheme: str
    host: str
    port: int
    path: str = ""
    authorization: str = field(default="", repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


def split_address(url: str) -> Address:
    """Read `http[s]://[user[:password]@]host[:port][/path]`; raises ValueError for anything else."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise ValueError("letters that no address has")
    parts = urlsplit(url)
    host, port = parts.hostname, parts.port
    (host or "").encode("idna")
    # A password with a raw / ? or # ends up in the parts behind the host.
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or "@" in parts.path:
        raise ValueError("another form")
    authorization = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode("ascii")
    standard = 443 if parts.scheme == "https" else 80
    return Address(parts.scheme, host, standard if port is None else port, parts.path.rstrip("/"), authorization)


def without_login(url: str) -> str:
    """Return an address as it may be shown.

    >>> without_login("http://ann:p@ss@host"), without_login("http://host")
    ('***@host', 'http://host')
    """
    return "***@" + url.rpartition("@")[2] if "@" in url else url


def connect(address: Address, seconds: float) -> HTTPConnection:
    """Return a connection to a server. Raises OSError."""
    kind = HTTPSConnection if address.scheme == "https" else HTTPConnection
    connection = kind(address.host, address.port, timeout=seconds)
    connection.connect()
    return connection


def is_dropped(connection: HTTPConnection) -> bool:
    """Return whether the server has closed a connection that nobody uses, or sent what nobody asked for."""
    return connection.sock is None or _readable(connection.sock, 0)


class TooLong(Exception):
    """An answer has more bytes than it may."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. kind: its media type. last: whether the server closes the connection."""

    status: int
    kind: str
    data: bytes
    last: bool


class Call:
    """A request on its way; the connection is the caller's, who closes it. Raises OSError, HTTPException, TooLong.

    check: called every tenth of a second while the answer is waited for and read, to raise what ends that.
    """

    def __init__(
        self, connection: HTTPConnection, address: Address, method: str, path: str, body: object = None, *,
        headers: Mapping[str, str], seconds: float, check: Callable[[], None],
    ) -> None:  # fmt: skip
        """Send the request, with `body` as JSON. seconds: for the server to take it."""
        self._connection, self._check = connection, check
        sent, data = dict(headers), None
        if address.authorization:
            sent["Authorization"] = address.authorization
        if body is not None:
            data, sent["Content-Type"] = json.dumps(body).encode("ascii"), "application/json"
        connection.sock.settimeout(seconds)
        connection.request(method, address.path + path, data, sent)
        connection.sock.settimeout(_TICK)

        def respond(sock: socket.socket, *args: Any, **options: Any) -> HTTPResponse:
            return HTTPResponse(cast(socket.socket, _Readable(sock, check)), *args, **options)

        connection.response_class = respond  # type: ignore[assignment]  # which http.client only calls

    def ready(self, seconds: float) -> bool:
        """Wait for the first byte of the answer, at most so long."""
        for _ in range(max(1, round(seconds / _TICK))):
            self._check()
            if _readable(self._connection.sock, _TICK):
                return True
        return False

    def read(self, limit: int) -> Answer:
        """Return the whole answer. limit: bytes that it may have."""
        with self._connection.getresponse() as response:
            data, last = bytearray(), response.will_close
            while len(data) <= limit and (response.length or 0) <= limit:
                chunk = response.read1(_CHUNK)
                if not chunk:
                    if response.length:  # http.client does not tell a short body from a whole one
                        raise IncompleteRead(bytes(data), response.length)
                    return Answer(response.status, response.headers.get_content_type().lower(), bytes(data), last)
                data += chunk
        raise TooLong


class _Readable:
    """As much of a socket as http.client's response asks of one."""

    def __init__(self, sock: socket.socket, check: Callable[[], None]) -> None:
        self._sock, self._check = sock, check

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._sock, self._check))


class _Reader(io.RawIOBase):
    """Bytes of a socket, with a call of `check` every tenth of a second."""

    def __init__(self, sock: socket.socket, check: Callable[[], None]) -> None:
        super().__init__()
        self._sock, self._check = sock, check
        self._held = sock.makefile("rb", buffering=0)  # http.client closes its connection before the last byte is read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            self._check()
            try:
                return self._sock.recv_into(buffer)
            except TimeoutError:
                continue

    def close(self) -> None:
        self._held.close()
        super().close()


def _readable(sock: socket.socket, seconds: float) -> bool:
    """Return whether there is something to read, after waiting at most so long."""
    with selectors.DefaultSelector() as selector:  # select() itself knows no file number above 1023
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(seconds))
