"""Marked parts of a prompt: `<kgen>...</kgen>` says what is expanded and where the additions go.

    <kgen>fox ears</kgen>   is expanded; the rest of its segment is context, and segments without a mark are left alone
    <kgen></kgen>           says where the additions of its segment go
    <kgen>fox ears          to the end of the prompt

The marks are for KGen: the image is drawn from the prompt without them. Marks do not nest. One in a comment, in a
network or behind a backslash is text, and so are a closing mark without an opening one and an opening one inside a
marked part; the notes name these. A marked part ends where something may be added: behind the tag, sentence, edit,
choice or bracket that its mark is in.
"""
from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kgen_ext.prompt.edits import read_edits
from kgen_ext.prompt.lexer import tokenize
from kgen_ext.prompt.spans import Prompt, Ranges, Segment, Span, SpanKind, render

_CLOSED = frozenset((SpanKind.EDIT, SpanKind.ALTERNATION, SpanKind.CHOICE))
_BRACKETS = frozenset((SpanKind.EMPHASIS, SpanKind.DEEMPHASIS))


@dataclass(frozen=True, slots=True)
class MarkedPrompt:
    """A prompt without its marks. parts: what they enclose, as ranges of `text`; none where there are no marks."""

    text: str
    parts: tuple[tuple[int, int], ...] = ()
    notes: tuple[str, ...] = ()


class MarkedPart(NamedTuple):
    """A marked part of a segment, or one behind which the additions of the whole segment go (`empty`).

    segment: its number. span: what it covers, with its items.
    """

    segment: int
    span: Segment
    empty: bool


def read_marks(source: str, mark: str) -> MarkedPrompt:
    """Take the marks out of a prompt.

    >>> read_marks("1girl, <kgen>fox</kgen>, night", "kgen")
    MarkedPrompt(text='1girl, fox, night', parts=((7, 10),), notes=())
    """
    tags = list(_pattern(mark).finditer(source)) if mark.lower() in source.lower() else []
    if not tags:
        return MarkedPrompt(source)
    lone = {token.start for token in tokenize(source) if token.text == "<"}
    kept, notes = list[str](), list[str]()
    parts = list[tuple[int, int]]()
    opened: int | None = None
    at = length = 0
    for tag in tags:
        closes = bool(tag[1])
        if tag.start() not in lone:
            continue
        if closes == (opened is None):
            notes.append(f"{tag[0]}: {'nothing is marked there' if closes else 'marked already'}, taken as text")
            continue
        kept.append(source[at : tag.start()])
        length += tag.start() - at
        at = tag.end()
        if opened is None:
            opened = length
        else:
            parts.append((opened, length))
            opened = None
    text = "".join(kept) + source[at:]
    if opened is not None:
        parts.append((opened, len(text)))
    return MarkedPrompt(text, tuple(parts), tuple(notes))


def split_marked(source: str, separator: str, mark: str) -> list[str]:
    """Split a prompt at a separator; a marked part that reaches over one is marked on both sides.

    >>> split_marked("a, <kgen>b|c</kgen>", "|", "kgen")
    ['a, <kgen>b</kgen>', '<kgen>c</kgen>']
    """
    pieces = source.split(separator)
    marked = read_marks(source, mark)
    if not marked.parts or len(pieces) == 1:
        return pieces
    parts = marked.text.split(separator)
    if len(parts) != len(pieces):
        return pieces  # a mark inside a separator
    split, start = list[str](), 0
    for part in parts:
        end, out, done = start + len(part), list[str](), 0
        for first, last in marked.parts:
            low, high = max(first, start) - start, min(last, end) - start
            if low < high or (first == last and start <= first <= end):
                out += [part[done:low], f"<{mark}>", part[low:high], f"</{mark}>"]
                done = high
        split.append("".join(out) + part[done:])
        start = end + len(separator)
    return split


