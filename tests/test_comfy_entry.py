"""ComfyUI's way in: the root's `__init__.py`, what it costs, and that it disturbs nothing."""
from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_imports import HEAVY

ROOT = Path(__file__).resolve().parents[1]
# Loads the root as ComfyUI does (nodes.py: load_custom_node), with an empty API in its place.
LOAD = f"""
import asyncio, importlib.util, sys, time
sys.path.insert(0, {str(ROOT / "tests")!r})
import pytest
from pathlib import Path
from fake_comfy import install
host = install(pytest.MonkeyPatch(), Path("models"))
before = set(sys.modules)
began = time.process_time()
spec = importlib.util.spec_from_file_location("pack_x_kgen", {str(ROOT / "__init__.py")!r})
module = importlib.util.module_from_spec(spec)
sys.modules["pack_x_kgen"] = module
spec.loader.exec_module(module)
imported = set(sys.modules) - before
extension = asyncio.run(module.comfy_entrypoint())
nodes = asyncio.run(extension.get_node_list())
[cls.define_schema() for cls in nodes]
seconds = time.process_time() - began
"""


def run(code: str, folder: Path) -> str:
    """Return what a new interpreter prints that has neither this repository nor a user's models on its paths."""
    env = {**os.environ, "HF_HUB_CACHE": str(folder / "hub"), "PYTHONPYCACHEPREFIX": str(folder / "cache")}
    for name in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "KGEN_MODELS_DIR"):
        env.pop(name, None)
    argv = [sys.executable, "-c", LOAD + code]
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_root_imports_nothing_of_ours_or_the_host_s(tmp_path: Path) -> None:
    assert run("print(sorted(imported))", tmp_path).strip() == "['pack_x_kgen']"


def test_the_pack_brings_its_own_package_without_a_place_on_the_path(tmp_path: Path) -> None:
    found = run(f"print(sys.modules['kgen_ext'].__file__, {str(ROOT)!r} in sys.path)", tmp_path).split()
    assert found == [str(ROOT / "kgen_ext" / "__init__.py"), "False"]


def test_loading_the_nodes_loads_no_ml_library(tmp_path: Path) -> None:
    loaded = run("print(*{name.split('.')[0] for name in set(sys.modules) - before})", tmp_path).split()
    assert not set(loaded) & (HEAVY | {"numpy", "regex", "huggingface_hub"})


def test_loading_the_nodes_loads_no_other_front_end(tmp_path: Path) -> None:
    loaded = run("print(*(name for name in sys.modules if name.startswith('kgen_ext.')))", tmp_path).split()
    assert not [name for name in loaded if name.startswith(("kgen_ext.webui", "kgen_ext.cli"))]


@pytest.mark.slow
def test_loading_the_nodes_costs_less_than_100_ms(tmp_path: Path) -> None:
    # Processor time, as other work on the machine adds to the wall's; the quickest of five, the first compiles.
    assert min(float(run("print(seconds)", tmp_path)) for _ in range(5)) < 0.100


def test_the_page_s_folder_is_not_the_webui_s(tmp_path: Path) -> None:
    assert run("print(module.WEB_DIRECTORY)", tmp_path).strip() == "./kgen_ext/comfy/web"


def test_a_failure_of_an_optional_library_hides_no_node(tmp_path: Path) -> None:
    code = "print(len(nodes))"
    blocked = "import sys\nfor name in ('regex', 'numpy', 'tokenizers', 'filelock'): sys.modules[name] = None\n"
    env = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub")}
    env.pop("PYTHONPATH", None)
    argv = [sys.executable, "-c", LOAD.replace("before = set", blocked + "before = set") + code]
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "6", done.stderr


def test_only_the_front_end_imports_comfyui_s_modules() -> None:
    foreign = {"comfy", "comfy_api", "comfy_execution", "folder_paths", "server", "nodes", "aiohttp"}
    package = ROOT / "kgen_ext"
    found = [
        (path.name, name) for path in package.rglob("*.py") if package / "comfy" not in path.parents
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import)
                     else [node.module or ""] if isinstance(node, ast.ImportFrom) else [])
        if name.partition(".")[0] in foreign
    ]  # fmt: skip
    assert found == []
