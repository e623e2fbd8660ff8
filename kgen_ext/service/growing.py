"""The text of one row as it grows, from the events of its decode; what is rejected goes again.

Refuses to know terminals and pages. It is a look over the model's shoulder: the expansion that comes in the end is the
answer.
"""
from __future__ import annotations

from kgen_ext.events import Delta, Event, TagAccepted, TagRejected

_TAG_FIELDS = frozenset(("tag", "general"))


class Growing:
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
