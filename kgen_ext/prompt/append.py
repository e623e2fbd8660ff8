"""Finds where an addition may stand, and what must be written around it to leave every weight and step alone.

Refuses to know what is added. A place is safe in three readings at once: the source as it is, the source without
comments and networks, and each AND part by itself (whose open brackets are among those of the whole).

Makes a model's words literal for A1111, so that they have weight 1 and start nothing.

Refuses to judge the words; it only keeps them from being syntax. What becomes of what:

    ( ) [ ] \\ |     a backslash goes before (a bare bar would make the host give up on every edit of the prompt)
    < before word:  a space goes after, so that it is no network
    { } #           dropped: neither wildcards nor comments have an escape
    __              one underscore, so that it is no wildcard
    AND, BREAK and the region keywords as whole words: lower case
    line breaks, control characters, runs of white space: one space

Text that is escaped already stays as it is: escape(escape(x)) == escape(x).

Adds a model's words to the segments of a prompt without changing a byte, a weight or a step of the user's.

Refuses to judge what is added. Where an addition goes:

    last segment    at the very end (before the weight of an AND part). A comment is ended by a new line first, and
                    brackets that nothing closes are closed: they reach to the end of the prompt anyway, so closing
                    them right before the addition leaves every weight as it was and gives the addition weight 1.
    other segments  after their last tag or sentence. Where a bracket, an edit or a choice reaches over that place,
                    before whatever it is, if it begins in this segment; else inside brackets that can be closed before
                    the addition and opened again after it; else nowhere, and the segment is named in `skipped`.

Two things keep schedules: `[(])` before a closing `]` has no text and no weight, but balances with nothing, so the
closed bracket cannot become an edit; and a new line after a lone backslash keeps the host from reading an escape.
"""
from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kgen_ext.events import By, Piece
from kgen_ext.prompt.brackets import Bracket, read_brackets
from kgen_ext.prompt.edits import read_edits
from kgen_ext.prompt.lexer import blank
from kgen_ext.prompt.sentences import is_finished
from kgen_ext.prompt.spans import Prompt, Ranges, Segment, Span, SpanKind, render


