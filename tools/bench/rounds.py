"""Order of the turns: ours, the reference's, llama.cpp's, ours again. Ratios are taken within a round, never across.

In a round every batch size of ours has a turn, and between two of them the reference answers an equal part of the same
prompts, so that both run under the same load of the machine.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

from kgen_ext.request import TagLength, TextLength
from tools.bench.child import Child
from tools.bench.queries import Query, turn_queries
from tools.bench.score import Score, score
from tools.bench.turn import Turn

SIZES = (1, 4, 16, 64)
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Case:
    """A case of the benchmark: the lengths that are requested."""

    name: str
    tag_length: TagLength
    text_length: TextLength


CASES = (
    Case("tags, short", TagLength.SHORT, TextLength.NONE),
    Case("tags, long", TagLength.LONG, TextLength.NONE),
    Case("tags + text, short", TagLength.SHORT, TextLength.SHORT),
    Case("tags + text, long", TagLength.LONG, TextLength.LONG),
)


@dataclass(frozen=True, slots=True)
class Sides:
    """The three processes of one model."""

    ours: Child
    theirs: Child
    bare: Child


@dataclass(slots=True)
class SizeResult:
    """One batch size, an item a round in each list.

    ours, theirs: seconds for a prompt. rate, bare, alike: tokens a second of ours, and of llama.cpp alone at its
    quickest and in our cache layout. inside: share of our time spent in the engine.
    """

    size: str
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    alike: list[float] = field(default_factory=list)
    inside: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """How many times the reference's time is ours, round by round."""
        return [theirs / ours for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    @property
    def share(self) -> float:
        """Ours as a share of llama.cpp alone, in whichever layout was quicker, the median of the rounds."""
        ceilings = [max(pair) for pair in zip(self.bare, self.alike, strict=True)]
        return median(rate / ceiling for rate, ceiling in zip(self.rate, ceilings, strict=True))


@dataclass(slots=True)
class CaseResult:
    """A case: a result a batch size, and both sides' scores over all rounds; `their_rate` in tokens a second."""

    name: str
    sizes: list[SizeResult]
    our_score: Score = field(default_factory=Score)
    their_score: Score = field(default_factory=Score)
    their_rate: list[float] = field(default_factory=list)


def run_case(
    sides: Sides, case: Case, *, sizes: Sequence[int], rounds: int, prompts: int, queue: bool, tell: Tell
) -> CaseResult:
    """Run a case: the guarantees count, since the weights end by themselves.

    `queue`: also 64 prompts waiting for 16 rows, the batch always full but for the end.
    """
    result = CaseResult(case.name, [SizeResult(str(size)) for size in sizes])
    if queue:
        result.sizes.append(SizeResult("64 in 16 rows"))
    for number in range(rounds):
        theirs = turn_queries(prompts, tag_length=case.tag_length, text_length=case.text_length, seed=100 * number + 99)
        parts = _parts(theirs, len(result.sizes))
        turns = list[Turn]()
        for place, measured in enumerate(result.sizes):
            queued = place == len(sizes)
            size = 16 if queued else sizes[place]
            queries = turn_queries(
                max(prompts, 64 if queued else size),
                tag_length=case.tag_length, text_length=case.text_length, seed=100 * number + place,
            )  # fmt: skip
            tell(f"{case.name}: round {number + 1} of {rounds}, {measured.size} at a time")
            ours: Turn = sides.ours.call("queue" if queued else "run", queries, size)
            turns.append(sides.theirs.call("run", parts[place], 1))
            _note(measured, ours, sides.bare, rows=size, answers=len(queries))
            result.our_score += score(queries, ours.outcomes)
        result.their_score += score(theirs, [outcome for turn in turns for outcome in turn.outcomes])
        _note_theirs(result, turns, prompts)
    return result


def run_steps(
    sides: Sides, name: str, *, sizes: Sequence[int], rounds: int, length: int, prompts: int, tell: Tell
) -> CaseResult:
    """Decode a fixed number of tokens a prompt, for weights that never end: only speed counts."""
    result = CaseResult(name, [SizeResult(str(size)) for size in sizes])
    for number in range(rounds):
        turns = list[Turn]()
        for place, measured in enumerate(result.sizes):
            size = sizes[place]
            queries = turn_queries(
                max(prompts, size), tag_length=TagLength.LONG, text_length=TextLength.LONG, seed=100 * number + place
            )
            tell(f"{name}: round {number + 1} of {rounds}, {measured.size} at a time")
            ours: Turn = sides.ours.call("steps", queries, size, length)
            turns.append(sides.theirs.call("steps", queries[:1], 1, length))
            _note(measured, ours, sides.bare, rows=size, answers=len(queries))
        _note_theirs(result, turns, len(turns))
    return result


def _note(measured: SizeResult, ours: Turn, bare: Child, *, rows: int, answers: int) -> None:
    """Note a turn of ours, and have llama.cpp alone fed as many tokens: a first chunk a row, then one a step."""
    measured.ours.append(ours.seconds / answers)
    measured.rate.append(ours.rate)
    measured.inside.append(ours.work.seconds / ours.seconds)
    chunk = max(1, round((ours.work.tokens - ours.work.chunks) / answers) + 1)
    steps = max(1, round(ours.work.chunks / answers) - 1)
    measured.bare.append(bare.call("decode", rows, chunk, steps).rate)
    measured.alike.append(bare.call("decode_alike", rows, chunk, steps).rate)


def _note_theirs(result: CaseResult, turns: Sequence[Turn], prompts: int) -> None:
    seconds = sum(turn.seconds for turn in turns)
    result.their_rate.append(sum(turn.work.tokens for turn in turns) / seconds)
    for measured in result.sizes:
        measured.theirs.append(seconds / prompts)


def _parts(queries: Sequence[Query], count: int) -> list[Sequence[Query]]:
    """Split the queries into `count` parts of nearly equal length."""
    bounds = [len(queries) * place // count for place in range(count + 1)]
    return [queries[low:high] for low, high in pairwise(bounds)]
