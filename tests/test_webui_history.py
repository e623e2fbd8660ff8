"""The history's file: what is kept and dropped, who may write to it, and what happens when it cannot be written."""
from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_webui_hires import upscale
from test_webui_preview import page_text, run
from webui_kit import Stage, set_stage

from kgen_ext.errors import Failure
from kgen_ext.request import ExpandRequest
from kgen_ext.webui import history as module
from kgen_ext.webui import host
from kgen_ext.webui.controls import read_named
from kgen_ext.webui.history import FILE, MAX_LENGTH, Entry, History, current_history, note_previews

ROOT = Path(__file__).resolve().parents[1]


class Clock:
    """A clock that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    yield History(tmp_path / FILE, limit=3, clock=Clock())


def entry(number: object, **settings: Any) -> Entry:
    return Entry(f"cat {number}", f"cat {number}, hat", settings)


def sources(history: History, words: str = "", **how: Any) -> list[str]:
    return [found.source for found in history.find(words, **how).entries]


def note(history: History, *entries: Entry) -> None:
    history.note(entries)
    history.wait()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_the_last_ones_are_kept_the_newest_first(history: History) -> None:
    for number in range(5):
        note(history, entry(number))
    assert sources(history) == ["cat 4", "cat 3", "cat 2"]


def test_of_one_job_the_last_image_is_first(history: History) -> None:
    note(history, *map(entry, range(5)))
    assert sources(history) == ["cat 4", "cat 3", "cat 2"]


def test_a_favourite_is_never_dropped(history: History) -> None:
    note(history, entry("first"))
    history.star(history.find().entries[0].id)
    note(history, *map(entry, range(5)))
    assert sources(history) == ["cat 4", "cat 3", "cat 2", "cat first"]


def test_a_favourite_that_is_none_any_more_is_dropped_if_it_is_old(history: History) -> None:
    note(history, entry("first"))
    number = history.find().entries[0].id
    history.star(number)
    note(history, *map(entry, range(5)))
    history.star(number)
    assert sources(history) == ["cat 4", "cat 3", "cat 2"]


def test_what_is_made_again_moves_to_the_top_and_is_there_once(history: History) -> None:
    for name in ("a", "b", "a"):
        note(history, entry(name))
    assert sources(history) == ["cat a", "cat b"]


def test_what_is_made_again_stays_a_favourite(history: History) -> None:
    note(history, entry("a"))
    history.star(history.find().entries[0].id)
    note(history, entry("a"))
    assert history.find().favourites == 1


def test_an_entry_comes_back_as_it_went_in(history: History) -> None:
    note(history, Entry("“cat”\n🦊", "“cat”\n🦊, 帽子", {"KGen model": "starter", "KGen seed": 7, "KGen min-p": 0.25}))
    found = history.find().entries[0]
    assert history.entry(found.id) == found
    assert (found.source, found.result) == ("“cat”\n🦊", "“cat”\n🦊, 帽子")
    assert found.settings == {"KGen model": "starter", "KGen seed": 7, "KGen min-p": 0.25}
    assert found.made == 1001


def test_half_a_surrogate_pair_is_no_reason_to_keep_nothing(history: History) -> None:
    note(history, Entry("cat \ud83e", "cat \ud83e, hat", {"KGen ban": "\udc00"}))
    assert sources(history) == ["cat \N{REPLACEMENT CHARACTER}"]


@pytest.mark.parametrize("words, found", [
    ("", ["cat b", "cat a"]), ("CAT", ["cat b", "cat a"]), ("b hat", ["cat b"]), ("straße", ["cat a"]),
    ("STRASSE cat", ["cat a"]), ("dog", []), ("%", []), ("_", []), ("7", ["cat b"]), ("'; DROP TABLE", []),
])  # fmt: skip
def test_a_search_finds_all_its_words_in_any_case(history: History, words: str, found: list[str]) -> None:
    note(history, Entry("cat a", "cat a, Straße", {}), Entry("cat b", "cat b, hat", {"KGen seed": 7}))
    assert sources(history, words) == found


def test_a_search_counts_what_it_does_not_show(history: History) -> None:
    note(history, *map(entry, range(3)))
    found = history.find("cat", limit=1)
    assert (len(found.entries), found.count, found.kept) == (1, 3, 3)


def test_favourites_alone_are_found(history: History) -> None:
    note(history, *map(entry, range(3)))
    history.star(history.find("1").entries[0].id)
    assert sources(history, starred=True) == ["cat 1"]


def test_clearing_keeps_the_favourites(history: History) -> None:
    note(history, *map(entry, range(3)))
    history.star(history.find("1").entries[0].id)
    assert history.clear() == 2
    assert sources(history) == ["cat 1"]


def test_clearing_with_the_favourites_leaves_nothing(history: History) -> None:
    note(history, entry(1))
    history.star(history.find().entries[0].id)
    assert history.clear(favourites=True) == 1
    assert sources(history) == []


def test_what_was_cleared_is_not_in_the_file_any_more(history: History) -> None:
    note(history, entry("secretword"))
    assert b"secretword" in history.path.read_bytes()
    history.clear()
    assert b"secretword" not in history.path.read_bytes()


def test_clearing_makes_the_file_small_again(history: History) -> None:
    note(history, entry(1))
    small = history.path.stat().st_size
    note(history, *(Entry(f"cat {number}", "x" * 15_000, {}) for number in range(3)))
    history.clear()
    assert history.path.stat().st_size <= small


def test_looking_makes_no_file(history: History) -> None:
    assert (history.find().kept, history.entry(1), history.star(1), history.clear()) == (0, None, False, 0)
    assert not history.path.exists()


def test_a_text_of_any_length_is_no_list(history: History) -> None:
    note(history, Entry("x" * MAX_LENGTH, "x" * MAX_LENGTH + ", hat", {}), entry(1))
    assert sources(history) == ["cat 1"]


@pytest.mark.parametrize("damage", [
    b"no database at all", b"SQLite format 3\0" + b"\xff" * 5000, b"\0" * 100,
])  # fmt: skip
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(
    history: History, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    history.path.write_bytes(damage)
    note(history, entry(1))
    assert sources(history) == ["cat 1"]
    assert history.path.with_name(f"{FILE}.damaged").read_bytes() == damage
    assert len(lines(caplog)) == 1


def test_a_file_damaged_in_the_middle_is_set_aside(history: History) -> None:
    note(history, *map(entry, range(3)))
    data = bytearray(history.path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    history.path.write_bytes(data)
    assert sources(history) == []
    assert history.path.with_name(f"{FILE}.damaged").exists()


def test_earlier_damaged_files_are_kept(history: History) -> None:
    for damage in (b"first damage", b"second damage"):
        history.path.write_bytes(damage)
        note(history, entry(1))
    aside = sorted(path.read_bytes() for path in history.path.parent.glob(f"{FILE}.damaged*"))
    assert aside == [b"first damage", b"second damage"]


def test_the_file_of_a_newer_version_is_left_alone(history: History, caplog: pytest.LogCaptureFixture) -> None:
    db = sqlite3.connect(history.path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    before = history.path.read_bytes()
    note(history, entry(1))
    with pytest.raises(Failure, match="newer KGen"):
        history.find()
    assert history.path.read_bytes() == before
    assert len(lines(caplog)) == 1


def test_wrong_settings_in_the_file_cost_no_list(history: History) -> None:
    note(history, entry(1))
    for number, settings in enumerate(("[1]", "no json", "", "null")):
        db = sqlite3.connect(history.path)
        row = (number, settings)
        db.execute("INSERT INTO expansions (made, source, result, settings) VALUES (?, 'x', 'y', ?)", row)
        db.commit()
        db.close()
    assert [found.settings for found in history.find().entries[1:]] == [{}, {}, {}, {}]


def test_text_that_is_no_utf8_costs_no_list(history: History) -> None:
    note(history, entry(1))
    db = sqlite3.connect(history.path)
    db.execute("UPDATE expansions SET source = CAST(X'636174FF' AS TEXT)")
    db.commit()
    db.close()
    assert sources(history) == ["cat\N{REPLACEMENT CHARACTER}"]


def test_a_folder_in_its_place_costs_a_line(history: History, caplog: pytest.LogCaptureFixture) -> None:
    history.path.mkdir()
    note(history, entry(1))
    note(history, entry(2))
    assert len(lines(caplog)) == 1
    with pytest.raises(Failure, match=FILE):
        history.find()


def test_a_folder_that_is_not_there_costs_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    note(History(tmp_path / "gone" / FILE), entry(1))
    assert len(lines(caplog)) == 1
    assert str(tmp_path) not in lines(caplog)[0]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_that_cannot_be_written_to_costs_a_line(history: History, caplog: pytest.LogCaptureFixture) -> None:
    history.path.parent.chmod(0o500)
    note(history, entry(1))
    history.path.parent.chmod(0o700)
    assert len(lines(caplog)) == 1


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file may grow beyond some pages, as if the disk were full."""
    connect = sqlite3.connect

    def limited(*args: Any, **options: Any) -> Any:
        db = connect(*args, **options)
        db.execute("PRAGMA max_page_count = 4")
        return db

    monkeypatch.setattr(sqlite3, "connect", limited)


