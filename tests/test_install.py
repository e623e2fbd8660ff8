"""install.py in a real virtual environment: adds what is missing, changes nothing else, never fails, says so."""
from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_wheels import put_installed, serve_index, write_wheel
from install_kit import NEEDED, ROOT, Webui, load_installer

from kgen_ext.models import hub

install = load_installer()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Webui:
    return Webui(tmp_path_factory.mktemp("web ui портативный"))


@pytest.fixture
def webui(home: Webui) -> Iterator[Webui]:
    yield home
    home.reset()


def test_what_is_missing_is_added_and_nothing_else_changes(webui: Webui) -> None:
    for name, version in (("numpy", "1.26.2"), ("transformers", "4.30.2"), ("pillow", "9.5.0")):
        put_installed(webui.site, name, version)
    webui.offer(*NEEDED, "pillow", version="99.0")
    before = webui.installed()
    said = webui.run(KGEN_LLAMA_CPP="0")
    assert said == "KGen: installed regex, tokenizers\n"
    assert webui.installed() == {**before, "regex": "2025.1.1", "tokenizers": "99.0"}
    assert webui.run(KGEN_LLAMA_CPP="0") == "", "the next start has nothing to do"


def test_a_wheel_that_would_need_another_version_of_something_is_not_taken(webui: Webui) -> None:
    for name in ("numpy", "tokenizers"):
        put_installed(webui.site, name, "1.26.2")
    write_wheel(webui.wheels, "regex", "2025.1.1")
    write_wheel(webui.wheels, "regex", "2026.1.1", requires=["numpy>=2"])
    write_wheel(webui.wheels, "numpy", "2.4")
    webui.run(KGEN_LLAMA_CPP="0")
    assert (webui.installed()["regex"], webui.installed()["numpy"]) == ("2025.1.1", "1.26.2")


def test_what_another_package_asks_of_a_missing_one_is_kept(webui: Webui) -> None:
    asks = ["tokenizers!=0.14.1,<0.15,>=0.11", "regex!=2019.12.17"]
    put_installed(webui.site, "transformers", "4.30.2", requires=asks)
    for name in ("numpy", "regex"):
        put_installed(webui.site, name, "2024.1.1")
    for version in ("0.13.3", "0.14.1", "0.21.0"):
        write_wheel(webui.wheels, "tokenizers", version)
    webui.run(KGEN_LLAMA_CPP="0")
    assert webui.installed()["tokenizers"] == "0.13.3"


def test_a_failed_try_is_told_in_one_line_and_not_repeated_at_the_next_start(webui: Webui) -> None:
    said = webui.run(KGEN_LLAMA_CPP="0")
    assert said.count("\n") == 1 and "could not install numpy, regex" in said and "pip install" in said
    memory = json.loads((webui.extension / ".install.json").read_text("utf-8"))
    assert len(memory) == 1
    webui.offer(*NEEDED)
    assert "--again retries now" in webui.run(KGEN_LLAMA_CPP="0")
    assert "numpy" not in webui.installed()
    assert webui.run("--again", KGEN_LLAMA_CPP="0") == "KGen: installed numpy, regex, tokenizers\n"
    assert json.loads((webui.extension / ".install.json").read_text("utf-8")) == {}


def with_needed(webui: Webui) -> None:
    for name in NEEDED:
        put_installed(webui.site, name, "2099.1.1")


def test_llama_cpp_python_comes_from_its_prebuilt_wheels_and_what_it_needs_from_the_usual_index(
    webui: Webui, tmp_path: Path
) -> None:
    with_needed(webui)
    put_installed(webui.site, "torch", "2.1.2+cu121")
    code = "def llama_backend_init(): pass"
    gpu = write_wheel(tmp_path / "gpu", "llama-cpp-python", "0.3.9", code="raise OSError('libcudart.so.12')")
    cpu = write_wheel(tmp_path / "cpu", "llama-cpp-python", "0.3.8", code=code, requires=["diskcache>=5", "numpy>=1.2"])
    need = [write_wheel(tmp_path / "pypi", "diskcache", "5.6.3"), write_wheel(tmp_path / "pypi", "numpy", "2100.1.1")]
    before = webui.installed()
    with serve_index(tmp_path / "served", {"whl/cu121": [gpu], "whl/cpu": [cpu], "simple": need}) as address:
        said = webui.run(
            PIP_NO_INDEX="", INDEX_URL=f"{address}/simple", KGEN_LLAMA_CPP_INDEX=f"{address}/whl/", NO_PROXY="*",
        )  # fmt: skip
    assert said == "KGen: installed llama-cpp-python 0.3.8 (cpu)\n", "the other does not load here, so it is gone again"
    assert webui.installed() == {**before, "llama-cpp-python": "0.3.8", "diskcache": "5.6.3"}