def escape(text: str) -> str:
    """Return text as A1111 is to be given it.

    >>> escape("hatsune miku (cosplay), :( BREAK")
    'hatsune miku \\\\(cosplay\\\\), :\\\\( break'
    """
    text = re.sub(r"\\([()\[\]\\|])", r"\1", text)
    text = re.sub(r"[{}#]", "", text)
    text = re.sub(r"__+", "_", text)
    text = re.sub(r"\b(?:AND|BREAK|ADDCOMM|ADDCOL|ADDROW|ADDBASE|ADDP)\b", lambda match: match.group().lower(), text)
    text = re.sub(r"<(?=\w+:)", "< ", text)
    text = " ".join(re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", " ", text).split())
    return re.sub(r"([()\[\]\\|])", r"\\\1", text)


# No text, no weight, and unbalanced for the edit grammar: a bracket around it cannot be an edit or an alternation.
_SEAL = "[(])"
_MOST_REOPENED = 8


class InsertionPoint(NamedTuple):
    """Where an addition goes: `opening` comes before it and its separator, `closing` after it."""

    at: int
    opening: str = ""
    closing: str = ""


class InsertionPoints:
    """The places of one prompt; built once, asked for each segment."""

    def __init__(self, prompt: Prompt, source: str) -> None:
        self._tokens = prompt.tokens
        self._starts = [token.start for token in prompt.tokens]
        self._source = source
        self._bare = blank(prompt.tokens, (SpanKind.COMMENT, SpanKind.NETWORK))
        self._raw = read_brackets(source)
        self._stripped = read_brackets(self._bare) if self._bare != source else self._raw
        kept = (SpanKind.EDIT, SpanKind.ALTERNATION, SpanKind.CHOICE)
        whole = [(span.start, span.end) for span in prompt.spans if span.kind in kept]
        whole += [(edit.start, edit.stop) for edit in read_edits(source)[0]]
        hidden = (SpanKind.COMMENT, SpanKind.NETWORK)
        whole += [(token.start, token.end) for token in prompt.tokens if token.kind in hidden]
        bounds = [segment.start - 1 for segment in prompt.segments[1:]]
        self._wide = [one for one in self._raw if _holds_any(one, bounds)]
        self._wide_stripped = [one for one in self._stripped if _holds_any(one, bounds)]
        narrow = {(one.start, one.stop) for one in (*self._raw, *self._stripped)}
        narrow -= {(one.start, one.stop) for one in (*self._wide, *self._wide_stripped)}
        self._closed = Ranges([*whole, *narrow], join=False)
        self._composed = any(token.kind is SpanKind.AND for token in prompt.tokens)

    def at_end(self) -> InsertionPoint:
        """Return the place at the end of the prompt."""
        last = self._tokens[-1] if self._tokens else None
        line = "\n" if last and (last.kind is SpanKind.COMMENT or last.text == "\\") else ""
        open_raw = [one for one in self._raw if not one.closer]
        open_stripped = [one for one in self._stripped if not one.closer]
        rounds = sorted((_count(open_raw, square=False), _count(open_stripped, square=False)))
        squares = sorted((_count(open_raw, square=True), _count(open_stripped, square=True)))
        # What is open in one reading only comes last: in the other it closes nothing and is a character of text.
        closers = ")" * rounds[0] + "]" * squares[0] + ")" * (rounds[1] - rounds[0]) + "]" * (squares[1] - squares[0])
        first = min((one.start for one in (*open_raw, *open_stripped) if one.square), default=len(self._source))
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
        """Return where what reaches over `at` begins; None if nothing does that could be stepped out of."""
        around = self._closed.around(at)
        if around is not None:
            return around[0]
        item = _item_around(segment, at)
        if item is not None:
            return item.start
        wide = (one.start for one in (*self._wide, *self._wide_stripped) if _holds(one, at))
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
        around = [one for one in self._wide if _holds(one, at)]
        stripped = {one.start for one in self._wide_stripped if _holds(one, at)}
        if (
            {one.start for one in around} != stripped
            or len(around) > _MOST_REOPENED
            # In an AND part of its own a closer is text, and `:1.3)` is text nobody wants to read.
            or (self._composed and any(one.closer.startswith(":") for one in around))
        ):
            return None
        closers = "".join(one.closer or (")]"[one.square]) for one in around)
        openers = "".join("(["[one.square] for one in sorted(around, key=lambda one: one.start))
        first = min((one.start for one in around if one.square), default=end)
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
        # A space keeps a run of bare brackets away from an edit: the host's grammar is of two minds about those.
        return (" " if self._source[at - 1] in "])" else "") + _SEAL


def _count(brackets: list[Bracket], *, square: bool) -> int:
    return sum(one.square == square for one in brackets)


def _holds(bracket: Bracket, at: int) -> bool:
    return bracket.start < at < bracket.stop


def _holds_any(bracket: Bracket, places: list[int]) -> bool:
    i = bisect_left(places, bracket.start)
    return i < len(places) and places[i] < bracket.stop


def _item_around(segment: Segment, at: int) -> Span | None:
    i = bisect_left(segment.items, at, key=lambda item: item.start) - 1
    return segment.items[i] if i >= 0 and at < segment.items[i].end else None


_COMMAS = (",", "，", "、")


@dataclass(frozen=True, slots=True)
class Appended:
    """The pieces, joined the new prompt, the user's joined the source; and the segments left without their addition."""

    pieces: tuple[Piece, ...]
    skipped: tuple[int, ...] = ()


def append(prompt: Prompt, additions: Sequence[str]) -> Appended:
    """Add one text to each segment, "" for none; text is escaped here.

    >>> "".join(piece.text for piece in append(parse("cat BREAK (dog"), ["hat", "fox (animal)"]).pieces)
    'cat, hat BREAK (dog), fox \\\\(animal\\\\)'
    """
    if len(additions) > len(prompt.segments):
        raise ValueError(f"{len(additions)} additions for {len(prompt.segments)} segments")
    source = render(prompt)
    places = InsertionPoints(prompt, source)
    shown = blank(prompt.tokens, (SpanKind.COMMENT,))
    unclosed = _unclosed_network(prompt, source)
    pieces: list[Piece] = []
    skipped: list[int] = []
    done = 0
    for i, addition in enumerate(additions):
        words = escape(addition).strip(" ,")
        segment = prompt.segments[i]
        at_end = i == len(prompt.segments) - 1 and segment.tail == segment.end
        place = (places.at_end() if at_end else places.inside(segment)) if words else None
        if place is None:
            skipped += [i] if words else []
            continue
        if place.at > unclosed:
            words = words.replace(">", "")
        text = place.opening + _before(shown, segment, place) + words + _after(shown, segment, place, words)
        if place.at > done:
            pieces.append(Piece(source[done : place.at], By.USER))
        pieces.append(Piece(text, By.MODEL))
        done = place.at
    if done < len(source):
        pieces.append(Piece(source[done:], By.USER))
    return Appended(tuple(pieces), tuple(skipped))


def _before(shown: str, segment: Segment, place: InsertionPoint) -> str:
    """Return the separator between the user's text and the addition."""
    head = shown[segment.start : place.at]
    text = head.rstrip()
    spaced = bool(place.opening) or text != head
    if place.opening.strip():
        return ", "
    if not text:
        return "" if spaced or segment.start == 0 else " "
    last = segment.items[-1] if segment.items else None
    sentence = last is not None and last.kind is SpanKind.PROSE and last.end <= place.at and is_finished(text)
    if text.endswith(_COMMAS) or sentence:
        return "" if spaced else " "
    return ", "


def _after(shown: str, segment: Segment, place: InsertionPoint, words: str) -> str:
    """Return what stands between the addition and the user's text that follows, if any."""
    # `:3` at the end of an AND part, or of a prompt, would be its weight.
    comma = "," if re.search(r":\s*[-+]?[.\d]+\Z", words) else ""
    if place.closing:
        return comma + " " + place.closing
    if shown[place.at : segment.tail].strip() in ("", "\\"):
        following = shown[place.at : place.at + 1]
        return comma + ("" if not following or following.isspace() or following == ":" else " ")
    return "" if shown[place.at :].lstrip().startswith(_COMMAS) else ", "


def _unclosed_network(prompt: Prompt, source: str) -> int:
    """Return where the first `<name:` without its `>` stands: a `>` after it would make a network of all between."""
    head = re.compile(r"<\w+:")
    starts = (token.start for token in prompt.tokens if token.text == "<" and head.match(source, token.start))
    return next(starts, len(source))
