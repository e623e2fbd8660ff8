"""The modules that an import loads, each in a fresh process."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "transformers", "llama_cpp", "gradio", "modules", "tokenizers", "safetensors", "pyarrow"}


def loaded_by(statement: str, folder: Path) -> set[str]:
    """Return the top-level names in sys.modules after `statement`, run by a new interpreter in an empty folder."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("module", ["kgen_ext", "kgen_ext.service", "kgen_ext.cli"])
def test_importing_loads_no_ml_library_and_no_host(module: str, tmp_path: Path) -> None:
    assert loaded_by(f"import {module}", tmp_path).isdisjoint(HEAVY)


def test_asking_for_help_loads_no_numpy_either(tmp_path: Path) -> None:
    names = loaded_by("from kgen_ext.cli import main\nassert main(['expand', '--help']) == 0", tmp_path)
    assert names.isdisjoint(HEAVY | {"numpy", "regex"})


def test_the_package_opens_an_expander_lazily(tmp_path: Path) -> None:
    names = loaded_by("import kgen_ext\nassert 'open_expander' in kgen_ext.__all__", tmp_path)
    assert "numpy" not in names


@pytest.mark.slow
def test_importing_the_service_costs_at_most_60_ms_over_numpy(tmp_path: Path) -> None:
    # Processor time, as other work on the machine adds to the wall's; the quickest of five, the first may fill caches.
    code = "import time, numpy; t = time.process_time(); import kgen_ext.service; print(time.process_time() - t)"
    # Compiled once, as users have it: where writing bytecode is switched off, every run would compile everything.
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(tmp_path / "cache")}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    argv = [sys.executable, "-c", code]
    runs = [subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, check=True) for _ in range(5)]
    assert min(float(run.stdout) for run in runs) <= 0.060
