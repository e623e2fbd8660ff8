"""Appending: adds a model's words to the segments of a prompt without changing a byte, weight or step of the user's.

    last segment    at the very end (before the weight of an AND part). A new line first ends a comment; brackets that
                    nothing closes reach to the end of the prompt anyway, so closing them right before the addition
                    leaves every weight as it was and gives the addition weight 1.
    other segments  after their last tag or sentence. Where a bracket, an edit or a choice reaches over that place,
                    before it, if it begins in this segment; else inside brackets that can be closed before the
                    addition and opened again after it; else nowhere, and `skipped` names the segment.

A place is safe in three readings at once: the source as it is, the source without comments and networks, and each AND
part by itself (whose open brackets are among those of the whole). Two things preserve schedules: `[(])` before a
closing `]` has no text and no weight, but is unbalanced, so the closed bracket cannot become an edit; and a new line
after a lone backslash keeps the host from reading an escape.

The model's words are made literal (`escape`), so that they have weight 1 and start nothing:

    ( ) [ ] \\ |     get a backslash (with a bare bar the host would give up on every edit of the prompt)
    < before word:  gets a space behind it, so that it is no network
    { } #           are removed: neither wildcards nor comments have an escape
    __              becomes one underscore, so that it is no wildcard
    AND and AND_PERP, BREAK and the region keywords as whole words: lower case
    line breaks, control characters, runs of white space: one space

Escaped text stays as it is: escape(escape(x)) == escape(x).
"""
from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Union

from kgen_ext.events import By, Piece
from kgen_ext.prompt.brackets import Bracket, read_brackets
from kgen_ext.prompt.edits import read_edits
from kgen_ext.prompt.lexer import AND, blank, blank_ranges
from kgen_ext.prompt.marked import MarkedPart
from kgen_ext.prompt.sentences import is_finished
from kgen_ext.prompt.spans import Prompt, Ranges, Segment, Span, SpanKind, render

# No text, no weight, and unbalanced for the edit grammar: a bracket around it cannot be an edit or an alternation.
_SEAL = "[(])"
_MAX_REOPENED = 8
# More brackets over dividers than this are not looked through for each segment; nothing is added inside them.
_MAX_WIDE = 256
_COMMAS = (",", "，", "、")


@dataclass(frozen=True, slots=True)
class Appended:
    """The pieces of the new prompt, the user's among them its source; `skipped`: segments left without an addition."""

    pieces: tuple[Piece, ...]
    skipped: tuple[int, ...] = ()


Addition = Union[str, Sequence[Piece]]


def append(prompt: Prompt, additions: Sequence[Addition], parts: Sequence[MarkedPart] = ()) -> Appended:
    """Add to each segment one text of the model's, which is escaped here, or pieces, which are literal already.

    An empty addition adds nothing. parts: add to each of these, and not to each segment.

    >>> "".join(piece.text for piece in append(parse("cat BREAK (dog"), ["hat", "fox (animal)"]).pieces)
    'cat, hat BREAK (dog), fox \\\\(animal\\\\)'
    """
    places = [part.span for part in parts] or list(prompt.segments)
    wholes = [prompt.segments[part.segment] for part in parts] or places
    if len(additions) > len(places):
        raise ValueError(f"{len(additions)} additions for {len(places)} segments")
    source = render(prompt)
    points = InsertionPoints(prompt, source, cuts=[part.span.end for part in parts])
    shown = blank(prompt.tokens, (SpanKind.COMMENT,))
    unclosed = _unclosed_network(prompt, source)
    pieces: list[Piece] = []
    skipped: list[int] = []
    done = 0
    for i, addition in enumerate(additions):
        words = _words(addition)
        segment, whole = places[i], wholes[i]
        at_end = segment.tail == segment.end == whole.end and whole is prompt.segments[-1]
        point = (points.at_end() if at_end else points.inside(segment)) if words else None
        if point is None:
            skipped += [i] if words else []
            continue
        if point.at > unclosed:
            words = [Piece(word.text.replace(">", ""), word.by) if word.by is By.MODEL else word for word in words]
        if point.at > done:
            pieces.append(Piece(source[done : point.at], By.USER))
        opening = point.opening + _before(shown, segment, whole, point)
        closing = _after(shown, whole, point, words[-1].text if words[-1].by is By.MODEL else "")
        pieces += _merge([Piece(opening, By.MODEL), *words, Piece(closing, By.MODEL)])
        done = point.at
    if done < len(source):
        pieces.append(Piece(source[done:], By.USER))
    return Appended(tuple(pieces), tuple(skipped))


def _words(addition: Addition) -> list[Piece]:
    """Return the pieces of an addition, without the model's commas and spaces at both ends."""
    pieces = [Piece(escape(addition), By.MODEL)] if isinstance(addition, str) else list(addition)
    for end, strip in ((0, str.lstrip), (-1, str.rstrip)):
        while pieces and pieces[end].by is By.MODEL:
            text = strip(pieces[end].text, " ,")
            if text:
                pieces[end] = Piece(text, By.MODEL)
                break
            del pieces[end]
    return pieces


