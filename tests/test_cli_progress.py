"""The progress display of a terminal while rows are decoded."""
from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Iterator

import pytest
from cli_fakes import FakeExpander, Terminal
from hypothesis import given, settings
from hypothesis import strategies as st

from kgen_ext.cli.progress import PATIENCE, PERIOD, ProgressLine, wrap
from kgen_ext.events import Delta, Event, Finished, PartialText, TagAccepted, TagRejected
from kgen_ext.request import ExpandRequest


def clock(step: float) -> Iterator[float]:
    now = 0.0
    while True:
        yield now
        now += step


def shown(events: list[Event], *, rows: int, preview: PartialText | None = None, step: float = PERIOD) -> list[str]:
    """Return what stood on the terminal, one string for each time it was drawn."""
    terminal = Terminal()
    ticks = clock(step)
    progress = ProgressLine(rows, preview=preview, stream=terminal, clock=lambda: next(ticks))
    for event in events:
        progress.note(event)
    progress.clear()
    return [part for part in re.split(r"\r(?:\x1b\[\d+A)?\x1b\[J", terminal.getvalue()) if part]


def finished(row: int) -> Finished:
    return Finished(row, FakeExpander(None).expansion("a", row, 0))


def test_a_batch_shows_how_many_are_done() -> None:
    drawn = shown([finished(row) for row in range(20)], rows=20)
    assert drawn and all(re.fullmatch(r"\[#*\.*\] \d+/20, 0 tags, \d+\.\d s", text) for text in drawn)
    assert drawn[-1].startswith(f"[{'#' * 20}] 20/20")


def test_one_row_shows_a_count_of_tags() -> None:
    drawn = shown([TagAccepted(0, "hat")] * 9, rows=1)
    assert drawn[-1].startswith("expanding: 9 tags")


def test_quick_work_shows_nothing() -> None:
    assert shown([TagAccepted(0, "hat")] * 9, rows=1, step=PATIENCE / 100) == []


def test_a_preview_is_drawn_as_it_grows() -> None:
    events: list[Event] = [Delta(0, "tag", "h"), Delta(0, "tag", "at"), TagAccepted(0, "hat"), Delta(0, "tag", ", a")]
    assert shown(events, rows=1, preview=PartialText()) == ["h", "hat", "hat", "hat, a"]


def texts(events: list[Event]) -> list[str]:
    preview, seen = PartialText(), []
    for event in events:
        preview.note(event)
        seen.append(preview.text())
    return seen


def test_a_preview_takes_rejected_tags_back() -> None:
    events: list[Event] = [
        Delta(0, "tag", ", smile"), TagAccepted(0, "smile"), Delta(0, "tag", ", red"), Delta(0, "tag", " hat"),
        TagRejected(0, "red hat", "ban", "hat"), Delta(0, "tag", ", sky"),
    ]  # fmt: skip
    assert texts(events) == ["smile", "smile", "smile, red", "smile, red hat", "smile", "smile, sky"]


def test_a_preview_shows_a_tag_once_that_is_accepted_before_its_last_token_is_told() -> None:
    events: list[Event] = [
        Delta(0, "tag", "red"), TagAccepted(0, "red hat"), Delta(0, "tag", " hat"), Delta(0, "tag", ","),
    ]  # fmt: skip
    assert texts(events) == ["red", "red hat", "red hat", "red hat"]


def test_a_preview_takes_rejected_phrases_of_a_text_back() -> None:
    events: list[Event] = [Delta(0, "long", "A fox wears a hat"), TagRejected(0, "a hat", "ban", "hat")]
    assert texts(events) == ["A fox wears a hat", "A fox wears"]


def test_a_preview_keeps_subjects_apart() -> None:
    events: list[Event] = [TagAccepted(0, "sky", 1), TagAccepted(0, "hat", 0), Delta(0, "long", "A fox.", 1)]
    assert texts(events)[-1] == "hat\nsky\nA fox."


def test_where_standard_error_is_no_terminal_there_is_no_progress() -> None:
    stream = io.StringIO()
    progress = ProgressLine(1, preview=PartialText(), stream=stream)
    progress.show("loading")
    for event in FakeExpander(None).stream([ExpandRequest("a")]):
        progress.note(event)
    progress.clear()
    assert stream.getvalue() == ""


def test_what_is_erased_is_what_was_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "11")
    monkeypatch.setenv("LINES", "24")
    terminal = Terminal()
    progress = ProgressLine(1, stream=terminal)
    progress.show("狐" * 12)  # ten cells a line: five wide characters, three lines
    progress.clear()
    assert terminal.getvalue() == f"{'狐' * 5}\n{'狐' * 5}\n{'狐' * 2}\r\x1b[2A\x1b[J"


@settings(max_examples=50)
@given(st.text(max_size=60), st.integers(2, 12))
def test_no_line_is_wider_than_the_terminal_and_nothing_is_lost(text: str, columns: int) -> None:
    lines = wrap(text, columns)
    visible = [char for char in text if unicodedata.category(char) not in ("Cc", "Cs")]
    assert "".join(lines) == "".join(visible)
    assert all(sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)
               <= columns for line in lines)  # fmt: skip
