"""Agreement of docs/models.md with the code: the list of models, the catalogue's fields, the example."""
from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from kgen_ext.cli import main
from kgen_ext.models import Model, load_catalogue
from kgen_ext.models.schema import ModelFile, Recommended

SECTION = (Path(__file__).resolve().parents[1] / "docs" / "models.md").read_text("utf-8")


def test_the_list_is_what_the_command_prints(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KGEN_MODELS_DIR", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert main(["models", "list"]) == 0
    shown = re.search(r"\$ kgen models list\n(.*?)\n```", SECTION, re.DOTALL)
    assert shown is not None
    folder = re.search(r"^Models folder: (.*)$", shown[1], re.MULTILINE)
    assert folder is not None
    assert capsys.readouterr().out.replace(str(tmp_path), folder[1]) == shown[1] + "\n"


def test_the_table_has_every_field_of_a_model_and_no_other() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", SECTION[SECTION.index("<!-- table: catalogue -->") :], re.MULTILINE)
    assert set(rows) == {field.name for field in fields(Model)}
    assert rows[:3] == ["id", "protocol", "files"]


@pytest.mark.parametrize("kind, row", [(ModelFile, "files"), (Recommended, "recommended")])
def test_the_inner_fields_are_named_in_their_row(kind: type, row: str) -> None:
    (line,) = [line for line in SECTION.splitlines() if line.startswith(f"| `{row}`")]
    assert {field.name for field in fields(kind)} <= set(re.findall(r"`(\w+)`", line))  # type: ignore[arg-type]


def test_the_example_is_a_catalogue(tmp_path: Path) -> None:
    example = re.search(r"```json\n(.*?)```", SECTION, re.DOTALL)
    assert example is not None
    json.loads(example[1])
    (tmp_path / "kgen-models.json").write_text(example[1])
    assert load_catalogue(tmp_path / "kgen-models.json")[-1].id == "my-tune"
