"""Settings: every value is checked, the page shows them, and a host without settings gets the defaults."""
from __future__ import annotations

import io
import logging
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fake_host import FakeHost, install
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kgen_ext.engines import devices
from kgen_ext.webui import settings as module
from kgen_ext.webui import settings_page
from kgen_ext.webui.controls import read_named
from kgen_ext.webui.host import LOGGER, Host
from kgen_ext.webui.settings import BY_KEY, SETTINGS, installed_models, read_settings, webui_locations
from kgen_ext.webui.settings_page import NOTE, SECTION, declare_options, register_settings, set_up_log

KINDS = ("a1111", "forge", "reforge")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Warnings count anew, no variable of the tester's counts, and the logger is left as it was."""
    module.warn_once.cache_clear()
    offline = ("HF_HUB_OFFLINE", "KGEN_OFFLINE", "TRANSFORMERS_OFFLINE")
    for name in (*offline, "KGEN_MODELS_DIR", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    log = logging.getLogger(LOGGER)
    level, handlers = log.level, list(log.handlers)
    yield
    log.setLevel(level)
    log.handlers[:] = handlers


@pytest.fixture
def gradio(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    fake = ModuleType("gradio")
    for name in ("Dropdown", "Radio", "Slider", "Textbox", "Checkbox", "Number"):
        setattr(fake, name, type(name, (), {}))
    monkeypatch.setitem(sys.modules, "gradio", fake)
    return fake


def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str = "a1111") -> FakeHost:
    made = install(monkeypatch, tmp_path, kind=kind)
    for folder in ("models", "extensions"):
        (tmp_path / folder).mkdir(exist_ok=True)
    return made


def test_a_host_without_our_options_has_the_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake(monkeypatch, tmp_path)
    read = read_settings(Host())
    assert (read.model, read.engine, read.device, read.timing, read.paste) == (
        "starter", "auto", "auto", "after", "original",
    )  # fmt: skip
    assert (read.keep, read.idle_seconds, read.offline, read.presets) == (True, None, (), ())


def test_without_any_host_there_are_defaults_too() -> None:
    assert read_settings(Host()).model == "starter"


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_shows_every_option_in_our_section(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gradio: ModuleType
) -> None:
    host = fake(monkeypatch, tmp_path, kind)
    register_settings(Host())
    for call in host.callbacks["on_ui_settings"]:
        call()
    labels = host.opts.__dict__["data_labels"]
    shown = {key: info for key, info in labels.items() if key != NOTE}
    assert [*shown] == [option.key for option in SETTINGS]
    assert all(info.section == SECTION and info.label and info.notes for info in shown.values())


def test_a_page_as_declared_reads_as_the_defaults(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gradio: ModuleType
) -> None:
    fake(monkeypatch, tmp_path)
    before = read_settings(Host())
    declare_options(Host())
    assert read_settings(Host()) == before


def test_a_setting_is_shown_by_a_widget_that_can_hold_its_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gradio: ModuleType
) -> None:
    host = fake(monkeypatch, tmp_path)
    declare_options(Host())
    for key, info in host.opts.__dict__["data_labels"].items():
        arguments = info.component_args() if callable(info.component_args) else info.component_args or {}
        if "choices" in arguments:
            assert info.default in arguments["choices"], key
        if "minimum" in arguments:
            assert arguments["minimum"] <= info.default <= arguments["maximum"], key


def test_a_widgets_arguments_may_be_changed_later(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gradio: ModuleType
) -> None:
    """A1111 hands them all to `gr.update` when a page loads, and one it does not know stops the loading of all."""
    host = fake(monkeypatch, tmp_path)
    components = ModuleType("modules.ui_components")
    components.DropdownEditable = editable = type("DropdownEditable", (), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "modules.ui_components", components)
    declare_options(Host())
    labels = host.opts.__dict__["data_labels"]
    for key, info in labels.items():
        arguments = info.component_args() if callable(info.component_args) else info.component_args or {}
        assert set(arguments) <= {"choices", "minimum", "maximum", "step", "lines", "visible"}, key
    assert labels["kgen_device"].component is editable, "cuda:1 can be typed in"


@pytest.mark.parametrize("key", ["kgen_model", "kgen_engine", "kgen_keep", "kgen_log_level"])
def test_a_dropdown_of_gradio_4_shows_its_text_itself(
    key: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gradio: ModuleType
) -> None:
    host = fake(monkeypatch, tmp_path)
    gradio.__version__ = "4.40.0"  # type: ignore[attr-defined]
    declare_options(Host())
    info = host.opts.__dict__["data_labels"][key]
    arguments = info.component_args() if callable(info.component_args) else info.component_args
    shown = [arguments["info"]] if info.component is gradio.Dropdown else info.notes
    assert shown == [BY_KEY[key].info]


def told(host: FakeHost) -> str:
    """Return what the page tells about files."""
    declare_options(Host())
    note = host.opts.__dict__["data_labels"][NOTE]
    assert (note.section, note.do_not_save) == (SECTION, True)
    return str(note.default)


