"""The offer of a download under the preview: which model, when, and that it can be dismissed."""
from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hub_server import FakeHub, running_hub
from models_kit import OLD, offers_of, panel_of

from kgen_ext.models import Locations, load_catalogue
from kgen_ext.models.hub import Hub
from kgen_ext.models.needs import Machine
from kgen_ext.webui.models_offer import DISMISSED, Offer, offer_html

WEIGHTS = struct.pack("<4sIQQ", b"GGUF", 3, 0, 0) + random.Random(8).randbytes(300_000)
NAME, FILE = "TIPO-100M:F16", "TIPO-100M_TIPO-100M-F16.gguf"
SMALL = Machine({"reference": (2, 0)}, gpu=False, memory=10**9)  # only TIPO-100M fits


@pytest.fixture
def locations(tmp_path: Path) -> Locations:
    return Locations(own=tmp_path / "models")


@pytest.fixture(autouse=True)
def page_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kgen_ext.webui.ui.live_choices", lambda host, field: ("default", "starter", "new"))
    monkeypatch.setattr(
        "kgen_ext.webui.models_panel.read_settings", lambda host: SimpleNamespace(model="TIPO-200M", offline=())
    )


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with running_hub() as fake:
        fake.add("KBlueLeaf/TIPO-100M", "TIPO-100M-F16.gguf", WEIGHTS)
        monkeypatch.setattr("kgen_ext.models.download.Hub", lambda: Hub(endpoint=fake.endpoint))
        yield fake


def install(locations: Locations, name: str = FILE) -> None:
    locations.own.mkdir(exist_ok=True)
    (locations.own / name).write_bytes(WEIGHTS)


def offered(offer: Offer | None) -> str:
    return offer.name if offer else ""


def html_of(name: str, *, first: bool) -> str:
    model_id, _, variant = name.partition(":")
    model = next(model for model in load_catalogue() if model.id == model_id)
    file = model.file(variant)
    assert file is not None
    return offer_html(Offer(model, file, first))


def test_after_the_starter_the_model_that_suits_this_machine_is_offered(locations: Locations) -> None:
    assert offered(offers_of(locations).find("starter")) == "TIPO-v2.1-1B-A200M:Q8_0"


def test_a_model_that_does_not_run_here_is_not_offered(locations: Locations) -> None:
    assert offered(offers_of(locations, machine=OLD).find("starter")) == "TIPO-500M-ft:F16"


def test_the_line_tells_size_and_licence(locations: Locations) -> None:
    shown = html_of("TIPO-v2.1-1B-A200M:Q8_0", first=True)
    assert ": 1.07 GB, <a href=" in shown and ">Kohaku License 1.0</a>" in shown


def test_whoever_has_another_model_is_offered_none(locations: Locations) -> None:
    install(locations)
    assert offers_of(locations).find("starter") is None


def test_it_stays_away_once_dismissed(locations: Locations) -> None:
    offers_of(locations).dismiss()
    assert offers_of(locations).find("starter") is None


def test_dismissing_leaves_one_empty_file_in_our_own_folder(locations: Locations) -> None:
    offers_of(locations).dismiss()
    assert [(path.name, path.stat().st_size) for path in locations.own.iterdir()] == [(DISMISSED, 0)]


def test_a_missing_model_is_offered_even_after_that(locations: Locations) -> None:
    offers_of(locations).dismiss()
    assert offered(offers_of(locations).find("TIPO-100M")) == NAME


@pytest.mark.parametrize("wanted", ["starter", "TIPO-100M"])
def test_offline_nothing_is_offered(wanted: str, locations: Locations) -> None:
    assert offers_of(locations, offline=("KGEN_OFFLINE",)).find(wanted) is None


@pytest.mark.parametrize("wanted, offer", [
    ("TIPO-100M", NAME), ("tipo-100m", NAME), (NAME, NAME), ("TIPO-100M:safetensors", "TIPO-100M:safetensors"),
    ("DanTagGen-delta-rev2:Q6_K", "DanTagGen-delta-rev2:Q6_K"),
])  # fmt: skip
def test_the_file_that_an_expansion_lacked_is_offered(wanted: str, offer: str, locations: Locations) -> None:
    assert offered(offers_of(locations).find(wanted)) == offer


