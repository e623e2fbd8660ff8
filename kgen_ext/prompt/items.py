"""Items of a prompt: tags, sentences, and items with an unresolved wildcard, gathered from tokens.

An item is the text between two separators, without the ranges that the parser hides. It is prose if
    it starts with a, an or a pronoun and has four words or more (`the`: six, and no colon: series are called so),
    or it has is, are, was or were between other words, four in all,
    or it ends a sentence, has three words (before ! and ? five: `bocchi the rock!`) and among them a function word,
    or it has eight words, two function words among them and no colon, or twelve words.
`looking at viewer`, `hand on own hip`, `the legend of zelda` and `5.30 p.m.` stay tags.

A trigger word is a word with an underscore and a part that carries a version, or a number attached to a name:
`my_char_v2`, `ohwx_person01`. `long_hair`, `score_9`, `score_8_up`, `6+girls`, `persona_5` are ordinary.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from kgen_ext.prompt.brackets import Bracket
from kgen_ext.prompt.sentences import is_finished
from kgen_ext.prompt.spans import Ranges, Span, SpanKind, Token

_SEPARATORS = frozenset((SpanKind.COMMA, SpanKind.NEWLINE, SpanKind.SLOT))
_UNSEEN = frozenset((SpanKind.NETWORK, SpanKind.COMMENT))
_SENTENCE_ITEMS = 12  # most parts that commas cut a sentence into
_STARTERS = frozenset("a an he she they it i we you his her their its my our this that these those there".split())
_FUNCTION = frozenset(
    "a an the of in on at to with and or from by for is are was were has have her his their its she he they it "
    "who which that as into over under while near behind between through".split()
)
_BE = frozenset("is are was were".split())


def read_items(tokens: Sequence[Token], *, hidden: Ranges, opaque: Ranges, weights: Weights) -> tuple[Span, ...]:
    """Return the TAG, PROSE and OPAQUE spans of a segment's tokens, in order.

    hidden: ranges of syntax and of unused branches. opaque: ranges that something else resolves later.
    """
    items: list[Span] = []
    lines: list[int] = []
    run: list[Token] = []
    line = 0
    tainted = False
    for token in tokens:
        if token.kind in _UNSEEN or token.start in hidden:
            continue
        if token.kind is SpanKind.WILDCARD or token.start in opaque:
            tainted = True
            run.append(token)
        elif token.kind in _SEPARATORS:
            _close(items, lines, run, line, tainted, weights)
            run, tainted = [], False
            line += token.kind is SpanKind.NEWLINE
        elif run or token.kind is not SpanKind.SPACE:
            run.append(token)
    _close(items, lines, run, line, tainted, weights)
    return tuple(_join_sentences(items, lines))


def _close(
    items: list[Span], lines: list[int], run: list[Token], line: int, tainted: bool, weights: Weights
) -> None:
    while run and run[-1].kind is SpanKind.SPACE:
        run.pop()
    if not run:
        return
    weight = weights.at(run[0].start)
    if tainted:
        items.append(Span(SpanKind.OPAQUE, run[0].start, run[-1].end, weight))
    else:
        text = "".join([token.text[1:] if token.kind is SpanKind.ESCAPE else token.text for token in run])
        shown = " ".join(text.split())
        kind = SpanKind.PROSE if is_prose(shown) else SpanKind.TAG
        items.append(Span(kind, run[0].start, run[-1].end, weight, shown))
    lines.append(line)


def _join_sentences(items: list[Span], lines: list[int]) -> list[Span]:
    """Join the parts of a sentence with commas in it: from the part that reads as prose to the one that ends it."""
    joined: list[Span] = []
    i = 0
    while i < len(items):
        stop = i + 1
        if items[i].kind is SpanKind.PROSE and not is_finished(items[i].shown):
            for j in range(i + 1, min(i + _SENTENCE_ITEMS, len(items))):
                if items[j].kind is SpanKind.OPAQUE or lines[j] != lines[i]:
                    break
                if is_finished(items[j].shown) and " " in items[j].shown:
                    stop = j + 1
                    break
        if stop == i + 1:
            joined.append(items[i])
        else:
            shown = ", ".join(item.shown for item in items[i:stop])
            joined.append(Span(SpanKind.PROSE, items[i].start, items[stop - 1].end, items[i].weight, shown))
        i = stop
    return joined


class Weights:
    """Attention weights at places of the source, to be asked for in rising order."""

    __slots__ = ("_opens", "_closes", "_i", "_j", "_round", "_square")

    def __init__(self, brackets: Iterable[Bracket]) -> None:
        listed = list(brackets)
        self._opens = sorted((bracket.start, bracket.square, bracket.factor) for bracket in listed)
        self._closes = sorted((bracket.stop, bracket.square) for bracket in listed)
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


def is_prose(shown: str) -> bool:
    """Return whether an item reads as a sentence or part of one, rather than as a tag."""
    words = shown.lower().split()
    if len(words) < 3 or (shown.endswith(")") and " (" in shown):
        return False  # the latter is a name: formidable (the lady of the beach) (azur lane)
    functions = sum(word.strip(",.;:!?\"'") in _FUNCTION for word in words)
    return (
        (words[0] in _STARTERS and len(words) >= 4)
        or (words[0] == "the" and len(words) >= 6 and ":" not in shown)
        or (len(words) >= 4 and any(word in _BE for word in words[1:-1]))
        or (is_finished(shown) and functions >= 1 and (shown[-1] not in "!?！？" or len(words) >= 5))
        or (len(words) >= 8 and functions >= 2 and ":" not in shown)
        or len(words) >= 12
    )


def is_trigger(word: str) -> bool:
    """Return whether a word is the trigger of a LoRA or an embedding, which a language model can only garble."""
    if "_" not in word or re.search(r"\s|[()]", word):
        return False
    parts = word.strip("_").split("_")[1:]
    return any(re.fullmatch(r"[vV]\d[\d.]*\w{0,2}|[^\W\d]{3,}\d+", part) for part in parts)
