"""The example workflows: what they save is what the nodes have."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kgen_ext.comfy.inputs import Kind
from kgen_ext.comfy.nodes import NODES

FOLDER = Path(__file__).resolve().parents[1] / "example_workflows"
BY_ID = {node.id: node for node in NODES}
SHOWN = (Kind.STRING, Kind.INT, Kind.FLOAT, Kind.BOOLEAN, Kind.COMBO)
TYPES: dict[Kind, Any] = {
    Kind.STRING: str, Kind.INT: int, Kind.FLOAT: (int, float), Kind.BOOLEAN: bool, Kind.COMBO: str,
}  # fmt: skip


def ours() -> list[Any]:
    return [
        pytest.param(row, id=f"{path.stem} {row['type']}")
        for path in sorted(FOLDER.glob("*.json"))
        for row in json.loads(path.read_text("utf-8"))["nodes"] if row["type"].startswith("KGen")
    ]  # fmt: skip


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_an_example_has_a_picture(path: Path) -> None:
    assert path.with_suffix(".jpg").is_file()


@pytest.mark.parametrize("row", ours())
def test_an_example_s_values_are_those_of_the_inputs_by_place(row: dict[str, Any]) -> None:
    rows = [input for input in BY_ID[row["type"]].inputs if input.kind in SHOWN]
    values = list(row["widgets_values"])
    seed = next((place for place, input in enumerate(rows) if input.id == "seed"), None)
    if seed is not None:
        assert values.pop(seed + 1) in ("fixed", "randomize")  # the page's own, behind the seed
    # A newer version may have more inputs at the end, which take their defaults.
    assert len(values) <= len(rows)
    for input, value in zip(rows, values, strict=False):
        assert isinstance(value, TYPES[input.kind]), input.id
        assert not input.options or value in input.options, input.id
        assert input.kind not in (Kind.INT, Kind.FLOAT) or input.low <= value <= input.high, input.id


@pytest.mark.parametrize("row", ours())
def test_an_example_s_outputs_are_those_of_the_node(row: dict[str, Any]) -> None:
    assert [output["name"] for output in row["outputs"]] == [output.label for output in BY_ID[row["type"]].outputs]
