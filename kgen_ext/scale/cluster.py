"""Run of a batch on Ray: an actor pool of Ray Data, each actor with an expander of its own.

The dataset has one row for each part that is missing. Actors read the input and write the output themselves, so both
must be on a file system that all nodes see under the same path. An actor that dies is restarted by Ray and its part is
computed again. A lost node can leave the pool with an actor that no other node has room for, and its part with it: Ray
Data waits for it forever. So the dataset runs inside an actor of ours, and when nothing has moved for a while after a
node was lost, that one is ended and the parts that are still missing are given to a new pool, of the size that fits.
"""
from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from kgen_ext.errors import BadValue, EngineUnavailable, Failure, Install, KGenError
from kgen_ext.scale.inputs import Part
from kgen_ext.scale.worker import BatchPlan, PartDone, PartWorker

LOCAL = "local"
_PATIENCE = 120.0  # seconds without a finished row, after which a lost node's parts are given to others
_ROUNDS = 3  # in a row without a new part, after which the run fails
# Parts of one dataset: with 100,000 Ray Data hands out eight a second, with 10,000 forty.
_MOST = 10_000
_PERIOD = 1.0  # seconds between two looks at the progress


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where and how to run. address: of a Ray cluster, or "local". actors: None for as many as fit.

    threads: of each actor, which takes as many CPUs. gpus: for each actor, may be a fraction.
    """

    address: str
    actors: int | None = None
    threads: int = 1
    gpus: float = 0.0


def write_parts(
    plan: BatchPlan,
    parts: Sequence[Part],
    cluster: Cluster,
    *,
    opening: Mapping[str, Any],
    checksum: str,
    on_rows: Callable[[int], None] = lambda rows: None,
) -> Iterator[PartDone]:
    """Write the parts on a cluster; yield each when it is there. Raises Failure, EngineUnavailable.

    opening: parameters of `open_expander`. checksum: of the model, which every node must have. on_rows: called with the
    number of rows that are done in unfinished parts.
    """
    ray = _connect(cluster)
    try:
        missing, barren, reason = {part.number: part for part in parts}, 0, ""
        opening = {**opening, "threads": cluster.threads}
        while missing:
            before = len(missing)
            turn = list(islice(missing.values(), _MOST))
            run = _Round(ray, plan, turn, cluster, _pool_size(ray, cluster, len(turn)), opening, checksum)
            try:
                for done in run.results(on_rows, _PATIENCE):
                    if missing.pop(done.number, None):
                        yield done
            finally:
                run.stop()
            reason = run.reason or reason
            barren = 0 if len(missing) < before else barren + 1
            if barren == _ROUNDS:
                raise Failure(
                    f"Ray: {len(missing)} parts are missing after {_ROUNDS} tries, first part {min(missing)}: "
                    f"{reason or 'their actors died'}", hint="see the logs of Ray",
                )  # fmt: skip
    finally:
        ray.shutdown()


def _connect(cluster: Cluster) -> Any:
    """Return ray, connected. Ray would report its use to its makers, unless told otherwise."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if cluster.address == LOCAL:  # a cluster of its own, which listens on the loopback address only, as on macOS
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise EngineUnavailable(
            "--ray needs Ray Data, which the extra `scale` brings", action=Install('"ray[data]" pyarrow')
        ) from error
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    try:
        if cluster.address == LOCAL:
            cpus = max(os.cpu_count() or 1, (cluster.actors or 1) * cluster.threads)
            ray.init(address=LOCAL, num_cpus=cpus, include_dashboard=False, **quiet)
        else:
            ray.init(address=cluster.address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise Failure(f"--ray: cannot reach {cluster.address}: {error}", hint="is the cluster up?") from error
    return ray


def _pool_size(ray: Any, cluster: Cluster, parts: int) -> int:
    """Return how many actors to start: as many as were asked for, fit, and have something to do."""
    there = ray.cluster_resources()
    fit = int(there.get("CPU", 0) // cluster.threads)
    if cluster.gpus:
        fit = min(fit, int(there.get("GPU", 0) // cluster.gpus))
    if fit < 1:
        needs = f"{cluster.threads} CPUs" + (f" and {cluster.gpus:g} GPUs" if cluster.gpus else "")
        raise Failure(f"--ray: no room for an actor with {needs}", hint="a smaller --threads or --gpus-per-actor")
    return max(1, min(cluster.actors or fit, fit, parts))


class _Round:
    """One pool at work on the parts that are missing. reason: what ended it early."""

    def __init__(
        self, ray: Any, plan: BatchPlan, parts: Sequence[Part], cluster: Cluster, size: int, opening: Mapping[str, Any],
        checksum: str,
    ) -> None:  # fmt: skip
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.reason = ""
        self._ray = ray
        self._nodes = self._alive()
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        kind = ray.remote(num_cpus=0, max_concurrency=3, scheduling_strategy=here)(_Pool)
        self._pool = kind.remote()
        self._stream = self._pool.run.options(num_returns="streaming").remote(
            plan, parts, size, opening, checksum, cluster.gpus
        )

    def results(self, on_rows: Callable[[int], None], patience: float) -> Iterator[PartDone]:
        """Yield the parts as they are written, until all are or the round has to be given up."""
        moved, rows = time.monotonic(), 0
        while True:
            ready, _ = self._ray.wait([self._stream], timeout=_PERIOD)
            try:
                if ready:
                    done, failure = self._ray.get(next(self._stream))
                    if failure:
                        raise Failure(failure)
                    moved = time.monotonic()
                    yield done
                now = self._ray.get(self._pool.count.remote())
            except StopIteration:
                return
            except self._ray.exceptions.RayError as error:
                self.reason = " ".join(str(error).split())[:500]
                return
            if now != rows:
                moved, rows = time.monotonic(), now
                on_rows(rows)
            if time.monotonic() - moved > patience and not self._nodes <= self._alive():
                self.reason = "a node was lost"
                return

    def stop(self) -> None:
        """End the pool and its actors."""
        self._ray.kill(self._pool)

    def _alive(self) -> set[str]:
        return {node["NodeID"] for node in self._ray.nodes() if node["Alive"]}


class _Pool:
    """Actor that runs the dataset, and counts the rows that the pool's actors report."""

    def __init__(self) -> None:
        self._rows, self._finished = dict[int, int](), set[int]()

    def run(
        self, plan: BatchPlan, parts: Sequence[Part], size: int, opening: Mapping[str, Any], checksum: str, gpus: float
    ) -> Iterator[tuple[PartDone | None, str]]:
        """Yield each part that was written, or why none can be."""
        import ray
        import ray.data

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.max_errored_blocks = -1  # a part whose actors die is missing at the end; it must not stop the others
        written = ray.data.from_items([asdict(part) for part in parts], override_num_blocks=len(parts)).map_batches(
            _PartActor,
            fn_constructor_args=(plan, opening, checksum, ray.get_runtime_context().current_actor),
            batch_size=1,
            # One part at a time: a second one would wait in an actor's queue while another actor has nothing to do.
            compute=ray.data.ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=1),
            num_cpus=opening["threads"],
            num_gpus=gpus or None,
            max_task_retries=2,
        )
        for row in written.iter_rows():
            self._finished.add(row["number"])
            self._rows.pop(row["number"], None)
            done = PartDone(row["number"], row["rows"], row["bad"]) if not row["failure"] else None
            yield done, row["failure"]

    def add(self, part: int, rows: int) -> None:
        """Note how many rows of a part are done."""
        if part not in self._finished:
            self._rows[part] = rows

    def count(self) -> int:
        """Return how many rows of unfinished parts are done."""
        return sum(list(self._rows.values()))


class _PartActor:
    """Callable of the pool: opens one expander and writes the parts that it is given."""

    def __init__(self, plan: BatchPlan, opening: Mapping[str, Any], checksum: str, pool: Any) -> None:
        self._pool = pool
        self._worker: PartWorker | None = None
        self._failure = ""
        try:
            self._worker = PartWorker(plan, _open(opening, checksum))
        except KGenError as error:  # told as the result of a part: in here it would only be a traceback
            self._failure = str(error)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        part = Part(**{name: int(values[0]) for name, values in batch.items()})
        done = PartDone(part.number, 0, 0)
        failure = self._failure
        if self._worker is not None:
            try:
                done = self._worker.write(part, on_row=_Reporter(self._pool, part.number))
            except Exception as error:
                failure = str(error) if isinstance(error, KGenError) else f"{type(error).__name__}: {error}"
        return {"number": [done.number], "rows": [done.rows], "bad": [done.bad], "failure": [failure]}


class _Reporter:
    """Reports the rows of a part that are done, at most once a second."""

    def __init__(self, pool: Any, part: int) -> None:
        self._pool, self._part = pool, part
        self._rows, self._due = 0, time.monotonic() + _PERIOD

    def __call__(self) -> None:
        self._rows += 1
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + _PERIOD
            self._pool.add.remote(self._part, self._rows)


def _open(opening: Mapping[str, Any], checksum: str) -> Any:
    from kgen_ext.models import resolve
    from kgen_ext.service import open_expander

    found = resolve(opening["model"])
    if found.checksum() != checksum:
        raise BadValue("--model", opening["model"], "the same weights on every node")
    return open_expander(**opening)