def _merge(pieces: Iterable[Piece]) -> list[Piece]:
    """Join neighbouring pieces of the model's; empty ones go."""
    merged: list[Piece] = []
    for piece in pieces:
        if merged and merged[-1].by is piece.by is By.MODEL:
            merged[-1] = Piece(merged[-1].text + piece.text, By.MODEL)
        elif piece.text:
            merged.append(piece)
    return merged


def escape(text: str) -> str:
    """Return text that A1111 reads as these very words.

    >>> escape("hatsune miku (cosplay), :( BREAK")
    'hatsune miku \\\\(cosplay\\\\), :\\\\( break'
    """
    text = re.sub(r"\\([()\[\]\\|])", r"\1", text)
    text = re.sub(r"[{}#]", "", text)
    text = re.sub(r"__+", "_", text)
    text = re.sub(rf"\b(?:{AND}|BREAK|ADDCOMM|ADDCOL|ADDROW|ADDBASE|ADDP)\b", lambda match: match.group().lower(), text)
    text = re.sub(r"<(?=\w+:)", "< ", text)
    text = " ".join(re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", " ", text).split())
    return re.sub(r"([()\[\]\\|])", r"\\\1", text)


def _before(shown: str, segment: Segment, whole: Segment, point: InsertionPoint) -> str:
    """Return the separator between the user's text and the addition. whole: the segment that this is a part of."""
    head = shown[whole.start : point.at]
    text = head.rstrip()
    spaced = bool(point.opening) or text != head
    if point.opening.strip():
        return ", "
    if not text:
        return "" if spaced or whole.start == 0 else " "
    last = segment.items[-1] if segment.items else None
    sentence = last is not None and last.kind is SpanKind.PROSE and last.end <= point.at and is_finished(text)
    if text.endswith(_COMMAS) or sentence:
        return "" if spaced else " "
    return ", "


def _after(shown: str, segment: Segment, point: InsertionPoint, words: str) -> str:
    """Return the separator between the addition, which ends in `words`, and the user's text that follows."""
    # `:3` at the end of an AND part, or of a prompt, would be its weight.
    comma = "," if re.search(r":\s*[-+]?[.\d]+\Z", words) else ""
    if point.closing:
        return comma + " " + point.closing
    if shown[point.at : segment.tail].strip() in ("", "\\"):
        following = shown[point.at : point.at + 1]
        return comma + ("" if not following or following.isspace() or following == ":" else " ")
    return "" if shown[point.at :].lstrip().startswith(_COMMAS) else ", "


def _unclosed_network(prompt: Prompt, source: str) -> int:
    """Return the index of the first `<name:` without its `>`: a `>` behind it would make a network of all between."""
    head = re.compile(r"<\w+:")
    starts = (token.start for token in prompt.tokens if token.text == "<" and head.match(source, token.start))
    return next(starts, len(source))


class InsertionPoint(NamedTuple):
    """Where an addition goes: `opening` comes before it and its separator, `closing` after it."""

    at: int
    opening: str = ""
    closing: str = ""


class InsertionPoints:
    """The safe places of one prompt."""

    def __init__(self, prompt: Prompt, source: str, *, cuts: Iterable[int] = ()) -> None:
        """cuts: further places between two characters that something is added at, or before."""
        self._tokens = prompt.tokens
        self._starts = [token.start for token in prompt.tokens]
        groups = [(span.start, span.end) for span in prompt.spans if span.kind is SpanKind.GROUP]
        source = blank_ranges(source, groups) if groups else source  # their brackets change no weight
        self._source = source
        self._bare = blank(prompt.tokens, (SpanKind.COMMENT, SpanKind.NETWORK))
        self._bare = blank_ranges(self._bare, groups) if groups else self._bare
        self._raw = read_brackets(source)
        self._stripped = read_brackets(self._bare) if self._bare != source else self._raw
        kept = (SpanKind.EDIT, SpanKind.ALTERNATION, SpanKind.CHOICE)
        whole = [(span.start, span.end) for span in prompt.spans if span.kind in kept]
        whole += [(edit.start, edit.stop) for edit in read_edits(source)[0]]
        hidden = (SpanKind.COMMENT, SpanKind.NETWORK)
        whole += [(token.start, token.end) for token in prompt.tokens if token.kind in hidden]
        bounds = sorted([*(segment.start - 1 for segment in prompt.segments[1:]), *(cut - 1 for cut in cuts)])
        self._wide = [bracket for bracket in self._raw if _holds_any(bracket, bounds)]
        self._wide_stripped = [bracket for bracket in self._stripped if _holds_any(bracket, bounds)]
        if len(self._wide) > _MAX_WIDE or len(self._wide_stripped) > _MAX_WIDE:
            self._wide, self._wide_stripped = [], []
        narrow = {(bracket.start, bracket.stop) for bracket in (*self._raw, *self._stripped)}
        narrow -= {(bracket.start, bracket.stop) for bracket in (*self._wide, *self._wide_stripped)}
        self._closed = Ranges([*whole, *narrow], join=False)
        self._composed = any(token.kind is SpanKind.AND for token in prompt.tokens)

    def at_end(self) -> InsertionPoint:
        """Return the place at the end of the prompt."""
        last = self._tokens[-1] if self._tokens else None
        line = "\n" if last and (last.kind is SpanKind.COMMENT or last.text == "\\") else ""
        open_raw = [bracket for bracket in self._raw if not bracket.closer]
        open_stripped = [bracket for bracket in self._stripped if not bracket.closer]
        rounds = sorted((_count(open_raw, square=False), _count(open_stripped, square=False)))
        squares = sorted((_count(open_raw, square=True), _count(open_stripped, square=True)))
        # What only one reading leaves open is closed last: in the other it closes nothing and is text.
        closers = ")" * rounds[0] + "]" * squares[0] + ")" * (rounds[1] - rounds[0]) + "]" * (squares[1] - squares[0])
        squared = (bracket.start for bracket in (*open_raw, *open_stripped) if bracket.square)
        first = min(squared, default=len(self._source))
        return InsertionPoint(len(self._source), line + self._seal(len(self._source), closers, since=first) + closers)

    def inside(self, segment: Segment) -> InsertionPoint | None:
        """Return the place after the segment's last tag or sentence, or near it; None where there is none."""
        at: int | None = self._last_seen(segment)
        while at is not None:
            before = self._earlier(segment, at)
            if before is None:
                return self._reopened(at)
            at = before if before >= segment.start else None
        return None

    def _earlier(self, segment: Segment, at: int) -> int | None:
        """Return the start of what reaches over `at`; None where only brackets do that can be reopened behind it."""
        around = self._closed.around(at)
        if around is not None:
            return around[0]
        item = _item_around(segment, at)
        if item is not None:
            return item.start
        wide = (bracket.start for bracket in (*self._wide, *self._wide_stripped) if _holds(bracket, at))
        return min((start for start in wide if start >= segment.start), default=None)

    def _last_seen(self, segment: Segment) -> int:
        """Return the end of the last token before the tail that is neither space, comment nor a lone backslash."""
        i = bisect_left(self._starts, segment.tail) - 1
        while i >= 0 and self._starts[i] >= segment.start:
            token = self._tokens[i]
            if token.kind not in (SpanKind.SPACE, SpanKind.NEWLINE, SpanKind.COMMENT) and token.text != "\\":
                # A weight can begin inside an escape: the host's `\\:1.2` weighs an AND part all the same.
                return token.end if token.end <= segment.tail else token.start
            i -= 1
        return segment.start

    def _reopened(self, at: int) -> InsertionPoint | None:
        """Close the brackets around `at`, if any, as the user does further on, and open them again after it."""
        end = len(self._source)
        around = [bracket for bracket in self._wide if _holds(bracket, at)]
        stripped = {bracket.start for bracket in self._wide_stripped if _holds(bracket, at)}
        if (
            {bracket.start for bracket in around} != stripped
            or len(around) > _MAX_REOPENED
            # In an AND part of its own a closer is text, and nobody wants `:1.3)` in their text.
            or (self._composed and any(bracket.closer.startswith(":") for bracket in around))
        ):
            return None
        closers = "".join(bracket.closer or (")]"[bracket.square]) for bracket in around)
        openers = "".join("(["[bracket.square] for bracket in sorted(around, key=lambda bracket: bracket.start))
        first = min((bracket.start for bracket in around if bracket.square), default=end)
        seal = self._seal(at, closers, since=first)
        return InsertionPoint(at, seal + closers, openers + (" " + _SEAL if "[" in openers and seal else ""))

    def _seal(self, at: int, closers: str, *, since: int) -> str:
        """Return what keeps closers from making an edit of `source[since:at]`, or a weight of its last number."""
        makes_edit = "]" in closers and re.search(r"[:|]", self._source[since:])
        makes_weight = closers[:1] == ")" and any(
            re.search(r":\s*[+-]?[.\d]+\Z", text[max(0, at - 400) : at].rstrip()) for text in (self._source, self._bare)
        )
        if not (makes_edit or makes_weight):
            return ""
        # A space keeps a run of bare brackets away from an edit: the host's grammar is ambiguous there.
        return (" " if self._source[at - 1] in "])" else "") + _SEAL


def _count(brackets: list[Bracket], *, square: bool) -> int:
    return sum(bracket.square == square for bracket in brackets)


def _holds(bracket: Bracket, at: int) -> bool:
    return bracket.start < at < bracket.stop


def _holds_any(bracket: Bracket, places: list[int]) -> bool:
    i = bisect_left(places, bracket.start)
    return i < len(places) and places[i] < bracket.stop


def _item_around(segment: Segment, at: int) -> Span | None:
    i = bisect_left(segment.items, at, key=lambda item: item.start) - 1
    return segment.items[i] if i >= 0 and at < segment.items[i].end else None
