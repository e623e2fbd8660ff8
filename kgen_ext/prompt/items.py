"""Gathers tokens into items: tags, sentences, and what holds an unresolved wildcard.

Refuses to know how brackets and edits are read; it is told which ranges of the source are hidden and opaque.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence

from kgen_ext.prompt.brackets import Bracket
from kgen_ext.prompt.ranges import Ranges
from kgen_ext.prompt.sentences import is_finished
from kgen_ext.prompt.spans import Kind, Span, Token
from kgen_ext.prompt.words import is_prose

_SEPARATORS = frozenset((Kind.COMMA, Kind.NEWLINE, Kind.SLOT))
_UNSEEN = frozenset((Kind.NETWORK, Kind.COMMENT))
_SENTENCE_ITEMS = 12  # commas cut a sentence into at most so many


class Weights:
    """The factor A1111 gives to the text at a place, for places asked in rising order."""

    __slots__ = ("_opens", "_closes", "_i", "_j", "_round", "_square")

    def __init__(self, brackets: Iterable[Bracket]) -> None:
        listed = list(brackets)
        self._opens = sorted((one.start, one.square, one.factor) for one in listed)
        self._closes = sorted((one.stop, one.square) for one in listed)
        self._i = self._j = 0
        self._round, self._square = [1.0], [1.0]

    def at(self, place: int) -> float:
        """Return the product of the brackets around the place."""
        opens = self._opens
        while self._i < len(opens) and opens[self._i][0] <= place:
            start, square, factor = opens[self._i]
            self._close(start)
            stack = self._square if square else self._round
            stack.append(stack[-1] * factor)
            self._i += 1
        self._close(place)
        return self._round[-1] * self._square[-1]

    def _close(self, place: int) -> None:
        while self._j < len(self._closes) and self._closes[self._j][0] <= place:
            (self._square if self._closes[self._j][1] else self._round).pop()
            self._j += 1


def read_items(tokens: Sequence[Token], *, hidden: Ranges, opaque: Ranges, weights: Weights) -> tuple[Span, ...]:
    """Return the TAG, PROSE and OPAQUE spans of one segment's tokens, in order."""
    items: list[Span] = []
    lines: list[int] = []
    run: list[Token] = []
    line = 0
    tainted = False
    for token in tokens:
        if token.kind in _UNSEEN or token.start in hidden:
            continue
        if token.kind is Kind.WILDCARD or token.start in opaque:
            tainted = True
            run.append(token)
        elif token.kind in _SEPARATORS:
            _close(items, lines, run, line, tainted, weights)
            run, tainted = [], False
            line += token.kind is Kind.NEWLINE
        elif run or token.kind is not Kind.SPACE:
            run.append(token)
    _close(items, lines, run, line, tainted, weights)
    return tuple(_join_sentences(items, lines))


def _close(
    items: list[Span], lines: list[int], run: list[Token], line: int, tainted: bool, weights: Weights
) -> None:
    while run and run[-1].kind is Kind.SPACE:
        run.pop()
    if not run:
        return
    weight = weights.at(run[0].start)
    if tainted:
        items.append(Span(Kind.OPAQUE, run[0].start, run[-1].end, weight))
    else:
        text = "".join([token.text[1:] if token.kind is Kind.ESCAPE else token.text for token in run])
        shown = " ".join(text.split())
        items.append(Span(Kind.PROSE if is_prose(shown) else Kind.TAG, run[0].start, run[-1].end, weight, shown))
    lines.append(line)


def _join_sentences(items: list[Span], lines: list[int]) -> list[Span]:
    """Let a sentence that commas cut up be one PROSE span: from its first part to the one that ends it."""
    joined: list[Span] = []
    i = 0
    while i < len(items):
        stop = i + 1
        if items[i].kind is Kind.PROSE and not is_finished(items[i].shown):
            for j in range(i + 1, min(i + _SENTENCE_ITEMS, len(items))):
                if items[j].kind is Kind.OPAQUE or lines[j] != lines[i]:
                    break
                if is_finished(items[j].shown) and " " in items[j].shown:
                    stop = j + 1
                    break
        if stop == i + 1:
            joined.append(items[i])
        else:
            shown = ", ".join(item.shown for item in items[i:stop])
            joined.append(Span(Kind.PROSE, items[i].start, items[stop - 1].end, items[i].weight, shown))
        i = stop
    return joined
