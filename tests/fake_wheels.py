"""Wheels, installed packages and a package index made from scratch, to test with pip itself but without a network.

A fake package is one module with one line; it does nothing.
"""
from __future__ import annotations

import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def metadata(name: str, version: str, requires: Sequence[str] = ()) -> str:
    """Return a METADATA file."""
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    return "\n".join([*lines, *(f"Requires-Dist: {requirement}" for requirement in requires)]) + "\n"


def write_wheel(
    folder: Path, name: str, version: str, *, code: str = "", requires: Sequence[str] = (), tag: str = "py3-none-any"
) -> Path:
    """Write a wheel of one module, named as the package."""
    folder.mkdir(parents=True, exist_ok=True)
    file, module = name.replace("-", "_"), {"llama-cpp-python": "llama_cpp"}.get(name, name.replace("-", "_"))
    path, info = folder / f"{file}-{version}-{tag}.whl", f"{file}-{version}.dist-info"
    entries = {
        f"{module}.py": f"__version__ = {version!r}\n{code}\n",
        f"{info}/METADATA": metadata(name, version, requires),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    entries[f"{info}/RECORD"] = "".join(f"{entry},,\n" for entry in (*entries, f"{info}/RECORD"))
    with zipfile.ZipFile(path, "w") as archive:
        for entry, text in entries.items():
            archive.writestr(entry, text)
    return path


def put_installed(site: Path, name: str, version: str, *, requires: Sequence[str] = ()) -> None:
    """Make a package look installed, as if the host had done it."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(metadata(name, version, requires), "utf-8")
    module = site / f"{name.replace('-', '_')}.py"
    module.write_text(f"__version__ = {version!r}\n", "utf-8")
    (info / "RECORD").write_text(f"{module.name},,\n{info.name}/METADATA,,\n{info.name}/RECORD,,\n", "utf-8")
    (info / "INSTALLER").write_text("pip\n", "utf-8")


@contextmanager
def serve_index(folder: Path, indexes: Mapping[str, Sequence[Path]]) -> Iterator[str]:
    """Serve a package index below each path of `indexes` on the loopback address; yield the address."""
    for path, wheels in indexes.items():
        for name in {wheel.name.split("-")[0].replace("_", "-") for wheel in wheels}:
            page = folder / path / name / "index.html"
            page.parent.mkdir(parents=True, exist_ok=True)
            mine = [wheel for wheel in wheels if wheel.name.startswith(name.replace("-", "_") + "-")]
            for wheel in mine:
                (page.parent / wheel.name).write_bytes(wheel.read_bytes())
            page.write_text("".join(f'<a href="{wheel.name}">{wheel.name}</a>\n' for wheel in mine), "utf-8")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