def test_the_page_tells_the_models_folder_in_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gradio: ModuleType
) -> None:
    assert f"stored in {tmp_path / 'models' / 'kgen'}." in told(fake(monkeypatch, tmp_path))


@pytest.mark.parametrize("flag", ["--kgen-models-dir FOLDER", "--kgen-tag-file PATH"])
def test_the_page_tells_the_flags_that_name_paths(
    flag: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gradio: ModuleType
) -> None:
    assert f"<code>{flag}</code>" in told(fake(monkeypatch, tmp_path))


def test_the_page_tells_the_folder_of_the_flag(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gradio: ModuleType
) -> None:
    host = fake(monkeypatch, tmp_path)
    host.cmd_opts.kgen_models_dir = str(tmp_path / "<b>mine")
    assert f"stored in {tmp_path}/&lt;b&gt;mine." in told(host)


def test_the_page_tells_no_folder_where_the_host_hides_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gradio: ModuleType
) -> None:
    host = fake(monkeypatch, tmp_path)
    host.cmd_opts.hide_ui_dir_config = True
    assert str(tmp_path) not in told(host)


def test_the_list_of_models_keeps_one_that_is_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gradio: ModuleType
) -> None:
    host = fake(monkeypatch, tmp_path)
    declare_options(Host())
    host.opts.kgen_model = "TIPO-500M:Q4_0"
    assert host.opts.__dict__["data_labels"]["kgen_model"].component_args()["choices"] == ["starter", "TIPO-500M:Q4_0"]


@pytest.mark.parametrize("option", [option for option in SETTINGS if option.choices], ids=lambda option: option.key)
def test_a_choice_is_understood_by_its_label_and_by_its_value(
    option: module.Setting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    host = fake(monkeypatch, tmp_path)
    for value, label in option.choices:
        host.opts.__dict__["data"][option.key] = value
        by_value = read_settings(Host())
        host.opts.__dict__["data"][option.key] = label
        assert read_settings(Host()) == by_value


def test_keeping_comes_down_to_seconds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    host = fake(monkeypatch, tmp_path)
    seen = []
    for keep in ("keep", "idle", "never"):
        host.opts.kgen_keep, host.opts.kgen_idle_minutes = keep, 3
        seen.append((read_settings(Host()).keep, read_settings(Host()).idle_seconds))
    assert seen == [(True, None), (True, 180.0), (False, None)]


@pytest.mark.parametrize(
    ("key", "value"),
    [("kgen_engine", "onnx"), ("kgen_device", 7), ("kgen_device", ["cpu"]), ("kgen_keep", ""),
     ("kgen_idle_minutes", "soon"), ("kgen_idle_minutes", 0), ("kgen_timing", ["after"]), ("kgen_paste", {}),
     ("kgen_tag_file", 3), ("kgen_tag_file", "/mine.csv"), ("kgen_tag_file", "C:mine.csv"),
     ("kgen_presets", 5), ("kgen_offline", "maybe"), ("kgen_log_level", "loud"),
     ("kgen_model", 1.5)],
)  # fmt: skip
def test_a_value_that_cannot_be_used_is_the_default_and_one_line(
    key: str, value: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host = fake(monkeypatch, tmp_path)
    host.opts.kgen_keep = "idle"
    expected = read_settings(Host())
    setattr(host.opts, key, value)
    for _ in range(3):
        read = read_settings(Host())
    if key == "kgen_keep":
        expected = replace(expected, idle_seconds=None)
    assert read == expected
    assert len(caplog.records) == 1
    assert BY_KEY[key].label in caplog.text
    assert "the default is used" in caplog.text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.sampled_from(SETTINGS), st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(
    st.text(), max_size=2)))  # fmt: skip
def test_no_stored_value_whatever_raises(tmp_path: Path, option: module.Setting, value: Any) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        host = fake(monkeypatch, tmp_path)
        setattr(host.opts, option.key, value)
        read_settings(Host())


def test_default_and_auto_on_the_page_mean_what_is_set_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    host = fake(monkeypatch, tmp_path)
    host.opts.kgen_model, host.opts.kgen_engine, host.opts.kgen_threads = "TIPO-500M", "llama_cpp", 4
    read = read_settings(Host())
    plain, chosen = read_named({}), read_named({"model": "starter", "engine": "reference"})
    assert (read.model_of(plain), read.engine_of(plain), read.threads) == ("TIPO-500M", "llama_cpp", 4)
    assert (read.model_of(chosen), read.engine_of(chosen)) == ("starter", "reference")


def test_flags_go_before_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    host = fake(monkeypatch, tmp_path)
    host.opts.kgen_device, host.opts.kgen_models_dir = "cuda", "elsewhere"
    host.cmd_opts.kgen_device, host.cmd_opts.kgen_offline = "cpu", True
    host.cmd_opts.kgen_models_dir = str(tmp_path / "mine")
    read = read_settings(Host())
    assert (read.device, read.offline, read.models_dir) == ("cpu", ("--kgen-offline",), str(tmp_path / "mine"))


