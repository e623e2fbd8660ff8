"""`kgen expand`: prompts in, expansions out, in input order and as soon as each can be told.

Refuses to know how a prompt is expanded; the service does that, for all prompts as one batch.

Turns expansions into what is printed for people: the prompt with the additions in colour.

Refuses to know streams and terminals beyond the one question whether colour is welcome; JSON is `as_json`'s business.
"""
from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, TextIO

from kgen_ext.cli.inputs import read_lines, require_text
from kgen_ext.cli.options import FLAGS, add_options, read_expander_options, read_request_options
from kgen_ext.errors import UserError
from kgen_ext.events import By, Event, Expansion, Finished
from kgen_ext.request import MAX_SEED, ExpandRequest

if TYPE_CHECKING:
    from kgen_ext.cli.progress import ProgressLine

ADDED, PLAIN = "\x1b[32m", "\x1b[0m"


def prompt_text(expansion: Expansion, *, colour: bool) -> str:
    """Return the prompt, the model's pieces green if `colour`."""
    if not colour:
        return expansion.prompt
    return "".join(f"{ADDED}{one.text}{PLAIN}" if one.by is By.MODEL else one.text for one in expansion.pieces)


def wants_colour(stream: TextIO) -> bool:
    """Tell whether `stream` is a terminal that shows colours and nobody said NO_COLOR (https://no-color.org)."""
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    # An old Windows console prints the codes; the newer ones name themselves.
    return sys.platform != "win32" or any(os.environ.get(name) for name in ("WT_SESSION", "TERM", "ANSICON"))


SUMMARY = "expand a prompt, or a file of prompts"
SWITCHES = {
    "--json": "print one JSON object a line",
    "--stream": "show the text as it grows; with --json, print one event a line",
    "--timings": "fill in seconds in the JSON; else it is null, so that equal runs give equal bytes",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    text = "the prompt; may be left out. One that begins with - goes last, behind --"
    parser.add_argument("prompt", nargs="?", metavar="PROMPT", help=text)
    parser.add_argument("--file", metavar="PROMPTS.txt", help="one prompt a line, as one batch; - is standard input")
    for flag, text in SWITCHES.items():
        parser.add_argument(flag, action="store_true", help=text)
    add_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Expand and print."""
    from kgen_ext.cli.progress import ProgressLine
    from kgen_ext.events import PartialText

    requests = build_requests(arguments)
    if not requests:
        sys.stderr.write(f"kgen: no prompts in {arguments.file}\n")
        return 0
    from kgen_ext.service import open_expander

    rows = sum(request.count for request in requests)
    progress = ProgressLine(rows, preview=PartialText() if arguments.stream and rows == 1 else None)
    progress.show("loading the model")
    try:
        with open_expander(**read_expander_options(arguments)) as expander:
            if arguments.stream and not arguments.json:
                progress.clear()
                sys.stderr.write(f"kgen: {expander.model} by {expander.engine}: {expander.reason}\n")
            printer = _Printer(arguments, progress)
            for event in expander.stream(requests):
                progress.note(event)
                printer.take(event)
    finally:
        progress.clear()
    if not hasattr(arguments, "seed") and not arguments.json:
        sys.stderr.write(f"kgen: drawn at random: --seed {requests[0].seed}\n")
    return 0


def build_requests(arguments: argparse.Namespace) -> list[ExpandRequest]:
    """Return the requests in order; seeds rise by one a line, so that equal lines differ and each can be repeated."""
    options = read_request_options(arguments)
    require_text("PROMPT", arguments.prompt or "")
    for field, value in options.items():
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str) and field != "tag_file":  # a path may be odd
                require_text(FLAGS[field], text)
    seed = options.pop("seed", None)
    first = ExpandRequest(arguments.prompt or "", **options, seed=_draw_seed() if seed is None else seed)
    if arguments.file is None:
        return [first]
    if arguments.prompt is not None:
        raise UserError("PROMPT and --file were both given", hint="give one of them")
    return [
        ExpandRequest(line, **options, seed=(first.seed + number) % (MAX_SEED + 1))
        for number, line in enumerate(read_lines(arguments.file, option="--file"))
    ]


def _draw_seed() -> int:
    return int.from_bytes(os.urandom(4), "little") % 2**31


class _Printer:
    """Prints results in input order while rows finish in any."""

    def __init__(self, arguments: argparse.Namespace, progress: ProgressLine) -> None:
        from kgen_ext import events as as_json
        from kgen_ext.cli import expand as output

        self._json, self._timings, self._progress = arguments.json, arguments.timings, progress
        self._events = arguments.json and arguments.stream
        self._output, self._colour = output, output.wants_colour(sys.stdout)
        self._as_json = as_json
        self._waiting: dict[int, Expansion] = {}
        self._next = 0

    def take(self, event: Event) -> None:
        if self._events:
            self._write(self._as_json.event_json(event, timings=self._timings))
        elif isinstance(event, Finished):
            self._waiting[event.row] = event.expansion
            while self._next in self._waiting:
                self._result(self._waiting.pop(self._next))
                self._next += 1

    def _result(self, expansion: Expansion) -> None:
        if self._json:
            self._write(self._as_json.expansion_json(expansion, timings=self._timings))
            return
        self._write(self._output.prompt_text(expansion, colour=self._colour))
        for note in expansion.notes:
            sys.stderr.write(f"kgen: row {expansion.row}: {note}\n")

    def _write(self, line: str) -> None:
        self._progress.clear()
        sys.stdout.write(line + "\n")
        if self._events or sys.stdout.isatty():
            sys.stdout.flush()
