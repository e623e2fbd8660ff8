"""What the buttons of the models panel do, without gradio: each returns what the page is to show.

Refuses to download before a click, and to touch what is not in our own folder. Long work goes on in a thread of its
own; a button's answer watches it.

The models panel as HTML: the table of models, the facts on one, and how far a download is.

Refuses to look anything up; it is given what `catalogue.show` says. Everything is escaped: names, notes and addresses
may come from a file of the user's, or of somebody who gave them one.

Long work on models in a thread of its own, one at a time: it goes on when the page is closed, and can be stopped.

Refuses to know pages and models; it runs a generator of steps and remembers the last one, for whoever asks.
"""
from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from kgen_ext.errors import Cancelled, KGenError, UserError
from kgen_ext.models.describe import Row, describe, info_lines
from kgen_ext.models.progress import DownloadProgress
from kgen_ext.once import once
from kgen_ext.webui.messages import ui_message

if TYPE_CHECKING:
    from kgen_ext.models import FoundModel, Locations, Model
    from kgen_ext.models.describe import Row
    from kgen_ext.models.progress import DownloadProgress

UNREAD = '<p class="kgen-models-hint">Press Refresh to see what is installed.</p>'


def table_html(rows: Iterable[Row]) -> str:
    """Return all models with size, licence and what is installed of each."""
    body = []
    for row in rows:
        told = describe(*row)
        here = bool(told["installed"])
        cells = (told["id"], told["shown_size"], told["licence"] or "?", told["shown_installed"] if here else "no")
        kind = ' class="kgen-installed"' if here else ""
        body.append(f"<tr{kind}>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{name}</th>" for name in ("Model", "Size", "Licence", "Installed"))
    return f'<table class="kgen-models"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'


def facts_html(row: Row, *, looked: bool = True) -> str:
    """Return everything known about one model, its licence as a link. looked: whether the disk was looked at."""
    address = row[1].licence_url if row[1] else ""
    lines = []
    for label, text in info_lines(*row):
        if label == "Installed" and not row[2]:
            text = "no" if looked else "press Refresh to see"  # here there is a button to get it
        shown = escape(text)
        if address and label == "Licence":
            link = f'<a href="{escape(address)}" target="_blank" rel="noopener noreferrer">{escape(address)}</a>'
            shown = shown.replace(escape(address), link)
        lines.append(f"<tr><th>{escape(label)}</th><td>{shown}</td></tr>")
    return f'<table class="kgen-model-facts"><tbody>{"".join(lines)}</tbody></table>'


def state_html(state: TaskState) -> str:
    """Return a line, and a bar while something is on its way."""
    kind = "kgen-failed" if state.failed else "kgen-over" if state.over else "kgen-running"
    bar = ""
    if not state.over:
        value = "" if state.share is None else f' value="{state.share:.4f}"'
        bar = f'<progress class="kgen-bar" max="1"{value}></progress>'
    return f'<div class="{kind}" role="status">{bar}<span>{escape(state.line)}</span></div>'


def line_html(line: str, *, failed: bool = False) -> str:
    """Return a line on something that is over."""
    return state_html(TaskState(line, over=True, failed=failed)) if line else ""


# A generator of steps that returns the line to show in the end; it is given a function that says whether to stop.
Work = Callable[[Callable[[], bool]], Generator[DownloadProgress, None, str]]


@dataclass(frozen=True, slots=True)
class TaskState:
    """What to show: a line, how far it is (0 to 1, None where nobody knows), and whether it is over and went wrong."""

    line: str
    share: float | None = None
    over: bool = False
    failed: bool = False


