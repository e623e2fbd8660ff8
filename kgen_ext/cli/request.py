"""`kgen request`: cases of what a model is to see, one JSON object a line -> the request text, one JSON string a line.

Refuses to know the format of the text; `kgen_ext.protocol` writes it. A case, in one line (other keys and empty lines
are ignored); task may be null, and a value of meta too:

    {"tags": "1girl, hat", "meta": {"rating": "safe"}, "task": "tag_to_long", "length": "long", "text": ""}
"""
from __future__ import annotations

import argparse
import sys
from typing import Any

from kgen_ext.cli.inputs import read_lines
from kgen_ext.errors import UserError

SUMMARY = "print the exact text a model is given"
FIELDS: dict[str, tuple[type, ...]] = {
    "tags": (str,), "meta": (dict,), "task": (str, type(None)), "length": (str,), "text": (str,),
}  # fmt: skip
NAMES = {str: "a string", dict: "an object of strings or nulls", type(None): "null"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("--jsonl", required=True, metavar="CASES", help="one JSON object a line; - is standard input")


def run(arguments: argparse.Namespace) -> int:
    """Render every case."""
    from kgen_ext.events import json_line
    from kgen_ext.protocol import request_text

    for number, line in enumerate(read_lines(arguments.jsonl, option="--jsonl"), 1):
        if line.strip():
            case = read_case(line, number)
            try:
                text = request_text(**case)
            except UserError as error:
                raise UserError(f"line {number}: {error.message}", hint=error.hint) from None
            sys.stdout.write(json_line(text) + "\n")
    return 0


def read_case(line: str, number: int) -> dict[str, Any]:
    """Return the five fields of a case; UserError names line `number` and the field at fault."""
    import json

    try:
        case = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"line {number}: not JSON: {error}", hint="one JSON object a line") from None
    if not isinstance(case, dict):
        raise UserError(f"line {number}: not an object", hint='such as {"tags": "1girl", "meta": {}, ...}')
    for name, kinds in FIELDS.items():
        if name not in case:
            raise UserError(f"line {number}: {name} is missing", hint=f"a case has {', '.join(FIELDS)}")
        if not isinstance(case[name], kinds):
            allowed = " or ".join(NAMES[kind] for kind in kinds)
            raise UserError(f"line {number}: {name}: {case[name]!r:.80} is not allowed", hint=f"use {allowed}")
    for key, value in case["meta"].items():
        if not isinstance(value, (str, type(None))):
            raise UserError(f"line {number}: meta: {key}: {value!r:.80} is not allowed", hint="use a string or null")
    return {name: case[name] for name in FIELDS}
