"""The API: JSON in, requests checked, expansions out as the JSON of `kgen expand --json`.

    GET  /kgen/v1/schema   what the script's arguments and POST expand accept
    GET  /kgen/v1/models   the models known and installed, and which are loaded
    POST /kgen/v1/expand   {"prompt": "1girl", ...} -> {"expansions": [one object per row]}
    POST /kgen/v1/unload   {} -> {"unloaded": 1}

Errors are {"error": kind, "detail": what is wrong, "hint": what to do}: 4xx where the request is wrong, 503 where a
model, a library or the machine fails. No client can name a file. `api_routes` puts this on the host's server.
"""
from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from kgen_ext.errors import BadValue, KGenError, UserError, without_folders
from kgen_ext.events import By, Expansion, Finished, expansion_json, json_line
from kgen_ext.request import MAX_SEED, ExpandRequest
from kgen_ext.sampling import SAMPLING_NAMES, Sampling
from kgen_ext.webui.api_schema import EXTRA_FIELDS, MAX_PROMPTS, MAX_ROWS, MAX_TEXT, REQUEST_FIELDS, REQUIRED
from kgen_ext.webui.controls import DEFAULT
from kgen_ext.webui.expanding import NO_TAG_FILE
from kgen_ext.webui.host import Host
from kgen_ext.webui.messages import api_hint, explain
from kgen_ext.webui.presets import preset_names, resolve_sampling
from kgen_ext.webui.progress import own_job, shown_progress
from kgen_ext.webui.settings import ENGINE_CHOICES, WebuiSettings, find_model, read_settings, tag_file, webui_locations
from kgen_ext.webui.vram import acquire

if TYPE_CHECKING:
    from kgen_ext.models import ModelFiles
    from kgen_ext.webui.session import Session

_RANDOM_SEEDS = 2**32 - 2  # as many as the host draws from for an image


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """An HTTP status and a JSON body."""

    status: int
    body: str


@dataclass(frozen=True, slots=True)
class ExpandBody:
    """The checked body of POST expand: the requests in order, and the model and engine that run them."""

    requests: tuple[ExpandRequest, ...]
    files: ModelFiles
    engine: str


class Api:
    """Handlers of the four routes. draw: returns a random number below its argument."""

    def __init__(
        self, *, host: Host, session: Callable[[], Session], draw: Callable[[int], int] = secrets.randbelow
    ) -> None:
        self._host, self._session, self._draw = host, session, draw

    def expand(self, body: bytes) -> ApiResponse:
        """Expand the prompts of a body, in the host's queue; never raises."""
        return self._respond(lambda: self._expand(read_body(body)))

    def models(self) -> ApiResponse:
        """List the models; never raises."""
        return self._respond(self._models)

    def unload(self) -> ApiResponse:
        """Unload the models, one that is in use when it has finished; never raises."""
        return self._respond(lambda: json_line({"unloaded": self._session().unload()}))

    def _respond(self, work: Callable[[], str]) -> ApiResponse:
        try:
            return ApiResponse(200, work())
        except KGenError as error:
            status = 422 if isinstance(error, UserError) else 503
            return error_response(
                status, type(error).__name__, without_folders(error, error.message), api_hint(error)
            )
        except Exception as error:  # the edge: a client gets JSON, whatever went wrong
            self._host.log.warning("API: %s", explain(error))
            self._host.log.debug("traceback:", exc_info=error)
            return error_response(503, type(error).__name__, explain(error))

    def _expand(self, fields: Mapping[str, Any]) -> str:
        settings, session = read_settings(self._host), self._session()
        body = self._check(fields, settings)
        rows = sum(request.count for request in body.requests)
        done = list[Expansion]()
        with self._host.queue_lock(), own_job(self._host, "KGen"):
            with shown_progress(self._host, rows=rows) as progress:
                session.pool.configure(size=1, idle_seconds=settings.idle_seconds)
                with acquire(self._host, session, settings, body.files, engine=body.engine) as expander:
                    # Closed before the model is returned, whatever happens: an open stream keeps it from others.
                    with closing(expander.stream(body.requests, cancelled=progress.cancelled)) as events:
                        for event in events:
                            progress.on_event(event)
                            if isinstance(event, Finished):
                                done.append(event.expansion)
        done.sort(key=lambda expansion: expansion.row)
        for expansion in done:
            own = "".join(piece.text for piece in expansion.pieces if piece.by is By.USER)
            session.remember(expansion.prompt, source=own)
        return f'{{"expansions": [{", ".join(expansion_json(expansion, timings=False) for expansion in done)}]}}'

    def _check(self, fields: Mapping[str, Any], settings: WebuiSettings) -> ExpandBody:
        prompts, given = read_fields(fields)
        model = given.pop("model", DEFAULT)
        model = settings.model if model == DEFAULT else model
        engine = given.pop("engine", "auto")
        creativity = given.pop("creativity", None)
        if given.pop("known_only", False):
            given["tag_file"] = tag_file(self._host, settings)
            if not given["tag_file"]:
                raise UserError("known_only: there is no tag file", hint=NO_TAG_FILE)
        files = find_model(self._host, settings, model)
        if creativity is not None:
            recommended = files.entry.recommended if files.entry else None
            numbers = replace(Sampling(), **{name: given[name] for name in SAMPLING_NAMES if name in given})
            try:
                sampling = resolve_sampling(creativity, numbers, recommended, settings.presets)
            except BadValue:  # names the control of the page
                raise BadValue("creativity", creativity, preset_names(settings.presets)) from None
            given = {**asdict(sampling), **given}
        if given.get("seed", 0) == -1:
            given["seed"] = self._draw(_RANDOM_SEEDS)
        first = ExpandRequest(**{"mark": settings.mark, **given})
        requests = tuple(
            replace(first, prompt=prompt, seed=(first.seed + number) % (MAX_SEED + 1))
            for number, prompt in enumerate(prompts)
        )
        if sum(request.count for request in requests) > MAX_ROWS:
            raise BadValue("count", first.count, f"less: all prompts together may have {MAX_ROWS} results")
        return ExpandBody(requests, files, settings.engine if engine == "auto" else engine)

    def _models(self) -> str:
        from kgen_ext.models import find_models, load_catalogue
        from kgen_ext.models.describe import describe, model_rows

        settings = read_settings(self._host)
        locations = webui_locations(self._host, settings)
        known = load_catalogue(locations.user_file)
        models = [describe(*row) for row in model_rows(known, find_models(locations, models=known))]
        for model in models:  # paths on this machine are not for clients
            model["installed"] = [{"variant": file["variant"], "size": file["size"], "usable": not file["problem"]}
                                  for file in model["installed"]]  # fmt: skip
            for name in [name for name in model if name.startswith("shown_")]:
                del model[name]
        loaded = [{"model": resident.model, "engine": resident.engine, "in_use": resident.in_use > 0}
                  for resident in self._session().pool.resident()]  # fmt: skip
        return json_line({"default": settings.model, "models": models, "loaded": loaded})


