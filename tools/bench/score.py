"""Judges results from the outside: length bands, repeats, bans, tokens kept, how far variants differ.

The same few lines for both runtimes, and none of the code that made the promises (only the count of sentences).
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from kgen_ext.prompt.sentences import count_sentences
from kgen_ext.protocol.plan import TIPO_LONG_TEXT, TIPO_TAGS
from kgen_ext.request import TextLength
from tools.bench.asks import Ask
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


def score(asks: Iterable[Ask], outcomes: Iterable[Outcome]) -> Score:
    """Judge every outcome against its ask, one for one."""
    total = Score()
    for ask, outcome in zip(asks, outcomes, strict=True):
        total = total + _score(ask, outcome)
    return total


def _score(ask: Ask, outcome: Outcome) -> Score:
    wants_text = ask.text_length is not TextLength.NONE
    names = [plain(tag) for tag in outcome.tags]
    return Score(
        results=1,
        failed=bool(outcome.error),
        in_band=not outcome.error and len(names) in TIPO_TAGS[ask.tag_length],
        texts=wants_text,
        text_in_band=wants_text and count_sentences(outcome.text) in TIPO_LONG_TEXT[ask.text_length].sentences,
        repeats=len(names) - len(set(names)),
        leaks=leaks(ask, outcome),
        calls=outcome.calls,
        drawn=outcome.drawn,
        fed=outcome.fed,
        kept=outcome.kept,
    )


def leaks(ask: Ask, outcome: Outcome) -> int:
    """Return how many of the bans are broken, by an added tag or by words of the text."""
    given = {plain(tag) for tag in ask.given}
    added = [name for name in (plain(tag) for tag in (*outcome.tags, *outcome.added)) if name not in given]
    # Where the text goes on from the user's own, that part is not the model's.
    text = outcome.text.removeprefix(ask.text.rstrip(". "))
    found = 0
    for ban in ask.bans:
        parts = [re.escape(part) for part in plain(ban).split("*")]
        whole = re.compile(".*".join(parts))
        inside = r"\S*".join(part.replace(r"\ ", r"[\s_-]+") for part in parts)
        words = re.compile(rf"(?<!\w){inside}(?!\w)", re.IGNORECASE)
        found += any(whole.fullmatch(name) for name in added) or words.search(text) is not None
    return found


def overlap(variants: Sequence[Sequence[str]]) -> float:
    """Return the mean share of added tags that two variants have in common, of all that either has."""
    sets = [{plain(tag) for tag in tags} for tags in variants]
    pairs = [len(one & other) / max(1, len(one | other)) for one, other in combinations(sets, 2)]
    return sum(pairs) / max(1, len(pairs))


def plain(tag: str) -> str:
    """Return a tag in lower case, underscores and escapes gone."""
    return " ".join(tag.lower().replace("\\", "").replace("_", " ").split())
