"""Progress of a download or a check: bytes, speed, time left, and the same as a line of text.

Sizes are decimal, as on the hub's pages: 1 GB is 1,000,000,000 bytes.
"""
from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_WINDOW = 5.0  # seconds over which the speed is averaged


@dataclass(frozen=True, slots=True)
class DownloadProgress:
    """One report. stage: asking, waiting (for another process), downloading, checking or done. left: seconds."""

    stage: str
    file: str
    done: int = 0
    total: int = 0
    speed: float | None = None
    left: float | None = None
    note: str = ""
    path: Path | None = None

    def __str__(self) -> str:
        if self.stage in ("asking", "done"):
            return f"{self.file}: {'asking the hub' if self.stage == 'asking' else self.note or 'done'}"
        share = f"{100 * self.done // self.total} %, " if self.total else ""
        text = f"{self.file}: {share}{size_text(self.done)} of {size_text(self.total)}"
        if self.stage != "downloading":
            return f"{text}, {self.note or self.stage}"
        speed = f", {size_text(self.speed)}/s" if self.speed else ""
        return text + speed + (f", {time_text(self.left)} left" if self.left is not None else "")


class Meter:
    """Meter of speed and time left, over the last seconds; the bytes of the first report were there before."""

    def __init__(self, file: str, total: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._file, self._total, self._clock = file, total, clock
        self._marks: deque[tuple[float, int]] = deque()

    def at(self, done: int, *, stage: str = "downloading", note: str = "") -> DownloadProgress:
        """Return the progress at `done` bytes."""
        now = self._clock()
        if self._marks and done < self._marks[-1][1]:
            self._marks.clear()  # begun again
        self._marks.append((now, done))
        while len(self._marks) > 2 and now - self._marks[0][0] > _WINDOW:
            self._marks.popleft()
        seconds, gained = now - self._marks[0][0], done - self._marks[0][1]
        speed = gained / seconds if seconds > 0.2 and gained else None
        left = (self._total - done) / speed if speed and stage == "downloading" else None
        return DownloadProgress(stage, self._file, done, self._total, speed, left, note)


def size_text(size: float | None) -> str:
    """Return a size as text.

    >>> size_text(1_072_689_600), size_text(406_000_000), size_text(735), size_text(None)
    ('1.07 GB', '406 MB', '735 B', 'size unknown')
    """
    if size is None:
        return "size unknown"
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.2f} {name}" if name == "GB" else f"{size / unit:.0f} {name}"
    return f"{size:.0f} B"


def time_text(seconds: float) -> str:
    """Return a duration as text.

    >>> time_text(42), time_text(130), time_text(4000)
    ('42 s', '2 min 10 s', '1 h 6 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
