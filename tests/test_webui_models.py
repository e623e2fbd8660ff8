"""The models panel: what its buttons do, what it shows, and how it is wired to the page."""
from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import FakeHub, running_hub
from models_kit import ABLE, OLD, controller_of, panel_of, rows_of

from kgen_ext.models import Locations, load_catalogue
from kgen_ext.models.describe import model_rows
from kgen_ext.models.hub import Hub
from kgen_ext.models.needs import Machine
from kgen_ext.models.tasks import BackgroundTasks, TaskState
from kgen_ext.webui.models_html import facts_html, state_html

WEIGHTS = struct.pack("<4sIQQ", b"GGUF", 3, 0, 0) + random.Random(8).randbytes(300_000)
NAME, FILE = "TIPO-100M:F16", "TIPO-100M_TIPO-100M-F16.gguf"


@pytest.fixture
def locations(tmp_path: Path) -> Locations:
    return Locations(own=tmp_path / "models", hosts=(tmp_path / "theirs",), hub_cache=tmp_path / "hub")


@pytest.fixture(autouse=True)
def page_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill the page's own list of models from nothing on this machine."""
    monkeypatch.setattr("kgen_ext.webui.ui.live_choices", lambda host, field: ("default", "starter", "new"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "KGEN_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("kgen_ext.models.hub.CHUNK", 1 << 14)
    with running_hub() as fake:
        fake.add("KBlueLeaf/TIPO-100M", "TIPO-100M-F16.gguf", WEIGHTS)
        monkeypatch.setattr("kgen_ext.models.download.Hub", lambda: Hub(endpoint=fake.endpoint))
        monkeypatch.setattr("kgen_ext.models.manage.Hub", lambda: Hub(endpoint=fake.endpoint))
        yield fake


def test_a_click_downloads_with_progress_and_shows_the_model_as_installed(hub: FakeHub, locations: Locations) -> None:
    hub.faults.slow = 0.02
    views = list(controller_of(locations).download(NAME))
    assert (locations.own / FILE).read_bytes() == WEIGHTS
    assert any("%" in view.status and "<progress" in view.status for view in views[:-1])
    last = views[-1]
    assert "is installed" in last.status
    assert last.changed
    assert last.installed == "TIPO-100M"
    assert rows_of(last)["TIPO-100M"].endswith("installed: F16")


def test_nothing_is_asked_of_the_network_before_the_click(hub: FakeHub, locations: Locations) -> None:
    controller = controller_of(locations)
    controller.show("")
    controller.show(NAME)
    assert hub.asked == []
    assert not locations.own.exists()


def test_what_is_installed_is_not_downloaded_again(hub: FakeHub, locations: Locations) -> None:
    (locations.hosts[0]).mkdir()
    (locations.hosts[0] / FILE).write_bytes(WEIGHTS)
    views = list(controller_of(locations).download(NAME))
    assert f"is installed: {locations.hosts[0] / FILE}" in views[-1].status
    assert hub.asked == []


def test_cancel_stops_a_download_and_the_next_goes_on(hub: FakeHub, locations: Locations) -> None:
    hub.faults.slow = 0.05
    controller = controller_of(locations)
    stopped = ""
    for view in controller.download(NAME):
        if "%" in view.status:
            assert "stopping" in controller.cancel().status
        stopped = view.status
    assert "stopped" in stopped
    assert not (locations.own / FILE).exists()
    hub.faults.slow = 0.0
    list(controller.download(NAME))
    assert hub.ranges()[-1].startswith("bytes=")
    assert (locations.own / FILE).read_bytes() == WEIGHTS


def test_a_page_that_was_closed_does_not_stop_the_download(hub: FakeHub, locations: Locations) -> None:
    hub.faults.slow = 0.01
    tasks = BackgroundTasks()
    watching = controller_of(locations, tasks=tasks).download(NAME)
    next(watching)
    watching.close()  # type: ignore[attr-defined]
    again = list(controller_of(locations, tasks=tasks).download(NAME))
    assert "is installed" in again[-1].status
    assert hub.ranges() == [""]


def test_a_fault_is_shown_and_the_page_goes_on(hub: FakeHub, locations: Locations) -> None:
    hub.faults.corrupt = True
    last = list(controller_of(locations).download(NAME))[-1]
    assert "kgen-error" in last.status
    assert "another checksum" in last.status


def test_offline_is_obeyed_and_told(hub: FakeHub, locations: Locations) -> None:
    last = list(controller_of(locations, offline=("--kgen-offline",)).download(NAME))[-1]
    assert "offline, so nothing was asked" in last.status
    assert hub.asked == []


@pytest.mark.parametrize("name", ["", "../x", "starter", "nothing", "TIPO-100M:Q2_K", "<b>"])
def test_a_name_that_cannot_be_fetched_is_told(name: str, hub: FakeHub, locations: Locations) -> None:
    last = list(controller_of(locations).download(name))[-1]
    assert "cannot be downloaded" in last.status
    assert "<b>" not in last.status
    assert hub.asked == []


def test_a_file_that_a_model_does_not_offer_is_told_with_those_it_does(hub: FakeHub, locations: Locations) -> None:
    last = list(controller_of(locations).download("TIPO-100M:Q2_K"))[-1]
    assert "choose TIPO-100M:" in last.status and "your own" not in last.status
    assert hub.asked == []


def test_verify_tells_whole_from_damaged(hub: FakeHub, locations: Locations) -> None:
    locations.own.mkdir()
    (locations.own / FILE).write_bytes(WEIGHTS)
    assert "is intact" in list(controller_of(locations).verify(NAME))[-1].status
    (locations.own / FILE).write_bytes(WEIGHTS[:-1] + bytes([WEIGHTS[-1] ^ 1]))
    last = list(controller_of(locations).verify(NAME))[-1]
    assert "damaged" in last.status
    assert "kgen-error" in last.status and "download" in last.status
    (locations.own / "mine.gguf").write_bytes(b"GGUF, and no more")
    last = list(controller_of(locations).verify("mine"))[-1]
    assert "mine is damaged" in last.status and "replace it with an intact copy" in last.status
    assert "download" not in last.status
    assert "is not installed" in list(controller_of(locations).verify("TIPO-500M:F16"))[-1].status


def test_remove_asks_first_and_asks_again_for_another_model(locations: Locations) -> None:
    locations.own.mkdir()
    (locations.own / FILE).write_bytes(WEIGHTS)
    controller = controller_of(locations)
    view, pending = controller.remove(NAME, "")
    assert "Press Remove again" in view.status
    assert (locations.own / FILE).exists()
    assert "Press Remove again" in controller.remove(NAME, "other")[0].status
    view, pending = controller.remove(NAME, pending)
    assert "300 kB freed" in view.status
    assert (pending, view.changed) == ("", True)
    assert not (locations.own / FILE).exists()


def test_another_extension_s_files_are_never_removed(locations: Locations) -> None:
    locations.hosts[0].mkdir()
    (locations.hosts[0] / FILE).write_bytes(WEIGHTS)
    view, pending = controller_of(locations).remove(NAME, NAME)
    assert "outside KGen" in view.status
    assert pending == ""
    assert (locations.hosts[0] / FILE).exists()


def test_unload_says_what_went(locations: Locations) -> None:
    assert "unloaded: 2" in controller_of(locations, unloaded=2).unload().status
    assert "no model was loaded" in controller_of(locations).unload().status


def test_a_mistake_in_the_user_s_catalogue_is_shown_and_breaks_nothing(locations: Locations) -> None:
    locations.own.mkdir()
    (locations.own / "kgen-models.json").write_text("{")
    assert "cannot be read" in controller_of(locations).show(NAME).status
    assert "cannot be read" in list(controller_of(locations).download(NAME))[-1].status


def test_what_a_user_s_file_says_is_escaped(tmp_path: Path) -> None:
    evil = '<img src=x onerror="alert(1)">'
    (tmp_path / "kgen-models.json").write_text(
        '{"schema": 1, "models": [{"id": "evil", "protocol": "tipo", "files": [{"path": "a.gguf", "kind": "gguf"}], '
        '"title": "X", "licence": "X", "notes": "X", "licence_url": "https://a/\\"onmouseover=\\"x"}]}'
        .replace('"X"', '"' + evil.replace('"', '\\"') + '"')
    )  # fmt: skip
    listed = list(model_rows(load_catalogue(tmp_path / "kgen-models.json"), ()))
    shown = facts_html(listed[-1], None) + state_html(TaskState(evil))
    assert "<img" not in shown
    assert '"onmouseover' not in shown
    assert shown.count("&lt;img") == 4


def test_a_row_tells_size_and_licence_before_a_download(locations: Locations) -> None:
    row = rows_of(controller_of(locations).show(""))["TIPO-v2.1-1B-A200M"]
    assert row.startswith("1.07 GB · Kohaku License 1.0 · ")


def test_the_licence_is_a_link(locations: Locations) -> None:
    view = controller_of(locations).show("TIPO-v2.1-1B-A200M").view
    assert view is not None
    assert '<a href="https://huggingface.co/KBlueLeaf/TIPO-v2.1-1B-A200M" target="_blank" rel="noopener' in view.facts


def test_each_model_has_one_row(locations: Locations) -> None:
    assert list(rows_of(controller_of(locations).show(""))) == [model.id for model in load_catalogue()]


@pytest.mark.parametrize("machine, best", [(ABLE, "TIPO-v2.1-1B-A200M:Q8_0"), (OLD, "TIPO-500M-ft:F16")])
def test_the_best_that_runs_here_is_preselected(machine: Machine, best: str, locations: Locations) -> None:
    view = controller_of(locations, machine=machine).show("").view
    assert view is not None and view.file == best


@pytest.mark.parametrize("name, told", [
    ("TIPO-500M-ft", "the best that runs here"), ("TIPO-200M", "runs here"),
    ("TIPO-v2.1-1B-A200M", "needs llama-cpp-python 0.3.10 or transformers 4.53"),
    ("starter", "ships with KGen"),
])  # fmt: skip
def test_a_row_tells_what_the_model_needs(name: str, told: str, locations: Locations) -> None:
    assert rows_of(controller_of(locations, machine=OLD).show(""))[name].split(" · ")[-1] == told


def test_a_file_of_the_user_s_own_is_told_as_such(locations: Locations) -> None:
    locations.own.mkdir()
    (locations.own / "mine-F16.gguf").write_bytes(WEIGHTS)
    assert rows_of(controller_of(locations).show(""))["mine"] == "300 kB · your own file"


def test_a_refused_file_is_told_as_such(locations: Locations, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.gguf").write_bytes(WEIGHTS)
    locations.own.mkdir()
    (locations.own / FILE).symlink_to(tmp_path / "elsewhere.gguf")
    assert rows_of(controller_of(locations).show(""))["TIPO-100M"].endswith("Apache-2.0 · refused")


def test_an_entry_of_the_user_s_without_its_file_is_told_as_such(locations: Locations) -> None:
    locations.own.mkdir()
    (locations.own / "kgen-models.json").write_text(
        '{"schema": 1, "models": [{"id": "mine", "protocol": "tipo", "files": [{"path": "a.gguf", "kind": "gguf"}]}]}'
    )
    assert rows_of(controller_of(locations).show(""))["mine"] == "size unknown · your own file, not found"


def test_other_files_of_a_model_are_under_it(locations: Locations) -> None:
    view = controller_of(locations).show("TIPO-v2.1-1B-A200M").view
    assert view is not None
    assert view.files == (
        ("Q8_0, 1.07 GB", "TIPO-v2.1-1B-A200M:Q8_0"), ("F16, 1.98 GB", "TIPO-v2.1-1B-A200M:F16"),
    )  # fmt: skip


def test_another_file_can_be_chosen(locations: Locations) -> None:
    view = controller_of(locations).show("TIPO-v2.1-1B-A200M:F16").view
    assert view is not None and view.download == "Download 1.98 GB"


def test_the_installed_file_is_shown_first(locations: Locations) -> None:
    locations.own.mkdir()
    (locations.own / "TIPO-v2.1-1B-A200M_TIPO-v2.1-1B-A200M-f16.gguf").write_bytes(WEIGHTS)
    view = controller_of(locations).show("TIPO-v2.1-1B-A200M").view
    assert view is not None and view.file == "TIPO-v2.1-1B-A200M:F16"


@pytest.mark.parametrize("name, buttons", [
    ("starter", (False, False, False)), (NAME, (False, True, True)), ("mine", (False, True, True)),
    ("TIPO-500M-ft", (True, False, False)), ("DanTagGen-beta:Q8_0", (False, True, False)),
])  # fmt: skip
def test_only_buttons_that_do_something_are_shown(
    name: str, buttons: tuple[bool, bool, bool], locations: Locations
) -> None:
    locations.own.mkdir()
    (locations.own / FILE).write_bytes(WEIGHTS)
    (locations.own / "mine.gguf").write_bytes(WEIGHTS)
    locations.hosts[0].mkdir()
    (locations.hosts[0] / "DanTagGen-beta_ggml-model-Q8_0.gguf").write_bytes(WEIGHTS)
    view = controller_of(locations).show(name).view
    assert view is not None
    assert (bool(view.download), view.verify, view.remove) == buttons


def test_the_page_is_told_of_a_download_that_is_running(hub: FakeHub, locations: Locations) -> None:
    hub.faults.slow = 0.05
    controller = controller_of(locations)
    watching = controller.download(NAME)
    next(watching)
    update = controller.show("")
    assert update.running and "kgen-running" in update.status
    list(watching)


def test_offline_names_the_one_switch_that_is_on(locations: Locations) -> None:
    last = list(controller_of(locations, offline=("--kgen-offline",)).download(NAME))[-1]
    assert "(to download leave out --kgen-offline)" in last.status


# The page.


def test_every_button_answers_for_each_of_its_outputs(hub: FakeHub, locations: Locations) -> None:
    panel = panel_of(locations)
    for wire in panel.gradio.wires:
        for updates in panel.do(wire.target.removeprefix(panel.tab.id("")), *([NAME] * len(wire.inputs)),
                                event=wire.event):  # fmt: skip
            assert len(updates) == len(wire.outputs)


def test_a_download_puts_the_new_model_into_the_page_s_own_list(hub: FakeHub, locations: Locations) -> None:
    assert panel_of(locations).last("models_download", NAME)["model"] == {
        "__type__": "update", "choices": ["default", "starter", "new"],
    }  # fmt: skip


def test_the_panel_looks_at_no_disk_while_the_page_is_built(
    locations: Locations, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("scanned")

    monkeypatch.setattr("kgen_ext.models.find_models", fail)
    panel_of(locations)


def test_opening_it_fills_the_rows_and_chooses_the_best(locations: Locations) -> None:
    shown = panel_of(locations).last("models_refresh", None, None)
    assert (shown["models_name"]["value"], shown["models_file"]["value"]) == (
        "TIPO-v2.1-1B-A200M", "TIPO-v2.1-1B-A200M:Q8_0",
    )  # fmt: skip


def test_opening_it_again_keeps_the_choice(locations: Locations) -> None:
    shown = panel_of(locations).last("models_refresh", "DanTagGen-beta", "DanTagGen-beta:Q6_K")
    assert shown["models_file"]["value"] == "DanTagGen-beta:Q6_K"


def test_another_model_brings_its_own_files(locations: Locations) -> None:
    shown = panel_of(locations).last("models_name", "TIPO-100M", "DanTagGen-beta:Q6_K", event="input")
    assert shown["models_file"]["value"] == "TIPO-100M:F16"


def test_cancel_is_shown_while_a_download_runs(hub: FakeHub, locations: Locations) -> None:
    hub.faults.slow = 0.02
    first, *_, last = panel_of(locations).do("models_download", NAME)
    assert [part["models_cancel"]["visible"] for part in (first, last)] == [True, False]


def test_nothing_of_the_panel_is_saved_among_the_page_s_defaults(locations: Locations) -> None:
    panel = panel_of(locations)
    parts = [part for part in panel.gradio.made if part.elem_id and part is not panel.tab.controls["model"]]
    assert len(parts) == 15
    assert all(getattr(part, "do_not_save_to_config", False) for part in parts)


@pytest.mark.parametrize("odd", [None, [], 3])
def test_a_value_gradio_may_hand_over_is_taken_as_text(odd: object, locations: Locations) -> None:
    assert panel_of(locations).last("models_name", odd, odd, event="input")["models_name"]["value"]