def test_without_a_wheel_that_works_llama_cpp_python_is_left_out_in_one_friendly_line(webui: Webui) -> None:
    with_needed(webui)
    write_wheel(webui.wheels, "llama-cpp-python", "0.3.9", code="raise OSError('GLIBC_2.38 not found')")
    before = webui.installed()
    said = webui.run()
    assert said.count("\n") == 1 and "is not installed" in said and "GLIBC_2.38" in said and "works without it" in said
    assert webui.installed() == before
    assert webui.run() == "", "and it is not tried at every start"
    (webui.wheels / "llama_cpp_python-0.3.9-py3-none-any.whl").unlink()
    write_wheel(webui.wheels, "llama-cpp-python", "0.3.10", code="def llama_backend_init(): pass")
    assert webui.run("--again") == "KGen: installed llama-cpp-python 0.3.10 (cpu)\n"


def test_a_source_package_is_never_built(webui: Webui) -> None:
    with_needed(webui)
    (webui.wheels / "llama_cpp_python-0.3.9.tar.gz").write_bytes(b"not even an archive")
    assert "is not installed" in webui.run()


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [((), {"COMMANDLINE_ARGS": "--xformers --skip-install"}), (("--skip-install",), {})],
    ids=["told to the host", "told to us"],
)
def test_skip_install_is_obeyed(webui: Webui, arguments: tuple[str, ...], environ: dict[str, str]) -> None:
    webui.offer(*NEEDED)
    before = webui.installed()
    assert webui.run(*arguments, **environ) == ""
    assert webui.installed() == before


