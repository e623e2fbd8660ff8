"""Measurement of `kgen batch`: rows a second of plain processes and of actors of Ray, and the plot of docs/scale.md.

    python -m tools.scale measure RESULTS.jsonl [--actors 1,2,3] [--processes 1,2,3] [--rounds 3] [--rows 4000]
    python -m tools.scale plot RESULTS.jsonl docs/scale.png

`measure` adds a line to RESULTS.jsonl for each run: a number of actors beside the same number of plain processes
(`--shard 1/N` to `N/N`), one after the other, round after round, since a machine is not as fast in every minute. Each
actor and each process has one thread. The rate is taken from the second tenth of the rows on, so that starting and
loading do not count, up to the last tenth, when actors begin to run out of parts. Nothing else should run meanwhile.
"""
from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

import kgen_ext
from tools.bench.queries import PROMPTS

_MODEL = Path(kgen_ext.__file__).parent / "starter" / "starter-Q8_0.gguf"
_KINDS = {"actors": "--ray local", "processes": "plain processes"}


def measure(kind: str, count: int, *, rows: int, batch_size: int, part_rows: int, seconds: float) -> dict[str, object]:
    """Run a batch for at most so many seconds and return its figures. kind: "actors" or "processes"."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "prompts.txt"
        source.write_text("".join(f"{PROMPTS[row % len(PROMPTS)].tags}\n" for row in range(rows)), "utf-8")
        command = [
            sys.executable, "-m", "kgen_ext", "batch", str(source), f"{folder}/out", "--json", "--model", str(_MODEL),
            "--engine", "llama_cpp", "--threads", "1", "--batch-size", str(batch_size), "--part-rows", str(part_rows),
        ]  # fmt: skip
        runs = [["--ray", "local", "--actors", str(count)]]
        if kind == "processes":
            runs = [["--shard", f"{shard + 1}/{count}"] for shard in range(count)]
        begin = time.monotonic()
        watched = [_Watch([*command, *options], begin, seconds) for options in runs]
        rates = [watch.rate() for watch in watched]
    return {kind: count, "batch_size": batch_size, "part_rows": part_rows, "rate": round(sum(rates), 2)}


class _Watch(threading.Thread):
    """A command that prints its progress, interrupted after so many seconds from `begin` of time.monotonic."""

    def __init__(self, command: list[str], begin: float, seconds: float) -> None:
        super().__init__()
        self._command, self._begin, self._seconds = command, begin, seconds
        self._marks = list[tuple[float, int]]()
        self.start()

    def run(self) -> None:
        """Note when how many rows were done."""
        with subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                self._marks.append((time.monotonic() - self._begin, json.loads(line)["rows"]))
                if self._marks[-1][0] > self._seconds:
                    process.send_signal(signal.SIGINT)
                    break

    def rate(self) -> float:
        """Wait for the end and return the rows a second."""
        self.join()
        last = self._marks[-1][1]
        steady = [mark for mark in self._marks if 0.1 * last <= mark[1] <= 0.9 * last]
        if len(steady) < 2:
            sys.exit(f"{' '.join(self._command)}: too few rows in {self._seconds:g} s: give more --seconds")
        (start, first), (end, final) = steady[0], steady[-1]
        return (final - first) / (end - start)


def draw(results: Path, picture: Path) -> None:
    """Draw rows a second against the number of actors and of processes: the middle of all rounds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import MaxNLocator

    lines = [json.loads(line) for line in results.read_text("utf-8").splitlines()]
    figure, axes = pyplot.subplots(figsize=(5, 3.4))
    for (kind, label), color in zip(_KINDS.items(), ("#1f6fb4", "#c8553d"), strict=True):
        counts = sorted({line[kind] for line in lines if kind in line})
        rates = [median(line["rate"] for line in lines if line.get(kind) == count) for count in counts]
        axes.plot(counts, rates, "-o", color=color, label=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("actors or processes, one thread each")
    axes.set_ylabel("rows a second")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(picture, dpi=100)
    pyplot.close(figure)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("measure")
    one.add_argument("results", type=Path)
    for kind in _KINDS:
        one.add_argument(f"--{kind}", type=_counts, default=[1, 2, 3])
    for name, default in (("--rounds", 3), ("--rows", 4000), ("--batch-size", 16), ("--part-rows", 100)):
        one.add_argument(name, type=int, default=default)
    one.add_argument("--seconds", type=float, default=60.0)
    two = commands.add_parser("plot")
    two.add_argument("results", type=Path)
    two.add_argument("picture", type=Path)
    given = parser.parse_args()
    if given.command == "plot":
        draw(given.results, given.picture)
        return
    runs = sorted((count, kind) for kind in _KINDS for count in getattr(given, kind))
    for count, kind in runs * given.rounds:
        found = measure(
            kind, count, rows=given.rows, batch_size=given.batch_size, part_rows=given.part_rows, seconds=given.seconds
        )
        with given.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(found) + "\n")
        sys.stdout.write(json.dumps(found) + "\n")


def _counts(text: str) -> list[int]:
    return [int(count) for count in text.split(",") if count]


if __name__ == "__main__":
    main()
