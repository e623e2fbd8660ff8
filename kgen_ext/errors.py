"""Exceptions that this package raises on purpose, each with a hint or an action that resolves it.

    KGenError
    |-- UserError            the request is wrong: exit code 2
    |   |-- BadValue         a field has a value outside its range or set
    |   |-- BadPattern       a ban, rule or protect pattern cannot be used
    |   |-- BadTemplate      an output template names an unknown slot
    |   |-- UnknownModel     no model of that name or at that path
    |   `-- BadCatalogue     a model catalogue is not valid
    `-- Failure              the request is fine, something else is not: exit code 1
        |-- ModelFileError   a model file is damaged, foreign or incomplete
        |-- EngineUnavailable  an optional library is missing or too old
        |-- EngineError      a library failed while running
        |-- DownloadError    a download failed or was altered on the way
        `-- Cancelled        the caller asked to stop

An action is what the user can do about the error, as a value: a front end may name its own button or setting for it.

    Download(model)          download this model
    ListModels(shows)        look at the list of models
    AllowDownloads(switches) go online
    Install(packages)        install packages that an engine needs
"""
from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

# Hint of every damaged model file.
AGAIN = "download it again, or replace it with an intact copy"


class Download(NamedTuple):
    """Download a model of the catalogue: `ID` or `ID:VARIANT`."""

    model: str

    @property
    def hint(self) -> str:
        """Return the action in words for Python and the command."""
        return f"kgen models download {self.model}; in the WebUI choose it under Models and press Download"


class ListModels(NamedTuple):
    """Look at the list of models. shows: what to look for there."""

    shows: str

    @property
    def hint(self) -> str:
        """Return the action in words for Python and the command."""
        return f"kgen models list shows {self.shows}"


class AllowDownloads(NamedTuple):
    """Switch offline mode off. switches: those that are on, as command line options, variables or “settings”."""

    switches: tuple[str, ...]

    @property
    def hint(self) -> str:
        """Return the action in words.

        >>> AllowDownloads(("--offline", "HF_HUB_OFFLINE")).hint
        'to download leave out --offline, and unset HF_HUB_OFFLINE'
        """
        return "to download " + ", and ".join(map(_switch_off, self.switches))


class Install(NamedTuple):
    """Install packages. packages: as pip takes them."""

    packages: str

    @property
    def hint(self) -> str:
        """Return the action in words for Python and the command."""
        return f"pip install {self.packages}"


def _switch_off(switch: str) -> str:
    if switch.startswith("--"):
        return f"leave out {switch}"
    return f"switch off {switch}" if switch.startswith("“") else f"unset {switch}"


Action = Download | ListModels | AllowDownloads | Install


class KGenError(Exception):
    """Root of the tree. `str(error)` is one line: what is wrong, then the hint in brackets.

    action: takes the place of a hint; `hint` is then its words for Python and the command.
    """

    def __init__(self, message: str, *, hint: str = "", action: Action | None = None) -> None:
        self.message = message
        self.action = action
        self.hint = hint if action is None else action.hint
        super().__init__(f"{message} ({self.hint})" if self.hint else message)


class UserError(KGenError):
    """The request is wrong, and the user can correct it."""


class BadValue(UserError):
    """A field's value is outside its range or set.

    >>> str(BadValue("top_p", 1.5, "0 to 1"))
    'top_p: 1.5 is not allowed (use 0 to 1)'
    """

    def __init__(self, field: str, value: object, allowed: str | Iterable[object]) -> None:
        self.field = field
        self.value = value
        shown = allowed if isinstance(allowed, str) else ", ".join(str(choice) for choice in allowed)
        text = repr(value)
        super().__init__(
            f"{field}: {text if len(text) <= 80 else text[:77] + '...'} is not allowed", hint=f"use {shown}"
        )


class BadPattern(UserError):
    """A pattern is malformed, or takes too long to match."""


class BadTemplate(UserError):
    """An output template names a slot that does not exist."""


class UnknownModel(UserError):
    """No model has that name, and there is no usable file at that path."""


class BadCatalogue(UserError):
    """A model catalogue is not valid: the message names file, entry and field."""


class Failure(KGenError):
    """The request is fine; a file, a library or the machine is not."""


class ModelFileError(Failure):
    """A model file is damaged, of a foreign kind, or incomplete."""


class EngineUnavailable(Failure):
    """An optional library that this engine needs is missing or too old."""


class EngineError(Failure):
    """A library failed while running; the original exception is the cause."""


class DownloadError(Failure):
    """A download failed or was altered on the way; there is no file under the final name."""


class Cancelled(Failure):
    """The caller asked to stop."""


# The folders before a file's name, of either system: what is shown to visitors, or published with an image, has none.
_FOLDERS = re.compile(r"""(?<![^\s'"(])(?:[A-Za-z]:)?(?:[\\/][^\\/:\n]{1,255}){1,40}[\\/](?=[^\\/\s])""")


def without_folders(error: KGenError, text: str) -> str:
    """Return a text about an error with files named without their folders, which are nobody else's business.

    A user's own input is repeated as it is: a pattern looks like a path.
    """
    # No page and no client can name the tag file or the catalogue.
    of_server = isinstance(error, BadCatalogue) or error.message.startswith("tag_file:")
    return text if isinstance(error, UserError) and not of_server else _FOLDERS.sub("", text)
