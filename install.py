"""Installs what KGen needs and the host lacks; the host runs this at every start, and so may you: `python install.py`.

Refuses to change anything that is installed, to compile, to raise, and to import more than the standard library.

    needed     numpy, regex, tokenizers: hosts have them as a rule
    optional   llama-cpp-python, from its prebuilt wheels: for the accelerator torch was built for, else the CPU

Every installed package is pinned at its version while pip works. What pip added and cannot be loaded is taken away
again. A try that failed is kept in mind for a day; `--again` does not wait. What decides:

    --again  --skip-install  --no-llama-cpp      also in COMMANDLINE_ARGS, but for the first
    KGEN_OFFLINE=1, HF_HUB_OFFLINE=1, TRANSFORMERS_OFFLINE=1, --kgen-offline    install nothing, say what is missing
    KGEN_LLAMA_CPP=0                             leave llama-cpp-python out; cpu, cu124, vulkan...: take that build
    KGEN_LLAMA_CPP_INDEX=https://...             a mirror of its wheels
    INDEX_URL, PIP_*                             as the host and pip know them
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
NEEDED = {
    "numpy": "numpy>=1.24",
    "regex": "regex>=2022.10.31",
    "tokenizers": "tokenizers>=0.13.3",
}
OPTIONAL = "llama-cpp-python"
WHEELS = "https://abetlen.github.io/llama-cpp-python/whl"
# The CUDA builds that exist, by system (llama-cpp-python's own workflows, release 0.3.35).
CUDA = {"linux": (118, 121, 122, 123, 124, 125, 130, 132), "win32": (118, 124, 125, 130, 132)}
SECONDS = {"needed": 300.0, "accelerator": 180.0, "cpu": 120.0, "trial": 60.0}
WAIT = 24 * 3600.0  # after a try that failed
# torch first: its own copies of the accelerator's libraries are then found, as they are in the WebUI.
TRIAL = "try:\n import torch\nexcept Exception: pass\nimport llama_cpp\nllama_cpp.llama_backend_init()\n"
_TRUE = ("1", "true", "yes", "on")


@dataclass
class Machine:
    """What is asked of the surroundings, so that tests can be one."""

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    arguments: Sequence[str] = ()
    system: str = sys.platform
    processor: str = platform.machine().lower()
    folder: Path = Path(__file__).resolve().parent
    now: Callable[[], float] = time.time
    say: Callable[[str], object] = lambda line: print(f"KGen: {line}", flush=True)

    def flag(self, name: str) -> bool:
        """Tell whether an option was given, to us or to the host."""
        return name in self.arguments or name in _words(self.environ.get("COMMANDLINE_ARGS", ""))

    def is_set(self, *names: str) -> bool:
        """Tell whether one of these environment variables says yes."""
        return any(self.environ.get(name, "").strip().lower() in _TRUE for name in names)


def main(machine: Machine) -> int:
    """Install what is missing; return 0 whatever happens, as the WebUI is to start."""
    try:
        _install(machine)
    except Exception as error:  # nothing may keep the host from starting
        machine.say(f"the check of what is installed failed ({type(error).__name__}: {error}); the WebUI starts anyway")
    return 0


def missing() -> list[str]:
    """Return which needed packages are neither installed nor importable."""
    return [name for name in NEEDED if version(name) is None and importlib.util.find_spec(name) is None]


def version(name: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def accelerators(torch: str | None, *, system: str, processor: str, wanted: str = "") -> list[str]:
    """Return the builds of llama-cpp-python to try, best first; torch: its version, which tells what it was built for.

    >>> accelerators("2.1.2+cu121", system="linux", processor="x86_64")
    ['cu121', 'cpu']
    """
    if wanted not in ("", "1", "auto"):
        return [wanted]
    if system == "darwin":
        return ["metal", "cpu"] if processor == "arm64" else ["cpu"]
    built = (torch or "").partition("+")[2]
    found = re.fullmatch(r"cu(\d{2})(\d)", built)
    if found and processor in ("x86_64", "amd64") and system in CUDA:
        same = [one for one in CUDA[system] if one // 10 == int(found[1])]  # a CUDA serves all of its generation
        below = [one for one in same if one <= int(found[1] + found[2])]
        if same:
            return [f"cu{max(below) if below else min(same)}", "cpu"]
    if built.startswith("rocm7.2") and system == "linux":
        return ["rocm72", "cpu"]
    return ["cpu"]


def constraints(installed: Iterable[importlib.metadata.Distribution]) -> list[str]:
    """Return lines for pip that hold every installed package where it is, and what they ask of our missing ones."""
    lines = []
    for one in installed:
        name, at = one.metadata["Name"], one.version
        if name and at and re.fullmatch(r"[A-Za-z0-9._-]+", name) and re.fullmatch(r"[A-Za-z0-9.+!_-]+", at):
            lines.append(f"{name}=={at}")
        for required in one.requires or ():
            found = re.fullmatch(r"([A-Za-z0-9._-]+)\s*\(?([<>=!~][^;()]*)\)?", required.split(";")[0].strip())
            if found and found[1].lower() in NEEDED and ";" not in required and version(found[1]) is None:
                lines.append(f"{found[1]}{found[2].strip()}")
    return sorted(set(lines))


class Pip:
    """The host's pip (or uv, in an environment without pip), told never to touch what is installed."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        own = importlib.util.find_spec("pip") is not None
        uv = None if own else shutil.which("uv", path=machine.environ.get("PATH"))
        self.command = [sys.executable, "-m", "pip"] if own else [uv, "pip"] if uv else []
        self.options = ["--no-input", "--disable-pip-version-check", "--retries", "1", "--timeout", "15"] if own else []

    def install(self, packages: Sequence[str], *, seconds: float, index: str = "") -> str:
        """Install packages from wheels; return "" or why it did not work, in one line."""
        command = [*self.command, "install", *self.options, "--only-binary", ":all:"]
        command += [] if self.options else ["--python", sys.executable]
        if first := self.machine.environ.get("INDEX_URL", "").strip():
            command += ["--index-url", first]
        command += ["--extra-index-url", index] if index else []
        with tempfile.TemporaryDirectory(prefix="kgen-") as folder:
            held = Path(folder, "installed.txt")
            held.write_text("\n".join(constraints(importlib.metadata.distributions())) + "\n", "utf-8")
            return self.run([*command, "--constraint", str(held), *packages], seconds=seconds, folder=folder)

    def remove(self, packages: Sequence[str]) -> str:
        """Take packages away again."""
        command = [*self.command, "uninstall", *(["--yes"] if self.options else ["--python", sys.executable])]
        return self.run([*command, *packages], seconds=SECONDS["trial"]) if packages else ""

    def run(self, command: Sequence[str], *, seconds: float, folder: str | None = None) -> str:
        """Run a command; return "" or why it did not work, in one line."""
        # Never into a folder of the user's that every other Python would see, too.
        environ = {**self.machine.environ, "PIP_USER": "0", "PYTHONIOENCODING": "utf-8", "PYTHONUTF8": "1"}
        try:
            done = subprocess.run(
                command, env=environ, cwd=folder, timeout=seconds, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"not done after {seconds:.0f} seconds"
        except OSError as error:
            return f"{error}"
        lines = [line.strip() for line in done.stdout.decode("utf-8", "replace").splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower()] or lines[-1:] or [f"exit code {done.returncode}"]
        return errors[-1][:300] if done.returncode else ""


class Memory:
    """A small file that remembers a try that failed; in the extension's folder, or where that is read-only, in temp."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        name = f"kgen-install-{re.sub(r'[^A-Za-z0-9]+', '-', str(machine.folder))[-80:]}.json"
        self.paths = (machine.folder / ".install.json", Path(tempfile.gettempdir(), name))

    def failed(self, what: str) -> str:
        """Return why the same try failed less than a day ago in this Python, "" if it did not."""
        for path in self.paths if not self.machine.flag("--again") else ():
            try:
                known = json.loads(path.read_text("utf-8"))[self._key(what)]
                if 0 <= self.machine.now() - float(known["at"]) < WAIT:
                    return str(known["why"])
            except (OSError, ValueError, KeyError, TypeError):
                continue  # no such file, or not ours: nothing is remembered
        return ""

    def note(self, what: str, why: str) -> None:
        """Remember that a try failed; an empty reason forgets it."""
        for path in self.paths:
            try:
                known = json.loads(path.read_text("utf-8")) if path.is_file() else {}
            except (OSError, ValueError):
                known = {}
            known = known if isinstance(known, dict) else {}
            known.pop(self._key(what), None)
            if why:
                known[self._key(what)] = {"at": self.machine.now(), "why": why}
            try:
                path.write_text(json.dumps(known, indent=1), "utf-8")
                return
            except OSError:
                continue  # read-only: the next place

    def _key(self, what: str) -> str:
        return f"{what} {platform.python_version()} {sys.prefix}"


def _install(machine: Machine) -> None:
    wanted = machine.environ.get("KGEN_LLAMA_CPP", "").strip().lower()
    lacks = missing()
    llama = version(OPTIONAL) is None and importlib.util.find_spec("llama_cpp") is None
    llama = llama and wanted not in ("0", "no", "off") and not machine.flag("--no-llama-cpp")
    if not (lacks or llama) or machine.flag("--skip-install"):
        return
    pip, memory = Pip(machine), Memory(machine)
    if way := _barrier(machine, pip):
        if lacks:
            machine.say(f"{', '.join(lacks)} missing, and {way}. Expansion works after: {by_hand(lacks)}")
        return
    if lacks:
        why = _install_needed(pip, memory, lacks)
        machine.say(f"installed {', '.join(lacks)}" if not why else f"could not install {', '.join(lacks)} ({why}). "
                    f"The WebUI starts; expansion works after: {by_hand(lacks)}")  # fmt: skip
        llama = llama and not why
    if llama:
        _install_llama(machine, pip, memory, wanted)


def _barrier(machine: Machine, pip: Pip) -> str:
    """Return what keeps us from installing anything here, or ""."""
    if machine.is_set("KGEN_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") or machine.flag("--kgen-offline"):
        return "offline is set"
    if not pip.command:
        return f'this Python has neither pip nor uv ("{sys.executable}" -m ensurepip adds pip)'
    target = Path(sysconfig.get_paths()["purelib"])
    return "" if os.access(target, os.W_OK) else f"{target} cannot be written"


def _install_needed(pip: Pip, memory: Memory, lacks: Sequence[str]) -> str:
    what = " ".join(lacks)
    if why := memory.failed(what):
        return f"{why}; tried within the last day, python install.py --again does not wait"
    why = pip.install([NEEDED[name] for name in lacks], seconds=SECONDS["needed"])
    memory.note(what, why)
    return why


def _install_llama(machine: Machine, pip: Pip, memory: Memory, wanted: str) -> None:
    if memory.failed(OPTIONAL):
        return  # it was said when it failed
    base = machine.environ.get("KGEN_LLAMA_CPP_INDEX", "").strip().rstrip("/") or WHEELS
    why = ""
    for build in accelerators(version("torch"), system=machine.system, processor=machine.processor, wanted=wanted):
        before = _names()
        seconds = SECONDS["cpu" if build == "cpu" else "accelerator"]
        why = pip.install([f"{OPTIONAL}>=0.3"], seconds=seconds, index=f"{base}/{build}")
        why = why or pip.run([sys.executable, "-c", TRIAL], seconds=SECONDS["trial"])
        if not why:
            memory.note(OPTIONAL, "")
            machine.say(f"installed {OPTIONAL} {version(OPTIONAL)} ({build})")
            return
        pip.remove(sorted(_names() - before))
    memory.note(OPTIONAL, why)
    machine.say(
        f"{OPTIONAL} is left out: no prebuilt wheel that works here ({why}). KGen works without it, only TIPO v2 "
        "needs it; python install.py --again tries again"
    )


def by_hand(packages: Sequence[str]) -> str:
    """Return the one command that installs packages, as it is typed."""
    return " ".join((f'"{sys.executable}" -m pip install', *(f'"{NEEDED[name]}"' for name in packages)))


def _names() -> set[str]:
    importlib.invalidate_caches()
    return {str(one.metadata["Name"]).lower() for one in importlib.metadata.distributions() if one.metadata["Name"]}


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text, posix=sys.platform != "win32")
    except ValueError:  # a quote that is never closed
        return text.split()


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a console that has no such letter
    sys.exit(main(Machine(arguments=sys.argv[1:])))
