"""Prompt parser: finds the tags, sentences, weights, edits and segments of a prompt.

A prompt is read as A1111 reads it once comments and networks are gone. `{..}` with several options and `__x__` are
unresolved and make their item OPAQUE.

    prompt     segment (divider segment)*    divider: AND, BREAK, a region keyword, [SEP]; not in an edit, [a|b] or {..}
    segment    item (separator item)*        separator: comma, newline, [PROMPT]; brackets are looked through
    item       its text without brackets, weights, networks and comments; of an edit the branch in effect for most of
               20 steps, of an alternation the first (the other where that is empty); `{x}` with one option is x
    AND part   text [: number]               the number weighs the part; read only in prompts with an AND, since in
                                             `1girl, smile:1.2` it is a typing mistake
    group      AND_PERP [ AND part .. ] [: number]   brackets of Neutral Prompt: they begin a part, have an AND inside
                                             and change no weight; read only in prompts with one of its words
"""
from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence

from kgen_ext.prompt.brackets import Bracket, read_brackets
from kgen_ext.prompt.edits import Edit, read_edits
from kgen_ext.prompt.foreign import read_foreign, read_wide_brackets
from kgen_ext.prompt.items import Reading, Weights, read_items
from kgen_ext.prompt.lexer import blank, blank_ranges, tokenize
from kgen_ext.prompt.spans import DIVIDERS, Prompt, Ranges, Segment, Span, SpanKind, Token

_LEAVES = DIVIDERS | {SpanKind.NETWORK, SpanKind.WILDCARD, SpanKind.COMMENT, SpanKind.SLOT, SpanKind.EMOTICON}
_UNREAD = frozenset((SpanKind.SPACE, SpanKind.NEWLINE, SpanKind.COMMENT, SpanKind.NETWORK))
_BLANKED = frozenset((SpanKind.NETWORK, SpanKind.COMMENT, SpanKind.SLOT, SpanKind.SEP))
# What no bracket of a single item has in it.
_BREAKS = DIVIDERS | {SpanKind.NEWLINE, SpanKind.SLOT, SpanKind.WILDCARD, SpanKind.BAR}
_USUAL_STEPS = 20
_WEIGHT = 64  # characters that a weight inside a group has at most


def parse(prompt: str) -> Prompt:
    """Read any string; no string is an error. Time grows with the length, not with the nesting."""
    tokens = tokenize(prompt)
    whole, several = _choices(tokens)
    groups = _groups(tokens)
    marks = [(group.start, group.end) for group in groups]
    plain = blank_ranges(blank(tokens, _BLANKED), [*several, *marks])
    brackets = read_brackets(plain)
    edits, _ = read_edits(plain)
    dividers = _dividers(tokens, Ranges([*whole, *((edit.start, edit.stop) for edit in edits)]))
    bounds = _bounds(tokens, dividers, plain, sorted(start for start, _ in marks))
    faces = {place for token in tokens if token.kind is SpanKind.EMOTICON for place in range(token.start, token.end)}
    foreign, unwanted = read_foreign(blank_ranges(plain, ((edit.start, edit.stop) for edit in edits)))
    starts, wide = {edit.start for edit in edits}, read_wide_brackets(plain)
    own = [bracket for bracket in brackets if bracket.start not in starts | faces]
    enclosing, cuts = _enclosing(tokens, [*own, *wide])
    wide = [bracket for bracket in wide if bracket.stop in cuts]  # around one item, it may be part of a name
    cuts.update(start for start, _ in foreign)
    hidden = Ranges(
        [
            *foreign,
            *_syntax(plain, wide, set()),
            *_syntax(plain, brackets, faces),
            *_other_branches(edits),
            *((place, place + 1) for start, stop in set(whole) - set(several) for place in (start, stop - 1)),
            *((tail, end) for _, _, _, end, tail in bounds),
            *marks,
        ]
    )
    reading = Reading(hidden, Ranges(several), enclosing, cuts, Ranges(unwanted), Weights(brackets))
    segments = tuple(
        Segment(start, end, tail, read_items(tokens[first:last], reading)) for first, last, start, end, tail in bounds
    )
    spans = [item for segment in segments for item in segment.items]
    for segment in segments:
        if (weight := _and_weight(plain, segment)) is not None:
            spans.append(Span(SpanKind.AND_WEIGHT, segment.tail, segment.end, weight))
    spans += groups
    spans += [Span(SpanKind.CHOICE, start, stop) for start, stop in whole]
    for edit in edits:
        spans.append(Span(SpanKind.ALTERNATION if edit.when is None else SpanKind.EDIT, edit.start, edit.stop))
    for bracket in brackets:
        if bracket.start not in starts and bracket.start not in faces:
            kind = SpanKind.DEEMPHASIS if bracket.square else SpanKind.EMPHASIS
            spans.append(Span(kind, bracket.start, bracket.stop, bracket.factor))
    spans += [Span(token.kind, token.start, token.end) for token in tokens if token.kind in _LEAVES]
    return Prompt(tuple(tokens), tuple(sorted(spans, key=lambda span: (span.start, -span.end))), segments)


