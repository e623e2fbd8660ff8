"""Downloads by separate processes: two at once, and one that is killed halfway."""
from __future__ import annotations

import os
import random
import signal
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hub_server import FakeHub, running_hub

from kgen_ext.models.download import DownloadLock

ROOT = Path(__file__).resolve().parents[1]
NAME = "Tiny_Tiny-F16.gguf"
WEIGHTS = b"GGUF" + random.Random(6).randbytes(600_000)
CHILD = """
import sys
from pathlib import Path
from kgen_ext.models import hub
hub.CHUNK = 1 << 14
from kgen_ext.models.download import run_download, plan_download
from kgen_ext.models.schema import Model, ModelFile

model = Model("Tiny", "tipo", (ModelFile("Tiny-F16.gguf", "gguf", "F16"),), repo="Owner/Tiny")
order = plan_download(model, model.files[0], to=Path(sys.argv[1]))
for step in run_download(order, to=Path(sys.argv[1])):
    print(step.stage, step.done, step.note, flush=True)
print("path", order.target, flush=True)
"""


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with running_hub() as running:
        running.add("Owner/Tiny", "Tiny-F16.gguf", WEIGHTS)
        yield running


def start(hub: FakeHub, to: Path, **environ: str) -> subprocess.Popen[str]:
    """Start a download in a process that finds the hub as a user's would: by HF_ENDPOINT."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HF_ENDPOINT": hub.endpoint, "NO_PROXY": "127.0.0.1"}
    env |= environ
    for name in ("HF_HUB_OFFLINE", "KGEN_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN"):
        env.pop(name, None)
    argv = [sys.executable, "-c", CHILD, str(to)]
    return subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(child: subprocess.Popen[str]) -> str:
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    return out


def wait_until_it_has(to: Path, size: int) -> int:
    for _ in range(600):
        sizes = [path.stat().st_size for path in (to / ".downloads").glob("*.part")]
        if sizes and sizes[0] >= size:
            return sizes[0]
        time.sleep(0.05)
    raise AssertionError("the download never got so far")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal there")
def test_a_killed_download_leaves_no_final_name_and_no_lock_and_is_resumed(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults.slow = 0.03
    child = start(hub, tmp_path)
    reached = wait_until_it_has(tmp_path, len(WEIGHTS) // 3)
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=30)
    assert not (tmp_path / NAME).exists()
    with DownloadLock(tmp_path / ".downloads" / f"{NAME}.lock") as lock:
        assert lock.acquire()
    hub.faults.slow = 0.0
    finish(start(hub, tmp_path))
    assert (tmp_path / NAME).read_bytes() == WEIGHTS
    assert int(hub.ranges()[-1].removeprefix("bytes=").rstrip("-")) >= reached


@pytest.mark.parametrize("answers, message", [
    ("407 Proxy Authentication Required", "the proxy asks for a password"),
    ("200 OK", "did not answer as a hub does"),
])  # fmt: skip
def test_a_proxy_that_stands_in_the_way_is_told(answers: str, message: str, hub: FakeHub, tmp_path: Path) -> None:
    with proxy(answers) as address:
        child = start(hub, tmp_path, HTTP_PROXY=address, http_proxy=address, NO_PROXY="", no_proxy="")
        _, told = child.communicate(timeout=60)
    assert child.returncode == 1
    assert message in told
    assert hub.asked == []
    assert not (tmp_path / NAME).exists()


@contextmanager
def proxy(answers: str) -> Iterator[str]:
    """Run a proxy that answers every request with a page of its own."""
    page = b"<html>Log in first</html>"
    head = f"HTTP/1.1 {answers}\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\nConnection: close\r\n\r\n"

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            method = self.rfile.readline().split(b" ")[0]
            while self.rfile.readline().strip():
                pass
            self.wfile.write(head.encode() + (b"" if method == b"HEAD" else page))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_two_processes_fetch_a_file_once_and_the_second_says_who_does(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults.slow = 0.2
    first = start(hub, tmp_path)
    wait_until_it_has(tmp_path, 1)
    second = start(hub, tmp_path)
    assert second.stdout is not None
    told = second.stdout.readline()
    hub.faults.slow = 0.0
    assert f"process {first.pid} is fetching it" in told
    assert f"path {tmp_path / NAME}" in finish(first)
    assert "already here" in finish(second)
    assert hub.ranges() == [""]
    assert (tmp_path / NAME).read_bytes() == WEIGHTS


def test_a_lock_is_one_at_a_time_and_free_again(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    with DownloadLock(path) as mine, DownloadLock(path) as yours:
        assert mine.acquire()
        assert not yours.acquire()
        assert yours.holder() == str(os.getpid())
        mine.release()
        assert yours.acquire()
    assert not path.with_suffix(".pid").exists()  # filelock leaves its own file where removing it could race
