"""`kgen prior`: tables of the tags of your own images, so that what you like comes more often.

The tables stay on this machine, beside the models folder; `kgen expand --yours NAME` uses one.
"""
from __future__ import annotations

import argparse
import sys

from kgen_ext.errors import UserError

SUMMARY = "count the tags of your own images, so that they come more often"
ACTIONS = {
    "build": "count the tags of a folder of images, captions and prompts",
    "list": "list your tables",
    "remove": "delete one of your tables",
}
_SHOWN = 10  # files that could not be read


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text in ACTIONS.items():
        child = actions.add_parser(name, help=text, description=text, allow_abbrev=False)
        if name == "build":
            child.add_argument("folder", metavar="FOLDER", help="read with its subfolders; nothing there is changed")
            child.add_argument("--name", default="mine", help="the table's name (default: mine); one is replaced")
        if name == "remove":
            child.add_argument("name", metavar="NAME", help="a name from the list")


def run(arguments: argparse.Namespace) -> int:
    """Run the action."""
    actions = {"build": build, "list": list_priors, "remove": remove}
    return actions[arguments.action](arguments)


def build(arguments: argparse.Namespace) -> int:
    """Read the folder, count, and write the table in one step."""
    from pathlib import Path

    from kgen_ext.models.priors import prior_path
    from kgen_ext.service.own_tags import build_table, read_folder
    from kgen_ext.tags.pair_table import pack_pair_table

    path = prior_path(arguments.name, field="--name")
    found = read_folder(Path(arguments.folder).expanduser(), on_file=_show_count)
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
    for line in found.skipped[:_SHOWN]:
        sys.stderr.write(f"kgen: skipped {line}\n")
    if len(found.skipped) > _SHOWN:
        sys.stderr.write(f"kgen: and {len(found.skipped) - _SHOWN} more that could not be read\n")
    table = build_table(found.lists)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_bytes(pack_pair_table(table))
    partial.replace(path)
    sys.stdout.write(
        f"{arguments.name}: {len(table.tags)} tags of {len(found.lists)} prompts, in {path}\n"
        f"To use it: kgen expand --yours {arguments.name} PROMPT\n"
    )
    return 0


def list_priors(arguments: argparse.Namespace) -> int:
    """Print a name on each line."""
    from kgen_ext.models.priors import prior_names, priors_folder

    sys.stdout.write("".join(f"{name}\n" for name in prior_names()))
    sys.stderr.write(f"kgen: in {priors_folder()}\n")
    return 0


def remove(arguments: argparse.Namespace) -> int:
    """Delete a table."""
    from kgen_ext.models.priors import find_prior

    path = find_prior(arguments.name)
    try:
        path.unlink()
    except OSError as error:
        raise UserError(f"{path}: cannot be deleted: {error}", hint="check its permissions") from error
    return 0


def _show_count(count: int) -> None:
    if count % 100 == 0 and sys.stderr.isatty():
        sys.stderr.write(f"\rkgen: {count} files read")
