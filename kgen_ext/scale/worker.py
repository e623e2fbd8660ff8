"""One part of a batch: its rows are read, expanded together, and written."""
from __future__ import annotations

import base64
import datetime
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kgen_ext.errors import Failure, UserError
from kgen_ext.events import Expansion, Finished, expansion_json, json_line
from kgen_ext.models.priors import find_prior
from kgen_ext.models.resolve import checksum_ends
from kgen_ext.request import ExpandRequest
from kgen_ext.scale.inputs import BadRow, Format, Part, Row, read_rows
from kgen_ext.scale.output import OutputFolder
from kgen_ext.scale.requests import RequestBuilder

if TYPE_CHECKING:
    from kgen_ext.service.expander import Expander

_Numbered = Sequence[tuple[int, ExpandRequest]]
# The machine or the files are at fault, not a row.
_STOPS = (Failure, MemoryError, OSError)


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """What every part of a batch depends on.

    files: of the input, in order; kind: their format. output: the folder; target: the format of its parts. columns,
    options, seed: as of `RequestBuilder`. own_prior: the checksum of the table of the user's tags, "" for none.
    part_rows: rows of a part. schema: pyarrow's, of the columns passed through to Parquet; None for JSONL.
    """

    files: tuple[str, ...]
    kind: Format
    output: str
    target: Format
    columns: Mapping[str, str]
    options: Mapping[str, Any]
    seed: int
    own_prior: str
    part_rows: int
    schema: Any = None


@dataclass(frozen=True, slots=True)
class PartDone:
    """A part that was written: its number, and how many rows it has and how many of them are bad."""

    number: int
    rows: int
    bad: int


class PartWorker:
    """Writes parts with one expander."""

    def __init__(self, plan: BatchPlan, expander: Expander) -> None:
        self._plan, self._expander = plan, expander
        self._folder = OutputFolder(plan.output, plan.target.value)
        self._builder = RequestBuilder(plan.columns, plan.options, seed=plan.seed, texts=plan.kind is Format.CSV)
        self._root = os.path.commonpath([os.path.dirname(file) for file in plan.files])

    def write(self, part: Part, *, on_row: Callable[[], None] = lambda: None) -> PartDone:
        """Write a part, unless it is there. on_row: called as rows are done. Raises Failure, UserError."""
        if self._folder.has(part.number):
            return PartDone(part.number, part.rows, self._folder.count_errors({part.number}))
        if own_prior_checksum(self._plan.options) != self._plan.own_prior:
            name = self._plan.options["yours"]
            raise UserError(f"yours: {name} is another table than when the batch began", hint="begin in a new folder")
        rows = {row.number: row for row in read_rows(self._plan.files, self._plan.kind, part)}
        bad, requests = dict[int, str](), list[tuple[int, ExpandRequest]]()
        for row in rows.values():
            try:
                requests.append((row.number, self._request(row)))
            except BadRow as error:
                bad[row.number] = str(error)
                on_row()
        done = self._expand(requests, bad, on_row)
        results = [self._result(expansion, rows[number]) for number in sorted(done) for expansion in done[number]]
        errors = [
            {"row": number, "file": os.path.relpath(rows[number].file, self._root), "error": bad[number]}
            for number in sorted(bad)
        ]
        self._folder.write_part(part.number, self._encoded(results), errors)
        return PartDone(part.number, part.rows, len(bad))

    def _request(self, row: Row) -> ExpandRequest:
        if isinstance(row.values, BadRow):
            raise row.values
        request = self._builder.build(row.values, row.number)
        if self._plan.schema is not None and self._plan.kind is not Format.PARQUET:
            from kgen_ext.scale.parquet import check_row

            check_row(self._others(row.values), self._plan.schema)
        return request

    def _others(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {new: values[name] for name, new in self._builder.others(values).items()}

    def _result(self, expansion: Expansion, row: Row) -> dict[str, Any]:
        assert not isinstance(row.values, BadRow)
        result = json.loads(expansion_json(replace(expansion, row=row.number), timings=False))
        return {**result, **self._others(row.values)}

    def _encoded(self, results: Sequence[Mapping[str, Any]]) -> bytes:
        if self._plan.target is Format.PARQUET:
            from kgen_ext.scale.parquet import encode

            return encode(results, self._plan.schema)
        return "".join(f"{json_line(_plain(result))}\n" for result in results).encode()

    def _expand(
        self, requests: _Numbered, bad: dict[int, str], on_row: Callable[[], None]
    ) -> dict[int, list[Expansion]]:
        """Return the expansions by row number; rows that cannot be expanded are noted in `bad`."""
        if not requests:
            return {}
        try:
            return self._decode(requests, on_row)
        except _STOPS:
            raise
        except Exception as error:  # one row must not stop a million: it is found, and the others are expanded
            reason = _reason(error)
        if len(requests) == 1:
            bad[requests[0][0]] = reason
            on_row()
            return {}
        sound = self._checked(requests, bad)
        if len(sound) < len(requests):
            return self._expand(sound, bad, on_row)
        middle = len(requests) // 2  # it came up while decoding
        return {**self._expand(requests[:middle], bad, on_row), **self._expand(requests[middle:], bad, on_row)}

    def _checked(self, requests: _Numbered, bad: dict[int, str]) -> _Numbered:
        """Return the requests that the model accepts; they are checked in the call, and nothing is decoded."""
        sound = list[tuple[int, ExpandRequest]]()
        for number, request in requests:
            try:
                self._expander.stream([request]).close()
                sound.append((number, request))
            except _STOPS:
                raise
            except Exception as error:
                bad[number] = _reason(error)
        return sound

    def _decode(self, requests: _Numbered, on_row: Callable[[], None]) -> dict[int, list[Expansion]]:
        owners = [number for number, request in requests for _ in range(request.count)]
        left = {number: request.count for number, request in requests}
        done = dict[int, Expansion]()
        for event in self._expander.stream([request for _, request in requests]):
            if isinstance(event, Finished):
                done[event.row] = event.expansion
                left[owners[event.row]] -= 1
                if not left[owners[event.row]]:
                    on_row()
        results = dict[int, list[Expansion]]()
        for row in sorted(done):
            results.setdefault(owners[row], []).append(done[row])
        return results


def own_prior_checksum(options: Mapping[str, Any]) -> str:
    """Return the checksum of the table of the user's tags, "" for none. Raises UserError where it is not there."""
    name = options.get("yours", "")
    return checksum_ends([find_prior(name)]) if name else ""


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


def _plain(value: Any) -> Any:
    """Return what JSON can hold: of Parquet's other types, dates as ISO 8601, bytes as base64, the rest as text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return str(value)
