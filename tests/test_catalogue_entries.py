"""The catalogue: the built-in one is complete, and errors in a user's own name file, entry and field."""
from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgen_ext.errors import BadCatalogue
from kgen_ext.models import load_catalogue
from kgen_ext.models.schema import relative_path

# What issue and model facts ask for.
IDS = {
    "starter", "TIPO-v2.1-1B-A200M", "TIPOv2-1B-A200M", "TIPO-500M-ft", "TIPO-500M", "TIPO-200M-ft2", "TIPO-200M-ft",
    "TIPO-200M", "TIPO-100M", "DanTagGen-delta-rev2", "DanTagGen-delta", "DanTagGen-beta", "DanTagGen-alpha",
    "DanTagGen-gamma",
}  # fmt: skip
MINE: dict[str, Any] = {"id": "mine", "protocol": "tipo", "files": [{"path": "mine.gguf", "kind": "gguf"}]}


def write(folder: Path, value: Any) -> Path:
    path = folder / "kgen-models.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value), "utf-8")
    return path


def changed(**fields: Any) -> dict[str, Any]:
    return {"schema": 1, "models": [{**MINE, **fields}]}


def test_every_model_is_there_once() -> None:
    ids = [model.id for model in load_catalogue()]
    assert set(ids) == IDS
    assert len(ids) == len(IDS)


@pytest.mark.parametrize("model", load_catalogue(), ids=lambda model: model.id)
def test_a_model_says_what_a_user_must_know_before_a_download(model: Any) -> None:
    assert model.title
    assert model.licence
    assert model.parameters
    assert model.context in (512, 1024, 2048, 4096)
    assert {name for name, value in asdict(model.recommended).items() if value is None} <= {"tag_file", "prior"}
    if model.id != "starter":
        assert model.repo == f"KBlueLeaf/{model.id}"
        assert model.licence_url.startswith("https://")
        assert model.files[0].kind == "gguf"
        assert model.files[0].size or model.files[0].about


def test_the_starter_and_dantaggen_write_the_tags_of_danbooru() -> None:
    found = {model.id for model in load_catalogue() if model.recommended.tag_file == "danbooru"}
    assert found == {"starter"} | {name for name in IDS if name.startswith("DanTagGen")}


def test_two_engines_run_the_experts_and_the_least_versions_are_said() -> None:
    experts = [model for model in load_catalogue() if model.engines == ("llama_cpp", "transformers")]
    assert [model.id for model in experts] == ["TIPO-v2.1-1B-A200M", "TIPOv2-1B-A200M"]
    assert [model.needs for model in experts] == [{"llama_cpp": "0.3.10", "transformers": "4.53"}] * 2


def test_the_quality_line_is_delta_s_alone() -> None:
    assert [model.id for model in load_catalogue() if model.quality_line] == ["DanTagGen-delta-rev2", "DanTagGen-delta"]


def test_a_file_that_is_not_there_is_no_catalogue(tmp_path: Path) -> None:
    assert load_catalogue(tmp_path / "kgen-models.json") == load_catalogue()


def test_a_model_of_the_user_s_comes_after_ours(tmp_path: Path) -> None:
    models = load_catalogue(write(tmp_path, changed(recommended={"temperature": 0.7}, needs={"llama_cpp": "0.3"})))
    assert models[-1].id == "mine"
    assert models[-1].recommended.temperature == 0.7
    assert models[-1].recommended.top_k is None
    assert len(models) == len(IDS) + 1


def test_the_user_s_word_on_one_of_ours_wins(tmp_path: Path) -> None:
    models = load_catalogue(write(tmp_path, changed(id="TIPO-500M-ft", title="my settings")))
    assert [model.title for model in models if model.id == "TIPO-500M-ft"] == ["my settings"]


