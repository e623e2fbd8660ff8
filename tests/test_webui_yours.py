"""The table of the user's own tags in the WebUI: chosen on the page, named in an infotext, and never a path."""
from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from test_webui_preview import run as preview
from test_webui_xyz import Plot
from test_webui_xyz import plot as plot
from webui_kit import Stage

from kgen_ext.models.priors import prior_path
from kgen_ext.webui.host import current_host
from kgen_ext.webui.infotext import paste_fields
from kgen_ext.webui.ui import live_choices
from kgen_ext.webui.xyz import OVERRIDES


@pytest.fixture(autouse=True)
def mine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Give the user a table “mine”."""
    monkeypatch.setenv("KGEN_MODELS_DIR", str(tmp_path / "data" / "models"))
    add_table()


def add_table() -> None:
    path = prior_path("mine")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")  # nothing here reads it


def test_the_page_offers_none_and_the_tables_there_are(stage: Stage) -> None:
    assert live_choices(current_host(), "yours") == ("none", "mine")


def test_a_table_is_for_every_image(stage: Stage) -> None:
    stage.run(values={"yours": "mine"}, batch_size=2)
    assert [request.yours for request in stage.requests] == ["mine", "mine"]


def test_none_is_no_table_and_no_fault(stage: Stage) -> None:
    done = stage.run()
    assert stage.requests[0].yours == "" and "KGen note" not in done.infotexts[0]


def test_the_infotext_names_the_table(stage: Stage) -> None:
    assert stage.host.parse(stage.run(values={"yours": "mine"}).infotexts[0])["KGen yours"] == "mine"


def test_a_pasted_infotext_chooses_the_table() -> None:
    ((_, key),) = paste_fields({"yours": object()})
    assert key({"KGen": "1", "KGen yours": "bob"}) == "bob"


@pytest.mark.parametrize("name", ["bob", "../priors/mine", "/etc/passwd", "mine.bin", "a\0b", "x" * 5000])
def test_a_name_that_is_no_table_of_the_users_costs_no_image(stage: Stage, name: str) -> None:
    done = stage.run(values={"yours": name})
    assert (done.prompts, stage.requests[0].yours) == (["cat, word7"], "")


def test_one_line_says_that_there_is_no_such_table(stage: Stage) -> None:
    found = stage.host.parse(stage.run(values={"yours": "bob"}).infotexts[0])
    assert found["KGen note"] == "“Your tags” is left out: no table of yours is named 'bob'"


def test_the_preview_says_so_too(stage: Stage) -> None:
    assert "no table of yours is named" in preview(stage, yours="bob")[-1]


def test_tables_can_be_compared_in_a_plot(plot: Plot) -> None:
    axis = plot.axis("Your tags")
    add_table()
    cells = axis.cells(axis.choices(), SimpleNamespace())
    assert [getattr(cell, OVERRIDES)["yours"] for cell in cells] == ["none", "mine"]


def test_a_plot_of_a_table_that_is_not_there_does_not_begin(plot: Plot) -> None:
    add_table()
    assert plot.axis("Your tags").cells(["mine", "bob"], SimpleNamespace()) == []


@pytest.mark.parametrize(("shown", "asked"), [(-1, None), (0, 0), (1.5, 1.5)])
def test_the_weight_of_the_prior_is_the_models_unless_it_is_set(
    stage: Stage, shown: float, asked: float | None
) -> None:
    stage.run(values={"prior": shown})
    assert stage.requests[0].prior == asked


def test_the_infotext_has_the_weight_that_was_set(stage: Stage) -> None:
    assert stage.host.parse(stage.run(values={"prior": 0.0}).infotexts[0])["KGen prior"] == "0.0"


def test_a_weight_left_to_the_model_is_not_in_the_infotext(stage: Stage) -> None:
    assert "KGen prior" not in stage.run().infotexts[0]