def error_response(status: int, kind: str, detail: str, hint: str = "") -> ApiResponse:
    """Return an error as the API reports it."""
    return ApiResponse(status, json_line({"error": kind, "detail": detail, "hint": hint}))


def read_body(body: bytes) -> Mapping[str, Any]:
    """Return the JSON object of a body. Raises UserError."""
    try:
        value = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"the body is not JSON: {error}", hint='send an object such as {"prompt": "1girl"}') from None
    if not isinstance(value, dict):
        raise UserError("the body is not an object", hint='such as {"prompt": "1girl"}')
    return value


def read_fields(fields: Mapping[str, Any]) -> tuple[Sequence[str], dict[str, Any]]:
    """Return the prompts, and the other fields with lists as tuples; checks all that `ExpandRequest` does not.

    null is the same as leaving a field out, except for a prompt that `prompts` does not replace. Raises UserError.
    """
    given: dict[str, Any] = {}
    for name, value in fields.items():
        if name not in REQUEST_FIELDS and name not in EXTRA_FIELDS:
            raise BadValue("body", name, f"the fields {', '.join((*EXTRA_FIELDS, *REQUEST_FIELDS))}")
        if value is None and name not in REQUIRED:
            continue
        if isinstance(value, dict):
            raise BadValue(name, value, "no object here")
        _check_texts(name, value)
        given[name] = tuple(value) if isinstance(value, list) else value
    prompt, prompts = given.pop("prompt", ""), given.pop("prompts", None)
    if prompts is None:
        if not isinstance(prompt, str):
            raise BadValue("prompt", prompt, "a string")
        prompts = (prompt,)
    elif "prompt" in fields and prompt is not None:
        raise UserError("prompt and prompts were both given", hint="send one of them")
    if not isinstance(prompts, tuple) or not 1 <= len(prompts) <= MAX_PROMPTS:
        raise BadValue("prompts", prompts, f"a list of 1 to {MAX_PROMPTS} strings")
    if not all(isinstance(prompt, str) for prompt in prompts):
        raise BadValue("prompts", prompts, "strings")
    for name in ("model", "creativity"):
        if not isinstance(given.get(name, ""), str):
            raise BadValue(name, given[name], "a string")
    if given.get("engine", "auto") not in dict(ENGINE_CHOICES):
        raise BadValue("engine", given["engine"], [value for value, _ in ENGINE_CHOICES])
    if not isinstance(given.get("known_only", False), bool):
        raise BadValue("known_only", given["known_only"], "true or false")
    return prompts, given


def _check_texts(name: str, value: Any) -> None:
    """Raise UserError for text that is too long, or has a lone surrogate, which no tokenizer accepts."""
    texts = value if isinstance(value, list) else [value]
    total = 0
    for text in texts:
        if isinstance(text, str):
            total = len(text) if name == "prompts" else total + len(text)
            if total > MAX_TEXT:
                raise UserError(f"{name}: longer than {MAX_TEXT} characters", hint="send less")
            if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
                raise UserError(f"{name}: holds half a surrogate pair", hint="send valid Unicode")
