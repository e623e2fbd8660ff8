"""The API's routes on the host's server: registered where the host's own API is on, behind the same passwords.

--api and --nowebui turn the host's API on, and with it this one. --api-auth protects both. Where only --gradio-auth is
given the host leaves its API open; these routes then ask for one of its names and passwords (HTTP Basic), as the page
does. No pydantic model is used, whose versions differ from host to host.
"""
# No `from __future__ import annotations` here: FastAPI reads the annotations of the routes, which stand in a function.
import asyncio
import hmac
from base64 import b64decode
from binascii import Error
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from kgen_ext.webui.host import Host

if TYPE_CHECKING:
    from kgen_ext.webui.api import ApiResponse
    from kgen_ext.webui.session import Session

PREFIX = "/kgen/v1"
_TAGS = ["KGen"]


def add_routes(host: Host, session: "Callable[[], Session]", app: Any, *, title: str) -> bool:
    """Add the routes to a server that has started; says whether they are there now."""
    if not (host.flag("api", False) or host.flag("nowebui", False)):
        return False
    users = passwords(host)
    if users is None:
        host.log.warning("the API is off: its passwords (--api-auth or --gradio-auth) cannot be read")
        return False
    if any(getattr(route, "path", "") == f"{PREFIX}/schema" for route in app.routes):
        return True
    _add(host, session, app, users, title)
    return True


def passwords(host: Host) -> Mapping[str, str] | None:
    """Return who may call, by name; empty where anybody may, None where somebody is meant who cannot be told."""
    if given := host.flag("api_auth"):
        return _users(pair.split(":", 1) for pair in str(given).split(",")) or None
    if not (host.flag("gradio_auth") or host.flag("gradio_auth_path")):
        return {}
    credentials = host.part("modules.initialize_util.get_gradio_auth_creds")
    try:
        return _users(credentials() if credentials else ()) or None
    except (OSError, ValueError) as error:
        host.log.warning("passwords: %s", error)
        return None


def authorised(header: str, users: Mapping[str, str]) -> bool:
    """Tell whether an Authorization header names a user and the right password, in a time that tells neither."""
    if not users:
        return True
    kind, _, encoded = header.partition(" ")
    try:
        name, _, password = b64decode(encoded.strip(), validate=True).partition(b":")
    except (Error, ValueError):
        return False
    right = False
    for known, its in users.items():
        same = hmac.compare_digest(known.encode(), name) & hmac.compare_digest(its.encode(), password)
        right = right or bool(same)
    return right and kind.lower() == "basic"


def _users(pairs: Iterable[Any]) -> dict[str, str]:
    return {pair[0].strip(): pair[1] for pair in pairs if len(pair) == 2 and pair[0].strip()}


def _add(host: Host, session: "Callable[[], Session]", app: Any, users: Mapping[str, str], title: str) -> None:
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response

    from kgen_ext.webui.api import Api, refusal
    from kgen_ext.webui.api_schema import MAX_BYTES, expand_schema, schema

    api = Api(host=host, session=session)

    # A thread of our own: those who wait for the host's queue must not take the threads that serve others.
    queue = ThreadPoolExecutor(1, thread_name_prefix="kgen-api")

    async def work(call: "Callable[..., ApiResponse]", *arguments: Any, queue: ThreadPoolExecutor | None = None) -> Any:
        return send(await asyncio.get_running_loop().run_in_executor(queue, call, *arguments))

    def send(answer: "ApiResponse") -> Any:
        headers = {"WWW-Authenticate": "Basic"} if answer.status == 401 else None
        return Response(answer.body.encode(), answer.status, headers=headers, media_type="application/json")

    def refused(request: Any) -> Any:
        if authorised(request.headers.get("authorization", ""), users):
            return None
        return send(refusal(401, "Unauthorised", "wrong user name or password", "send them as HTTP Basic"))

    async def get_schema(request: Request) -> Any:
        return refused(request) or JSONResponse(schema(title))

    async def get_models(request: Request) -> Any:
        return refused(request) or await work(api.models)

    async def expand(request: Request) -> Any:
        if (no := refused(request)) is not None:
            return no
        # A page of another site can send anything but this without asking the browser first.
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return send(refusal(415, "UserError", "the body is not called JSON", "Content-Type: application/json"))
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BYTES:
                return send(refusal(413, "UserError", f"the body is longer than {MAX_BYTES} bytes", "send less"))
        return await work(api.expand, body, queue=queue)

    async def unload(request: Request) -> Any:
        return refused(request) or await work(api.unload)

    body_schema = {"required": True, "content": {"application/json": {"schema": expand_schema()}}}
    for path, method, call, text in (
        ("schema", "GET", get_schema, "What the script's arguments and /expand accept"),
        ("models", "GET", get_models, "The models that are known, installed, loaded"),
        ("expand", "POST", expand, "Expand prompts"),
        ("unload", "POST", unload, "Give the memory of loaded models back"),
    ):
        app.add_api_route(
            f"{PREFIX}/{path}", call, methods=[method], response_model=None, tags=_TAGS, summary=text,
            openapi_extra={"requestBody": body_schema} if path == "expand" else None,
        )  # fmt: skip
