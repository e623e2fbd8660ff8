"""Installer of KGen's dependencies; the host runs it at every start, and so can you: `python install.py`.

Uses the standard library only, never changes an installed package, never compiles, and never fails.

    required   numpy, regex, tokenizers: hosts usually have them
    optional   llama-cpp-python, from prebuilt wheels: for the accelerator that torch was built for, else for the CPU

Every installed package is pinned to its version while pip runs. If llama-cpp-python cannot be loaded afterwards, what
pip added for it is uninstalled again. A failed attempt is repeated after a day, or at once with `--again`. Options:

    --again  --skip-install  --no-llama-cpp      all but --again also in COMMANDLINE_ARGS
    KGEN_OFFLINE=1, HF_HUB_OFFLINE=1, TRANSFORMERS_OFFLINE=1, --kgen-offline    install nothing, report what is missing
    KGEN_LLAMA_CPP=0                             do not install llama-cpp-python; cpu, cu124, vulkan, ...: that build
    KGEN_LLAMA_CPP_INDEX=https://...             a mirror of its wheels
    INDEX_URL, PIP_*                             as the host and pip define them
"""
from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# The lower bounds of pyproject.toml (a test compares them): whatever a supported host pins is new enough.
REQUIRED = {
    "numpy": "numpy>=1.24",
    "regex": "regex>=2022.10.31",
    "tokenizers": "tokenizers>=0.13.3",
}
OPTIONAL = "llama-cpp-python"
WHEEL_INDEX = "https://abetlen.github.io/llama-cpp-python/whl"
# The CUDA builds that exist, by system (llama-cpp-python's own workflows, release 0.3.35).
CUDA = {"linux": (118, 121, 122, 123, 124, 125, 130, 132), "win32": (118, 124, 125, 130, 132)}
TIMEOUTS = {"required": 300.0, "accelerator": 180.0, "cpu": 120.0, "load": 60.0}  # seconds
RETRY_AFTER = 24 * 3600.0  # seconds since a failed attempt
# torch first, as in the WebUI: the accelerator's libraries that it brings along are found then.
LOAD_TEST = "try:\n import torch\nexcept Exception: pass\nimport llama_cpp\nllama_cpp.llama_backend_init()\n"
_TRUE = ("1", "true", "yes", "on")


@dataclass
class Machine:
    """The environment of the installer: variables, arguments, platform, folder, clock and output; tests replace it."""

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    arguments: Sequence[str] = ()
    system: str = sys.platform
    processor: str = platform.machine().lower()
    folder: Path = Path(__file__).resolve().parent
    now: Callable[[], float] = time.time
    say: Callable[[str], object] = lambda line: print(f"KGen: {line}", flush=True)

    def flag(self, name: str) -> bool:
        """Return whether an option was given, to this script or to the host."""
        return name in self.arguments or name in _words(self.environ.get("COMMANDLINE_ARGS", ""))

    def is_set(self, *names: str) -> bool:
        """Return whether one of these environment variables is on."""
        return any(self.environ.get(name, "").strip().lower() in _TRUE for name in names)


def main(machine: Machine) -> int:
    """Install what is missing; always return 0, as the WebUI starts without it."""
    try:
        _install(machine)
    except Exception as error:  # nothing here may keep the host from starting
        machine.say(f"could not check dependencies ({type(error).__name__}: {error}); the WebUI starts anyway")
    return 0


def missing() -> list[str]:
    """Return the required packages that are neither installed nor importable."""
    return [name for name in REQUIRED if version(name) is None and importlib.util.find_spec(name) is None]


