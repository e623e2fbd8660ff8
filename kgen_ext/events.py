"""Expansions and the stream of events that leads to them, as values and as JSON.

As JSON, for `kgen expand --json` and the WebUI's API alike, an expansion is an object of its fields, and an event is
`{"event": "tag_accepted", ...its fields}`; equal work gives equal bytes. `PartialText` follows the events of one row.
"""
from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Union

from kgen_ext.sampling import SAMPLING_NAMES, Sampling


class By(str, Enum):
    """The author of a piece of the result."""

    USER = "user"
    MODEL = "model"


class Finish(str, Enum):
    """Why a row ended: all fields written, context full (complete tags and sentences are kept), or cancelled."""

    COMPLETE = "complete"
    LENGTH = "length"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of the final prompt, written by the user or by the model."""

    text: str
    by: By


@dataclass(frozen=True, slots=True)
class Fields:
    """The expansion's tags by category, the user's visible ones included, and its text."""

    special: tuple[str, ...] = ()
    characters: tuple[str, ...] = ()
    copyrights: tuple[str, ...] = ()
    artist: tuple[str, ...] = ()
    general: tuple[str, ...] = ()
    meta: tuple[str, ...] = ()
    quality: tuple[str, ...] = ()
    rating: tuple[str, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class Settings(Sampling):
    """The sampling options, lengths and prior's weight a row was written with. In JSON the lengths come first."""

    tag_length: str = "long"
    text_length: str = "none"
    prior: float = 0.0


@dataclass(frozen=True, slots=True)
class Expansion:
    """The result of one row.

    `source` is the prompt as given. `pieces` joined are `prompt`; the user's pieces joined are `source`, byte for byte,
    with the description that was given beside it; `sorted` has them in another order, and a format without tags leaves
    some out. `seed` reproduces this row alone (with `count=1`). `notes` say what could not be done, a line each, with
    fields named as in the API.
    """

    prompt: str
    pieces: tuple[Piece, ...]
    source: str
    seed: int
    row: int
    model: str
    engine: str
    fields: Fields
    added_tags: tuple[str, ...]
    added_text: str
    finish: Finish
    decoded_tokens: int
    forced_tokens: int
    rewound_tokens: int
    seconds: float
    notes: tuple[str, ...] = ()
    settings: Settings = Settings()


@dataclass(frozen=True, slots=True)
class Started:
    """Decoding of a subject began; a row has one subject for each segment between AND and BREAK."""

    row: int
    subject: int = 0


@dataclass(frozen=True, slots=True)
class Delta:
    """New characters of a field; a later `TagRejected` takes back those of its tag."""

    row: int
    field: str
    text: str
    subject: int = 0


@dataclass(frozen=True, slots=True)
class TagAccepted:
    """A tag is complete and kept."""

    row: int
    tag: str
    subject: int = 0


@dataclass(frozen=True, slots=True)
class TagRejected:
    """A tag, or a phrase of the text, was removed: `rule` says by which kind of rule, `detail` what it matched."""

    row: int
    tag: str
    rule: str
    detail: str
    subject: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """A row is complete."""

    row: int
    expansion: Expansion


Event = Union[Started, Delta, TagAccepted, TagRejected, Finished]


def name_fields(note: str, names: Callable[[str], str]) -> str:
    """Return a note with its fields named as a front end names them.

    >>> name_fields("tag_length long ends at 54", lambda field: f"--{field.replace('_', '-')}")
    '--tag-length long ends at 54'
    """
    return re.sub(r"\b(?:tag|text)_length\b", lambda found: names(found[0]), note)


def expansion_json(expansion: Expansion, *, timings: bool) -> str:
    """Return one line of JSON; without `timings`, `seconds` is null, so that equal work gives equal bytes."""
    return json_line(_plain(expansion, timings))


def event_json(event: Event, *, timings: bool) -> str:
    """Return one line of JSON; a `finished` event contains the expansion."""
    kind = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
    return json_line({"event": kind, **_plain(event, timings)})


def json_line(value: object) -> str:
    """Return JSON on one line for every reader: Unicode's other line separators, where some split, are escaped."""
    import json  # here, as plain output needs none

    text = json.dumps(value, ensure_ascii=False)
    return text.replace("\x85", "\\u0085").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


_SETTINGS = ("tag_length", "text_length", *SAMPLING_NAMES, "prior")


def _plain(value: Expansion | Event, timings: bool) -> dict[str, Any]:
    result = dataclasses.asdict(value)
    expansion = result if isinstance(value, Expansion) else result.get("expansion")
    if expansion:
        expansion["seconds"] = round(expansion["seconds"], 4) if timings else None
        settings = expansion["settings"]
        expansion["settings"] = {name: settings[name] for name in _SETTINGS}
    return result


_TAG_FIELDS = frozenset(("tag", "general"))


class PartialText:
    """The text of one row so far: for each subject a line of tags, the unfinished one last, and a line for each text.

    What is rejected disappears again. It is for display only: the result is the expansion.
    """

    def __init__(self) -> None:
        self._tags: dict[int, list[str]] = {}
        self._written: dict[tuple[int, str], str] = {}  # by subject and field
        self._field: dict[int, str] = {}  # the field a subject is writing

    def note(self, event: Event) -> None:
        """Apply an event."""
        if isinstance(event, Delta):
            key = (event.subject, event.field)
            self._field[event.subject] = event.field
            self._written[key] = self._written.get(key, "") + event.text
        elif isinstance(event, TagAccepted):
            self._tags.setdefault(event.subject, []).append(event.tag)
        elif isinstance(event, TagRejected):
            self._take_back(event)

    def text(self) -> str:
        """Return the current text."""
        subjects: dict[int, list[str]] = {subject: [", ".join(tags)] for subject, tags in self._tags.items()}
        for (subject, field), written in self._written.items():
            lines = subjects.setdefault(subject, [""])
            if field not in _TAG_FIELDS:
                lines.append(written.strip())
                continue
            unfinished = written.rpartition(",")[2].strip()
            whole = self._tags.get(subject, [""])[-1]
            # The last token of a tag may arrive after `TagAccepted`.
            if unfinished and not whole.startswith(unfinished) and not whole.endswith(unfinished):
                lines[0] = f"{lines[0]}, {unfinished}" if lines[0] else unfinished
        return "\n".join(line for subject in sorted(subjects) for line in subjects[subject] if line)

    def _take_back(self, event: TagRejected) -> None:
        key = (event.subject, self._field.get(event.subject, ""))
        written = self._written.get(key, "")
        cut = written.rfind("," if key[1] in _TAG_FIELDS else event.tag or "\0")
        if key[1] in _TAG_FIELDS or cut >= 0:
            self._written[key] = written[: max(cut, 0)]
