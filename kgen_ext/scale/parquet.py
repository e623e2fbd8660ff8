"""Parquet files: rows of the input, and parts of the output with typed columns. Needs pyarrow."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from itertools import accumulate
from typing import Any

from kgen_ext.errors import EngineUnavailable, Install, UserError
from kgen_ext.scale.inputs import BadRow

_ROWS = 1024  # read at once


def import_pyarrow() -> Any:
    """Return pyarrow; raises EngineUnavailable where it is missing."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        problem = "Parquet needs pyarrow, which the extra `scale` brings"
        raise EngineUnavailable(problem, action=Install("pyarrow")) from error
    return pyarrow


def count_rows(path: str) -> int:
    """Return the number of rows of a file. Raises UserError."""
    return int(_open(path).metadata.num_rows)


def read_rows(path: str, position: int) -> Iterator[dict[str, Any] | BadRow]:
    """Yield the rows of a file from number `position` on."""
    file = _open(path)
    counts = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    starts = [0, *accumulate(counts)]
    groups = [group for group in range(len(counts)) if starts[group + 1] > position]
    if not groups:
        return
    skip = position - starts[groups[0]]
    for batch in file.iter_batches(batch_size=_ROWS, row_groups=groups):
        if skip >= batch.num_rows:
            skip -= batch.num_rows
            continue
        yield from batch.slice(skip).to_pylist()
        skip = 0


def input_schema(paths: Sequence[str]) -> Any:
    """Return the schema that these files have in common. Raises UserError where they differ."""
    schema = _open(paths[0]).schema_arrow
    for path in paths[1:]:
        if not _open(path).schema_arrow.equals(schema):
            raise UserError(f"INPUT: {path} has other columns than {paths[0]}", hint="take --to jsonl")
    return schema


def infer_schema(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Return a schema that these rows fit, text where a column holds nothing. Raises UserError where they differ."""
    pa = import_pyarrow()
    names = dict.fromkeys(name for row in rows for name in row)
    fields = []
    for name in names:
        try:
            kind = pa.infer_type([row.get(name) for row in rows])
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise UserError(
                f"INPUT: column {name!r} has values of several types: {error}", hint="take --to jsonl"
            ) from error
        fields.append(pa.field(name, pa.string() if pa.types.is_null(kind) else kind))
    return pa.schema(fields)


def schema_text(schema: Any) -> dict[str, str]:
    """Return the types of a schema's columns by name."""
    return {field.name: str(field.type) for field in schema}


def check_row(values: Mapping[str, Any], schema: Any) -> None:
    """Raise BadRow for a value that does not fit its column, or that has none."""
    pa = import_pyarrow()
    for name, value in values.items():
        if name not in schema.names:
            raise BadRow(f"unknown column {name!r}: the first rows do not have it")
        try:
            kept = _same(value, pa.array([value], type=schema.field(name).type)[0].as_py())
        except (pa.ArrowException, OverflowError, TypeError):
            kept = False
        if not kept:
            raise BadRow(f"column {name!r}: {value!r:.80} is not {schema.field(name).type}")


def encode(rows: Sequence[Mapping[str, Any]], schema: Any) -> bytes:
    """Return a Parquet file of expansions as JSON objects, with the columns of `schema` behind theirs."""
    pa = import_pyarrow()
    columns = pa.schema([*_result_schema(pa), *schema])
    table = pa.Table.from_arrays(
        [pa.array([row.get(field.name) for row in rows], type=field.type) for field in columns], schema=columns
    )
    file = BytesIO()
    pa.parquet.write_table(table, file, row_group_size=max(1, len(rows)))
    return file.getvalue()


def _same(value: Any, kept: Any) -> bool:
    """Return whether a conversion lost nothing: it drops fractions and unknown keys without a word."""
    if isinstance(value, dict):
        return isinstance(kept, dict) and all(name in kept and _same(item, kept[name]) for name, item in value.items())
    if isinstance(value, list):
        return isinstance(kept, list) and len(value) == len(kept) and all(map(_same, value, kept))
    return bool(value == kept or value != value)


def _open(path: str) -> Any:
    pa = import_pyarrow()
    try:
        return pa.parquet.ParquetFile(path)
    except pa.ArrowException as error:
        raise UserError(f"INPUT: {path} is not Parquet: {error}", hint="check it") from error


def _result_schema(pa: Any) -> Any:
    text, whole, number = pa.string(), pa.int64(), pa.float64()
    texts = pa.list_(text)
    fields = ("special", "characters", "copyrights", "artist", "general", "meta", "quality", "rating")
    settings = {"tag_length": text, "text_length": text, "temperature": number, "top_k": whole, "top_p": number,
                "min_p": number, "prior": number}  # fmt: skip
    return pa.schema({
        "prompt": text, "pieces": pa.list_(pa.struct({"text": text, "by": text})), "source": text, "seed": whole,
        "row": whole, "model": text, "engine": text,
        "fields": pa.struct({**dict.fromkeys(fields, texts), "text": text}),
        "added_tags": texts, "added_text": text, "finish": text, "decoded_tokens": whole, "forced_tokens": whole,
        "rewound_tokens": whole, "seconds": number, "notes": texts, "settings": pa.struct(settings),
    })  # fmt: skip
