"""Paths from outside: none reaches the disk, by a host's options, an API, an image, a plot or the page.

The proof: whatever path is handed over, the process touches nothing of the disk that it does not touch for a harmless
value. The bait is there to be found: an owner who names it by a flag gets it.
"""
from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from disk_watch import watched
from fake_gradio import FakeGradio
from fake_options import ROUTES, Options, Route
from test_webui_xyz import AxisOption
from webui_kit import Stage

from kgen_ext.errors import KGenError, UnknownModel
from kgen_ext.rules.known import TagFiles
from kgen_ext.webui.api import Api
from kgen_ext.webui.api_schema import EXTRA_FIELDS, REQUEST_FIELDS
from kgen_ext.webui.controls import CONTROLS, Widget
from kgen_ext.webui.host import Host
from kgen_ext.webui.infotext import paste_fields
from kgen_ext.webui.models_controller import ModelsController
from kgen_ext.webui.models_offer import ModelOffers
from kgen_ext.webui.preview import Previews, run_preview
from kgen_ext.webui.settings import (
    SETTINGS,
    Setting,
    find_model,
    installed_models,
    read_settings,
    tag_file,
    webui_locations,
)
from kgen_ext.webui.settings_page import declare_options, register_settings
from kgen_ext.webui.xyz import add_axes

BAIT = "canary"
# Each leads to the bait, or out of the folder it would be joined to, where somebody takes it for a path. `@` is the
# folder of the test.
VECTORS: tuple[Any, ...] = (
    "@/canary/tags.csv", "@/canary", "@/canary/model-Q8_0.gguf", "canary/tags.csv", "./canary", "canary/",
    "../canary/tags.csv", "../../canary/model-Q8_0.gguf", "../../../canary/tags.csv", "..\\canary\\tags.csv", ".", "..",
    "~/canary/tags.csv", "$CANARY/tags.csv", "${CANARY}", "%CANARY%\\tags.csv",
    "C:\\canary\\tags.csv", "C:canary", "D:/canary", "\\\\host\\canary\\tags.csv", "//host/canary", "\\\\?\\C:\\canary",
    "\\\\.\\pipe\\canary", "/dev/null", "NUL", "file://@/canary/tags.csv", "https://host/canary.csv",
    "danbooru.csv\0", "canary\0/tags.csv", "*", "*.csv", "can?ry/*", "**/tags.csv", "[c]anary", "danbooru.csv:canary",
    "danbooru.csv::$DATA", "danbooru.csv.", "danbooru.csv ", "danbooru.csv/", "tags/danbooru.csv", "..%2fcanary",
    "..／canary／tags.csv", "danbooru.csv\n@/canary/tags.csv", '"@/canary/tags.csv"', "canary/" * 2000,
    "canary/\ud800", "starter:../canary", "starter/../canary", "mine:Q8_0/../../canary",
    ["@/canary/tags.csv"], {"path": "@/canary/tags.csv"},
)  # fmt: skip
HARMLESS = ("starter", "nosuch", "e621.csv")


