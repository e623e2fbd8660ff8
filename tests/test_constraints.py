"""The pins of constraints.txt: what the tests need on every supported Python, within the bounds of pyproject.toml."""
from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
README = (ROOT / "README.md").read_text("utf-8")


def needed(*extras: str) -> list[Requirement]:
    """Return what the package and these extras ask for; an extra may name others of the package."""
    found = [Requirement(line) for line in PROJECT["dependencies"]]
    for extra in extras:
        for requirement in map(Requirement, PROJECT["optional-dependencies"][extra]):
            found += needed(*requirement.extras) if requirement.name == PROJECT["name"] else [requirement]
    return found


def pins(python: str) -> dict[str, str]:
    """Return the version of each package that holds for a Python."""
    found = dict[str, str]()
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        pin = Requirement(line)
        there = {"python_full_version": f"{python}.7", "python_version": python}
        if pin.marker is None or pin.marker.evaluate(there):
            ((operator, version),) = ((specifier.operator, specifier.version) for specifier in pin.specifier)
            assert operator == "==", line
            assert canonicalize_name(pin.name) not in found, line
            found[canonicalize_name(pin.name)] = version
    return found


@pytest.mark.parametrize("python", PYTHONS)
def test_every_package_the_tests_need_is_pinned_within_its_bounds(python: str) -> None:
    pinned = pins(python)
    for requirement in needed("test", "dev"):
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement


def test_every_install_of_the_readmes_test_line_is_pinned() -> None:
    (line,) = [row for row in README.splitlines() if row.endswith(" -m pytest") and row.startswith("python3 -m venv")]
    installs = [command for command in line.split(" && ") if " pip install " in command or "/pip install " in command]
    assert installs and all("pip install -c constraints.txt " in command for command in installs)


def test_the_versions_of_the_pre_commit_hooks_are_the_pinned_ones() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    named = dict(re.findall(r'"([\w-]+)==([\w.]+)"', hooks))
    assert named == {name: pins(PYTHONS[0])[name] for name in ("ruff", "mypy", "numpy")}
