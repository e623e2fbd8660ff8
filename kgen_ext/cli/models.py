"""`kgen models`: list, download, verify, remove and quantize models.

Nothing is downloaded or removed without a yes, on the terminal or by `--yes`.
"""
from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from kgen_ext.errors import UserError

if TYPE_CHECKING:
    from kgen_ext.models import FoundModel, Locations, Model
    from kgen_ext.models.progress import DownloadProgress

T = TypeVar("T")

SUMMARY = "list, download, verify and remove models"
ACTIONS = {
    "list": "list the models, with what is installed",
    "info": "show all that is known about a model",
    "download": "download a model; size and licence are shown first",
    "verify": "compare an installed model with its checksum",
    "remove": "delete a model from the models folder",
    "quantize": "make a Q8_0 file from an F16 one: half the size, faster on a CPU",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text in ACTIONS.items():
        child = actions.add_parser(name, help=text, description=text, allow_abbrev=False)
        if name != "list":
            text = "a name from the list; TIPO-500M-ft:F16 is one of its files"
            child.add_argument("name", metavar="NAME", help=text)
        if name in ("list", "info"):
            child.add_argument("--json", action="store_true", help="print JSON")
        if name in ("download", "remove"):
            child.add_argument("--yes", action="store_true", help="do not ask for confirmation")
        if name == "download":
            child.add_argument("--force", action="store_true", help="download even if it is installed")
        if name in ("download", "verify"):
            child.add_argument("--offline", action="store_true", help="do not use the network")
        if name == "quantize":
            child.add_argument("--threads", type=int, metavar="N", help="number of CPU threads (default: all)")


def run(arguments: argparse.Namespace) -> int:
    """Run the action."""
    actions = {
        "list": list_models, "info": show_info, "download": download, "verify": verify, "remove": remove,
        "quantize": quantize,
    }  # fmt: skip
    return actions[arguments.action](arguments)


def list_models(arguments: argparse.Namespace) -> int:
    """Print a row for each model."""
    from kgen_ext.models.describe import describe, model_rows

    locations, known, found = _scan()
    models = [describe(*row) for row in model_rows(known, found)]
    if arguments.json:
        _write_json(models)
        return 0
    lines = [("NAME", "SIZE", "LICENCE", "INSTALLED")]
    for model in models:
        lines.append((model["id"], model["shown_size"], model["licence"] or "?", model["shown_installed"]))
    _write_table(lines)
    sys.stdout.write(f"\nModels folder: {locations.own}\nTo get one: kgen models download NAME\n")
    return 0


def show_info(arguments: argparse.Namespace) -> int:
    """Print a line for each fact about a model."""
    from kgen_ext.models.describe import describe, info_lines, model_rows
    from kgen_ext.models.resolve import not_installed

    _, known, found = _scan()
    wanted = arguments.name.partition(":")[0].lower()
    row = next((row for row in model_rows(known, found) if row[0].lower() == wanted), None)
    if row is None:
        raise not_installed(arguments.name, known)
    if arguments.json:
        _write_json(describe(*row))
        return 0
    lines = info_lines(*row)
    width = max(len(label) for label, _ in lines)
    sys.stdout.write("".join(f"{label:<{width}}  {text}\n" for label, text in lines))
    return 0


def download(arguments: argparse.Namespace) -> int:
    """Show size and licence, ask, and download."""
    from kgen_ext.models.download import plan_download, run_download
    from kgen_ext.models.hub import offline_switches
    from kgen_ext.models.progress import size_text

    locations, known, found = _scan()
    model = _downloadable(arguments.name, known)
    variant = arguments.name.partition(":")[2]
    file = next((file for file in model.files if variant.lower() in ("", file.variant.lower())), None)
    if file is None:
        names = ", ".join(f"{model.id}:{file.variant}" for file in model.files)
        raise UserError(f"model: {model.id} has no file {variant!r}", hint=f"choose {names}")
    same = [here for here in found if here.id == model.id and here.variant == file.variant and not here.problem]
    if same and not arguments.force:
        _say(f"{same[0].name} is installed: {same[0].path}")
        return 0
    if not arguments.yes and not sys.stdin.isatty():
        raise UserError("download: no terminal to ask for confirmation", hint="add --yes")
    switches = (*(("--offline",) if arguments.offline else ()), *offline_switches())
    plan = plan_download(model, file, to=locations.own, offline=switches)
    _say(f"{model.id}:{file.variant} from {model.repo}, {size_text(plan.size)}")
    _say(f"licence: {model.licence or 'unknown'} {model.licence_url}")
    _say(f"into {plan.target}")
    if not arguments.yes and not _confirmed("download it?"):
        return 1
    _follow(run_download(plan, to=locations.own))
    _say(f"done; use it with --model {model.id}" + ("" if file is model.files[0] else f":{file.variant}"))
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """Check each installed file of a model."""
    from kgen_ext.models.manage import verify_steps

    damaged = list["FoundModel"]()
    for found in _installed(arguments.name):
        verdict = _follow(verify_steps(found, offline=arguments.offline or None))
        sys.stdout.write(f"{found.name}: {'intact' if verdict.intact else 'DAMAGED'}: {verdict.reason}\n")
        if not verdict.intact:
            damaged.append(found)
    if any(found.model is not None and found.model.repo for found in damaged):
        _say(f"kgen models download {arguments.name} --force downloads it again, into our own folder")
    elif damaged:
        _say("replace it with an intact copy, or delete it")
    return 1 if damaged else 0


def remove(arguments: argparse.Namespace) -> int:
    """Delete a model's files from our own folder, after a yes."""
    from kgen_ext.models.manage import remove_model, remove_parts
    from kgen_ext.models.progress import size_text

    _refuse_starter(arguments.name)
    locations, known, found = _scan()
    wanted, _, variant = arguments.name.lower().partition(":")
    same = [here for here in found if here.id.lower() == wanted and variant in ("", here.variant.lower())]
    ours = [here for here in same if here.ours]
    if same and not ours:
        raise UserError(f"{same[0].path}: not in our own folder, so it stays", hint="remove it by hand")
    if not ours:
        ids = [model.id for model in known if model.id.lower() == wanted]
        partial = remove_parts(ids[0] if ids else arguments.name, locations)
        if not partial:
            raise UserError(f"model: {arguments.name} is not installed", hint="kgen models list shows what is")
        _say(f"{size_text(partial)} of an unfinished download removed")
        return 0
    for here in ours:
        _say(f"{here.path}, {size_text(here.size)}")
    if not arguments.yes:
        if not sys.stdin.isatty():
            raise UserError("remove: no terminal to ask for confirmation", hint="add --yes")
        if not _confirmed("remove it?" if len(ours) == 1 else "remove them?"):
            return 1
    freed = sum(remove_model(here, locations) for here in ours) + remove_parts(ours[0].id, locations)
    _say(f"{size_text(freed)} freed")
    return 0


def quantize(arguments: argparse.Namespace) -> int:
    """Write the Q8_0 form of an installed F16 file."""
    from kgen_ext.models.manage import quantise_model
    from kgen_ext.models.progress import size_text

    _refuse_starter(arguments.name)
    locations, _, _ = _scan()
    if arguments.threads is not None and arguments.threads < 1:
        raise UserError(f"--threads: {arguments.threads} is not allowed", hint="use a whole number from 1")
    files = [found for found in _installed(arguments.name) if not found.is_folder]
    full = [found for found in files if found.variant in ("F16", "BF16", "F32")]
    if not full:
        raise UserError(f"model: {arguments.name} has no F16 file here", hint="download its F16 file first")
    start = time.monotonic()
    _say(f"quantizing {full[0].path}")
    target = quantise_model(full[0], locations, threads=arguments.threads)
    size = target.stat().st_size
    _say(f"{size_text(full[0].size)} to {size_text(size)} in {time.monotonic() - start:.1f} s: {target}")
    _say(f"use it with --model {full[0].id}:Q8_0")
    return 0


def _scan() -> tuple[Locations, tuple[Model, ...], tuple[FoundModel, ...]]:
    """Return the storage locations, the catalogue, and what is installed."""
    from kgen_ext.models import Locations, find_models, load_catalogue

    locations = Locations.default()
    known = load_catalogue(locations.user_file)
    return locations, known, find_models(locations, models=known)


def _downloadable(name: str, known: tuple[Model, ...]) -> Model:
    from kgen_ext.models import find_entry

    model = find_entry(name, known)
    if model is None:
        raise UserError(f"model: the catalogue has no {name!r:.80}", hint="kgen models list shows its models")
    if not model.repo:
        raise UserError(f"model: {model.id} cannot be downloaded", hint=model.notes or "its files are your own")
    return model


def _installed(name: str) -> list[FoundModel]:
    from kgen_ext.models.describe import model_rows
    from kgen_ext.models.resolve import not_installed

    _, known, found = _scan()
    wanted, _, variant = name.lower().partition(":")
    files = next((files for ident, _, files in model_rows(known, found) if ident.lower() == wanted), ())
    same = [file for file in files if variant in ("", file.variant.lower())]
    if not same:
        raise not_installed(name, known)
    return same


def _refuse_starter(name: str) -> None:
    from kgen_ext.models.scan import STARTER

    if name.lower().partition(":")[0] == STARTER:
        raise UserError("model: the starter ships with KGen and stays as it is", hint="kgen models list shows others")


def _follow(steps: Generator[DownloadProgress, None, T]) -> T:
    """Show the progress of `steps` on the terminal and return their result."""
    from kgen_ext.cli.progress import ProgressLine

    progress = ProgressLine(1)
    try:
        while True:
            try:
                progress.show(str(next(steps)))
            except StopIteration as stop:
                return stop.value
    finally:
        steps.close()
        progress.clear()


def _confirmed(question: str) -> bool:
    sys.stderr.write(f"kgen: {question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    _say("nothing was done")
    return False


def _say(line: str) -> None:
    sys.stderr.write(f"kgen: {line}\n")


def _write_json(value: Any) -> None:
    import json

    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def _write_table(lines: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        row = "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True))
        sys.stdout.write(row.rstrip() + "\n")
