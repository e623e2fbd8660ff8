"""The figures as aligned plain-text tables, and as JSON: what each column means stands above them.

Formats only; every number comes from the results.
"""
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
    for one in results:
        parts.append(f"== {one.model}")
        parts.append(speed(one.cases))
        if one.promises is not None:
            parts += [costs(one.cases), promised(one.promises)]
    return "\n\n".join(parts) + "\n"


def speed(cases: Sequence[CaseResult]) -> str:
    """Return the table of time and throughput."""
    rows = []
    for case in cases:
        for place, one in enumerate(case.sizes):
            ratios = one.ratios
            rows.append((
                case.name if place == 0 else "", one.size,
                _ms(median(one.ours)), _ms(median(one.theirs)),
                f"{median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})",
                f"{median(one.rate):,.0f}", f"{median(one.alike):,.0f}", f"{median(one.bare):,.0f}",
                f"{one.share:.0%}", f"{median(one.inside):.0%}",
            ))  # fmt: skip
    return table(("", "at a time", "ours ms", "ref ms", "ratio", "tok/s", "alike", "bare", "share", "inside"), rows)


def costs(cases: Sequence[CaseResult]) -> str:
    """Return the table of what a prompt costs and whether its result is what was asked for."""
    rows = []
    for case in cases:
        for side, one in (("ours", case.our_score), ("ref", case.their_score)):
            rows.append((
                case.name if side == "ours" else "", side, f"{one.results}", f"{one.calls_each:.1f}",
                f"{one.drawn_each:.0f}", f"{one.drawn_per_kept:.2f}", f"{one.kept_share:.0%}",
                f"{one.in_band / one.results:.0%}", _share(one.text_in_band, one.texts),
                f"{one.repeats}", f"{one.leaks}", f"{one.failed}",
            ))  # fmt: skip
    head = ("", "side", "results", "calls", "drawn", "drawn/kept", "kept", "tags in band", "text in band", "repeats",
            "leaks", "crashed")  # fmt: skip
    return table(head, rows)


def promised(one: Promises) -> str:
    """Return the lines on guarantees, linearity, memory and variants."""
    found = one.score
    lines = [
        f"{one.many} random requests: {found.in_band} with tags in the band, {found.text_in_band} of {found.texts} "
        f"with text in the band, {found.repeats} repeats, {found.leaks} bans leaked, {found.failed} crashed, "
        f"{found.kept_share:.0%} of tokens kept",
        f"time for a prompt, {one.many} against {FEW}: {one.linearity:.2f} "
        f"({_ms(one.few_seconds / FEW)} ms, {_ms(one.many_seconds / one.many)} ms)",
        f"peak memory: model loaded {_mb(one.loaded_peak)}, after {FEW} prompts {_mb(one.few_peak)}, after {one.many} "
        f"{_mb(one.many_peak)}; reference {_mb(one.peak_theirs)}",
        f"mean pairwise overlap of four variants' added tags: ours {one.overlap_ours:.2f}, reference (four seeds) "
        f"{one.overlap_theirs:.2f}",
    ]
    return "\n".join((*lines, *(f"not kept: {fault}" for fault in one.broken)))


def as_json(title: str, results: Sequence[ModelResult]) -> dict[str, Any]:
    """Return everything as JSON values, every round's figure included."""
    return {
        "title": title,
        "models": [
            {
                "model": one.model,
                "cases": [
                    {
                        "name": case.name,
                        "sizes": [asdict(size) | {"ratios": size.ratios, "share": size.share} for size in case.sizes],
                        "reference_rate": case.their_rate,
                        "ours": _scores(case.our_score),
                        "reference": _scores(case.their_score),
                    }
                    for case in one.cases
                ],
                "promises": one.promises and asdict(one.promises) | {"linearity": one.promises.linearity},
            }
            for one in results
        ],
    }


def _scores(one: Score) -> dict[str, float]:
    return asdict(one) | {"drawn_per_kept": one.drawn_per_kept, "kept_share": one.kept_share}


def _ms(seconds: float) -> str:
    value = seconds * 1000
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _mb(amount: int | None) -> str:
    return "unknown" if amount is None else f"{amount / 1e6:,.0f} MB"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "-"
