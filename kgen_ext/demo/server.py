"""gradio's server for the demo page: its address, its password, what it may do besides, and its end."""
from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kgen_ext.demo.visitors import is_loopback
from kgen_ext.errors import BadValue, EngineUnavailable, Failure, Install, UserError

FIRST_PORT, PORTS = 7870, 20  # not where WebUIs are
PACKAGES = "'sd-webui-kgen[demo]'"
SHARE = (
    "--share opens a tunnel through servers of gradio.live, for which gradio downloads a program. Everybody who has the"
    " address can then use this page and this computer's models, for as long as it runs or up to a week; prompts and"
    " pictures pass through those servers."
)
# gradio's settings. They are read when it is imported, or when a page is built.
_ENVIRONMENT = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # Statistics of all events, computed anew after each: nobody looks at them.
    "GRADIO_ANALYTICS_MAX_EVENTS": "1",
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000000",
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where and for whom to serve. port: None for the first free one of ours. auth: names with passwords."""

    host: str = "127.0.0.1"
    port: int | None = None
    auth: tuple[tuple[str, str], ...] = ()
    share: bool = False

    @property
    def is_private(self) -> bool:
        """Return whether only this machine can open the page."""
        return is_loopback(self.host) and not self.share


def require_gradio() -> None:
    """Prepare gradio's environment and import it. Raises EngineUnavailable where it is missing or too old."""
    os.environ.update(_ENVIRONMENT)
    for name in ("NO_PROXY", "no_proxy"):  # gradio asks itself whether it answers
        known = os.environ.get(name, "")
        os.environ[name] = ",".join(filter(None, (known, "127.0.0.1", "localhost", "::1")))
    try:
        import gradio
    except ImportError as error:
        raise EngineUnavailable("the demo page needs gradio", action=Install(PACKAGES)) from error
    version = str(gradio.__version__)
    if int(version.partition(".")[0]) < 6:
        raise EngineUnavailable(f"the demo page needs gradio 6, and {version} is installed", action=Install(PACKAGES))


def find_port(host: str, port: int | None) -> int:
    """Return the port to serve on. Raises UserError where it is in use, or the host is not this machine's."""
    if port is not None and not 1 <= port <= 65535:
        raise BadValue("--port", port, "1 to 65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    reason: str | None = ""
    for candidate in range(FIRST_PORT, FIRST_PORT + PORTS) if port is None else (port,):
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, candidate))
            except (socket.gaierror, UnicodeError) as error:
                hint = "127.0.0.1 for this machine, 0.0.0.0 for all of its networks"
                raise UserError(f"--host: {host!r:.120} is no address of this machine", hint=hint) from error
            except OSError as error:
                reason = error.strerror
                continue
            return candidate
    if port is None:
        raise UserError(f"--host: no free port from {FIRST_PORT} to {FIRST_PORT + PORTS - 1} on {host}: {reason}",
                        hint="name one with --port")  # fmt: skip
    raise UserError(f"--port: {port} cannot be used on {host}: {reason}", hint="choose another, or leave it out")


@contextmanager
def serving(blocks: Any, address: Address, port: int) -> Iterator[tuple[str, str]]:
    """Serve a page; yield its address, and the public one, "" for none. Raises Failure where it does not start."""
    from gradio.themes import Default
    from starlette.middleware import Middleware

    from kgen_ext.demo.guard import Guard
    from kgen_ext.demo.page import DATA

    script = (DATA / "demo.js").read_text("utf-8")
    theme = Default().set(block_info_text_color="*neutral_500")  # hints are hardly to be read in gradio's light grey
    try:
        # No concurrency limit: our own queue has the turns. An event holds one of the `max_threads` places.
        # gradio keeps 100 kB for each page that it remembers. Ours needs none of it: one that is forgotten goes on.
        blocks.queue(api_open=False, default_concurrency_limit=None)
        _, url, shared = blocks.launch(
            server_name=address.host, server_port=port, auth=list(address.auth) or None, share=address.share,
            prevent_thread_lock=True, quiet=True, inbrowser=False, max_threads=400, state_session_capacity=200,
            footer_links=[], run_history=False, enable_monitoring=False, mcp_server=False, ssr_mode=False, pwa=False,
            app_kwargs={"middleware": [Middleware(Guard)], "docs_url": None, "redoc_url": None, "openapi_url": None},
            theme=theme, css=(DATA / "demo.css").read_text("utf-8"), head=f"<script>{script}</script>",
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise Failure(f"the page does not start: {error}", hint="choose another --port or --host") from error
    try:
        yield url, shared or ""
    finally:
        blocks.close(verbose=False)
