"""`kgen request`: the exact text that a TIPO model is given, for cases in JSON Lines.

A case is one line, and the text comes back as a JSON string on one line. Other keys and empty lines are ignored; `task`
and the values of `meta` may be null:

    {"tags": "1girl, hat", "meta": {"rating": "safe"}, "task": "tag_to_long", "length": "long", "text": ""}
"""
from __future__ import annotations

import argparse
import sys
from typing import Any

from kgen_ext.cli.inputs import read_lines
from kgen_ext.errors import UserError

SUMMARY = "print the exact text that a model is given"
CASE_FIELDS: dict[str, tuple[type, ...]] = {
    "tags": (str,), "meta": (dict,), "task": (str, type(None)), "length": (str,), "text": (str,),
}  # fmt: skip
_TYPE_NAMES = {str: "a string", dict: "an object of strings or nulls", type(None): "null"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("--jsonl", required=True, metavar="CASES", help="one JSON object per line; - is standard input")


def run(arguments: argparse.Namespace) -> int:
    """Print the text of every case."""
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
    """Return the five fields of a case. Raises UserError that names line `number` and the wrong field."""
    import json

    try:
        case = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"line {number}: not JSON: {error}", hint="one JSON object per line") from None
    if not isinstance(case, dict):
        raise UserError(f"line {number}: not an object", hint='such as {"tags": "1girl", "meta": {}, ...}')
    for name, types in CASE_FIELDS.items():
        if name not in case:
            raise UserError(f"line {number}: {name} is missing", hint=f"a case has {', '.join(CASE_FIELDS)}")
        if not isinstance(case[name], types):
            allowed = " or ".join(_TYPE_NAMES[type_] for type_ in types)
            raise UserError(f"line {number}: {name}: {case[name]!r:.80} is not allowed", hint=f"use {allowed}")
    for key, value in case["meta"].items():
        if not isinstance(value, (str, type(None))):
            raise UserError(f"line {number}: meta: {key}: {value!r:.80} is not allowed", hint="use a string or null")
    return {name: case[name] for name in CASE_FIELDS}
