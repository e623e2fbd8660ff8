r"""Ban and protect patterns: one pattern says which whole tags it means, a set of them says which one hit.

Refuses to remove anything: what happens to a tag that is hit, and whose tag it was, is the caller's business.

    hat                 the tag, however it is spelled or dressed up (`hat..`); never a part of another (`hatsune miku`)
    * hair, blue_?o*    glob: `*` any run, `?` any one character; `\*` and `\?` are the characters
    /blue|red/          regular expression over the whole normalised tag (`third-party regex syntax`), case ignored;
                        `/blue/i` is the same
    category:artist     every tag of a category; singular, plural, `series`, `people` are understood

In running text literals, globs and expressions are searched as whole words, where an underscore or a hyphen between
words counts as a space; categories are not, since text has no tags. An expression that takes longer than 50 ms on one
tag or text raises BadPattern; literals and globs are linear.

Globs over whole tags and over running text, in time that cannot explode.

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
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from math import prod
from typing import Any

from kgen_ext.errors import BadPattern
from kgen_ext.request import Category
from kgen_ext.tags.canonical import canonical_name, fold, fold_text, normalise
from kgen_ext.tags.categories import category_of

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


Search = Callable[[str], Any]

MAX_LENGTH = 300
MAX_PATTERNS = 1000
MAX_REPEATS = 100_000  # counted repeats are unrolled when an expression is compiled: that takes time before any match
TIMEOUT = 0.05  # seconds for one expression on one tag or text

_CATEGORIES = {category.value: category for category in Category} | {
    "people": Category.SPECIAL,
    "artists": Category.ARTIST,
    "character": Category.CHARACTERS,
    "copyright": Category.COPYRIGHTS,
    "series": Category.COPYRIGHTS,
    "metas": Category.META,
    "qualities": Category.QUALITY,
    "ratings": Category.RATING,
}


class PatternKind(str, Enum):
    """The four kinds of pattern."""

    LITERAL = "literal"
    GLOB = "glob"
    REGEX = "regex"
    CATEGORY = "category"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A checked pattern; `source` is what the user wrote, `key` what is compared, by kind."""

    source: str
    kind: PatternKind
    key: str
    # How a REGEX is asked: over whole tags, and as whole words of text.
    _compiled: tuple[Search, Search] | None = field(default=None, compare=False, repr=False)

    def match(self, tag: str) -> bool:
        """Tell whether the pattern means this whole tag, however it is spelled or dressed up."""
        name = fold(normalise(tag))
        plain = canonical_name(name)
        return self.match_name(name) or (name != plain and self.match_name(plain))

    def match_name(self, tag: str) -> bool:
        """Do the same for a tag in its normal or plain form, as it stands."""
        if self.kind is PatternKind.LITERAL:
            return tag == self.key
        if self.kind is PatternKind.GLOB:
            return glob_matches(self.key, tag)
        if self.kind is PatternKind.CATEGORY:
            return category_of(tag).value == self.key
        assert self._compiled is not None
        return self._timed(self._compiled[0], tag) is not None

    def search(self, text: str) -> tuple[int, int] | None:
        """Return where the pattern first stands in running text, as whole words: start and end, or None."""
        if self.kind is PatternKind.CATEGORY or not text:
            return None
        if self.kind is PatternKind.REGEX:
            assert self._compiled is not None
            found = self._timed(self._compiled[1], text)
        elif _longest_word(self.key) not in text.lower():
            return None  # cheap, and true of nearly every pattern and text
        else:
            found = text_regex(self.key, wild=self.kind is PatternKind.GLOB).search(text)
        return found.span() if found else None

    def _timed(self, search: Search, text: str) -> Any:
        try:
            return search(text)
        except TimeoutError:
            raise BadPattern(
                f"pattern {self.source}: takes longer than {TIMEOUT * 1000:.0f} ms to match",
                hint="avoid repeats inside repeats such as (a+)+",
            ) from None