def version(name: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def accelerators(torch: str | None, *, system: str, processor: str, wanted: str = "") -> list[str]:
    """Return the builds of llama-cpp-python to try, best first; torch: its version, whose suffix names its accelerator.

    >>> accelerators("2.1.2+cu121", system="linux", processor="x86_64")
    ['cu121', 'cpu']
    """
    if wanted not in ("", "1", "auto"):
        return [wanted]
    if system == "darwin":
        return ["metal", "cpu"] if processor == "arm64" else ["cpu"]
    build = (torch or "").partition("+")[2]
    cuda = re.fullmatch(r"cu(\d{2})(\d)", build)
    if cuda and processor in ("x86_64", "amd64") and system in CUDA:
        # Builds work with every CUDA of the same major version; the newest one that is not above torch's is best.
        compatible = [number for number in CUDA[system] if number // 10 == int(cuda[1])]
        not_newer = [number for number in compatible if number <= int(cuda[1] + cuda[2])]
        if compatible:
            return [f"cu{max(not_newer) if not_newer else min(compatible)}", "cpu"]
    if build.startswith("rocm7.2") and system == "linux":
        return ["rocm72", "cpu"]
    return ["cpu"]


def constraints(installed: Iterable[importlib.metadata.Distribution]) -> list[str]:
    """Return pip constraints: every installed package at its version, and their requirements on our missing ones."""
    lines = []
    for package in installed:
        name, pin = package.metadata["Name"], package.version
        if name and pin and re.fullmatch(r"[A-Za-z0-9._-]+", name) and re.fullmatch(r"[A-Za-z0-9.+!_-]+", pin):
            lines.append(f"{name}=={pin}")
        for requirement in package.requires or ():
            found = re.fullmatch(r"([A-Za-z0-9._-]+)\s*\(?([<>=!~][^;()]*)\)?", requirement.split(";")[0].strip())
            if found and found[1].lower() in REQUIRED and ";" not in requirement and version(found[1]) is None:
                lines.append(f"{found[1]}{found[2].strip()}")
    return sorted(set(lines))


class Pip:
    """The host's pip, or uv in an environment without pip; never changes an installed package."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        own = importlib.util.find_spec("pip") is not None
        uv = None if own else shutil.which("uv", path=machine.environ.get("PATH"))
        self.command = [sys.executable, "-m", "pip"] if own else [uv, "pip"] if uv else []
        self.options = ["--no-input", "--disable-pip-version-check", "--retries", "1", "--timeout", "15"] if own else []

    def install(self, packages: Sequence[str], *, seconds: float, index: str = "") -> str:
        """Install packages from wheels; return "" or the error in one line."""
        command = [*self.command, "install", *self.options, "--only-binary", ":all:"]
        command += [] if self.options else ["--python", sys.executable]
        if main_index := self.machine.environ.get("INDEX_URL", "").strip():
            command += ["--index-url", main_index]
        command += ["--extra-index-url", index] if index else []
        with tempfile.TemporaryDirectory(prefix="kgen-") as folder:
            pins = Path(folder, "installed.txt")
            pins.write_text("\n".join(constraints(importlib.metadata.distributions())) + "\n", "utf-8")
            return self.run([*command, "--constraint", str(pins), *packages], seconds=seconds, folder=folder)

    def remove(self, packages: Sequence[str]) -> str:
        """Uninstall packages."""
        command = [*self.command, "uninstall", *(["--yes"] if self.options else ["--python", sys.executable])]
        return self.run([*command, *packages], seconds=TIMEOUTS["load"]) if packages else ""

    def run(self, command: Sequence[str], *, seconds: float, folder: str | None = None) -> str:
        """Run a command; return "" or the error in one line."""
        # PIP_USER=0: not into the user's site-packages, which other Pythons would see, too.
        environ = {**self.machine.environ, "PIP_USER": "0", "PYTHONIOENCODING": "utf-8", "PYTHONUTF8": "1"}
        try:
            done = subprocess.run(
                command, env=environ, cwd=folder, timeout=seconds, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"timed out after {seconds:.0f} seconds"
        except OSError as error:
            return f"{error}"
        lines = [line.strip() for line in done.stdout.decode("utf-8", "replace").splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower()] or lines[-1:] or [f"exit code {done.returncode}"]
        return errors[-1][:300] if done.returncode else ""


class FailedAttempts:
    """Failed attempts in a small JSON file, in the extension's folder or, if that is read-only, the temporary one."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        name = f"kgen-install-{re.sub(r'[^A-Za-z0-9]+', '-', str(machine.folder))[-80:]}.json"
        self.paths = (machine.folder / ".install.json", Path(tempfile.gettempdir(), name))

    def recent(self, what: str) -> str:
        """Return the error of the same attempt in this Python less than a day ago, "" if there was none."""
        for path in self.paths if not self.machine.flag("--again") else ():
            try:
                known = json.loads(path.read_text("utf-8"))[self._key(what)]
                if 0 <= self.machine.now() - float(known["at"]) < RETRY_AFTER:
                    return str(known["why"])
            except (OSError, ValueError, KeyError, TypeError):
                continue  # no such file, or not one of ours
        return ""

    def record(self, what: str, error: str) -> None:
        """Record the error of an attempt; an empty one deletes the record."""
        for path in self.paths:
            try:
                known = json.loads(path.read_text("utf-8")) if path.is_file() else {}
            except (OSError, ValueError):
                known = {}
            known = known if isinstance(known, dict) else {}
            known.pop(self._key(what), None)
            if error:
                known[self._key(what)] = {"at": self.machine.now(), "why": error}
            try:
                path.write_text(json.dumps(known, indent=1), "utf-8")
                return
            except OSError:
                continue  # read-only

    def _key(self, what: str) -> str:
        return f"{what} {platform.python_version()} {sys.prefix}"


def _install(machine: Machine) -> None:
    build = machine.environ.get("KGEN_LLAMA_CPP", "").strip().lower()
    required = missing()
    llama = version(OPTIONAL) is None and importlib.util.find_spec("llama_cpp") is None
    llama = llama and build not in ("0", "no", "off") and not machine.flag("--no-llama-cpp")
    if not (required or llama) or machine.flag("--skip-install"):
        return
    pip, attempts = Pip(machine), FailedAttempts(machine)
    names, command = ", ".join(required), pip_command(required)
    if obstacle := _obstacle(machine, pip):
        if required:
            machine.say(f"{names} missing and not installed: {obstacle}. To use prompt expansion, run: {command}")
        return
    if required:
        error = _install_required(pip, attempts, required)
        machine.say(f"could not install {names} ({error}). The WebUI starts; to use prompt expansion, run: {command}"
                    if error else f"installed {names}")  # fmt: skip
        llama = llama and not error
    if llama:
        _install_llama(machine, pip, attempts, build)


def _obstacle(machine: Machine, pip: Pip) -> str:
    """Return why nothing can be installed here, or ""."""
    if machine.is_set("KGEN_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") or machine.flag("--kgen-offline"):
        return "offline mode is on"
    if not pip.command:
        return f'this Python has neither pip nor uv ("{sys.executable}" -m ensurepip adds pip)'
    target = Path(sysconfig.get_paths()["purelib"])
    return "" if os.access(target, os.W_OK) else f"{target} is not writable"


def _install_required(pip: Pip, attempts: FailedAttempts, required: Sequence[str]) -> str:
    what = " ".join(required)
    if error := attempts.recent(what):
        return f"{error}; tried within the last day, python install.py --again retries now"
    error = pip.install([REQUIRED[name] for name in required], seconds=TIMEOUTS["required"])
    attempts.record(what, error)
    return error


def _install_llama(machine: Machine, pip: Pip, attempts: FailedAttempts, wanted: str) -> None:
    if attempts.recent(OPTIONAL):
        return  # reported when it failed
    base = machine.environ.get("KGEN_LLAMA_CPP_INDEX", "").strip().rstrip("/") or WHEEL_INDEX
    error = ""
    for build in accelerators(version("torch"), system=machine.system, processor=machine.processor, wanted=wanted):
        before = _names()
        seconds = TIMEOUTS["cpu" if build == "cpu" else "accelerator"]
        error = pip.install([f"{OPTIONAL}>=0.3"], seconds=seconds, index=f"{base}/{build}")
        error = error or pip.run([sys.executable, "-c", LOAD_TEST], seconds=TIMEOUTS["load"])
        if not error:
            attempts.record(OPTIONAL, "")
            machine.say(f"installed {OPTIONAL} {version(OPTIONAL)} ({build})")
            return
        pip.remove(sorted(_names() - before))
    attempts.record(OPTIONAL, error)
    machine.say(
        f"{OPTIONAL} is not installed: no prebuilt wheel works here ({error}). KGen works without it; only TIPO v2 "
        "models need it. python install.py --again retries"
    )


def pip_command(packages: Sequence[str]) -> str:
    """Return the command line that installs packages."""
    return " ".join((f'"{sys.executable}" -m pip install', *(f'"{REQUIRED[name]}"' for name in packages)))


def _names() -> set[str]:
    importlib.invalidate_caches()
    names = (package.metadata["Name"] for package in importlib.metadata.distributions())
    return {str(name).lower() for name in names if name}


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text, posix=sys.platform != "win32")
    except ValueError:  # an unclosed quote
        return text.split()


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a console that cannot encode a character
    sys.exit(main(Machine(arguments=sys.argv[1:])))
