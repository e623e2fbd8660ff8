r"""Ban and protect patterns, over whole tags and in running text.

    hat                 the tag in any spelling or decoration (`hat..`); never a part of another (`hatsune miku`)
    * hair, blue_?o*    glob: `*` any run of characters, none included; `?` any one character; `\*` and `\?` themselves
    /blue|red/          regular expression over the whole tag (syntax of PyPI `regex`), case ignored;
                        `/blue/i` is the same
    category:artist     every tag of a category; singular, plural, `series` and `people` are understood
    category:hair       every tag of a group (`kgen_ext.tags.groups`); `clothes`, `animals` and the like are understood

A pattern is compared with a tag's folded form and its comparison form (`kgen_ext.tags.tag`). In running text literals,
globs and expressions are searched as whole words, where an underscore or a hyphen between words counts as a space and
a wildcard does not reach over white space; of a group its words are found, with the adjectives before them; a category
matches nothing there, since text has no tags.

Time is bounded. A glob is cut at its stars, and each part between two stars is taken at the first place where it fits:
no later place could be better, so nothing is tried twice. In running text a lookahead, which keeps its first answer,
tells `re` the same; there a star spans at most 64 characters and a gap between words 8. An expression that takes longer
than 50 ms on one tag or text raises BadPattern.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from math import prod
from typing import Any

from kgen_ext.errors import BadPattern
from kgen_ext.request import Category
from kgen_ext.tags.canonical import fold, fold_text, normalise
from kgen_ext.tags.categories import category_of
from kgen_ext.tags.groups import SYNONYMS, Group, groups_of, search_group
from kgen_ext.tags.tag import Tag, read_tag

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
    """The five kinds of pattern."""

    LITERAL = "literal"
    GLOB = "glob"
    REGEX = "regex"
    CATEGORY = "category"
    GROUP = "group"


_LISTS = frozenset((PatternKind.CATEGORY, PatternKind.GROUP))  # kinds that are looked up in lists of names
Search = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A checked pattern: `source` is what the user wrote, `key` what is compared, by kind.

    The key of a LITERAL is a folded form, that of a GLOB a written form with its escapes hidden (`_hide_escapes`).
    """

    source: str
    kind: PatternKind
    key: str
    # How a REGEX is searched: over whole tags, and as whole words of text.
    _compiled: tuple[Search, Search] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of_tag(cls, tag: str | Tag) -> Pattern:
        """Return the literal of one tag, whose signs mean nothing else."""
        tag = read_tag(tag)
        return cls(tag.spelling, PatternKind.LITERAL, tag.name)

    def match(self, tag: str | Tag) -> bool:
        """Return whether the pattern matches this whole tag, in any spelling or decoration."""
        tag = read_tag(tag)
        if tag.folded != tag.name and self.kind not in _LISTS and self.match_name(tag.folded):
            return True
        return self.match_name(tag.name)

    def match_name(self, name: str) -> bool:
        """Return whether the pattern matches a comparison form as it is."""
        if self.kind is PatternKind.LITERAL:
            return name == self.key
        if self.kind is PatternKind.GLOB:
            return _glob_matches(self.key, name)
        if self.kind is PatternKind.CATEGORY:
            return category_of(name).value == self.key
        if self.kind is PatternKind.GROUP:
            return Group(self.key) in groups_of(name)
        assert self._compiled is not None
        return self._timed(self._compiled[0], name) is not None

    def search(self, text: str) -> tuple[int, int] | None:
        """Return the span of the first hit in running text, as whole words, or None."""
        if self.kind is PatternKind.CATEGORY or not text:
            return None
        if self.kind is PatternKind.GROUP:
            return search_group(text, Group(self.key))
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
    """Patterns in the user's order, of which the first that matches is named."""

    patterns: tuple[Pattern, ...] = ()
    _literals: dict[str, int] = field(init=False, compare=False, repr=False)
    _others: tuple[tuple[int, Pattern], ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        literals, others = dict[str, int](), list[tuple[int, Pattern]]()
        for number, pattern in enumerate(self.patterns):
            if pattern.kind is PatternKind.LITERAL:
                literals.setdefault(pattern.key, number)
            else:
                others.append((number, pattern))
        object.__setattr__(self, "_literals", literals)
        object.__setattr__(self, "_others", tuple(others))

    def __len__(self) -> int:
        return len(self.patterns)

    def match(self, tag: str | Tag) -> str | None:
        """Return the source of the first pattern that matches this whole tag, or None."""
        if not self.patterns:
            return None
        tag = read_tag(tag)
        literal = min(self._literals.get(form, len(self.patterns)) for form in (tag.folded, tag.name))
        return self._first(literal, lambda pattern: pattern.match(tag))

    def match_name(self, name: str) -> str | None:
        """Return the source of the first pattern that matches a comparison form as it is, or None."""
        return self._first(self._literals.get(name, len(self.patterns)), lambda pattern: pattern.match_name(name))

    def search_text(self, text: str) -> tuple[int, int, str] | None:
        """Return start, end and source of the hit that begins first in running text, the longest of these, or None."""
        hits = [(*span, pattern.source) for pattern in self.patterns if (span := pattern.search(text))]
        if not text.isascii() and self.patterns:  # the same in plain letters, mapped back to the text
            folded, places = fold_text(text)
            spans = [(span, pattern.source) for pattern in self.patterns if (span := pattern.search(folded))]
            hits += [(places[begin], places[end - 1] + 1, source) for (begin, end), source in spans]
        return min(hits, key=lambda hit: (hit[0], -hit[1]), default=None)

    def _first(self, literal: int, matches: Callable[[Pattern], bool]) -> str | None:
        """Return the source of the first pattern that matches. literal: the number of the first literal that does."""
        for number, pattern in self._others:
            if number > literal:
                break
            if matches(pattern):
                return pattern.source
        return self.patterns[literal].source if literal < len(self.patterns) else None


def compile_pattern(text: str) -> Pattern:
    """Read one pattern; raises BadPattern with the pattern and the reason.

    >>> compile_pattern("* hair").match("blue_hair"), compile_pattern("hat").match("hatsune miku")
    (True, False)
    """
    source = text.strip()
    if not source:
        raise BadPattern("pattern '': it is empty", hint="write a tag, a glob such as * hair, or /an expression/")
    if len(source) > MAX_LENGTH:
        raise BadPattern(f"pattern {source[:40]}...: {len(source)} characters", hint=f"use at most {MAX_LENGTH}")
    # `//` and `/\/\/\` are tags; a slash before words without a closing one is a mistake.
    if len(source) > 2 and source[0] == "/" and (source[-1] == "/" or any(letter.isalnum() for letter in source)):
        return _expression(source)
    if source.lower().startswith("category:"):
        name = source[len("category:") :].strip().lower()
        if (group := SYNONYMS.get(name)) is not None:
            return Pattern(source, PatternKind.GROUP, group.value)
        if name not in _CATEGORIES:
            valid = ", ".join(key.value for key in (*Category, *Group))
            raise BadPattern(f"pattern {source}: no category of that name", hint=f"use one of {valid}")
        return Pattern(source, PatternKind.CATEGORY, _CATEGORIES[name].value)
    if re.fullmatch(r"artist:\s*\*", source, re.IGNORECASE):
        return Pattern(source, PatternKind.CATEGORY, Category.ARTIST.value)  # its written form would be `*`
    hidden = _hide_escapes(source)
    if _is_glob(hidden):
        return Pattern(source, PatternKind.GLOB, normalise(hidden))
    # Folded only: `hat!` does not mean `hat`.
    return Pattern(source, PatternKind.LITERAL, fold(normalise(_show_escapes(hidden))))


def compile_patterns(texts: Iterable[str]) -> PatternSet:
    """Read several patterns, one string each; raises BadPattern for the first that is wrong, or for too many."""
    texts = tuple(texts)
    if len(texts) > MAX_PATTERNS:
        raise BadPattern(f"{len(texts)} patterns are too many", hint=f"use at most {MAX_PATTERNS}; globs cover more")
    return PatternSet(tuple(compile_pattern(text) for text in texts))


@contextmanager
def naming(field: str) -> Iterator[None]:
    """Put the name of a request's field in front of the message of a BadPattern."""
    try:
        yield
    except BadPattern as error:
        raise BadPattern(f"{field}: {error.message}", hint=error.hint) from error


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
            words = regex.compile(_whole_words(body), regex.IGNORECASE)
        except regex.error:  # valid by itself: it ends in a comment of verbose mode, which a line end closes
            words = regex.compile(_whole_words(body + "\n"), regex.IGNORECASE)
    except (regex.error, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise BadPattern(f"pattern {source}: {error}", hint="see the syntax of Python's regex package") from error

    def in_text(text: str) -> Any:
        return next((hit for hit in words.finditer(text, timeout=TIMEOUT) if hit.end() > hit.start()), None)

    return Pattern(source, PatternKind.REGEX, body, (lambda tag: whole.fullmatch(tag, timeout=TIMEOUT), in_text))


# Normalising takes a glob as a whole (its spaces, length and case matter), and takes a backslash for one of the tag's
# own. So an escaped wildcard becomes one private-use character before it, and a literal character behind it.
_HIDDEN = {"\\*": "\ue000", "\\?": "\ue001"}
_SHOWN = {"\ue000": "*", "\ue001": "?"}
# Between the words of a tag, running text may have a space, a line end, an underscore or a hyphen.
_GAP = r"[\s_-]{1,8}"
_RUN = r"\S{0,64}"


def _hide_escapes(pattern: str) -> str:
    """Replace escaped wildcards by characters that normalising leaves alone."""
    for escaped, hidden in _HIDDEN.items():
        pattern = pattern.replace(escaped, hidden)
    return pattern


def _show_escapes(pattern: str) -> str:
    """Replace those characters by the ones that were escaped."""
    for hidden, shown in _SHOWN.items():
        pattern = pattern.replace(hidden, shown)
    return pattern


def _is_glob(hidden: str) -> bool:
    """Return whether wildcards are meant: a face such as `*_*`, `!?` or `??` is a tag, a bare `*` is a glob.

    >>> [_is_glob(text) for text in ("* hair", "*_*", "*", "??", "a?c")]
    [True, False, True, False, True]
    """
    wild = "*" in hidden or "?" in hidden
    return wild and (any(letter.isalnum() for letter in hidden) or not hidden.strip("*"))


def _glob_matches(hidden: str, tag: str) -> bool:
    """Return whether the whole tag fits the glob (escapes hidden).

    >>> _glob_matches("blue *", "blue hair"), _glob_matches("hat", "hatsune miku")
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
    # A part has a fixed width, so the last can only fit at the end.
    end = len(tag) - len(hidden.rsplit("*", 1)[1])
    return end >= at and last.fullmatch(tag, end) is not None


@lru_cache(maxsize=2048)
def _tag_parts(hidden: str) -> tuple[re.Pattern[str], ...]:
    return tuple(
        re.compile("".join("." if char == "?" else _escape(char) for char in part), re.DOTALL)
        for part in hidden.replace("_", " ").split("*")
    )


@lru_cache(maxsize=2048)
def text_regex(hidden: str, *, wild: bool) -> re.Pattern[str]:
    """Return the expression that finds a literal, or a glob (`wild`), as whole words of running text.

    >>> text_regex("long hair", wild=False).search("her Long-hair,").span()
    (4, 13)
    """
    if not wild:
        return re.compile(_whole_words(_text_part(hidden, wild=False)), re.IGNORECASE)
    first, *rest = (_text_part(part, wild=True) for part in re.sub(r"\*+", "*", hidden.replace("_", " ")).split("*"))
    body = [first]
    for number, part in enumerate(rest[:-1], 1):
        body.append(f"(?=({_RUN}?{part}))\\{number}")
    if rest:
        body.append(_RUN + rest[-1])
    return re.compile(_whole_words("".join(body)), re.IGNORECASE)


def _whole_words(expression: str) -> str:
    """Wrap an expression so that it neither begins nor ends inside a word; an underscore is no letter here."""
    return rf"(?<![^\W_])(?:{expression})(?![^\W_])"


def _text_part(part: str, *, wild: bool) -> str:
    return "".join(_GAP if char == " " else r"\S" if wild and char == "?" else _escape(char) for char in part)


def _escape(char: str) -> str:
    return re.escape(_SHOWN.get(char, char))


def _longest_word(key: str) -> str:
    words = "".join(letter if letter.isalnum() else " " for letter in key).split()
    return max(words, key=len, default="")
