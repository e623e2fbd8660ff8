"""Report of the figures: aligned plain-text tables with an explanation of each column, and JSON."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from tools.bench.promises import FEW, Promises
from tools.bench.rounds import CaseResult
from tools.bench.score import Score

MEANING = """\
ms        wall time for one prompt, median of the rounds
ratio     the reference's time divided by ours, taken round by round: median (lowest to highest)
tok/s     tokens through the model for each second of wall time; prefill and decode both count, as in `bare`
bare      llama.cpp's own batched decode without us, fed the same: as many tokens first, then one a row and step
alike     the same in the cache layout that ours uses, so that no row depends on its company; bare is in the layout that
          was quickest in a short trial
share     ours as a share of the larger of the two
inside    share of our wall time that is spent in llama.cpp"""


@dataclass(frozen=True, slots=True)
class ModelResult:
    """All that was measured with one model."""

    model: str
    cases: tuple[CaseResult, ...]
    promises: Promises | None


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align cells in columns: the first to the left, the others to the right."""
    widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) if place == 0 else cell.rjust(width)
                  for place, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in (head, *rows)
    ]  # fmt: skip
    return "\n".join((lines[0], "-" * max(len(line) for line in lines), *lines[1:]))


def render(title: str, results: Sequence[ModelResult]) -> str:
    """Return the whole report as text."""
    parts = [title, MEANING]
    for result in results:
        parts.append(f"== {result.model}")
        parts.append(speed(result.cases))
        if result.promises is not None:
            parts += [costs(result.cases), promised(result.promises)]
    return "\n\n".join(parts) + "\n"


def speed(cases: Sequence[CaseResult]) -> str:
    """Return the table of time and throughput."""
    rows = []
    for case in cases:
        for place, size in enumerate(case.sizes):
            ratios = size.ratios
            rows.append((
                case.name if place == 0 else "", size.size,
                _ms(median(size.ours)), _ms(median(size.theirs)),
                f"{median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})",
                f"{median(size.rate):,.0f}", f"{median(size.alike):,.0f}", f"{median(size.bare):,.0f}",
                f"{size.share:.0%}", f"{median(size.inside):.0%}",
            ))  # fmt: skip
    return table(("", "at a time", "ours ms", "ref ms", "ratio", "tok/s", "alike", "bare", "share", "inside"), rows)


def costs(cases: Sequence[CaseResult]) -> str:
    """Return the table of what a prompt costs and whether its result is what was requested."""
    rows = []
    for case in cases:
        for side, score in (("ours", case.our_score), ("ref", case.their_score)):
            rows.append((
                case.name if side == "ours" else "", side, f"{score.results}", f"{score.calls_each:.1f}",
                f"{score.drawn_each:.0f}", f"{score.drawn_per_kept:.2f}", f"{score.kept_share:.0%}",
                f"{score.in_band / score.results:.0%}", _share(score.text_in_band, score.texts),
                f"{score.repeats}", f"{score.leaks}", f"{score.failed}",
            ))  # fmt: skip
    head = ("", "side", "results", "calls", "drawn", "drawn/kept", "kept", "tags in band", "text in band", "repeats",
            "leaks", "crashed")  # fmt: skip
    return table(head, rows)


def promised(promises: Promises) -> str:
    """Return the lines on guarantees, linearity, memory and variants."""
    found = promises.score
    lines = [
        f"{promises.many} random requests: {found.in_band} with tags in the band, {found.text_in_band} of "
        f"{found.texts} with text in the band, {found.repeats} repeats, {found.leaks} bans leaked, {found.failed} "
        f"crashed, {found.kept_share:.0%} of tokens kept",
        f"time for a prompt, {promises.many} against {FEW}: {promises.linearity:.2f} "
        f"({_ms(promises.few_seconds / FEW)} ms, {_ms(promises.many_seconds / promises.many)} ms)",
        f"peak memory: model loaded {_mb(promises.loaded_peak)}, after {FEW} prompts {_mb(promises.few_peak)}, "
        f"after {promises.many} {_mb(promises.many_peak)}; reference {_mb(promises.peak_theirs)}",
        f"mean pairwise overlap of four variants' added tags: ours {promises.overlap_ours:.2f}, reference (four seeds) "
        f"{promises.overlap_theirs:.2f}",
    ]
    return "\n".join((*lines, *(f"not kept: {fault}" for fault in promises.broken)))


def as_json(title: str, results: Sequence[ModelResult]) -> dict[str, Any]:
    """Return everything as JSON values, every round's figure included."""
    return {
        "title": title,
        "models": [
            {
                "model": result.model,
                "cases": [
                    {
                        "name": case.name,
                        "sizes": [asdict(size) | {"ratios": size.ratios, "share": size.share} for size in case.sizes],
                        "reference_rate": case.their_rate,
                        "ours": _scores(case.our_score),
                        "reference": _scores(case.their_score),
                    }
                    for case in result.cases
                ],
                "promises": result.promises and asdict(result.promises) | {"linearity": result.promises.linearity},
            }
            for result in results
        ],
    }


def _scores(score: Score) -> dict[str, float]:
    return asdict(score) | {"drawn_per_kept": score.drawn_per_kept, "kept_share": score.kept_share}


def _ms(seconds: float) -> str:
    value = seconds * 1000
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _mb(amount: int | None) -> str:
    return "unknown" if amount is None else f"{amount / 1e6:,.0f} MB"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "-"
