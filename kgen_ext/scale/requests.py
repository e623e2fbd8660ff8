"""Rows as requests: which column fills which field, and what of a row is passed through.

A column named like a field fills it, and an option `--column FIELD=NAME` names another one; `FIELD=` alone says that no
column does. A value of the row goes before the option of all rows; an empty cell and null leave the field to the
option. Cells of CSV are text: numbers are read, and a flag is true, false, 1 or 0. Rules are separated by lines.

All columns are passed through but those that the result has anyway, the prompt and the seed. A column that is named
like one of the result's is called `input_NAME` there.
"""
from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from kgen_ext.errors import BadValue, UserError
from kgen_ext.events import Expansion
from kgen_ext.request import FIELDS, MAX_SEED, ExpandRequest, Field, FieldType
from kgen_ext.rules.known import ANY, DANBOORU
from kgen_ext.scale.inputs import BadRow

RESULT = tuple(field.name for field in dataclasses.fields(Expansion))
_SAID = ("prompt", "seed")  # fields that the result repeats
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


def read_columns(pairs: Collection[str]) -> dict[str, str]:
    """Return column names by field, from `FIELD=NAME`. Raises UserError."""
    columns = dict[str, str]()
    for pair in pairs:
        field, sign, name = pair.partition("=")
        if not sign or field not in FIELDS:
            fields = ", ".join(FIELDS)
            raise UserError(f"--column: {pair!r:.80} is not allowed", hint=f"FIELD=NAME with a field of {fields}")
        columns[field] = name
    return columns


class RequestBuilder:
    """Builds requests from rows.

    columns: names by field where they differ; "" for none. options: fields for every row. seed: of row 0. texts: values
    are the text of cells, as in CSV.
    """

    def __init__(self, columns: Mapping[str, str], options: Mapping[str, Any], *, seed: int, texts: bool) -> None:
        taken = set(columns.values())
        self._sources = {name: columns.get(name, "" if name in taken else name) for name in FIELDS}
        self._named = [name for name in columns.values() if name]
        self._options, self._seed, self._texts = options, seed, texts

    def build(self, values: Mapping[str, Any], number: int) -> ExpandRequest:
        """Return the request of a row. Raises BadRow."""
        missing = [name for name in self._named if name not in values]
        if missing:
            raise BadRow(f"no column {missing[0]!r}")
        given = {"seed": (self._seed + number) % (MAX_SEED + 1)}
        for field, column in self._sources.items():
            value = values.get(column)
            if value is None or value == "" or value != value:  # NaN is pandas' null
                continue
            given[field] = self._read(FIELDS[field], value)
        if all(values.get(self._sources[field]) is None for field in ("prompt", "text")):
            raise BadRow("neither prompt nor text")
        try:
            return ExpandRequest(**{"prompt": "", **self._options, **given})
        except UserError as error:
            raise BadRow(str(error)) from None

    def others(self, names: Collection[str]) -> dict[str, str]:
        """Return the names in the result of the columns that are passed through."""
        said = {self._sources[field] for field in _SAID}
        result = dict[str, str]()
        for name in names:
            if name not in said:
                new = name
                while new in RESULT or (new != name and new in names):
                    new = f"input_{new}"
                result[name] = new
        return result

    def _read(self, field: Field, value: Any) -> Any:
        if field.name == "tag_file" and value not in (ANY, DANBOORU):  # a data set does not choose files
            raise BadRow(str(BadValue("tag_file", value, f"{ANY} or {DANBOORU} here; a path is given as --tag-file")))
        if field.name == "yours":  # nor tables, of which the manifest would know nothing
            raise BadRow("yours: a table is chosen for all rows, with --yours (or --column yours= for no column)")
        if isinstance(value, dict):  # whose keys would pass for a list
            raise BadRow(str(BadValue(field.name, value, "no object")))
        if field.name == "rules" and isinstance(value, str):
            return value.splitlines()
        if self._texts:
            return _from_text(field, value)
        if field.value_type is FieldType.INTEGER and isinstance(value, float) and value.is_integer():
            return int(value)
        return value


def _from_text(field: Field, text: str) -> Any:
    try:
        if field.value_type is FieldType.INTEGER:
            return int(text)
        if field.value_type is FieldType.NUMBER:
            return float(text)
    except ValueError:
        return text  # refused with the values that are allowed
    return _FLAGS.get(text.lower(), text) if field.value_type is FieldType.FLAG else text
