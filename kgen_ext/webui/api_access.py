"""Access to the API: the same clients as the host's own, or those that have a password of the page.

    the host's route has dependencies           ours have the same: --api-auth, SD.Next's --auth
    it has none, but a password is set           ours ask for it as HTTP Basic: --gradio-auth alone
    a password is set that cannot be read        there are no routes of ours
    no password is set anywhere                  ours are as open as the host's
"""
from __future__ import annotations

import hmac
from base64 import b64decode
from binascii import Error
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kgen_ext.webui.host import Host

_HOST_ROUTE = "/sdapi/v1/txt2img"  # every host has it, and protects it as it does all that costs time


@dataclass(frozen=True, slots=True)
class ApiAccess:
    """What a route of ours asks of a client.

    dependencies: FastAPI's, of the host's own route. users: passwords by user name, checked by us; empty for no check.
    """

    dependencies: Sequence[Any] = ()
    users: Mapping[str, str] = field(default_factory=dict)


def api_is_on(host: Host, app: Any) -> bool:
    """Return whether the host serves its own API."""
    return _host_route(app) is not None or bool(host.flag("api", False) or host.flag("nowebui", False))


def read_access(host: Host, app: Any) -> ApiAccess | None:
    """Return what the routes ask of a client, None where a password is set and nothing is known that checks it."""
    if dependencies := getattr(_host_route(app), "dependencies", None):
        return ApiAccess(tuple(dependencies))
    if not _is_protected(host, app):
        return ApiAccess()
    users = _passwords(host, app)
    return ApiAccess(users=users) if users else None


def is_authorised(header: str, users: Mapping[str, str]) -> bool:
    """Return whether an Authorization header holds a user name and its password, in time independent of both."""
    if not users:
        return True
    scheme, _, encoded = header.partition(" ")
    try:
        name, _, password = b64decode(encoded.strip(), validate=True).partition(b":")
    except (Error, ValueError):
        return False
    correct = False
    for user_name, user_password in users.items():
        same_name = hmac.compare_digest(user_name.encode(), name)
        correct |= same_name & hmac.compare_digest(user_password.encode(), password)
    return correct and scheme.lower() == "basic"


def _host_route(app: Any) -> Any:
    return next((route for route in app.routes if getattr(route, "path", "") == _HOST_ROUTE), None)


def _is_protected(host: Host, app: Any) -> bool:
    """Return whether a password is set: any option of the command line that is named so counts, known or not."""
    flags = getattr(host.part("modules.shared.cmd_opts"), "__dict__", {})
    return bool(getattr(app, "auth", None) or [name for name, value in flags.items() if value and "auth" in name])


def _passwords(host: Host, app: Any) -> Mapping[str, str]:
    """Return the passwords by user name: the API's, else the page's; empty where none can be read."""
    if given := host.flag("api_auth"):
        return _users(pair.split(":", 1) for pair in str(given).split(","))
    page = getattr(app, "auth", None)  # Gradio's: a dict, or a function
    if isinstance(page, Mapping):
        return _users(page.items())
    credentials = host.part("modules.initialize_util.get_gradio_auth_creds")
    try:
        return _users(credentials() if credentials else ())
    except (OSError, ValueError) as error:
        host.log.warning("passwords: %s", error)
        return {}


def _users(pairs: Iterable[Any]) -> dict[str, str]:
    return {pair[0].strip(): pair[1] for pair in pairs if len(pair) == 2 and pair[0].strip()}
