"""`kgen expand`: prompts in, expansions out in input order, each printed as soon as those before it are.

All prompts are one batch. Text for people is the prompt, with the additions in green on a terminal; `--json` is
described in `kgen_ext.events`.
"""
from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

from kgen_ext.cli.inputs import read_lines, require_text
from kgen_ext.cli.options import FLAGS, add_options, read_expander_options, read_request_options
from kgen_ext.errors import UserError
from kgen_ext.events import By, Event, Expansion, Finished, PartialText, event_json, expansion_json, name_fields
from kgen_ext.request import MAX_SEED, ExpandRequest

if TYPE_CHECKING:
    from kgen_ext.cli.progress import ProgressLine

SUMMARY = "expand a prompt, or a file of prompts"
GREEN, PLAIN = "\x1b[32m", "\x1b[0m"
_SWITCHES = {
    "--json": "print one JSON object per line",
    "--stream": "show the text as it is written; with --json, print one event per line",
    "--timings": "fill in seconds in the JSON; null otherwise, so that equal runs give equal bytes",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    text = "the prompt; optional. One that begins with - goes last, behind --"
    parser.add_argument("prompt", nargs="?", metavar="PROMPT", help=text)
    parser.add_argument("--file", metavar="PROMPTS.txt", help="one prompt per line, as a batch; - is standard input")
    for flag, text in _SWITCHES.items():
        parser.add_argument(flag, action="store_true", help=text)
    add_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Expand and print."""
    from kgen_ext.cli.progress import ProgressLine

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
                sys.stderr.write(f"kgen: {expander.model} on {expander.engine}: {expander.reason}\n")
            printer = _Printer(arguments, progress)
            for event in expander.stream(requests):
                progress.note(event)
                printer.note(event)
    finally:
        progress.clear()
    if not hasattr(arguments, "seed") and not arguments.json:
        sys.stderr.write(f"kgen: random seed; to repeat: --seed {requests[0].seed}\n")
    return 0


def build_requests(arguments: argparse.Namespace) -> list[ExpandRequest]:
    """Return the requests in order; the seed rises by one per line, so that equal lines differ and can be repeated."""
    options = read_checked_options(arguments)
    require_text("PROMPT", arguments.prompt or "")
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


def read_checked_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of `ExpandRequest` that were given. Raises UserError for one that is not valid text."""
    options = read_request_options(arguments)
    for field, value in options.items():
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str) and field != "tag_file":  # a path need not be valid Unicode
                require_text(FLAGS[field].name, text)
    return options


def prompt_text(expansion: Expansion, *, colour: bool) -> str:
    """Return the prompt, with the model's pieces in green if `colour`."""
    if not colour:
        return expansion.prompt
    pieces = expansion.pieces
    return "".join(f"{GREEN}{piece.text}{PLAIN}" if piece.by is By.MODEL else piece.text for piece in pieces)


def wants_colour(stream: TextIO) -> bool:
    """Return whether `stream` is a terminal that shows colours and NO_COLOR is not set (https://no-color.org)."""
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    # An old Windows console prints the codes; newer ones set one of these.
    return sys.platform != "win32" or any(os.environ.get(name) for name in ("WT_SESSION", "TERM", "ANSICON"))


def _draw_seed() -> int:
    return int.from_bytes(os.urandom(4), "little") % 2**31


class _Printer:
    """Prints results in input order, though rows finish in any."""

    def __init__(self, arguments: argparse.Namespace, progress: ProgressLine) -> None:
        self._json, self._timings, self._progress = arguments.json, arguments.timings, progress
        self._events = arguments.json and arguments.stream
        self._colour = wants_colour(sys.stdout)
        self._waiting: dict[int, Expansion] = {}
        self._next = 0

    def note(self, event: Event) -> None:
        if self._events:
            self._write(event_json(event, timings=self._timings))
        elif isinstance(event, Finished):
            self._waiting[event.row] = event.expansion
            while self._next in self._waiting:
                self._print(self._waiting.pop(self._next))
                self._next += 1

    def _print(self, expansion: Expansion) -> None:
        if self._json:
            self._write(expansion_json(expansion, timings=self._timings))
            return
        self._write(prompt_text(expansion, colour=self._colour))
        for note in expansion.notes:
            sys.stderr.write(f"kgen: row {expansion.row}: {name_fields(note, lambda field: FLAGS[field].name)}\n")

    def _write(self, line: str) -> None:
        self._progress.clear()
        sys.stdout.write(line + "\n")
        if self._events or sys.stdout.isatty():
            sys.stdout.flush()