def test_a_full_disk_costs_a_line_and_what_was_kept_stays(
    history: History, full: None, caplog: pytest.LogCaptureFixture
) -> None:
    note(history, entry(1))
    note(history, Entry("dog", "dog" * 6000, {}))
    assert sources(history) == ["cat 1"]
    assert [line for line in lines(caplog) if "full" in line] == lines(caplog) != []


def test_a_python_without_sqlite_costs_a_line(
    history: History, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "sqlite3", None)
    note(history, entry(1))
    assert len(lines(caplog)) == 1


def test_a_file_that_another_holds_is_waited_for(history: History) -> None:
    note(history, entry(1))
    other = sqlite3.connect(history.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    history.note([entry(2)])
    time.sleep(0.1)
    other.execute("COMMIT")
    other.close()
    history.wait()
    assert sources(history) == ["cat 2", "cat 1"]


def test_a_file_that_another_holds_for_long_costs_a_line(
    history: History, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_BUSY_SECONDS", 0.05)
    note(history, entry(1))
    other = sqlite3.connect(history.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    note(history, entry(2))
    other.close()
    assert sources(history) == ["cat 1"]
    assert len(lines(caplog)) == 1


WRITER = """
import sys
from pathlib import Path
from kgen_ext.webui.history import Entry, History
history = History(Path(sys.argv[1]), limit=1000)
for number in range(40):
    history.note([Entry(f"{sys.argv[2]} {number}", f"{sys.argv[2]} {number}, hat", {})])
history.wait()
"""


def test_two_processes_begin_one_file_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / FILE
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), name], cwd=ROOT, stderr=subprocess.PIPE)
        for name in ("cat", "dog")
    ]
    assert [writer.communicate()[1] for writer in writers] == [b"", b""]
    assert History(path).find().kept == 80