def _choices(tokens: Sequence[Token]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return the ranges of all balanced `{..}`, and of those with something to resolve: `|`, `$$` or a `$` before."""
    whole: list[tuple[int, int]] = []
    several: list[tuple[int, int]] = []
    stack: list[list[int]] = []
    before = ""
    for token in tokens:
        if token.kind is SpanKind.OPEN and token.text == "{":
            stack.append([token.start, before.endswith("$")])
        elif stack and (token.kind is SpanKind.BAR or "$$" in token.text):
            stack[-1][1] = True
        elif stack and token.kind is SpanKind.CLOSE and token.text == "}":
            start, open_ended = stack.pop()
            whole.append((start, token.end))
            if open_ended:
                several.append((start, token.end))
        before = token.text
    return whole, several


def _dividers(tokens: Sequence[Token], kept: Ranges) -> list[int]:
    return [i for i, token in enumerate(tokens) if token.kind in DIVIDERS and token.start not in kept]


def _groups(tokens: Sequence[Token]) -> list[Span]:
    """Return the brackets of Neutral Prompt's groups; a group that nothing closes has one."""
    if not any(token.kind is SpanKind.AND and token.text != "AND" for token in tokens):
        return []
    found: list[Span] = []
    opened: list[tuple[int, bool]] = []  # start, and whether a part begins there
    joined = [0]  # by depth, how many ANDs are inside
    begins = True
    for token in tokens:
        if token.kind in _UNREAD:
            continue
        opens = token.kind is SpanKind.OPEN and token.text == "["
        if opens:
            opened.append((token.start, begins))
            joined.append(0)
        elif token.kind is SpanKind.CLOSE and token.text == "]" and opened:
            found += _group(opened, joined, [Span(SpanKind.GROUP, token.start, token.end)])
        elif token.kind is SpanKind.AND:
            joined[-1] += 1
        begins = token.kind is SpanKind.AND or (begins and opens)
    while opened:
        found += _group(opened, joined, [])
    return found


def _group(opened: list[tuple[int, bool]], joined: list[int], closer: list[Span]) -> list[Span]:
    start, begins = opened.pop()
    inside = joined.pop()
    joined[-1] += inside
    return [Span(SpanKind.GROUP, start, start + 1), *closer] if begins and inside else []


def _bounds(
    tokens: Sequence[Token], dividers: list[int], plain: str, groups: Sequence[int]
) -> list[tuple[int, int, int, int, int]]:
    """Return (first token, last token, start, end, tail) of each segment. groups: where their brackets are."""
    bounds: list[tuple[int, int, int, int, int]] = []
    composed = any(tokens[i].kind is SpanKind.AND for i in dividers)
    first = start = 0
    for last in [*dividers, len(tokens)]:
        stop = tokens[last] if last < len(tokens) else None
        end = stop.start if stop else len(plain)
        weighs = composed and (stop is None or stop.kind in (SpanKind.AND, SpanKind.SEP))
        bounds.append((first, last, start, end, _tail(plain, start, end, groups, weighs=weighs)))
        first, start = last + 1, stop.end if stop else end
    return bounds


def _tail(plain: str, start: int, end: int, groups: Sequence[int], *, weighs: bool) -> int:
    """Return where the weight of an AND part begins, or the end of its group, white space before it included."""
    at = _before_weight(plain, start, end) if weighs else end
    while True:
        stripped = at
        while stripped > start and plain[stripped - 1].isspace():
            stripped -= 1
        i = bisect_left(groups, stripped)
        if i == len(groups) or groups[i] >= at:
            return end if at == end else stripped
        at = _before_weight(plain, max(start, stripped - _WEIGHT), stripped)


def _before_weight(plain: str, start: int, end: int) -> int:
    """Return the colon of a weight that ends there, or `end`."""
    colon = plain.rfind(":", start, end)
    weighs = colon >= 0 and re.fullmatch(r"\s*[-+]?(?:\d+\.?|\d*\.\d+)\s*", plain[colon + 1 : end])
    return colon if weighs else end


def _and_weight(plain: str, segment: Segment) -> float | None:
    found = re.match(r"\s*:\s*([-+]?[\d.]+)", plain[segment.tail : segment.end])
    return float(found[1]) if found else None


def _enclosing(tokens: Sequence[Token], brackets: Iterable[Bracket]) -> tuple[dict[int, int], set[int]]:
    """Return start and stop of the brackets that hold whole words of one line, and the stops of those with a comma."""
    commas = [token.start for token in tokens if token.kind is SpanKind.COMMA]
    breaks = [token.start for token in tokens if token.kind in _BREAKS]
    found: dict[int, int] = {}
    cuts: set[int] = set()
    for bracket in brackets:
        if bracket.closer and not bracket.square and not _any_within(breaks, bracket):
            found[bracket.start] = bracket.stop
            if _any_within(commas, bracket):
                cuts.add(bracket.stop)
    return found, cuts


def _any_within(places: Sequence[int], bracket: Bracket) -> bool:
    i = bisect_left(places, bracket.start)
    return i < len(places) and places[i] < bracket.stop


def _syntax(plain: str, brackets: Iterable[Bracket], faces: set[int]) -> Iterable[tuple[int, int]]:
    """Yield the ranges of bracket characters and their weights, which are no part of any item."""
    for bracket in brackets:
        if bracket.closer == ")" and plain[max(0, bracket.start - 1)] == "_":
            continue  # hatsune_miku_(cosplay), not escaped: A1111 reads a weight, but it is still that tag
        if bracket.start not in faces:
            yield bracket.start, bracket.start + 1
        elif plain[bracket.stop - 2] in ":;=":
            continue  # >:( and a later :) are two faces, though A1111 pairs their brackets
        if bracket.closer:
            yield bracket.stop - len(bracket.closer), bracket.stop


def _other_branches(edits: Iterable[Edit]) -> Iterable[tuple[int, int]]:
    """Yield the ranges of edits and alternations outside the branch that is read."""
    for edit in edits:
        branches = list(edit.branches)
        if edit.when is not None and edit.last_step(_USUAL_STEPS) * 2 < _USUAL_STEPS:
            branches.reverse()
        start, stop = next((branch for branch in branches if branch[0] < branch[1]), branches[0])
        yield edit.start, start
        yield stop, edit.stop
