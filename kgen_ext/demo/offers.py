"""Models to choose from: the ones named at start, else the starter and what is installed.

A visitor names a model by what is offered and never by a path.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kgen_ext.errors import KGenError, ModelFileError, UnknownModel
from kgen_ext.models import STARTER, Locations, ModelFiles, find_models, resolve
from kgen_ext.models.scan import protocol_of_file
from kgen_ext.sampling import Sampling


@dataclass(frozen=True, slots=True)
class Offer:
    """A model. name: what visitors choose. tags_only: it writes no sentences (DanTagGen). sampling: as recommended."""

    name: str
    tags_only: bool = False
    sampling: Sampling = field(default_factory=Sampling)


class Offers:
    """The models that a page offers; what is installed is looked up anew for each page that opens."""

    def __init__(self, named: Sequence[str] = (), *, locations: Locations | None = None) -> None:
        """named: names or paths of the only models to offer, from the command line. Raises what `resolve` raises."""
        self._locations = locations
        # By the name shown: what the owner wrote, which may be a path.
        self._named: Mapping[str, str] = {resolve(name, locations=locations).id: name for name in named}

    def names(self) -> tuple[str, ...]:
        """Return the names, the first of which is the page's default."""
        if self._named:
            return tuple(self._named)
        from kgen_ext.models import choices

        try:
            found = choices(find_models(self._locations or Locations.default()))
        except (KGenError, OSError):  # a broken catalogue: the starter is here in any case, and the doctor says more
            found = ()
        return tuple(dict.fromkeys((STARTER, *found)))

    def files(self, name: str) -> ModelFiles:
        """Return a model's files. Raises UnknownModel for a name that is not offered, or is no longer installed."""
        if self._named:
            if name not in self._named:
                raise UnknownModel(f"model: {name!r:.120} is not offered here", hint=f"use {', '.join(self._named)}")
            try:
                return resolve(self._named[name], locations=self._locations)
            except UnknownModel as error:  # its words name the owner's path, and what to do in a console
                raise UnknownModel(f"model: {name!r} is no longer there", hint="choose another") from error
        return resolve(name, locations=self._locations, paths=False)

    def offer(self, name: str) -> Offer:
        """Return what the page shows of a model. Raises as `files`, and ModelFileError for a file that is none."""
        files = self.files(name)
        recommended = None if files.entry is None else files.entry.recommended
        return Offer(name, _protocol(files) == "dtg", Sampling.resolve(recommended))


def _protocol(files: ModelFiles) -> str | None:
    if files.entry is not None:
        return files.entry.protocol
    path = files.gguf or files.folder
    try:
        return None if path is None else protocol_of_file(path)
    except (ModelFileError, OSError):
        return None  # told when it is opened
