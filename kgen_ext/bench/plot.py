"""The plot: throughput against batch size, both runtimes and llama.cpp alone, a panel for each model.

Draws what it is given; knows no runtime.
"""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from kgen_ext.bench.report import ModelResult

_BARE, _OURS, _THEIRS = "#8a8a8a", "#1f6fb4", "#c8553d"


def draw_plot(path: Path, results: Sequence[ModelResult]) -> None:
    """Write the picture; its kind follows the file's ending."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(results), figsize=(5.2 * len(results), 3.8), squeeze=False)
    for panel, one in zip(panels[0], results, strict=True):
        case = one.cases[-1]
        sizes = [size for size in case.sizes if size.size.isdigit()]
        places = [int(size.size) for size in sizes]
        panel.plot(places, [median(size.bare) for size in sizes], "--s", color=_BARE, label="llama.cpp alone")
        panel.plot(places, [median(size.rate) for size in sizes], "-o", color=_OURS, label="KGen for WebUI")
        their = median(case.their_rate)
        panel.plot(places, [their] * len(places), "-^", color=_THEIRS, label="tipo-kgen 0.3.1 (one at a time)")
        panel.set_xscale("log", base=2)
        panel.set_xticks(places, [str(place) for place in places])
        panel.set_ylim(bottom=0)
        panel.set_xlabel("prompts at a time")
        panel.set_ylabel("tokens through the model, 1/s")
        panel.set_title(f"{one.model}\n{case.name}", fontsize=10)
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0][0].legend(frameon=False, fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
