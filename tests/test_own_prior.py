"""The user's own prior: what is counted in a folder of images, and how it favours what the user likes."""
from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from scripted_engine import ScriptedEngine
from test_prior import bias_of, expander, pairs, scripted

from kgen_ext.cli import main
from kgen_ext.decoding.own_prior import OwnPrior, RowOwnPrior
from kgen_ext.decoding.vocabulary import token_table
from kgen_ext.errors import BadValue, UserError
from kgen_ext.models.locations import own_folder
from kgen_ext.models.priors import find_prior, prior_names, prior_path
from kgen_ext.request import ExpandRequest
from kgen_ext.service.own_tags import build_table, read_folder, tags_of
from kgen_ext.tags.pair_table import PairTable, pack_pair_table

INFOTEXT = "1girl, (torii:1.2), <lora:ink:1>\nNegative prompt: moon\nSteps: 20, Sampler: Euler, Seed: 1, Size: 8x8"
EXPANDED = 'shrine, moon\nNegative prompt: sun\nSteps: 20, Seed: 1, Size: 8x8, KGen: 1, KGen prompt: "shrine, sky"'


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes) -> bytes:
    parts = chunk(b"IHDR", bytes(13)), *chunks, chunk(b"IDAT", b""), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def text_png(text: str, kind: bytes = b"tEXt") -> bytes:
    data = text.encode()
    if kind == b"iTXt":
        return png(chunk(kind, b"parameters\0\0\0\0\0" + data))
    return png(chunk(kind, b"parameters\0" + (b"\0" + zlib.compress(data) if kind == b"zTXt" else data)))


def lists_of(folder: Path, files: dict[str, bytes]) -> list[str]:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return [", ".join(tags) for tags in read_folder(folder).lists]


@pytest.mark.parametrize("kind", [b"tEXt", b"iTXt", b"zTXt"])
def test_the_prompt_of_a_png_counts_and_its_negative_prompt_does_not(kind: bytes, tmp_path: Path) -> None:
    assert lists_of(tmp_path, {"a/b/image.png": text_png(INFOTEXT, kind)}) == ["1girl, torii"]


def test_of_an_expanded_prompt_what_was_typed_counts(tmp_path: Path) -> None:
    assert lists_of(tmp_path, {"image.png": text_png(EXPANDED)}) == ["shrine, sky"]


def test_a_prompt_nested_without_end_is_text(tmp_path: Path) -> None:
    deep = text_png(f"shrine\nSteps: 1, Seed: 1, Size: 8x8, KGen prompt: json: {'[' * 500_000}")
    assert lists_of(tmp_path, {"deep.png": deep}) == []


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ('{"1": [{"prompt": "shrine, sky", "source": "shrine"}]}', ["shrine"]),
        ('{"1": [{"source": "shrine"}], "2": [{"source": "shrine"}]}', ["shrine"]),
        ('{"1": [{"source": "shrine"}, {"source": "moon"}]}', []),
        ('{"1": [{"source": ["shrine"]}]}', []),
        ('{"1": 5, "2": [6]}', []),
        ("[]", []),
    ],
    ids=["one", "the same twice", "several", "no text", "no entries", "no nodes"],
)
def test_of_an_image_of_comfyui_the_prompt_that_our_node_was_given_counts(
    nodes: str, expected: list[str], tmp_path: Path
) -> None:
    image = png(chunk(b"tEXt", b'prompt\0{"3": {}}'), chunk(b"tEXt", b"kgen\0" + nodes.encode()))
    assert lists_of(tmp_path, {"a.png": image}) == expected


def test_the_exif_of_other_images_counts(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    picture, exif = image.new("RGB", (8, 8)), image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + INFOTEXT.encode("utf-16-be")
    picture.save(tmp_path / "image.jpg", exif=exif)
    assert lists_of(tmp_path, {}) == ["1girl, torii"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"a.png": png(), "a.txt": b"shrine, torii,\nsky"}, ["shrine, torii, sky"]),
        ({"a.png": text_png(INFOTEXT), "a.txt": b"shrine"}, ["1girl, torii"]),
        ({"prompts.txt": b"shrine, sky\n\nmoon\n"}, ["shrine, sky", "moon"]),
        ({"a.txt": INFOTEXT.encode()}, ["1girl, torii"]),
        ({"notes.md": b"shrine"}, []),
    ],
    ids=["caption", "image before caption", "prompts", "infotext", "other file"],
)  # fmt: skip
def test_text_files_count(files: dict[str, bytes], expected: list[str], tmp_path: Path) -> None:
    assert lists_of(tmp_path, files) == expected


