"""Sentence boundaries, for splitting and counting sentences, reading prompts and writing text.

    stop    . ! ? … or a full-width one, and the quotes and brackets that close behind it
    end     a stop with white space or the end of the text behind it; a full-width stop needs neither
    none    f1.8   Mr. Fox   J. R. R. Tolkien   No. 5   e.g. a hat   5 p.m. and dark   Wait... and see   "No!" she says

Of the text that follows, only white space and the first character behind it count, so a decoder that has drawn one
token of the next sentence decides like a reader of the whole text. All white space is alike, new lines included. Where
that is not enough, the more common case decides: `the U.S. Army` is cut as `in the U.S. The flag` is.
"""
from __future__ import annotations

import re

# Full-width, half-width ideographic and double stops; not the full-width dot, which numbers have, too.
_WIDE = "\u3002\uff01\uff1f\uff61\u203c\u2047\u2048\u2049"
_STOPS = ".!?\u2026\uff0e" + _WIDE
CLOSING = "\"')]}\u201d\u2019\u203a\xbb\u300d\u300f\u3011\u3009\u300b\u3015\uff09\uff3d\uff5d\uff63"
_QUOTES = "\"'\u201c\u2018\u2039\xab\u300c\u300e\uff62"

# Never the last word of a sentence.
_TITLES = frozenset(
    "mr mrs ms mx messrs dr prof rev mt maj capt sgt lt vs cf viz ca approx e.g i.e eg ie".split()
)
# The last word where nothing follows; so are letters with stops that are not listed below (J.R.R. Tolkien).
_AT_END = frozenset("st ft dept gen col gov".split())
# The last word unless the text goes on in lower case, with a number or with a sign.
_BEFORE_CAPITAL = frozenset(
    "a.m p.m a.d b.c u.s u.k u.n e.u u.s.a d.c l.a n.y ph.d m.d b.a m.a b.sc m.sc jr sr esq etc al inc ltd co corp "
    "bros ave blvd ct rd lb lbs oz".split()
)
# The last word unless a number follows.
_BEFORE_WORD = frozenset(
    "no nos nr fig figs vol vols ch pp pt est jan feb mar apr jun jul aug sep sept oct nov dec".split()
)

# Characters that a boundary looks back at most.
_TAIL = 48
_SAYS = re.compile(r"[^\W_]")
_WORD = re.compile(r"[^\W_].*")
_LETTERS = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]")
_END, _CLOSED, _FULL = f"[{re.escape(_STOPS)}]", f"[{re.escape(CLOSING)}]*", f"[{_WIDE}]"
# A place where a sentence may end, and what follows it: white space and a character, or behind a full-width stop one.
_PLACE = re.compile(rf"{_END}{_CLOSED}(?=(\s+\S?|\Z))|{_FULL}{_CLOSED}(?=(\S))")
_WITHIN = re.compile(rf"{_END}{_CLOSED}\s+\S|{_FULL}{_CLOSED}[^\s{re.escape(_STOPS + CLOSING)}]")


def ends_sentence(text: str, following: str = "") -> bool:
    """Return whether a sentence that reads `text` ends there when `following` comes next ("": the end of the text).

    >>> [ends_sentence("It is 5.30 p.m.", following) for following in ("", " She waits.", " and dark.")]
    [True, True, False]
    """
    return _ends(text[-_TAIL:], following) and _SAYS.search(text) is not None


def is_finished(text: str) -> bool:
    """Return whether text ends its sentence whatever words come next, closing quotes aside: `p.m.` and `...` go on.

    >>> is_finished("She smiles."), is_finished("at 5.30 p.m.")
    (True, False)
    """
    return ends_sentence(text.rstrip().rstrip(CLOSING), " a")


def split_sentences(text: str) -> list[str]:
    """Split a text at its sentence ends; the last part may lack its stop. Nothing but white space is lost.

    >>> split_sentences("Mr. Fox waits. It is 5.30 p.m. and dark")
    ['Mr. Fox waits.', 'It is 5.30 p.m. and dark']
    """
    parts, start = list[str](), 0
    says = _SAYS.search(text)
    for place in _PLACE.finditer(text):
        end = place.end()
        if says is None or says.start() >= end:
            continue
        if _ends(text[max(start, end - _TAIL) : end], place[1] if place[2] is None else place[2]):
            parts.append(text[start:end].strip())
            start, says = end, _SAYS.search(text, end)
    parts.append(text[start:].strip())
    return [part for part in parts if part]


def count_sentences(text: str) -> int:
    """Return how many sentences a text has; the last may lack its stop, and signs alone are no sentence.

    >>> count_sentences("Prof. Oak waits... A boy comes in :)")
    2
    """
    return sum(_SAYS.search(part) is not None for part in split_sentences(text))


def may_end_within(text: str) -> bool:
    """Return whether a sentence may end inside a piece of text, whatever is around it.

    >>> [may_end_within(piece) for piece in (". The", ".", " 5.30", "。空")]
    [True, False, False, True]
    """
    return _WITHIN.search(text) is not None


def _ends(text: str, following: str) -> bool:
    whole = text.rstrip()
    body = whole.rstrip(CLOSING).rstrip()
    stop = body[-1:]
    if not stop or stop not in _STOPS:
        return False
    ahead = following.lstrip()[:1]
    if ahead and not following[0].isspace():
        return stop in _WIDE and ahead not in _STOPS + CLOSING  # behind the last of several, and what it closes
    if ahead and ahead in ".!?":
        return False  # behind the last of `. . .`
    before = body[:-1].rstrip()
    ellipsis = stop == "\u2026" or (stop == "." and before[-1:] in (".", "\u2026"))
    if ahead.islower() and (ellipsis or body != whole):
        return False
    return ellipsis or stop != "." or _is_full_stop(before, ahead)


def _is_full_stop(before: str, ahead: str) -> bool:
    """Return whether a single `.` behind the text `before` ends a sentence, and is not a part of its last word."""
    token = before.split()[-1] if before else ""
    found = _WORD.search(token)
    if found is None:
        return bool(token) and "." not in token  # `:).` ends a sentence, the face `._.` does not
    word = found[0].lower()
    if word in _TITLES or (len(word) == 1 and word != word.upper() and word != "i"):
        return False
    if word in _BEFORE_CAPITAL:
        return not ahead or ahead in _QUOTES or (ahead.isalpha() and not ahead.islower())
    if word in _AT_END or _LETTERS.fullmatch(word):
        return not ahead
    # A digit on both sides of a stop is one number: `f1. 8`.
    return not (ahead.isascii() and ahead.isdigit() and (word[-1].isdigit() or word in _BEFORE_WORD))
