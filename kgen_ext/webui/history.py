"""History of expansions: the last 200 of a WebUI, and the favourites, in an SQLite file of its data folder.

    made       when it was made, in seconds since 1970; made once more, an expansion moves to the top
    starred    1 for a favourite, which the limit does not count or drop
    source     the prompt as it was before       result     the expanded prompt
    settings   the entries of its infotext as JSON: {"KGen model": "starter", "KGen seed": 7, ...}

One thread per process does all the work, so that no image waits for the disk; every piece of work opens the file by
itself, so that two WebUIs can share it. Whatever goes wrong (a full disk, a folder that cannot be written to) costs a
line in the log and no image. A damaged file is renamed, and a new one begun.
"""
from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Timeout
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from kgen_ext import __version__
from kgen_ext.errors import Failure
from kgen_ext.events import Expansion, Finish
from kgen_ext.once import once
from kgen_ext.webui import infotext
from kgen_ext.webui.controls import DEFAULT, Values
from kgen_ext.webui.host import LOGGER, Host, current_host
from kgen_ext.webui.job import untouched
from kgen_ext.webui.settings import read_history, read_mark, read_timing

if TYPE_CHECKING:
    import sqlite3

    from kgen_ext.webui.expanding import Outcome

T = TypeVar("T")
FILE, DAMAGED = "kgen_history.sqlite3", "damaged"
LIMIT = 200
# Longer prompts are not kept: a list of them could not be shown.
MAX_LENGTH = 20_000
_BUSY_SECONDS = 5.0  # how long another process may hold the file
_ANSWER_SECONDS = 15.0  # how long the page waits for what was asked of the thread
_MAX_DAMAGED = 9
_FORMAT = 1
_TABLE = """CREATE TABLE IF NOT EXISTS expansions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, made REAL NOT NULL, starred INTEGER NOT NULL DEFAULT 0,
    source TEXT NOT NULL, result TEXT NOT NULL, settings TEXT NOT NULL)"""
_PROMPTS = (infotext.PROMPT, infotext.RESULT, infotext.HIRES)
_COLUMNS = "id, made, starred, source, result, settings"


@dataclass(frozen=True, slots=True)
class Entry:
    """An expansion. settings: the entries of its infotext but for the prompts, its seed among them."""

    source: str
    result: str
    settings: Mapping[str, Any]
    id: int = 0
    made: float = 0.0
    starred: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """Result of a search: the newest matches, and how many there are. kept, favourites: without a search."""

    entries: tuple[Entry, ...]
    count: int
    kept: int
    favourites: int