def find_parts(prompt: Prompt, parts: Sequence[tuple[int, int]]) -> list[MarkedPart]:
    """Return the marked parts by segment, in order. parts: ranges of the prompt's text."""
    if not parts:
        return []
    source = render(prompt)
    closed, closers = _closed(prompt, source), _closers(prompt, source)
    slashes = {token.end for token in prompt.tokens if token.text == "\\"}
    found = list[MarkedPart]()
    next_part = 0
    for number, segment in enumerate(prompt.segments):
        done = segment.start
        starts = [item.start for item in segment.items]
        while next_part < len(parts) and parts[next_part][1] < segment.start:
            next_part += 1
        for index in range(next_part, len(parts)):
            # 1. What of it is in this segment.
            first, last = parts[index]
            if first > segment.end:
                break
            low, high = max(first, segment.start), min(last, segment.end)
            if low == high and first != last:
                continue
            blank = not source[low:high].strip(" ,\t\n")
            # 2. Move its ends out of what cannot be divided; what was taken already stays with the part before.
            around = closed.around(low)
            low = max(done, around[0] if around else low)
            high = min(max(low, _after_closed(high, closed, closers)), segment.end)
            # 3. The weight of an AND part goes with it.
            if high > segment.tail:
                high = segment.end
            tail = segment.tail if high == segment.end else high
            inside = bisect_left(starts, low), bisect_left(starts, high)
            items = tuple(item for item in segment.items[slice(*inside)] if item.end <= high)
            if items and not blank:
                found.append(MarkedPart(number, Segment(low, high, tail, items), False))
            else:
                at = min(high, segment.tail)
                if at in slashes and at < len(source):
                    at -= 1  # a backslash would escape what is put behind it
                    if at < done:
                        continue
                before = bisect_left(starts, at)
                last_item = tuple(item for item in segment.items[max(0, before - 1) : before] if item.end <= at)
                found.append(MarkedPart(number, Segment(at, at, at, last_item), True))
            done = high
    return found


def own_items(prompt: Prompt, parts: Sequence[MarkedPart]) -> Prompt:
    """Return the prompt with only those items in its segments that are to be expanded."""
    items = dict[int, list[Span]]()
    for part in parts:
        items.setdefault(part.segment, []).extend(() if part.empty else part.span.items)
    segments = [
        segment._replace(items=tuple(items.get(number, ())) or (segment.items if number in items else ()))
        for number, segment in enumerate(prompt.segments)
    ]
    return Prompt(prompt.tokens, prompt.spans, tuple(segments))


def _pattern(mark: str) -> re.Pattern[str]:
    return re.compile(rf"<(/?){re.escape(mark)}>", re.IGNORECASE)


def _closed(prompt: Prompt, source: str) -> Ranges:
    """Return the ranges that nothing is put into: tags, sentences, edits, choices, and tokens."""
    spans: list[Span] = [span for span in prompt.spans if span.kind in _CLOSED]
    spans += [item for segment in prompt.segments for item in segment.items]
    ranges = [(span.start, span.end) for span in spans]
    ranges += [(edit.start, edit.stop) for edit in read_edits(source)[0]]
    return Ranges([*ranges, *((token.start, token.end) for token in prompt.tokens)], join=False)


def _closers(prompt: Prompt, source: str) -> dict[int, int]:
    """Return where closing brackets begin, weights included, and where they end."""
    closers = dict[int, int]()
    closer = re.compile(r"(?::\s*[+-]?[.\d]+\s*)?[)\]]\Z")
    for span in prompt.spans:
        if span.kind in _BRACKETS and (found := closer.search(source[max(span.start, span.end - 40) : span.end])):
            closers[span.end - len(found[0])] = span.end
    return closers


def _after_closed(at: int, closed: Ranges, closers: dict[int, int]) -> int:
    """Return the first place from `at` on that is in nothing closed and not right before a closing bracket."""
    while True:
        around = closed.around(at)
        after = around[1] if around is not None else closers.get(at, at)
        if after == at:
            return at
        at = after
