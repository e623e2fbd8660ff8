"""ComfyUI's routes: the list of models, and a download with its progress, its end and its faults."""
from __future__ import annotations

import random
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest
from comfy_kit import fresh_state, load, new_host  # noqa: F401 - fixtures
from fake_comfy import Comfy
from hub_server import FakeHub, running_hub

from kgen_ext.comfy.routes import shared_tasks
from kgen_ext.models.hub import Hub

WEIGHTS = struct.pack("<4sIQQ", b"GGUF", 3, 0, 0) + random.Random(8).randbytes(300_000)
NAME, FILE = "TIPO-100M:F16", "TIPO-100M_TIPO-100M-F16.gguf"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "KGEN_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("kgen_ext.models.hub.CHUNK", 1 << 14)
    with running_hub() as fake:
        fake.add("KBlueLeaf/TIPO-100M", "TIPO-100M-F16.gguf", WEIGHTS)
        monkeypatch.setattr("kgen_ext.models.download.Hub", lambda: Hub(endpoint=fake.endpoint))
        yield fake
        if (task := shared_tasks().last) is not None:
            task.stop()
            task.wait(5)


@pytest.fixture
def loaded(host: Comfy) -> Comfy:
    load(host)
    return host


def wait(host: Comfy) -> dict[str, Any]:
    """Return the state of a download once it has ended."""
    for _ in range(500):
        state = host.get("/kgen/download").value["download"]
        if state["state"] != "running":
            return state
        time.sleep(0.01)
    raise AssertionError("the download did not end")


def model_of(host: Comfy, name: str) -> dict[str, Any]:
    [found] = [model for model in host.get("/kgen/models").value["models"] if model["id"] == name]
    return found


def test_the_list_tells_size_and_licence_before_a_download(loaded: Comfy) -> None:
    model = model_of(loaded, "TIPO-500M-ft")
    assert (model["licence"], model["files"][0]["shown_size"], model["installed"]) == ("Kohaku License 1.0", "1.02 GB",
                                                                                      False)  # fmt: skip


def test_the_starter_is_installed_and_has_nothing_to_download(loaded: Comfy) -> None:
    model = model_of(loaded, "starter")
    assert (model["installed"], model["files"]) == (True, [])


def test_nothing_runs_before_anyone_asked(loaded: Comfy) -> None:
    assert loaded.get("/kgen/download").value == {"download": None}


def test_looking_asks_nothing_of_the_network(loaded: Comfy, hub: FakeHub) -> None:
    loaded.get("/kgen/models")
    assert hub.asked == []


def test_a_download_puts_the_file_into_models_kgen(loaded: Comfy, hub: FakeHub) -> None:
    assert loaded.post("/kgen/download", {"model": NAME}).status == 202
    assert wait(loaded)["state"] == "done"
    assert (loaded.models_dir / "kgen" / FILE).read_bytes() == WEIGHTS


def test_the_list_knows_what_was_downloaded(loaded: Comfy, hub: FakeHub) -> None:
    loaded.post("/kgen/download", {"model": "TIPO-100M"})
    wait(loaded)
    assert model_of(loaded, "TIPO-100M")["files"][0]["installed"]


def test_a_running_download_tells_how_far_it_is(loaded: Comfy, hub: FakeHub) -> None:
    hub.faults.slow = 0.05
    loaded.post("/kgen/download", {"model": NAME})
    seen = set()
    while (state := loaded.get("/kgen/download").value["download"])["state"] == "running":
        seen.add(state["fraction"])
        time.sleep(0.02)
    assert any(fraction is not None and 0 < fraction < 1 for fraction in seen)


def test_a_download_can_be_cancelled(loaded: Comfy, hub: FakeHub) -> None:
    hub.faults.slow = 0.05
    loaded.post("/kgen/download", {"model": NAME})
    loaded.post("/kgen/download/cancel", {})
    assert wait(loaded)["state"] == "cancelled"


def test_the_same_download_is_joined(loaded: Comfy, hub: FakeHub) -> None:
    hub.faults.slow = 0.05
    loaded.post("/kgen/download", {"model": NAME})
    assert loaded.post("/kgen/download", {"model": "TIPO-100M"}).status == 202


def test_another_download_has_to_wait(loaded: Comfy, hub: FakeHub) -> None:
    hub.faults.slow = 0.05
    loaded.post("/kgen/download", {"model": NAME})
    assert loaded.post("/kgen/download", {"model": "TIPO-500M"}).status == 409


def test_a_file_that_was_altered_on_its_way_is_refused(loaded: Comfy, hub: FakeHub) -> None:
    hub.faults.corrupt = True
    loaded.post("/kgen/download", {"model": NAME})
    state = wait(loaded)
    assert state["state"] == "failed" and "checksum" in state["line"]
    assert not (loaded.models_dir / "kgen" / FILE).exists()


def test_offline_is_told(loaded: Comfy, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KGEN_OFFLINE", "1")
    loaded.post("/kgen/download", {"model": NAME})
    assert "KGEN_OFFLINE" in wait(loaded)["line"]


@pytest.mark.parametrize("body", [
    {}, [], 5, {"model": 5}, {"model": "starter"}, {"model": "nosuch"}, {"model": "../../etc/passwd"},
    {"model": "https://example.com/x.gguf"}, {"model": "TIPO-100M:nosuch"}, {"model": ""}, b"{", b"\xff",
    {"url": "https://example.com/x.gguf"},
])  # fmt: skip
def test_only_names_of_the_catalogue_are_downloaded(loaded: Comfy, hub: FakeHub, body: Any) -> None:
    assert loaded.post("/kgen/download", body).status == 400
    assert hub.asked == []


@pytest.mark.parametrize(("headers", "status"), [
    ({"Content_Type": "text/plain"}, 415), ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
    ({"Content_Type": ""}, 415), ({"Origin": "https://example.com"}, 403), ({"Origin": "null"}, 403),
    ({"Origin": "http://127.0.0.1:9999"}, 403), ({"Sec_Fetch_Site": "cross-site"}, 403),
    ({"Sec_Fetch_Site": "same-site"}, 403),
    ({"Sec_Fetch_Site": "same-origin", "Origin": "https://proxy.example"}, 202),
    ({"Content_Type": "application/json; charset=utf-8"}, 202),
    ({"Host": "HOME:8188", "Origin": "http://home:8188"}, 202),
])  # fmt: skip
@pytest.mark.parametrize("path", ["/kgen/download", "/kgen/download/cancel"])
def test_another_page_can_ask_for_nothing(
    loaded: Comfy, hub: FakeHub, path: str, headers: dict[str, str], status: int
) -> None:
    answer = loaded.post(path, {"model": NAME}, **headers)
    assert answer.status == (status if status != 202 or path == "/kgen/download" else 200)


def test_a_long_body_is_refused(loaded: Comfy) -> None:
    assert loaded.post("/kgen/download", b" " * 20_000).status == 413


def test_an_error_has_a_message_and_a_hint(loaded: Comfy) -> None:
    error = loaded.post("/kgen/download", {"model": "TIPO-100M:nosuch"}).value["error"]
    assert "TIPO-100M:nosuch cannot be downloaded" in error["message"] and "TIPO-100M:F16" in error["hint"]
