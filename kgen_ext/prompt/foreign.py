"""Syntax that A1111 takes as text, read as what it says: weights of other programs, and weights without brackets.

    1.2::smile, blush::      NovelAI: a weight for all between; one of 0 or less says that it is not wanted
    a fox ::2 a lake ::      Midjourney: parts with or without a weight; also `--ar 16:9` and other options
    （smile：1.2）【smile】    full-width brackets around whole items, and full-width colons
    smile:1.2                a weight without brackets; `16:9`, `:3` and `re:zero` are none

Only what the words are read as is concerned; the host sees the same text as ever.
"""
from __future__ import annotations

import re

from kgen_ext.prompt.brackets import Bracket

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)"
_MARK = re.compile(rf"(?<![\w.+-]){_NUMBER}::|::|(?P<option>(?<!\S)--[a-z]+(?:[ \t]+[\d.:]+)?(?![^\s,]))")
_PART_WEIGHT = re.compile(rf"[ \t]*{_NUMBER}(?![\w.:])")
# A whole number is a weight right behind a word only: `smile:1`, but `x :3`.
_BARE_WEIGHT = re.compile(rf"(?:(?<=[^\W\d_]{{2}})[:：]|(?<=\S) ?[:：](?= ?[+-]?\d*\.\d)) ?{_NUMBER}\Z")
_WEIGHT_WITHIN = re.compile(r"(?<=\w)[:：][+-]?(?:\d+\.\d+|\.\d+)(?![\w.])")
_PAIRS = {"（": "）", "［": "］", "｛": "｝", "【": "】"}
_WIDE_BRACKET = re.compile(rf"[（［｛【]|(?:[:：] ?{_NUMBER} ?)?[）］｝】]")
_OPENERS = {closer: opener for opener, closer in _PAIRS.items()}
_MAX_BRACKETS = 8  # at either end of an item

Place = tuple[int, int]


def read_foreign(text: str) -> tuple[list[Place], list[Place]]:
    """Return the ranges of `::`, of its weights and of options, and the ranges that a weight says are not wanted."""
    marks: list[Place] = []
    unwanted: list[Place] = []
    if "::" not in text and "--" not in text:
        return marks, unwanted
    opened, negative = -1, False
    for match in _MARK.finditer(text):
        start, end = match.span()
        if match["option"]:
            marks.append((start, end))
            continue
        if opened >= 0 and negative:
            unwanted.append((opened, start))
        weighs = end - start > 2
        if not weighs and opened < 0:
            # Between parts; inside a word it is part of a name.
            if not (_is_edge(text, start - 1) or _is_edge(text, end)):
                continue
            weight = _PART_WEIGHT.match(text, end)
            end = weight.end() if weight else end
        marks.append((start, end))
        opened = end if weighs else -1
        negative = weighs and float(text[start : end - 2]) <= 0
    if opened >= 0 and negative:
        unwanted.append((opened, len(text)))
    return marks, unwanted


def read_wide_brackets(text: str) -> list[Bracket]:
    """Return the closed full-width brackets; the closer of one with a weight begins at its colon."""
    found: list[Bracket] = []
    opened: list[tuple[str, int]] = []
    for match in _WIDE_BRACKET.finditer(text):
        char = match.group()[-1]
        if char in _PAIRS:
            opened.append((_PAIRS[char], match.start()))
        elif opened and opened[-1][0] == char:
            found.append(Bracket(opened.pop()[1], match.end(), match.group(), 1.0, False))
    return found


def _is_edge(text: str, at: int) -> bool:
    return not 0 <= at < len(text) or text[at].isspace() or text[at] in ",，、"


def strip_tag(shown: str) -> str:
    """Return an item without full-width brackets around it and without a weight at its end.

    >>> [strip_tag(shown) for shown in ("（smile：1.2）", "smile:1.2", "（smile", "16:9", "初音（コスプレ）")]
    ['smile', 'smile', 'smile', '16:9', '初音（コスプレ）']
    """
    if shown.isascii() and ":" not in shown:
        return shown
    for _ in range(_MAX_BRACKETS):
        less = _BARE_WEIGHT.sub("", shown).strip() or shown
        if less[:1] in _PAIRS and (end := _closes(less)) >= len(less) - 1:
            less = less[1:end].strip() or less
        elif less[-1:] in _OPENERS and _OPENERS[less[-1]] not in less:
            less = less[:-1].strip() or less
        if less == shown:
            break
        shown = less
    return shown


def _closes(text: str) -> int:
    """Return where the bracket closes that a text begins with; the text's length where it does not."""
    depth = 0
    for at, char in enumerate(text):
        depth += (char == text[0]) - (char == _PAIRS[text[0]])
        if not depth:
            return at
    return len(text)


def strip_sentence(shown: str) -> str:
    """Return a sentence without the weights behind its words.

    >>> strip_sentence("a red:1.3 fox at 5:30 in the snow:1.2")
    'a red fox at 5:30 in the snow'
    """
    return _WEIGHT_WITHIN.sub("", shown) if ":" in shown or "：" in shown else shown
