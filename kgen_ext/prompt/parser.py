"""Reads a prompt into spans: what is a tag, a sentence, a weight, an edit, a divider between subjects.

Refuses to change anything and to know what a tag means. A prompt is read as A1111 reads it once comments and
networks are gone; `{..}` with several options and `__x__` are unresolved and make the item they stand in OPAQUE.

    prompt     segment (divider segment)*    divider: AND, BREAK, a region keyword, [SEP]; not in an edit, [a|b] or {..}
    segment    item (separator item)*        separator: comma, newline, [PROMPT]; brackets are looked through
    item       its text without brackets, weights, networks and comments; of an edit the branch that rules for most of
               20 steps, of an alternation the first (the other where that one is empty); `{x}` with one option is x
    AND part   text [: number]               the number weighs the part; read only where there is an AND, as one of
                                             `1girl, smile:1.2` is a slip of the pen
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from kgen_ext.prompt.brackets import Bracket, read_brackets
from kgen_ext.prompt.edits import Edit, read_edits
from kgen_ext.prompt.items import Weights, read_items
from kgen_ext.prompt.lexer import blank, tokenize
from kgen_ext.prompt.spans import DIVIDERS, Prompt, Ranges, Segment, Span, SpanKind, Token

_LEAVES = DIVIDERS | {SpanKind.NETWORK, SpanKind.WILDCARD, SpanKind.COMMENT, SpanKind.SLOT, SpanKind.EMOTICON}
_BLANKED = frozenset((SpanKind.NETWORK, SpanKind.COMMENT, SpanKind.SLOT, SpanKind.SEP))
_USUAL_STEPS = 20


def parse(prompt: str) -> Prompt:
    """Read any string; nothing is an error. Time grows with the length, not with the depth."""
    tokens = tokenize(prompt)
    whole, several = _choices(tokens)
    plain = blank_ranges(blank(tokens, _BLANKED), several)
    brackets = read_brackets(plain)
    edits, _ = read_edits(plain)
    dividers = _dividers(tokens, Ranges([*whole, *((edit.start, edit.stop) for edit in edits)]))
    bounds = _bounds(tokens, dividers, plain)
    faces = {place for token in tokens if token.kind is SpanKind.EMOTICON for place in range(token.start, token.end)}
    hidden = Ranges(
        [
            *_syntax(plain, brackets, faces),
            *_other_branches(edits),
            *((place, place + 1) for one in set(whole) - set(several) for place in (one[0], one[1] - 1)),
            *((tail, end) for _, _, _, end, tail in bounds),
        ]
    )
    opaque, weights = Ranges(several), Weights(brackets)
    segments = tuple(
        Segment(start, end, tail, read_items(tokens[first:last], hidden=hidden, opaque=opaque, weights=weights))
        for first, last, start, end, tail in bounds
    )
    spans = [item for segment in segments for item in segment.items]
    spans += [
        Span(SpanKind.AND_WEIGHT, one.tail, one.end, _and_weight(plain, one)) for one in segments if one.tail < one.end
    ]
    spans += [Span(SpanKind.CHOICE, *one) for one in whole]
    starts = {edit.start for edit in edits}
    for edit in edits:
        spans.append(Span(SpanKind.ALTERNATION if edit.when is None else SpanKind.EDIT, edit.start, edit.stop))
    for one in brackets:
        if one.start not in starts and one.start not in faces:
            kind = SpanKind.DEEMPHASIS if one.square else SpanKind.EMPHASIS
            spans.append(Span(kind, one.start, one.stop, one.factor))
    spans += [Span(token.kind, token.start, token.end) for token in tokens if token.kind in _LEAVES]
    return Prompt(tuple(tokens), tuple(sorted(spans, key=lambda span: (span.start, -span.end))), segments)


def blank_ranges(text: str, ranges: Iterable[tuple[int, int]]) -> str:
    """Return text with these ranges (apart or nested) turned to spaces; every index stays valid."""
    out: list[str] = []
    at = 0
    for start, stop in sorted(ranges):
        if stop > at:
            out += [text[at : max(at, start)], " " * (stop - max(at, start))]
            at = stop
    return "".join(out) + text[at:]


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


def _bounds(tokens: Sequence[Token], dividers: list[int], plain: str) -> list[tuple[int, int, int, int, int]]:
    """Return (first token, last token, start, end, tail) of each segment."""
    bounds: list[tuple[int, int, int, int, int]] = []
    composed = any(tokens[i].kind is SpanKind.AND for i in dividers)
    first = start = 0
    for last in [*dividers, len(tokens)]:
        stop = tokens[last] if last < len(tokens) else None
        end = stop.start if stop else len(plain)
        weighs = composed and (stop is None or stop.kind in (SpanKind.AND, SpanKind.SEP))
        bounds.append((first, last, start, end, _tail(plain, start, end) if weighs else end))
        first, start = last + 1, stop.end if stop else end
    return bounds


def _tail(plain: str, start: int, end: int) -> int:
    """Return where the weight of an AND part begins, white space before it included."""
    colon = plain.rfind(":", start, end)
    if colon < 0 or not re.fullmatch(r"\s*[-+]?(?:\d+\.?|\d*\.\d+)\s*", plain[colon + 1 : end]):
        return end
    return start + len(plain[start:colon].rstrip())


def _and_weight(plain: str, segment: Segment) -> float:
    return float(plain[segment.tail : segment.end].strip().lstrip(":"))


def _syntax(plain: str, brackets: Iterable[Bracket], faces: set[int]) -> Iterable[tuple[int, int]]:
    for one in brackets:
        if one.closer == ")" and plain[max(0, one.start - 1)] == "_":
            continue  # hatsune_miku_(cosplay), not escaped: a weight to the host, but still that tag
        if one.start not in faces:
            yield one.start, one.start + 1
        elif plain[one.stop - 2] in ":;=":
            continue  # >:( and later :) are two faces, though the host takes them for a pair of brackets
        if one.closer:
            yield one.stop - len(one.closer), one.stop


def _other_branches(edits: Iterable[Edit]) -> Iterable[tuple[int, int]]:
    for edit in edits:
        branches = list(edit.branches)
        if edit.when is not None and edit.last_step(_USUAL_STEPS) * 2 < _USUAL_STEPS:
            branches.reverse()
        start, stop = next((one for one in branches if one[0] < one[1]), branches[0])
        yield edit.start, start
        yield stop, edit.stop
