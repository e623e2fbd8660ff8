"""The models panel: what its buttons do, what it shows, and how it is wired to the page."""
from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import FakeHub, running_hub
from models_kit import controller_of, page

from kgen_ext.models import Locations, load_catalogue
from kgen_ext.models.describe import model_rows
from kgen_ext.models.hub import Hub
from kgen_ext.webui.background import BackgroundTasks, TaskState
from kgen_ext.webui.models_controller import model_names
from kgen_ext.webui.models_html import facts_html, state_html, table_html
from kgen_ext.webui.models_panel import BUTTONS

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
    assert last.table is not None
    assert '<tr class="kgen-installed"><td>TIPO-100M</td>' in last.table


def test_nothing_is_asked_of_the_network_before_the_click(hub: FakeHub, locations: Locations) -> None:
    controller = controller_of(locations)
    controller.refresh(NAME)
    controller.select(NAME)
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
            assert "stopping" in controller.cancel(NAME).status
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
    assert "kgen-failed" in last.status
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
    assert "kgen-failed" in last.status and "download" in last.status
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
    assert "cannot be read" in controller_of(locations).refresh(NAME).status
    assert "cannot be read" in list(controller_of(locations).download(NAME))[-1].status


def test_what_a_user_s_file_says_is_escaped(tmp_path: Path) -> None:
    evil = '<img src=x onerror="alert(1)">'
    (tmp_path / "kgen-models.json").write_text(
        '{"schema": 1, "models": [{"id": "evil", "protocol": "tipo", "files": [{"path": "a.gguf", "kind": "gguf"}], '
        '"title": "X", "licence": "X", "notes": "X", "licence_url": "https://a/\\"onmouseover=\\"x"}]}'
        .replace('"X"', '"' + evil.replace('"', '\\"') + '"')
    )  # fmt: skip
    listed = list(model_rows(load_catalogue(tmp_path / "kgen-models.json"), ()))
    shown = table_html(listed) + facts_html(listed[-1]) + state_html(TaskState(evil))
    assert "<img" not in shown
    assert '"onmouseover' not in shown
    assert shown.count("&lt;img") == 5


def test_the_facts_show_size_licence_and_link_before_a_download() -> None:
    row = next(row for row in model_rows(load_catalogue(), ()) if row[0] == "TIPO-v2.1-1B-A200M")
    shown = facts_html(row, scanned=False)
    assert "1.07 GB" in shown
    assert "Kohaku License 1.0" in shown
    assert '<a href="https://huggingface.co/KBlueLeaf/TIPO-v2.1-1B-A200M" target="_blank" rel="noopener' in shown
    assert "press Refresh" in shown


def test_the_list_offers_every_file_that_can_be_fetched_once() -> None:
    names = model_names(load_catalogue())
    assert names[0] == "TIPO-v2.1-1B-A200M:Q8_0"
    assert "TIPO-500M-ft:safetensors" in names
    assert len(set(names)) == len(names)
    assert not any(name.startswith("starter") for name in names)


# The page.


def test_every_button_answers_for_each_of_its_outputs(hub: FakeHub, locations: Locations) -> None:
    _, made = page(locations)
    for part in ("refresh", *BUTTONS):
        fn, inputs, outputs = made[f"kgen_txt2img_models_{part}"].events["click"]
        answer = fn(*([NAME, ""][: len(inputs)]))
        for changes in [answer] if isinstance(answer, list) else answer:
            assert len(changes) == len(outputs)


def test_a_download_puts_the_new_model_into_the_page_s_own_list(hub: FakeHub, locations: Locations) -> None:
    tab, made = page(locations)
    fn, _, outputs = made["kgen_txt2img_models_download"].events["click"]
    last = list(fn(NAME))[-1]
    assert outputs[-1] is tab.controls["model"]
    assert last[-1] == {"choices": ["default", "starter", "new"]}


def test_the_panel_looks_at_no_disk_while_the_page_is_built(
    locations: Locations, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("scanned")

    monkeypatch.setattr("kgen_ext.models.find_models", fail)
    _, made = page(locations)
    assert "1.07 GB" in made["kgen_txt2img_models_facts"].args[0]


def test_nothing_of_the_panel_is_saved_among_the_page_s_defaults(locations: Locations) -> None:
    _, made = page(locations)
    parts = {name: part for name, part in made.items() if name.startswith("kgen")}
    assert len(parts) == 10
    assert all(getattr(part, "do_not_save_to_config", False) for part in parts.values())


def test_a_value_gradio_may_hand_over_is_taken_as_text(locations: Locations) -> None:
    _, made = page(locations)
    fn, _, _ = made["kgen_txt2img_models_name"].events["change"]
    for odd in (None, [], 3):
        assert isinstance(fn(odd), list)
