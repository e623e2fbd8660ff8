"""Installation tests: the extension with the versions that the hosts pin, and with the newest of everything.

    python tests/matrix.py [--only a1111,forge,newest,scale] [--keep FOLDER]

In each environment install.py adds what is missing and changes nothing else (`pip freeze` before and after), every
engine expands a prompt, and the tests that use other libraries run: the engine contract, the hub client, the page, the
API, and, with the hosts' gradio and where Chromium is installed, the page in a browser; with the newest gradio the demo
page and its twenty clients. Needs PyPI, or a pip configured with wheels. The prebuilt llama-cpp-python is that of the
running Python, packed again and served as its own index would be; only a newer one is compiled. `scale` is no host, but
the extra and the tests of `kgen batch` with Ray and Parquet.
"""
from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ("--constraint", str(ROOT / "constraints.txt"))
CPU_BUILDS = "https://download.pytorch.org/whl/cpu"
PROMPT = "1girl, (fox ears:1.2), BREAK shrine"
EXTENSION = ("install.py", "preload.py", "metadata.ini", "kgen_ext", "scripts")


@dataclass(frozen=True)
class Host:
    """Versions that a host pins, of the packages that KGen uses.

    without: packages that are then uninstalled, to be missing. browser: whether the page is tried in one. demo: whether
    the demo page is tried. llama_cpp: what replaces the packed llama-cpp-python before the tests. below: the first
    Python for which these versions have no wheels.
    """

    pins: tuple[str, ...]
    without: tuple[str, ...] = ()
    browser: bool = False
    demo: bool = False
    llama_cpp: tuple[str, ...] = ()
    below: tuple[int, int] = (4, 0)


# requirements_versions.txt of AUTOMATIC1111 1.10.1 and of Forge; what they leave open is the version of that time.
HOSTS = {
    "a1111": Host(
        ("transformers==4.30.2", "tokenizers==0.13.3", "pydantic==1.10.19", "huggingface_hub==0.24.7", "numpy==1.26.2",
         "safetensors==0.4.2", "gradio==3.41.2", "gradio_client==0.5.0", "fastapi==0.94.0", "httpx==0.24.1",
         "pillow==9.5.0", "matplotlib<4"), without=("regex",), browser=True, below=(3, 12),
    ),
    "forge": Host(
        ("transformers==4.46.1", "huggingface_hub==0.26.2", "pydantic==2.8.2", "numpy==1.26.2", "safetensors==0.4.2",
         "gradio==4.40.0", "gradio_client==1.2.0", "fastapi==0.104.1", "httpx==0.24.1", "pillow==9.5.0"),
        without=("regex",), browser=True, below=(3, 13),
    ),
    "newest": Host(
        ("transformers", "tokenizers", "huggingface_hub", "pydantic", "numpy", "gradio", "fastapi", "httpx"),
        demo=True, llama_cpp=("llama-cpp-python",),
    ),
}  # fmt: skip
# Tests that use other libraries. The slow ones run once, in the whole test run.
TESTS = ("engine_contract", "engine_files", "engine_llama_cpp", "engine_server_real", "engine_transformers", "devices",
         "download", "download_faults", "webui_ui", "webui_preview", "webui_api_routes")  # fmt: skip

# The environment of the extra `scale`, and its tests.
SCALE = "scale"
SCALE_TESTS = ("batch", "batch_faults", "batch_parquet", "batch_ray")

# Tests of the demo page that need its gradio; those in a browser are slow and run by hand.
DEMO_TESTS = ("demo_page", "demo_clients")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class Failed(Exception):
    """A check of the matrix failed."""


