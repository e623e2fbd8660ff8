"""The actions of `kgen models` that take time or change the disk: download, verify, remove, quantize.

Refuses to act on a guess: it says what would happen, and asks, unless --yes was given.

`kgen models`: what there is to expand with, what of it is installed, and the commands that change that.

Refuses to know how any of it is done; the catalogue does it. Nothing is downloaded or removed without a yes.
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


def download(arguments: argparse.Namespace) -> int:
    """Show size and licence, ask, and download."""
    from kgen_ext.models.download import plan_download, run_download
    from kgen_ext.models.progress import size_text

    places, known, found = _look()
    model = _known(arguments.name, known)
    variant = arguments.name.partition(":")[2]
    file = next((one for one in model.files if variant.lower() in ("", one.variant.lower())), None)
    if file is None:
        raise UserError(f"model: {model.id} has no file {variant!r}", hint=_choose(model))
    here = next((one for one in found if one.id == model.id and one.variant == file.variant and not one.problem), None)
    if here is not None and not arguments.force:
        _say(f"{here.name} is installed: {here.path}")
        return 0
    if not arguments.yes and not sys.stdin.isatty():
        raise UserError("nobody can be asked here whether to download", hint="add --yes")
    order = plan_download(model, file, to=places.own, offline=arguments.offline or None)
    _say(f"{model.id}:{file.variant} from {model.repo}, {size_text(order.size)}")
    _say(f"licence: {model.licence or 'not known'} {model.licence_url}")
    _say(f"into {order.target}")
    if not arguments.yes and not _agrees("download it?"):
        return 1
    _show(run_download(order, to=places.own))
    _say(f"done; use it with --model {model.id}" + ("" if file is model.files[0] else f":{file.variant}"))
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """Check each installed file of a model."""
    from kgen_ext.models.manage import verify_steps

    bad, again = 0, False
    for one in _installed(arguments.name):
        verdict = _show(verify_steps(one, offline=arguments.offline or None))
        sys.stdout.write(f"{one.name}: {'whole' if verdict.whole else 'DAMAGED'}: {verdict.reason}\n")
        bad += not verdict.whole
        again = again or (not verdict.whole and one.model is not None and bool(one.model.repo))
    if again:
        _say(f"kgen models download {arguments.name} --force fetches it again, into our own folder")
    elif bad:
        _say("put a whole file in its place, or take it away")
    return 1 if bad else 0


def remove(arguments: argparse.Namespace) -> int:
    """Delete a model's files of our own folder, after a yes."""
    from kgen_ext.models.manage import remove_model as delete
    from kgen_ext.models.manage import remove_parts
    from kgen_ext.models.progress import size_text

    _refuse_the_starter(arguments.name)
    places, known, found = _look()
    wanted, _, variant = arguments.name.lower().partition(":")
    same = [one for one in found if one.id.lower() == wanted and variant in ("", one.variant.lower())]
    ours = [one for one in same if one.ours]
    if same and not ours:
        raise UserError(f"{same[0].path}: not in our own folder, so it stays", hint="remove it by hand")
    if not ours:
        left = remove_parts(next((one.id for one in known if one.id.lower() == wanted), arguments.name), places)
        if not left:
            raise UserError(f"model: {arguments.name} is not installed", hint="kgen models list shows what is")
        _say(f"{size_text(left)} of an unfinished download removed")
        return 0
    for one in ours:
        _say(f"{one.path}, {size_text(one.size)}")
    if not arguments.yes:
        if not sys.stdin.isatty():
            raise UserError("nobody can be asked here whether to remove", hint="add --yes")
        if not _agrees("remove it?" if len(ours) == 1 else "remove them?"):
            return 1
    freed = sum(delete(one, places) for one in ours) + remove_parts(ours[0].id, places)
    _say(f"{size_text(freed)} freed")
    return 0


