"""Warnings that fail a test: all but the deprecations of libraries, which any new release may bring."""
from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DEPRECATIONS = ("DeprecationWarning", "PendingDeprecationWarning", "FutureWarning")
OTHERS = ("UserWarning", "RuntimeWarning", "ResourceWarning", "SyntaxWarning")
LIBRARY = "import warnings\ndef call(kind): warnings.warn('x', kind, stacklevel=2)\n"


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Run a test a category, in which a library attributes the warning to its caller, under this project's settings."""
    folder = tmp_path_factory.mktemp("warnings")
    (folder / "library.py").write_text(LIBRARY, "utf-8")
    tests = (f"def test_{name}(): library.call({name})\n" for name in (*DEPRECATIONS, *OTHERS))
    (folder / "test_it.py").write_text("import library\n" + "".join(tests), "utf-8")
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml")]
    command += ["--rootdir", str(folder), "test_it.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return dict(re.findall(r"::test_(\w+) (PASSED|FAILED)", done.stdout))


@pytest.mark.parametrize("category", DEPRECATIONS)
def test_a_deprecation_of_a_library_fails_no_test(outcomes: dict[str, str], category: str) -> None:
    assert outcomes[category] == "PASSED"


@pytest.mark.parametrize("category", OTHERS)
def test_any_other_warning_fails_the_test(outcomes: dict[str, str], category: str) -> None:
    assert outcomes[category] == "FAILED"
