"""The command `kgen`: its subcommands, and the message and exit code of every error.

A subcommand is a module with `SUMMARY`, `add_arguments(parser)` and `run(arguments)`, which returns the exit code.

Exit codes: 0 done, 1 failure, 2 usage error, 3 done but for rows that are bad (`kgen batch`), 130 interrupted, 141 the
reader of standard output went away.
"""
from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from kgen_ext.errors import KGenError, UserError

COMMANDS = {
    "batch": "kgen_ext.cli.batch",
    "demo": "kgen_ext.demo.command",
    "doctor": "kgen_ext.cli.doctor",
    "expand": "kgen_ext.cli.expand",
    "models": "kgen_ext.cli.models",
    "parse": "kgen_ext.cli.parse",
    "prior": "kgen_ext.cli.prior",
    "request": "kgen_ext.cli.request",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; raises nothing and shows no traceback."""
    try:
        try:
            return _run(argv)
        finally:  # before any message of ours, and while a full disk or a closed pipe can still be reported
            sys.stdout.flush()
    except SystemExit as done:  # argparse: 0 after --help, 2 after a usage error
        return done.code if isinstance(done.code, int) else 2
    except KeyboardInterrupt:
        return _report("interrupted", 130)
    except BrokenPipeError:
        _abandon_stdout()
        return 141
    except UserError as error:
        return _report(f"error: {_with_flag(error)}", 2)
    except KGenError as error:
        return _report(f"error: {error}", 1)
    except Exception as error:  # a traceback helps no user
        kind, text = type(error).__name__, " ".join(str(error).split())
        return _report(f"error: {kind}: {text}" if text else f"error: {kind}", 1)


def _run(argv: Sequence[str] | None) -> int:
    _use_utf8()
    arguments = build_parser().parse_args(argv)
    code: int = import_module(COMMANDS[arguments.command]).run(arguments)
    return code


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands and options."""
    from kgen_ext import __version__
    from kgen_ext.cli.options import Parser

    parser = Parser(
        prog="kgen",
        description="Expand Stable Diffusion prompts. Your own text is never altered.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"kgen {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, path in COMMANDS.items():
        module = import_module(path)
        child = commands.add_parser(name, help=module.SUMMARY, description=module.SUMMARY, allow_abbrev=False)
        module.add_arguments(child)
    return parser


def _use_utf8() -> None:
    """Write the same bytes on every system: UTF-8, and no `\\r` added inside a user's text."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", newline="\n")


def _with_flag(error: UserError) -> str:
    """Name the option in place of the field it fills: `--top-p: 7 is not allowed (use 0 to 1)`."""
    from kgen_ext.cli.options import FLAGS

    field = getattr(error, "field", "")
    text = str(error)
    return FLAGS[field].name + text[len(field) :] if field in FLAGS and text.startswith(field) else text


def _report(line: str, code: int) -> int:
    debug = bool(os.environ.get("KGEN_DEBUG"))
    if debug and code in (1, 2):
        import traceback

        traceback.print_exc()
    sys.stderr.write(f"kgen: {line}\n")
    if code == 1 and not debug:
        sys.stderr.write("kgen: set KGEN_DEBUG=1 to see the traceback\n")
    return code


def _abandon_stdout() -> None:
    # Python flushes standard output once more at exit: give it somewhere to go.
    with open(os.devnull, "w") as devnull:
        os.dup2(devnull.fileno(), sys.stdout.fileno())
