"""Tokens of a prompt; every character belongs to exactly one.

Brackets are paired elsewhere, as A1111 pairs them (`brackets`, `edits`).

    comment   # to the end of the line, anywhere (A1111 strips comments first, even behind a backslash)
    network   <word:anything but > and #>
    slot      [PROMPT]            divider  [SEP], AND, BREAK, ADDCOMM, ADDCOL, ADDROW, ADDBASE, ADDP as whole words
    AND       also AND_PERP, AND_SALT, AND_TOPK, AND_ALIGN_4_8 and their like, of Neutral Prompt and its forks
    emoticon  >:( :[ ;( and the like where a separator follows; (o)_(o)
    wildcard  __name__, with an optional (arguments)
    weight    : number, directly before a closing round bracket
    escape    backslash and any character but a newline
    brackets  ( ) [ ] { }    colon :    bar |    comma , ， 、    newline    space    text (all the rest)
"""
from __future__ import annotations

import re
from collections.abc import Container, Iterable

from kgen_ext.prompt.spans import SpanKind, Token

# AND, and Neutral Prompt's words: AND, an underscore, a word in capitals.
AND = "AND(?:_[A-Z][A-Z0-9_]*)?"
_WORDS = {
    "BREAK": SpanKind.BREAK,
    "ADDCOMM": SpanKind.REGION,
    "ADDCOL": SpanKind.REGION,
    "ADDROW": SpanKind.REGION,
    "ADDBASE": SpanKind.REGION,
    "ADDP": SpanKind.REGION,
}
_CHARS = dict.fromkeys("([{", SpanKind.OPEN) | dict.fromkeys(")]}", SpanKind.CLOSE)
_CHARS |= dict.fromkeys(",，、", SpanKind.COMMA) | {":": SpanKind.COLON, "|": SpanKind.BAR, "\n": SpanKind.NEWLINE}

# Every alternative is bounded or cannot be rescanned from a later start, so a 1 MB prompt stays linear.
_PATTERN = r"""
  (?P<comment>\#[^\n]*)
| (?P<escape>\\[^\n\#])
| (?P<sep>\[SEP\])
| (?P<slot>\[PROMPT\])
| (?P<emoticon>\((?P<eye>[^\s()\[\]{},:|\\\#])\)[_.]\((?P=eye)\)
    | (?<![\w\\])[>}]?[:;=]['^-]?[(\[](?=[\s,，、]|\Z))
| (?P<wildcard>__(?!_)[^\s,，、()\[\]{}|<>\#\\]{1,200}?(?:\([^()\n\#]{0,200}\))?__)
| (?P<weight>:\s*[+-]?[.\d]+\s*(?=\)))
| (?P<word>(?:(?!__)\w)+|\w+)
| (?P<space>[^\S\n]+)
| (?P<char>[()\[\]{}:|,，、\n])
| (?P<less><)
| (?P<text>[^\w\s()\[\]{}（）［］｛｝【】：:|,，、<>\#\\;=]+|.)
"""


def tokenize(source: str) -> list[Token]:
    """Return the tokens of the source in order; joined, they are the source."""
    # Compiled on first use (`re` caches it): nothing happens at import.
    scan = re.compile(_PATTERN, re.X | re.S).match
    name = re.compile(r"<\w+:")
    tokens: list[Token] = []
    i, close, hash_ = 0, -1, -1
    while i < len(source):
        char = source[i]
        if char in _CHARS and _stands_alone(source, i, char):
            tokens.append(Token(_CHARS[char], char, i))
            i += 1
            continue
        found = scan(source, i)
        assert found is not None  # the last alternative takes any character
        group, text = found.lastgroup, found.group()
        if group == "less":
            head = name.match(source, i)
            if head:
                # The next > and # are remembered, so that not every < searches the rest of the prompt.
                if close < head.end():
                    close = _find(source, ">", head.end())
                if hash_ < i:
                    hash_ = _find(source, "#", i)
                if head.end() < close < min(hash_, len(source)):
                    text = source[i : close + 1]
                    tokens.append(Token(SpanKind.NETWORK, text, i))
                    i += len(text)
                    continue
            kind = SpanKind.TEXT
        elif group == "word":
            kind = SpanKind.AND if is_and(text) else _WORDS.get(text, SpanKind.TEXT)
            after = i + len(text)
            if kind is not SpanKind.TEXT and (_is_word(source[i - 1 : i]) or _is_word(source[after : after + 1])):
                kind = SpanKind.TEXT
        elif group == "char":
            kind = _CHARS[text]
        elif group == "sep":
            kind = SpanKind.SEP
        elif group == "weight":
            kind = SpanKind.WEIGHT if _is_number(text[1:]) else SpanKind.COLON
            text = text if kind is SpanKind.WEIGHT else ":"
        else:
            kind = SpanKind(group)
        tokens.append(Token(kind, text, i))
        i += len(text)
    return tokens


def is_and(word: str) -> bool:
    """Return whether a word joins the parts of a composition.

    >>> [is_and(word) for word in ("AND", "AND_PERP", "AND_MASK_ALIGN_4_8", "AND_9", "ANDROID", "and")]
    [True, True, True, False, False, False]
    """
    return word.startswith("AND") and re.fullmatch(AND, word) is not None


def blank(tokens: Iterable[Token], kinds: Container[SpanKind]) -> str:
    """Return the source with the tokens of these kinds turned to spaces, newlines kept: every index stays valid."""
    return "".join([_spaces(token.text) if token.kind in kinds else token.text for token in tokens])


def blank_ranges(text: str, ranges: Iterable[tuple[int, int]]) -> str:
    """Return text with these ranges (separate or nested) turned to spaces; every index stays valid."""
    out: list[str] = []
    at = 0
    for start, stop in sorted(ranges):
        if stop > at:
            out += [text[at : max(at, start)], " " * (stop - max(at, start))]
            at = stop
    return "".join(out) + text[at:]


def _spaces(text: str) -> str:
    return "\n".join([" " * len(line) for line in text.split("\n")])


def _stands_alone(source: str, i: int, char: str) -> bool:
    """Return whether a syntax character is a token by itself: most are, and long runs of them must be cheap."""
    if char == "(":
        return source[i + 2 : i + 3] != ")"
    return source[i + 1 : i + 2] not in "SP" if char == "[" else char != ":"


def _find(source: str, char: str, start: int) -> int:
    at = source.find(char, start)
    return len(source) if at < 0 else at


def _is_word(char: str) -> bool:
    return char == "_" or char.isalnum()


def _is_number(text: str) -> bool:
    """Return whether A1111 can turn a weight into a float (`1.2.3` makes it raise; here it is text)."""
    try:
        float(text)
    except ValueError:
        return False
    return True