WRONG = {
    "not JSON": ("{", "cannot be read"),
    "a list": ([], "not an object"),
    "no schema": ({"models": []}, "schema is missing"),
    "a schema of the future": ({"schema": 2, "models": []}, "schema: 2"),
    "no models": ({"schema": 1}, "models is missing"),
    "a model that is text": ({"schema": 1, "models": ["mine"]}, "model 1: not an object"),
    "the same twice": ({"schema": 1, "models": [MINE, MINE]}, "mine comes twice"),
    "no id": ({"schema": 1, "models": [{"protocol": "tipo", "files": MINE["files"]}]}, "model 1: id is missing"),
    "an id with a path": (changed(id="../mine"), r"model 1 \('../mine'\): id"),
    "an id with a colon": (changed(id="a:b"), "id: 'a:b' is not allowed"),
    "an unknown field": (changed(temprature=1), r"model 1 \('mine'\): 'temprature' is not a field"),
    "an unknown protocol": (changed(protocol="gpt"), r"protocol: 'gpt' is not allowed \(use tipo, dtg\)"),
    "no files": (changed(files=[]), "files: none"),
    "a path that climbs": (changed(files=[{"path": "../x.gguf", "kind": "gguf"}]), r"file 1: path: '../x.gguf'"),
    "an absolute path": (changed(files=[{"path": "/x.gguf", "kind": "gguf"}]), "file 1: path"),
    "a drive": (changed(files=[{"path": "C:/x.gguf", "kind": "gguf"}]), "file 1: path"),
    "a backslash": (changed(files=[{"path": "a\\x.gguf", "kind": "gguf"}]), "file 1: path"),
    "a pickle": (changed(files=[{"path": "x.bin", "kind": "gguf"}]), "is no .gguf file"),
    "a companion that climbs": (
        changed(files=[{"path": "m.safetensors", "kind": "safetensors", "companions": ["../../.bashrc"]}]),
        "companions",
    ),
    "a checksum too short": (changed(files=[{"path": "x.gguf", "kind": "gguf", "sha256": "ab"}]), "file 1: sha256"),
    "a size of nothing": (changed(files=[{"path": "x.gguf", "kind": "gguf", "size": 0}]), "file 1: size: 0"),
    "a size that is true": (changed(files=[{"path": "x.gguf", "kind": "gguf", "size": True}]), "file 1: size: True"),
    "a repository with a path": (changed(repo="a/b/c"), "repo: 'a/b/c'"),
    "a revision that climbs": (changed(revision="../main"), "revision: '../main'"),
    "a tag file of one's own": (changed(recommended={"tag_file": "mine.csv"}), "recommended: tag_file: 'mine.csv'"),
    "too hot": (changed(recommended={"temperature": 3}), "recommended: temperature: 3"),
    "not a number": ('{"schema": 1, "models": [{"id": "a", "protocol": "tipo", "files": [{"path": "a.gguf", "kind":'
                     ' "gguf"}], "recommended": {"top_p": NaN}}]}', "recommended: top_p: nan"),
    "an engine of a dream": (changed(engines=["vllm"]), "engines"),
    "a plain address": (changed(licence_url="http://x"), "licence_url"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_told_with_file_entry_and_field(name: str, tmp_path: Path) -> None:
    value, message = WRONG[name]
    path = write(tmp_path, value)
    with pytest.raises(BadCatalogue, match=message) as caught:
        load_catalogue(path)
    assert str(path) in caught.value.message
    assert caught.value.hint


KEYS = st.sampled_from(["schema", "models", "id", "protocol", "files", "path", "kind", "recommended", "x"])
LEAVES = st.none() | st.booleans() | st.floats() | st.text()


@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner)))
def test_any_json_is_read_or_refused_and_never_a_crash(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = write(tmp_path_factory.mktemp("any"), json.dumps(value))
    with pytest.raises(BadCatalogue):
        load_catalogue(path)


@given(st.text())
def test_a_relative_path_never_leaves_its_folder(text: str) -> None:
    try:
        path = relative_path(text)
    except ValueError:
        return
    assert (Path("/models") / path).resolve().is_relative_to("/models")
    assert path == text


def test_the_readme_of_the_data_is_beside_it() -> None:
    import kgen_ext.models.schema as entries

    assert (entries.BUILT_IN.parent / "README.md").is_file()
