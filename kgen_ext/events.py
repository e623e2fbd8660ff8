"""What comes back: the stream of events while rows are decoded, and the finished expansion of each.

Plain values only; nothing here knows who produced them or who shows them.

Expansions and events as JSON, the same for the command and the WebUI's API: equal work gives equal bytes.

Refuses to know who sends it. The keys are the field names of `kgen_ext.events`; an event is
`{"event": "tag_accepted", ...its fields}`.

The text of one row as it grows, from the events of its decode; what is rejected goes again.

Refuses to know terminals and pages. It is a look over the model's shoulder: the expansion that comes in the end is the
answer.
"""
from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from enum import Enum
from typing import Any, Union


class By(str, Enum):
    """Who wrote a piece of the result."""

    USER = "user"
    MODEL = "model"


class Finish(str, Enum):
    """Why a row ended: all fields done, no room left (what is whole is kept), or told to stop."""

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
class Settings:
    """The sampling and lengths a row was written with: the user's, else those that suit the model."""

    tag_length: str = "long"
    text_length: str = "none"
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.1


@dataclass(frozen=True, slots=True)
class Expansion:
    """The answer for one row.

    `pieces` joined are `prompt`; the user's pieces joined are `source`, byte for byte, in every format that keeps the
    user's text. `seed` reproduces this row alone (with `count=1`). `notes` say what could not be kept, a line each.
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
    """A subject of a row (a row has one for each AND or BREAK segment) took its place in the batch."""

    row: int
    subject: int = 0


@dataclass(frozen=True, slots=True)
class Delta:
    """New characters of a field; a later `TagRejected` takes those of its tag back."""

    row: int
    field: str
    text: str
    subject: int = 0


@dataclass(frozen=True, slots=True)
class TagAccepted:
    """A whole tag stands."""

    row: int
    tag: str
    subject: int = 0


@dataclass(frozen=True, slots=True)
class TagRejected:
    """A tag, or a phrase of the text, was taken back; `rule` names why, `detail` what it met."""

    row: int
    tag: str
    rule: str
    detail: str
    subject: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """A row is done."""

    row: int
    expansion: Expansion


Event = Union[Started, Delta, TagAccepted, TagRejected, Finished]


def expansion_json(expansion: Expansion, *, timings: bool) -> str:
    """Return one line of JSON; without `timings`, `seconds` is null, so that equal work gives equal bytes."""
    return json_line(_plain(expansion, timings))


def event_json(event: Event, *, timings: bool) -> str:
    """Return one line of JSON for an event; a finished one holds the expansion."""
    kind = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
    return json_line({"event": kind, **_plain(event, timings)})


def json_line(value: object) -> str:
    """Return JSON that is one line to everybody: Unicode's other line ends, where some readers split, are escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return text.replace("\x85", "\\u0085").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _plain(value: Expansion | Event, timings: bool) -> dict[str, Any]:
    result = dataclasses.asdict(value)
    for holder in (result, result.get("expansion")):
        if holder and "seconds" in holder:
            holder["seconds"] = round(holder["seconds"], 4) if timings else None
    return result


_TAG_FIELDS = frozenset(("tag", "general"))


class PartialText:
    """One line a subject: its tags, the unfinished one at the end, then one line for each of its texts."""

    def __init__(self) -> None:
        self._tags: dict[int, list[str]] = {}
        self._written: dict[tuple[int, str], str] = {}  # by subject and field
        self._field: dict[int, str] = {}  # the field a subject is writing

    def note(self, event: Event) -> None:
        """Take an event in."""
        if isinstance(event, Delta):
            key = (event.subject, event.field)
            self._field[event.subject] = event.field
            self._written[key] = self._written.get(key, "") + event.text
        elif isinstance(event, TagAccepted):
            self._tags.setdefault(event.subject, []).append(event.tag)
        elif isinstance(event, TagRejected):
            self._take_back(event)

    def text(self) -> str:
        """Return what stands at the moment."""
        subjects: dict[int, list[str]] = {subject: [", ".join(tags)] for subject, tags in self._tags.items()}
        for (subject, field), written in self._written.items():
            lines = subjects.setdefault(subject, [""])
            if field not in _TAG_FIELDS:
                lines.append(written.strip())
                continue
            unfinished = written.rpartition(",")[2].strip()
            whole = self._tags.get(subject, [""])[-1]
            # The last token of a tag may be told after the tag itself.
            if unfinished and not whole.startswith(unfinished) and not whole.endswith(unfinished):
                lines[0] = f"{lines[0]}, {unfinished}" if lines[0] else unfinished
        return "\n".join(line for subject in sorted(subjects) for line in subjects[subject] if line)

    def _take_back(self, event: TagRejected) -> None:
        key = (event.subject, self._field.get(event.subject, ""))
        written = self._written.get(key, "")
        cut = written.rfind("," if key[1] in _TAG_FIELDS else event.tag or "\0")
        if key[1] in _TAG_FIELDS or cut >= 0:
            self._written[key] = written[: max(cut, 0)]
