"""Blocklists: words that a model never adds, in tags or in sentences, from a text file.

    # anything          a comment; otherwise a line holds one or several patterns, with commas between
    bra                 a word: `black bra`, `bra-strap`, never a part of another word
    nud*                every word that begins so
    on bed              words in a row, with any signs and spaces between them (40 at most)
    spread *            the word with any other behind it
    N year*             N, a capital, is a number of one or two digits
    =chain              the whole tag only; it may be a word of a sentence or of another tag
    !pantyhose*         an exception: allowed, whatever other pattern is found in it

Letters are folded as for bans (`tags.canonical`): case, accents, look-alikes and invisible characters make no
difference. All words become one expression without a repeat inside a repeat, so its time is linear in the text.
"""
from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from kgen_ext.errors import BadPattern
from kgen_ext.rules.patterns import text_regex
from kgen_ext.tags.canonical import fold, fold_text, normalise
from kgen_ext.tags.tag import Tag, read_tag

MAX_BYTES, MAX_PATTERNS, MAX_LENGTH = 200_000, 5000, 100
_HINT = "write one or several patterns a line, with commas between; a star only ends a word; # starts a comment"
_LETTER, _SIGN = "[a-z0-9]", "[^a-z0-9]"
_WORD = re.compile(r"(N?)([^*]*)(\*?)")
_USUAL = re.compile(r"[a-z]+\*?")


@dataclass(frozen=True, slots=True)
class Blocklist:
    """A compiled list: words blocked anywhere, whole tags blocked as tags, and `spared`, the exceptions.

    `words` begins with the sign before a word, which `re` finds fastest. `name` is the file's: it gives the
    reason without the word.
    """

    words: re.Pattern[str]
    tags: frozenset[str] = frozenset()
    spared: tuple[re.Pattern[str], ...] = ()
    name: str = "blocklist"

    def sparing(self, tags: Iterable[str | Tag]) -> Blocklist:
        """Return the list with these tags as exceptions, in texts as well."""
        names = sorted({read_tag(tag).folded for tag in tags} - {""})
        return replace(self, spared=(*self.spared, *(text_regex(name, wild=False) for name in names)))

    def match(self, tag: str | Tag) -> str | None:
        """Return the words for which a tag is blocked, or None."""
        tag = read_tag(tag)
        for form in (tag.written,) if tag.written == tag.folded else (tag.written, tag.folded):
            if found := self._find(form):
                return form[slice(*found)]
        key = _key(tag.folded)
        return key if key in self.tags and key == _key(self._spare(tag.folded)) else None

    def search_text(self, text: str) -> tuple[int, int, str] | None:
        """Return start, end and the words of the first hit in running text, or None."""
        low = _lower(text)
        hits = [(*found, low[slice(*found)]) for found in (self._find(low), self._find_tag(low)) if found]
        if not text.isascii():
            folded, places = fold_text(text)
            low = _lower(folded)
            again = [found for found in (self._find(low), self._find_tag(low)) if found]
            hits += [(places[begin], places[end - 1] + 1, low[begin:end]) for begin, end in again]
        return min(hits, default=None)

    def _find(self, low: str) -> tuple[int, int] | None:
        """Return the span of the first hit, to the end of its last word."""
        found = self.words.search(" " + low)
        if found and self.spared:
            found = self.words.search(" " + self._spare(low))
        if not found:
            return None
        end = found.end() - 1
        return found.start(), next((at for at in range(end, len(low)) if not low[at].isalnum()), len(low))

    def _find_tag(self, low: str) -> tuple[int, int] | None:
        """Return the span of the first whole tag in a text that lists tags."""
        if not self.tags or "," not in low:
            return None
        ends = [at for at, letter in enumerate(self._spare(low)) if letter == ","]
        spans = zip([0, *(end + 1 for end in ends)], ends, strict=False)
        return next((span for span in spans if _key(low[slice(*span)]) in self.tags), None)

    def _spare(self, low: str) -> str:
        for pattern in self.spared:  # it becomes another word, which no pattern reaches across
            low = pattern.sub(lambda found: "q" * len(found[0]), low)
        return low


