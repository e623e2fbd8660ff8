"""Where sentences end: not after `f1.8`, `5.30 p.m.`, `Mr.` or an ellipsis that goes on.

A stop needs white space behind it, except the full-width ones of Chinese and Japanese. Plain text in, booleans and
strings out; knows no tokens.
"""
from __future__ import annotations

_WIDE = "\u3002\uff01\uff1f"
_TERMINAL = ".!?\u2026" + _WIDE
CLOSING = "\"')]\u201d\u2019\u300d"
# Never the last word of a sentence.
_TITLES = frozenset("mr mrs ms dr prof st sr jr mt ft vs dept gen col sgt capt approx e.g i.e cf al".split())
# The last word unless a number follows.
_NUMBERED = frozenset("no nos fig figs vol ch p pp".split())
# May be the last word: a capital behind decides.
_MAYBE = frozenset("a.m p.m etc u.s u.k u.s.a d.c inc ltd co corp".split())
# The longest a sentence boundary has to look back.
_TAIL = 48


def ends_sentence(text: str, following: str = "") -> bool:
    """Return whether `text` ends a sentence when `following` comes next ("" for the end of the text).

    >>> [ends_sentence(one, " 8 lens") for one in ("f1.", "Shot at f1.8.")]
    [False, True]
    """
    body = text[-_TAIL:].rstrip().rstrip(CLOSING).rstrip()
    if not body or body[-1] not in _TERMINAL:
        return False
    if following and not following[0].isspace():
        # A wide stop ends the sentence behind the last of its kind and what it closes.
        return body[-1] in _WIDE and following[0] not in _TERMINAL + CLOSING
    if body[-1] != ".":
        return True
    ahead = following.lstrip()
    if body.endswith(".."):
        return not ahead[:1].islower()
    word = body[:-1].split()[-1].lstrip("\"'([\u201c\u2018").lower() if body[:-1].split() else ""
    if not word:
        return False
    if word in _TITLES or (len(word) == 1 and word.isalpha() and word != "i"):
        return False
    if word in _MAYBE:
        return not ahead or ahead[0].isupper()
    # `f1. 8`: a digit on both sides of a stop is one number.
    return not ((word[-1].isdigit() or word in _NUMBERED) and ahead[:1].isdigit())


def split_sentences(text: str) -> list[str]:
    """Split a text at its sentence ends; the last part may lack its stop. Nothing but white space is lost.

    >>> split_sentences("Mr. Fox waits. It is 5.30 p.m. and dark")
    ['Mr. Fox waits.', 'It is 5.30 p.m. and dark']
    """
    parts, start = list[str](), 0
    for index in range(1, len(text)):
        if (text[index].isspace() or text[index - 1] in _WIDE + CLOSING) and ends_sentence(
            text[max(start, index - _TAIL) : index], text[index : index + 3]
        ):
            parts.append(text[start:index].strip())
            start = index
    parts.append(text[start:].strip())
    return [part for part in parts if part]
