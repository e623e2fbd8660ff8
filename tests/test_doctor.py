"""`kgen doctor`: every fact it reports can be changed by a test, and everything missing comes with one command."""
from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from kgen_ext.cli import main
from kgen_ext.cli.doctor import lines
from kgen_ext.engines import ENGINES
from kgen_ext.errors import EngineUnavailable
from kgen_ext.service import doctor
from kgen_ext.service.doctor import Report, examine, find_host

PAGE = Path(__file__).parents[1] / "docs" / "command.md"
STARTER_GGUF = Path(__file__).parents[1] / "kgen_ext" / "starter" / "starter-Q8_0.gguf"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep this machine's own models and libraries out: nothing but NumPy's engine, and an empty models folder."""
    monkeypatch.setenv("KGEN_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    only = [(name, name == "reference", "not installed") for name in ENGINES]
    monkeypatch.setattr(doctor, "_available", lambda: only)
    monkeypatch.setattr("kgen_ext.engines.available_engines", doctor._available)
    return tmp_path


def look(**environ: str) -> Report:
    import os

    return examine(environ={**os.environ, **environ})


def test_it_works_with_the_starter_alone_and_says_what_would_be_more(home: Path) -> None:
    report = look()
    assert report.works and report.host == "none (the command)"
    assert [(model.name, model.engine) for model in report.models] == [("starter", "reference")]
    assert [lack.what for lack in report.lacks if lack.what == "a larger model"]
    assert all(lack.command and lack.why and not lack.needed for lack in report.lacks)
    assert report.packages["numpy"] and report.executable == sys.executable


def test_the_command_for_a_missing_library_installs_into_this_python(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    report = look()
    assert not report.works
    commands = {lack.what: lack.command for lack in report.lacks}
    assert commands["numpy, regex, tokenizers"] == f'"{sys.executable}" -m pip install numpy regex tokenizers'
    assert "--only-binary :all: llama-cpp-python" in commands["llama-cpp-python"], "nobody is made to compile"
    assert [lack.what for lack in report.lacks if lack.needed] == ["numpy, regex, tokenizers"]


def test_a_library_that_is_installed_and_broken_is_told_with_its_words(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> tuple[str, ...]:
        raise EngineUnavailable("llama-cpp-python is damaged: libcudart.so.12", hint="install it again")

    monkeypatch.setattr(doctor, "_available", lambda: [(name, True, "") for name in ENGINES])
    monkeypatch.setattr(doctor, "_llama_devices", fail)
    monkeypatch.setattr(doctor, "_torch_devices", lambda: ("cuda (ROCm: AMD)", "cpu"))
    report = look()
    engines = {engine.name: engine for engine in report.engines}
    assert not engines["llama_cpp"].usable and "libcudart.so.12" in engines["llama_cpp"].reason
    assert engines["transformers"].devices == ("cuda (ROCm: AMD)", "cpu")
    assert engines["reference"].devices == ("cpu",)


def test_models_are_listed_with_the_engine_that_runs_them_or_what_is_wrong(home: Path) -> None:
    models = home / "models"
    models.mkdir()
    shutil.copy(STARTER_GGUF, models / "mine-Q8_0.gguf")
    (models / "TIPO-v2.1-1B-A200M_TIPO-v2.1-1B-A200M-Q8_0.gguf").write_bytes(b"GGUF")
    found = {model.name: model for model in look().models}
    assert found["mine:Q8_0"].engine == "reference" and found["mine:Q8_0"].size == STARTER_GGUF.stat().st_size
    assert (found["TIPO-v2.1-1B-A200M:Q8_0"].engine, found["TIPO-v2.1-1B-A200M:Q8_0"].reason) == ("", "needs llama_cpp")


def test_a_mistake_in_the_user_s_own_catalogue_hides_nothing_else(home: Path) -> None:
    (home / "models").mkdir()
    (home / "models" / "kgen-models.json").write_text("{", "utf-8")
    report = look()
    assert report.works
    assert [model.name for model in report.models] == ["starter", "kgen-models.json"]
    assert "cannot be read" in report.models[1].reason


@pytest.mark.parametrize(
    ("folders", "host"),
    [(["modules"], "AUTOMATIC1111"), (["modules", "modules_forge", "backend"], "Forge"),
     (["modules", "modules_forge"], "reForge")],
    ids=["AUTOMATIC1111", "Forge", "reForge"],
)  # fmt: skip
def test_inside_a_webui_its_name_and_its_models_folder_are_told(home: Path, folders: list[str], host: str) -> None:
    webui = home / "web ui"
    for name in (*folders, "extensions/sd-webui-kgen", "models"):
        (webui / name).mkdir(parents=True)
    assert find_host(webui / "extensions" / "sd-webui-kgen")[0].startswith(host)
    report = examine(environ={}, root=webui / "extensions" / "sd-webui-kgen")
    assert report.models_folder == str(webui / "models" / "kgen")
    assert any("in the WebUI" in lack.command for lack in report.lacks)


def test_offline_is_told(home: Path) -> None:
    assert look(HF_HUB_OFFLINE="1").offline and look(KGEN_OFFLINE="true").offline
    assert look(TRANSFORMERS_OFFLINE="ON").offline
    assert not look(HF_HUB_OFFLINE="0", KGEN_OFFLINE="").offline


def test_the_command_prints_every_fact_for_people_and_the_same_as_json(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    report = look()
    engines, commands = (engine.name for engine in report.engines), (lack.command for lack in report.lacks)
    for fact in (report.python, report.host, *engines, *commands):
        assert fact in text
    assert text.endswith("Prompts can be expanded.\n") and text == "\n".join(lines(report)) + "\n"
    assert main(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["works"] is True and told["models"][0]["name"] == "starter"


def test_the_exit_code_is_1_where_nothing_can_be_expanded(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    assert main(["doctor"]) == 1
    assert "cannot be expanded yet" in capsys.readouterr().out


def test_the_readme_shows_what_the_command_prints(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine like the page's: its versions, engines and paths are put in, every other word is the command's."""
    shown = re.search(r"\$ kgen doctor\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert shown is not None
    text = shown[1]
    packages = dict(re.findall(r"^  ([\w-]+) +([\d.]+|-)$", text, re.MULTILINE))
    (python, executable) = re.findall(r"(?:Python at +|, Python )([^\s,]+)", text)
    (models,) = re.findall(r"yours go to (.*)\)", text)
    (starter,) = re.findall(r"starter, .*, (.*)", text)
    monkeypatch.setattr(doctor, "_version", lambda name: {"-": None}.get(packages[name], packages[name]))
    only = [("reference", True, ""), ("transformers", False, "not installed: torch, transformers"),
            ("llama_cpp", True, "")]  # fmt: skip
    monkeypatch.setattr(doctor, "_available", lambda: only)
    monkeypatch.setattr("kgen_ext.engines.available_engines", doctor._available)
    monkeypatch.setattr(doctor, "_llama_devices", lambda: ("cpu",))
    monkeypatch.setattr(sys, "executable", executable)
    for name, value in (("python_version", python), ("system", "Linux"), ("machine", "x86_64")):
        monkeypatch.setattr(doctor.platform, name, lambda value=value: value)
    (home / "models").mkdir()
    with (home / "models" / "TIPO-500M-ft_TIPO-500M-ft-F16.gguf").open("wb") as file:
        file.truncate(1_020_000_000)  # a hole: no disk is used
    printed = "\n".join(lines(look(KGEN_OFFLINE="", HF_HUB_OFFLINE="", TRANSFORMERS_OFFLINE=""))) + "\n"
    assert printed.replace(str(home / "models"), models).replace(str(STARTER_GGUF), starter) == text