def test_a_card_may_be_named_by_its_number(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    host = fake(monkeypatch, tmp_path)
    host.opts.kgen_device = "cuda:1"
    assert read_settings(Host()).device == "cuda:1"
    host.cmd_opts.kgen_device = "xpu:2"
    assert read_settings(Host()).device == "xpu:2"
    assert [value for value, _ in module.DEVICES] == [*devices.DEVICES]


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "KGEN_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_every_word_for_offline_that_a_download_obeys_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    fake(monkeypatch, tmp_path)
    assert read_settings(Host()).offline == ()
    monkeypatch.setenv(name, "1")
    assert read_settings(Host()).offline == (name,)


def test_the_setting_for_offline_is_named_as_the_page_names_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake(monkeypatch, tmp_path).opts.kgen_offline = True
    assert read_settings(Host()).offline == ("“Offline” in Settings, KGen",)


def test_models_lie_below_the_hosts_models_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake(monkeypatch, tmp_path)
    assert webui_locations(Host(), read_settings(Host())).own == tmp_path / "models" / "kgen"


def test_models_lie_where_the_flag_says_and_are_found_below_the_hosts_folder_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    host = fake(monkeypatch, tmp_path)
    host.cmd_opts.kgen_models_dir = "my models"
    locations = webui_locations(Host(), read_settings(Host()))
    assert (locations.own, locations.more) == (tmp_path / "my models", (tmp_path / "models" / "kgen",))


def test_the_starter_is_always_on_offer_even_beside_a_broken_catalogue(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fake(monkeypatch, tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "none"))
    assert installed_models(Host()) == ("starter",)
    own = tmp_path / "models" / "kgen"
    own.mkdir()
    (own / "kgen-models.json").write_text("{", encoding="utf-8")
    assert installed_models(Host()) == ("starter",)
    assert "kgen-models.json" in caplog.text


def test_an_installed_model_is_on_offer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake(monkeypatch, tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "none"))
    folder = tmp_path / "models" / "kgen"
    folder.mkdir()
    (folder / "mine-Q8_0.gguf").write_bytes(b"GGUF")
    assert installed_models(Host()) == ("starter", "mine:Q8_0")


def test_the_log_speaks_at_the_level_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gradio: ModuleType) -> None:
    host = fake(monkeypatch, tmp_path)
    declare_options(Host())
    host.opts.kgen_log_level = "errors"
    host.opts.__dict__["data_labels"]["kgen_log_level"].onchange()
    assert logging.getLogger(LOGGER).level == logging.ERROR


def test_the_console_is_ours_only_where_the_host_set_up_none(monkeypatch: pytest.MonkeyPatch) -> None:
    log = logging.getLogger(LOGGER)
    monkeypatch.setattr(log, "handlers", [])
    monkeypatch.setattr(log, "propagate", True)
    set_up_log("info")
    assert log.handlers == []  # the tests' own handlers are on the root: what is logged arrives there
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    set_up_log("info")
    set_up_log("debug")
    assert [handler.name for handler in log.handlers] == ["kgen-console"]


def test_a_line_is_written_once_though_a_library_sets_up_logging_later(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log, root = logging.getLogger(LOGGER), logging.getLogger()
    settings_page._console.cache_clear()
    monkeypatch.setattr(log, "handlers", [])
    monkeypatch.setattr(log, "propagate", True)
    monkeypatch.setattr(root, "handlers", [])
    set_up_log("info")
    root.addHandler(logging.StreamHandler())
    log.info("expanded")
    assert capsys.readouterr().err == "[KGen] expanded\n"


@pytest.mark.parametrize(
    ("form", "line"),
    [("%(message)s", "[KGen] expanded\n"), ("%(levelname)s [%(name)s] %(message)s", "INFO [kgen] expanded\n")],
    ids=["Forge Neo", "AUTOMATIC1111"],
)
def test_a_line_says_once_whose_it_is(monkeypatch: pytest.MonkeyPatch, form: str, line: str) -> None:
    log, console = logging.getLogger(LOGGER), io.StringIO()
    hosts = logging.StreamHandler(console)
    hosts.setFormatter(logging.Formatter(form))
    monkeypatch.setattr(logging.getLogger(), "handlers", [hosts])
    for name, value in (("handlers", []), ("filters", []), ("propagate", True)):
        monkeypatch.setattr(log, name, value)
    set_up_log("info")
    set_up_log("info")
    log.info("expanded")
    assert console.getvalue() == line


def test_a_bad_preset_line_is_named_and_costs_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host = fake(monkeypatch, tmp_path)
    host.opts.kgen_presets = "soft: temperature=0.7\nhot: temperature=99\nwild: top_k=40"
    assert [preset.name for preset in read_settings(Host()).presets] == ["soft", "wild"]
    assert f"Settings, KGen, {BY_KEY['kgen_presets'].label}: preset line 2" in caplog.text