def test_noting_does_not_wait_for_the_disk(history: History) -> None:
    note(history, entry(1))
    other = sqlite3.connect(history.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    start = time.perf_counter()
    history.note([entry(2)])
    took = time.perf_counter() - start
    other.close()
    assert took < 2  # the file is waited for up to five seconds
    history.wait()


# What a job and a preview keep.


def kept(stage: Stage) -> list[tuple[str, str]]:
    current_history().wait()
    return [(found.source, found.result) for found in current_history().find().entries]


def test_a_job_keeps_each_images_expansion(stage: Stage) -> None:
    stage.run(prompt="cat", seed=7, n_iter=2)
    assert kept(stage) == [("cat", "cat, word8"), ("cat", "cat, word7")]


def test_the_file_is_in_the_folder_for_data(stage: Stage) -> None:
    stage.run(prompt="cat")
    current_history().wait()
    assert (stage.host.root / FILE).is_file()


def test_the_seed_the_model_and_the_settings_are_kept(stage: Stage) -> None:
    stage.run(prompt="cat", seed=7, values={"ban": "hat", "tag_length": "long"})
    current_history().wait()
    (found,) = current_history().find().entries
    assert {key: found.settings[key] for key in ("KGen seed", "KGen model", "KGen ban", "KGen tag length")} == {
        "KGen seed": 7, "KGen model": "starter", "KGen ban": "hat", "KGen tag length": "long"
    }  # fmt: skip


def test_prompts_are_not_kept_twice(stage: Stage) -> None:
    stage.run(prompt="cat", seed=7)
    current_history().wait()
    (found,) = current_history().find().entries
    assert "cat" not in json.dumps(dict(found.settings))


def test_expansion_before_styles_is_kept_once(stage: Stage) -> None:
    stage.run(prompt="cat", seed=7, n_iter=2, values={"timing": "before"})
    assert kept(stage) == [("cat", "cat, word7")]


def test_a_prompt_that_was_expanded_before_is_not_kept(stage: Stage) -> None:
    stage.run(prompt="cat", seed=7)
    stage.run(prompt="cat, word7", seed=7)
    assert kept(stage) == [("cat", "cat, word7")]


@pytest.mark.parametrize("why", ["off", "failure", "nothing added", "cancelled"])
def test_a_prompt_that_stays_as_it_is_is_not_kept(stage: Stage, why: str) -> None:
    stage.failure = OSError("no model") if why == "failure" else None
    stage.expander.adds_nothing = why == "nothing added"
    if why == "cancelled":
        stage.expander.before_row = lambda row: setattr(stage.host.state, "interrupted", True)
    stage.run(prompt="cat", seed=7, values={"enabled": why != "off"})
    assert kept(stage) == []


def test_switched_off_nothing_is_kept(stage: Stage) -> None:
    stage.host.opts.kgen_history = False
    stage.run(prompt="cat", seed=7)
    assert kept(stage) == []


def test_a_file_that_cannot_be_made_costs_no_image(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    (stage.host.root / FILE).mkdir()
    done = stage.run(prompt="cat", seed=7)
    current_history().wait()
    assert (done.prompts, stage.host_errors()) == (["cat, word7"], [])
    assert "KGen error" not in done.infotexts[0]


def test_a_host_without_a_folder_for_data_keeps_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bare = set_stage(monkeypatch, tmp_path, kind="bare")
    monkeypatch.chdir(tmp_path)
    assert bare.run(prompt="cat", seed=7).prompts == ["cat, word7"]
    with pytest.raises(Failure, match="no folder for data"):
        current_history()
    assert not (tmp_path / FILE).exists()


def test_the_hires_pass_of_an_image_from_the_gallery_keeps_the_images_settings(stage: Stage) -> None:
    infotext = stage.run(prompt="cat", seed=7, values={"ban": "hat"}).infotexts[0]
    upscale(stage, infotext, values={"ban": "scarf"})
    current_history().wait()
    assert [found.settings["KGen ban"] for found in current_history().find().entries] == ["hat"]


def test_a_preview_keeps_its_versions(stage: Stage) -> None:
    run(stage, page_text(prompt="dog", seed="3"), count=2)
    assert kept(stage) == [("dog", "dog, word4"), ("dog", "dog, word3")]


def test_a_previews_settings_are_those_of_an_image(stage: Stage) -> None:
    run(stage)
    stage.run(prompt="cow", seed=7)
    current_history().wait()
    image, preview = (found.settings for found in current_history().find().entries)
    assert image == preview


def test_a_version_that_was_cancelled_is_not_kept(stage: Stage) -> None:
    made = (stage.expander.expansion(ExpandRequest("cat", seed=1), 0, stopped) for stopped in (True,))
    note_previews(read_named({}), made, host=host.current_host())
    assert kept(stage) == []
