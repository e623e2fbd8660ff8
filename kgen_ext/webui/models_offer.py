"""Offer of a download under the preview: the model an expansion lacked, or the first one larger than the starter.

    TIPO-500M-ft is not installed: 1.02 GB, Kohaku License 1.0 [Download]
    The starter is small. TIPO-200M-ft2 runs here and writes better prompts: 406 MB, Kohaku License 1.0 [Download] [...]

The second comes while the starter is the only model, until it is dismissed: then there is an empty file of a fixed name
in KGen's own models folder. Offline, nothing is offered. The buttons press hidden ones of the models panel.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from kgen_ext.errors import KGenError
from kgen_ext.webui.models_html import link_html

if TYPE_CHECKING:
    from kgen_ext.models import Locations, Model, ModelFile
    from kgen_ext.models.needs import Machine

DISMISSED = ".no-offer"


@dataclass(frozen=True, slots=True)
class Offer:
    """A file that may be downloaded. first: whether it is offered in place of the starter; else it is missing."""

    model: Model
    file: ModelFile
    first: bool

    @property
    def name(self) -> str:
        """Return the file's full name."""
        return f"{self.model.id}:{self.file.variant}"


class ModelOffers:
    """What to offer after an expansion."""

    def __init__(
        self, *, locations: Callable[[], Locations], offline: Callable[[], tuple[str, ...]],
        machine: Callable[[], Machine] | None = None,
    ) -> None:  # fmt: skip
        """offline: the switches that forbid downloads. machine: what is installed, None to look."""
        self._locations, self._offline, self._machine = locations, offline, machine

    def find(self, wanted: str) -> Offer | None:
        """Return what to offer after an expansion with this model, by its name."""
        from kgen_ext.models import STARTER, find_entry, find_models, installed_files, load_catalogue
        from kgen_ext.models.needs import best_file, best_model, fit, this_machine

        locations = self._locations()
        try:
            if self._offline() or (wanted == STARTER and (locations.own / DISMISSED).exists()):
                return None
            known = load_catalogue(locations.user_file)
            found = find_models(locations, models=known)
            installed = wanted != STARTER and installed_files(wanted, found) is not None
        except (KGenError, OSError):  # the expansion's own error says so
            return None
        machine = (self._machine or this_machine)()
        if wanted == STARTER:
            best = None if any(not model.problem for model in found) else best_model(known, machine)
            return best and Offer(*best, first=True)
        model, variant = find_entry(wanted, known), wanted.partition(":")[2]
        if model is None or not model.repo or installed:
            return None
        file = model.file(variant) if variant else best_file(model, machine)
        return Offer(model, file, first=False) if file and fit(model, file, machine).engine else None

    def dismiss(self) -> None:
        """Offer no first model any more, in this WebUI; raises OSError."""
        own = self._locations().own
        own.mkdir(parents=True, exist_ok=True)
        (own / DISMISSED).touch()


def offer_html(offer: Offer) -> str:
    """Return the line with its buttons."""
    from kgen_ext.models.progress import size_text

    model = offer.model
    licence = escape(model.licence or "licence unknown")
    if model.licence_url:
        licence = link_html(model.licence_url, model.licence or "licence")
    what = f"{escape(model.id)} is not installed"
    if offer.first:
        what = f"The starter is small. {escape(model.id)} runs here and writes better prompts"
    buttons = press_html("Download", "models_get", offer.name)
    if offer.first:
        buttons += press_html("No, thanks", "models_dismiss")
    size = size_text(offer.file.size or offer.file.about)
    return f'<div class="kgen-offer"><span>{what}: {size}, {licence}</span>{buttons}</div>'


def press_html(text: str, button: str, name: str = "") -> str:
    """Return a button that presses one of the panel's, by the end of its element id; name: the model that it is for."""
    return (
        f'<button type="button" class="kgen-press" data-kgen-press="{escape(button)}" data-kgen-name="{escape(name)}">'
        f"{escape(text)}</button>"
    )
