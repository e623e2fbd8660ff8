"""The user's own priors: where they are, which there are. Each is a table of tag pairs in a file NAME.bin.

They are in the folder `priors` beside the command's models folder, for every front end: a prior that was built once is
there in a WebUI, too. What is counted stays on the machine.
"""
from __future__ import annotations

import os
from pathlib import Path

from kgen_ext.errors import BadValue, UserError
from kgen_ext.models.locations import own_folder
from kgen_ext.models.schema import ID
from kgen_ext.request import NO_PRIOR

_ENDING = ".bin"


def priors_folder() -> Path:
    """Return the folder of the user's priors, which need not exist."""
    return own_folder(os.environ).parent / "priors"


def prior_names() -> tuple[str, ...]:
    """Return the names of the user's priors."""
    folder = priors_folder()
    found = (path for path in folder.glob(f"*{_ENDING}") if path.is_file()) if folder.is_dir() else ()
    return tuple(sorted(path.stem for path in found if ID.fullmatch(path.stem)))


def prior_path(name: str, *, field: str = "yours") -> Path:
    """Return the path of a prior of that name, there or not; raises BadValue for what is no name."""
    if not ID.fullmatch(name) or name.lower() == NO_PRIOR:
        raise BadValue(field, name, f"a name of letters, digits, . _ -, other than {NO_PRIOR}")
    return priors_folder() / f"{name}{_ENDING}"


def find_prior(name: str) -> Path:
    """Return the path of a prior that is there; no path is made of a name that is none. Raises UserError."""
    path, found = prior_path(name), prior_names()
    if name not in found:
        names = ", ".join(found)
        raise UserError(
            f"yours: no table of yours is named {name!r:.100}",
            hint=f"use {names}" if names else "make one with kgen prior build FOLDER",
        )
    return path
