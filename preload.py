"""KGen's command line options for the WebUI, which runs this file before it parses its arguments.

Does not import the package, so that the options exist even if KGen itself cannot be loaded.
"""
from __future__ import annotations

import argparse
import re

DEVICES = ("auto", "cpu", "cuda", "xpu", "mps", "directml")
_DEVICE = re.compile(r"auto|cpu|mps|(cuda|xpu|directml)(:[0-9]{1,2})?")


def device(value: str) -> str:
    """Return a device name in lower case; raises ValueError if no engine could know it."""
    name = value.strip().lower()
    if not _DEVICE.fullmatch(name):
        raise ValueError(value)
    return name


def preload(parser: argparse.ArgumentParser) -> None:
    """Add the options; those that another copy of the extension has added are left as they are."""
    known = set(parser._option_string_actions)
    if "--kgen-models-dir" not in known:
        parser.add_argument(
            "--kgen-models-dir", type=str, default=None, metavar="FOLDER",
            help="KGen: folder of the prompt expansion models (default: models/kgen)",
        )  # fmt: skip
    if "--kgen-tag-file" not in known:
        parser.add_argument(
            "--kgen-tag-file", type=str, default=None, metavar="PATH",
            help="KGen: CSV file of tags for 'Only tags that exist'; overrides Settings",
        )  # fmt: skip
    if "--kgen-offline" not in known:
        parser.add_argument(
            "--kgen-offline", action="store_true", default=False, help="KGen: never download anything"
        )
    if "--kgen-device" not in known:
        parser.add_argument(
            "--kgen-device", type=device, default=None, metavar="DEVICE",
            help=f"KGen: device that runs the models: {', '.join(DEVICES)}, or cuda:1; overrides Settings",
        )  # fmt: skip
