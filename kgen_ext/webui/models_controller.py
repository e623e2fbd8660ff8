"""Controller of the models panel: what each button does, as updates for the page.

Downloads and verifications run as background tasks; the generator that a button starts only watches its task, so that
closing the page stops nothing. Nothing is downloaded without a click, and only KGen's own models folder is changed.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kgen_ext.errors import KGenError, UserError
from kgen_ext.models.tasks import BackgroundTasks, TaskFn, TaskSteps
from kgen_ext.webui.messages import ui_message
from kgen_ext.webui.models_html import message_html, state_html

if TYPE_CHECKING:
    from kgen_ext.models import FoundModel, Locations, Model
    from kgen_ext.models.needs import Machine
    from kgen_ext.webui.models_view import PanelView

POLL_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class PanelUpdate:
    """A change of the panel. status: HTML. view: the new content, None if unchanged. running: whether a task runs.

    changed: the installed models may have changed, so other lists of them are out of date. installed: the name under
    which the page's list of models has the file shown, "" where it is not installed.
    """

    status: str
    view: PanelView | None = None
    running: bool = False
    changed: bool = False
    installed: str = ""


class ModelsController:
    """The actions of the panel's buttons; several pages may call them at once."""

    def __init__(
        self, *, locations: Callable[[], Locations], offline: Callable[[], tuple[str, ...]],
        unload: Callable[[], int], machine: Callable[[], Machine] | None = None,
        tasks: BackgroundTasks | None = None, poll_seconds: float = POLL_SECONDS,
    ) -> None:  # fmt: skip
        """offline: the switches that forbid downloads. machine: what is installed, None to look."""
        self._locations, self._offline, self._unload, self._machine = locations, offline, unload, machine
        self._tasks, self._poll_seconds = tasks or BackgroundTasks(explain=ui_message), poll_seconds

    def show(self, name: str) -> PanelUpdate:
        """Scan the disk and show a model or one of its files by name, "" for the best that runs here."""
        running = self._tasks.running
        return self._updated(state_html(running.state) if running else "", name, running=running is not None)

    def download(self, name: str) -> Iterator[PanelUpdate]:
        """Download a model in the background and yield its progress; joins a running download of the same name."""
        yield from self._watch(f"Download of {name}", name, lambda stop: self._download_steps(name, stop))

    def verify(self, name: str) -> Iterator[PanelUpdate]:
        """Compare an installed model with its checksum in the background and yield the progress."""
        yield from self._watch(f"Verification of {name}", name, lambda stop: self._verify_steps(name, stop))

    def cancel(self) -> PanelUpdate:
        """Stop the running task; a download keeps what it has so far."""
        stopping = self._tasks.stop()
        return PanelUpdate(message_html("stopping ..." if stopping else "nothing is running"))

    def remove(self, name: str, pending: str) -> tuple[PanelUpdate, str]:
        """Delete a model from our own folder, at the second click on the same name.

        pending: the name that the last click asked to confirm, "" for none. Returns the update and the next `pending`.
        """
        try:
            locations, _, found = self._scan()
            model = _find_installed(name, found)
            if not model.ours:
                raise UserError(f"{model.path} is outside KGen's own models folder", hint="delete it by hand")
            if pending != name:
                return PanelUpdate(message_html(f"Press Remove again to delete {model.path}")), name
            from kgen_ext.models.manage import remove_model, remove_parts
            from kgen_ext.models.progress import size_text

            self._unload()  # some systems refuse to delete a file that is in use
            freed = remove_model(model, locations) + remove_parts(model.id, locations)
            removed = message_html(f"{model.name} removed, {size_text(freed)} freed")
            return self._updated(removed, name, changed=True), ""
        except (KGenError, OSError) as error:
            return PanelUpdate(message_html(ui_message(error), failed=True)), ""

    def unload(self) -> PanelUpdate:
        """Unload the loaded models."""
        count = self._unload()
        return PanelUpdate(message_html(f"models unloaded: {count}" if count else "no model was loaded"))

    def _watch(self, task_name: str, name: str, fn: TaskFn) -> Iterator[PanelUpdate]:
        try:
            task = self._tasks.start(task_name, fn)
        except UserError as error:
            yield PanelUpdate(message_html(ui_message(error), failed=True))
            return
        while not task.wait(self._poll_seconds):
            yield PanelUpdate(state_html(task.state), running=True)
        yield self._updated(state_html(task.state), name, changed=True)

    def _download_steps(self, name: str, stop: Callable[[], bool]) -> TaskSteps:
        from kgen_ext.models.download import download_steps

        return (yield from download_steps(name, self._locations(), offline=self._offline(), cancelled=stop))

    def _verify_steps(self, name: str, stop: Callable[[], bool]) -> TaskSteps:
        from kgen_ext.errors import ModelFileError
        from kgen_ext.models.manage import verify_steps

        installed = _find_installed(name, self._scan()[2])
        verdict = yield from verify_steps(installed, offline=bool(self._offline()), cancelled=stop)
        if not verdict.intact:
            if installed.model is None or not installed.model.repo:
                hint = "replace it with an intact copy"
            elif installed.ours:
                hint = "remove it and download it again"
            else:
                hint = "it is outside KGen's own models folder: delete it by hand, then download it"
            raise ModelFileError(f"{installed.name} is damaged: {verdict.reason}", hint=hint)
        return f"{installed.name} is intact: {verdict.reason}"

    def _scan(self) -> tuple[Locations, tuple[Model, ...], tuple[FoundModel, ...]]:
        from kgen_ext.models import find_models, load_catalogue

        locations = self._locations()
        known = load_catalogue(locations.user_file)
        return locations, known, find_models(locations, models=known)

    def _updated(self, status: str, name: str, *, running: bool = False, changed: bool = False) -> PanelUpdate:
        from kgen_ext.models import choices
        from kgen_ext.models.needs import this_machine
        from kgen_ext.webui.models_view import panel_view

        try:
            _, known, found = self._scan()
        except (KGenError, OSError) as error:
            return PanelUpdate(message_html(ui_message(error), failed=True))
        view = panel_view(name, known=known, found=found, machine=(self._machine or this_machine)())
        installed = choices(model for model in found if model.name == view.file)
        return PanelUpdate(status, view, running=running, changed=changed, installed="".join(installed))


def _find_installed(name: str, found: tuple[FoundModel, ...]) -> FoundModel:
    model_id, _, variant = name.partition(":")
    for installed in found:
        if installed.id == model_id and variant in ("", installed.variant):
            return installed
    raise UserError(f"{name} is not installed", hint="press Download")
