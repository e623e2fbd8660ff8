"""What the buttons of the models panel do, without gradio: each returns what the page is to show.

Refuses to download before a click, and to touch what is not in our own folder. Long work goes on in a thread of its
own; a button's answer watches it.
"""
from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kgen_ext.errors import KGenError, UserError
from kgen_ext.once import once
from kgen_ext.webui.models_html import facts_html, line_html, state_html, table_html
from kgen_ext.webui.models_tasks import Task, Tasks
from kgen_ext.webui.wording import on_page

if TYPE_CHECKING:
    from kgen_ext.catalogue import Found, Model, Places
    from kgen_ext.catalogue.progress import Progress
    from kgen_ext.catalogue.show import Row

PERIOD = 0.3  # seconds between two looks at a task


@dataclass(frozen=True, slots=True)
class View:
    """What the page shows after a button; None for what stays as it is."""

    status: str
    table: str | None = None
    facts: str | None = None
    names: tuple[str, ...] | None = None
    changed: bool = False  # other lists of models are out of date


class Desk:
    """What the buttons do. All of it may be called from several pages at once."""

    def __init__(
        self, *, places: Callable[[], Places], offline: Callable[[], bool], unload: Callable[[], int],
        tasks: Tasks | None = None, period: float = PERIOD,
    ) -> None:  # fmt: skip
        self._places, self._offline, self._unload = places, offline, unload
        self._tasks, self._period = tasks or Tasks(), period

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
            from kgen_ext.catalogue.keep import remove, remove_parts
            from kgen_ext.catalogue.progress import size_text

            self._unload()  # a file that is in use cannot be deleted everywhere
            freed = remove(one, places) + remove_parts(one.id, places)
            return self._shown(f"{one.name} removed, {size_text(freed)} freed", name, changed=True), ""
        except (KGenError, OSError) as error:
            return View(line_html(on_page(error), failed=True)), ""

    def unload(self) -> View:
        """Give the memory of loaded models back."""
        count = self._unload()
        return View(line_html("nothing was loaded" if not count else f"unloaded: {count}"))

    def _watch(
        self, task_name: str, name: str, work: Callable[[Callable[[], bool]], Generator[Progress, None, str]]
    ) -> Iterator[View]:
        try:
            task: Task = self._tasks.start(task_name, work)
        except UserError as error:
            yield View(line_html(on_page(error), failed=True))
            return
        while not task.wait(self._period):
            yield View(state_html(task.state))
        state = task.state
        yield self._shown(state.line, name, failed=state.failed, changed=True)

    def _fetch(self, name: str, stop: Callable[[], bool]) -> Generator[Progress, None, str]:
        from kgen_ext.catalogue import find_entry
        from kgen_ext.catalogue.download import fetch_order, place_order

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
        order = place_order(model, file, to=places.own, offline=self._offline() or None)
        yield from fetch_order(order, to=places.own, cancelled=stop)
        return f"{name} is installed: {order.target}"

    def _check(self, name: str, stop: Callable[[], bool]) -> Generator[Progress, None, str]:
        from kgen_ext.catalogue.verify import verify_steps
        from kgen_ext.errors import ModelFileError

        one = _pick(name, self._look()[2])
        verdict = yield from verify_steps(one, offline=self._offline() or None, cancelled=stop)
        if not verdict.whole:
            hint = "remove it and download it again" if one.ours else "it is not ours: delete it by hand, then download"
            if one.model is None or not one.model.repo:
                hint = "put a whole copy in its place"
            raise ModelFileError(f"{one.name} is damaged: {verdict.reason}", hint=hint)
        return f"{one.name} is whole: {verdict.reason}"

    def _look(self) -> tuple[Places, tuple[Model, ...], tuple[Found, ...]]:
        from kgen_ext.catalogue import find_models, load_catalogue

        places = self._places()
        known = load_catalogue(places.user_file)
        return places, known, find_models(places, models=known)

    def _shown(
        self, line: str, name: str, *, failed: bool = False, table: bool = True, changed: bool = False
    ) -> View:
        from kgen_ext.catalogue.show import rows

        try:
            _, known, found = self._look()
        except (KGenError, OSError) as error:
            return View(line_html(on_page(error), failed=True))
        listed = tuple(rows(known, found))
        wanted = name.partition(":")[0]
        row: Row | None = next((one for one in listed if one[0] == wanted), None)
        return View(
            line_html(line, failed=failed),
            table_html(listed) if table else None,
            facts_html(row) if row else "",
            offered(known, found) if table else None,
            changed,
        )


def offered(known: tuple[Model, ...], found: tuple[Found, ...] = ()) -> tuple[str, ...]:
    """Return the names of the panel's own list: every file that can be fetched, and what is installed besides."""
    fetchable = (f"{model.id}:{file.variant}" for model in known if model.repo for file in model.files)
    return tuple(dict.fromkeys((*fetchable, *(one.name for one in found))))


def _pick(name: str, found: tuple[Found, ...]) -> Found:
    wanted, _, variant = name.partition(":")
    one = next((one for one in found if one.id == wanted and variant in ("", one.variant)), None)
    if one is None:
        raise UserError(f"{name} is not installed", hint="press Download")
    return one


@once
def shared_tasks() -> Tasks:
    """Return this process's tasks: they outlive a page and a reload of the UI, so that Cancel still finds them."""
    return Tasks()
