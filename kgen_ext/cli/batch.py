"""`kgen batch`: a data set of prompts in, a folder of parts out, on this machine or on a Ray cluster.

The last line, or with `--json` the last object, says how many rows are done and how many of them are bad:

    {"event": "progress", "done" or "stopped", "rows", "total", "bad", "rows_per_second", "seconds_left"}
"""
from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from kgen_ext.cli.expand import read_checked_options
from kgen_ext.cli.options import add_options, read_expander_options
from kgen_ext.cli.progress import PERIOD, ProgressLine
from kgen_ext.errors import BadValue, UserError
from kgen_ext.events import json_line
from kgen_ext.request import ExpandRequest

if TYPE_CHECKING:
    from kgen_ext.scale.inputs import Part
    from kgen_ext.scale.output import OutputFolder
    from kgen_ext.scale.worker import PartDone

SUMMARY = "expand a data set into a folder of parts, on one machine or many"
BAD_ROWS = 3  # exit code
_REPORTS = 1.0  # seconds between two lines of --json
_SEED = "seed of the first row; row n has this one plus n (default: 0)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument("input", metavar="INPUT", help="text, CSV, JSONL or Parquet: a file, a folder or a quoted glob")
    parser.add_argument("output", metavar="OUTPUT", help="folder of the parts; the same command goes on where it was")
    for flag, dest, formats, text in (
        ("--from", "source", "text|csv|jsonl|parquet", "format of INPUT (default: by the names of its files)"),
        ("--to", "target", "jsonl|parquet", "format of the parts (default: parquet from Parquet, else jsonl)"),
    ):
        parser.add_argument(flag, dest=dest, choices=formats.split("|"), metavar=formats, help=text)
    text = "the column that fills a field, such as prompt=caption; format= for none (default: the field's own name)"
    parser.add_argument("--column", action="append", default=[], metavar="FIELD=NAME", help=text)
    parser.add_argument("--part-rows", type=int, metavar="N", help="rows of INPUT for each part (default: 1000)")
    parser.add_argument("--batch-size", type=int, metavar="N", help="prompts decoded at once (default: 16)")
    text = "write every Nth part only, beginning with part I, for a scheduler of your own"
    parser.add_argument("--shard", metavar="I/N", help=text)
    parser.add_argument("--ray", metavar="ADDRESS|local", help="run on a Ray cluster, or on one of this machine alone")
    parser.add_argument("--actors", type=int, metavar="N", help="with --ray: how many models (default: as many as fit)")
    parser.add_argument("--gpus-per-actor", type=float, metavar="F", help="with --ray: GPUs for each (default: 0)")
    parser.add_argument("--json", action="store_true", help="print the progress as JSON, one object per line")
    add_options(parser, help={"seed": _SEED})


def run(arguments: argparse.Namespace) -> int:
    """Write the parts that are missing."""
    options = read_checked_options(arguments)
    ExpandRequest(**{"prompt": "", **options})  # what is wrong with an option is no row's fault
    for flag in ("--part-rows", "--batch-size", "--actors"):
        value = getattr(arguments, flag[2:].replace("-", "_"))
        if value is not None and value < 1:
            raise BadValue(flag, value, "a whole number from 1")
    if arguments.ray and arguments.shard:
        raise UserError("--ray and --shard were both given", hint="Ray divides the work itself")
    if not arguments.ray and (arguments.actors or arguments.gpus_per_actor):
        raise UserError("--actors and --gpus-per-actor need --ray", hint="add --ray local, or the cluster's address")
    progress = _Progress(arguments.json, arguments.output)
    try:
        progress.show("counting rows")
        batch = _Batch(arguments, options, progress)
        progress.show("loading the model")
        for done in batch.write_on_ray(arguments) if arguments.ray else batch.write_here():
            progress.finish(done)
    finally:
        progress.end()
    return BAD_ROWS if progress.bad else 0