class History:
    """The expansions kept in one file. Thread-safe, and safe with other processes; nothing is opened before use."""

    def __init__(self, path: Path, *, limit: int = LIMIT, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._limit = limit
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kgen-history")
        self._said = set[str]()

    def note(self, entries: Iterable[Entry]) -> None:
        """Keep expansions; returns at once, and never raises for what happens to the file."""
        rows = [row for row in dict.fromkeys(map(_row, entries)) if len(row[0]) + len(row[1]) <= MAX_LENGTH]
        if not rows:
            return
        try:
            self._thread.submit(self._note, rows)
        except RuntimeError as error:  # the process is ending
            self._say(str(error))

    def find(self, words: str = "", *, starred: bool = False, limit: int = LIMIT) -> Found:
        """Return the newest expansions that have all these words, in any part, upper or lower case.

        starred: favourites only. Raises Failure where the file cannot be read.
        """
        return self._answer(lambda db: _find(db, words, starred, limit), Found((), 0, 0, 0))

    def entry(self, number: int) -> Entry | None:
        """Return an expansion by its id; None if it is gone by now. Raises Failure."""
        return self._answer(lambda db: _select(db, "WHERE id = ?", number), None)

    def star(self, number: int) -> bool:
        """Make an expansion a favourite, or an ordinary one again; return whether it still exists. Raises Failure."""

        def work(db: sqlite3.Connection) -> bool:
            found = db.execute("UPDATE expansions SET starred = 1 - starred WHERE id = ?", (number,)).rowcount
            self._trim(db)
            return bool(found)

        return self._answer(work, False)

    def clear(self, *, favourites: bool = False) -> int:
        """Delete all expansions but the favourites, or those too; return how many. Raises Failure.

        The file is written anew, so that nothing of what was deleted is left in it.
        """

        def work(db: sqlite3.Connection) -> int:
            for setting in ("journal_mode = MEMORY", "temp_store = MEMORY"):
                db.execute(f"PRAGMA {setting}")  # in memory, as clearing may be the answer to a full disk
            deleted = db.execute(f"DELETE FROM expansions WHERE starred = 0 OR {int(favourites)}").rowcount
            db.commit()
            db.execute("VACUUM")
            return deleted

        return self._answer(work, 0)

    def wait(self) -> None:
        """Wait until everything noted so far is kept."""
        self._thread.submit(lambda: None).result()

    # In the thread.

    def _note(self, rows: Sequence[tuple[str, str, str]]) -> None:
        now = self._clock()

        def work(db: sqlite3.Connection) -> None:
            for source, result, settings in rows:
                same = db.execute(
                    "UPDATE expansions SET made = ?, settings = ? WHERE source = ? AND result = ?",
                    (now, settings, source, result),
                )
                if not same.rowcount:
                    db.execute("INSERT INTO expansions (made, source, result, settings) VALUES (?, ?, ?, ?)",
                               (now, source, result, settings))  # fmt: skip
            self._trim(db)

        try:
            self._do(work)
        except Failure as error:
            self._say(str(error))

    def _trim(self, db: sqlite3.Connection) -> None:
        db.execute(
            "DELETE FROM expansions WHERE starred = 0 AND id NOT IN "
            "(SELECT id FROM expansions WHERE starred = 0 ORDER BY made DESC, id DESC LIMIT ?)", (self._limit,)
        )  # fmt: skip

    def _answer(self, work: Callable[[sqlite3.Connection], T], nothing: T) -> T:
        """Return what the thread answers; `nothing` without a file, which only `note` makes."""
        try:
            answer = self._thread.submit(lambda: self._do(work) if self.path.exists() else nothing)
            return answer.result(_ANSWER_SECONDS)
        except Timeout:
            raise Failure(f"{self.path.name}: it is in use", hint="try again in a moment") from None
        except OSError as error:
            raise _told(self.path, error) from error

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do a piece of work on the open file; if it is damaged, on a new one. Raises Failure."""
        try:
            import sqlite3
        except ImportError as error:  # a Python that was built without it
            raise _told(self.path, error) from error
        try:
            try:
                return self._opened(work)
            except sqlite3.DatabaseError as error:
                if type(error) is not sqlite3.DatabaseError:  # the class of a damaged file alone
                    raise
                self._set_aside(str(error))
                return self._opened(work)
        except (sqlite3.Error, OSError) as error:
            raise _told(self.path, error) from error

    def _opened(self, work: Callable[[sqlite3.Connection], T]) -> T:
        import sqlite3

        # IMMEDIATE: whoever writes waits for another process at the start, not in the middle.
        with closing(sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level="IMMEDIATE")) as db:
            db.text_factory = lambda written: written.decode("utf-8", "replace")  # a wrong byte costs no list
            db.execute("PRAGMA synchronous = NORMAL")
            (found,) = db.execute("PRAGMA user_version").fetchone()
            if found > _FORMAT:
                raise Failure(f"{self.path.name} was written by a newer KGen", hint="update KGen, or rename the file")
            db.execute(_TABLE)
            if found < _FORMAT:
                db.execute(f"PRAGMA user_version = {_FORMAT}")
            with db:  # commits, or takes everything back
                return work(db)

    def _set_aside(self, why: str) -> None:
        """Rename a damaged file, unless another process has done so by now."""
        if self._is_sound():
            return
        names = [self.path.with_name(f"{self.path.name}.{DAMAGED}{number or ''}") for number in range(_MAX_DAMAGED)]
        aside = next((name for name in names if not name.exists()), names[-1])
        self.path.replace(aside)
        self._say(f"{self.path.name} is damaged ({why}): it is now {aside.name}, and a new history has begun")

    def _is_sound(self) -> bool:
        import sqlite3

        try:
            with closing(sqlite3.connect(self.path, timeout=_BUSY_SECONDS)) as db:
                return bool(db.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
        except sqlite3.DatabaseError:
            return False

    def _say(self, line: str) -> None:
        """Log a line, once."""
        if line not in self._said:
            self._said.add(line)
            logging.getLogger(LOGGER).warning("history: %s", line)


def _told(path: Path, error: Exception) -> Failure:
    """Return what went wrong with a file, without the folders it is in."""
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Failure(f"{path.name}: {why}", hint="expansion works as before, but nothing is kept")


def _row(entry: Entry) -> tuple[str, str, str]:
    """Return what is written of an expansion; half a surrogate pair, which a file cannot hold, becomes a sign."""
    texts = entry.source, entry.result, json.dumps(dict(entry.settings), ensure_ascii=False)
    source, result, settings = (text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts)
    return source, result, settings


def _find(db: sqlite3.Connection, words: str, starred: bool, limit: int) -> Found:
    entries = [_entry(row) for row in db.execute(f"SELECT {_COLUMNS} FROM expansions ORDER BY made DESC, id DESC")]
    wanted = words.casefold().split()
    found = [
        entry for entry in entries
        if (entry.starred or not starred) and all(word in _searched(entry) for word in wanted)
    ]  # fmt: skip
    favourites = sum(entry.starred for entry in entries)
    return Found(tuple(found[:limit]), len(found), len(entries), favourites)


def _searched(entry: Entry) -> str:
    return "\n".join((entry.source, entry.result, *map(str, entry.settings.values()))).casefold()


def _entry(row: Sequence[Any]) -> Entry:
    number, made, starred, source, result, settings = row
    try:
        read = json.loads(settings)
    except ValueError:  # damaged, or edited by hand
        read = None
    known = read if isinstance(read, dict) else {}
    return Entry(str(source), str(result), known, int(number), float(made), bool(starred))


def _select(db: sqlite3.Connection, where: str, *values: Any) -> Entry | None:
    row = db.execute(f"SELECT {_COLUMNS} FROM expansions {where}", values).fetchone()
    return None if row is None else _entry(row)


@once
def current_history() -> History:
    """Return this WebUI's history. Raises Failure where the host names no folder for data."""
    folder = current_host().path("data_path")
    if folder is None:
        raise Failure("this WebUI has no folder for data", hint="expansion works as before, but nothing is kept")
    return History(folder / FILE)


def note_job(values: Values, outcome: Outcome, *, host: Host) -> None:
    """Keep what a job's prompts became; prompts that stayed as they were are left out."""
    mark = read_mark(host)
    _note(host, (
        _made(values, expanded.image_prompt.prompt, expanded.prompt, expanded.image_prompt.seed, outcome.model)
        for expanded in outcome.expanded
        if expanded.expansion is not None
        and expanded.prompt != untouched(expanded.image_prompt, mark=mark).prompt
    ))  # fmt: skip


def note_previews(values: Values, expansions: Iterable[Expansion], *, host: Host) -> None:
    """Keep the finished versions of a preview to which something was added."""
    if values.timing == DEFAULT:
        values = replace(values, timing=read_timing(host))
    _note(host, (
        _made(values, expansion.source, expansion.prompt, expansion.seed, expansion.model)
        for expansion in expansions
        if expansion.finish is not Finish.CANCELLED and expansion.prompt != expansion.source
    ))  # fmt: skip


def _note(host: Host, entries: Iterable[Entry]) -> None:
    if read_history(host) and host.path("data_path") is not None:
        current_history().note(entries)


def _made(values: Values, source: str, result: str, seed: int, model: str) -> Entry:
    record = infotext.Record(prompt=source, result=result, seed=seed)
    entries = infotext.write_infotext(values, (record,), version=__version__, model=model)
    return Entry(source, result, {key: entries[key] for key in entries if key not in _PROMPTS})
