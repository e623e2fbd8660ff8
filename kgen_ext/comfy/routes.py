"""Routes of the page's “Download model”: the list of models, and a download with its progress.

    GET  /kgen/models             {"models": [MODEL, ...], "folder": path, "offline": [switch, ...]}
    GET  /kgen/download           {"download": null or {"model", "line", "fraction", "state"}}
    POST /kgen/download           {"model": "ID" or "ID:VARIANT"}       begins one, or joins that of the same model
    POST /kgen/download/cancel    {}                                    stops it; what has come is kept

    MODEL    id, title, protocol, parameters, licence, licence_url, notes, installed,
             files: [{"name": "ID:VARIANT", "variant", "size" or null, "shown_size", "installed"}]
    state    running, done, failed or cancelled
    error    {"error": {"message", "hint"}} with a status of 4xx

Nothing is downloaded unless somebody asks here. A name must be one of the catalogue's, which says where its files are
and where they go, so no address and no path comes from outside; checksums are those of `kgen_ext.models.download`. A
change needs JSON and no foreign origin, so that no other page can ask for one.
"""
from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from kgen_ext.comfy import host
from kgen_ext.comfy.messages import node_hint
from kgen_ext.errors import KGenError, UserError
from kgen_ext.models.tasks import BackgroundTask, BackgroundTasks
from kgen_ext.once import once

_MAX_BYTES = 10_000


class Refused(Exception):
    """A request that is not served: its status, what is wrong, and what to do."""

    def __init__(self, status: int, message: str, hint: str = "") -> None:
        self.status, self.message, self.hint = status, message, hint
        super().__init__(message)


@once
def shared_tasks() -> BackgroundTasks:
    """Return this process's tasks, which outlive a page."""
    return BackgroundTasks(explain=_line)


def add_routes(routes: Any) -> None:
    """Add the routes. routes: aiohttp's table of the server, which copies each below /api."""

    def route(method: Any, path: str, call: Callable[[Any], Any], *, changes: bool, status: int = 200) -> None:
        async def handler(request: Any) -> Any:
            try:
                body = await _read_body(request) if changes else None
                # In a thread: the disk is scanned, and the server goes on.
                value = await asyncio.get_running_loop().run_in_executor(None, call, body)
            except Refused as error:
                return _error(error.status, error.message, error.hint)
            except KGenError as error:
                return _error(400 if isinstance(error, UserError) else 500, error.message, node_hint(error))
            return _json(value, status)

        method(path)(handler)

    route(routes.get, "/kgen/models", lambda _: list_models(), changes=False)
    route(routes.get, "/kgen/download", lambda _: show_download(), changes=False)
    route(routes.post, "/kgen/download", start_download, changes=True, status=202)
    route(routes.post, "/kgen/download/cancel", lambda _: cancel_download(), changes=True)


def list_models() -> dict[str, Any]:
    """Return the models of the catalogue and those on disk."""
    from kgen_ext.models import find_models, load_catalogue
    from kgen_ext.models.describe import describe, model_rows
    from kgen_ext.models.hub import offline_switches
    from kgen_ext.models.progress import size_text

    places = host.locations()
    known = load_catalogue(places.user_file)
    found = find_models(places, models=known)
    shown = ("id", "title", "protocol", "parameters", "licence", "licence_url", "notes")
    models = []
    for row in model_rows(known, found):
        facts = describe(*row)
        here = {file.variant for file in row[2] if not file.problem}
        files = [
            {
                "name": f"{row[0]}:{file['variant']}", "variant": file["variant"],
                "size": file["size"] or file["about"], "shown_size": size_text(file["size"] or file["about"]),
                "installed": file["variant"] in here,
            }
            for file in (facts["files"] if facts["repo"] else ())
        ]  # fmt: skip
        models.append({**{name: facts[name] for name in shown}, "installed": bool(here), "files": files})
    return {"models": models, "folder": str(places.own), "offline": list(offline_switches())}


def show_download() -> dict[str, Any]:
    """Return the download that runs or ran last."""
    task = shared_tasks().last
    return {"download": None if task is None else _state(task)}


def start_download(body: Any) -> dict[str, Any]:
    """Begin a download, or join that of the same model. Raises Refused, UserError."""
    from kgen_ext.models import load_catalogue
    from kgen_ext.models.download import download_steps, find_download

    name = body.get("model") if isinstance(body, dict) else None
    if not isinstance(name, str):
        raise Refused(400, "model: the name of a model is missing", 'send {"model": "ID"} or {"model": "ID:VARIANT"}')
    places = host.locations()
    model, file = find_download(name, load_catalogue(places.user_file))
    full_name = f"{model.id}:{file.variant}"
    running = shared_tasks().running
    if running is not None and running.name != full_name:
        raise Refused(409, f"{running.name} is being downloaded", "wait for it, or cancel it")
    task = shared_tasks().start(full_name, lambda stop: download_steps(full_name, places, cancelled=stop))
    return {"download": _state(task)}


def cancel_download() -> dict[str, Any]:
    """Ask the running download to stop."""
    shared_tasks().stop()
    return show_download()


def _state(task: BackgroundTask) -> dict[str, Any]:
    state = task.state
    ended = "failed" if state.failed else "cancelled" if state.cancelled else "done"
    return {
        "model": task.name, "line": state.line, "fraction": 1.0 if state.done and ended == "done" else state.fraction,
        "state": ended if state.done else "running",
    }  # fmt: skip


def _line(error: KGenError) -> str:
    hint = node_hint(error)
    return f"{error.message} ({hint})" if hint else error.message


async def _read_body(request: Any) -> Any:
    """Return the JSON body of a request that may change something. Raises Refused."""
    if _is_foreign(request.headers):
        raise Refused(403, "a page of another origin may not do this", "use ComfyUI's own page")
    # Another origin's page can send the other types without asking first.
    if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "the body is not JSON", "send Content-Type: application/json")
    text = b""
    async for chunk in request.content.iter_any():
        text += chunk
        if len(text) > _MAX_BYTES:
            raise Refused(413, f"the body is longer than {_MAX_BYTES} bytes", "send less")
    try:
        return json.loads(text or b"{}")
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not valid JSON", 'send {"model": "ID"}') from None


def _is_foreign(headers: Mapping[str, str]) -> bool:
    """Return whether a browser says that a page of another origin asks; a client that is no browser says nothing."""
    if (site := headers.get("Sec-Fetch-Site")) is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("Origin")
    return origin is not None and urlsplit(origin).netloc.lower() != headers.get("Host", "").lower()


def _json(value: Any, status: int) -> Any:
    from aiohttp import web

    return web.json_response(value, status=status)


def _error(status: int, message: str, hint: str) -> Any:
    return _json({"error": {"message": message, "hint": hint}}, status)
