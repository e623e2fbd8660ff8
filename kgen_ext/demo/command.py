"""`kgen demo`: the demo page, served until Ctrl+C."""
from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kgen_ext.errors import UserError

if TYPE_CHECKING:
    from kgen_ext.demo.images import ImageServer

SUMMARY = "serve the demo page: prompts and pictures in the browser"
AUTH = "KGEN_DEMO_AUTH"
FIND, NONE = "auto", "none"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add = parser.add_argument
    add("--host", default="127.0.0.1", metavar="ADDRESS",
        help="address to serve on; 0.0.0.0 for everybody in your networks (default: 127.0.0.1, this machine only)")
    add("--port", type=int, metavar="N", help="port to serve on (default: the first free one from 7870)")
    add("--auth", action="append", metavar="USER:PASSWORD",
        help=f"ask visitors for a name and a password; may be given several times (default: {AUTH}, same form, ;)")
    add("--share", action="store_true",
        help="open a public address through gradio.live: everybody who has it can use this computer's models")
    add("--images", action="append", metavar="ADDRESS|FOLDER|auto|none",
        help="program that draws pictures: the address of a WebUI (started with --api) or of ComfyUI, or a folder of"
             " diffusers; may be given several times (default: auto, looks for one on this machine once)")
    add("--model", action="append", metavar="ID|PATH",
        help="model to offer; may be given several times (default: the starter and what is installed)")
    add("--engine", default="auto", metavar="auto|reference|transformers|llama_cpp",
        help="library that runs the models")
    add("--device", default="auto", metavar="DEVICE", help="device to run on: auto, cpu, cuda, ...")
    add("--threads", type=int, metavar="N", help="number of CPU threads (default: chosen by the engine)")
    add("--limits", default="", metavar="NAME=N,...",
        help="limits for visitors: waiting=50, each=2, minute=30, characters=20000, candidates=4, steps=50, side=1024")


def run(arguments: argparse.Namespace) -> int:
    """Serve the page until interrupted."""
    import tempfile
    import threading

    from kgen_ext.demo.limits import Limits
    from kgen_ext.demo.offers import Offers
    from kgen_ext.demo.server import SHARE, Address, find_port, require_gradio, serving

    limits = Limits.parse(arguments.limits)
    address = Address(arguments.host, arguments.port, read_auth(arguments.auth), arguments.share)
    port = find_port(address.host, address.port)
    offers = Offers(arguments.model or ())
    require_gradio()
    named = arguments.images or [FIND]
    servers = open_images(named, port=port)
    from kgen_ext.demo.expanding import Runner
    from kgen_ext.demo.page import Service, build_page
    from kgen_ext.service.pool import Pool

    pool = Pool()
    with tempfile.TemporaryDirectory(prefix="kgen-demo-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        runner = Runner(pool, offers, arguments.engine, arguments.device, arguments.threads)
        service = Service(runner, limits, Path(folder), servers)
        if address.share:
            _say(SHARE)
        elif not address.is_private:
            advice = "" if address.auth else ": --auth asks for a password"
            _say(f"everybody who reaches {address.host} can use this page{advice}")
        try:
            with serving(build_page(service), address, port) as (url, shared):
                for server in servers:
                    _say(f"pictures by {server.label}")
                if not servers and FIND in named:
                    _say("no pictures: no WebUI with --api and no ComfyUI was found (--images ADDRESS names one)")
                sys.stdout.write("".join(f"{line}\n" for line in (url, shared) if line))
                sys.stdout.flush()
                threading.Event().wait()
        finally:
            pool.close()
    return 0


def read_auth(given: Sequence[str] | None) -> tuple[tuple[str, str], ...]:
    """Return names with passwords, from the options or else the environment. Raises UserError, without the password.

    >>> read_auth(["ann:a:b"])
    (('ann', 'a:b'),)
    """
    pairs = []
    for item in given or filter(None, os.environ.get(AUTH, "").split(";")):
        name, _, password = item.partition(":")
        if not name or not password:
            raise UserError("--auth: a value has no name or no password", hint="write USER:PASSWORD")
        pairs.append((name, password))
    return tuple(pairs)


def open_images(named: Sequence[str], *, port: int) -> list[ImageServer]:
    """Return what draws pictures: what was named, or what is found on this machine but for our own port.

    Raises UserError or Failure for a named one that cannot be used.
    """
    from kgen_ext.demo.images import find_servers, open_diffusers, open_server

    servers: list[ImageServer] = []
    for name in named:
        if name == NONE:
            continue
        if name == FIND:
            servers += find_servers(skip=(port,))
        elif "://" not in name and Path(name).expanduser().is_dir():
            servers.append(open_diffusers(Path(name).expanduser()))
        else:
            servers.append(open_server(name))
    return servers


def _say(line: str) -> None:
    sys.stderr.write(f"kgen: {line}\n")