class Environment:
    """A WebUI's Python and our extension, in a folder whose name has a space and a letter beyond ASCII."""

    def __init__(self, home: Path, host: Host) -> None:
        self.home, self.host = home, host
        self.python = home / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        self.extension = home / "extensions" / "sd-webui-kgen"

    def build(self) -> None:
        """Install the host's packages."""
        subprocess.run([sys.executable, "-m", "venv", str(self.home / "venv")], check=True)
        # As in the README: a CPU build of torch if there is one.
        self.pip("install", "--no-deps", *CONSTRAINTS, "--extra-index-url", CPU_BUILDS, "torch")
        self.pip("install", "torch", *self.host.pins)
        if self.host.without:
            self.pip("uninstall", "--yes", *self.host.without)
        self.extension.mkdir(parents=True)
        for name in EXTENSION:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, self.extension / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif (ROOT / name).exists():
                shutil.copy(ROOT / name, self.extension)

    def pip(self, *arguments: str, check: bool = True) -> str:
        """Run the environment's own pip and return what it prints."""
        command = [str(self.python), "-m", "pip", "--disable-pip-version-check", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise Failed(f"pip {' '.join(arguments)}: {done.stdout[-500:]}{done.stderr[-1500:]}")
        return done.stdout

    def freeze(self) -> set[str]:
        """Return what is installed."""
        return set(self.pip("freeze", "--all").split("\n")) - {""}

    def run(self, *arguments: str, **environ: str) -> str:
        """Run a Python file or module from the WebUI's folder, as its launcher does."""
        done = subprocess.run(
            [str(self.python), *arguments], cwd=self.extension if arguments[0] == "-m" else self.home,
            env={**os.environ, "PYTHONPATH": str(self.home), **environ}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise Failed(f"{' '.join(arguments)}: {done.stdout[-500:]}{done.stderr[-1500:]}")
        return done.stdout

    def install(self, **environ: str) -> tuple[str, set[str], set[str]]:
        """Run install.py; return its output, the packages added and those removed."""
        before = self.freeze()
        said = self.run(str(self.extension / "install.py"), **environ)
        after = self.freeze()
        return said.strip(), after - before, before - after

    def expand(self, engine: str, *arguments: str) -> str:
        """Expand the prompt and return the result, having checked that the user's text is in it."""
        options = ["--seed", "1", "--tag-length", "short", "--engine", engine, "--device", "cpu", "--json", *arguments]
        told = json.loads(self.run("-m", "kgen_ext", "expand", PROMPT, *options))
        if told["engine"] != engine or told["source"] != PROMPT or len(told["added_tags"]) < 10:
            raise Failed(f"{engine}: {told}")
        return str(told["prompt"])

    def test(self) -> str:
        """Run the tests that use other libraries in this environment; return pytest's last line."""
        demo, browser = self.host.demo, self.host.browser and any(map(shutil.which, BROWSERS))
        self.pip("install", *CONSTRAINTS, "pytest", "hypothesis", *(["playwright"] if browser else []))
        # Without dependencies: the constraints would replace the host's NumPy.
        self.pip("install", "--no-deps", *CONSTRAINTS, "gguf")
        if self.host.llama_cpp:
            self.pip("install", "--upgrade", *self.host.llama_cpp)
        files = [f"tests/test_{name}.py" for name in (
            *TESTS, *(["webui_browser"] if browser else []), *(DEMO_TESTS if demo else ())
        )]  # fmt: skip
        needs = ("ENGINES", "GRADIO", "FASTAPI", *(["DEMO"] if demo else []))
        required = {f"KGEN_REQUIRE_{name}": "1" for name in needs}
        quiet: tuple[str, ...] = ()
        if browser:
            required["KGEN_REQUIRE_BROWSER"] = "1"
        if browser or demo:
            # gradio's server leaves sockets to the garbage collector, which comes at the very end, too.
            quiet = ("-W", "ignore::ResourceWarning", "-W", "ignore::pytest.PytestUnraisableExceptionWarning")
        done = subprocess.run(
            [str(self.python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *quiet, *files],
            cwd=ROOT, env={**os.environ, **required}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise Failed(f"the tests: {done.stdout[-6000:]}{done.stderr[-1500:]}")
        return done.stdout.strip().splitlines()[-1]


def check(name: str, home: Path, index: str) -> dict[str, str]:
    """Build a host, install without and with llama-cpp-python, and return each engine's result."""
    host, began = HOSTS[name], time.monotonic()
    there = Environment(home / f"{name} wëb ui", host)
    there.build()
    say(name, began, f"built: {', '.join(sorted(pin for pin in there.freeze() if pin.split('==')[0] in SHOWN))}")
    said, came, went = there.install(KGEN_LLAMA_CPP="0")
    if went or {pin.split("==")[0] for pin in came} != set(host.without):
        raise Failed(f"{name}: install.py took {sorted(went)} and brought {sorted(came)}: {said}")
    say(name, began, f"without llama-cpp-python: {said or 'nothing was missing'}; freeze differs by {sorted(came)}")
    gguf = str(next((there.extension / "kgen_ext" / "starter").glob("*.gguf")))
    words = {engine: there.expand(engine) for engine in ("reference", "transformers")}
    words |= {f"{engine}, GGUF": there.expand(engine, "--model", gguf) for engine in ("reference", "transformers")}
    say(name, began, f"expanded by {', '.join(words)}")
    said, came, went = there.install(KGEN_LLAMA_CPP="cpu", KGEN_LLAMA_CPP_INDEX=index)
    if went or "llama_cpp_python" not in {pin.split("==")[0].split(" @")[0].replace("-", "_") for pin in came}:
        raise Failed(f"{name}: install.py took {sorted(went)} and brought {sorted(came)}: {said}")
    say(name, began, f"with llama-cpp-python: {said}; freeze differs by {sorted(came)}")
    words["llama_cpp"] = there.expand("llama_cpp", "--model", gguf)
    said, came, went = there.install()
    if said or came or went:
        raise Failed(f"{name}: the next start was not idle: {said} {came} {went}")
    report = json.loads(there.run("-m", "kgen_ext", "doctor", "--json"))
    if not report["works"] or not all(engine["usable"] for engine in report["engines"]):
        raise Failed(f"{name}: doctor says {report}")
    say(name, began, "expanded by llama_cpp; the next start is idle; doctor finds all engines")
    passed = there.test()
    say(name, began, f"{', '.join(sorted(pin for pin in there.freeze() if pin.split('==')[0] in SHOWN))}: {passed}")
    return words


SHOWN = ("transformers", "tokenizers", "pydantic", "huggingface-hub", "huggingface_hub", "numpy", "torch", "gradio",
         "fastapi", "llama-cpp-python", "llama_cpp_python")  # fmt: skip


def say(name: str, began: float, text: str) -> None:
    """Print a line of the report."""
    sys.stdout.write(f"{name:<8}{time.monotonic() - began:5.0f} s  {text}\n")
    sys.stdout.flush()


def check_scale(home: Path) -> None:
    """Install the extra `scale` and run the tests that need it."""
    began, python = time.monotonic(), home / SCALE / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    subprocess.run([sys.executable, "-m", "venv", str(home / SCALE)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, f"{ROOT}[scale]", "pytest", "hypothesis"], check=True)
    files = [f"tests/test_{name}.py" for name in SCALE_TESTS]
    done = subprocess.run(
        [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *files],
        cwd=ROOT, env={**os.environ, "KGEN_REQUIRE_RAY": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise Failed(f"{SCALE}: {done.stdout[-6000:]}{done.stderr[-1500:]}")
    say(SCALE, began, done.stdout.strip().splitlines()[-1])


def write_index(folder: Path) -> str:
    """Write a package index in place of llama-cpp-python's own, with this Python's copy; return its address."""
    page = folder / "cpu" / "llama-cpp-python"
    page.mkdir(parents=True)
    wheel = pack_wheel("llama-cpp-python", page)
    (page / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>\n', "utf-8")
    return folder.as_uri()


def pack_wheel(name: str, folder: Path) -> Path:
    """Pack an installed package into a wheel again."""
    package = importlib.metadata.distribution(name)
    tag = next(line for line in (package.read_text("WHEEL") or "").splitlines() if line.startswith("Tag: "))[5:]
    path = folder / f"{name.replace('-', '_')}-{package.version}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in package.files or ():
            made_here = file.name in ("INSTALLER", "REQUESTED", "direct_url.json") or "__pycache__" in file.parts
            if ".." not in file.parts and not made_here:
                archive.write(str(file.locate()), file.as_posix())
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the matrix; return 1 at the first failed check."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", default=",".join((*HOSTS, SCALE)), help="which (default: %(default)s)")
    parser.add_argument("--keep", type=Path, help="a folder to build in and to leave behind")
    options = parser.parse_args(arguments)
    home = options.keep or Path(tempfile.mkdtemp(prefix="kgen-matrix-"))
    home.mkdir(parents=True, exist_ok=True)
    try:
        index = write_index(home / "index")
        asked = options.only.split(",")
        hosts = [name for name in asked if name != SCALE]
        chosen = [name for name in hosts if sys.version_info < HOSTS[name].below]
        for name in hosts:
            if name not in chosen:
                sys.stdout.write(f"{name:<8} left out: its versions are not for Python {platform.python_version()}\n")
        if SCALE in asked:
            check_scale(home)
        words = {name: check(name, home, index) for name in chosen}
    except Failed as error:
        sys.stdout.write(f"FAILED {error}\n")
        return 1
    finally:
        if options.keep is None:
            shutil.rmtree(home, ignore_errors=True)
    for engine in next(iter(words.values()), ()):
        same = len({by_engine[engine] for by_engine in words.values()}) == 1
        sys.stdout.write(f"{engine:<20} {'the same words everywhere' if same else 'DIFFERENT WORDS'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
