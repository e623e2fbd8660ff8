"""A WebUI of two folders, with a pip of its own that installs fake wheels, for tests of install.py."""
from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_wheels import write_wheel

pip = pytest.importorskip("pip")

ROOT = Path(__file__).resolve().parents[1]
NEEDED = ("numpy", "regex", "tokenizers")


def load_installer() -> Any:
    spec = importlib.util.spec_from_file_location("kgen_install", ROOT / "install.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["kgen_install"] = module
    spec.loader.exec_module(module)
    return module


class Webui:
    """A portable WebUI in a folder of an awkward name: its Python, our extension in it, and wheels beside it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.wheels = home / "wheels"
        self.wheels.mkdir(parents=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home / "venv")], check=True)
        self.python = home / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        code = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
        self.site = Path(subprocess.check_output([self.python, "-c", code], text=True).strip())
        for name in ("pip", Path(str(importlib.metadata.distribution("pip")._path)).name):  # type: ignore[attr-defined]
            # This Python's pip is compiled already; a new one would take seconds to install and to load.
            shutil.copytree(Path(pip.__file__).parents[1] / name, self.site / name)
        self.clean = {path.name for path in self.site.iterdir()}
        self.extension = home / "extensions" / "kgen (копия) ü"
        self.extension.mkdir(parents=True)
        shutil.copy(ROOT / "install.py", self.extension)

    def reset(self) -> None:
        """Undo what a test did."""
        for path in [path for path in self.site.iterdir() if path.name not in self.clean]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for wheel in self.wheels.iterdir():
            wheel.unlink()
        (self.extension / ".install.json").unlink(missing_ok=True)

    def offer(self, *names: str, version: str = "2.0") -> None:
        """Put wheels where pip looks."""
        for name in names:
            write_wheel(self.wheels, name, {"regex": "2025.1.1"}.get(name, version))

    def run(self, *arguments: str, **environ: str) -> str:
        """Run install.py as a host does, with nothing on PATH; return what it says."""
        clean = {"HOME": str(self.home), "SYSTEMROOT": os.environ.get("SYSTEMROOT", ""), "PATH": str(self.wheels)}
        options = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": self.wheels.as_uri(), "PIP_CONFIG_FILE": os.devnull}
        done = subprocess.run(
            [str(self.python), str(self.extension / "install.py"), *arguments], cwd=self.home,
            env={**clean, **options, **environ}, capture_output=True, text=True, encoding="utf-8", timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout

    def installed(self) -> dict[str, str]:
        """Return the versions of the installed packages by name."""
        packages = importlib.metadata.distributions(path=[str(self.site)])
        return {package.metadata["Name"]: package.version for package in packages}