class BackgroundTask:
    """Work that was started."""

    def __init__(self, name: str, work: Work) -> None:
        self.name = name
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._state = TaskState(f"{name}: begins")
        self._thread = threading.Thread(target=self._run, args=(work,), name=f"kgen {name}", daemon=True)
        self._thread.start()

    @property
    def state(self) -> TaskState:
        """Return what to show now."""
        with self._lock:
            return self._state

    def stop(self) -> None:
        """Ask it to stop; it does so at its next step."""
        self._stop.set()

    def wait(self, seconds: float) -> bool:
        """Wait for its end and say whether it is over."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self, work: Work) -> None:
        steps = work(self._stop.is_set)
        try:
            while True:
                step = next(steps)
                share = step.done / step.total if step.total else None
                self._set(TaskState(str(step), min(share, 1.0) if share is not None else None))
        except StopIteration as end:
            self._set(TaskState(str(end.value), over=True))
        except Cancelled as error:
            self._set(TaskState(ui_message(error), over=True))
        except KGenError as error:
            self._set(TaskState(ui_message(error), over=True, failed=True))
        except Exception as error:  # the end of a thread: nobody above could tell the user
            self._set(TaskState(f"{self.name}: {type(error).__name__}: {error}", over=True, failed=True))

    def _set(self, state: TaskState) -> None:
        with self._lock:
            self._state = state


class BackgroundTasks:
    """The one task that may run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._task: BackgroundTask | None = None

    @property
    def running(self) -> BackgroundTask | None:
        """Return the task that is not over, or None."""
        with self._lock:
            return None if self._task is None or self._task.state.over else self._task

    def start(self, name: str, work: Work) -> BackgroundTask:
        """Start work, or return the task of that name if it runs; raises UserError while another one does."""
        with self._lock:
            if self._task is not None and not self._task.state.over:
                if self._task.name == name:
                    return self._task
                raise UserError(f"{self._task.name} is under way", hint="wait for it, or press Cancel")
            self._task = BackgroundTask(name, work)
            return self._task

    def stop(self) -> bool:
        """Ask the running task to stop; return whether there was one."""
        task = self.running
        if task is not None:
            task.stop()
        return task is not None


PERIOD = 0.3  # seconds between two looks at a task


@dataclass(frozen=True, slots=True)
class View:
    """What the page shows after a button; None for what stays as it is."""

    status: str
    table: str | None = None
    facts: str | None = None
    names: tuple[str, ...] | None = None
    changed: bool = False  # other lists of models are out of date


