"""The command line options, and the order of our hooks among those of other extensions."""
from __future__ import annotations

import argparse
import configparser
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    made.add_argument("--api", action="store_true")
    return made


def preload(target: argparse.ArgumentParser) -> None:
    runpy.run_path(str(ROOT / "preload.py"))["preload"](target)


def test_options_are_absent_unless_given() -> None:
    target = parser()
    preload(target)
    given = target.parse_args([])
    assert (given.kgen_models_dir, given.kgen_tag_file, given.kgen_offline, given.kgen_device) == (
        None, None, False, None,
    )  # fmt: skip


def test_options_are_read() -> None:
    target = parser()
    preload(target)
    given = target.parse_args(["--api", "--kgen-models-dir", "/some where", "--kgen-offline", "--kgen-device", "CPU"])
    assert (given.kgen_models_dir, given.kgen_offline, given.kgen_device) == ("/some where", True, "cpu")


def test_a_device_nobody_has_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    target = parser()
    preload(target)
    with pytest.raises(SystemExit):
        target.parse_args(["--kgen-device", "toaster"])
    assert "--kgen-device" in capsys.readouterr().err


def test_a_second_copy_of_the_extension_does_not_stop_the_host() -> None:
    target = parser()
    preload(target)
    preload(target)
    assert target.parse_args(["--kgen-offline"]).kgen_offline


def test_preloading_works_where_the_package_cannot_be_imported(tmp_path: Path) -> None:
    code = (
        "import argparse, runpy, sys\n"
        f"runpy.run_path({str(ROOT / 'preload.py')!r})['preload'](argparse.ArgumentParser())\n"
        "assert 'kgen_ext' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, check=True)


def test_the_devices_are_those_of_the_engines() -> None:
    from kgen_ext.engines.devices import DEVICES, parse_device
    from kgen_ext.errors import BadValue

    module = runpy.run_path(str(ROOT / "preload.py"))
    assert module["DEVICES"] == DEVICES
    for name in [*DEVICES, *(f"{device}:1" for device in DEVICES), "cuda:123", "cuda:", "toaster", ""]:
        for check, refusal in ((parse_device, BadValue), (module["device"], ValueError)):
            try:
                check(name)
                taken = True
            except refusal:
                taken = False
            if check is parse_device:
                expected = taken
        assert taken == expected, name


def order() -> configparser.SectionProxy:
    config = configparser.ConfigParser()
    config.read(ROOT / "metadata.ini", encoding="utf-8")
    return config["scripts"]


def test_our_hooks_run_behind_dynamic_prompts_and_before_regional_prompter() -> None:
    after, before = ([name.strip() for name in order()[key].split(",")] for key in ("After", "Before"))
    assert {"sd-dynamic-prompts", "sd-dynamic-prompts_neo"} <= set(after)
    assert {"sd-webui-regional-prompter", "sd-forge-regional-prompter-neo", "aadetailer-neoforge"} <= set(before)
    assert not set(after) & set(before)


def test_hosts_find_the_names_because_they_are_in_lower_case_and_without_spaces() -> None:
    names = [name.strip() for key in ("After", "Before") for name in order()[key].split(",")]
    assert all(name and name == name.lower() and " " not in name for name in names)


def test_no_rule_names_our_own_folder_which_a_user_may_rename() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "metadata.ini", encoding="utf-8")
    assert config.sections() == ["scripts"]


def test_a_tag_file_anywhere_may_be_named() -> None:
    target = parser()
    preload(target)
    assert target.parse_args(["--kgen-tag-file", "/some where/tags.csv"]).kgen_tag_file == "/some where/tags.csv"