def shown(vector: Any) -> str:
    return ascii(vector)[:40]


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Lay the bait beside the host's folders, and what may be found into them."""
    bait = tmp_path / BAIT
    tags, own = tmp_path / "extensions" / "a1111-sd-webui-tagcomplete" / "tags", tmp_path / "models" / "kgen"
    for directory in (bait, tags, own):
        directory.mkdir(parents=True)
    for path in (bait / "tags.csv", tags / "danbooru.csv", tags / "e621.csv"):
        path.write_text(f"{path.stem},0,5\n", encoding="utf-8")
    for path in (bait / "model-Q8_0.gguf", own / "mine-Q8_0.gguf"):
        path.write_bytes(b"GGUF")
    for name in ("KGEN_MODELS_DIR", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(BAIT.upper(), str(bait))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def filled(vector: Any, folder: Path) -> Any:
    return json.loads(json.dumps(vector).replace("@", str(folder)))


def with_options(stage: Stage, monkeypatch: pytest.MonkeyPatch, options: Options) -> None:
    """Give the host these options, ours among them."""
    monkeypatch.setitem(sys.modules, "gradio", FakeGradio())
    stage.host.opts = stage.host.modules["modules.shared"].opts = options  # type: ignore[assignment,attr-defined]
    options.add_option("infotext_styles", SimpleNamespace(default="Ignore", restrict_api=False, onchange=None))
    declare_options(Host())


def use(stage: Stage) -> None:
    """Do what depends on a setting: a job that wants known tags, the list of models, and the lists of choices."""
    stage.expander.asked.clear()
    stage.run(values={"known_only": True})
    open_tag_files(stage)
    Api(host=Host(), session=lambda: stage.session).models()
    for info in stage.host.opts.data_labels.values():
        if callable(getattr(info, "component_args", None)):
            info.component_args()


def open_tag_files(stage: Stage) -> None:
    """Open what the expander would."""
    for request in stage.requests:
        if request.tag_file:
            TagFiles().load(request.tag_file)


def touched(call: Callable[[], Any]) -> set[str]:
    """Return which paths a call touches; what it says of a value that cannot be does not matter here."""
    with watched() as paths, suppress(KGenError, KeyError):
        call()
    return paths


def beyond(calls: Callable[[Any], Mapping[str, Callable[[], Any]]], folder: Path) -> dict[tuple[str, str], set[str]]:
    """Return the paths that a vector leads to and no harmless value does, by the call and the vector."""
    for _ in range(2):  # what is loaded on first use is loaded then
        plain = set[str]().union(*(touched(call) for value in HARMLESS for call in calls(value).values()))
    found = {
        (name, shown(vector)): touched(call) - plain
        for vector in VECTORS
        for name, call in calls(filled(vector, folder)).items()
    }
    return {key: paths for key, paths in found.items() if paths}


# The watch, and the bait.


@pytest.mark.parametrize("ask", [
    lambda path: path.exists(), lambda path: path.is_file(), lambda path: path.stat(), lambda path: path.resolve(),
    lambda path: path.read_bytes(), lambda path: list(path.parent.iterdir()), lambda path: list(path.parent.glob("*")),
    lambda path: os.path.isdir(path), lambda path: open(path, "rb").close(), lambda path: path.unlink(),
])  # fmt: skip
def test_the_watch_sees_whatever_asks_the_disk(ask: Callable[[Path], Any], folder: Path) -> None:
    paths = touched(lambda: ask(folder / BAIT / "tags.csv"))
    assert any(BAIT in path for path in paths)


def test_an_owner_gets_the_bait_by_a_flag(stage: Stage, folder: Path) -> None:
    stage.host.cmd_opts.kgen_tag_file = f"{BAIT}/tags.csv"
    assert tag_file(Host(), read_settings(Host())) == str(folder / BAIT / "tags.csv")


def test_an_owner_gets_a_model_by_a_flag(stage: Stage, folder: Path) -> None:
    stage.host.cmd_opts.kgen_models_dir = str(folder / BAIT)
    assert "model:Q8_0" in installed_models(Host())


# Options.


def test_a_restricted_option_is_kept_from_clients_by_one_host_of_four() -> None:
    """Why nothing here may rest on `restrict_api`."""
    kept = []
    for route in ROUTES:
        options = route.options({"path": "own"})
        options.add_option("path", SimpleNamespace(default="", restrict_api=True, onchange=None))
        route.post(options, {"path": "theirs"})
        kept.append((route.host, options.path))
    assert kept == [("AUTOMATIC1111", "own"), ("Forge", "theirs"), ("Forge Neo", "theirs"), ("SD.Next", "theirs")]


@pytest.mark.parametrize("way", ["post", "override"])
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.host)
def test_no_option_that_a_client_sets_leads_to_the_disk(
    route: Route, way: str, stage: Stage, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def calls(value: Any) -> dict[str, Callable[[], Any]]:
        return {key: lambda key=key: change(key, value) for key in ("kgen_tag_file", "kgen_models_dir", "kgen_model")}

    def change(key: str, value: Any) -> None:
        with_options(stage, monkeypatch, route.options({}))
        with suppress(KeyError):  # what a host says of an option that it does not have
            getattr(route, way)(stage.host.opts, {key: value})
        use(stage)

    assert beyond(calls, folder) == {}


@pytest.mark.parametrize("option", SETTINGS, ids=lambda option: option.key)
def test_reading_the_settings_touches_nothing_whatever_is_stored(
    option: Setting, stage: Stage, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_settings(Host())  # what is loaded on first use
    found = set[str]()
    for vector in VECTORS:
        with_options(stage, monkeypatch, Options({option.key: filled(vector, folder)}))
        found |= touched(lambda: read_settings(Host()))
    assert found == set()


def test_a_path_that_an_earlier_version_stored_leads_nowhere(
    stage: Stage, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def calls(value: Any) -> dict[str, Callable[[], Any]]:
        return {"config.json": lambda: start({"kgen_tag_file": value, "kgen_models_dir": value})}

    def start(config: Mapping[str, Any]) -> None:
        with_options(stage, monkeypatch, Options(config))
        register_settings(Host())
        use(stage)

    assert beyond(calls, folder) == {}


# What comes with a job, a request, an image, a plot, and from the page.


def test_no_control_of_a_job_leads_to_the_disk(stage: Stage, folder: Path) -> None:
    fields = [param.field for param in CONTROLS if param.widget in (Widget.LIVE, Widget.TEXT)]  # the rest takes no text

    def calls(value: Any) -> dict[str, Callable[[], Any]]:
        return {field: lambda field=field: run(field, value) for field in fields}

    def run(field: str, value: Any) -> None:
        stage.expander.asked.clear()
        stage.run(args=[{"enabled": True, "known_only": True, field: value}])
        open_tag_files(stage)

    assert beyond(calls, folder) == {}


def test_no_field_of_a_request_leads_to_the_disk(stage: Stage, folder: Path) -> None:
    api = Api(host=Host(), session=lambda: stage.session)

    def calls(value: Any) -> dict[str, Callable[[], Any]]:
        fields = (*REQUEST_FIELDS, *EXTRA_FIELDS, "tag_file", "models_dir", "paths")
        alone = {field: lambda field=field: ask({field: value}) for field in fields}
        return alone | {
            f"known {field}": lambda field=field: ask({"known_only": True, field: value}) for field in EXTRA_FIELDS
        }

    def ask(body: Mapping[str, Any]) -> None:
        stage.expander.asked.clear()
        api.expand(json.dumps(body).encode())
        open_tag_files(stage)

    assert beyond(calls, folder) == {}


def test_no_entry_of_a_pasted_image_leads_to_the_disk(stage: Stage, folder: Path) -> None:
    def calls(value: Any) -> dict[str, Callable[[], Any]]:
        keys = (param.key for param in CONTROLS)
        return {key: lambda key=key: paste({"Prompt": "cat", "KGen": "1", key: value}) for key in keys}

    def paste(params: dict[str, Any]) -> None:
        for call in stage.host.callbacks["on_infotext_pasted"]:
            call("", params)
        for _, value in paste_fields({param.field: None for param in CONTROLS}):
            value(params)

    assert beyond(calls, folder) == {}


def test_no_value_of_a_plot_leads_to_the_disk(stage: Stage, folder: Path) -> None:
    module = SimpleNamespace(axis_options=[], AxisOption=AxisOption)
    stage.host.scripts_data.append(SimpleNamespace(path="xyz_grid.py", module=module))
    add_axes(Host())

    def calls(value: Any) -> dict[str, Callable[[], Any]]:
        return {axis.label: lambda axis=axis: plot(axis, value) for axis in module.axis_options}

    def plot(axis: AxisOption, value: Any) -> None:
        job = stage.job(values={"known_only": True})
        with suppress(KGenError):
            axis.confirm(job, [value])
        with suppress(KGenError):
            axis.apply(job, value, [value])
        stage.host.run(job)

    assert beyond(calls, folder) == {}


def test_no_name_in_the_models_panel_leads_to_the_disk(stage: Stage, folder: Path) -> None:
    controller = ModelsController(locations=lambda: webui_locations(Host(), read_settings(Host())),
                                  offline=lambda: ("KGEN_OFFLINE",), unload=lambda: 0, poll_seconds=0.005)  # fmt: skip
    offers = ModelOffers(locations=lambda: webui_locations(Host(), read_settings(Host())), offline=lambda: ())

    def calls(value: Any) -> dict[str, Callable[[], Any]]:
        name = value if isinstance(value, str) else str(value)
        return {
            "download": lambda: list(controller.download(name)), "verify": lambda: list(controller.verify(name)),
            "remove": lambda: controller.remove(name, name), "show": lambda: controller.show(name),
            "offer": lambda: offers.find(name),
        }  # fmt: skip

    assert beyond(calls, folder) == {}


def test_nothing_that_a_page_sends_with_a_preview_leads_to_the_disk(stage: Stage, folder: Path) -> None:
    def calls(value: Any) -> dict[str, Callable[[], Any]]:
        page = {"id": "1", "tab": "txt2img", "prompt": "cat", "width": "512", "height": "512", "seed": "1"}
        sent = {part: lambda part=part: preview({**page, part: value}) for part in page}
        return sent | {"model": lambda: preview(page, model=value), "versions": lambda: preview(page, count=value)}

    def preview(page: Mapping[str, Any], *, count: Any = 1, model: Any = "starter") -> None:
        stage.expander.asked.clear()
        arguments = [{"known_only": True, "model": model}]
        list(run_preview(json.dumps(page), count, arguments, again=False, host=Host(), session=stage.session,
                         previews=Previews(), counter=lambda prompt: None))  # fmt: skip
        open_tag_files(stage)

    assert beyond(calls, folder) == {}


def test_a_text_in_an_image_s_place_is_not_opened(stage: Stage, folder: Path) -> None:
    """SD.Next's reader takes a text for the path of an image."""
    stage.host.modules["modules.images"].read_info_from_image = lambda path: (str(Path(path).exists()), {})  # type: ignore[attr-defined]
    assert beyond(lambda value: {"image": lambda: Host().read_image(value)}, folder) == {}


@pytest.mark.parametrize("name", [vector for vector in VECTORS if isinstance(vector, str)], ids=shown)
def test_a_session_opens_no_model_by_its_path(name: str, folder: Path) -> None:
    """A name is looked up once: what is opened are the files found by it."""
    with pytest.raises(UnknownModel):
        find_model(Host(), read_settings(Host()), filled(name, folder))