class ModelsController:
    """What the buttons do. All of it may be called from several pages at once."""

    def __init__(
        self, *, places: Callable[[], Locations], offline: Callable[[], bool], unload: Callable[[], int],
        tasks: BackgroundTasks | None = None, period: float = PERIOD,
    ) -> None:  # fmt: skip
        self._places, self._offline, self._unload = places, offline, unload
        self._tasks, self._period = tasks or BackgroundTasks(), period

    def refresh(self, name: str) -> View:
        """Look at the disk anew."""
        return self._shown("", name)

    def choose(self, name: str) -> View:
        """Show the facts on another model."""
        return self._shown("", name, table=False)

    def download(self, name: str) -> Iterator[View]:
        """Fetch a model in the background and show how far it is; a second call looks at the one that runs."""
        yield from self._watch(f"Download of {name}", name, lambda stop: self._fetch(name, stop))

    def verify(self, name: str) -> Iterator[View]:
        """Compare an installed model with its checksum."""
        yield from self._watch(f"Check of {name}", name, lambda stop: self._check(name, stop))

    def cancel(self, name: str) -> View:
        """Stop what runs; what a download has so far is kept."""
        return View(line_html("stopping ..." if self._tasks.stop() else "nothing is under way"))

    def remove(self, name: str, asked: str) -> tuple[View, str]:
        """Delete a model from our folder, at the second click on the same name; return the name that was asked for."""
        try:
            places, _, found = self._look()
            one = _pick(name, found)
            if not one.ours:
                raise UserError(f"{one.path}: not in our own folder, so it stays", hint="remove it by hand")
            if asked != name:
                return View(line_html(f"Press Remove again to delete {one.path}")), name
            from kgen_ext.models.manage import remove_model, remove_parts
            from kgen_ext.models.progress import size_text

            self._unload()  # a file that is in use cannot be deleted everywhere
            freed = remove_model(one, places) + remove_parts(one.id, places)
            return self._shown(f"{one.name} removed, {size_text(freed)} freed", name, changed=True), ""
        except (KGenError, OSError) as error:
            return View(line_html(ui_message(error), failed=True)), ""

    def unload(self) -> View:
        """Give the memory of loaded models back."""
        count = self._unload()
        return View(line_html("nothing was loaded" if not count else f"unloaded: {count}"))

    def _watch(
        self, task_name: str, name: str, work: Callable[[Callable[[], bool]], Generator[DownloadProgress, None, str]]
    ) -> Iterator[View]:
        try:
            task: BackgroundTask = self._tasks.start(task_name, work)
        except UserError as error:
            yield View(line_html(ui_message(error), failed=True))
            return
        while not task.wait(self._period):
            yield View(state_html(task.state))
        state = task.state
        yield self._shown(state.line, name, failed=state.failed, changed=True)

    def _fetch(self, name: str, stop: Callable[[], bool]) -> Generator[DownloadProgress, None, str]:
        from kgen_ext.models import find_entry
        from kgen_ext.models.download import plan_download, run_download

        places, known, found = self._look()
        model = find_entry(name, known)
        file = model.file(name.partition(":")[2]) if model else None
        if model is not None and model.repo and file is None:
            offered = ", ".join(f"{model.id}:{one.variant}" for one in model.files)
            raise UserError(f"{name} is not to be downloaded", hint=f"choose {offered}")
        if model is None or file is None or not model.repo:
            raise UserError(f"{name} is not to be downloaded", hint="its file is your own, or it ships with KGen")
        here = next((one for one in found if one.name == f"{model.id}:{file.variant}" and not one.problem), None)
        if here is not None:
            return f"{here.name} is installed: {here.path}"
        order = plan_download(model, file, to=places.own, offline=self._offline() or None)
        yield from run_download(order, to=places.own, cancelled=stop)
        return f"{name} is installed: {order.target}"

    def _check(self, name: str, stop: Callable[[], bool]) -> Generator[DownloadProgress, None, str]:
        from kgen_ext.errors import ModelFileError
        from kgen_ext.models.manage import verify_steps

        one = _pick(name, self._look()[2])
        verdict = yield from verify_steps(one, offline=self._offline() or None, cancelled=stop)
        if not verdict.whole:
            hint = "remove it and download it again" if one.ours else "it is not ours: delete it by hand, then download"
            if one.model is None or not one.model.repo:
                hint = "put a whole copy in its place"
            raise ModelFileError(f"{one.name} is damaged: {verdict.reason}", hint=hint)
        return f"{one.name} is whole: {verdict.reason}"

    def _look(self) -> tuple[Locations, tuple[Model, ...], tuple[FoundModel, ...]]:
        from kgen_ext.models import find_models, load_catalogue

        places = self._places()
        known = load_catalogue(places.user_file)
        return places, known, find_models(places, models=known)

    def _shown(
        self, line: str, name: str, *, failed: bool = False, table: bool = True, changed: bool = False
    ) -> View:
        from kgen_ext.models.describe import model_rows

        try:
            _, known, found = self._look()
        except (KGenError, OSError) as error:
            return View(line_html(ui_message(error), failed=True))
        listed = tuple(model_rows(known, found))
        wanted = name.partition(":")[0]
        row: Row | None = next((one for one in listed if one[0] == wanted), None)
        return View(
            line_html(line, failed=failed),
            table_html(listed) if table else None,
            facts_html(row) if row else "",
            offered(known, found) if table else None,
            changed,
        )


def offered(known: tuple[Model, ...], found: tuple[FoundModel, ...] = ()) -> tuple[str, ...]:
    """Return the names of the panel's own list: every file that can be fetched, and what is installed besides."""
    fetchable = (f"{model.id}:{file.variant}" for model in known if model.repo for file in model.files)
    return tuple(dict.fromkeys((*fetchable, *(one.name for one in found))))


def _pick(name: str, found: tuple[FoundModel, ...]) -> FoundModel:
    wanted, _, variant = name.partition(":")
    one = next((one for one in found if one.id == wanted and variant in ("", one.variant)), None)
    if one is None:
        raise UserError(f"{name} is not installed", hint="press Download")
    return one


@once
def shared_tasks() -> BackgroundTasks:
    """Return this process's tasks: they outlive a page and a reload of the UI, so that Cancel still finds them."""
    return BackgroundTasks()
