"""Model names: each resolves to the best installed file, to exactly what it names, or to a command that gets it."""
from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgen_ext.errors import KGenError, ModelFileError, UnknownModel
from kgen_ext.models import Locations, resolve


def put(path: Path, text: str = "GGUF") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def locations(tmp_path: Path) -> Locations:
    """Return a models folder with a full and a quantised TIPO, a DanTagGen in another extension, a tune in a folder."""
    own, theirs = tmp_path / "models", tmp_path / "extension" / "models"
    put(own / "TIPO-500M-ft_TIPO-500M-ft-F16.gguf", "GGUF full")
    put(own / "TIPO-500M-ft_TIPO-500M-ft-Q8_0.gguf", "GGUF small")
    put(own / "TIPO-500M-ft" / "model.safetensors", "folder")
    put(theirs / "DanTagGen-delta-rev2_ggml-model-Q6_K.gguf", "GGUF theirs")
    put(own / "my tune" / "model.safetensors", "mine")
    return Locations(own=own, hosts=(theirs,))


def test_a_plain_id_is_the_full_weights_for_every_engine(locations: Locations) -> None:
    files = resolve("TIPO-500M-ft", locations=locations)
    assert files.id == "TIPO-500M-ft"
    assert files.gguf == locations.own / "TIPO-500M-ft_TIPO-500M-ft-F16.gguf"
    assert files.folder == locations.own / "TIPO-500M-ft"
    assert files.entry is not None
    assert files.entry.context == 1024


def test_a_variant_is_that_file_alone_and_keeps_its_name(locations: Locations) -> None:
    files = resolve("TIPO-500M-ft:Q8_0", locations=locations)
    assert (files.id, files.folder) == ("TIPO-500M-ft:Q8_0", None)
    assert files.gguf == locations.own / "TIPO-500M-ft_TIPO-500M-ft-Q8_0.gguf"
    assert resolve("TIPO-500M-ft:safetensors", locations=locations).gguf is None


def test_where_only_a_quantised_file_is_there_the_id_says_so(locations: Locations) -> None:
    assert resolve("DanTagGen-delta-rev2", locations=locations).id == "DanTagGen-delta-rev2:Q6_K"


def test_quantising_changes_nothing_for_who_named_the_model_plainly(locations: Locations) -> None:
    before = resolve("TIPO-500M-ft", locations=locations)
    put(locations.own / "TIPO-500M-ft_other-Q4_0.gguf", "GGUF smaller")
    assert resolve("TIPO-500M-ft", locations=locations) == before


def test_the_name_an_expansion_is_written_down_with_means_the_same_files(locations: Locations) -> None:
    for name in ("TIPO-500M-ft", "TIPO-500M-ft:Q8_0", "DanTagGen-delta-rev2", "my-tune", "starter"):
        files = resolve(name, locations=locations)
        assert resolve(files.id, locations=locations, paths=False) == files


def test_letter_case_does_not_matter(locations: Locations) -> None:
    assert resolve("tipo-500m-FT:q8_0", locations=locations) == resolve("TIPO-500M-ft:Q8_0", locations=locations)


def test_the_starter_is_always_there(tmp_path: Path) -> None:
    files = resolve("starter", locations=Locations(own=tmp_path), paths=False)
    assert files.gguf is not None and files.folder is None
    assert files.entry is not None


@pytest.mark.parametrize("name, command", [
    ("TIPO-200M-ft2", "kgen models download TIPO-200M-ft2;"),
    ("TIPO-v2.1-1B-A200M:F16", "kgen models download TIPO-v2.1-1B-A200M:F16;"),
    ("TIPO-500M:Q4_0", "kgen models download TIPO-500M;"),
])  # fmt: skip
def test_what_is_not_installed_names_the_command_that_gets_it(name: str, command: str, locations: Locations) -> None:
    with pytest.raises(UnknownModel, match="is not installed") as caught:
        resolve(name, locations=locations)
    assert command in caught.value.hint


def test_a_path_is_for_the_command_line_alone(locations: Locations) -> None:
    path = str(locations.own / "TIPO-500M-ft_TIPO-500M-ft-F16.gguf")
    assert resolve(path, locations=locations).gguf == Path(path)
    with pytest.raises(UnknownModel, match="not the name of a model"):
        resolve(path, locations=locations, paths=False)


HOSTILE = ["../models/x.gguf", "/etc/passwd", "..", ".", "", "a/b", "a\\b", "C:\\x.gguf", "TIPO-500M-ft/../x", "a:b:c",
           "TIPO-500M-ft:../x", "starter/../starter", "~", "~/x.gguf", "TIPO-500M-ft\0", "file:///x", "TIPO-500M-ft:",
           "x" * 500]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_from_outside_never_reaches_the_disk_as_a_path(
    name: str, locations: Locations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "a" / "b" / "model.safetensors")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownModel):
        resolve(name, locations=locations, paths=False)


@given(st.text())
def test_any_text_is_a_model_or_an_error_of_ours(name: str) -> None:
    try:
        files = resolve(name, locations=Locations(own=Path("/nonexistent")), paths=False)
    except KGenError:
        return
    assert files.id == "starter"


def test_a_link_out_of_the_folder_is_refused_by_name(locations: Locations, tmp_path: Path) -> None:
    (locations.own / "TIPO-100M_TIPO-100M-F16.gguf").symlink_to(put(tmp_path / "secret.gguf"))
    with pytest.raises(ModelFileError, match="leads out of the models folders"):
        resolve("TIPO-100M", locations=locations)


def test_the_same_file_by_two_names_has_one_checksum(locations: Locations, tmp_path: Path) -> None:
    copy = put(tmp_path / "copy.gguf", "GGUF small")
    assert resolve(str(copy)).checksum() == resolve("TIPO-500M-ft:Q8_0", locations=locations).checksum()
    assert resolve(str(copy)).checksum() != resolve("TIPO-500M-ft:F16", locations=locations).checksum()


def test_the_environment_says_where_the_command_looks(locations: Locations, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KGEN_MODELS_DIR", str(locations.own))
    assert resolve("TIPO-500M-ft:Q8_0").gguf is not None
