"""The server engine against real servers on this machine, where they are installed.

    llama-server       a program of that name on the PATH, or named by KGEN_LLAMA_SERVER; or else the package xllamacpp,
                       which holds the same server
    llama_cpp.server   of llama-cpp-python, with its extra `server`; it cannot be used, and the error says why
"""
from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec

import pytest
from engine_fixtures import GGUF, exact_gguf

from kgen_ext.engines.json_client import JsonClient
from kgen_ext.errors import EngineError
from kgen_ext.request import ExpandRequest
from kgen_ext.service import open_expander

PROGRAM = os.environ.get("KGEN_LLAMA_SERVER") or shutil.which("llama-server")
# xllamacpp's server takes its options from an object.
EMBEDDED = """
import sys, time, xllamacpp
options = xllamacpp.CommonParams()
options.model.path, options.hostnames, options.port = sys.argv[1], [sys.argv[3]], int(sys.argv[5])
options.n_ctx, options.n_parallel, options.warmup = 4096, 4, False
options.cpuparams.n_threads = options.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(options)
time.sleep(3600)
"""
REQUESTS = [
    ExpandRequest("1girl, (fox ears:1.2), shrine", seed=3, tag_length="short"),
    ExpandRequest("1girl, twintails", seed=7, ban=("smile", "long hair", "/.*dress/"), tag_length="long"),
    ExpandRequest("scenery, ruins BREAK 2girls, umbrella", seed=5, tag_length="very_short"),
    ExpandRequest("1boy, armor", seed=9, text_length="short", tag_length="very_short"),
    ExpandRequest("cat, window", seed=2, temperature=0.0, tag_length="very_short"),
    ExpandRequest("1girl, library", seed=4, top_k=40, min_p=0.0, tag_length="short"),
]


@contextmanager
def running(command: Sequence[str]) -> Iterator[str]:
    """Start a server with a port of its own, wait until it answers, and yield its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [*command, "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = JsonClient(f"http://127.0.0.1:{port}")
    try:
        for _ in range(1200):
            assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
            try:
                client.get("/v1/models")
                break
            except EngineError:
                time.sleep(0.1)
        yield client.url
    finally:
        client.close()
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def llama_server() -> Iterator[str]:
    if PROGRAM is None and not find_spec("xllamacpp"):
        pytest.skip("no program of a server is installed")
    model = str(exact_gguf())
    options = ["--model", model, "--ctx-size", "4096", "--parallel", "4", "--threads", "1"]
    with running([PROGRAM, *options] if PROGRAM else [sys.executable, "-c", EMBEDDED, model]) as url:
        yield url


def test_llama_server_keeps_every_guarantee(llama_server: str) -> None:
    with open_expander(engine="server", url=llama_server) as expander:
        rows = expander.expand(REQUESTS)
    assert not any("smile" in tag or "long hair" in tag or "dress" in tag for tag in rows[1].added_tags)
    assert all(len(set(row.added_tags)) == len(row.added_tags) for row in rows if "BREAK" not in row.source)
    assert all(row.finish == "complete" for row in rows)


def test_llama_server_gives_a_seed_the_same_text_again(llama_server: str) -> None:
    texts = []
    for _ in range(2):
        with open_expander(engine="server", url=llama_server) as expander:
            texts.append([row.prompt for row in expander.expand(REQUESTS)])
    assert texts[0] == texts[1]


def test_llama_server_runs_the_texts_of_the_same_file_here(llama_server: str) -> None:
    """To all but the last bits: its attention and cache are half precision."""
    pytest.importorskip("llama_cpp")
    with open_expander(model=str(exact_gguf()), engine="llama_cpp") as expander:
        here = [row.prompt for row in expander.expand(REQUESTS)]
    with open_expander(model=str(exact_gguf()), engine="server", url=llama_server) as expander:
        there = [row.prompt for row in expander.expand(REQUESTS)]
    assert sum(map(str.__eq__, here, there)) >= len(here) - 1


def test_llama_cpp_pythons_server_is_refused_with_the_reason() -> None:
    pytest.importorskip("llama_cpp")
    needed = ("fastapi", "uvicorn", "sse_starlette", "starlette_context", "pydantic_settings")
    missing = [name for name in needed if not find_spec(name)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(GGUF), "--n_ctx", "512"]
    with running(command) as url, pytest.raises(EngineError, match="takes no token ids and returns none"):
        open_expander(engine="server", url=url)
