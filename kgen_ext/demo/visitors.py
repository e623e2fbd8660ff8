"""Visitors: who a request is from, for the limits of each."""
from __future__ import annotations

import ipaddress
from typing import Any


def session_of(request: Any) -> str:
    """Return the page that a gradio request is from: each opened tab is one."""
    return str(getattr(request, "session_hash", None) or "")


def visitor_of(request: Any) -> str:
    """Return whose limits apply: the user's who logged in, else the machine's; on this machine each page's own.

    Behind a proxy on this machine the server knows the visitors' addresses by the proxy's X-Forwarded-For.
    """
    if user := getattr(request, "username", None):
        return f"user {user}"
    host = str(getattr(getattr(request, "client", None), "host", None) or "")
    return f"page {session_of(request)}" if is_loopback(host) else f"address {host}"


def is_loopback(host: str) -> bool:
    """Return whether an address is this machine's.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("192.168.0.7"), is_loopback("")
    (True, True, False, True)
    """
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host in ("", "localhost", "testclient")
