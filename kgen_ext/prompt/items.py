"""Items of a prompt: tags, sentences, and items with an unresolved wildcard, gathered from tokens.

An item is the text between two separators, without the ranges that the parser hides. In `a girl (ribbon, hat) in snow`
the brackets and their commas are part of the sentence, and `ribbon` and `hat` are tags that the sentence lists; beside
a tag, brackets with a comma inside separate (`smile (ribbon, hat) wink` has four items). So do `;` and a stop between
tags, and the marks of other programs (`foreign`).

A trigger word is a word with an underscore and a part that carries a version, or a number attached to a name:
`my_char_v2`, `ohwx_person01`. `long_hair`, `score_9`, `score_8_up`, `6+girls`, `persona_5` are ordinary.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from kgen_ext.prompt.brackets import Bracket
from kgen_ext.prompt.foreign import strip_sentence, strip_tag
from kgen_ext.prompt.prose import MANY, is_prose, is_scrap, leads_on
from kgen_ext.prompt.sentences import is_finished
from kgen_ext.prompt.spans import Ranges, Span, SpanKind, Token
from kgen_ext.request import Category
from kgen_ext.tags.tag import read_tag

_SEPARATORS = frozenset((SpanKind.COMMA, SpanKind.NEWLINE, SpanKind.SLOT))
_UNSEEN = frozenset((SpanKind.NETWORK, SpanKind.COMMENT))
_SENTENCE_ITEMS = 12  # most parts that commas cut a sentence into
_BACK = 16  # tokens that tell whether a stop ends a sentence
# Categories whose items say nothing of what is in the picture.
_ABOUT = frozenset((Category.QUALITY, Category.META, Category.RATING, Category.ARTIST))


@dataclass(frozen=True, slots=True)
class Reading:
    """What a prompt's characters count as, apart from their tokens.

    `hidden`: ranges of syntax and of unused branches. `opaque`: ranges that something else resolves later. `groups`:
    start and stop of brackets with a text of one line in them. `cuts`: where an item ends without a separator.
    `unwanted`: ranges that another program's weight keeps out of the picture.
    """

    hidden: Ranges
    opaque: Ranges
    groups: Mapping[int, int]
    cuts: Container[int]
    unwanted: Ranges
    weights: Weights


class _Run(NamedTuple):
    """Tokens of an item, on a line of the prompt; `groups`: first and last token of each bracket that opens in it.

    `end` is behind the last of them or of these brackets.
    """

    tokens: list[Token]
    end: int
    groups: list[tuple[int, int]]
    line: int
    weight: float
    wanted: bool
    tainted: bool


def read_items(tokens: Sequence[Token], reading: Reading) -> tuple[Span, ...]:
    """Return the TAG, PROSE and OPAQUE spans of a segment's tokens, in order."""
    runs = list(_runs(tokens, reading))
    items: list[Span] = []
    lines: list[int] = []
    others = _Others(runs)
    for run in runs:
        found = _items_of(run, others)
        items += found
        lines += [run.line] * len(found)
    return tuple(_join_sentences(items, lines))


def _runs(tokens: Sequence[Token], reading: Reading) -> Iterator[_Run]:
    hidden, opaque, cuts, brackets = reading.hidden, reading.opaque, reading.cuts, reading.groups
    run: list[Token] = []
    groups: list[tuple[int, int]] = []
    line, opened, closes, stop, tainted = 0, 0, -1, 0, False

    def close() -> Iterator[_Run]:
        nonlocal run, groups, closes, stop, tainted
        while run and run[-1].kind is SpanKind.SPACE:
            run.pop()
        if run:
            if closes >= 0:
                groups.append((opened, len(run)))
            start = run[0].start
            weight = reading.weights.at(start)
            wanted = weight > 0 and start not in reading.unwanted
            yield _Run(run, max(run[-1].end, stop), groups, line, weight, wanted, tainted)
        run, groups, closes, stop, tainted = [], [], -1, 0, False

    for token in tokens:
        kind, start = token.kind, token.start
        if closes >= 0 and start >= closes:
            groups.append((opened, len(run)))
            closes = -1
        elif closes < 0 and start in cuts:
            yield from close()
        if kind in _UNSEEN or start in hidden:
            if run and closes < 0 and start in brackets:
                opened, closes = len(run), brackets[start]
                stop = closes
        elif kind is SpanKind.WILDCARD or start in opaque:
            tainted = True
            run.append(token)
        elif kind in _SEPARATORS and closes < 0:
            yield from close()
            line += kind is SpanKind.NEWLINE
        elif run or kind is not SpanKind.SPACE:
            run.append(token)
    yield from close()


class _Others:
    """How many items of content a segment has beside one of its items, `MANY` or more alike; counted when asked for."""

    __slots__ = ("_count", "_runs")

    def __init__(self, runs: Sequence[_Run]) -> None:
        self._runs = runs
        self._count: int | None = None

    def __call__(self) -> int:
        if self._count is None:
            content = (run for run in self._runs if run.tainted or not _is_about(_text(run.tokens)))
            self._count = max(sum(1 for _ in islice(content, MANY + 1)) - 1, 0)
        return self._count


def _is_about(shown: str) -> bool:
    """Return whether an item speaks of the picture rather than of what is in it."""
    return read_tag(shown).category in _ABOUT