HOSTILE: dict[str, bytes] = {
    "cut.png": text_png(INFOTEXT)[:44],
    "cut_text.png": text_png(INFOTEXT)[:60],
    "deep.png": png(chunk(b"tEXt", b"kgen\0" + b"[" * 500_000)),
    "no_json.png": png(chunk(b"tEXt", b"kgen\0{")),
    "huge_chunk.png": b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s", 0xFFFFFFFF, b"IDAT"),
    "no_zlib.png": png(chunk(b"zTXt", b"parameters\0\0nothing")),
    "no_utf8.png": png(chunk(b"iTXt", b"parameters\0\0\0\0\0\xff")),
    "endless.png": b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", b"") * 70_000,
    "no_utf8.txt": b"shrine \xff",
    "binary.txt": b"shrine\0",
    "large.txt": b"shrine\n" * 200_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_cannot_be_read_is_told_and_skipped(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(HOSTILE[name])
    (tmp_path / "good.png").write_bytes(text_png("shrine\nSteps: 1, Seed: 1, Size: 8x8"))
    found = read_folder(tmp_path)
    assert (len(found.lists), len(found.skipped)) == (1, 1) and found.skipped[0].startswith(str(tmp_path / name))


def test_a_packed_text_is_not_unpacked_without_end(tmp_path: Path) -> None:
    bomb = text_png("shrine, " + "a" * 50_000_000, b"zTXt")
    assert lists_of(tmp_path, {"bomb.png": bomb}) == ["shrine"]


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.txt").write_text("shrine")
    (tmp_path / "images").mkdir()
    try:
        (tmp_path / "images" / "a.txt").symlink_to(tmp_path / "elsewhere" / "a.txt")
        (tmp_path / "images" / "folder").symlink_to(tmp_path / "elsewhere")
    except OSError:
        pytest.skip("no links here")
    assert read_folder(tmp_path / "images").lists == ()


def test_what_is_no_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no folder"):
        read_folder(tmp_path / "nowhere")


def test_only_tags_that_exist_count() -> None:
    assert tags_of("masterpiece, hatsune miku, made up tag 9, Fox_Ears, 2girls") == ("fox ears", "2girls")


LISTS = [("shrine", "torii")] * 30 + [("cat", "moon")] * 20 + [("sky",)] * 50


def own_table() -> PairTable:
    return build_table(LISTS)


def test_a_table_tells_how_often_a_tag_was_used() -> None:
    table = own_table()
    assert table.popularity[table.tags.index("sky")] == pytest.approx(50 / 120)


def test_too_few_prompts_are_no_table() -> None:
    with pytest.raises(UserError, match="too little to count"):
        build_table([("shrine",)])


@pytest.fixture(scope="module")
def engine() -> ScriptedEngine:
    return scripted()


@pytest.fixture(scope="module")
def own(engine: ScriptedEngine) -> OwnPrior:
    return OwnPrior(engine, token_table(engine), own_table(), pairs())


def test_what_a_user_favours_gains(engine: ScriptedEngine, own: OwnPrior) -> None:
    assert bias_of(RowOwnPrior(own), engine, " moon") == pytest.approx(np.log(20 / 120 / 0.02) / 2, abs=0.05)


@pytest.mark.parametrize("tag", [" sun", " window", " 1girl", " dusk"])
def test_nothing_else_changes(tag: str, engine: ScriptedEngine, own: OwnPrior) -> None:
    assert bias_of(RowOwnPrior(own, ["shrine"]), engine, tag) == 0


def test_what_the_user_puts_together_gains_more(engine: ScriptedEngine, own: OwnPrior) -> None:
    assert bias_of(RowOwnPrior(own, ["cat"]), engine, " moon") > bias_of(RowOwnPrior(own), engine, " moon") + 0.5


def test_a_tag_that_is_there_is_favoured_no_more(engine: ScriptedEngine, own: OwnPrior) -> None:
    row = RowOwnPrior(own)
    row.add("moon")
    assert bias_of(row, engine, " moon") == pytest.approx(0, abs=1e-6)


def test_behind_a_beginning_of_one_tag_it_gains(engine: ScriptedEngine) -> None:
    hats = OwnPrior(engine, token_table(engine), build_table([("dusk hat",)] * 9 + [("sky",)] * 9), pairs())
    assert bias_of(RowOwnPrior(hats), engine, " hat", behind=" dusk") > 1


def test_behind_a_beginning_only_what_is_favoured_gains(engine: ScriptedEngine) -> None:
    hats = OwnPrior(engine, token_table(engine), build_table([("red hat",)] * 9 + [("sky",)] * 9), pairs())
    row = RowOwnPrior(hats)
    hat, eyes = (bias_of(row, engine, tag, behind=" red") for tag in (" hat", " eyes"))
    assert hat > 1 and eyes == 0


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KGEN_MODELS_DIR", str(tmp_path / "models"))
    return tmp_path


def test_no_test_sees_the_tables_of_whoever_runs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    folder = own_folder(os.environ, platform="linux").parent / "priors"
    folder.mkdir(parents=True)
    (folder / "theirs.bin").write_bytes(b"")
    assert prior_names() == ()


def test_a_request_names_the_table(home: Path) -> None:
    prior_path("mine").parent.mkdir()
    prior_path("mine").write_bytes(pack_pair_table(own_table()))
    liked = (" window", " sky", " moon")
    plain, favoured = (
        expander(liked).expand([ExpandRequest("cat", tag_length="very_short", temperature=0, yours=name)])[0]
        for name in ("", "mine")
    )
    assert (plain.added_tags[0], favoured.added_tags[0]) == ("window", "moon")


def test_a_table_that_is_not_there_is_named(home: Path) -> None:
    with pytest.raises(UserError, match="yours: no table of yours is named 'mine'"):
        expander(()).expand([ExpandRequest("cat", yours="mine")])


@pytest.mark.parametrize("name", ["../mine", "a/b", "..", "", "C:x", "none", "None"])
def test_a_name_is_no_path(name: str) -> None:
    with pytest.raises(BadValue, match="yours"):
        prior_path(name)


def test_the_command_builds_lists_and_removes(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "prompts.txt").write_text("shrine, torii\n" * 5, encoding="utf-8")
    assert main(["prior", "build", str(home), "--name", "shrines"]) == 0
    assert "shrines: 2 tags of 5 prompts" in capsys.readouterr().out
    assert main(["prior", "list"]) == 0 and capsys.readouterr().out == "shrines\n"
    assert find_prior("shrines") == home / "priors" / "shrines.bin"
    assert main(["prior", "remove", "shrines"]) == 0 and prior_names() == ()


def test_the_command_tells_what_it_skipped(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "prompts.txt").write_text("shrine\n" * 5, encoding="utf-8")
    (home / "bad.txt").write_bytes(b"\xff")
    assert main(["prior", "build", str(home)]) == 0
    assert "kgen: skipped " in capsys.readouterr().err
