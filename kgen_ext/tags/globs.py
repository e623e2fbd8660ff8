r"""Globs over whole tags and over running text, in time that cannot explode.

Knows nothing of tags beyond that an underscore and a space are the same in them; both sides arrive normalised.

    *       any run of characters, none included      in running text: of characters other than white space
    ?       any one character                         in running text: other than white space
    \* \?   the characters themselves

A glob is cut at its stars, and each part between two stars is taken at the first place where it fits: no later place
could be better, so nothing is tried twice. For running text `re` is told the same by a lookahead, which keeps its first
answer; there a star spans 64 characters at most, a gap between words 8, so time is linear in the text.
"""
from __future__ import annotations

import re
from functools import lru_cache

_HIDDEN = {"\\*": "\ue000", "\\?": "\ue001"}
_SHOWN = {"\ue000": "*", "\ue001": "?"}
# Between the words of a tag, running text may have a space, a line end, an underscore or a hyphen.
_GAP = r"[\s_-]{1,8}"
_RUN = r"\S{0,64}"


def hide_escapes(pattern: str) -> str:
    """Replace escaped wildcards by stand-ins that normalising leaves alone."""
    for escaped, hidden in _HIDDEN.items():
        pattern = pattern.replace(escaped, hidden)
    return pattern


def show_escapes(pattern: str) -> str:
    """Replace the stand-ins by the characters they stand for."""
    for hidden, shown in _SHOWN.items():
        pattern = pattern.replace(hidden, shown)
    return pattern


def is_glob(hidden: str) -> bool:
    """Tell whether wildcards are meant: a face such as `*_*`, `!?` or `??` is a tag, a bare `*` is a glob.

    >>> [is_glob(one) for one in ("* hair", "*_*", "*", "??", "a?c")]
    [True, False, True, False, True]
    """
    wild = "*" in hidden or "?" in hidden
    return wild and (any(letter.isalnum() for letter in hidden) or not hidden.strip("*"))


def glob_matches(hidden: str, tag: str) -> bool:
    """Tell whether the whole tag fits the glob (escapes hidden).

    >>> glob_matches("blue *", "blue hair"), glob_matches("hat", "hatsune miku")
    (True, False)
    """
    tag = tag.replace("_", " ")
    parts = _tag_parts(hidden)
    first, last = parts[0], parts[-1]
    if len(parts) == 1:
        return first.fullmatch(tag) is not None
    if (begin := first.match(tag)) is None:
        return False
    at = begin.end()
    for part in parts[1:-1]:
        if (found := part.search(tag, at)) is None:
            return False
        at = found.end()
    # Every part has one width, so the last can only stand at one place.
    end = len(tag) - len(hidden.rsplit("*", 1)[1])
    return end >= at and last.fullmatch(tag, end) is not None


@lru_cache(maxsize=2048)
def _tag_parts(hidden: str) -> tuple[re.Pattern[str], ...]:
    return tuple(
        re.compile("".join("." if letter == "?" else _escape(letter) for letter in part), re.DOTALL)
        for part in hidden.replace("_", " ").split("*")
    )


@lru_cache(maxsize=2048)
def text_regex(hidden: str, *, wild: bool) -> re.Pattern[str]:
    """Return the expression that finds a literal, or a glob (`wild`), as whole words of running text.

    >>> text_regex("long hair", wild=False).search("her Long-hair,").span()
    (4, 13)
    """
    if not wild:
        return re.compile(whole_words(_text_part(hidden, wild=False)), re.IGNORECASE)
    first, *rest = (_text_part(part, wild=True) for part in re.sub(r"\*+", "*", hidden.replace("_", " ")).split("*"))
    body = [first]
    for number, part in enumerate(rest[:-1], 1):
        body.append(f"(?=({_RUN}?{part}))\\{number}")
    if rest:
        body.append(_RUN + rest[-1])
    return re.compile(whole_words("".join(body)), re.IGNORECASE)


def whole_words(expression: str) -> str:
    """Wrap an expression so that it neither begins nor ends inside a word; an underscore is no letter here."""
    return rf"(?<![^\W_])(?:{expression})(?![^\W_])"


def _text_part(part: str, *, wild: bool) -> str:
    return "".join(_GAP if one == " " else r"\S" if wild and one == "?" else _escape(one) for one in part)


def _escape(letter: str) -> str:
    return re.escape(_SHOWN.get(letter, letter))
