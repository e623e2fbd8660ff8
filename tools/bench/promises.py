"""Guarantees over many random requests, time that grows linearly with their number, and constant memory.

The measurement runs in a process of its own, so that its memory is its own. It also measures how far the variants of a
prompt differ.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tools.bench.child import Child
from tools.bench.queries import PROMPTS, Query, random_queries
from tools.bench.score import Score, overlap, score
from tools.bench.turn import Turn

FEW, VARIANTS, ROWS = 64, 4, 16


@dataclass(frozen=True, slots=True)
class Promises:
    """Figures over many prompts; memory in bytes, None where the system does not report it.

    `peak_theirs` is the reference's after all its turns; `broken`: up to five queries whose guarantees were broken.
    """

    many: int
    score: Score
    few_seconds: float
    many_seconds: float
    few_peak: int | None
    many_peak: int | None
    loaded_peak: int | None
    peak_theirs: int | None
    overlap_ours: float
    overlap_theirs: float
    broken: tuple[str, ...]

    @property
    def linearity(self) -> float:
        """Time for a prompt with many, divided by that with few."""
        return (self.many_seconds / self.many) / (self.few_seconds / FEW)


def run_promises(ours: Child, theirs: Child, *, many: int, prompts: int, tell: Callable[[str], None]) -> Promises:
    """Run a few, then many random queries in a fresh process of ours, 16 at a time; then variants in both."""
    loaded = ours.peak()
    tell(f"{FEW} random requests")
    few: Turn = ours.call("queue", list(random_queries(FEW, seed=1)), ROWS)
    few_peak = ours.peak()
    tell(f"{many} random requests")
    queries = list(random_queries(many, seed=2))
    turn: Turn = ours.call("queue", queries, ROWS)
    many_peak = ours.peak()
    tell(f"{VARIANTS} variants of each prompt")
    own, other = _variants(ours, theirs, prompts)
    broken = (
        _fault(query, score([query], [outcome])) for query, outcome in zip(queries, turn.outcomes, strict=True)
    )
    return Promises(
        many=many,
        score=score(queries, turn.outcomes),
        few_seconds=few.seconds,
        many_seconds=turn.seconds,
        few_peak=few_peak,
        many_peak=many_peak,
        loaded_peak=loaded,
        peak_theirs=theirs.peak(),
        overlap_ours=own,
        overlap_theirs=other,
        broken=tuple(fault for fault in broken if fault)[:5],
    )


def _variants(ours: Child, theirs: Child, prompts: int) -> tuple[float, float]:
    """Return both sides' mean overlap: four variants of ours, four seeds of the reference."""
    queries = [replace(query, seed=5_000 + 10 * index) for index, query in enumerate(PROMPTS[:prompts])]
    turn: Turn = ours.call("queue", [replace(query, count=VARIANTS) for query in queries], ROWS)
    seeds = [replace(query, seed=query.seed + variant) for query in queries for variant in range(VARIANTS)]
    other: Turn = theirs.call("run", seeds, 1)

    def mean(run: Turn) -> float:
        added = [outcome.added for outcome in run.outcomes]
        groups = [added[at : at + VARIANTS] for at in range(0, len(added), VARIANTS)]
        return sum(overlap(group) for group in groups) / len(groups)

    return mean(turn), mean(other)


def _fault(query: Query, found: Score) -> str:
    what = [
        name
        for name, bad in (
            ("tags outside the band", found.in_band < 1),
            ("text outside the band", found.text_in_band < found.texts),
            ("repeat", found.repeats > 0),
            ("ban leaked", found.leaks > 0),
        )
        if bad
    ]
    return f"{', '.join(what)}: {query}" if what else ""
