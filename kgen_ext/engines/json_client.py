"""JSON over HTTP with one server: no proxy, no redirect, no retry, and limits of size and time.

A connection is kept and used again. One that the server has closed in the meantime is replaced before anything is sent.
"""
from __future__ import annotations

import json
import selectors
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from kgen_ext.errors import BadValue, EngineError, UserError

# The environment variable that holds the server's API key.
KEY_VARIABLE = "KGEN_SERVER_KEY"
# Seconds that the server may take for each part of an answer, and for an answer as a whole.
TIMEOUT = 60.0
# Bytes of an answer, where the request allows no more.
LIMIT = 1 << 20
_CHUNK = 1 << 16
_SHOWN = 200  # characters of a server's own words
_FORM = "http://HOST:PORT or https://HOST:PORT"
_REACH = "start the server, or correct --url"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is; `prefix` is the path before those of its API. `url` is for messages."""

    secure: bool
    host: str
    port: int | None
    prefix: str
    url: str


def parse_address(url: str) -> Address:
    """Return the parts of a URL; one that ends in /v1, as OpenAI clients want it, means the same. Raises BadValue."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise BadValue("url", url, _FORM) from None
    if parts.username is not None or parts.password is not None:  # which must not be shown
        raise BadValue("url", f"{parts.scheme}://...@{host}", f"{_FORM}, with the key in {KEY_VARIABLE}")
    plain = url.isascii() and url.isprintable() and " " not in url
    if not plain or parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise BadValue("url", url, _FORM)
    prefix = parts.path.rstrip("/").removesuffix("/v1")
    return Address(parts.scheme == "https", host, port, prefix, url)


class JsonClient:
    """Requests to one server. Several threads may use it.

    key: sent to this server as a bearer token, and never shown. Every failure is an EngineError that names the URL.
    """

    def __init__(
        self, url: str, *, key: str = "", timeout: float = TIMEOUT, clock: Callable[[], float] = monotonic
    ) -> None:
        self._address = parse_address(url)
        if not (key.isascii() and key.isprintable()):
            raise UserError(f"{KEY_VARIABLE}: the key has characters that no key has", hint="set it again")
        self._key = key
        self._timeout = timeout
        self._clock = clock
        self._lock = threading.Lock()
        self._idle = list[HTTPConnection]()
        self._busy = set[HTTPConnection]()
        self._closed = False

    @property
    def url(self) -> str:
        """Return the address, for messages."""
        return self._address.url

    def get(self, path: str) -> Any:
        """Return what the server answers to a GET."""
        return self._exchange("GET", path, None, LIMIT)

    def post(self, path: str, body: Any, *, limit: int = LIMIT, missing: Any = None) -> Any:
        """Return what the server answers to a POST of JSON.

        limit: bytes that the answer may have. missing: what is returned where the server has no such path; None for an
        error.
        """
        return self._exchange("POST", path, json.dumps(body).encode(), limit, missing)

    def fails(self, what: str, *, hint: str = "") -> EngineError:
        """Return an error of this server, to be raised."""
        return EngineError(f"{self.url}: {what}", hint=hint)

    def close(self) -> None:
        """Close all connections, those that wait for an answer too. May be called twice."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            busy = list(self._busy)
        for connection in idle:
            connection.close()
        for connection in busy:
            if connection.sock is not None:
                with suppress(OSError):  # it has gone by itself
                    connection.sock.shutdown(socket.SHUT_RDWR)

    def _exchange(self, method: str, path: str, body: bytes | None, limit: int, missing: Any = None) -> Any:
        began = self._clock()
        connection = self._take()
        try:
            headers = {"Accept": "application/json", "Content-Type": "application/json"}
            if self._key:
                headers["Authorization"] = f"Bearer {self._key}"
            connection.request(method, self._address.prefix + path, body=body, headers=headers)
            response = connection.getresponse()
            data = self._read(response, limit, began)
        except TimeoutError:
            self._drop(connection)
            raise self.fails(f"no answer within {self._timeout:g} s", hint="is the server overloaded?") from None
        except (OSError, HTTPException) as error:
            self._drop(connection)
            raise self.fails(f"cannot be reached: {_words(error)}", hint=_REACH) from error
        except BaseException:
            self._drop(connection)
            raise
        self._put_back(connection, response)
        if response.status == 404 and missing is not None:
            return missing
        return self._decode(response, data, path)

    def _take(self) -> HTTPConnection:
        with self._lock:
            if self._closed:
                raise self.fails("the engine is closed", hint="load it again")
            connection = self._idle.pop() if self._idle else None
            if connection is not None and _is_dropped(connection):
                connection.close()
                connection = None
            if connection is None:
                kind = HTTPSConnection if self._address.secure else HTTPConnection
                connection = kind(self._address.host, self._address.port, timeout=self._timeout)
            self._busy.add(connection)
            return connection

    def _drop(self, connection: HTTPConnection) -> None:
        with self._lock:
            self._busy.discard(connection)
        connection.close()

    def _put_back(self, connection: HTTPConnection, response: HTTPResponse) -> None:
        ends = response.will_close
        response.close()
        with self._lock:
            self._busy.discard(connection)
            if not ends and not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def _read(self, response: HTTPResponse, limit: int, began: float) -> bytes:
        """Return the body. Raises EngineError for one that is too long, TimeoutError for one that takes too long."""
        data = bytearray()
        while len(data) <= limit and (response.length or 0) <= limit:
            chunk = response.read1(_CHUNK)
            if not chunk:
                if response.length:
                    raise HTTPException("the answer was cut off")
                return bytes(data)
            data += chunk
            if self._clock() - began > self._timeout:
                raise TimeoutError
        raise self.fails(f"an answer of more than {limit:,} bytes")

    def _decode(self, response: HTTPResponse, data: bytes, path: str) -> Any:
        status = response.status
        if 300 <= status < 400:
            raise self.fails("redirects to another address", hint="redirects are not followed: give that address")
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            value = None
            if status == 200:
                kind = self._clean(response.headers.get_content_type())
                raise self.fails(f"answers {path} with {kind} that is no JSON", hint=_REACH) from None
        if status in (401, 403):
            asked = "refuses the key" if self._key else "asks for a key"
            raise self.fails(f"{asked} ({status})", hint=f"set {KEY_VARIABLE} to the server's API key")
        if status != 200:
            words = self._clean(_message(value))
            raise self.fails(f"answers {path} with {status}{words and f': {words}'}")
        return value

    def _clean(self, text: str) -> str:
        """Return a server's words for a message: one line without control characters, and without the key."""
        text = text.replace(self._key, "***") if self._key else text
        return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:_SHOWN]


def _is_dropped(connection: HTTPConnection) -> bool:
    """Return whether the server has closed an idle connection, or sent what nobody asked for."""
    if connection.sock is None:
        return True
    with selectors.DefaultSelector() as selector:
        selector.register(connection.sock, selectors.EVENT_READ)
        return bool(selector.select(0))


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _message(value: Any) -> str:
    """Return the words of an error: {"error": {"message": ...}}, {"message": ...}, {"detail": ...} or a text."""
    if isinstance(value, dict):
        for name in ("error", "message", "detail"):
            if value.get(name):
                return _message(value[name])
    return value if isinstance(value, str) else ""
