"""Plot the losses of a run: `python -m tools.training.plot --losses losses.jsonl --out loss.png`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tools.training.corpus import read_jsonl


def smooth(values: Sequence[float], *, width: int = 9) -> list[float]:
    """Return the mean of the `width` values around each, fewer at the ends."""
    half = width // 2
    parts = [values[max(0, at - half) : at + half + 1] for at in range(len(values))]
    return [sum(part) / len(part) for part in parts]


def main() -> None:
    """Run the command."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    parser = argparse.ArgumentParser(prog="python -m tools.training.plot", description=__doc__)
    parser.add_argument("--losses", type=Path, required=True, help="losses.jsonl of train.py")
    parser.add_argument("--out", type=Path, required=True, help="image file to write (.png, .svg)")
    given = parser.parse_args()
    lines = list(read_jsonl(given.losses))
    figure, axes = pyplot.subplots(figsize=(7, 4))
    tokens, losses = [line["tokens"] / 1e6 for line in lines], [line["loss"] for line in lines]
    axes.plot(tokens, losses, linewidth=0.6, alpha=0.5)
    axes.plot(tokens, smooth(losses), linewidth=1.5)
    axes.set(xlabel="targets seen (million)", ylabel="training loss (nats a target)")
    axes.set(ylim=(min(losses) - 0.1, min(5.0, max(losses) + 0.1)))
    axes.grid(alpha=0.3)
    figure.savefig(given.out, dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    main()
