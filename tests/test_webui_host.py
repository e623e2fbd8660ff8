"""Access to the host: its parts, folders, styles and images, and hosts without them."""
from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_host import install

from kgen_ext.webui.host import Host
from kgen_ext.webui.hosts import find_host

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(("kind", "name"), [
    ("a1111", "A1111"), ("forge", "Forge"), ("reforge", "ReForge"), ("sdnext", "SdNext"), ("bare", "A1111"),
])  # fmt: skip
def test_a_host_is_told_by_its_modules(monkeypatch: pytest.MonkeyPatch, kind: str, name: str) -> None:
    install(monkeypatch, kind=kind)
    assert type(find_host()).__name__ == name


def test_without_a_host_there_is_none() -> None:
    assert type(find_host()) is Host


def test_everything_can_be_asked_of_no_host_at_all() -> None:
    host = Host()
    assert host.option("x", 3) == 3 and host.flag("y", 4) == 4 and host.state is None and not host.interrupted()
    assert host.path("models_path") is None and host.on("on_app_started", print) is False
    assert host.read_image(None) == "" and host.extract_styles("a", "b") == ([], "a", "b")
    with host.queue_lock():
        assert host.part("modules.scripts.AlwaysVisible") is None


def test_an_error_inside_a_module_of_the_hosts_is_not_taken_for_its_absence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broken_part.py").write_text("import a_library_it_needs")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="a_library_it_needs"):
        Host().module("broken_part")
    assert Host().module("no_such_part") is None and Host().module("no_such.part") is None


def test_both_buttons_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = install(monkeypatch)
    host = Host()
    assert not host.interrupted()
    fake.state.stop_generating()
    assert host.interrupted()
    fake.state.begin()
    fake.state.interrupt()
    assert host.interrupted()


@pytest.mark.parametrize("image, text", [
    (SimpleNamespace(info={"parameters": "a\nSteps: 1"}), "a\nSteps: 1"), (SimpleNamespace(info={}), ""),
    (object(), ""),
    (None, ""), (SimpleNamespace(info=None), ""),
])  # fmt: skip
def test_an_image_without_an_infotext_says_nothing(monkeypatch: pytest.MonkeyPatch, image: Any, text: str) -> None:
    install(monkeypatch)
    assert Host().read_image(image) == text


def test_styles_are_looked_for_as_the_host_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = install(monkeypatch)
    fake.styles.styles["film"] = ("film grain", "")
    assert Host().extract_styles("cat, film grain", "") == (["film"], "cat", "")
    fake.opts.infotext_styles = "Ignore"
    assert Host().extract_styles("cat, film grain", "") == ([], "cat, film grain", "")


# A process of its own that plays the host's start: what is loaded, and what it costs over Python and the host.
START = """
import sys, time, types
sys.path[:0] = [{tests!r}, {root!r}]
import pytest, fake_host, fake_parts, dataclasses, logging, pathlib, argparse, importlib.util
patch = pytest.MonkeyPatch()
host = fake_host.install(patch)
before = time.process_time()
spec = importlib.util.spec_from_file_location("kgen.py", {script!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
spent = time.process_time() - before
classes = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, fake_parts.Script)]
import json
print(json.dumps([spent, sorted(sys.modules), [kind.__name__ for kind in classes]]))
"""


def start(tmp_path: Path) -> tuple[float, set[str], list[str]]:
    script = str(ROOT / "scripts" / "kgen.py")
    code = textwrap.dedent(START).format(tests=str(ROOT / "tests"), root=str(ROOT), script=script)
    env = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    spent, names, classes = json.loads(done.stdout.splitlines()[-1])
    return spent, set(names), classes


def yardstick() -> float:
    """Return the processor time that some modules of the standard library take, about as long as the start: 70 ms."""
    code = "import time, asyncio, doctest, imaplib, mailbox, xmlrpc.server; print(time.process_time() - begin)"
    code = f"import time; begin = time.process_time(); {code}"
    return float(subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True).stdout)


@pytest.mark.slow
def test_starting_costs_little_and_loads_no_library(tmp_path: Path) -> None:
    ratios = list[float]()
    for _ in range(3):
        unit = yardstick()
        spent, names, classes = start(tmp_path)
        ratios.append(spent / unit)
    heavy = {"torch", "transformers", "llama_cpp", "gradio", "tokenizers", "safetensors", "numpy", "huggingface_hub"}
    assert names.isdisjoint(heavy)
    decoder = {"kgen_ext.decoding", "kgen_ext.engines.registry", "kgen_ext.prompt.parser", "kgen_ext.service.expander"}
    assert names.isdisjoint(decoder)
    assert classes == ["KGenScript"]
    assert min(ratios) < 1.5  # of that: 100 ms, and more on a slower machine
