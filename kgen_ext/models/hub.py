"""The Hugging Face hub, through the user's own huggingface_hub: file facts, bytes from an offset, and the local cache.

Of the client only hf_hub_url, get_hf_file_metadata, build_hf_headers, get_session and hf_raise_for_status are used,
which 0.16 and 2.4 share, and of the two kinds of session (requests up to 0.36, httpx after) one method. So mirrors
(HF_ENDPOINT), tokens, proxies and certificates are whatever the client is set up for. A large file's checksum is its
`etag`.

The cache is read without the client, and never written to:

    models--OWNER--NAME/refs/main                  the commit that `main` was when it was last asked for
    models--OWNER--NAME/snapshots/COMMIT/PATH      a link into ../../blobs (Windows: often the file itself)
"""
from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from kgen_ext.errors import AllowDownloads, DownloadError

CHUNK = 1 << 18
TIMEOUT = 20.0  # seconds without a byte
_OFFLINE = ("KGEN_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


class ConnectionFailed(DownloadError):
    """The connection failed; trying again may help."""


class NotOnHub(DownloadError):
    """The repository has no such file."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file on the hub. sha256: "" for a small file, which git itself stores and identifies by `sha1`."""

    url: str
    size: int
    sha256: str
    sha1: str


@dataclass(frozen=True, slots=True)
class ResponseBody:
    """Body of a response: bytes of a file from `start` on, unless it is an HTML page."""

    start: int
    html: bool
    chunks: Iterator[bytes]


def offline_switches(environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return which of KGEN_OFFLINE, HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE are set and forbid the network."""
    environ = os.environ if environ is None else environ
    return tuple(name for name in _OFFLINE if environ.get(name, "").strip().upper() in ("1", "ON", "YES", "TRUE"))


def is_offline(environ: Mapping[str, str] | None = None) -> bool:
    """Return whether an environment variable forbids the network."""
    return bool(offline_switches(environ))


class Hub:
    """Client of a hub. endpoint, token: None for huggingface_hub's own."""

    def __init__(self, *, endpoint: str | None = None, token: str | None = None, timeout: float = TIMEOUT) -> None:
        self._client = _import("huggingface_hub")
        self._utils = _import("huggingface_hub.utils")
        self._constants = _import("huggingface_hub.constants")
        self._endpoint = (endpoint or str(self._constants.ENDPOINT)).rstrip("/")
        # 0.16 to 0.18 do not know this variable.
        self._token = token or os.environ.get("HF_TOKEN") or None
        self._timeout = timeout

    def look_up(self, repo: str, path: str, revision: str) -> RemoteFile:
        """Return what the hub says of a file; raises DownloadError, NotOnHub or ConnectionFailed."""
        own = str(self._constants.ENDPOINT)
        url = str(self._client.hf_hub_url(repo, path, revision=revision))
        url = self._endpoint + url[len(own) :] if url.startswith(own) else url
        with self._mapped(f"{repo}/{path}"):
            try:
                found = self._client.get_hf_file_metadata(url, token=self._token, timeout=self._timeout)
            except self._errors():
                raise
            except OSError as error:
                raise _unreadable(error) from error
        etag = (found.etag or "").lower()
        if not found.commit_hash or not etag or found.size is None:
            raise DownloadError(
                f"{self._endpoint} did not answer as a hub does: a proxy or a login page may stand between",
                hint="open the address in a browser; HF_ENDPOINT names a mirror",
            )
        hexadecimal = all(char in "0123456789abcdef" for char in etag)
        known = {len(etag): etag} if hexadecimal else {}
        return RemoteFile(url, int(found.size), known.get(64, ""), known.get(40, ""))

    @contextmanager
    def read(self, remote: RemoteFile, *, start: int = 0) -> Iterator[ResponseBody]:
        """Open the file from `start`, or from 0 where the server does not support ranges; raises DownloadError."""
        try:
            headers = dict(self._utils.build_hf_headers(token=self._token, library_name="kgen"))
        except OSError as error:
            raise _unreadable(error) from error
        headers["Accept-Encoding"] = "identity"
        if start:
            headers["Range"] = f"bytes={start}-"
        session = self._utils.get_session()
        with self._mapped(remote.url):
            with self._open(session, remote.url, headers) as response:
                if response.status_code == 416:
                    raise ConnectionFailed(f"{remote.url}: the server has no bytes after {start}", hint="try again")
                self._utils.hf_raise_for_status(response)
                kind = str(response.headers.get("Content-Type", "")).lower()
                begin = _begin(str(response.headers.get("Content-Range", ""))) if response.status_code == 206 else 0
                yield ResponseBody(begin, "html" in kind, self._chunks(response))

    @contextmanager
    def _open(self, session: Any, url: str, headers: dict[str, str]) -> Iterator[Any]:
        if hasattr(session, "stream") and not hasattr(session, "mount"):  # httpx
            with session.stream("GET", url, headers=headers, timeout=self._timeout, follow_redirects=True) as response:
                yield response
        else:  # requests
            with session.get(url, headers=headers, timeout=self._timeout, stream=True) as response:
                yield response

    def _chunks(self, response: Any) -> Iterator[bytes]:
        with self._mapped(str(response.url).partition("?")[0]):
            if hasattr(response, "iter_bytes"):
                yield from response.iter_bytes(CHUNK)
            else:
                yield from response.iter_content(CHUNK)

    @contextmanager
    def _mapped(self, what: str) -> Iterator[None]:
        try:
            yield
        except DownloadError:
            raise
        except self._errors() as error:
            raise self._explain(error, what) from error

    def _errors(self) -> tuple[type[Exception], ...]:
        kinds: list[type[Exception]] = [self._named("HfHubHTTPError"), self._named("OfflineModeIsEnabled")]
        for kind in type(self._utils.get_session()).__mro__:
            root = kind.__module__.partition(".")[0]
            if root == "requests":
                kinds += [import_module("requests").RequestException, import_module("urllib3").exceptions.HTTPError]
            elif root.startswith("httpx"):
                module = import_module(root)
                kinds += [module.HTTPError, module.InvalidURL, module.StreamError]
        return tuple(kinds)

    def _named(self, name: str) -> type[Exception]:
        """Return one of the client's exceptions by name: they moved between modules, and older versions lack some."""
        for module in ("huggingface_hub.errors", "huggingface_hub.utils"):
            try:
                found = getattr(import_module(module), name, None)
            except ImportError:
                continue
            if found is not None:
                return found
        return DownloadError

    def _explain(self, error: Exception, what: str) -> DownloadError:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(error, self._named("GatedRepoError")):
            return DownloadError(
                f"{what}: the repository is gated: its owner asks who downloads",
                hint="accept the terms on its page, then set HF_TOKEN to a token of yours",
            )
        if isinstance(error, self._named("RepositoryNotFoundError")):
            return DownloadError(
                f"{what}: no such repository, or it is private (401 or 404)",
                hint="check the name; for a private one set HF_TOKEN",
            )
        if isinstance(error, (self._named("EntryNotFoundError"), self._named("RevisionNotFoundError"))):
            return NotOnHub(f"{what}: no such file in the repository (404)", hint="is the catalogue out of date?")
        if isinstance(error, self._named("OfflineModeIsEnabled")):
            return offline_error(what, offline_switches() or ("HF_HUB_OFFLINE",))
        if status in (401, 403):
            return DownloadError(f"{what}: not allowed ({status})", hint="set HF_TOKEN to a token that may read it")
        if status == 407:
            return DownloadError(f"{what}: the proxy asks for a password (407)", hint="set HTTPS_PROXY with it")
        if status is not None and status < 500 and status != 429:
            return DownloadError(f"{what}: the server answered {status}", hint="try again later, or HF_ENDPOINT")
        if status is not None:
            return ConnectionFailed(f"{what}: the server is busy ({status})", hint="try again later")
        if "timeout" in type(error).__name__.lower() or "timed out" in str(error).lower():
            message = f"{what}: no answer within {self._timeout:g} s"
            return ConnectionFailed(message, hint="try again, or another HF_ENDPOINT")
        reason = " ".join(_root(error).split())[:200] or type(error).__name__
        return ConnectionFailed(f"{what}: the connection failed: {reason}", hint="check the network and HTTPS_PROXY")


def _root(error: BaseException) -> str:
    """Return the system's own message, such as "Connection refused", from inside a library's exception."""
    inner: BaseException | None = error
    for _ in range(8):
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
        inner = inner and (inner.__cause__ or inner.__context__)
    return str(error)


def offline_error(what: str, switches: Iterable[str]) -> DownloadError:
    """Return the error for a download requested while offline. switches: those that are on."""
    action = AllowDownloads(tuple(switches))
    return DownloadError(f"{what}: offline, so nothing was asked of the network", action=action)


def _unreadable(error: OSError) -> DownloadError:
    """Return the error for one of the client's own files that it cannot read, such as its token."""
    return DownloadError(f"{error.filename or 'huggingface_hub'}: {error.strerror or error}", hint="or set HF_TOKEN")


def _import(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise DownloadError(
            "downloading needs the package huggingface_hub, which cannot be imported",
            hint=f'"{sys.executable}" -m pip install huggingface_hub',
        ) from error


def _begin(content_range: str) -> int:
    """Return the first position of "bytes 100-199/200".

    >>> _begin("bytes 100-199/200")
    100
    """
    first = content_range.lower().removeprefix("bytes").strip().partition("-")[0]
    return int(first) if first.isdigit() else 0


def cached_file(cache: Path, *, repo: str, revision: str, path: str) -> Path | None:
    """Return a file of a repository in the cache: of that revision if it is there, else of the newest snapshot."""
    folder = cache / ("models--" + repo.replace("/", "--"))
    for snapshot in _snapshots(folder, revision):
        found = snapshot / path
        # Files in the cache are links, but links into the cache.
        if found.is_file() and found.resolve().is_relative_to(cache.resolve()):
            return found
    return None


def _snapshots(folder: Path, revision: str) -> Iterator[Path]:
    snapshots = folder / "snapshots"
    if not snapshots.is_dir():
        return
    ref = folder / "refs" / revision
    commit = ref.read_text("utf-8", "replace").strip() if ref.is_file() else revision
    first = snapshots / commit if commit and "/" not in commit and ".." not in commit else snapshots
    if first != snapshots and first.is_dir():
        yield first
    others = (folder for folder in snapshots.iterdir() if folder.is_dir() and folder != first)
    yield from sorted(others, key=lambda folder: folder.stat().st_mtime, reverse=True)
