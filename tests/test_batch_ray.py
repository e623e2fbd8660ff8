"""`kgen batch` on Ray: the same bytes for any number of actors, and after an actor or a node was killed.

Skipped where Ray is missing; `tests/matrix.py` has an environment with it.
"""
from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from batch_kit import QUICK, ROOT, batch, digest, parts, start, wait_for, write_prompts

if os.environ.get("KGEN_REQUIRE_RAY") != "1":
    pytest.importorskip("ray.data", reason="Ray is not installed")

pytestmark = [
    # Ray leaves sockets, files and processes of its own to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
OPTIONS = (*QUICK, "--part-rows", "3", "--seed", "5")
ROWS = 60
FULL_DISK = """
import os

fsync = os.fsync

def full(file):
    if os.path.exists({mark!r}):
        raise OSError(28, "No space left on device")
    fsync(file)

os.fsync = full
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prompts(tmp_path_factory.mktemp("in"), ROWS)


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files of a run without Ray."""
    output = tmp_path_factory.mktemp("whole") / "out"
    assert batch(source, output, *OPTIONS) == 0
    return digest(output)


def run(source: Path, output: Path, *options: str) -> tuple[int, str, str]:
    with start(source, output, *OPTIONS, *options) as process:
        out, error = process.communicate(timeout=300)
    return process.returncode, out, error


def processes(title: str) -> list[int]:
    """Return the processes with a title, such as those of an actor class."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [int(line.split()[0]) for line in listed[1:] if title in line and "ps -eo" not in line]


@pytest.mark.parametrize("actors", [1, 2, 3])
def test_the_bytes_are_those_without_ray(source: Path, whole: dict[str, str], tmp_path: Path, actors: int) -> None:
    code, out, error = run(source, tmp_path / "out", "--ray", "local", "--actors", str(actors))
    assert (code, out, error) == (0, f"{ROWS} of {ROWS} rows are done\n", "")
    assert digest(tmp_path / "out") == whole


def test_a_run_may_begin_without_ray_and_go_on_with_it(source: Path, whole: dict[str, str], tmp_path: Path) -> None:
    assert batch(source, tmp_path / "out", *OPTIONS, "--shard", "1/3") == 0
    assert run(source, tmp_path / "out", "--ray", "local")[0] == 0
    assert digest(tmp_path / "out") == whole


def test_an_actor_that_is_killed_is_replaced(source: Path, whole: dict[str, str], tmp_path: Path) -> None:
    output = tmp_path / "out"
    with start(source, output, *OPTIONS, "--ray", "local", "--actors", "2") as process:
        wait_for(lambda: len(parts(output)) >= 2)
        os.kill(processes("ray::MapWorker")[0], signal.SIGKILL)
        process.communicate(timeout=300)
    assert process.returncode == 0
    assert digest(output) == whole


def test_a_driver_that_is_killed_goes_on_to_the_same_bytes(source: Path, whole: dict[str, str], tmp_path: Path) -> None:
    output = tmp_path / "out"
    with start(source, output, *OPTIONS, "--ray", "local", "--actors", "2") as process:
        wait_for(lambda: len(parts(output)) >= 2)
        process.kill()
    before = {path: path.stat().st_mtime_ns for path in parts(output)}
    assert run(source, output, "--ray", "local", "--actors", "2")[0] == 0
    assert digest(output) == whole
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def test_a_full_disk_stops_all_actors_and_room_lets_the_run_go_on(
    monkeypatch: pytest.MonkeyPatch, source: Path, whole: dict[str, str], tmp_path: Path
) -> None:
    output, mark = tmp_path / "out", tmp_path / "full"
    # Python imports this at its start, in actors, too.
    (tmp_path / "sitecustomize.py").write_text(FULL_DISK.format(mark=str(mark)), "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with start(source, output, *OPTIONS, "--ray", "local", "--actors", "2") as process:
        wait_for(lambda: len(parts(output)) >= 2)
        mark.touch()
        out, error = process.communicate(timeout=300)
    assert (process.returncode, "the disk is full" in error) == (1, True)
    assert out.endswith(f" of {ROWS} rows are done\n")
    assert list(output.glob(".*.tmp")) == []
    mark.unlink()
    assert run(source, output, "--ray", "local", "--actors", "2")[0] == 0
    assert digest(output) == whole


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two nodes with a CPU each, and a head without one."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        yield made
    finally:
        made.shutdown()


def test_a_node_that_is_lost_loses_nothing(
    cluster: Any, source: Path, whole: dict[str, str], tmp_path: Path
) -> None:  # fmt: skip
    output = tmp_path / "out"
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    code = "import sys; from kgen_ext.scale import cluster; cluster._PATIENCE = 5.0; "
    code += "from kgen_ext.cli import main; sys.exit(main())"
    with start(source, output, *OPTIONS, "--ray", cluster.address, "--actors", "2", code=code) as process:
        wait_for(lambda: len(parts(output)) >= 2)
        cluster.remove_node(nodes[1], allow_graceful=False)
        _, error = process.communicate(timeout=300)
    assert (process.returncode, error) == (0, "")
    assert digest(output) == whole
