"""What the ComfyUI registry asks of a pack: its metadata, its archive, and what its code must not do."""
from __future__ import annotations

import ast
import fnmatch
import re
import subprocess
from pathlib import Path

import pytest

import kgen_ext

ROOT = Path(__file__).resolve().parents[1]
PROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
IGNORED = [line for line in (ROOT / ".comfyignore").read_text("utf-8").splitlines() if line and line[0] != "#"]


def archive() -> list[Path]:
    """Return the files of the registry's archive: those of git that .comfyignore does not name."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if not any(f"/{name}".startswith(p) for p in IGNORED)]


def setting(name: str) -> str:
    section = PROJECT.split("[tool.comfy]")[1].split("\n[tool.pytest")[0]
    found = re.search(rf'^{name} = "(.*)"$', section, re.MULTILINE)
    assert found, name
    return found[1]


@pytest.mark.parametrize("name", ["Icon", "Banner"])
def test_icon_and_banner_are_files_of_the_repository(name: str) -> None:
    assert (ROOT / setting(name)).is_file()


def test_the_version_is_where_the_registry_looks() -> None:
    source = (ROOT / setting("path")).read_text("utf-8")
    assert f'__version__ = "{kgen_ext.__version__}"' in source


@pytest.mark.parametrize("pattern", IGNORED)
def test_what_the_archive_leaves_out_exists(pattern: str) -> None:
    assert pattern[0] == "/" and (ROOT / pattern[1:]).exists()


@pytest.mark.parametrize("name", ["__init__.py", "kgen_ext/comfy/web/kgen.js", "kgen_ext/starter/starter-Q8_0.gguf",
                                  "locales/en/nodeDefs.json", "pyproject.toml", "LICENSE"])  # fmt: skip
def test_the_archive_has_what_the_nodes_need(name: str) -> None:
    assert ROOT / name in archive()


def test_nothing_in_the_archive_evaluates_code_or_installs_packages() -> None:
    found = []
    for path in archive():
        if path.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
            words = node.value if isinstance(node, ast.Constant) and node.value in ("pip", "ensurepip") else ""
            if name in ("eval", "exec") or words:
                found.append(f"{path.name}:{getattr(node, 'lineno', 0)}: {name or words}")
    assert found == []


def test_no_script_of_the_page_is_read_from_elsewhere() -> None:
    scripts = [path for path in archive() if fnmatch.fnmatch(path.as_posix(), "*/comfy/web/*.js")]
    sources = [source for path in scripts for source in re.findall(r'from "(.*?)"', path.read_text("utf-8"))]
    assert scripts and all(re.match(r"\./|\.\./\.\./scripts/", source) for source in sources)
