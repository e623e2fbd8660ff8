"""Report of the figures: aligned plain-text tables, and the figures of a documentation page."""
from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from kgen_ext.errors import BadValue
from tools.bench.promises import FEW, Promises
from tools.bench.run import CaseResult, SectionResult, SizeResult

_SIDES = ("tipo-kgen", "alone", "before")
# A page's figures stand in a block of text behind this mark.
_BLOCK = re.compile(r"(<!-- figures: benchmark -->\n\n```text\n).*?(?=^```$)", re.DOTALL | re.MULTILINE)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align cells in columns: the first to the left, the others to the right."""
    widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) if place == 0 else cell.rjust(width)
                  for place, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in (head, *rows)
    ]  # fmt: skip
    return "\n".join((lines[0], "-" * max(len(line) for line in lines), *lines[1:]))


def render(section: SectionResult) -> str:
    """Return a section's tables as text."""
    parts = [f"== {section.name}", speed(section.cases)]
    parts += [
        f"{case.name}: {case.followed} of {case.lists} lists were written to their end"
        for case in section.cases
        if case.lists
    ]
    if section.promises is not None:
        parts += [costs(section.cases), promised(section.promises)]
    return "\n\n".join(parts) + "\n"


def speed(cases: Sequence[CaseResult]) -> str:
    """Return the table of time and throughput."""
    sides = [side for side in _SIDES if side in cases[0].sizes[0].others]
    rows = [
        (
            case.name if place == 0 else "", size.size, _ms(median(size.ours)), f"{median(size.rate):,.0f}",
            f"{median(size.tokens_each):.2f}", f"{median(size.inside):.0%}",
            *(cell for side in sides for cell in (_ms(median(size.others[side])), _ratio(size, side))),
        )
        for case in cases
        for place, size in enumerate(case.sizes)
    ]  # fmt: skip
    head = ("", "at a time", "ours ms", "tok/s", "tok/step", "inside")
    return table((*head, *(cell for side in sides for cell in (f"{side} ms", "ratio"))), rows)


def costs(cases: Sequence[CaseResult]) -> str:
    """Return the table of what a prompt costs and whether its result is what was requested."""
    rows = []
    for case in cases:
        for side, score in (("ours", case.our_score), ("tipo-kgen", case.their_score)):
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
        f"after {promises.many} {_mb(promises.many_peak)}; tipo-kgen {_mb(promises.peak_theirs)}",
        f"mean pairwise overlap of four variants' added tags: ours {promises.overlap_ours:.2f}, tipo-kgen (four seeds) "
        f"{promises.overlap_theirs:.2f}",
    ]
    return "\n".join((*lines, *(f"not kept: {fault}" for fault in promises.broken)))


def write_figures(page: Path, text: str) -> None:
    """Replace the figures of a documentation page; raises BadValue where it has no place for them."""
    before = page.read_text(encoding="utf-8")
    after, count = _BLOCK.subn(lambda found: found[1] + text, before)
    if not count:
        raise BadValue("write-docs", str(page), "a page with the mark <!-- figures: benchmark --> and a text block")
    page.write_text(after, encoding="utf-8", newline="\n")


def _ratio(size: SizeResult, side: str) -> str:
    ratios = size.ratios(side)
    return f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def _ms(seconds: float) -> str:
    value = seconds * 1000
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _mb(amount: int | None) -> str:
    return "unknown" if amount is None else f"{amount / 1e6:,.0f} MB"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "-"
