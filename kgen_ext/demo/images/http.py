"""Calls of one image server that obey a time limit, a size limit and the user, and say in words what went wrong."""
from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from typing import cast
from urllib.parse import quote

from kgen_ext.demo.images.values import BadAnswer, ServerGone, ServerTimeout
from kgen_ext.engines import http
from kgen_ext.engines.http import Address
from kgen_ext.errors import BadValue, Cancelled

MAX_ANSWER = 48 << 20  # bytes: a picture of 32 MiB in base64, and its texts
CONNECT = 5.0  # seconds
SHORT = 10.0  # seconds for a call that draws nothing
_ADDRESS = "an address such as http://127.0.0.1:7860 or http://user:password@host:8188, in a password %40 for @"
_AGAIN = "look at its console, then try again"


def parse_address(text: str) -> Address:
    """Read an address, http:// where it names no scheme; raises BadValue, which shows no password."""
    text = text.strip()
    try:
        return http.split_address(text if "://" in text else f"http://{text}")
    except ValueError:
        raise BadValue("images", http.without_login(text), _ADDRESS) from None


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Client:
    """Client of one server. patience: seconds for a call that draws nothing."""

    address: Address
    patience: float = SHORT

    def __str__(self) -> str:
        return str(self.address)

    def get(self, path: str, *, seconds: float | None = None, cancelled: Callable[[], bool] = _never) -> object:
        """Return the JSON at a path; raises ImageError."""
        return self._json("GET", path, None, seconds, cancelled)

    def post(
        self, path: str, body: object, *, seconds: float | None = None, cancelled: Callable[[], bool] = _never
    ) -> object:
        """Send JSON and return the JSON answered, None for an empty answer; raises ImageError."""
        return self._json("POST", path, body, seconds, cancelled)

    def download(self, path: str, *, cancelled: Callable[[], bool] = _never) -> bytes:
        """Return the bytes at a path; raises ImageError."""
        with self.start("GET", path, seconds=self.patience, cancelled=cancelled) as call:
            return call.read().data

    def start(
        self, method: str, path: str, body: object = None, *, seconds: float, cancelled: Callable[[], bool]
    ) -> Call:
        """Send a request and return the call, whose answer may take long."""
        return Call(self.address, method, path, body, seconds=seconds, cancelled=cancelled)

    def _json(
        self, method: str, path: str, body: object, seconds: float | None, cancelled: Callable[[], bool]
    ) -> object:
        with self.start(method, path, body, seconds=seconds or self.patience, cancelled=cancelled) as call:
            return call.read().json()


class Call:
    """A request on its way. Raises ServerGone, ServerTimeout, BadAnswer, and Cancelled once `cancelled()` is true."""

    def __init__(
        self, address: Address, method: str, path: str, body: object, *, seconds: float, cancelled: Callable[[], bool]
    ) -> None:
        self._address, self._path = address, path.partition("?")[0]
        self._seconds, self._until, self._cancelled = seconds, time.monotonic() + seconds, cancelled
        with self._mapped("cannot connect"):
            self._connection = http.connect(address, min(CONNECT, seconds))
        headers = {"Accept": "application/json, image/png, image/jpeg", "Connection": "close"}
        try:
            with self._mapped("it does not take the request"):
                self._call = http.Call(self._connection, address, method, path, body, headers=headers,
                                       seconds=min(CONNECT, seconds), check=self._check)  # fmt: skip
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Call:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the server may go on."""
        self._connection.close()

    def ready(self, seconds: float) -> bool:
        """Wait for the first byte of the answer, at most so long."""
        with self._mapped("the connection broke"):
            return self._call.ready(seconds)

    def read(self) -> Answer:
        """Return the whole answer, if its status says success."""
        with self._mapped("the connection broke before the answer was complete"):
            found = self._call.read(MAX_ANSWER)
        answer = Answer(self._address, self._path, found.status, found.kind, found.data)
        if not 200 <= found.status < 300:
            raise _refusal(answer, bool(self._address.authorization))
        return answer

    def _check(self) -> None:
        if self._cancelled():
            raise Cancelled("the picture was cancelled")
        if time.monotonic() > self._until:
            raise ServerTimeout(
                f"{self._address}: no complete answer within {self._seconds:.3g} s",
                hint="it may hang or be busy: " + _AGAIN + ", with fewer steps or a smaller picture",
            )

    @contextmanager
    def _mapped(self, what: str) -> Iterator[None]:
        try:
            yield
        except http.TooLong as error:
            raise BadAnswer(
                f"{self._address}: the answer is larger than {MAX_ANSWER >> 20} MiB", hint="ask for a smaller picture"
            ) from error
        except ssl.SSLError as error:
            raise ServerGone(
                f"{self._address}: no secure connection: {one_line(error.reason or error)}",
                hint="check the certificate, or whether the address begins with http",
            ) from error
        except TimeoutError as error:
            raise ServerTimeout(f"{self._address}: {what} within {CONNECT:g} s", hint="is it running?") from error
        except RemoteDisconnected as error:
            raise ServerGone(f"{self._address}: it closed the connection without an answer", hint=_AGAIN) from error
        except IncompleteRead as error:
            raise ServerGone(f"{self._address}: it closed the connection midway", hint=_AGAIN) from error
        except (HTTPException, ValueError) as error:
            raise BadAnswer(
                f"{self._address}: what answers there does not speak HTTP", hint="check the port of the address"
            ) from error
        except OSError as error:
            reason = one_line(error.strerror or error)
            hint = "start the server, or check the address" if what == "cannot connect" else _AGAIN
            raise ServerGone(f"{self._address}: {what}: {reason}", hint=hint) from error


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer of a server. kind: its media type."""

    address: Address
    path: str
    status: int
    kind: str
    data: bytes

    def json(self) -> object:
        """Return the JSON in it, None where it is empty; raises BadAnswer."""
        if not self.data:
            return None
        if self.is_page:
            raise BadAnswer(
                f"{self.address}: it answered {self.path} with a web page",
                hint="is that the address of a WebUI or ComfyUI? A login page or a proxy may stand between",
            )
        try:
            return cast(object, json.loads(self.data))
        except (ValueError, RecursionError) as error:
            raise BadAnswer(f"{self.address}: its answer to {self.path} is no JSON", hint=_AGAIN) from error

    @property
    def is_page(self) -> bool:
        """Return whether it is a web page."""
        return "html" in self.kind or self.data[:64].lstrip().lower().startswith((b"<!doctype", b"<html"))


