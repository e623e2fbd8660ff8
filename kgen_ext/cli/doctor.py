"""`kgen doctor`: the report on libraries, engines, devices and models, and a command for each thing missing."""
from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kgen_ext.service.doctor import Report

SUMMARY = "show what is installed, what runs where, and what is missing"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("--json", action="store_true", help="print JSON, to attach to a bug report")


def run(arguments: argparse.Namespace) -> int:
    """Print the report; return 1 if no prompt can be expanded here."""
    from kgen_ext.service.doctor import examine

    report = examine()
    if arguments.json:
        import json
        from dataclasses import asdict

        sys.stdout.write(json.dumps(asdict(report), indent=1, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write("\n".join(lines(report)) + "\n")
    return 0 if report.works else 1


def lines(report: Report) -> Iterator[str]:
    """Yield the lines of the report."""
    from kgen_ext.models.progress import size_text

    yield f"KGen {report.kgen}, Python {report.python}, {report.system}"
    yield f"  Python at  {report.executable}"
    yield f"  host       {report.host}"
    yield f"  network    {'never used: offline is set' if report.offline else 'used when you ask for a download'}"
    yield from ("", "Libraries")
    for name, version in report.packages.items():
        yield f"  {name:<18}{version or '-'}"
    yield from ("", "Engines")
    for engine in report.engines:
        yield f"  {engine.name:<18}{'runs on ' + ', '.join(engine.devices) if engine.usable else engine.reason}"
    yield from ("", f"Models (yours go to {report.models_folder})")
    for model in report.models:
        runs = f"{model.engine}: {model.reason}" if model.engine else model.reason
        yield f"  {model.name}, {size_text(model.size)}, {model.path}"
        yield f"      {runs}"
    if report.lacks:
        yield from ("", "Missing")
    for lack in report.lacks:
        yield f"  {lack.what}: {lack.why}"
        yield f"      {lack.command}"
    yield ""
    yield "Prompts can be expanded." if report.works else "Prompts cannot be expanded yet; see what is missing."
