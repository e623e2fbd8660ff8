"""Plan of a batch, its manifest, and the run on this machine."""
from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgen_ext import __version__
from kgen_ext.errors import UserError
from kgen_ext.models.resolve import checksum_ends
from kgen_ext.rules.known import ANY, DANBOORU
from kgen_ext.scale.inputs import BadRow, Format, Part, divide, find_files, read_rows
from kgen_ext.scale.requests import RequestBuilder
from kgen_ext.scale.worker import BatchPlan, PartDone, PartWorker, own_prior_checksum

if TYPE_CHECKING:
    from kgen_ext.models import ModelFiles
    from kgen_ext.service.expander import Expander

PART_ROWS = 1000
_SAMPLE = 1000  # rows that show the types of an input without a schema


def plan_batch(
    source: str, output: str, *, kind: Format | None = None, target: Format | None = None,
    columns: Mapping[str, str], options: Mapping[str, Any], seed: int, part_rows: int = PART_ROWS,
) -> tuple[BatchPlan, list[Part]]:  # fmt: skip
    """Return the plan and all parts of a batch; reads the input once. Raises UserError, EngineUnavailable.

    kind: the input's format, None for what its name says. target: that of the parts, None for Parquet from Parquet and
    JSONL from all others.
    """
    found, kind = find_files(source, kind)
    files = tuple(map(os.path.abspath, found))
    if target is None:
        target = Format.PARQUET if kind is Format.PARQUET else Format.JSONL
    parts = divide(files, kind, part_rows)
    if not parts:
        raise UserError(f"INPUT: no rows in {source}", hint="give a file that has some")
    builder = RequestBuilder(columns, options, seed=seed, texts=kind is Format.CSV)
    sample = Part(0, 0, min(_SAMPLE, parts[-1].first + parts[-1].rows), 0, 0)
    schema = _schema(files, kind, builder, sample) if target is Format.PARQUET else None
    tag_file = options.get("tag_file", "")
    if tag_file not in ("", ANY, DANBOORU):
        options = {**options, "tag_file": os.path.abspath(tag_file)}  # an actor may have another working directory
    own_prior = own_prior_checksum(options)
    output = os.path.abspath(output)
    return BatchPlan(files, kind, output, target, columns, options, seed, own_prior, part_rows, schema), parts


def make_manifest(
    plan: BatchPlan, parts: Sequence[Part], files: ModelFiles, *, engine: str, device: str
) -> dict[str, Any]:
    """Return everything that the bytes of the parts depend on."""
    from kgen_ext.scale import parquet

    options = dict(plan.options)
    if os.path.isabs(options.get("tag_file", "")):
        options["tag_file"] = checksum_ends([Path(options["tag_file"])])
    return {
        "kgen": __version__,
        "model": files.id,
        "checksum": files.checksum(),
        "prior": checksum_ends([files.prior()]),
        "own_prior": plan.own_prior,
        "engine": engine,
        "device": device,
        "input": {
            "format": plan.kind.value,
            "files": len(plan.files),
            "rows": parts[-1].first + parts[-1].rows,
            "checksum": checksum_ends(map(Path, plan.files)),
        },
        "output": {
            "format": plan.target.value,
            "rows_per_part": plan.part_rows,
            "columns": None if plan.schema is None else parquet.schema_text(plan.schema),
        },
        "columns": dict(plan.columns),
        "options": options,
        "seed": plan.seed,
    }


def read_shard(text: str) -> tuple[int, int]:
    """Return number and count of `I/N`, I from 1. Raises UserError.

    >>> read_shard("1/4")
    (1, 4)
    """
    number, sign, count = text.partition("/")
    if not (sign and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise UserError(f"--shard: {text!r:.40} is not allowed", hint="I/N with I from 1 to N, such as 1/8")
    return int(number), int(count)


def write_parts(
    plan: BatchPlan, parts: Sequence[Part], expander: Expander, *, on_row: Callable[[], None] = lambda: None
) -> Iterator[PartDone]:
    """Write the parts one after the other with this expander; yield each when it is there. Raises KGenError."""
    worker = PartWorker(plan, expander)
    for part in parts:
        yield worker.write(part, on_row=on_row)


def _schema(files: Sequence[str], kind: Format, builder: RequestBuilder, sample: Part) -> Any:
    """Return the schema of the columns that are passed through to Parquet."""
    from kgen_ext.scale import parquet

    pa = parquet.import_pyarrow()
    if kind is Format.PARQUET:
        schema = parquet.input_schema(files)
        return pa.schema([schema.field(old).with_name(new) for old, new in builder.others(schema.names).items()])
    rows = list[dict[str, Any]]()
    for row in read_rows(files, kind, sample):
        if not isinstance(row.values, BadRow):
            rows.append({new: row.values[old] for old, new in builder.others(row.values).items()})
    return parquet.infer_schema(rows)