@pytest.mark.parametrize(
    "environ",
    [{"KGEN_OFFLINE": "1"}, {"HF_HUB_OFFLINE": "true"}, {"COMMANDLINE_ARGS": '--kgen-offline --theme "dark'}],
    ids=["KGEN_OFFLINE", "HF_HUB_OFFLINE", "an option, in a line with an open quote"],
)
def test_offline_nothing_is_installed_and_what_is_missing_is_told(webui: Webui, environ: dict[str, str]) -> None:
    webui.offer(*NEEDED)
    before = webui.installed()
    said = webui.run(**environ)
    assert "offline mode is on" in said and 'pip install "numpy>=1.24"' in said
    assert webui.installed() == before
    with_needed(webui)
    assert webui.run(**environ) == "", "the optional one is not worth a word each start"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_read_only_environment_is_left_as_it_is(webui: Webui) -> None:
    webui.offer(*NEEDED)
    mode = webui.site.stat().st_mode
    webui.site.chmod(mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    try:
        assert "is not writable" in webui.run()
    finally:
        webui.site.chmod(mode)


@pytest.mark.parametrize("value", ["1", "ON", "Yes", " true ", "0", "", "offline"])
@pytest.mark.parametrize("name", hub._OFFLINE)
def test_offline_is_what_it_is_for_downloads(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(install.sysconfig, "get_paths", lambda: {"purelib": str(tmp_path)})
    machine = install.Machine(environ={name: value, "PATH": ""}, folder=tmp_path)
    said = install._obstacle(machine, install.Pip(machine))
    assert (said == "offline mode is on") is hub.is_offline(machine.environ)


def test_a_read_only_place_is_told_and_no_other_is_written_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said = list[str]()
    monkeypatch.setattr(install, "missing", lambda: ["regex"])
    monkeypatch.setattr(install.os, "access", lambda path, mode: False)
    monkeypatch.setattr(install.subprocess, "run", lambda *a, **k: pytest.fail("nothing may be run"))
    assert install.main(install.Machine(environ={}, folder=tmp_path, say=said.append)) == 0
    assert len(said) == 1 and "is not writable" in said[0] and "regex" in said[0]


def test_an_environment_without_pip_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said = list[str]()
    monkeypatch.setattr(install, "missing", lambda: ["regex"])
    real = importlib.util.find_spec
    monkeypatch.setattr(install.importlib.util, "find_spec", lambda name: None if name == "pip" else real(name))
    install.main(install.Machine(environ={"PATH": str(tmp_path)}, folder=tmp_path, say=said.append))
    assert "neither pip nor uv" in said[0] and "-m ensurepip" in said[0], "a command that needs pip alone is no help"


def test_pip_that_does_not_end_is_stopped_and_that_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said = list[str]()
    monkeypatch.setattr(install, "missing", lambda: ["regex"])
    monkeypatch.setitem(install.TIMEOUTS, "required", 0.2)
    real = install.subprocess.run
    monkeypatch.setattr(
        install.subprocess, "run",
        lambda command, **options: real([sys.executable, "-c", "import time; time.sleep(60)"], **options),
    )  # fmt: skip
    machine = install.Machine(environ={**os.environ, "KGEN_LLAMA_CPP": "0"}, folder=tmp_path, say=said.append)
    install.main(machine)
    assert "timed out after" in said[0]


def test_whatever_breaks_the_webui_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said = list[str]()

    def fail() -> list[str]:
        raise RuntimeError("a package with no metadata")

    monkeypatch.setattr(install, "missing", fail)
    assert install.main(install.Machine(environ={}, folder=tmp_path, say=said.append)) == 0
    assert said == [
        "could not check dependencies (RuntimeError: a package with no metadata); the WebUI starts anyway"
    ]


def test_a_memory_that_cannot_be_written_or_read_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install.tempfile, "gettempdir", lambda: str(tmp_path / "absent"))
    attempts = install.FailedAttempts(install.Machine(environ={}, folder=tmp_path / "absent too"))
    attempts.record("x", "why")
    assert attempts.recent("x") == ""
    (tmp_path / ".install.json").write_text("[1", "utf-8")
    attempts = install.FailedAttempts(install.Machine(environ={}, folder=tmp_path, now=lambda: 0.0))
    assert attempts.recent("x") == ""
    attempts.record("x", "why")
    assert attempts.recent("x") == "why"


def test_a_try_is_repeated_after_a_day(tmp_path: Path) -> None:
    now = [1e9]
    attempts = install.FailedAttempts(install.Machine(environ={}, folder=tmp_path, now=lambda: now[0]))
    attempts.record("x", "why")
    now[0] += install.RETRY_AFTER - 1
    assert attempts.recent("x") == "why"
    now[0] += 2
    assert attempts.recent("x") == ""


@pytest.mark.parametrize(
    ("torch", "system", "processor", "builds"),
    [
        ("2.1.2+cu121", "linux", "x86_64", ["cu121", "cpu"]),
        ("2.7.0+cu128", "linux", "x86_64", ["cu125", "cpu"]),
        ("2.3.1+cu121", "win32", "amd64", ["cu124", "cpu"]),
        ("2.0.1+cu118", "win32", "amd64", ["cu118", "cpu"]),
        ("2.9.0+cu130", "linux", "x86_64", ["cu130", "cpu"]),
        ("1.13.1+cu117", "linux", "x86_64", ["cu118", "cpu"]),
        ("2.1.2+cu121", "linux", "aarch64", ["cpu"]),
        ("2.1.2+cu102", "linux", "x86_64", ["cpu"]),
        ("2.4.1+rocm6.1", "linux", "x86_64", ["cpu"]),
        ("2.9.1+rocm7.2", "linux", "x86_64", ["rocm72", "cpu"]),
        ("2.1.2", "darwin", "arm64", ["metal", "cpu"]),
        ("2.1.2", "darwin", "x86_64", ["cpu"]),
        ("2.1.2+cpu", "win32", "amd64", ["cpu"]),
        (None, "linux", "x86_64", ["cpu"]),
    ],
)
def test_the_wheel_is_for_what_torch_was_built_for(
    torch: str | None, system: str, processor: str, builds: list[str]
) -> None:
    assert install.accelerators(torch, system=system, processor=processor) == builds


def test_a_build_that_is_asked_for_is_the_only_one_tried() -> None:
    assert install.accelerators("2.1.2+cu121", system="linux", processor="x86_64", wanted="vulkan") == ["vulkan"]


def test_the_list_of_what_is_needed_is_that_of_the_package() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    block = re.search(r"^dependencies = \[(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    assert block is not None
    assert sorted(re.findall(r'"([^"]+)"', block[1])) == sorted(install.REQUIRED.values())
    assert all(line.startswith(name) for name, line in install.REQUIRED.items())


@pytest.mark.parametrize("name", install.REQUIRED)
def test_what_is_needed_is_imported_by_the_package(name: str) -> None:
    # Training and measuring have packages of their own.
    sources = [path for path in (ROOT / "kgen_ext").rglob("*.py") if path.parent.name not in ("training", "bench")]
    assert any(re.search(rf"^\s*(import|from) {name}\b", path.read_text("utf-8"), re.MULTILINE) for path in sources)


def test_only_the_standard_library_is_imported() -> None:
    names = re.findall(r"^(?:from|import) (\w+)", (ROOT / "install.py").read_text("utf-8"), re.MULTILINE)
    assert set(names) <= set(sys.stdlib_module_names) | {"__future__"}
