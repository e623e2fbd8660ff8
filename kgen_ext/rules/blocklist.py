"""What a model never writes, whoever asks it: the words of a text file, found in tags and in sentences alike.

Refuses to know which model has which list, and to touch anything: what happens to a tag that is hit is the caller's.

    # anything          a remark; elsewhere several patterns stand on a line, with commas between
    bra                 a word: `black bra`, `bra-strap`, never a part of another word
    nud*                every word that begins so
    on bed              words that follow each other, whatever signs and spaces (40 at the most) are between
    spread *            the word with any other behind it
    N year*             N, a capital, is a number of one or two digits
    =chain              the whole tag only: as a word of a sentence or of another tag it may stand
    !pantyhose*         stands all the same, whatever else would be found in it

Letters are folded as for bans (`tags.plain`): case, accents, look-alikes and invisible ones make no difference. All
words become one expression without a repeat inside a repeat, so that its time is linear in the text.
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

MAX_BYTES, MAX_PATTERNS, MAX_LENGTH = 200_000, 5000, 100
_HINT = "one or several patterns a line with commas; a star only where a word ends; # before a remark"
_LETTER, _SIGN = "[a-z0-9]", "[^a-z0-9]"
_WORD = re.compile(r"(N?)([^*]*)(\*?)")
_USUAL = re.compile(r"[a-z]+\*?")


@dataclass(frozen=True, slots=True)
class Blocklist:
    """Words that may not stand in a text, whole tags that may not, and `spared`, what stands all the same.

    `words` begins with the sign before a word: that is the quickest for `re` to look for. `name`: the file's, to tell
    people why without the word itself.
    """

    words: re.Pattern[str]
    tags: frozenset[str] = frozenset()
    spared: tuple[re.Pattern[str], ...] = ()
    name: str = "blocklist"

    def sparing(self, tags: Iterable[str]) -> Blocklist:
        """Return the list that lets these tags pass, and their words where they stand together in a text."""
        names = sorted({fold(normalise(tag)) for tag in tags} - {""})
        return replace(self, spared=(*self.spared, *(text_regex(name, wild=False) for name in names)))

    def match(self, tag: str) -> str | None:
        """Return the words that a tag is refused for, or None."""
        name = normalise(tag)
        plain = fold(name)
        for low in (name,) if name == plain else (name, plain):
            if found := self._find(low):
                return low[slice(*found)]
        key = _key(plain)
        return key if key in self.tags and key == _key(self._spare(plain)) else None

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
        """Return the span of the first hit, all of its last word included."""
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
        for pattern in self.spared:  # a word still, that no other can reach across
            low = pattern.sub(lambda found: "q" * len(found[0]), low)
        return low


@dataclass(slots=True)
class _Bodies:
    """Expressions of one kind: of whole words, and of beginnings of words."""

    whole: set[str] = field(default_factory=set)
    begun: set[str] = field(default_factory=set)

    def expression(self, before: str) -> re.Pattern[str]:
        """Compile them as one; those of one letter stand together, so that most words cost one look."""
        whole, begun = (_by_letter(sorted(bodies)) for bodies in (self.whole, self.begun))
        return re.compile(rf"{before}(?:(?:{whole})(?!{_LETTER})|{begun})")


def load_blocklist(path: Path) -> Blocklist:
    """Read a list (UTF-8); raises BadPattern that names the file, the line and what is wrong."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadPattern(f"{path}: cannot be read: {error}", hint="a text file in UTF-8") from error
    if len(data) > MAX_BYTES:
        raise BadPattern(f"{path}: larger than {MAX_BYTES // 1000} kB", hint="a list of words")
    return parse_blocklist(text, str(path))


@lru_cache(maxsize=4)
def parse_blocklist(text: str, where: str = "blocklist") -> Blocklist:
    """Compile a list.

    >>> [parse_blocklist("nud*, on bed, =chain").match(one) for one in ("nudity", "a dog on the bed", "chain")]
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
    """Return a pattern as an expression over folded small letters, without what stands before and behind it."""
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
    return "|".join(f"{first}(?:{'|'.join(one[len(first) :] for one in some)})" for first, some in groups) or "(?!)"


def _key(text: str) -> str:
    """Return the letters and digits of a text, one space for all that is between them."""
    return " ".join(re.findall(r"[^\W_]+", text))


def _lower(text: str) -> str:
    """Return the text in small letters, each at its place."""
    return text.lower() if text.isascii() else "".join(low if len(low := one.lower()) == 1 else one for one in text)
