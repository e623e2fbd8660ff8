"""Measurement of `kgen batch`: rows a second in one process and with actors of Ray, and the plot of docs/scale.md.

    python -m tools.scale measure RESULTS.jsonl --actors 2 [--rows 2000] [--batch-size 16]
    python -m tools.scale plot RESULTS.jsonl docs/scale.png

`measure` adds a line to RESULTS.jsonl; `--actors 0` is a run without Ray. Each actor, and the process without Ray, has
one thread. The rate is taken from the second tenth of the rows on, so that starting and loading do not count, up to the
last tenth, when actors begin to run out of parts. Nothing else should run meanwhile.
"""
from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import kgen_ext
from tools.bench.queries import PROMPTS

_MODEL = Path(kgen_ext.__file__).parent / "starter" / "starter-Q8_0.gguf"


def measure(*, actors: int, rows: int, batch_size: int, part_rows: int, seconds: float) -> dict[str, float]:
    """Run a batch for at most so many seconds and return its figures."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "prompts.txt"
        source.write_text("".join(f"{PROMPTS[row % len(PROMPTS)].tags}\n" for row in range(rows)), "utf-8")
        command = [
            sys.executable, "-m", "kgen_ext", "batch", str(source), f"{folder}/out", "--json", "--model", str(_MODEL),
            "--engine", "llama_cpp", "--threads", "1", "--batch-size", str(batch_size), "--part-rows", str(part_rows),
            *(["--ray", "local", "--actors", str(actors)] if actors else []),
        ]  # fmt: skip
        begin, marks = time.monotonic(), list[tuple[float, int]]()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                marks.append((time.monotonic() - begin, json.loads(line)["rows"]))
                if marks[-1][0] > seconds:
                    process.send_signal(signal.SIGINT)
                    break
    last = marks[-1][1]
    steady = [mark for mark in marks if 0.1 * last <= mark[1] <= 0.9 * last]
    (start, first), (end, final) = steady[0], steady[-1]
    return {"actors": actors, "batch_size": batch_size, "part_rows": part_rows, "rows": final - first,
            "seconds": round(end - start, 2), "rate": round((final - first) / (end - start), 2)}  # fmt: skip


def draw(results: Path, picture: Path) -> None:
    """Draw rows a second against actors."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rates: dict[int, list[float]] = {}
    for line in results.read_text("utf-8").splitlines():
        found = json.loads(line)
        rates.setdefault(int(found["actors"]), []).append(found["rate"])
    figure, axes = pyplot.subplots(figsize=(5, 3.4))
    with_ray = sorted(actors for actors in rates if actors)
    axes.plot(with_ray, [median(rates[actors]) for actors in with_ray], "-o", color="#1f6fb4", label="--ray local")
    one = median(rates[with_ray[0]])
    ideal = [one * actors for actors in with_ray]
    axes.plot(with_ray, ideal, ":", color="#8a8a8a", label="one actor, times their number")
    axes.axhline(median(rates[0]), linestyle="--", color="#c8553d", label="without Ray, one thread")
    axes.set_xticks(with_ray)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("actors, one thread each")
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
    for name, default in (("--actors", 0), ("--rows", 4000), ("--batch-size", 16), ("--part-rows", 100)):
        one.add_argument(name, type=int, default=default)
    one.add_argument("--seconds", type=float, default=60.0)
    two = commands.add_parser("plot")
    two.add_argument("results", type=Path)
    two.add_argument("picture", type=Path)
    given = parser.parse_args()
    if given.command == "plot":
        draw(given.results, given.picture)
        return
    found = measure(
        actors=given.actors, rows=given.rows, batch_size=given.batch_size, part_rows=given.part_rows,
        seconds=given.seconds,
    )  # fmt: skip
    with given.results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(found) + "\n")
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
