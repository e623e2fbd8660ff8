"""Required entries of a request: what goes into the result for each, and what the model may see of it."""
from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kgen_ext.prompt import Prompt, SpanKind, escape, render, subjects
from kgen_ext.prompt.brackets import read_brackets
from kgen_ext.prompt.spans import DIVIDERS
from kgen_ext.protocol.plan import one_line
from kgen_ext.rules.entries import Entry, read_entry
from kgen_ext.rules.patterns import PatternSet
from kgen_ext.service.scripts import read_given
from kgen_ext.tags.tag import Tag, read_tag


@dataclass(frozen=True, slots=True)
class Required:
    """A required entry that the prompt lacks.

    `spelling` is what the user wrote, `text` how it goes into the result: the same where it has syntax. `tags` count as
    given, `shown` are those of them that the model may see: no trigger words, and nothing of a network.
    """

    spelling: str
    text: str
    tags: tuple[Tag, ...]
    shown: tuple[Tag, ...]


def read_required(
    entries: Sequence[Entry], prompt: Prompt, *, bans: PatternSet
) -> tuple[tuple[Required, ...], tuple[str, ...]]:
    """Return the required entries that the prompt lacks and that may be added, and a note for each that may not."""
    if not entries:
        return (), ()
    source = render(prompt)
    items = [item for segment in prompt.segments for item in segment.items]
    names = {tag.name for tag in read_given((tag for item in items for tag in (item.shown, *item.listed) if tag), None)}
    written = {source[span.start : span.end] for span in prompt.spans}
    networks = {_network(source[span.start :]) for span in prompt.spans if span.kind is SpanKind.NETWORK}
    wanted, notes = list[Required](), list[str]()
    for entry in entries:
        tags = tuple(map(read_tag, entry.tags))
        if entry.source in written or (tags and all(tag.name in names for tag in tags)):
            continue
        if not tags and entry.source[:1] == "<" and _network(entry.source) in networks:
            continue  # the prompt has it, with another weight
        ban = next(filter(None, map(bans.match, tags)), None)
        if ban is not None:
            notes.append(f"require: {entry.source!r} is also banned by {ban!r}; the ban holds, the tag is not added")
        elif fault := _fault(entry):
            notes.append(f"require: {entry.source!r} {fault}, so it is not added")
        else:
            wanted.append(_required(entry, tags))
            written.add(entry.source)
            names.update(tag.name for tag in tags)
    return tuple(wanted), tuple(dict.fromkeys(notes))


def sparing_tags(entries: Iterable[Entry]) -> tuple[str, ...]:
    """Return the tags of required entries, which a model's blocklist spares."""
    return tuple(tag for entry in entries for tag in entry.tags)


def read_entries(required: Iterable[str]) -> tuple[Entry, ...]:
    """Read the required entries of a request, without empty ones."""
    return tuple(entry for entry in map(read_entry, required) if entry.source)


def _required(entry: Entry, tags: tuple[Tag, ...]) -> Required:
    if entry.prompt is None:
        spelling = one_line(entry.source)
        shown = re.sub(r"\\(?=[()\[\]{}])", "", spelling)
        return Required(spelling, escape(spelling), tags, (read_tag(shown),))
    visible = tuple(tag for subject in subjects(entry.prompt) for tag in subject.tags)
    return Required(entry.source, entry.source, tags, tuple(map(read_tag, visible)))


def _fault(entry: Entry) -> str:
    """Return why an entry's syntax cannot be added anywhere, "" where it can."""
    if entry.prompt is None:
        return ""
    kinds = {token.kind for token in entry.prompt.tokens}
    if kinds & DIVIDERS:
        return "divides a prompt"
    if SpanKind.COMMENT in kinds:
        return "holds a comment"
    if not all(bracket.closer for bracket in read_brackets(entry.source)):
        return "leaves a bracket open"
    return ""


def _network(text: str) -> str:
    """Return the kind and name of the network that a text begins with: `<lora:ink`."""
    return ":".join(text.partition(">")[0].split(":")[:2]).lower()
