"""The layers of the package, as declared for import-linter in pyproject.toml."""
from __future__ import annotations

import logging
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).resolve().parents[1]


def test_no_module_imports_a_higher_storey(capsys: pytest.CaptureFixture[str]) -> None:
    code = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    logging.getLogger("kgen").disabled = False  # the linter switches off every logger; later tests look at ours
    assert code == 0, capsys.readouterr().out
