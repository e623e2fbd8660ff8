"""`kgen models`: what there is to expand with, what of it is installed, and the commands that change that.

Refuses to know how any of it is done; the catalogue does it. Nothing is downloaded or removed without a yes.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

SUMMARY = "list, download, check and remove models"
ACTIONS = {
    "list": "what there is, and what is installed",
    "info": "everything that is known about a model",
    "download": "get a model; its size and licence are shown first",
    "verify": "compare an installed model with its checksum",
    "remove": "delete a model from the models folder",
    "quantize": "make a Q8_0 file of an F16 one: half the size, quicker on a CPU",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text in ACTIONS.items():
        child = actions.add_parser(name, help=text, description=text, allow_abbrev=False)
        if name != "list":
            child.add_argument("name", metavar="NAME", help="a name of the list; TIPO-500M-ft:F16 is one file of it")
        if name in ("list", "info"):
            child.add_argument("--json", action="store_true", help="print JSON")
        if name in ("download", "remove"):
            child.add_argument("--yes", action="store_true", help="do not ask")
        if name == "download":
            child.add_argument("--force", action="store_true", help="even if it is here already, damaged perhaps")
        if name in ("download", "verify"):
            child.add_argument("--offline", action="store_true", help="ask nothing of the network")
        if name == "quantize":
            child.add_argument("--threads", type=int, metavar="N", help="processor threads (default: all)")


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked."""
    if arguments.action in ("list", "info"):
        return _list(as_json=arguments.json) if arguments.action == "list" else _info(arguments)
    from kgen_ext.cli import models_change

    actions = {
        "download": models_change.download, "verify": models_change.verify, "remove": models_change.remove,
        "quantize": models_change.quantize,
    }  # fmt: skip
    return actions[arguments.action](arguments)


def _list(*, as_json: bool) -> int:
    from kgen_ext.catalogue import Places, find_models, load_catalogue
    from kgen_ext.catalogue.show import describe, rows

    places = Places.default()
    known = load_catalogue(places.user_file)
    found = find_models(places, models=known)
    if as_json:
        _write_json([describe(*one) for one in rows(known, found)])
        return 0
    lines = [("NAME", "SIZE", "LICENCE", "INSTALLED")]
    for model_id, model, here in rows(known, found):
        told = describe(model_id, model, here)
        lines.append((model_id, str(told["shown_size"]), str(told["licence"] or "?"), str(told["shown_installed"])))
    _write_table(lines)
    sys.stdout.write(f"\nModels folder: {places.own}\nTo get one: kgen models download NAME\n")
    return 0


def _info(arguments: argparse.Namespace) -> int:
    from kgen_ext.catalogue import Places, find_models, load_catalogue
    from kgen_ext.catalogue.models import not_installed
    from kgen_ext.catalogue.show import describe, info_lines, rows

    places = Places.default()
    known = load_catalogue(places.user_file)
    wanted = arguments.name.partition(":")[0].lower()
    one = next((one for one in rows(known, find_models(places, models=known)) if one[0].lower() == wanted), None)
    if one is None:
        raise not_installed(arguments.name, known)
    if arguments.json:
        _write_json(describe(*one))
        return 0
    lines = info_lines(*one)
    width = max(len(name) for name, _ in lines)
    sys.stdout.write("".join(f"{name:<{width}}  {text}\n" for name, text in lines))
    return 0


def _write_json(value: Any) -> None:
    import json

    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def _write_table(lines: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        row = "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True))
        sys.stdout.write(row.rstrip() + "\n")
