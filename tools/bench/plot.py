"""Plot of throughput against batch size: both runtimes and llama.cpp by itself, one panel for each model."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from tools.bench.report import ModelResult

_BARE, _OURS, _THEIRS = "#8a8a8a", "#1f6fb4", "#c8553d"


def draw_plot(path: Path, results: Sequence[ModelResult]) -> None:
    """Write the picture; its kind follows the file's ending."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(results), figsize=(5.2 * len(results), 3.8), squeeze=False)
    for panel, result in zip(panels[0], results, strict=True):
        case = result.cases[-1]
        sizes = [size for size in case.sizes if size.size.isdigit()]
        places = [int(size.size) for size in sizes]
        # Prompts, not tokens: the reference feeds its prompt again for every call, which answers nobody.
        ours = [1 / median(size.ours) for size in sizes]
        best = [
            rate * max(median(size.bare), median(size.alike)) / median(size.rate)
            for rate, size in zip(ours, sizes, strict=True)
        ]
        theirs = [1 / median(size.theirs) for size in sizes]
        panel.plot(places, best, "--s", color=_BARE, label="llama.cpp alone, fed as ours is")
        panel.plot(places, ours, "-o", color=_OURS, label="KGen for WebUI")
        panel.plot(places, theirs, "-^", color=_THEIRS, label="tipo-kgen 0.3.1 (one at a time)")
        panel.set_xscale("log", base=2)
        panel.set_xticks(places, [str(place) for place in places])
        panel.set_ylim(bottom=0)
        panel.set_xlabel("prompts at a time")
        panel.set_ylabel("prompts a second")
        panel.set_title(f"{result.model}\n{case.name}", fontsize=10)
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=1 if len(results) == 1 else 3, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.17 if len(results) == 1 else 0.07, 1, 1))
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
