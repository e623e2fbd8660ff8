"""The API's routes on the host's server, present when the host's own API is on and for the same clients.

`api_access` says for whom. Without pydantic models, as hosts come with different versions of pydantic.
"""
# No `from __future__ import annotations`: FastAPI evaluates the routes' annotations, and `Request` is a local name.
import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from kgen_ext.webui.api_access import ApiAccess, api_is_on, is_authorised, read_access
from kgen_ext.webui.host import Host

if TYPE_CHECKING:
    from kgen_ext.webui.api import ApiResponse
    from kgen_ext.webui.session import Session

PREFIX = "/kgen/v1"
_TAGS = ["KGen"]


def add_routes(host: Host, session: "Callable[[], Session]", app: Any, *, title: str) -> bool:
    """Add the routes to a running server; return whether it has them now."""
    if not api_is_on(host, app):
        return False
    access = read_access(host, app)
    if access is None:
        host.log.warning("the KGen API is off: a password is set, but not one that it can check")
        return False
    if any(getattr(route, "path", "") == f"{PREFIX}/schema" for route in app.routes):
        return True
    _add(host, session, app, access, title)
    return True


def _add(host: Host, session: "Callable[[], Session]", app: Any, access: ApiAccess, title: str) -> None:
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response

    from kgen_ext.webui.api import Api, error_response
    from kgen_ext.webui.api_schema import MAX_BYTES, expand_schema, schema

    api = Api(host=host, session=session)

    # A thread of its own: requests that wait for the host's queue must not occupy the threads of the server.
    queue = ThreadPoolExecutor(1, thread_name_prefix="kgen-api")

    async def run(call: "Callable[..., ApiResponse]", *arguments: Any, queue: ThreadPoolExecutor | None = None) -> Any:
        return send(await asyncio.get_running_loop().run_in_executor(queue, call, *arguments))

    def send(response: "ApiResponse") -> Any:
        headers = {"WWW-Authenticate": "Basic"} if response.status == 401 else None
        return Response(response.body.encode(), response.status, headers=headers, media_type="application/json")

    def check_password(request: Any) -> Any:
        if is_authorised(request.headers.get("authorization", ""), access.users):
            return None
        return send(error_response(401, "Unauthorised", "wrong user name or password", "send both as HTTP Basic"))

    async def get_schema(request: Request) -> Any:
        return check_password(request) or JSONResponse(schema(title))

    async def get_models(request: Request) -> Any:
        return check_password(request) or await run(api.models)

    async def expand(request: Request) -> Any:
        if (unauthorised := check_password(request)) is not None:
            return unauthorised
        # Cross-site pages can send other content types without a preflight request.
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return send(error_response(415, "UserError", "the body is not JSON", "send Content-Type: application/json"))
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BYTES:
                return send(error_response(413, "UserError", f"the body is longer than {MAX_BYTES} bytes", "send less"))
        return await run(api.expand, body, queue=queue)

    async def unload(request: Request) -> Any:
        return check_password(request) or await run(api.unload)

    body_schema = {"required": True, "content": {"application/json": {"schema": expand_schema()}}}
    for path, method, call, summary in (
        ("schema", "GET", get_schema, "Describe the arguments of the script and the fields of /expand"),
        ("models", "GET", get_models, "List the known, installed and loaded models"),
        ("expand", "POST", expand, "Expand prompts"),
        ("unload", "POST", unload, "Unload the loaded models"),
    ):
        app.add_api_route(
            f"{PREFIX}/{path}", call, methods=[method], response_model=None, tags=_TAGS, summary=summary,
            dependencies=list(access.dependencies),
            openapi_extra={"requestBody": body_schema} if path == "expand" else None,
        )  # fmt: skip
