"""Scores of results: length bands, repeats, bans, tokens kept, difference between variants.

The same few lines judge both runtimes, and share nothing with the code under test except the count of sentences.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from kgen_ext.prompt.sentences import count_sentences
from kgen_ext.protocol.plan import TIPO_LONG_TEXT, TIPO_TAGS
from kgen_ext.request import TextLength
from tools.bench.queries import Query
from tools.bench.turn import Outcome


@dataclass(frozen=True, slots=True)
class Score:
    """Sums over `results`; `texts` of them were to have text. Shares and ratios are derived."""

    results: int = 0
    failed: int = 0
    in_band: int = 0
    texts: int = 0
    text_in_band: int = 0
    repeats: int = 0
    leaks: int = 0
    calls: int = 0
    drawn: int = 0
    fed: int = 0
    kept: int = 0

    def __add__(self, other: Score) -> Score:
        return Score(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    @property
    def calls_each(self) -> float:
        """Generations for one prompt."""
        return self.calls / max(1, self.results)

    @property
    def drawn_each(self) -> float:
        """Tokens drawn for one prompt."""
        return self.drawn / max(1, self.results)

    @property
    def drawn_per_kept(self) -> float:
        """Tokens drawn for each token of the result that the user did not give."""
        return self.drawn / max(1, self.kept)

    @property
    def kept_share(self) -> float:
        """Share of all tokens written, by draw or by force, that is in the result."""
        return self.kept / max(1, self.fed)


def score(queries: Iterable[Query], outcomes: Iterable[Outcome]) -> Score:
    """Score every outcome against its query."""
    total = Score()
    for query, outcome in zip(queries, outcomes, strict=True):
        total = total + _score(query, outcome)
    return total


def _score(query: Query, outcome: Outcome) -> Score:
    wants_text = query.text_length is not TextLength.NONE
    names = [plain(tag) for tag in outcome.tags]
    return Score(
        results=1,
        failed=bool(outcome.error),
        in_band=not outcome.error and len(names) in TIPO_TAGS[query.tag_length],
        texts=wants_text,
        text_in_band=wants_text and count_sentences(outcome.text) in TIPO_LONG_TEXT[query.text_length].sentences,
        repeats=len(names) - len(set(names)),
        leaks=leaks(query, outcome),
        calls=outcome.calls,
        drawn=outcome.drawn,
        fed=outcome.fed,
        kept=outcome.kept,
    )


def leaks(query: Query, outcome: Outcome) -> int:
    """Return how many of the bans are broken, by an added tag or by words of the text."""
    given = {plain(tag) for tag in query.given}
    added = [name for name in (plain(tag) for tag in (*outcome.tags, *outcome.added)) if name not in given]
    # Where the text goes on from the user's own, that part is not the model's.
    text = outcome.text.removeprefix(query.text.rstrip(". "))
    found = 0
    for ban in query.bans:
        parts = [re.escape(part) for part in plain(ban).split("*")]
        whole = re.compile(".*".join(parts))
        inside = r"\S*".join(part.replace(r"\ ", r"[\s_-]+") for part in parts)
        words = re.compile(rf"(?<!\w){inside}(?!\w)", re.IGNORECASE)
        found += any(whole.fullmatch(name) for name in added) or words.search(text) is not None
    return found


def overlap(variants: Sequence[Sequence[str]]) -> float:
    """Return the mean share of added tags that two variants have in common, of all that either has."""
    sets = [{plain(tag) for tag in tags} for tags in variants]
    pairs = [len(left & right) / max(1, len(left | right)) for left, right in combinations(sets, 2)]
    return sum(pairs) / max(1, len(pairs))


def plain(tag: str) -> str:
    """Return a tag in lower case, underscores and escapes gone."""
    return " ".join(tag.lower().replace("\\", "").replace("_", " ").split())