def quantize(arguments: argparse.Namespace) -> int:
    """Write the Q8_0 form of an installed F16 file."""
    from kgen_ext.models.manage import quantise_model
    from kgen_ext.models.progress import size_text

    _refuse_the_starter(arguments.name)
    places, _, _ = _look()
    if arguments.threads is not None and arguments.threads < 1:
        raise UserError(f"--threads: {arguments.threads} is not allowed", hint="use a whole number from 1")
    files = [one for one in _installed(arguments.name) if not one.is_folder]
    full = [one for one in files if one.variant in ("F16", "BF16", "F32")]
    if not full:
        raise UserError(f"model: {arguments.name} has no F16 file here", hint="download its F16 file first")
    begun = time.monotonic()
    _say(f"quantizing {full[0].path}")
    target = quantise_model(full[0], places, threads=arguments.threads)
    small = target.stat().st_size
    _say(f"{size_text(full[0].size)} to {size_text(small)} in {time.monotonic() - begun:.1f} s: {target}")
    _say(f"use it with --model {full[0].id}:Q8_0")
    return 0


def _show(steps: Generator[DownloadProgress, None, T]) -> T:
    """Draw the steps on the terminal and return what they return."""
    from kgen_ext.cli.progress import ProgressLine

    screen = ProgressLine(1)
    try:
        while True:
            try:
                screen.show(str(next(steps)))
            except StopIteration as stop:
                return stop.value
    finally:
        steps.close()
        screen.clear()


def _look() -> tuple[Locations, tuple[Model, ...], tuple[FoundModel, ...]]:
    from kgen_ext.models import Locations, find_models, load_catalogue

    places = Locations.default()
    known = load_catalogue(places.user_file)
    return places, known, find_models(places, models=known)


def _known(name: str, known: tuple[Model, ...]) -> Model:
    from kgen_ext.models import find_entry

    model = find_entry(name, known)
    if model is None:
        raise UserError(f"model: the catalogue has no {name!r:.80}", hint="kgen models list shows what there is")
    if not model.repo:
        raise UserError(f"model: {model.id} is not to be downloaded", hint=model.notes or "its files are your own")
    return model


def _installed(name: str) -> list[FoundModel]:
    from kgen_ext.models.describe import model_rows
    from kgen_ext.models.resolve import not_installed

    _, known, found = _look()
    wanted, _, variant = name.lower().partition(":")
    here = next((here for ident, _, here in model_rows(known, found) if ident.lower() == wanted), ())
    same = [one for one in here if variant in ("", one.variant.lower())]
    if not same:
        raise not_installed(name, known)
    return same


def _refuse_the_starter(name: str) -> None:
    from kgen_ext.models.scan import STARTER

    if name.lower().partition(":")[0] == STARTER:
        raise UserError("model: the starter ships with KGen and stays as it is", hint="kgen models list shows others")


def _choose(model: Model) -> str:
    return "choose " + ", ".join(f"{model.id}:{file.variant}" for file in model.files)


def _agrees(question: str) -> bool:
    sys.stderr.write(f"kgen: {question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    _say("nothing was done")
    return False


def _say(line: str) -> None:
    sys.stderr.write(f"kgen: {line}\n")


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
    from kgen_ext.cli import models as models_change

    actions = {
        "download": download, "verify": verify, "remove": remove,
        "quantize": models_change.quantize,
    }  # fmt: skip
    return actions[arguments.action](arguments)


def _list(*, as_json: bool) -> int:
    from kgen_ext.models import Locations, find_models, load_catalogue
    from kgen_ext.models.describe import describe, model_rows

    places = Locations.default()
    known = load_catalogue(places.user_file)
    found = find_models(places, models=known)
    if as_json:
        _write_json([describe(*one) for one in model_rows(known, found)])
        return 0
    lines = [("NAME", "SIZE", "LICENCE", "INSTALLED")]
    for model_id, model, here in model_rows(known, found):
        told = describe(model_id, model, here)
        lines.append((model_id, str(told["shown_size"]), str(told["licence"] or "?"), str(told["shown_installed"])))
    _write_table(lines)
    sys.stdout.write(f"\nModels folder: {places.own}\nTo get one: kgen models download NAME\n")
    return 0


def _info(arguments: argparse.Namespace) -> int:
    from kgen_ext.models import Locations, find_models, load_catalogue
    from kgen_ext.models.describe import describe, info_lines, model_rows
    from kgen_ext.models.resolve import not_installed

    places = Locations.default()
    known = load_catalogue(places.user_file)
    wanted = arguments.name.partition(":")[0].lower()
    one = next((one for one in model_rows(known, find_models(places, models=known)) if one[0].lower() == wanted), None)
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
