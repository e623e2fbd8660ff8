"""Progress on the terminal: a bar for several rows, a counter for one, or the text of a row as it is written.

It goes to standard error, is erased before a result is printed, and is not shown where standard error is no terminal.
"""
from __future__ import annotations

import shutil
import sys
import time
import unicodedata
from collections.abc import Callable
from typing import TextIO

from kgen_ext.events import Event, Finished, PartialText, TagAccepted

PATIENCE = 0.3  # seconds before progress is first shown: quick work stays quiet
PERIOD = 0.1  # seconds between updates


class ProgressLine:
    """Lines at the bottom of the terminal that are redrawn in place."""

    def __init__(
        self, rows: int, *, preview: PartialText | None = None, stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """rows: how many are expected. preview: its text is shown instead of a counter."""
        self._stream = sys.stderr if stream is None else stream
        self._on = self._stream.isatty()
        self._rows, self._clock = rows, clock
        self._start = clock()
        self._due = self._start + (PATIENCE if preview is None else 0.0)
        self._tags = self._finished = self._height = 0
        self._preview = preview

    def note(self, event: Event) -> None:
        """Count an event, and redraw if it is time."""
        if isinstance(event, TagAccepted):
            self._tags += 1
        elif isinstance(event, Finished):
            self._finished += 1
        if self._preview is not None:
            self._preview.note(event)
        if self._on and self._clock() >= self._due:
            self._due = self._clock() + PERIOD
            self.show(self._text())

    def show(self, text: str) -> None:
        """Draw `text` in place of what was drawn before."""
        if self._on:
            self.clear()
            size = shutil.get_terminal_size()
            lines = wrap(text, max(size.columns - 1, 1))[-max(size.lines - 1, 1) :]
            self._stream.write("\n".join(lines))
            self._stream.flush()
            self._height = len(lines)

    def clear(self) -> None:
        """Erase what was drawn."""
        if self._height:
            up = f"\x1b[{self._height - 1}A" if self._height > 1 else ""
            self._stream.write(f"\r{up}\x1b[J")
            self._stream.flush()
            self._height = 0

    def _text(self) -> str:
        seconds = self._clock() - self._start
        if self._preview is not None:
            return self._preview.text()
        if self._rows == 1:
            return f"expanding: {self._tags} tags, {seconds:.1f} s"
        filled = 20 * self._finished // self._rows
        bar = "#" * filled + "." * (20 - filled)
        return f"[{bar}] {self._finished}/{self._rows}, {self._tags} tags, {seconds:.1f} s"


def wrap(text: str, columns: int) -> list[str]:
    """Break text into terminal lines of at most `columns` cells: wide characters take two, control characters none.

    >>> wrap("red hair", 5)
    ['red h', 'air']
    """
    lines = []
    for paragraph in text.split("\n"):
        line, used = "", 0
        for char in paragraph:
            if unicodedata.category(char) in ("Cc", "Cs"):
                continue
            cells = 0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
            if used + cells > columns:
                lines.append(line)
                line, used = "", 0
            line, used = line + char, used + cells
        lines.append(line)
    return lines