def other_shape(client: Client, path: str) -> BadAnswer:
    """Return the error for JSON that is not what this version of KGen knows."""
    return BadAnswer(
        f"{client}: its answer to {path} has an unknown form",
        hint="check that it is a WebUI or ComfyUI, and its version",
    )


def _refusal(answer: Answer, with_password: bool) -> BadAnswer:
    """Return the error for an answer that does not say success."""
    where, status = str(answer.address), answer.status
    if 300 <= status < 400:
        text, hint = f"it sends to another address ({status})", "redirects are not followed: name that address itself"
    elif status == 401 or (status == 403 and not with_password):
        if with_password:
            text, hint = f"it refuses this user and password ({status})", "check both; special characters as %40"
        else:
            text, hint = f"it asks for a password ({status})", "name it as http://user:password@host:port"
    elif status == 404:
        text, hint = f"it has no {answer.path} (404)", "start the WebUI with --api, or check the address"
    elif status == 429:
        text, hint = "it is asked too often (429)", "wait a minute, then try again"
    else:
        said = _said(answer)
        text, hint = f"it answered {status}" + (f": {said}" if said else ""), _AGAIN
    return BadAnswer(f"{where}: {text}", hint=hint, status=status)


def _said(answer: Answer) -> str:
    """Return the server's own words for an error, "" where there are none that can be shown."""
    try:
        found = answer.json()
    except BadAnswer:
        return ""
    if not isinstance(found, dict):
        return ""
    said = [_message(found.get(key)) for key in ("error", "errors", "detail", "message")]
    for node in _values(found.get("node_errors")):  # ComfyUI: which input of which node it does not take
        if isinstance(node, dict) and isinstance(node.get("errors"), list):
            said += map(_message, node["errors"])
    return one_line("; ".join(dict.fromkeys(text for text in said if text)))


def _message(found: object) -> str:
    """Return the words in a part of an error: a text, or ComfyUI's message with details."""
    if isinstance(found, dict):
        return " ".join(text for key in ("message", "details") if (text := _message(found.get(key))))
    if isinstance(found, list):  # FastAPI: one entry for each wrong field
        return "; ".join(str(part["msg"]) for part in found[:3] if isinstance(part, dict) and "msg" in part)
    return found.strip() if isinstance(found, str) else ""


def _values(found: object) -> list[object]:
    return list(found.values()) if isinstance(found, dict) else []


def one_line(text: object) -> str:
    """Return a foreign text as one line of printable characters, at most 200."""
    words = re.sub(r"\s+", " ", str(text)[:2000]).strip()
    shown = "".join(char for char in words if char.isprintable())
    return shown if len(shown) <= 200 else shown[:197] + "..."


def query(path: str, **values: str) -> str:
    """Return a path with a query of quoted values."""
    return path + "?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in values.items())
