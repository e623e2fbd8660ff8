"""The table of the user's own tags in the nodes: offered, used, looked for before a graph runs, and part of the key."""
from __future__ import annotations

from pathlib import Path

import pytest
from comfy_kit import fresh_state, load, new_host, run  # noqa: F401 - fixtures
from fake_comfy import Comfy

from kgen_ext.cli import main
from kgen_ext.models.priors import prior_path

NODES = ("KGenExpand", "KGenExpandBatch", "KGenTask", "KGenDanTagGen")


@pytest.fixture(autouse=True)
def mine(fresh_state: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:  # noqa: F811
    """Give the user a table “mine”."""
    monkeypatch.setenv("KGEN_MODELS_DIR", str(tmp_path / "data" / "models"))
    (tmp_path / "prompts.txt").write_text("fox ears, night, rain, umbrella\n" * 60, encoding="utf-8")
    assert main(["prior", "build", str(tmp_path)]) == 0
    return prior_path("mine")


@pytest.mark.parametrize("node", NODES)
def test_the_tables_there_are_can_be_chosen(host: Comfy, node: str) -> None:
    [yours] = [row for row in load(host)[node].define_schema().inputs if row.id == "yours"]
    assert yours.options["options"] == ["none", "mine"]


def test_a_table_is_the_command_s(host: Comfy, capsys: pytest.CaptureFixture[str]) -> None:
    done = run(host, prompt="fox ears", yours="mine")
    capsys.readouterr()
    main(["expand", "fox ears", "--seed", "3", "--tag-length", "very_short", "--yours", "mine"])
    assert done.args[0] + "\n" == capsys.readouterr().out


@pytest.mark.parametrize("node", NODES)
def test_a_table_that_is_not_there_is_told_before_the_graph_runs(host: Comfy, node: str) -> None:
    told = load(host)[node].validate_inputs(model=None, yours="bob")
    assert told.endswith("“Your tags”: no table of yours is named 'bob' (use mine)")


def test_a_list_of_tables_is_looked_at_too(host: Comfy) -> None:
    assert load(host)["KGenExpandBatch"].validate_inputs(model=None, yours=["bob"]) is not True


def test_a_node_runs_again_when_its_table_was_counted_anew(host: Comfy, mine: Path) -> None:
    cls = load(host)["KGenExpand"]
    before = cls.fingerprint_inputs(model="starter", yours="mine")
    mine.write_bytes(mine.read_bytes() + b"0")
    assert cls.fingerprint_inputs(model="starter", yours="mine") != before


def test_a_node_runs_again_when_the_model_s_prior_changed(
    host: Comfy, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls = load(host)["KGenExpand"]
    before = cls.fingerprint_inputs(model="starter")
    monkeypatch.setattr("kgen_ext.models.ModelFiles.prior", lambda self: mine)
    assert cls.fingerprint_inputs(model="starter") != before


def test_the_infotext_names_the_table(host: Comfy) -> None:
    assert "KGen yours: mine" in run(host, yours="mine").args[3]


def test_a_weight_left_to_the_model_is_not_in_the_infotext(host: Comfy) -> None:
    assert "KGen prior" not in run(host).args[3]