@dataclass(frozen=True, slots=True)
class PatternSet:
    """Patterns asked together; the first in the user's order that hits is named."""

    patterns: tuple[Pattern, ...] = ()
    _literals: dict[str, int] = field(init=False, compare=False, repr=False)
    _others: tuple[tuple[int, Pattern], ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        literals: dict[str, int] = {}
        for number, pattern in enumerate(self.patterns):
            if pattern.kind is PatternKind.LITERAL:
                literals.setdefault(pattern.key, number)
        others = tuple((i, one) for i, one in enumerate(self.patterns) if one.kind is not PatternKind.LITERAL)
        object.__setattr__(self, "_literals", literals)
        object.__setattr__(self, "_others", others)

    def __len__(self) -> int:
        return len(self.patterns)

    def match(self, tag: str) -> str | None:
        """Return the source of the first pattern that means this whole tag, or None."""
        name = fold(normalise(tag))
        plain = canonical_name(name)
        literal = min(self._literals.get(one, len(self.patterns)) for one in (plain, name))
        for number, pattern in self._others:
            if number > literal:
                break
            if pattern.match_name(name) or (name != plain and pattern.match_name(plain)):
                return pattern.source
        return self.patterns[literal].source if literal < len(self.patterns) else None

    def search_text(self, text: str) -> tuple[int, int, str] | None:
        """Return start, end and source of the hit that begins first in running text, the longest of these, or None."""
        hits = [(*span, pattern.source) for pattern in self.patterns if (span := pattern.search(text))]
        if not text.isascii() and self.patterns:  # the same in plain letters, found at its place in the text
            folded, places = fold_text(text)
            plain = [(span, one.source) for one in self.patterns if (span := one.search(folded))]
            hits += [(places[begin], places[end - 1] + 1, source) for (begin, end), source in plain]
        return min(hits, key=lambda hit: (hit[0], -hit[1]), default=None)


def compile_pattern(text: str) -> Pattern:
    """Read one pattern; raises BadPattern that names it and what is wrong.

    >>> compile_pattern("* hair").match("blue_hair"), compile_pattern("hat").match("hatsune miku")
    (True, False)
    """
    source = text.strip()
    if not source:
        raise BadPattern("pattern '': it is empty", hint="write a tag, a glob such as * hair, or /an expression/")
    if len(source) > MAX_LENGTH:
        raise BadPattern(f"pattern {source[:40]}...: {len(source)} characters", hint=f"use at most {MAX_LENGTH}")
    # `//` and `/\/\/\` are tags; a slash before words that none closes is a slip.
    if len(source) > 2 and source[0] == "/" and (source[-1] == "/" or any(letter.isalnum() for letter in source)):
        return _expression(source)
    if source.lower().startswith("category:"):
        name = source[len("category:") :].strip().lower()
        if name not in _CATEGORIES:
            valid = ", ".join(category.value for category in Category)
            raise BadPattern(f"pattern {source}: no category of that name", hint=f"use one of {valid}")
        return Pattern(source, PatternKind.CATEGORY, _CATEGORIES[name].value)
    if re.fullmatch(r"artist:\s*\*", source, re.IGNORECASE):
        return Pattern(source, PatternKind.CATEGORY, Category.ARTIST.value)  # not `*`, which its normal form would be
    hidden = hide_escapes(source)
    if is_glob(hidden):
        return Pattern(source, PatternKind.GLOB, normalise(hidden))
    return Pattern(source, PatternKind.LITERAL, fold(normalise(show_escapes(hidden))))  # `hat!` means the sign, too


def compile_patterns(texts: Iterable[str]) -> PatternSet:
    """Read several patterns, one string each; raises BadPattern for the first that is wrong, or for too many."""
    given = tuple(texts)
    if len(given) > MAX_PATTERNS:
        raise BadPattern(f"{len(given)} patterns are too many", hint=f"use at most {MAX_PATTERNS}; globs cover more")
    return PatternSet(tuple(compile_pattern(text) for text in given))


def _expression(source: str) -> Pattern:
    body, closed, flags = source[1:].rpartition("/")
    if not closed or not body:
        raise BadPattern(f"pattern {source}: the closing slash is missing", hint="write /expression/")
    if flags.strip().lower() not in ("", "i"):
        raise BadPattern(f"pattern {source}: unknown flag {flags!r}", hint="case is always ignored; leave it out")
    try:
        import regex
    except ImportError as error:
        raise BadPattern(f"pattern {source}: expressions need the package regex", hint="pip install regex") from error
    if prod(int(count) for count in re.findall(r"\{(\d+)", body)) > MAX_REPEATS:
        raise BadPattern(f"pattern {source}: its counted repeats are too large", hint="a tag is a few dozen characters")
    try:
        whole = regex.compile(body, regex.IGNORECASE)
        try:
            words = regex.compile(whole_words(body), regex.IGNORECASE)
        except regex.error:  # sound by itself: it ends in a comment of verbose mode, which a line end closes
            words = regex.compile(whole_words(body + "\n"), regex.IGNORECASE)
    except (regex.error, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise BadPattern(f"pattern {source}: {error}", hint="see the syntax of Python's regex package") from error

    def in_text(text: str) -> Any:
        return next((hit for hit in words.finditer(text, timeout=TIMEOUT) if hit.end() > hit.start()), None)

    return Pattern(source, PatternKind.REGEX, body, (lambda tag: whole.fullmatch(tag, timeout=TIMEOUT), in_text))


def _longest_word(key: str) -> str:
    words = "".join(letter if letter.isalnum() else " " for letter in key).split()
    return max(words, key=len, default="")
