"""Sorting of a prompt's own tags by category, for the format `sorted`.

A segment is read as chunks between its separators. A chunk that is a plain tag goes to the slot of its category; one
that has syntax (a weight, an edit, a choice, a network, a wildcard), a sentence, and a trigger or hidden word stay
behind the tag that they follow, or in front where they follow none. So a run of the source, its own separators
included, moves as one, and every byte but the separators between runs is the user's.

A segment with a comment, or with a bracket that nothing in it closes, stays in one piece: what follows such a bracket
has its weight, wherever it comes from.
"""
from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from kgen_ext.events import By, Piece
from kgen_ext.output.template import ends_in_sentence
from kgen_ext.prompt import Prompt, Span, SpanKind, render
from kgen_ext.prompt.brackets import read_brackets
from kgen_ext.prompt.items import is_trigger
from kgen_ext.prompt.spans import Ranges, Token
from kgen_ext.request import Category
from kgen_ext.tags.tag import read_tag

_WHOLE = frozenset((
    SpanKind.EMPHASIS, SpanKind.DEEMPHASIS, SpanKind.EDIT, SpanKind.ALTERNATION, SpanKind.CHOICE, SpanKind.NETWORK,
    SpanKind.WILDCARD, SpanKind.SLOT, SpanKind.PROSE,
))  # fmt: skip
_SEPARATORS = frozenset((SpanKind.COMMA, SpanKind.NEWLINE))
_COMMAS = (",", ";")
_OPEN_NETWORK = re.compile(r"<\w+:")


@dataclass(frozen=True, slots=True)
class SortedItems:
    """Runs of a segment's source: those in front, and those of each category, in the user's order."""

    front: str
    runs: dict[Category, tuple[str, ...]]

    def pieces(self, category: Category) -> tuple[Piece, ...]:
        """Return the runs of a category with separators between them."""
        pieces = list[Piece]()
        for run in self.runs[category]:
            if pieces:
                before = pieces[-1].text
                pieces.append(Piece(" " if before.endswith(_COMMAS) or ends_in_sentence(before) else ", ", By.MODEL))
            pieces.append(Piece(run, By.USER))
        return tuple(pieces)


def sort_prompt(prompt: Prompt, *, hidden: Callable[[str], bool]) -> tuple[SortedItems | None, ...]:
    """Return the words of each segment sorted, None for one that has to stay in one piece.

    hidden: tells whether a tag is hidden from the model, besides trigger words.
    """
    source, starts = render(prompt), [token.start for token in prompt.tokens]
    whole = [span for span in prompt.spans if span.kind in _WHOLE]
    inside, opened = Ranges((span.start, span.end) for span in whole), [span.start for span in whole]
    pieces = _in_one_piece(prompt, source)

    def is_plain(item: Span) -> bool:
        if item.kind is not SpanKind.TAG or item.start in inside or hidden(item.shown):
            return False
        return bisect_left(opened, item.start) == bisect_left(opened, item.end) and not any(
            map(is_trigger, item.shown.split())
        )

    found = list[SortedItems | None]()
    for segment, in_one_piece in zip(prompt.segments, pieces, strict=True):
        tokens = prompt.tokens[bisect_left(starts, segment.start) : bisect_left(starts, segment.tail)]
        plain = {(item.start, item.end): item.shown for item in segment.items if is_plain(item)}
        found.append(None if in_one_piece else _sort(source, _chunks(source, tokens), plain))
    return tuple(found)


def _sort(source: str, chunks: list[tuple[int, int]], plain: dict[tuple[int, int], str]) -> SortedItems:
    front, runs = (0, 0), list[tuple[Category, int, int]]()
    for start, end in chunks:
        if (start, end) in plain:
            runs.append((read_tag(plain[start, end]).category, start, end))
        elif runs:
            category, begin, _ = runs[-1]
            runs[-1] = (category, begin, end)
        else:
            front = (front[0] if front[1] else start, end)
    by_category = {category: list[str]() for category in Category}
    for category, start, end in runs:
        by_category[category].append(source[start:end])
    return SortedItems(source[slice(*front)], {category: tuple(texts) for category, texts in by_category.items()})


def _chunks(source: str, tokens: Sequence[Token]) -> list[tuple[int, int]]:
    """Return the ranges between separators, without white space around; parts of one bracket are not plain."""
    bounds = [token for token in tokens if token.kind in _SEPARATORS]
    starts = [tokens[0].start if tokens else 0, *(token.end for token in bounds)]
    ends = [*(token.start for token in bounds), tokens[-1].end if tokens else 0]
    chunks = list[tuple[int, int]]()
    for start, end in zip(starts, ends, strict=True):
        text = source[start:end]
        if text.strip():
            chunks.append((start + len(text) - len(text.lstrip()), start + len(text.rstrip())))
    return chunks


def _in_one_piece(prompt: Prompt, source: str) -> list[bool]:
    """Tell of each segment whether it has a comment or anything that does not open and close in it."""
    bounds = [segment.start for segment in prompt.segments]
    tails = [segment.tail for segment in prompt.segments]
    depth = [0] * (len(bounds) + 1)  # how many such begin in a segment, less those that ended before it

    def mark(start: int, stop: int, *, closed: bool) -> None:
        first, last = bisect_right(bounds, start) - 1, bisect_left(bounds, stop) - 1
        if not closed or first != last or stop > tails[first]:
            depth[first] += 1
            depth[last + 1] -= 1

    for bracket in read_brackets(source):
        mark(bracket.start, bracket.stop, closed=bracket.closer != "")
    for span in prompt.spans:
        if span.kind in _WHOLE:
            mark(span.start, span.end, closed=True)
    curly = Ranges((span.start, span.end) for span in prompt.spans if span.kind is SpanKind.CHOICE)
    for token in prompt.tokens:
        runs_on = token.kind is SpanKind.COMMENT or (token.text in ("{", "}") and token.start not in curly)
        if runs_on or (token.text == "<" and _OPEN_NETWORK.match(source, token.start)):
            mark(token.start, token.end, closed=False)
    return [count > 0 for count in accumulate(depth[:-1])]
