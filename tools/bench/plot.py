"""Plot of throughput against batch size: both runtimes and the library by itself, one panel for each section."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from tools.bench.run import SectionResult

_OURS = ("KGen for WebUI", "-o", "#1f6fb4")
_OTHERS = {
    "alone": ("the library alone, fed as ours is", "--s", "#8a8a8a"),
    "tipo-kgen": ("tipo-kgen 0.3.1 (one at a time)", "-^", "#c8553d"),
}
_COLUMNS = 3


def draw_plot(path: Path, results: Sequence[SectionResult]) -> None:
    """Write the picture; its kind follows the file's ending."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = min(_COLUMNS, len(results))
    rows = -(-len(results) // columns)
    size = (4.4 * columns, 3.6 * rows)
    figure, panels = pyplot.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for panel in panels.flat[len(results) :]:
        panel.set_visible(False)
    for panel, result in zip(panels.flat, results, strict=False):
        case = result.cases[-1]
        sizes = [size for size in case.sizes if size.size.isdigit()]
        places = [int(size.size) for size in sizes]
        lines = [(*_OTHERS[side], [size.others[side] for size in sizes]) for side in _OTHERS if side in sizes[0].others]
        # Prompts, not tokens: the reference feeds its prompt again for every call, which answers nobody.
        for label, style, color, seconds in (*lines, (*_OURS, [size.ours for size in sizes])):
            panel.plot(places, [1 / median(rounds) for rounds in seconds], style, color=color, label=label)
        panel.set_xscale("log", base=2)
        panel.set_xticks(places, [str(place) for place in places])
        panel.set_ylim(bottom=0)
        panel.set_xlabel("prompts at a time")
        panel.set_ylabel("prompts a second")
        panel.set_title(f"{result.name}\n{case.name}", fontsize=9)
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    # A section without the reference has fewer lines.
    handles = {
        label: handle
        for panel in panels.flat
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    across = len(handles) if columns > 1 else 1
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=across, frameon=False, fontsize=9)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
