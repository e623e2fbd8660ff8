"""Plot a run: `python -m kgen_ext.training.plot --losses losses.jsonl --out loss.png`.
It knows the log of train.py and refuses to know the run itself."""

from __future__ import annotations

import argparse
from pathlib import Path

from kgen_ext.training.corpus import read_jsonl


def main() -> None:
    """Run the command."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    parser = argparse.ArgumentParser(prog="python -m kgen_ext.training.plot", description=__doc__)
    parser.add_argument("--losses", type=Path, required=True, help="losses.jsonl of train.py")
    parser.add_argument("--out", type=Path, required=True, help="image file to write (.png, .svg)")
    given = parser.parse_args()
    lines = list(read_jsonl(given.losses))
    figure, axes = pyplot.subplots(figsize=(7, 4))
    axes.plot([line["tokens"] / 1e6 for line in lines], [line["loss"] for line in lines], linewidth=1)
    axes.set(xlabel="tokens seen (million)", ylabel="training loss (nats a token)", ylim=(1.5, 5))
    axes.grid(alpha=0.3)
    figure.savefig(given.out, dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    main()