def _items_of(run: _Run, others: Callable[[], int]) -> list[Span]:
    """Return the items of a run: one, unless it lists tags without commas between all of them."""
    tokens = run.tokens
    if run.tainted:
        return [Span(SpanKind.OPAQUE, tokens[0].start, tokens[-1].end, run.weight)]
    lists = [group for group in run.groups if any(token.kind is SpanKind.COMMA for token in tokens[slice(*group)])]
    stops = _stops(tokens)
    parts = _parts(tokens, stops=stops, bounds={place for group in lists for place in group})
    stop = min((tokens[i].text for i in stops), default="")
    if not stop or not all(is_scrap(_text(part), stop=stop) for part in parts):
        within = {i for first, last in lists for i in range(first, last)}
        around = [token for i, token in enumerate(tokens) if i not in within]
        if is_prose(strip_tag(_text(around)), others=others):
            shown = strip_sentence(strip_tag(_sentence(tokens, lists)))
            return [_span(SpanKind.PROSE, tokens, run, shown, _listed(run))._replace(end=run.end)]
        if not lists:
            parts = [tokens]
    return [_span(SpanKind.TAG, part, run, strip_tag(_text(part))) for part in parts]


def _span(kind: SpanKind, tokens: list[Token], run: _Run, shown: str, listed: tuple[str, ...] = ()) -> Span:
    return Span(kind, tokens[0].start, tokens[-1].end, run.weight, shown, listed, run.wanted)


def _text(tokens: Iterable[Token]) -> str:
    text = "".join([token.text[1:] if token.kind is SpanKind.ESCAPE else token.text for token in tokens])
    return " ".join(text.split())


def _parts(tokens: list[Token], *, stops: Container[int], bounds: Container[int]) -> list[list[Token]]:
    """Cut tokens at the numbers in `bounds`, and at commas and `stops`, which are left out."""
    parts: list[list[Token]] = [[]]
    for i, token in enumerate(tokens):
        if i in bounds:
            parts.append([])
        if token.kind is SpanKind.COMMA or i in stops:
            parts.append([])
        elif parts[-1] or token.kind is not SpanKind.SPACE:
            parts[-1].append(token)
    for part in parts:
        while part and part[-1].kind is SpanKind.SPACE:
            part.pop()
    return [part for part in parts if part]


def _stops(tokens: list[Token]) -> set[int]:
    """Return which tokens are a `;` or a full stop between words, with white space behind it."""
    stops: set[int] = set()
    start = 0
    for i, token in enumerate(tokens[:-1]):
        if token.text not in (";", ".") or i == start or tokens[i + 1].kind is not SpanKind.SPACE:
            continue
        word, before = tokens[i - 1].text, tokens[max(start, i - _BACK) : i + 1]
        if len(word) > 1 and word[-1].isalnum() and (token.text == ";" or is_finished(_text(before))):
            stops.add(i)
            start = i + 1
    return stops


def _sentence(tokens: list[Token], lists: list[tuple[int, int]]) -> str:
    """Return the words of a sentence, lists in brackets set off by a comma where no little word leads to them."""
    pieces, end = list[str](), 0
    for first, last in lists:
        before = _text(tokens[end:first])
        if before:
            pieces.append(before if before[-1] in ",.;:!?" or leads_on(before) else before + ",")
        pieces.append(_text(tokens[first:last]))
        end = last
    return " ".join(filter(None, (*pieces, _text(tokens[end:]))))


def _listed(run: _Run) -> tuple[str, ...]:
    """Return the tags in the brackets of a sentence: the parts of a list, or one tag of several words that exists."""
    listed: list[str] = []
    for first, last in run.groups:
        parts = [strip_tag(_text(part)) for part in _parts(run.tokens[first:last], stops=(), bounds=())]
        if len(parts) > 1 or (parts and " " in parts[0] and read_tag(parts[0]).is_known):
            listed += parts
    return tuple(listed)


def _join_sentences(items: list[Span], lines: list[int]) -> list[Span]:
    """Join the parts of a sentence with commas in it: from the part that reads as prose to the one that ends it."""
    joined: list[Span] = []
    i = 0
    while i < len(items):
        stop = i + 1
        if items[i].kind is SpanKind.PROSE and not is_finished(items[i].shown):
            for j in range(i + 1, min(i + _SENTENCE_ITEMS, len(items))):
                if items[j].kind is SpanKind.OPAQUE or lines[j] != lines[i] or items[j].wanted is not items[i].wanted:
                    break
                if is_finished(items[j].shown) and " " in items[j].shown:
                    stop = stop if _lists_tags(items[i + 1 : j + 1]) else j + 1
                    break
        if stop == i + 1:
            joined.append(items[i])
        else:
            parts = items[i:stop]
            shown = ", ".join(part.shown for part in parts)
            listed = tuple(tag for part in parts for tag in part.listed)
            joined.append(parts[0]._replace(end=parts[-1].end, shown=shown, listed=listed))
        i = stop
    return joined


def _lists_tags(items: Sequence[Span]) -> bool:
    """Return whether items behind a sentence are tags of their own, though a stop follows the last."""
    tags = [read_tag(item.shown) for item in items]
    return sum(tag.is_known for tag in tags) * 2 > len(tags) or any(tag.category is Category.SPECIAL for tag in tags)


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


def is_trigger(word: str) -> bool:
    """Return whether a word is the trigger of a LoRA or an embedding, which a language model can only garble."""
    if "_" not in word or re.search(r"\s|[()]", word):
        return False
    parts = word.strip("_").split("_")[1:]
    return any(re.fullmatch(r"[vV]\d[\d.]*\w{0,2}|[^\W\d]{3,}\d+", part) for part in parts)