@dataclass(slots=True)
class _Bodies:
    """Expressions for whole words and for beginnings of words."""

    whole: set[str] = field(default_factory=set)
    begun: set[str] = field(default_factory=set)

    def expression(self, before: str) -> re.Pattern[str]:
        """Compile them as one, grouped by first letter, so that most words cost one comparison."""
        whole, begun = (_by_letter(sorted(bodies)) for bodies in (self.whole, self.begun))
        return re.compile(rf"{before}(?:(?:{whole})(?!{_LETTER})|{begun})")


def load_blocklist(path: Path) -> Blocklist:
    """Read a list (UTF-8); raises BadPattern with the file, the line and the reason."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadPattern(f"{path}: cannot be read: {error}", hint="save it as UTF-8 text") from error
    if len(data) > MAX_BYTES:
        raise BadPattern(f"{path}: larger than {MAX_BYTES // 1000} kB", hint="list fewer words; stars cover more")
    return parse_blocklist(text, str(path))


@lru_cache(maxsize=4)
def parse_blocklist(text: str, where: str = "blocklist") -> Blocklist:
    """Compile a list.

    >>> [parse_blocklist("nud*, on bed, =chain").match(tag) for tag in ("nudity", "a dog on the bed", "chain")]
    ['nudity', None, 'chain']
    """
    words, spared, tags, count = _Bodies(), _Bodies(), set[str](), 0
    for number, line in enumerate(text.splitlines(), 1):
        for pattern in filter(None, (part.strip() for part in line.partition("#")[0].split(","))):
            mark, rest = (pattern[0], pattern[1:].strip()) if pattern[0] in "=!" else ("", pattern)
            found = _key(fold(normalise(rest))) if mark == "=" else _expression(rest)
            if not found or len(pattern) > MAX_LENGTH:
                raise BadPattern(f"{where}, line {number}: {pattern!r:.60} cannot be used", hint=_HINT)
            kind = spared if mark else words
            (tags if mark == "=" else kind.begun if rest.endswith("*") else kind.whole).add(found)
            count += 1
    if count > MAX_PATTERNS:
        raise BadPattern(f"{where}: more than {MAX_PATTERNS} patterns", hint="stars cover more")
    exceptions = (spared.expression(f"(?<!{_LETTER})"),) if spared.whole or spared.begun else ()
    return Blocklist(words.expression(_SIGN), frozenset(tags), exceptions, Path(where).name)


def _expression(pattern: str) -> str:
    """Return a pattern as an expression over folded small letters, without its word boundaries."""
    if _USUAL.fullmatch(pattern):
        return pattern.rstrip("*")
    words = re.split(r"[\s_-]+", pattern)
    out = ""
    for number, word in enumerate(words, 1):
        parts = _WORD.fullmatch(word)
        body = _key(fold(normalise(parts[2]))) if parts else ""
        if parts is None or not word or " " in body:
            return ""
        out += (r"\d{1,2}" if parts[1] else "") + re.escape(body)
        if number < len(words):
            out += (f"{_LETTER}{{{int(word == '*')},32}}" if parts[3] else "") + f"{_SIGN}{{1,40}}"
        elif word == "*":
            out += _LETTER
    return out if re.search(r"[^\W_]", pattern) else ""


def _by_letter(bodies: Iterable[str]) -> str:
    groups = groupby(bodies, key=lambda body: body[0] if body[0].isalpha() else "")
    return "|".join(f"{first}(?:{'|'.join(body[len(first) :] for body in some)})" for first, some in groups) or "(?!)"


def _key(text: str) -> str:
    """Return the words of a text, letters and digits only, with single spaces between."""
    return " ".join(re.findall(r"[^\W_]+", text))


def _lower(text: str) -> str:
    """Return the text in small letters, each at its index."""
    if text.isascii():
        return text.lower()
    return "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)
