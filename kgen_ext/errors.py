"""Every error this package raises on purpose, each with a hint the user can act on.

Knows nothing of hosts, engines or the command line; those map foreign exceptions to these at their edge.

    KGenError
    |-- UserError            the request is wrong: exit code 2
    |   |-- BadValue         a field has a value outside its range or set
    |   |-- BadPattern       a ban, rule or protect pattern cannot be used
    |   |-- BadTemplate      an output template names an unknown slot
    |   |-- UnknownModel     no model of that name or at that path
    |   `-- BadCatalogue     a catalogue of models says something that cannot be
    `-- Failure              the request is fine, something else is not: exit code 1
        |-- ModelFileError   a model file is damaged, foreign or missing a part
        |-- EngineUnavailable  an optional library is missing or too old
        |-- EngineError      a library failed while running
        |-- DownloadError    a file did not come whole and unchanged
        `-- Cancelled        the caller asked to stop
"""
from __future__ import annotations

from collections.abc import Iterable

# The way out of every damaged model file.
AGAIN = "download it again, or put a whole copy in its place"


class KGenError(Exception):
    """Root of the tree. `str(error)` is one line: what is wrong, then the way out."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(f"{message} ({hint})" if hint else message)


class UserError(KGenError):
    """The request is wrong, and the user can mend it."""


class BadValue(UserError):
    """A field's value is outside its range or set.

    >>> str(BadValue("top_p", 1.5, "0 to 1"))
    "top_p: 1.5 is not allowed (use 0 to 1)"
    """

    def __init__(self, field: str, value: object, allowed: str | Iterable[object]) -> None:
        self.field = field
        self.value = value
        shown = allowed if isinstance(allowed, str) else ", ".join(str(one) for one in allowed)
        text = repr(value)
        super().__init__(
            f"{field}: {text if len(text) <= 80 else text[:77] + '...'} is not allowed", hint=f"use {shown}"
        )


class BadPattern(UserError):
    """A pattern is malformed, or takes longer to match than the bound allows."""


class BadTemplate(UserError):
    """An output template names a slot that does not exist."""


class UnknownModel(UserError):
    """No model has that name, and nothing usable lies at that path."""


class BadCatalogue(UserError):
    """A catalogue of models says something that cannot be: the message names file, entry and field."""


class Failure(KGenError):
    """The request is fine; a file, a library or the machine is not."""


class ModelFileError(Failure):
    """A model file is damaged, of a foreign kind, or lacks a part."""


class EngineUnavailable(Failure):
    """An optional library that this engine needs is missing or too old."""


class EngineError(Failure):
    """A library failed while running; the original exception is the cause."""


class DownloadError(Failure):
    """A file did not come whole and unchanged; nothing stands under its final name."""


class Cancelled(Failure):
    """The caller asked to stop."""
