"""JSON over HTTP with one server: no proxy, no redirect, no retry, and limits of size and time.

A connection is kept and used again. One that the server has closed in the meantime is replaced before anything is sent.
"""
from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from http.client import HTTPConnection, HTTPException
from time import monotonic
from typing import Any

from kgen_ext.engines.http import Address, Answer, Call, TooLong, connect, is_dropped, split_address, without_login
from kgen_ext.errors import BadValue, EngineError, UserError

# The environment variable that holds the server's API key.
KEY_VARIABLE = "KGEN_SERVER_KEY"
# Seconds that the server may take to be reached, and for an answer as a whole.
TIMEOUT = 60.0
# Bytes of an answer, where the request allows no more.
LIMIT = 1 << 20
_SHOWN = 200  # characters of a server's own words
_FORM = "http://HOST:PORT or https://HOST:PORT"
_REACH = "start the server, or correct --url"


def parse_address(url: str) -> Address:
    """Return the address in a URL; one that ends in /v1, as OpenAI clients want it, means the same. Raises BadValue."""
    try:
        address = split_address(url)
    except ValueError:
        raise BadValue("url", without_login(url), _FORM) from None
    if address.authorization:
        raise BadValue("url", without_login(url), f"{_FORM}, with the key in {KEY_VARIABLE}")
    return replace(address, path=address.path.removesuffix("/v1"))


class JsonClient:
    """Requests to one server. Several threads may use it.

    key: sent to this server as a bearer token, and never shown. Every failure is an EngineError that names the URL.
    """

    def __init__(
        self, url: str, *, key: str = "", timeout: float = TIMEOUT, clock: Callable[[], float] = monotonic
    ) -> None:
        if not (key.isascii() and key.isprintable()):
            raise UserError(f"{KEY_VARIABLE}: the key has characters that no key has", hint="set it again")
        self._address = replace(parse_address(url), authorization=key and f"Bearer {key}")
        self._key = key
        self._timeout = timeout
        self._clock = clock
        self._lock = threading.Lock()
        self._idle = list[HTTPConnection]()
        self._closed = False

    @property
    def url(self) -> str:
        """Return the address, for messages."""
        return str(self._address)

    def get(self, path: str) -> Any:
        """Return what the server answers to a GET."""
        return self._exchange("GET", path, None, LIMIT)

    def post(self, path: str, body: Any, *, limit: int = LIMIT, missing: Any = None) -> Any:
        """Return what the server answers to a POST of JSON.

        limit: bytes that the answer may have. missing: what is returned where the server has no such path; None for an
        error.
        """
        return self._exchange("POST", path, body, limit, missing)

    def fails(self, what: str, *, hint: str = "") -> EngineError:
        """Return an error of this server, to be raised."""
        return EngineError(f"{self.url}: {what}", hint=hint)

    def close(self) -> None:
        """Close all connections. A call that waits for an answer ends soon. May be called twice."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _exchange(self, method: str, path: str, body: Any, limit: int, missing: Any = None) -> Any:
        try:
            answer = self._call(method, path, body, limit)
        except TimeoutError:
            raise self.fails(f"no answer within {self._timeout:g} s", hint="is the server overloaded?") from None
        except TooLong:
            raise self.fails(f"an answer of more than {limit:,} bytes") from None
        except (OSError, HTTPException) as error:
            raise self.fails(f"cannot be reached: {_words(error)}", hint=_REACH) from error
        if answer.status == 404 and missing is not None:
            return missing
        return self._decode(answer, path)

    def _call(self, method: str, path: str, body: Any, limit: int) -> Answer:
        end = self._clock() + self._timeout

        def check() -> None:
            if self._closed:
                raise self._is_closed()
            if self._clock() > end:
                raise TimeoutError

        connection = self._take()
        try:
            call = Call(connection, self._address, method, path, body, headers={"Accept": "application/json"},
                        seconds=self._timeout, check=check)  # fmt: skip
            answer = call.read(limit)
        except BaseException:
            connection.close()
            raise
        self._put_back(connection, answer)
        return answer

    def _take(self) -> HTTPConnection:
        with self._lock:
            if self._closed:
                raise self._is_closed()
            kept = self._idle.pop() if self._idle else None
        if kept is not None and not is_dropped(kept):
            return kept
        if kept is not None:
            kept.close()
        return connect(self._address, self._timeout)

    def _put_back(self, connection: HTTPConnection, answer: Answer) -> None:
        with self._lock:
            if not answer.last and not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def _is_closed(self) -> EngineError:
        return self.fails("the engine is closed", hint="load it again")

    def _decode(self, answer: Answer, path: str) -> Any:
        status = answer.status
        if 300 <= status < 400:
            raise self.fails("redirects to another address", hint="redirects are not followed: give that address")
        try:
            value = json.loads(answer.data)
        except (ValueError, RecursionError):
            value = None
            if status == 200:
                kind = self._clean(answer.kind)
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


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _message(value: Any) -> str:
    """Return the words of an error: {"error": {"message": ...}}, {"message": ...}, {"detail": ...} or a text."""
    if isinstance(value, dict):
        for name in ("error", "message", "detail"):
            if value.get(name):
                return _message(value[name])
    return value if isinstance(value, str) else ""
