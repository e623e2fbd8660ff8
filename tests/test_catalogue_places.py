"""The folders searched for models, and the names of the models found there."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from kgen_ext.models import Locations, choices, find_models, load_catalogue
from kgen_ext.models.locations import hub_cache, own_folder
from kgen_ext.models.scan import FoundModel, as_id, known_as

SHA = "a" * 64


def put(path: Path, text: str = "GGUF") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def names(locations: Locations) -> list[str]:
    return [model.name for model in find_models(locations)]


def found(locations: Locations, name: str) -> FoundModel:
    return next(model for model in find_models(locations) if model.name == name)


def cache_file(cache: Path, repo: str, path: str, *, commit: str = "c" * 40, text: str = "GGUF") -> Path:
    """Put a file into a cache as huggingface_hub lays it out."""
    folder = cache / ("models--" + repo.replace("/", "--"))
    blob = put(folder / "blobs" / SHA, text)
    link = folder / "snapshots" / commit / path
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.path.relpath(blob, link.parent))
    put(folder / "refs" / "main", commit)
    return link


@pytest.mark.parametrize("environ, expected", [
    ({"HF_HUB_CACHE": "/a", "HF_HOME": "/b"}, "/a"),
    ({"HUGGINGFACE_HUB_CACHE": "/c", "HF_HOME": "/b"}, "/c"),
    ({"HF_HOME": "/b", "XDG_CACHE_HOME": "/d"}, "/b/hub"),
    ({"XDG_CACHE_HOME": "/d"}, "/d/huggingface/hub"),
    ({"HF_HOME": ""}, "~/.cache/huggingface/hub"),
])  # fmt: skip
def test_the_hub_s_cache_is_where_its_client_puts_it(environ: dict[str, str], expected: str) -> None:
    assert hub_cache(environ) == Path(expected).expanduser()


@pytest.mark.parametrize("platform, environ, expected", [
    ("linux", {"KGEN_MODELS_DIR": "~/m"}, "~/m"),
    ("linux", {"XDG_DATA_HOME": "/data"}, "/data/kgen/models"),
    ("linux", {}, "~/.local/share/kgen/models"),
    ("darwin", {}, "~/Library/Application Support/kgen/models"),
    ("win32", {"LOCALAPPDATA": "/local"}, "/local/kgen/models"),
])  # fmt: skip
def test_the_command_keeps_its_models_among_the_user_s_data(
    platform: str, environ: dict[str, str], expected: str
) -> None:
    assert own_folder(environ, platform=platform) == Path(expected).expanduser()


def test_a_webui_keeps_them_in_its_models_folder_and_reads_the_other_extensions_(tmp_path: Path) -> None:
    extensions = tmp_path / "extensions"
    for name in ("z-tipo-extension/models", "z-a1111-sd-webui-dtg/models", "sd-webui-other/models", "kgen"):
        (extensions / name).mkdir(parents=True)
    locations = Locations.for_webui(models=tmp_path / "models", extensions=[extensions], environ={})
    assert locations.own == tmp_path / "models" / "kgen"
    assert [folder.parent.name for folder in locations.hosts] == ["z-a1111-sd-webui-dtg", "z-tipo-extension"]
    chosen = Locations.for_webui(models=tmp_path / "models", extensions=[], own=tmp_path / "x", environ={})
    assert (chosen.own, chosen.more) == (tmp_path / "x", (tmp_path / "models" / "kgen",))


def test_files_of_the_other_extension_are_known_by_the_names_it_gives_them(tmp_path: Path) -> None:
    theirs = tmp_path / "z-tipo-extension" / "models"
    put(theirs / "TIPO-500M-ft_TIPO-500M-ft-F16.gguf")
    put(theirs / "TIPO-500M_TIPO-500M_epoch5-F16.gguf")
    put(theirs / "DanTagGen-delta-rev2_ggml-model-Q6_K.gguf")
    put(theirs / "DanTagGen-delta_ggml-model-f16.gguf")
    locations = Locations(own=tmp_path / "none", hosts=(theirs,))
    assert names(locations) == [
        "TIPO-500M-ft:F16", "TIPO-500M:F16", "DanTagGen-delta-rev2:Q6_K", "DanTagGen-delta:F16"
    ]  # fmt: skip
    assert not found(locations, "TIPO-500M:F16").ours


@pytest.mark.parametrize("stem, expected", [
    ("TIPO-500M_epoch5-F16", ("TIPO-500M", "F16")),
    ("TIPO-200M-ft2-F16", ("TIPO-200M-ft2", "F16")),
    ("TIPO-v2.1-1B-A200M-Q8_0", ("TIPO-v2.1-1B-A200M", "Q8_0")),
    ("TIPO-v2.1-1B-A200M_TIPO-v2.1-1B-A200M-f16", ("TIPO-v2.1-1B-A200M", "F16")),
    ("TIPO-200M_TIPO-200M-F16", ("TIPO-200M", "F16")),
    ("TIPO-200M-ft.Q4_K_M", ("TIPO-200M-ft", "Q4_K_M")),
    ("TIPO-500M-ft_TIPO-500M-ft-Q8_0", ("TIPO-500M-ft", "Q8_0")),
    ("tipo-500m-ft.IQ4_XS", ("TIPO-500M-ft", "IQ4_XS")),
    ("ggml-model-Q8_0", ("ggml-model", "Q8_0")),
    ("my tune", ("my-tune", "")),
])  # fmt: skip
def test_a_file_s_name_tells_model_and_variant(stem: str, expected: tuple[str, str]) -> None:
    _, name, variant = known_as(stem, load_catalogue())
    assert (name, variant) == expected


@pytest.mark.parametrize("name", ["", "..", "-", "日本", "a b", ".hidden", "x" * 5, "a/b"])
def test_any_name_becomes_an_id_an_api_may_carry(name: str) -> None:
    from kgen_ext.models.schema import ID

    assert ID.fullmatch(as_id(name))


def test_the_full_and_the_quantised_file_of_a_model_are_both_there(tmp_path: Path) -> None:
    put(tmp_path / "TIPO-500M-ft_TIPO-500M-ft-Q8_0.gguf")
    put(tmp_path / "TIPO-500M-ft_TIPO-500M-ft-F16.gguf")
    models = find_models(Locations(own=tmp_path))
    assert [model.name for model in models] == ["TIPO-500M-ft:F16", "TIPO-500M-ft:Q8_0"]
    assert choices(models) == ("TIPO-500M-ft", "TIPO-500M-ft:Q8_0")


def test_a_folder_of_safetensors_is_a_model_and_an_empty_one_is_not(tmp_path: Path) -> None:
    put(tmp_path / "TIPO-500M-ft" / "model.safetensors")
    put(tmp_path / "my tune" / "model.safetensors.index.json")
    (tmp_path / "TIPO-200M").mkdir()
    assert names(Locations(own=tmp_path)) == ["TIPO-500M-ft:safetensors", "my-tune:safetensors"]


def test_a_file_one_folder_down_is_found_and_hidden_folders_are_not_looked_into(tmp_path: Path) -> None:
    put(tmp_path / "gguf" / "TIPO-v2.1-1B-A200M-Q8_0.gguf")
    put(tmp_path / ".downloads" / "TIPO-100M_TIPO-100M-F16.gguf")
    assert names(Locations(own=tmp_path)) == ["TIPO-v2.1-1B-A200M:Q8_0"]


def test_the_hub_s_cache_is_read_through_its_links(tmp_path: Path) -> None:
    cache = tmp_path / "hub"
    link = cache_file(cache, "KBlueLeaf/TIPO-500M-ft", "TIPO-500M-ft-F16.gguf")
    cache_file(cache, "KBlueLeaf/TIPO-100M", "config.json")
    cache_file(cache, "KBlueLeaf/TIPO-200M", "model.safetensors")  # without its config: half a download
    locations = Locations(own=tmp_path / "none", hub_cache=cache)
    assert names(locations) == ["TIPO-500M-ft:F16"]
    assert found(locations, "TIPO-500M-ft:F16").path == link
    assert not found(locations, "TIPO-500M-ft:F16").problem


def test_the_newest_snapshot_that_main_names_is_preferred(tmp_path: Path) -> None:
    cache = tmp_path / "hub"
    cache_file(cache, "KBlueLeaf/TIPO-500M-ft", "TIPO-500M-ft-F16.gguf", commit="1" * 40)
    link = cache_file(cache, "KBlueLeaf/TIPO-500M-ft", "TIPO-500M-ft-F16.gguf", commit="2" * 40)
    os.utime(link.parents[1] / ("1" * 40))
    assert found(Locations(own=tmp_path / "none", hub_cache=cache), "TIPO-500M-ft:F16").path == link


def test_a_cache_that_is_itself_reached_by_a_link_works(tmp_path: Path) -> None:
    cache_file(tmp_path / "disk", "KBlueLeaf/TIPO-500M-ft", "TIPO-500M-ft-F16.gguf")
    (tmp_path / "hub").symlink_to(tmp_path / "disk")
    assert names(Locations(own=tmp_path / "none", hub_cache=tmp_path / "hub")) == ["TIPO-500M-ft:F16"]


def test_a_link_out_of_the_cache_is_not_followed(tmp_path: Path) -> None:
    secret = put(tmp_path / "secret.gguf")
    link = tmp_path / "hub" / "models--KBlueLeaf--TIPO-100M" / "snapshots" / ("c" * 40) / "TIPO-100M-F16.gguf"
    link.parent.mkdir(parents=True)
    link.symlink_to(secret)
    assert names(Locations(own=tmp_path / "none", hub_cache=tmp_path / "hub")) == []


def test_a_link_out_of_the_models_folder_is_listed_as_refused(tmp_path: Path) -> None:
    own = tmp_path / "models"
    own.mkdir()
    (own / "TIPO-500M-ft_TIPO-500M-ft-F16.gguf").symlink_to(put(tmp_path / "elsewhere.gguf"))
    model = found(Locations(own=own), "TIPO-500M-ft:F16")
    assert "leads out" in model.problem
    assert choices([model]) == ()


def test_a_folder_whose_weights_lead_out_is_refused_too(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "TIPO-500M-ft"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").symlink_to(put(tmp_path / "elsewhere.safetensors"))
    assert "leads out" in found(Locations(own=tmp_path / "models"), "TIPO-500M-ft:safetensors").problem


def test_a_link_into_another_of_the_folders_is_the_same_file_and_counted_once(tmp_path: Path) -> None:
    own, theirs = tmp_path / "models", tmp_path / "theirs"
    own.mkdir()
    file = put(theirs / "TIPO-500M-ft_TIPO-500M-ft-F16.gguf")
    (own / "renamed-F16.gguf").symlink_to(file)
    models = find_models(Locations(own=own, hosts=(theirs,)))
    assert len(models) == 1
    assert not models[0].problem


def test_a_refused_link_does_not_hide_the_file_it_points_to(tmp_path: Path) -> None:
    own, outside = tmp_path / "models", tmp_path / "outside"
    own.mkdir()
    file = put(outside / "hub" / "models--KBlueLeaf--TIPO-100M" / "snapshots" / "x" / "TIPO-100M-F16.gguf")
    (own / "TIPO-500M-ft_TIPO-500M-ft-F16.gguf").symlink_to(put(tmp_path / "elsewhere.gguf"))
    models = find_models(Locations(own=own, hub_cache=outside / "hub"))
    assert {model.name: bool(model.problem) for model in models} == {"TIPO-500M-ft:F16": True, "TIPO-100M:F16": False}
    assert models[1].path == file


def test_two_hard_links_are_one_file(tmp_path: Path) -> None:
    own, theirs = tmp_path / "own", tmp_path / "theirs"
    own.mkdir()
    file = put(theirs / "DanTagGen-beta_ggml-model-f16.gguf")
    os.link(file, own / "copy-F16.gguf")
    assert len(find_models(Locations(own=own, hosts=(theirs,)))) == 1


def test_a_copy_in_our_folder_comes_before_another_extension_s(tmp_path: Path) -> None:
    own, theirs = tmp_path / "own", tmp_path / "theirs"
    for folder in (own, theirs):
        put(folder / "TIPO-500M-ft_TIPO-500M-ft-F16.gguf")
    (model,) = find_models(Locations(own=own, hosts=(theirs,)))
    assert model.ours
    assert model.path.parent == own


def test_a_model_of_the_user_s_catalogue_is_found_by_its_file(tmp_path: Path) -> None:
    put(tmp_path / "tunes" / "deep" / "v7.gguf")
    put(tmp_path / "kgen-models.json", '{"schema": 1, "models": [{"id": "my-tune", "protocol": "dtg", "files": '
        '[{"path": "tunes/deep/v7.gguf", "kind": "gguf", "quant": "F16"}]}]}')  # fmt: skip
    model = found(Locations(own=tmp_path), "my-tune:F16")
    assert model.model is not None
    assert model.model.protocol == "dtg"


def test_a_file_that_is_no_gguf_is_listed_with_what_is_wrong(tmp_path: Path) -> None:
    put(tmp_path / "mine.gguf", "<html>")
    assert "not a GGUF file" in found(Locations(own=tmp_path), "mine").problem


@pytest.mark.skipif(os.name == "nt", reason="folders have no such mode there")
def test_a_folder_that_may_not_be_read_is_as_good_as_empty(tmp_path: Path) -> None:
    put(tmp_path / "theirs" / "TIPO-500M_TIPO-500M-F16.gguf")
    put(tmp_path / "own" / "TIPO-100M_TIPO-100M-F16.gguf")
    (tmp_path / "theirs").chmod(0)
    (tmp_path / "file").touch()
    locations = Locations(own=tmp_path / "own", hosts=(tmp_path / "theirs", tmp_path / "file"))
    try:
        assert "TIPO-100M:F16" in names(locations)
    finally:
        (tmp_path / "theirs").chmod(0o700)


def test_a_file_that_goes_away_while_we_look_breaks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kgen_ext.models import scan as module

    gone = put(tmp_path / "TIPO-500M_TIPO-500M-F16.gguf")
    put(tmp_path / "TIPO-100M_TIPO-100M-F16.gguf")
    real = module.known_as

    def known_and_removed(stem: str, models: Any) -> Any:
        if stem in gone.stem:
            gone.unlink(missing_ok=True)
        return real(stem, models)

    monkeypatch.setattr(module, "known_as", known_and_removed)
    models = find_models(Locations(own=tmp_path))
    assert [(model.id, bool(model.problem)) for model in models] == [("TIPO-500M", True), ("TIPO-100M", False)]
    assert choices(models) == ("TIPO-100M",)
