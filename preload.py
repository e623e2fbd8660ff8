"""Adds KGen's command line options to the WebUI's; the host runs this before it reads its options.

Refuses to import the package: an option must exist even where KGen itself cannot be loaded.
"""
from __future__ import annotations

import argparse
import re

DEVICES = ("auto", "cpu", "cuda", "xpu", "mps", "directml")
_FORM = re.compile(r"auto|cpu|mps|(cuda|xpu|directml)(:[0-9]{1,2})?")


def device(value: str) -> str:
    """Return a device as the engines name it; ValueError for what none of them could be."""
    if not _FORM.fullmatch(value.strip().lower()):
        raise ValueError(value)
    return value.strip().lower()


def preload(parser: argparse.ArgumentParser) -> None:
    """Add the options; a host that has them already (two copies of the extension) keeps its own."""
    known = set(parser._option_string_actions)
    if "--kgen-models-dir" not in known:
        parser.add_argument(
            "--kgen-models-dir", type=str, default=None, metavar="FOLDER",
            help="KGen: where prompt expansion models are kept (default: models/kgen)",
        )  # fmt: skip
    if "--kgen-tag-file" not in known:
        parser.add_argument(
            "--kgen-tag-file", type=str, default=None, metavar="PATH",
            help="KGen: the CSV of tags for 'Only tags that exist', whatever Settings say",
        )  # fmt: skip
    if "--kgen-offline" not in known:
        parser.add_argument(
            "--kgen-offline", action="store_true", default=False, help="KGen: never download anything"
        )
    if "--kgen-device" not in known:
        parser.add_argument(
            "--kgen-device", type=device, default=None, metavar="DEVICE",
            help=f"KGen: where models run, whatever Settings say: {', '.join(DEVICES)}, cuda:1",
        )  # fmt: skip