class _Batch:
    """A batch as the options describe it."""

    def __init__(self, arguments: argparse.Namespace, options: dict[str, Any], progress: _Progress) -> None:
        from kgen_ext.models import STARTER, resolve
        from kgen_ext.scale.batch import PART_ROWS, plan_batch, read_shard
        from kgen_ext.scale.inputs import Format
        from kgen_ext.scale.output import OutputFolder
        from kgen_ext.scale.requests import read_columns
        from kgen_ext.service.engines import ROWS

        shard, shards = read_shard(arguments.shard or "1/1")
        self._progress = progress
        self._opening = {"model": STARTER, **read_expander_options(arguments), "rows": arguments.batch_size or ROWS}
        self._files = resolve(self._opening["model"])
        self._sample = ExpandRequest(**{"prompt": "", **options})
        seed = options.pop("seed", 0)
        self._plan, self._parts = plan_batch(
            arguments.input, arguments.output, kind=arguments.source and Format(arguments.source),
            target=arguments.target and Format(arguments.target), columns=read_columns(arguments.column),
            options=options, seed=seed, part_rows=arguments.part_rows or PART_ROWS,
        )  # fmt: skip
        self._mine = self._parts[shard - 1 :: shards]
        self._folder = OutputFolder(self._plan.output, self._plan.target.value)

    def write_here(self) -> Iterator[PartDone]:
        """Write the missing parts with one expander in this process."""
        from kgen_ext.scale.batch import write_parts
        from kgen_ext.service import open_expander

        with open_expander(**self._opening) as expander:
            expander.stream([self._sample]).close()  # options that this model cannot do
            yield from write_parts(self._plan, self._claim(expander.engine), expander, on_row=self._progress.add_row)

    def write_on_ray(self, arguments: argparse.Namespace) -> Iterator[PartDone]:
        """Write the missing parts with an expander in each actor."""
        from kgen_ext.rules.known import TagFiles
        from kgen_ext.scale.cluster import Cluster, write_parts
        from kgen_ext.service.engines import choose_engines
        from kgen_ext.service.plan import plan_expansion

        plan_expansion(self._sample, TagFiles())
        # One engine for all nodes, or their texts would differ.
        asked, device = self._opening.get("engine", "auto"), self._opening.get("device", "auto")
        engine = choose_engines(self._files, asked, device=device)[0][0]
        threads, gpus = self._opening.pop("threads", 1), arguments.gpus_per_actor or 0.0
        cluster = Cluster(arguments.ray, arguments.actors, threads, gpus)
        yield from write_parts(
            self._plan, self._claim(engine), cluster, opening={**self._opening, "engine": engine},
            checksum=self._files.checksum(), on_rows=self._progress.show_rows,
        )  # fmt: skip

    def _claim(self, engine: str) -> list[Part]:
        """Take the output folder and return the parts that are missing."""
        from kgen_ext.scale.batch import make_manifest

        device = self._opening.get("device", "auto")
        self._folder.claim(make_manifest(self._plan, self._parts, self._files, engine=engine, device=device))
        there = self._folder.finished()
        todo = [part for part in self._mine if part.number not in there]
        self._folder.clear({part.number for part in todo})
        self._progress.begin(self._folder, self._mine, todo)
        return todo


class _Progress:
    """The bar on the terminal, or lines of JSON, and the last line."""

    def __init__(self, json: bool, output: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.bad = 0
        self._json, self._output, self._clock = json, output, clock
        self._line = ProgressLine(1)
        self._folder: OutputFolder | None = None
        self._total = self._before = self._done = self._running = 0
        self._start: float | None = None  # of the clock, when the first rows were done: actors take a while to start
        self._due = clock()

    def show(self, text: str) -> None:
        """Say what is being prepared."""
        self._line.show(text)

    def begin(self, folder: OutputFolder, parts: Sequence[Part], todo: Sequence[Part]) -> None:
        """Note what there is to do. parts: all of this run; todo: those that are missing."""
        self._folder = folder
        self._total = sum(part.rows for part in parts)
        self._done = self._total - sum(part.rows for part in todo)
        missing = {part.number for part in todo}
        self.bad = folder.count_errors({part.number for part in parts} - missing)

    def add_row(self) -> None:
        """Count a row of the part in work."""
        self._running += 1
        self._update()

    def show_rows(self, rows: int) -> None:
        """Set the number of rows that are done in the parts in work."""
        self._running = rows
        self._update()

    def finish(self, done: PartDone) -> None:
        """Count a part."""
        self._done += done.rows
        self._running = max(0, self._running - done.rows)
        self.bad += done.bad
        self._update()

    def end(self) -> None:
        """Put the bad rows together, erase the bar and print the last line."""
        self._line.clear()
        if self._folder is None:
            return
        from kgen_ext.scale.output import ERRORS

        try:
            self._folder.collect_errors()
        finally:  # on a full disk, too, the last line says how far the run came
            if self._json:
                self._print("done" if self._done == self._total else "stopped")
            else:
                bad = f", {self.bad:,} bad: {self._output}/{ERRORS}" if self.bad else ""
                sys.stdout.write(f"{self._done:,} of {self._total:,} rows are done{bad}\n")

    def _update(self) -> None:
        now = self._clock()
        if self._start is None:
            self._start, self._before = now, self._done + self._running
        if now < self._due:
            return
        self._due = now + (_REPORTS if self._json else PERIOD)
        if self._json:
            self._print("progress")
        else:
            self._line.show(self._text())

    def _rate(self) -> tuple[int, float, float | None]:
        """Return the rows that are done, rows a second in this run, and the seconds left."""
        rows = min(self._done + self._running, self._total)
        seconds = self._clock() - self._start if self._start is not None else 0.0
        rate = max(rows - self._before, 0) / seconds if seconds > 0 else 0.0
        return rows, rate, (self._total - rows) / rate if rate else None

    def _text(self) -> str:
        from kgen_ext.models.progress import time_text

        rows, rate, left = self._rate()
        filled = 20 * rows // max(self._total, 1)
        bar = "#" * filled + "." * (20 - filled)
        wait = f", {time_text(left)} left" if left is not None else ""
        bad = f", {self.bad:,} bad" if self.bad else ""
        return f"[{bar}] {rows:,}/{self._total:,} rows, {rate:,.1f} rows/s{wait}{bad}"

    def _print(self, event: str) -> None:
        rows, rate, left = self._rate()
        values = {
            "event": event, "rows": rows if event == "progress" else self._done, "total": self._total, "bad": self.bad,
            "rows_per_second": round(rate, 2), "seconds_left": None if left is None else round(left, 1),
        }  # fmt: skip
        sys.stdout.write(json_line(values) + "\n")
        sys.stdout.flush()