@pytest.mark.parametrize("wanted", ["", "nothing", "TIPO-100M:Q2_K", "../x", "/etc/passwd", "<b>", "a\0b"])
def test_a_name_that_no_download_brings_is_not_offered(wanted: str, locations: Locations) -> None:
    assert offers_of(locations).find(wanted) is None


def test_an_installed_model_is_not_offered(locations: Locations) -> None:
    install(locations)
    assert offers_of(locations).find("TIPO-100M") is None


def test_a_missing_model_that_could_not_run_here_is_not_offered(locations: Locations) -> None:
    assert offers_of(locations, machine=OLD).find("TIPO-v2.1-1B-A200M:Q8_0") is None


def test_a_broken_catalogue_offers_nothing(locations: Locations) -> None:
    locations.own.mkdir()
    (locations.own / "kgen-models.json").write_text("{")
    assert offers_of(locations).find("starter") is None


def test_only_the_first_offer_can_be_declined() -> None:
    assert ["No, thanks" in html_of(NAME, first=first) for first in (True, False)] == [True, False]


def test_nothing_is_asked_of_the_network_for_an_offer(hub: FakeHub, locations: Locations) -> None:
    offers_of(locations).find("starter")
    assert hub.asked == []


# The page.


@pytest.mark.parametrize("chosen, told", [
    ("starter", "The starter is small. TIPO-100M runs here"), ("TIPO-100M", "TIPO-100M is not installed"),
])  # fmt: skip
def test_the_offer_follows_the_page_s_model(chosen: str, told: str, locations: Locations) -> None:
    assert told in panel_of(locations, machine=SMALL).last("models_ask", chosen)["offer"]["value"]


def test_default_is_the_model_of_the_settings(locations: Locations) -> None:
    assert "TIPO-200M is not installed" in panel_of(locations).last("models_ask", "default")["offer"]["value"]


def test_no_thanks_takes_the_line_away_for_good(locations: Locations) -> None:
    panel = panel_of(locations)
    assert panel.last("models_dismiss")["offer"]["value"] == ""
    assert panel.last("models_ask", "starter")["offer"]["value"] == ""


def test_a_folder_that_cannot_be_written_to_still_takes_the_line_away(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert panel_of(Locations(own=tmp_path / "file")).last("models_dismiss")["offer"]["value"] == ""


def test_its_download_shows_progress_in_the_line_and_a_way_to_stop(hub: FakeHub, locations: Locations) -> None:
    hub.faults.slow = 0.02
    first, *_, last = panel_of(locations).do("models_get", NAME, "starter")
    assert "<progress" in first["offer"]["value"]
    assert [part["offer_cancel"]["visible"] for part in (first, last)] == [True, False]


def test_an_offer_goes_away_when_its_model_is_downloaded_elsewhere(hub: FakeHub, locations: Locations) -> None:
    assert panel_of(locations).last("models_download", NAME)["offer"] == {"__type__": "update", "value": ""}


def test_the_downloaded_model_is_chosen_in_place_of_the_starter(hub: FakeHub, locations: Locations) -> None:
    assert panel_of(locations).last("models_get", NAME, "starter")["model"]["value"] == "TIPO-100M"


def test_the_choice_of_a_missing_model_is_left_as_it_is(hub: FakeHub, locations: Locations) -> None:
    assert "value" not in panel_of(locations).last("models_get", NAME, NAME)["model"]


def test_a_failed_download_says_why_and_can_be_tried_again(hub: FakeHub, locations: Locations) -> None:
    hub.faults.corrupt = True
    line = panel_of(locations).last("models_get", NAME, "starter")["offer"]["value"]
    assert "another checksum" in line and f'data-kgen-name="{NAME}"' in line
    assert not (locations.own / FILE).exists()


@pytest.mark.parametrize("name", [None, "", "../x", "starter", "<b>"])
def test_a_name_from_the_page_leads_to_no_download(name: object, hub: FakeHub, locations: Locations) -> None:
    line = panel_of(locations).last("models_get", name, "starter")["offer"]["value"]
    assert "cannot be downloaded" in line and "<b>" not in line
    assert hub.asked == []
